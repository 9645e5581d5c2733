import { join } from "node:path";
import { type Files, writeAll } from "./files.ts";
import {
  type FileHeader,
  FORMAT_VERSION,
  fileName,
  KIND_DIRECTORY,
  KIND_END,
  KIND_HEADER,
  KIND_SEQUENCES,
  MAX_SEQUENCES,
  MODES,
} from "./format.ts";
import type { Known } from "./known.ts";
import type { RecordBuffer } from "./record-buffer.ts";

const HOUR_MICROS = 3_600_000_000;

/** How far something has come: bytes of the file, and the last position in them. */
interface Reached {
  bytes: number;
  position: number;
}

/**
 * The file that is being written. `append` and `sync` either succeed or throw; what a failed append left
 * behind is cut off before the next one.
 */
export class Segment {
  readonly header: FileHeader;
  readonly name: string;
  readonly path: string;
  /** In the file, as far as the operating system is concerned. */
  written: Reached;
  /** On the disk. */
  synced: Reached;
  /** True once all that comes before the first frame is written. */
  isOpen = false;
  readonly #files: Files;
  readonly #file: number;
  #isCutBack = true;

  /** Creates the file, empty. */
  constructor(files: Files, directory: string, header: FileHeader, opened: number) {
    this.#files = files;
    this.header = header;
    this.name = fileName(opened, header.firstPosition);
    this.path = join(directory, this.name);
    const nothing = { bytes: 0, position: header.firstPosition - 1 };
    this.written = nothing;
    this.synced = nothing;
    this.#file = files.open(this.path, "wx+");
  }

  /** True when a frame of that time (ts_publish) belongs into the next file. */
  isOver(time: number): boolean {
    return Math.floor(time / HOUR_MICROS) > Math.floor(this.header.created / HOUR_MICROS);
  }

  /** Writes what comes before the first frame. */
  open(buffer: RecordBuffer, known: Known): void {
    const { epoch, created, firstPosition, mode } = this.header;
    buffer.numbers(KIND_HEADER, [FORMAT_VERSION, epoch, created, firstPosition, MODES.indexOf(mode)]);
    for (const bytes of known.directory()) {
      if (buffer.full) this.append(buffer, firstPosition - 1);
      buffer.frame(KIND_DIRECTORY, bytes);
    }
    const entries = [...known.sequences].flat();
    for (let from = 0; from === 0 || from < entries.length; from += 2 * MAX_SEQUENCES) {
      const to = Math.min(from + 2 * MAX_SEQUENCES, entries.length);
      if (buffer.full) this.append(buffer, firstPosition - 1);
      buffer.numbers(KIND_SEQUENCES, [(entries.length - to) / 2, ...entries.slice(from, to)]);
    }
    this.append(buffer, firstPosition - 1);
    this.isOpen = true;
  }

  /** Appends the buffer, whose last record brings the file up to `position`, and empties it. */
  append(buffer: RecordBuffer, position: number): void {
    if (!this.#isCutBack) this.#files.truncate(this.#file, this.written.bytes);
    this.#isCutBack = false;
    writeAll(this.#files, this.#file, buffer.contents, this.written.bytes);
    this.written = { bytes: this.written.bytes + buffer.bytes, position };
    this.#isCutBack = true;
    buffer.clear();
  }

  sync(): void {
    if (this.synced.bytes === this.written.bytes) return;
    this.#files.sync(this.#file);
    this.synced = this.written;
  }

  /**
   * After a sync that failed: a file system then takes its pages for clean and would say yes the next time, so all since
   * the last sync that succeeded has to be written again.
   */
  cutBackToSynced(): void {
    this.written = this.synced;
    this.#isCutBack = false;
  }

  /** The last record; `closed` when no file follows. */
  end(buffer: RecordBuffer, position: number, time: number, closed: boolean): void {
    buffer.numbers(KIND_END, [position, time, closed ? 1 : 0]);
    this.append(buffer, position);
  }

  close(): void {
    this.#files.close(this.#file);
  }
}
