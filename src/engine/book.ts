import { BookSide } from "../market/book-side.ts";
import type { BookIntegrity, LevelList } from "../market/sink.ts";
import {
  FIRST_SEQUENCE,
  LAST_SEQUENCE,
  SLOT_NUMBERS,
  STATE_LIVE,
  STATE_RESYNCING,
  STATE_STALE,
  STATE_SYNCING,
} from "../market/sink.ts";
import { PendingDeltas } from "./pending-deltas.ts";

/** What a message did to a book. */
export const BOOK_APPLIED = 0;
/** Kept until the snapshot comes. */
export const BOOK_BUFFERED = 1;
/** Older than the book, or for a book that cannot use it: no change. */
export const BOOK_IGNORED = 2;
/** The venue's integrity rule is broken: the book is wrong from here on. */
export const BOOK_BREACH = 3;
/** The snapshot is older than what was buffered: another one must be fetched. */
export const BOOK_SNAPSHOT_OLD = 4;

/**
 * One instrument's book and its state machine:
 *
 *              snapshot                 breach, silence, connection lost
 *   syncing ──────────────> live ─────────────────────────────> stale ──> resyncing ──snapshot──> live
 *
 * The levels are right or the state says that they are not. The rule `range` (Binance spot): deltas name the updates
 * U..u they cover, are buffered until the REST snapshot, the first one kept must bracket it, and each must follow the
 * one before. The rule `guaranteed` (Coinbase): a snapshot, then deltas in order by contract; nothing to count.
 */
export class Book {
  state = STATE_SYNCING;
  readonly bids = new BookSide(true);
  readonly asks = new BookSide(false);
  readonly #integrity: BookIntegrity;
  readonly #pending = new PendingDeltas();
  /** The book's own numbers, laid out as a slot's: LAST_SEQUENCE is the last update applied. */
  readonly numbers = new Float64Array(SLOT_NUMBERS);
  /** True from the snapshot until the first delta has bracketed it. */
  #bracket = false;
  resyncs = 0;
  /** Why the last breach happened. */
  reason = "";

  constructor(integrity: BookIntegrity) {
    this.#integrity = integrity;
  }

  /** The venue's number of the last update applied. */
  get sequence(): number {
    return this.numbers[LAST_SEQUENCE];
  }

  get live(): boolean {
    return this.state === STATE_LIVE;
  }

  /** False once the book was lost, until it is right again; a book that has never been live says nothing of quotes. */
  get usable(): boolean {
    return this.state === STATE_LIVE || this.state === STATE_SYNCING;
  }

  /** The levels are no longer known to be right. */
  lose(reason: string): void {
    this.state = STATE_STALE;
    this.reason = reason;
    this.#pending.clear();
  }

  /** A snapshot is on its way; deltas are kept for it from now on. */
  resync(): void {
    this.state = this.state === STATE_SYNCING ? STATE_SYNCING : STATE_RESYNCING;
    this.resyncs += 1;
    this.#pending.clear();
  }

  /** Levels changed, as the message in the slot says. Hot path. */
  delta(numbers: Float64Array, bids: LevelList, asks: LevelList): number {
    if (this.state !== STATE_LIVE) return this.#buffer(numbers, bids, asks);
    return this.#follow(numbers, bids.values, bids.count, asks.values, asks.count);
  }

  #buffer(numbers: Float64Array, bids: LevelList, asks: LevelList): number {
    if (this.state === STATE_STALE || this.#integrity !== "range") return BOOK_IGNORED;
    if (this.#pending.add(numbers, bids, asks)) return BOOK_BUFFERED;
    this.reason = "more updates than the buffer holds came before the snapshot";
    return BOOK_BREACH;
  }

  #follow(numbers: Float64Array, bids: Float64Array, bidCount: number, asks: Float64Array, askCount: number): number {
    if (this.#integrity === "range") {
      const last = numbers[LAST_SEQUENCE];
      const expected = this.numbers[LAST_SEQUENCE] + 1;
      if (last < expected) return BOOK_IGNORED;
      const first = numbers[FIRST_SEQUENCE];
      if (this.#bracket ? first > expected : first !== expected) {
        this.reason = first > expected ? "sequence gap" : "sequence overlap";
        return BOOK_BREACH;
      }
      this.#bracket = false;
      this.numbers[LAST_SEQUENCE] = last;
    }
    this.bids.applyAll(bids, bidCount);
    this.asks.applyAll(asks, askCount);
    return this.#checked();
  }

  #checked(): number {
    const { bids, asks } = this;
    if (bids.count > 0 && asks.count > 0 && bids.prices[bids.count - 1] > asks.prices[asks.count - 1]) {
      this.reason = "bid above ask";
      return BOOK_BREACH;
    }
    return BOOK_APPLIED;
  }

  /** The whole book. After BOOK_APPLIED it is live, with what was buffered applied. */
  snapshot(numbers: Float64Array, bids: LevelList, asks: LevelList): number {
    const last = numbers[LAST_SEQUENCE];
    const pending = this.#pending;
    if (this.#integrity === "range" && pending.count > 0 && last < pending.firstSequence) return BOOK_SNAPSHOT_OLD;
    this.bids.clear();
    this.asks.clear();
    this.bids.applyAll(bids.values, bids.count);
    this.asks.applyAll(asks.values, asks.count);
    this.numbers[LAST_SEQUENCE] = last;
    this.#bracket = true;
    let result = this.#checked();
    for (let index = 0; index < pending.count && result !== BOOK_BREACH; index += 1) {
      const delta = pending.at(index);
      result = this.#follow(delta.numbers, delta.bids, delta.bids.length >> 1, delta.asks, delta.asks.length >> 1);
    }
    pending.clear();
    if (result === BOOK_BREACH) return BOOK_BREACH;
    this.state = STATE_LIVE;
    return BOOK_APPLIED;
  }
}
