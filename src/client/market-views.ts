import * as SLOT from "../wire/generated/slots.ts";
import { type FrameView, SIDE_NAMES } from "../wire/generated/views.ts";
import { type Common, EventView, type Plain, plain, type Side } from "./event-view.ts";
import type { StreamInfo } from "./receiver.ts";

/** A trade; `side` is the aggressor's. */
export class TradeEvent extends EventView {
  readonly type = "trade";
  /**
   * [price, size]. What handlers read most is read at once: a getter that returns an element is so small that V8 always
   * inlines it, where one that looks for its field may return a boxed double.
   */
  readonly #numbers = new Float64Array(2);

  override attach(frame: FrameView, info: StreamInfo): this {
    super.attach(frame, info);
    this.table.doubles(SLOT.TRADE_PRICE, this.#numbers);
    return this;
  }

  get price(): number {
    return this.#numbers[0];
  }

  /** In the unit that the venue counts in. */
  get size(): number {
    return this.#numbers[1];
  }

  get side(): Side {
    return SIDE_NAMES[this.table.u8(SLOT.TRADE_SIDE)] as Side;
  }

  /** The venue's own; a text is made at each call. */
  get tradeId(): string {
    return this.table.text(SLOT.TRADE_TRADE_ID);
  }

  get isBlock(): boolean {
    return (this.table.u8(SLOT.TRADE_FLAGS) & 1) !== 0;
  }

  get isLiquidation(): boolean {
    return (this.table.u8(SLOT.TRADE_FLAGS) & 2) !== 0;
  }

  get isOddLot(): boolean {
    return (this.table.u8(SLOT.TRADE_FLAGS) & 4) !== 0;
  }

  toObject() {
    return plain(this, ["price", "size", "side", "tradeId", "isBlock", "isLiquidation", "isOddLot"]);
  }
}

/** The best bid and ask. */
export class QuoteEvent extends EventView {
  readonly type = "quote";
  /** [bid, bid's size, ask, ask's size] */
  readonly #numbers = new Float64Array(4);

  override attach(frame: FrameView, info: StreamInfo): this {
    super.attach(frame, info);
    this.table.doubles(SLOT.QUOTE_BID_PRICE, this.#numbers);
    return this;
  }

  get bid(): number {
    return this.#numbers[0];
  }

  get bidSize(): number {
    return this.#numbers[1];
  }

  get ask(): number {
    return this.#numbers[2];
  }

  get askSize(): number {
    return this.#numbers[3];
  }

  /** False while the book that it depends on is not right. */
  get live(): boolean {
    return this.table.bool(SLOT.QUOTE_LIVE);
  }

  /** 0 where the venue does not count. */
  get venueSequence(): number {
    return this.table.u64(SLOT.QUOTE_VENUE_SEQ);
  }

  toObject() {
    return plain(this, ["bid", "bidSize", "ask", "askSize", "live", "venueSequence"]);
  }
}

/** Changed levels of a book, size 0 removes; or all of it, `isSnapshot`, best first. A large event spans several. */
export class BookEvent extends EventView {
  readonly type = "book";

  get isSnapshot(): boolean {
    return (this.header.flags & 2) !== 0;
  }

  /** The event ends with this frame. */
  get isLast(): boolean {
    return (this.header.flags & 4) !== 0;
  }

  get venueSequence(): number {
    return this.table.u64(SLOT.BOOK_LEVELS_VENUE_SEQ);
  }

  get bidCount(): number {
    return this.table.lengthOf(SLOT.BOOK_LEVELS_BIDS);
  }

  get askCount(): number {
    return this.table.lengthOf(SLOT.BOOK_LEVELS_ASKS);
  }

  /** A level is two doubles: its price, its size. */
  bidPrice(index: number): number {
    return this.table.double(SLOT.BOOK_LEVELS_BIDS, 2 * index);
  }

  bidSize(index: number): number {
    return this.table.double(SLOT.BOOK_LEVELS_BIDS, 2 * index + 1);
  }

  askPrice(index: number): number {
    return this.table.double(SLOT.BOOK_LEVELS_ASKS, 2 * index);
  }

  askSize(index: number): number {
    return this.table.double(SLOT.BOOK_LEVELS_ASKS, 2 * index + 1);
  }

  toObject(): Plain<BookEvent, Common | "isSnapshot" | "isLast" | "venueSequence"> &
    Record<"bids" | "asks", number[][]> {
    const bids = Array.from({ length: this.bidCount }, (_, index) => [this.bidPrice(index), this.bidSize(index)]);
    const asks = Array.from({ length: this.askCount }, (_, index) => [this.askPrice(index), this.askSize(index)]);
    return { ...plain(this, ["isSnapshot", "isLast", "venueSequence"]), bids, asks };
  }
}

export class TickerEvent extends EventView {
  readonly type = "ticker";

  get last(): number {
    return this.table.f64(SLOT.TICKER_LAST);
  }

  get mark(): number {
    return this.table.f64(SLOT.TICKER_MARK);
  }

  get index(): number {
    return this.table.f64(SLOT.TICKER_INDEX);
  }

  get openInterest(): number {
    return this.table.f64(SLOT.TICKER_OPEN_INTEREST);
  }

  get volume24h(): number {
    return this.table.f64(SLOT.TICKER_VOLUME_24H);
  }

  get high24h(): number {
    return this.table.f64(SLOT.TICKER_HIGH_24H);
  }

  get low24h(): number {
    return this.table.f64(SLOT.TICKER_LOW_24H);
  }

  toObject() {
    return plain(this, ["last", "mark", "index", "openInterest", "volume24h", "high24h", "low24h"]);
  }
}

export class FundingEvent extends EventView {
  readonly type = "funding";

  /** A fraction per period. */
  get rate(): number {
    return this.table.f64(SLOT.FUNDING_RATE);
  }

  /** Microseconds. */
  get nextTime(): number {
    return this.table.i64(SLOT.FUNDING_NEXT_TIME);
  }

  get mark(): number {
    return this.table.f64(SLOT.FUNDING_MARK);
  }

  get index(): number {
    return this.table.f64(SLOT.FUNDING_INDEX);
  }

  toObject() {
    return plain(this, ["rate", "nextTime", "mark", "index"]);
  }
}

/** `side` is the side of the order that was liquidated. */
export class LiquidationEvent extends EventView {
  readonly type = "liquidation";

  get price(): number {
    return this.table.f64(SLOT.LIQUIDATION_PRICE);
  }

  get size(): number {
    return this.table.f64(SLOT.LIQUIDATION_SIZE);
  }

  get side(): Side {
    return SIDE_NAMES[this.table.u8(SLOT.LIQUIDATION_SIDE)] as Side;
  }

  toObject() {
    return plain(this, ["price", "size", "side"]);
  }
}
