import { DIRECTORY_STREAM } from "../market/channel.ts";
import { Backoff } from "../std/backoff.ts";
import type { Clock } from "../std/clock.ts";
import type { LogView } from "../wire/frame-log.ts";
import { Memory } from "../wire/memory.ts";
import type { Files } from "./files.ts";
import { Follower } from "./follower.ts";
import { GAP_CAUSES, type GapCause, KIND_FRAME, KIND_GAP, type Mode } from "./format.ts";
import { Known } from "./known.ts";
import { RecordBuffer } from "./record-buffer.ts";
import { Segment } from "./segment.ts";
import type { SharedStatus } from "./status.ts";

/** A batch is written when it has so many bytes, or is so old, microseconds. */
export const FLUSH_BYTES = 1 << 20;
export const FLUSH_MICROS = 50_000;
/** Delays before a disk that refused is tried again, milliseconds. */
const RETRY = { baseMs: 200, maxMs: 10_000, healthyAfterMs: 0 };

/** When what is written is made durable: left to the operating system, every so often, or after every batch. */
export type SyncPolicy = "never" | "interval" | "every";

export interface JournalOptions {
  directory: string;
  mode: Mode;
  /** The journal has what comes up to this position of the epoch. */
  afterPosition: number;
  /** The server's time now, microseconds. */
  now: number;
  /** No file's name may say an earlier time than this, microseconds: names sort as files were opened. */
  openedAfter: number;
  sync: SyncPolicy;
  /** For the policy `interval`, milliseconds. */
  syncMs: number;
}

/** What the journal takes from outside, for a test to replace. */
export interface Surroundings {
  files: Files;
  clock: Clock;
  /** 0 to below 1. */
  random: () => number;
  /** Told of every error of the file system; serving goes on. */
  onError: (error: Error) => void;
  /** Frames of the slow ring were lost, so the directory may be incomplete: `learn` it anew. */
  onDirectoryLost: () => void;
}

/**
 * Writes the frames of a log to its directory, a batch a step. Whatever the disk says, a step does not throw: after an
 * error the follower goes back to the last position that is safe, and what the ring has overwritten when the disk works
 * again becomes a gap record.
 */
export class Journal {
  readonly status: SharedStatus;
  readonly #view: LogView;
  readonly #options: JournalOptions;
  readonly #around: Surroundings;
  readonly #follower: Follower;
  readonly #known = new Known();
  readonly #buffer = new RecordBuffer(FLUSH_BYTES);
  readonly #backoff: Backoff;
  #segment: Segment | undefined;
  /** All up to this position is in the buffer or in the file, or named by a gap record there. */
  #position: number;
  /** In the buffer, not in the file yet. */
  #unwrittenLost = 0;
  #unwrittenGaps = 0;
  /** Server time, microseconds, at which the next file opens, and that in the name of the last one. */
  #opensAt: number;
  #opened: number;
  #flushedAt = 0;
  #syncedAt = 0;
  #retryAt = 0;
  #isSyncing = false;
  #cause: GapCause = "lapped";

