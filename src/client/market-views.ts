import * as V from "../wire/generated/views.ts";
import { type Common, EventView, type Plain, plain, readDoubles, type Side } from "./event-view.ts";

/** Where the numbers of a Trade and of a Quote begin, that are read at once: the schema's first slots. */
const FIRST_SLOT = 0;

/** A trade; `side` is the aggressor's. */
export class TradeEvent extends EventView {
  readonly type = "trade";
  readonly #view = new V.TradeView();
  /** [price, size] */
  readonly #numbers = new Float64Array(2);

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
    readDoubles(this.#view.table, FIRST_SLOT, this.#numbers);
  }

  get price(): number {
    return this.#numbers[0];
  }

  /** In the unit that the venue counts in. */
  get size(): number {
    return this.#numbers[1];
  }

  get side(): Side {
    return V.SIDE_NAMES[this.#view.side] as Side;
  }

  /** The venue's own; a text is made at each call. */
  get tradeId(): string {
    return this.#view.tradeId;
  }

  get isBlock(): boolean {
    return (this.#view.flags & 1) !== 0;
  }

  get isLiquidation(): boolean {
    return (this.#view.flags & 2) !== 0;
  }

  get isOddLot(): boolean {
    return (this.#view.flags & 4) !== 0;
  }

  toObject() {
    return plain(this, ["price", "size", "side", "tradeId", "isBlock", "isLiquidation", "isOddLot"]);
  }
}

/** The best bid and ask. */
export class QuoteEvent extends EventView {
  readonly type = "quote";
  readonly #view = new V.QuoteView();
  /** [bid, bid's size, ask, ask's size] */
  readonly #numbers = new Float64Array(4);

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
    readDoubles(this.#view.table, FIRST_SLOT, this.#numbers);
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
    return this.#view.live;
  }

  /** 0 where the venue does not count. */
  get venueSequence(): number {
    return this.#view.venueSeq;
  }

  toObject() {
    return plain(this, ["bid", "bidSize", "ask", "askSize", "live", "venueSequence"]);
  }
}

/** Changed levels of a book, size 0 removes; or all of it, `isSnapshot`, best first. A large event spans several. */
export class BookEvent extends EventView {
  readonly type = "book";
  readonly #view = new V.BookLevelsView();

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  get isSnapshot(): boolean {
    return (this.header.flags & 2) !== 0;
  }

  /** The event ends with this frame. */
  get isLast(): boolean {
    return (this.header.flags & 4) !== 0;
  }

  get venueSequence(): number {
    return this.#view.venueSeq;
  }

  get bidCount(): number {
    return this.#view.bidCount;
  }

  get askCount(): number {
    return this.#view.askCount;
  }

  bidPrice(index: number): number {
    return this.#view.bidPrice(index);
  }

  bidSize(index: number): number {
    return this.#view.bidSize(index);
  }

  askPrice(index: number): number {
    return this.#view.askPrice(index);
  }

  askSize(index: number): number {
    return this.#view.askSize(index);
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
  readonly #view = new V.TickerView();

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  get last(): number {
    return this.#view.last;
  }

  get mark(): number {
    return this.#view.mark;
  }

  get index(): number {
    return this.#view.index;
  }

  get openInterest(): number {
    return this.#view.openInterest;
  }

  get volume24h(): number {
    return this.#view.volume24h;
  }

  get high24h(): number {
    return this.#view.high24h;
  }

  get low24h(): number {
    return this.#view.low24h;
  }

  toObject() {
    return plain(this, ["last", "mark", "index", "openInterest", "volume24h", "high24h", "low24h"]);
  }
}

export class FundingEvent extends EventView {
  readonly type = "funding";
  readonly #view = new V.FundingView();

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  /** A fraction per period. */
  get rate(): number {
    return this.#view.rate;
  }

  /** Microseconds. */
  get nextTime(): number {
    return this.#view.nextTime;
  }

  get mark(): number {
    return this.#view.mark;
  }

  get index(): number {
    return this.#view.index;
  }

  toObject() {
    return plain(this, ["rate", "nextTime", "mark", "index"]);
  }
}

/** `side` is the side of the order that was liquidated. */
export class LiquidationEvent extends EventView {
  readonly type = "liquidation";
  readonly #view = new V.LiquidationView();

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  get price(): number {
    return this.#view.price;
  }

  get size(): number {
    return this.#view.size;
  }

  get side(): Side {
    return V.SIDE_NAMES[this.#view.side] as Side;
  }

  toObject() {
    return plain(this, ["price", "size", "side"]);
  }
}
