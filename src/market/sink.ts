import type { Channel } from "./channel.ts";
import type { InstrumentListing } from "./instrument.ts";

/*
 * What a feed hands over. Numbers travel in a slot of typed arrays that the feed fills and the sink reads in the same
 * call: a double or an integer above 2^31 that is passed as an argument gets boxed wherever V8 does not inline the call,
 * and each box is garbage. Arguments are small integers only.
 */

/** Fields of `Slot.numbers`. Unknown is NaN for a quantity and 0 for a time or a sequence. */
export const PRICE = 0;
export const SIZE = 1;
/** The venue's time of the event, microseconds; 0 when the message has none. */
export const TS_EXCHANGE = 2;
/** The trade's id as a number where the venue counts them (used for dedupe and holes), else 0. */
export const TRADE_NUMBER = 3;
export const BID_PRICE = 4;
export const BID_SIZE = 5;
export const ASK_PRICE = 6;
export const ASK_SIZE = 7;
/** First and last sequence that a book message covers, and the one before it, as the venue counts; 0 unknown. */
export const FIRST_SEQUENCE = 8;
export const LAST_SEQUENCE = 9;
export const PREVIOUS_SEQUENCE = 10;
export const CHECKSUM = 11;
export const LAST = 12;
export const MARK = 13;
export const INDEX = 14;
export const OPEN_INTEREST = 15;
export const VOLUME_24H = 16;
export const HIGH_24H = 17;
export const LOW_24H = 18;
export const FUNDING_RATE = 19;
/** Next funding time, microseconds. */
export const NEXT_FUNDING = 20;
export const SLOT_NUMBERS = 24;

export const SIDE_UNKNOWN = 0;
export const SIDE_BUY = 1;
export const SIDE_SELL = 2;

/** Flags of a trade or a book message. */
export const FLAG_BLOCK = 1;
export const FLAG_LIQUIDATION = 2;
export const FLAG_ODD_LOT = 4;
/** A number of the venue did not fit a double exactly. */
export const FLAG_INEXACT = 8;

export const MAX_TRADE_ID_BYTES = 40;
/** Most levels of one side that a message may carry; the largest venue books hold some tens of thousands. */
export const MAX_MESSAGE_LEVELS = 1 << 18;

/** One side of a book message: (price, size) pairs, in the order of the message. Grows, never shrinks. */
export class LevelList {
  /** price at 2i, size at 2i + 1. */
  values = new Float64Array(2 * 512);
  count = 0;

  /** Makes room for one more level; false when the message holds more than a book may have. */
  reserve(): boolean {
    if (2 * this.count < this.values.length) return true;
    if (this.count >= MAX_MESSAGE_LEVELS) return false;
    const larger = new Float64Array(this.values.length * 2);
    larger.set(this.values);
    this.values = larger;
    return true;
  }

  push(price: number, size: number): boolean {
    if (!this.reserve()) return false;
    const at = 2 * this.count;
    this.values[at] = price;
    this.values[at + 1] = size;
    this.count += 1;
    return true;
  }
}

/** The one slot that all feeds of a process fill, a message at a time. */
export class Slot {
  readonly numbers = new Float64Array(SLOT_NUMBERS);
  /** The trade's id as the venue wrote it, in ASCII or UTF-8. */
  readonly tradeId = new Uint8Array(MAX_TRADE_ID_BYTES + 4);
  /** The same bytes, four at a time. */
  readonly tradeIdWords = new Int32Array(this.tradeId.buffer);
  tradeIdLength = 0;
  readonly bids = new LevelList();
  readonly asks = new LevelList();
}

/** States of a stream or of a feed, in the order of the schema's enum. */
export const STATES = ["unknown", "syncing", "live", "quiet", "stale", "resyncing", "down"] as const;
export type StreamStateName = (typeof STATES)[number];
export const STATE_SYNCING = 1;
export const STATE_LIVE = 2;
export const STATE_QUIET = 3;
export const STATE_STALE = 4;
export const STATE_RESYNCING = 5;
export const STATE_DOWN = 6;

/** Bars of history as a venue gives them: rows of [open time µs, open, high, low, close, volume, quote volume, taker buy volume, trade count]. */
export const HISTORY_ROW = 9;

