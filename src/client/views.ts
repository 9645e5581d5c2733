import { TIMEFRAMES } from "../market/timeframe.ts";
import * as V from "../wire/generated/views.ts";
import type { TableView } from "../wire/table-view.ts";
import type { InstrumentName, StreamInfo } from "./receiver.ts";

const NO_STREAM: StreamInfo = {
  stream: 0,
  instrument: { exchange: "", symbol: "" },
  channel: "",
  timeframe: undefined,
  resumable: false,
};
const NO_FRAME = new V.FrameView();

/** Slots of ts_exchange in the schema's Frame, of price and size in Trade, and of a Quote's first number. */
const TS_EXCHANGE_SLOT = 6;
const TRADE_SLOT = 0;
const QUOTE_SLOT = 0;

/**
 * Reads doubles of a table that follow each other into an array. What handlers read most is read at once: a getter that
 * returns an element is so small that V8 always inlines it, where one that looks for its field may return a boxed double.
 */
function readDoubles(table: TableView, slot: number, into: Float64Array): void {
  const { f64 } = table.memory;
  for (let index = 0; index < into.length; index += 1) {
    const at = table.place(slot + index);
    into[index] = at === 0 ? Number.NaN : f64[at >> 3];
  }
}

/** The same for one whole number of 64 bits. */
function readInteger(table: TableView, slot: number, into: Float64Array): void {
  const { i32 } = table.memory;
  const word = table.place(slot) >> 2;
  into[0] = word === 0 ? 0 : i32[word + 1] * 4294967296 + (i32[word] >>> 0);
}

/** What every plain event says beside the fields of its kind. */
const COMMON = [
  "exchange",
  "symbol",
  "stream",
  "epoch",
  "position",
  "sequence",
  "tsExchange",
  "tsReceive",
  "tsPublish",
  "flags",
] as const;

type Common = "type" | (typeof COMMON)[number];
type Plain<View, Key extends keyof View> = { readonly [Name in Key]: View[Name] };

/** A plain object with some of a view's fields, in this order. */
function plain<View extends EventView & { readonly type: string }, Key extends keyof View>(
  view: View,
  keys: readonly Key[],
): Plain<View, Key | Common> {
  const all: Record<string, unknown> = { type: view.type };
  for (const key of COMMON) all[key] = view[key];
  for (const key of keys) all[key as string] = view[key];
  return all as Plain<View, Key | Common>;
}

export type Side = "buy" | "sell" | "unknown";

/**
 * What every event says. A view is one object for all events of its kind: it reads the frame's own bytes, and is good in
 * the handler's call only; `toObject` makes something to keep. Prices and sizes are the venue's own; times are whole
 * microseconds since 1970, 0 where unknown; a number that is not known is NaN. Hot path.
 */
export abstract class EventView {
  /** One object for each instrument, for as long as the client lives: it can be a key. */
  instrument: InstrumentName = NO_STREAM.instrument;
  info: StreamInfo = NO_STREAM;
  protected header: V.FrameView = NO_FRAME;
  readonly #time = new Float64Array(1);

