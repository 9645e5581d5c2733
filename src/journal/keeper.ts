import { join } from "node:path";
import type { Clock } from "../std/clock.ts";
import { Compression, UNFINISHED } from "./compression.ts";
import { type Files, type JournalFile, journalFiles } from "./files.ts";
import type { SharedStatus } from "./status.ts";

/** How often the directory is looked at, and how long after an error, microseconds. */
const LOOK_MICROS = 1_000_000;
const RETRY_MICROS = 60_000_000;

export interface KeeperLimits {
  /** Bytes of all files; the oldest go first. The file being written stays, however large it is. */
  maxBytes: number;
  /** A file goes once the next one was opened so long before the newest one, microseconds of server time. */
  maxAgeMicros: number;
  /** Of gzip, 1 to 6; 0 leaves files as they are. */
  compressionLevel: number;
}

/** Compresses closed files and deletes the oldest, a little at a time. Never touches the file that is being written. */
export class Keeper {
  readonly #files: Files;
  readonly #directory: string;
  readonly #limits: KeeperLimits;
  readonly #clock: Clock;
  readonly #status: SharedStatus;
  readonly #onError: (error: Error) => void;
  #compression: Compression | undefined;
  #lookAt = 0;
  #current: string | undefined;

  constructor(
    files: Files,
    directory: string,
    limits: KeeperLimits,
    clock: Clock,
    status: SharedStatus,
    onError: (error: Error) => void,
  ) {
    this.#files = files;
    this.#directory = directory;
    this.#limits = limits;
    this.#clock = clock;
    this.#status = status;
    this.#onError = onError;
  }

  /** Does a little; true when there is more to do at once. `current` is the name of the file that is being written. */
  step(current: string | undefined): boolean {
    const now = this.#clock.now();
    if (current !== this.#current) this.#lookAt = Math.min(this.#lookAt, now);
    this.#current = current;
    try {
      if (this.#compression) {
        if (this.#compression.step()) return true;
        this.#compression = undefined;
        this.#lookAt = 0;
      }
      if (now < this.#lookAt) return false;
      this.#lookAt = now + LOOK_MICROS;
      return this.#look();
    } catch (error) {
      this.#onError(error as Error);
      this.stop();
      this.#lookAt = now + RETRY_MICROS;
      return false;
    }
  }

  /** Leaves off in the middle of a compression; the original stays. */
  stop(): void {
    try {
      this.#compression?.abandon();
    } catch (error) {
      this.#onError(error as Error);
    }
    this.#compression = undefined;
  }

  #look(): boolean {
    for (const name of this.#files.list(this.#directory)) {
      if (name.endsWith(UNFINISHED)) this.#files.remove(join(this.#directory, name));
    }
    const kept = this.#expire(journalFiles(this.#files, this.#directory));
    const next = kept.find((file) => !file.compressed && file.name !== this.#current);
    if (next === undefined || this.#limits.compressionLevel === 0 || this.#current === undefined) return false;
    this.#compression = new Compression(this.#files, this.#directory, next, this.#limits.compressionLevel);
    return true;
  }

  /** Deletes what is too old or too much, but for the newest, which is being written; returns what stays. */
  #expire(all: JournalFile[]): JournalFile[] {
    const newest = all.at(-1)?.opened ?? 0;
    const sizes = new Map(all.map((file) => [file, this.#files.sizeOf(file.path)]));
    let bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    let first = 0;
    for (; first + 1 < all.length; first += 1) {
      const file = all[first] as JournalFile;
      const age = newest - (all[first + 1] as JournalFile).opened;
      if (bytes <= this.#limits.maxBytes && age <= this.#limits.maxAgeMicros) break;
      this.#files.remove(file.path);
      bytes -= sizes.get(file) ?? 0;
    }
    const kept = all.slice(first);
    this.#status.bytes = bytes;
    this.#status.files = kept.length;
    return kept;
  }
}
