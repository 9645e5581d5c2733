import { Memory } from "../wire/memory.ts";
import { type Files, type JournalFile, journalFiles, systemFiles, writeAll } from "./files.ts";
import { KIND_END, KIND_FRAME, KIND_GAP, KIND_SEQUENCES, type Mode, RECORD_BYTES, sealRecord } from "./format.ts";
import { JournalLock } from "./lock.ts";
import { SCAN_DAMAGE, SCAN_END } from "./scanner.ts";
import { SegmentReader } from "./segment-reader.ts";
import { openSource } from "./source.ts";

/** What a journal held when it was opened for writing. */
export interface OpenedJournal {
  directory: string;
  /** To be released when the writing ends; `JournalWriter` does. */
  lock: JournalLock;
  files: number;
  /** Where it ends; undefined when nothing is there yet. */
  last: JournalEnd | undefined;
  /** What was cut off the last file: a write that never ended. */
  cut: { file: string; offset: number; bytes: number } | undefined;
  /** The time in the newest name, microseconds; 0 without files. */
  opened: number;
}

export interface JournalEnd {
  epoch: number;
  mode: Mode;
  position: number;
  /** The last sequence of each stream, as far as the journal goes. */
  sequences: Map<number, number>;
  /** True when the writer said that this was all: only then may the epoch go on. */
  clean: boolean;
}

/**
 * Opens a directory for one writer, cuts a torn last record off, and says where the journal ends. A clean end is one no
 * more once this has returned, so that a crash before the next frame cannot make it count twice. Reads the last file
 * whole: about a second for some hundred MB.
 *
 * Throws JournalLockedError while another writer has the directory, and what the file system throws.
 */
export function openJournal(directory: string, files: Files = systemFiles): OpenedJournal {
  files.makeDirectory(directory);
  const lock = new JournalLock(directory);
  try {
    const all = journalFiles(files, directory);
    const opened = all.at(-1)?.opened ?? 0;
    const cut = cutTornTail(files, all.at(-1));
    const kept = journalFiles(files, directory);
    return { directory, lock, files: kept.length, last: findEnd(files, kept), cut, opened };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Cuts off what follows the last whole record of a file; a file without one goes altogether. */
function cutTornTail(files: Files, file: JournalFile | undefined): OpenedJournal["cut"] {
  if (file === undefined || file.compressed) return undefined;
  const handle = files.open(file.path, "r+");
  try {
    const source = openSource(files, file);
    if (source === undefined) return undefined;
    const segment = new SegmentReader(source);
    const { scanner } = segment;
    let end = 0;
    for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
      if (kind !== SCAN_DAMAGE) end = scanner.offset + scanner.bytes;
    }
    segment.close();
    // Not there and not to be read just now are two things.
    if (source.error) throw source.error;
    const bytes = files.bytesOf(handle) - end;
    if (bytes === 0 && end > 0) return undefined;
    if (end === 0) files.remove(file.path);
    else files.truncate(handle, end);
    files.sync(handle);
    return { file: file.name, offset: end, bytes };
  } finally {
    files.close(handle);
  }
}

/** Reads backwards until a file says what came before it. */
function findEnd(files: Files, all: readonly JournalFile[]): JournalEnd | undefined {
  let end: JournalEnd | undefined;
  for (const file of [...all].reverse()) {
    const source = openSource(files, file);
    if (source === undefined) continue;
    const segment = new SegmentReader(source);
    const part = new FileEnd(segment);
    const closedAt = part.read();
    segment.close();
    if (part.epoch < 0) continue;
    if (end !== undefined && part.epoch !== end.epoch) break;
    if (end === undefined) {
      const clean = closedAt > 0 && !file.compressed;
      if (clean) reopen(files, file, closedAt, part.mark, [part.position, part.endTime, 0]);
      end = { epoch: part.epoch, mode: part.mode, position: part.position, sequences: part.sequences, clean };
    } else {
      for (const [stream, sequence] of part.sequences) {
        if (!end.sequences.has(stream)) end.sequences.set(stream, sequence);
      }
    }
    if (part.isComplete) break;
  }
  return end;
}

/** What one file says of the end. */
class FileEnd {
  epoch = -1;
  mode: Mode = "live";
  position = 0;
  endTime = 0;
  mark = 0;
  readonly sequences = new Map<number, number>();
  /** True when the file told the sequences of all streams at its opening. */
  isComplete = false;
  readonly #segment: SegmentReader;

  constructor(segment: SegmentReader) {
    this.#segment = segment;
  }

  /** Reads the file; returns where the record of a clean end starts, 0 without one. */
  read(): number {
    const { scanner, header } = this.#segment;
    if (header) {
      this.epoch = header.epoch;
      this.mode = header.mode;
      this.position = header.firstPosition - 1;
    }
    let closedAt = 0;
    for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
      closedAt = 0;
      if (kind === KIND_FRAME) this.#frame();
      else if (kind === KIND_SEQUENCES) this.#sequences();
      else if (kind === KIND_GAP) this.position = this.#number(1);
      else if (kind === KIND_END) {
        this.position = this.#number(0);
        this.endTime = this.#number(1);
        if (this.#number(2) === 1) closedAt = scanner.offset;
      }
    }
    this.mark = scanner.mark;
    return closedAt;
  }

  #number(index: number): number {
    const { memory, at } = this.#segment.scanner;
    return memory.f64[(at >> 3) + index] as number;
  }

  #frame(): void {
    if (!this.#segment.attachFrame()) return;
    const { epoch, position, stream, seq } = this.#segment.frame;
    this.epoch = epoch;
    this.position = position;
    this.sequences.set(stream, seq);
  }

  #sequences(): void {
    const count = this.#segment.scanner.length / 8;
    for (let index = 1; index < count; index += 2) this.sequences.set(this.#number(index), this.#number(index + 1));
    this.isComplete = this.#number(0) === 0;
  }
}

/** Writes the last record anew, so that it no longer says that the journal was closed. */
function reopen(files: Files, { path }: JournalFile, at: number, mark: number, numbers: readonly number[]): void {
  const record = new Memory(new ArrayBuffer(RECORD_BYTES + 8 * numbers.length));
  record.f64.set(numbers, RECORD_BYTES >> 3);
  sealRecord(record, 0, 8 * numbers.length, KIND_END, mark);
  const file = files.open(path, "r+");
  try {
    writeAll(files, file, record.u8, at);
    files.sync(file);
  } finally {
    files.close(file);
  }
}