  /** Points the view at a frame, which must be of its kind. */
  attach(frame: V.FrameView, info: StreamInfo): this {
    this.header = frame;
    this.info = info;
    this.instrument = info.instrument;
    readInteger(frame.table, TS_EXCHANGE_SLOT, this.#time);
    this.attachPayload(frame);
    return this;
  }

  protected abstract attachPayload(frame: V.FrameView): void;

  /** The channel's event as a plain object, in the same words. */
  abstract toObject(): object;

  get exchange(): string {
    return this.instrument.exchange;
  }

  get symbol(): string {
    return this.instrument.symbol;
  }

  get stream(): number {
    return this.header.stream;
  }

  /** A number of the server's start, or of several that followed each other cleanly. */
  get epoch(): number {
    return this.header.epoch;
  }

  get position(): number {
    return this.header.position;
  }

  /** Of the stream, from 1; a derived event stands for those from `fromSequence` on. */
  get sequence(): number {
    return this.header.seq;
  }

  get fromSequence(): number {
    return this.header.fromSeq;
  }

  /** The venue's time of the event, when the gateway got it, and when it published it. */
  get tsExchange(): number {
    return this.#time[0];
  }

  get tsReceive(): number {
    return this.header.tsReceive;
  }

  get tsPublish(): number {
    return this.header.tsPublish;
  }

  /** Bits: 1 derived, 2 snapshot, 4 last of event, 8 correction, 16 backfilled, 32 inexact. */
  get flags(): number {
    return this.header.flags;
  }
}

/** A trade; `side` is the aggressor's. */
export class TradeEvent extends EventView {
  readonly type = "trade";
  readonly #view = new V.TradeView();
  /** [price, size] */
  readonly #numbers = new Float64Array(2);

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
    readDoubles(this.#view.table, TRADE_SLOT, this.#numbers);
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
    readDoubles(this.#view.table, QUOTE_SLOT, this.#numbers);
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

export type BarStateName = "building" | "closed" | "corrected";

const BAR_FIELDS = [
  "timeframe",
  "state",
  "source",
  "openTime",
  "closeTime",
  "open",
  "high",
  "low",
  "close",
  "volume",
  "quoteVolume",
  "vwap",
  "buyVolume",
  "sellVolume",
  "tradeCount",
  "partial",
  "acrossGap",
] as const;

/** One bar: building, closed, or corrected after its close. Volumes are in base units. */
export class BarEvent extends EventView {
  readonly type = "bar";
  readonly #view = new V.BarView();

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  get timeframe(): string {
    return TIMEFRAMES[this.#view.timeframe] ?? "";
  }

  get state(): BarStateName {
    return V.BAR_STATE_NAMES[this.#view.state] as BarStateName;
  }

  /** Whether it was made of trades, or is the venue's own. */
  get source(): "trades" | "venue" {
    return V.BAR_SOURCE_NAMES[this.#view.source] as "trades";
  }

  /** Microseconds; the close is exclusive. */
  get openTime(): number {
    return this.#view.openTime;
  }

  get closeTime(): number {
    return this.#view.closeTime;
  }

  get open(): number {
    return this.#view.open;
  }

  get high(): number {
    return this.#view.high;
  }

  get low(): number {
    return this.#view.low;
  }

  get close(): number {
    return this.#view.close;
  }

  get volume(): number {
    return this.#view.volume;
  }

  get quoteVolume(): number {
    return this.#view.quoteVolume;
  }

  get vwap(): number {
    return this.#view.vwap;
  }

  get buyVolume(): number {
    return this.#view.buyVolume;
  }

  get sellVolume(): number {
    return this.#view.sellVolume;
  }

  get tradeCount(): number {
    return this.#view.tradeCount;
  }

  /** Not all of its trades were seen. */
  get partial(): boolean {
    return this.#view.partial;
  }

  /** The venue lost trades within it. */
  get acrossGap(): boolean {
    return this.#view.acrossGap;
  }

  toObject() {
    return plain(this, BAR_FIELDS);
  }
}

/** What an indicator's number in frames means. */
export interface IndicatorMeaning {
  id: number;
  /** "macd(12,26,9)" */
  name: string;
  lanes: readonly string[];
}

/** Values by indicator and lane, and whether each is ready. */
export type PlainIndicators = Record<string, Record<string, number | boolean>>;

/** The indicators of one bar. */
export class IndicatorsEvent extends EventView {
  readonly type = "indicators";
  readonly #view = new V.IndicatorsView();
  /** What the subscription's ack said the numbers mean. */
  meanings: readonly IndicatorMeaning[] = [];

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  get timeframe(): string {
    return TIMEFRAMES[this.#view.timeframe] ?? "";
  }

  get state(): BarStateName {
    return V.BAR_STATE_NAMES[this.#view.state] as BarStateName;
  }

  /** When the bar opened, microseconds. */
  get barTime(): number {
    return this.#view.barTime;
  }

  /** Values, as they stand in the frame: an indicator's number, its lane, its value, whether it is ready. */
  get count(): number {
    return this.#view.valueCount;
  }

  indicatorAt(index: number): number {
    return this.#view.valueIndicator(index);
  }

  laneAt(index: number): number {
    return this.#view.valueLane(index);
  }

  valueAt(index: number): number {
    return this.#view.valueValue(index);
  }

  readyAt(index: number): boolean {
    return this.#view.valueReady(index) === 1;
  }

  /** A value by the indicator's name and the lane's, "macd(12,26,9)" and "histogram"; NaN when it is not there. */
  value(name: string, lane: string): number {
    for (const meaning of this.meanings) {
      if (meaning.name !== name) continue;
      const wanted = meaning.lanes.indexOf(lane);
      for (let index = 0; index < this.#view.valueCount; index += 1) {
        if (this.indicatorAt(index) === meaning.id && this.laneAt(index) === wanted) return this.valueAt(index);
      }
    }
    return Number.NaN;
  }

  toObject(): Plain<IndicatorsEvent, Common | "timeframe" | "state" | "barTime"> & { values: PlainIndicators } {
    const values: PlainIndicators = {};
    for (let index = 0; index < this.count; index += 1) {
      const meaning = this.meanings.find(({ id }) => id === this.indicatorAt(index));
      const name = meaning?.name ?? String(this.indicatorAt(index));
      const lane = meaning?.lanes[this.laneAt(index)] ?? String(this.laneAt(index));
      values[name] = { ...values[name], [lane]: this.valueAt(index), ready: this.readyAt(index) };
    }
    return { ...plain(this, ["timeframe", "state", "barTime"]), values };
  }
}

export type StreamStateName = "unknown" | "syncing" | "live" | "quiet" | "stale" | "resyncing" | "down";

/** A change of a stream's state, or what the venue lost of it. */
export class StateEvent extends EventView {
  readonly type = "state";
  readonly #view = new V.StreamStateView();

  protected attachPayload(frame: V.FrameView): void {
    this.#view.attach(frame.table.memory, frame.payloadAt);
  }

  get channel(): string {
    return this.info.channel;
  }

  get state(): StreamStateName {
    return V.STATE_NAMES[this.#view.state] as StreamStateName;
  }

  get reason(): string {
    return this.#view.reason;
  }

  /** What the venue, or the way from it, lost: its own numbers, 0 unknown; undefined when it is no loss. */
  get upstreamGap(): { fromId: number; toId: number; fromTime: number; toTime: number; refilled: boolean } | undefined {
    const view = this.#view;
    if (!view.gap) return undefined;
    const { gapFromId: fromId, gapToId: toId, gapFromTime: fromTime, gapToTime: toTime, gapRefilled: refilled } = view;
    return { fromId, toId, fromTime, toTime, refilled };
  }

  toObject() {
    return plain(this, ["channel", "state", "reason", "upstreamGap"]);
  }
}
