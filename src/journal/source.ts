import { scratchMemory } from "../wire/memory.ts";
import { type Files, type JournalFile, readWhatCan } from "./files.ts";
import { type FileHeader, HEADER_NUMBERS, KIND_HEADER, RECORD_BYTES, readHeader, recordBytes } from "./format.ts";
import { GzipSource } from "./gzip-source.ts";

/** The bytes of a journal file as it was written, wherever they are kept. */
export interface Source {
  /** Bytes of the file before it was compressed. */
  readonly size: number;
  /** The last read that the disk refused; what it was for read as 0. */
  readonly error: Error | undefined;
  /** Reads from `at` on into all of `into` as far as the file goes; returns the bytes read. What is lost reads as 0. */
  read(at: number, into: Uint8Array): number;
  close(): void;
}

class PlainSource implements Source {
  readonly size: number;
  error: Error | undefined;
  readonly #files: Files;
  readonly #file: number;

  constructor(files: Files, path: string) {
    this.#files = files;
    this.#file = files.open(path, "r");
    this.size = files.bytesOf(this.#file);
  }

  read(at: number, into: Uint8Array): number {
    const length = Math.min(into.length, this.size - at);
    if (length <= 0) return 0;
    return readWhatCan(this.#files, this.#file, into.subarray(0, length), at, (error) => {
      this.error = error;
    });
  }

  close(): void {
    this.#files.close(this.#file);
  }
}

/**
 * Opens a file to read; undefined when it is not there any more, or cannot be opened. `onlyStart` is for the header
 * alone: of a compressed file no more may be there then.
 */
export function openSource(files: Files, { path, compressed }: JournalFile, onlyStart = false): Source | undefined {
  if (compressed) return attempt(() => new GzipSource(files, path, onlyStart));
  // It may have been compressed since the directory was read.
  return attempt(() => new PlainSource(files, path)) ?? attempt(() => new GzipSource(files, `${path}.gz`, onlyStart));
}

/** A file's header, read alone; undefined when it is damaged. */
export function peekHeader(files: Files, file: JournalFile): FileHeader | undefined {
  const source = openSource(files, file, true);
  if (source === undefined) return undefined;
  const memory = scratchMemory(RECORD_BYTES + 8 * HEADER_NUMBERS);
  const read = source.read(0, memory.u8);
  source.close();
  const bytes = recordBytes(memory, 0, read, memory.i32[3] as number);
  if (bytes === 0 || memory.i32[2] !== KIND_HEADER) return undefined;
  return readHeader(memory, RECORD_BYTES, bytes - RECORD_BYTES);
}

function attempt(open: () => Source): Source | undefined {
  try {
    return open();
  } catch {
    return undefined;
  }
}
