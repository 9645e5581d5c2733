import { type Files, journalFiles, systemFiles } from "./files.ts";
import type { StatedGap } from "./reader.ts";
import { SegmentReader } from "./segment-reader.ts";
import { openSource } from "./source.ts";
import { Verification } from "./verification.ts";

/** What is wrong with a journal. */
export type ProblemKind =
  /** A file cannot be opened. */
  | "unreadable"
  /** Bytes that are no whole record. */
  | "damaged"
  /** A record that does not belong where it is, or that this version does not know. */
  | "misplaced"
  /** Positions are missing, and no gap record says so. */
  | "hole"
  /** A stream's sequences do not grow by one, though no position is missing. */
  | "sequence"
  /** The bytes of a whole record are no frame. */
  | "frame"
  /** A file that another of the same epoch follows has no end. */
  | "unended";

export interface Problem {
  kind: ProblemKind;
  file: string;
  /** Bytes, of the file before it was compressed. */
  offset: number;
  length: number;
  text: string;
}

export interface FileReport {
  name: string;
  compressed: boolean;
  /** -1 when the header is damaged. */
  epoch: number;
  frames: number;
  /** First and last position of its frames; 0 and 0 without any. */
  from: number;
  to: number;
  /** `open`: it is being written, or was when the process died. */
  end: "open" | "continued" | "closed";
}

export interface JournalReport {
  files: FileReport[];
  frames: number;
  problems: Problem[];
  /** Frames that the writer could not get, and said so. */
  gaps: StatedGap[];
}

/** Reads every record of every file, and reports all that is not as the writer leaves it. Changes nothing. */
export function verify(directory: string, files: Files = systemFiles): JournalReport {
  const check = new Verification();
  for (const file of journalFiles(files, directory)) {
    const report = { name: file.name, compressed: file.compressed, epoch: -1, frames: 0, from: 0, to: 0 };
    check.begin({ ...report, end: "open" });
    const source = openSource(files, file);
    if (source === undefined) {
      check.unreadable();
      continue;
    }
    const segment = new SegmentReader(source);
    check.read(segment);
    segment.close();
  }
  return check.report;
}