  constructor(view: LogView, status: SharedStatus, options: JournalOptions, around: Surroundings) {
    this.#view = view;
    this.status = status;
    this.#options = options;
    this.#around = around;
    this.#position = options.afterPosition;
    this.#opensAt = options.now;
    view.refresh();
    this.#opened = options.openedAfter;
    this.#follower = new Follower(view, options.afterPosition);
    // Frames that were committed before the journal began are older than now.
    if (this.#follower.next()) this.#opensAt = Math.min(options.now, this.#follower.frame.tsPublish);
    this.#follower.seek(options.afterPosition);
    this.#backoff = new Backoff(RETRY, around.random);
    status.written = options.afterPosition;
    status.synced = options.sync === "never" ? 0 : options.afterPosition;
  }

  /** The name of the file that is being written. */
  get current(): string | undefined {
    return this.#segment?.name;
  }

  /** Takes a directory frame, or a stream's last sequence, that was known before the log's first frame. */
  learn(directory: Iterable<Uint8Array>, sequences: Iterable<readonly [number, number]> = []): void {
    for (const bytes of directory) this.#known.learn(new Memory(bytes.slice().buffer), 0, bytes.length);
    for (const [stream, sequence] of sequences) this.#known.sequences.set(stream, sequence);
  }

  /** Writes what has been published, once enough of it, or the oldest of it, has waited for long enough. */
  step(): void {
    const now = this.#around.clock.now();
    if (now < this.#retryAt || this.status.state === "closed") return;
    this.#attempt(() => {
      if (this.#segment === undefined) this.#open();
      this.#take();
      if (now - this.#flushedAt >= FLUSH_MICROS) this.#flush(now);
      if (this.#options.sync === "interval" && now - this.#syncedAt >= 1000 * this.#options.syncMs) this.#sync(now);
    });
  }

  /** Writes all that was published and the end. False when the disk refuses: the journal then counts as crashed. */
  close(): boolean {
    if (this.status.state === "closed") return true;
    this.#view.refresh();
    const closed = this.#attempt(() => {
      if (this.#segment === undefined) this.#open();
      this.#take();
      if (this.#position < this.#view.position) this.#gap(this.#view.position);
      this.#endSegment(true);
    });
    if (closed) this.status.state = "closed";
    return closed;
  }

  #attempt(action: () => void): boolean {
    try {
      action();
      this.status.state = "writing";
      return true;
    } catch (error) {
      // A file system's error carries a code; anything else is a programmer's.
      if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") throw error;
      this.#failed(error, error.code);
      return false;
    }
  }

  #take(): void {
    const follower = this.#follower;
    follower.slowLost = 0;
    while (follower.next()) {
      const { position, stream, memory, length, frame } = follower;
      if (position <= this.#position) continue;
      const time = frame.tsPublish;
      if (this.#segment?.isOver(time)) {
        this.#endSegment(false);
        this.#opensAt = time;
        this.#open();
      }
      if (position > this.#position + 1) this.#gap(position - 1);
      if (this.#buffer.full) this.#flush(this.#around.clock.now());
      this.#buffer.frame(KIND_FRAME, memory.u8.subarray(0, length));
      this.#position = position;
      this.#known.sequences.set(stream, follower.sequence);
      if (stream === DIRECTORY_STREAM) this.#known.learn(memory, 0, length);
    }
    this.#cause = "lapped";
    if (follower.slowLost > 0) this.#around.onDirectoryLost();
  }

  /** Names what lies between the last frame and `to` as lost. */
  #gap(to: number): void {
    if (this.#buffer.full) this.#flush(this.#around.clock.now());
    this.#buffer.numbers(KIND_GAP, [this.#position + 1, to, GAP_CAUSES.indexOf(this.#cause)]);
    this.#unwrittenLost += to - this.#position;
    this.#unwrittenGaps += 1;
    this.#position = to;
  }

  #open(): void {
    const { files, random } = this.#around;
    const { directory, mode, sync } = this.#options;
    this.#opened = Math.max(this.#opensAt, this.#opened + 1);
    this.#buffer.clear();
    this.#buffer.mark = Math.floor(random() * 2 ** 32) | 0;
    const header = { epoch: this.#view.epoch, created: this.#opensAt, firstPosition: this.#position + 1, mode };
    this.#segment = new Segment(files, directory, header, this.#opened);
    this.#segment.open(this.#buffer, this.#known);
    // On the disk before the first frame: else a crash might find the end of the file before, and call it a clean one.
    this.#isSyncing = true;
    if (sync !== "never") files.syncDirectory(directory);
    this.#isSyncing = false;
    this.#sync(this.#around.clock.now());
    this.status.files += 1;
    this.status.bytes += this.#segment.written.bytes;
  }

  #flush(now: number): void {
    this.#flushedAt = now;
    const segment = this.#segment;
    const bytes = this.#buffer.bytes;
    if (bytes === 0 || segment === undefined) return;
    segment.append(this.#buffer, this.#position);
    this.status.bytes += bytes;
    this.status.lost += this.#unwrittenLost;
    this.status.gaps += this.#unwrittenGaps;
    this.#unwrittenLost = 0;
    this.#unwrittenGaps = 0;
    this.status.written = this.#position;
    this.#backoff.wasGoodFor(0);
    if (this.#options.sync === "every") this.#sync(now);
  }

  #sync(now: number): void {
    this.#syncedAt = now;
    const segment = this.#segment;
    if (this.#options.sync === "never" || segment === undefined) return;
    this.#isSyncing = true;
    segment.sync();
    this.#isSyncing = false;
    this.status.synced = segment.synced.position;
  }

  #endSegment(closed: boolean): void {
    const segment = this.#segment;
    if (segment === undefined) return;
    const now = this.#around.clock.now();
    this.#flush(now);
    segment.end(this.#buffer, this.#position, this.#follower.frame.tsPublish, closed);
    this.#sync(now);
    this.#segment = undefined;
    segment.close();
  }

  #failed(error: Error, code: string): void {
    this.status.state = code === "ENOSPC" || code === "EDQUOT" ? "full" : "failed";
    this.status.errors += 1;
    this.#around.onError(error);
    this.#cause = "disk";
    this.#buffer.clear();
    this.#unwrittenLost = 0;
    this.#unwrittenGaps = 0;
    if (this.#isSyncing) this.#segment?.cutBackToSynced();
    this.#isSyncing = false;
    if (this.#segment) this.#position = this.#segment.written.position;
    if (this.#segment?.isOpen === false || this.#segment?.written.bytes === 0) this.#discard(this.#segment);
    this.status.written = this.#position;
    this.#follower.seek(this.#position);
    this.#retryAt = this.#around.clock.now() + 1000 * this.#backoff.next();
  }

  /** Removes a file that could not be opened whole. */
  #discard(segment: Segment): void {
    this.#segment = undefined;
    try {
      segment.close();
      this.#around.files.remove(segment.path);
    } catch (error) {
      this.#around.onError(error as Error);
    }
  }
}
