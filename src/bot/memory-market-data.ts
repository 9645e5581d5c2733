import type { Clock } from "../std/clock.ts";
import { SystemClock } from "../std/clock.ts";
import { BotError } from "./errors.ts";
import {
  EMPTY_SNAPSHOT,
  type FetchOptions,
  type MarketDataClient,
  type MarketSnapshot,
  numberIn,
  type RangeOptions,
} from "./market-data.ts";
import { firstOf } from "./pending-read.ts";

/** A market that never says anything: a bot that is given no other still ticks, with empty snapshots. */
export class NullMarketDataClient implements MarketDataClient {
  async fetch(): Promise<MarketSnapshot> {
    return EMPTY_SNAPSHOT;
  }

  async fetchRange(): Promise<MarketSnapshot[]> {
    return [];
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MarketSnapshot> {}
}

/** A market that stands still: the same snapshot for ever; as an iterable it gives it once. */
export class StaticMarketDataClient implements MarketDataClient {
  readonly #snapshot: MarketSnapshot;
  readonly #clock: Clock;

  constructor(snapshot: MarketSnapshot, clock: Clock = new SystemClock()) {
    this.#snapshot = Object.freeze({ ...snapshot });
    this.#clock = clock;
  }

  async fetch(): Promise<MarketSnapshot> {
    return this.#snapshot;
  }

  /** One copy, of now where it has no `timestamp`, when that lies in the range. */
  async fetchRange(options: RangeOptions = {}): Promise<MarketSnapshot[]> {
    return inRange([{ timestamp: Math.floor(this.#clock.now() / 1000), ...this.#snapshot }], options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MarketSnapshot> {
    yield this.#snapshot;
  }
}

export interface QueueMarketDataOptions {
  /** Snapshots that wait, at most: one more is an error of who puts it. */
  maxWaiting?: number;
  /** Snapshots that `fetchRange` remembers, at most: the oldest are forgotten, counted. */
  maxHistory?: number;
}

const MAX_WAITING = 100_000;
const MAX_HISTORY = 10_000;

/** A market that a program or a test feeds: `fetch` waits for the next snapshot and remembers it for `fetchRange`. */
export class QueueMarketDataClient implements MarketDataClient {
  readonly #maxWaiting: number;
  readonly #maxHistory: number;
  #waiting: MarketSnapshot[] = [];
  /** Those before it are taken; cut off when they are half of all. */
  #first = 0;
  readonly #history: MarketSnapshot[] = [];
  #forgotten = 0;
  #closed = false;
  #wake: () => void = () => {};
  #woken = this.#nextWake();

  constructor({ maxWaiting = MAX_WAITING, maxHistory = MAX_HISTORY }: QueueMarketDataOptions = {}) {
    this.#maxWaiting = maxWaiting;
    this.#maxHistory = maxHistory;
  }

  /** Snapshots that `fetchRange` no longer knows. */
  get forgotten(): number {
    return this.#forgotten;
  }

  get size(): number {
    return this.#waiting.length - this.#first;
  }

  get ended(): boolean {
    return this.#closed && this.size === 0;
  }

  /** Appends a snapshot; throws `queue_full` or `closed`. */
  put(snapshot: MarketSnapshot): void {
    if (this.#closed) throw new BotError("closed", "the queue of snapshots is closed");
    if (this.size >= this.#maxWaiting) {
      throw new BotError("queue_full", `${this.#maxWaiting} snapshots wait already`);
    }
    this.#waiting.push(snapshot);
    this.#wake();
  }

  /** Ends the queue: what waits is still given out, then `fetch` resolves to undefined at once. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async fetch({ signal }: FetchOptions = {}): Promise<MarketSnapshot | undefined> {
    while (this.size === 0) {
      if (this.#closed || signal?.aborted) return undefined;
      await firstOf(this.#woken, signal);
    }
    if (signal?.aborted) return undefined;
    const snapshot = this.#waiting[this.#first] as MarketSnapshot;
    this.#first += 1;
    if (this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    this.#remember(snapshot);
    return snapshot;
  }

  #remember(snapshot: MarketSnapshot): void {
    this.#history.push(snapshot);
    if (this.#history.length <= this.#maxHistory) return;
    this.#history.shift();
    this.#forgotten += 1;
  }

  /** What was fetched. A snapshot without a `timestamp` lies in a range only when the range is open at both ends. */
  async fetchRange(options: RangeOptions = {}): Promise<MarketSnapshot[]> {
    return inRange(this.#history, options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MarketSnapshot> {
    while (!this.ended) {
      const snapshot = await this.fetch();
      if (snapshot !== undefined) yield snapshot;
    }
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        resolve();
        this.#woken = this.#nextWake();
      };
    });
  }
}

function inRange(snapshots: readonly MarketSnapshot[], { from, to, limit }: RangeOptions): MarketSnapshot[] {
  const low = from ?? Number.NEGATIVE_INFINITY;
  const high = to ?? Number.POSITIVE_INFINITY;
  const isOpen = from === undefined && to === undefined;
  const found = snapshots.filter((snapshot) => {
    const time = numberIn(snapshot, "timestamp");
    return time === undefined ? isOpen : time >= low && time <= high;
  });
  return found.slice(0, limit);
}
