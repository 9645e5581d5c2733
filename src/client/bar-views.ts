import { TIMEFRAMES } from "../market/timeframe.ts";
import * as SLOT from "../wire/generated/slots.ts";
import { BAR_SOURCE_NAMES, BAR_STATE_NAMES, STATE_NAMES } from "../wire/generated/views.ts";
import { BAR_COLUMNS } from "./bar-table.ts";
import { type Common, EventView, type Plain, plain } from "./event-view.ts";

/** A frame that does not say its timeframe has none; 0 would be the first. */
const NO_TIMEFRAME = 255;
/** An indicator's value: its number, its lane, whether it is ready, and from the second half on the value. */
const VALUE_BYTES = 16;

export type BarStateName = "building" | "closed" | "corrected";

const BAR_FIELDS = ["timeframe", "state", "source", ...BAR_COLUMNS, "partial", "acrossGap"] as const;

/** One bar: building, closed, or corrected after its close. Volumes are in base units. */
export class BarEvent extends EventView {
  readonly type = "bar";

  get timeframe(): string {
    return TIMEFRAMES[this.table.u8(SLOT.BAR_TIMEFRAME, NO_TIMEFRAME)] ?? "";
  }

  get state(): BarStateName {
    return BAR_STATE_NAMES[this.table.u8(SLOT.BAR_STATE)] as BarStateName;
  }

  /** Whether it was made of trades, or is the venue's own. */
  get source(): "trades" | "venue" {
    return BAR_SOURCE_NAMES[this.table.u8(SLOT.BAR_SOURCE)] as "trades";
  }

  /** Microseconds; the close is exclusive. */
  get openTime(): number {
    return this.table.i64(SLOT.BAR_OPEN_TIME);
  }

  get closeTime(): number {
    return this.table.i64(SLOT.BAR_CLOSE_TIME);
  }

  get open(): number {
    return this.table.f64(SLOT.BAR_OPEN);
  }

  get high(): number {
    return this.table.f64(SLOT.BAR_HIGH);
  }

  get low(): number {
    return this.table.f64(SLOT.BAR_LOW);
  }

  get close(): number {
    return this.table.f64(SLOT.BAR_CLOSE);
  }

  get volume(): number {
    return this.table.f64(SLOT.BAR_VOLUME);
  }

  get quoteVolume(): number {
    return this.table.f64(SLOT.BAR_QUOTE_VOLUME);
  }

  get vwap(): number {
    return this.table.f64(SLOT.BAR_VWAP);
  }

  get buyVolume(): number {
    return this.table.f64(SLOT.BAR_BUY_VOLUME);
  }

  get sellVolume(): number {
    return this.table.f64(SLOT.BAR_SELL_VOLUME);
  }

  get tradeCount(): number {
    return this.table.u64(SLOT.BAR_TRADE_COUNT);
  }

  /** Not all of its trades were seen. */
  get partial(): boolean {
    return this.table.bool(SLOT.BAR_PARTIAL);
  }

  /** The venue lost trades within it. */
  get acrossGap(): boolean {
    return this.table.bool(SLOT.BAR_ACROSS_GAP);
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
  /** What the subscription's ack said the numbers mean. */
  meanings: readonly IndicatorMeaning[] = [];

  get timeframe(): string {
    return TIMEFRAMES[this.table.u8(SLOT.INDICATORS_TIMEFRAME, NO_TIMEFRAME)] ?? "";
  }

  get state(): BarStateName {
    return BAR_STATE_NAMES[this.table.u8(SLOT.INDICATORS_STATE)] as BarStateName;
  }

  /** When the bar opened, microseconds. */
  get barTime(): number {
    return this.table.i64(SLOT.INDICATORS_BAR_TIME);
  }

  /** Values, as they stand in the frame: an indicator's number, its lane, its value, whether it is ready. */
  get count(): number {
    return this.table.lengthOf(SLOT.INDICATORS_VALUES);
  }

  #entry(index: number): number {
    return this.table.element(SLOT.INDICATORS_VALUES, index, VALUE_BYTES);
  }

  indicatorAt(index: number): number {
    return this.table.memory.u16[this.#entry(index) >> 1];
  }

  laneAt(index: number): number {
    return this.table.memory.u8[this.#entry(index) + 2];
  }

  valueAt(index: number): number {
    return this.table.double(SLOT.INDICATORS_VALUES, 2 * index + 1);
  }

  readyAt(index: number): boolean {
    return this.table.memory.u8[this.#entry(index) + 3] === 1;
  }

  /** A value by the indicator's name and the lane's, "macd(12,26,9)" and "histogram"; NaN when it is not there. */
  value(name: string, lane: string): number {
    for (const meaning of this.meanings) {
      if (meaning.name !== name) continue;
      const wanted = meaning.lanes.indexOf(lane);
      for (let index = 0; index < this.count; index += 1) {
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

  get channel(): string {
    return this.info.channel;
  }

  get state(): StreamStateName {
    return STATE_NAMES[this.table.u8(SLOT.STREAM_STATE_STATE)] as StreamStateName;
  }

  get reason(): string {
    return this.table.text(SLOT.STREAM_STATE_REASON);
  }

  /** What the venue, or the way from it, lost: its own numbers, 0 unknown; undefined when it is no loss. */
  get upstreamGap(): { fromId: number; toId: number; fromTime: number; toTime: number; refilled: boolean } | undefined {
    const { table } = this;
    if (!table.bool(SLOT.STREAM_STATE_GAP)) return undefined;
    return {
      fromId: table.u64(SLOT.STREAM_STATE_GAP_FROM_ID),
      toId: table.u64(SLOT.STREAM_STATE_GAP_TO_ID),
      fromTime: table.i64(SLOT.STREAM_STATE_GAP_FROM_TIME),
      toTime: table.i64(SLOT.STREAM_STATE_GAP_TO_TIME),
      refilled: table.bool(SLOT.STREAM_STATE_GAP_REFILLED),
    };
  }

  toObject() {
    return plain(this, ["channel", "state", "reason", "upstreamGap"]);
  }
}
