import { TIMEFRAMES } from "../market/timeframe.ts";
import * as V from "../wire/generated/views.ts";
import { type Common, EventView, type Plain, plain } from "./event-view.ts";

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