/** How the venue lets a book be checked (its page in the protocols says why). */
export type BookIntegrity =
  /** Each delta names the first and the last update it covers; a REST snapshot is bracketed by them (Binance spot). */
  | "range"
  /** No sequence at all: a snapshot on subscribe, then deltas whose delivery the venue guarantees (Coinbase Exchange). */
  | "guaranteed";

/** What a venue is, as far as the engine must know it. */
export interface VenueRules {
  integrity: BookIntegrity;
  /** Trade ids are numbers that grow by one: a hole is a loss, a repeat is a duplicate. */
  contiguousTradeIds: boolean;
  /** The venue has a best-bid-ask stream of its own; without one quotes are made from the book. */
  ownQuotes: boolean;
  /** Quotes carry sequences of the book's own count, so that the two can be checked against each other. */
  quotesShareBookSequence: boolean;
}

/** What feeds call; the engine is it. Every call but the last four is on the hot path. */
export interface Sink {
  readonly slot: Slot;
  /** Opens a message of a venue: the turn's time is taken, bars that are due close first. */
  begin(venue: number): void;
  /**
   * A trade of the instrument is being read: brings what `trade` will change into the processor's cache meanwhile. It
   * changes nothing that can be seen, so a feed may call it for a message that turns out to be none, or not at all.
   */
  prefetch(instrument: number): void;
  /** A trade: PRICE, SIZE, TS_EXCHANGE, TRADE_NUMBER, tradeId. `side` is the aggressor's. */
  trade(instrument: number, side: number, flags: number): void;
  /** Best bid and ask from the venue's own stream: BID_*, ASK_*, TS_EXCHANGE, LAST_SEQUENCE. */
  quote(instrument: number, flags: number): void;
  /** Changed levels: bids, asks, TS_EXCHANGE, FIRST_, LAST_, PREVIOUS_SEQUENCE. Size 0 removes. */
  bookDelta(instrument: number, flags: number): void;
  /** The whole book: bids, asks, TS_EXCHANGE, LAST_SEQUENCE. */
  bookSnapshot(instrument: number, flags: number): void;
  /** LAST, MARK, INDEX, OPEN_INTEREST, VOLUME_24H, HIGH_24H, LOW_24H, TS_EXCHANGE. */
  ticker(instrument: number, flags: number): void;
  /** FUNDING_RATE, NEXT_FUNDING, MARK, INDEX, TS_EXCHANGE. */
  funding(instrument: number, flags: number): void;
  /** PRICE, SIZE, TS_EXCHANGE. `side` is the side of the order that was liquidated. */
  liquidation(instrument: number, side: number, flags: number): void;
  /** The venue's time from a message that is no event (heartbeat, server time): moves the venue's clock only. */
  heartbeat(venue: number): void;
  /** The venue says which trade was its last (TRADE_NUMBER): a hole before it is a loss. */
  lastTrade(instrument: number): void;

  /** The venue's list, in its order, or a part of it while `more` follow; ids are returned in the same order. */
  instruments(venue: number, listings: readonly InstrumentListing[], more?: boolean): number[];
  /** Bars of history, oldest first, rows of HISTORY_ROW numbers; the last may be the building one. */
  history(instrument: number, timeframe: number, rows: Float64Array): void;
  /** The connection that carries these streams is up, or was lost: every stream on it changes state. */
  connection(venue: number, state: number, reason: string): void;
  /** The venue refused the book, or its snapshot could not be fetched: ask again after a delay. */
  bookFailed(instrument: number, reason: string): void;
}

/** What the engine and the demand ask of a feed; none of it is on the hot path. */
export interface FeedControl {
  /** Subscribes to a channel of an instrument at the venue; idempotent. */
  subscribe(instrument: number, channel: Channel): void;
  unsubscribe(instrument: number, channel: Channel): void;
  /** Starts the book anew: fetch a snapshot, or subscribe again, whichever the venue's rule is. */
  resyncBook(instrument: number): void;
  /** Fetches bars of history; they arrive by `sink.history`, or not at all where the venue has none. */
  fetchHistory(instrument: number, timeframe: number, bars: number): void;
}
