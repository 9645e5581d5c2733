import type { Files, JournalFile } from "./files.ts";
import { GzipSource } from "./gzip-source.ts";

/** The bytes of a journal file as it was written, wherever they are kept. */
export interface Source {
  /** Bytes of the file before it was compressed. */
  readonly size: number;
  /** Reads from `at` on into all of `into` as far as the file goes; returns the bytes read. What is lost reads as 0. */
  read(at: number, into: Uint8Array): number;
  close(): void;
}

class PlainSource implements Source {
  readonly size: number;
  readonly #files: Files;
  readonly #file: number;

  constructor(files: Files, path: string) {
    this.#files = files;
    this.#file = files.open(path, "r");
    this.size = files.bytesOf(this.#file);
  }

  read(at: number, into: Uint8Array): number {
    const length = Math.min(into.length, this.size - at);
    return length <= 0 ? 0 : this.#files.read(this.#file, into.subarray(0, length), at);
  }

  close(): void {
    this.#files.close(this.#file);
  }
}

/** Opens a file to read; undefined when it is not there any more, or cannot be opened. */
export function openSource(files: Files, { path, compressed }: JournalFile): Source | undefined {
  if (compressed) return attempt(() => new GzipSource(files, path));
  // It may have been compressed since the directory was read.
  return attempt(() => new PlainSource(files, path)) ?? attempt(() => new GzipSource(files, `${path}.gz`));
}

function attempt(open: () => Source): Source | undefined {
  try {
    return open();
  } catch {
    return undefined;
  }
}
