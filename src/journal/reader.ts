import type { Memory } from "../wire/memory.ts";
import { FileRead } from "./file-read.ts";
import { type Files, type JournalFile, journalFiles, systemFiles } from "./files.ts";
import type { FileHeader, GapCause } from "./format.ts";
import { type Damage, Progress } from "./progress.ts";
import { SegmentReader } from "./segment-reader.ts";
import { openSource, peekHeader } from "./source.ts";

/**
 * A stored frame. One object is used for all: it and what it refers to hold until the next one is asked for.
 */
export interface JournalFrame {
  epoch: number;
  position: number;
  sequence: number;
  stream: number;
  /** When it was committed, microseconds. */
  time: number;
  /** Its bytes, as they were in the ring: `length` of them from `at`, a multiple of 8, on. */
  memory: Memory;
  at: number;
  length: number;
  readonly bytes: Uint8Array;
  /** True for a directory frame that is no event: it repeats what was known before, or was not asked for. */
  copy: boolean;
}

/** Frames that the journal says it could not get. */
export interface StatedGap {
  file: string;
  epoch: number;
  from: number;
  to: number;
  cause: GapCause;
}

/** What to read; everything that is left out does not narrow. */
export interface ReadOptions {
  /** Only these files, in order. */
  files?: readonly JournalFile[];
  /** Only this epoch; must be given with positions. */
  epoch?: number;
  /** First and last position, both included. */
  fromPosition?: number;
  toPosition?: number;
  /** First and last time of commit, microseconds, both included. */
  fromTime?: number;
  toTime?: number;
  streams?: (stream: number) => boolean;
  /**
   * Yields all of the directory that is needed to understand the frames asked for, as copies where it was not asked for
   * itself.
   */
  copies?: boolean;
  onDamage?: (damage: Damage) => void;
  onGap?: (gap: StatedGap) => void;
}

/** Reads the frames of a directory in order, plain and compressed files alike; may be used while it is written. */
export class JournalReader {
  readonly #directory: string;
  readonly #files: Files;

  constructor(directory: string, files: Files = systemFiles) {
    this.#directory = directory;
    this.#files = files;
  }

  /** The files there are, oldest first. */
  files(): JournalFile[] {
    return journalFiles(this.#files, this.#directory);
  }

  /** Yields every whole frame that was asked for, once. Damage is reported, never thrown. */
  *frames(options: ReadOptions = {}): IterableIterator<JournalFrame> {
    const progress = new Progress((damage) => options.onDamage?.(damage));
    const files = options.files ?? this.files();
    let next = files[0] && peekHeader(this.#files, files[0]);
    for (const [index, file] of files.entries()) {
      const header = next;
      const following = files[index + 1];
      next = following && peekHeader(this.#files, following);
      if (header !== undefined && !isWanted(header, next, options)) continue;
      const source = openSource(this.#files, file);
      if (source === undefined) {
        progress.damaged({ file: file.name, offset: 0, length: 0, from: 1, to: 0, atEnd: true });
        continue;
      }
      const segment = new SegmentReader(source);
      try {
        yield* new FileRead(file.name, segment, options, progress).frames();
      } finally {
        segment.close();
      }
    }
    progress.end();
  }
}

/** Whether its own header, and that of the next file, leave a chance that something wanted is in a file. */
function isWanted(header: FileHeader, next: FileHeader | undefined, options: ReadOptions): boolean {
  const { epoch = header.epoch, fromPosition = 0, fromTime = 0 } = options;
  const { toPosition = Number.POSITIVE_INFINITY, toTime = Number.POSITIVE_INFINITY } = options;
  if (header.epoch !== epoch || header.firstPosition > toPosition || header.created > toTime) return false;
  // Within an epoch neither positions nor the server's time go back.
  return next?.epoch !== header.epoch || (next.firstPosition > fromPosition && next.created >= fromTime);
}
