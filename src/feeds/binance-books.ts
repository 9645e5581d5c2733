import type { Sink } from "../market/sink.ts";
import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import { deliverSnapshot } from "./binance-snapshot.ts";
import type { RestClient } from "./rest.ts";

/** Whole books cost a weight of 250 of 6,000 a minute; when many are waiting, a fifth of the levels for a fifth of it. */
const DEEP = { levels: 5000, weight: 250 };
const SHALLOW = { levels: 1000, weight: 50 };
const MANY_WAITING = 20;
const MAX_CONCURRENT = 3;
/**
 * A snapshot older than the first change is of no use, so the first change is waited for; but a quiet pair sends none,
 * and its snapshot holds as soon as the stream has been asked for this long.
 */
const FIRST_CHANGE_MS = 1_000;
const LOOK_AGAIN_MS = 100;

export interface BinanceBooksOptions {
  sink: Sink;
  venue: number;
  rest: RestClient;
  clock: Clock;
  timers: Timers;
  symbol: (instrument: number) => string | undefined;
  /** The depth stream has been asked for; and has delivered. */
  isSent: (instrument: number) => boolean;
  hasStarted: (instrument: number) => boolean;
}

/** Snapshots of books by REST: one under way per book, a few at once, within the venue's weight. */
export class BinanceBooks {
  readonly #options: BinanceBooksOptions;
  /** When each waiting book's stream was first seen to be asked for, milliseconds; 0 not yet. */
  readonly #waiting = new Map<number, number>();
  /** Requests under way; an answer whose ticket is not the book's any more is dropped. */
  readonly #active = new Map<number, object>();
  #timer: TimerHandle;
  #planned = false;
  #stopped = false;

  constructor(options: BinanceBooksOptions) {
    this.#options = options;
  }

  request(instrument: number): void {
    if (this.#stopped || this.#active.has(instrument) || this.#waiting.has(instrument)) return;
    this.#waiting.set(instrument, 0);
    this.#plan();
  }

  /** Nobody wants the book any more: an answer under way is dropped. */
  cancel(instrument: number): void {
    this.#waiting.delete(instrument);
    this.#active.delete(instrument);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.timers.clearTimeout(this.#timer);
    this.#waiting.clear();
    this.#active.clear();
  }

  #plan(): void {
    if (this.#planned || this.#stopped || this.#waiting.size === 0) return;
    this.#planned = true;
    this.#timer = this.#options.timers.setTimeout(() => {
      this.#planned = false;
      this.#look();
      this.#plan();
    }, LOOK_AGAIN_MS);
  }

  #look(): void {
    const now = this.#options.clock.now() / 1000;
    for (const [instrument, sentMs] of this.#waiting) {
      if (this.#active.size >= MAX_CONCURRENT) return;
      if (!this.#options.isSent(instrument)) continue;
      if (sentMs === 0) this.#waiting.set(instrument, now);
      const waited = sentMs > 0 && now - sentMs >= FIRST_CHANGE_MS;
      if (!waited && !this.#options.hasStarted(instrument)) continue;
      const size = this.#waiting.size > MANY_WAITING ? SHALLOW : DEEP;
      this.#waiting.delete(instrument);
      const ticket = {};
      this.#active.set(instrument, ticket);
      void this.#fetch(instrument, size, ticket);
    }
  }

  async #fetch(instrument: number, size: typeof DEEP, ticket: object): Promise<void> {
    const { rest, symbol, sink, venue } = this.#options;
    const name = encodeURIComponent(symbol(instrument) ?? "");
    let failure = "";
    try {
      const answer = await rest.get(`/api/v3/depth?symbol=${name}&limit=${size.levels}`, size.weight);
      if (!this.#finish(instrument, ticket)) return;
      if (!deliverSnapshot(sink, venue, instrument, answer)) failure = "snapshot is malformed";
    } catch (error) {
      if (!this.#finish(instrument, ticket)) return;
      failure = (error as Error).message;
    }
    if (failure !== "") sink.bookFailed(instrument, failure);
  }

  #finish(instrument: number, ticket: object): boolean {
    return this.#active.get(instrument) === ticket && this.#active.delete(instrument);
  }
}
