import type { Files, JournalFile } from "./files.ts";
import { writeAll } from "./files.ts";
import { FIRST_MEMBER_BYTES, GzipSource, gzipMember, MEMBER_BYTES } from "./gzip-source.ts";

/** What a compressed file is called until it is whole and checked. */
export const UNFINISHED = ".gz.tmp";

/**
 * Compresses one closed file, a member a step: some milliseconds, so that whoever else needs the thread waits no longer.
 * The original goes only when the other one is on the disk and every byte of it has been read back.
 */
export class Compression {
  readonly #files: Files;
  readonly #directory: string;
  readonly #path: string;
  readonly #level: number;
  readonly #plain: number;
  readonly #output: number;
  readonly #size: number;
  #from = 0;
  #written = 0;
  #checked = 0;
  #result: GzipSource | undefined;

  constructor(files: Files, directory: string, { path }: JournalFile, level: number) {
    this.#files = files;
    this.#directory = directory;
    this.#path = path;
    this.#level = level;
    this.#size = files.sizeOf(path);
    this.#plain = files.open(path, "r");
    try {
      files.remove(path + UNFINISHED);
      this.#output = files.open(path + UNFINISHED, "wx+");
    } catch (error) {
      files.close(this.#plain);
      throw error;
    }
  }

  /** True while there is more to do. Throws what the file system throws; then `abandon` is to be called. */
  step(): boolean {
    if (this.#from < this.#size) this.#compress();
    else if (this.#result === undefined) this.#reopen();
    else if (this.#checked < this.#size) this.#check(this.#result);
    else {
      this.#finish();
      return false;
    }
    return true;
  }

  #piece(at: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(at === 0 ? FIRST_MEMBER_BYTES : MEMBER_BYTES, this.#size - at));
    this.#files.read(this.#plain, bytes, at);
    return bytes;
  }

  #compress(): void {
    const bytes = this.#piece(this.#from);
    const member = gzipMember(bytes, this.#from, this.#level);
    writeAll(this.#files, this.#output, member, this.#written);
    this.#written += member.length;
    this.#from += bytes.length;
  }

  #reopen(): void {
    this.#files.sync(this.#output);
    this.#result = new GzipSource(this.#files, this.#path + UNFINISHED);
  }

  #check(result: GzipSource): void {
    const bytes = this.#piece(this.#checked);
    const read = new Uint8Array(bytes.length);
    const isSame = result.size === this.#size && result.read(this.#checked, read) === bytes.length;
    if (!isSame || Buffer.compare(bytes, read) !== 0) {
      throw Object.assign(new Error(`${this.#path}: what was compressed does not read back`), { code: "EIO" });
    }
    this.#checked += bytes.length;
  }

  #finish(): void {
    this.#close();
    this.#files.rename(this.#path + UNFINISHED, `${this.#path}.gz`);
    this.#files.syncDirectory(this.#directory);
    this.#files.remove(this.#path);
  }

  /** Gives up: the original stays. */
  abandon(): void {
    this.#close();
    this.#files.remove(this.#path + UNFINISHED);
  }

  #close(): void {
    this.#files.close(this.#plain);
    this.#files.close(this.#output);
    this.#result?.close();
  }
}
