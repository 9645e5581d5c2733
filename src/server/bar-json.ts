import type { BarPage } from "../engine/bar-archive.ts";
import type { LatestBars } from "../engine/bar-frames.ts";
import {
  BAR_ACROSS_GAP,
  BAR_BUY_VOLUME,
  BAR_CLOSE,
  BAR_CLOSE_TIME,
  BAR_FLAGS,
  BAR_FROM_VENUE,
  BAR_HIGH,
  BAR_LOW,
  BAR_OPEN,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_QUOTE_VOLUME,
  BAR_SELL_VOLUME,
  BAR_SIZE,
  BAR_TRADE_COUNT,
  BAR_VOLUME,
  BAR_VWAP,
} from "../indicators/bar.ts";
import { describe } from "../indicators/describe.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import { numberOrNull } from "./describe.ts";

/** One bar with its indicators, as REST gives it. Times are milliseconds. */
export function barJson(
  bars: Float64Array,
  at: number,
  state: string,
  plan: IndicatorPlan,
  rows: Float64Array,
  rowAt: number,
) {
  const flags = bars[at + BAR_FLAGS];
  const field = (index: number) => numberOrNull(bars[at + index]);
  return {
    open_time: Math.floor(bars[at + BAR_OPEN_TIME] / 1000),
    close_time: Math.floor(bars[at + BAR_CLOSE_TIME] / 1000),
    open: field(BAR_OPEN),
    high: field(BAR_HIGH),
    low: field(BAR_LOW),
    close: field(BAR_CLOSE),
    volume: field(BAR_VOLUME),
    quote_volume: field(BAR_QUOTE_VOLUME),
    vwap: field(BAR_VWAP),
    buy_volume: field(BAR_BUY_VOLUME),
    sell_volume: field(BAR_SELL_VOLUME),
    trade_count: field(BAR_TRADE_COUNT),
    state,
    source: (flags & BAR_FROM_VENUE) !== 0 ? "venue" : "trades",
    partial: (flags & BAR_PARTIAL) !== 0,
    across_gap: (flags & BAR_ACROSS_GAP) !== 0,
    indicators: indicatorsJson(plan, rows, rowAt),
  };
}

/** The values of one bar by indicator and lane, with what is derived from them. */
export function indicatorsJson(plan: IndicatorPlan, rows: Float64Array, rowAt: number): Record<string, object> {
  const values: Record<string, object> = {};
  let entry = 0;
  for (const indicator of plan.indicators) {
    const lanes: number[] = [];
    let ready = false;
    for (const _lane of indicator.lanes) {
      lanes.push(rows[rowAt + plan.entryValue[entry]]);
      ready = rows[rowAt + plan.entryReady[entry]] !== 0;
      entry += 1;
    }
    const named = Object.fromEntries(
      indicator.lanes.map((lane, index) => [lane, numberOrNull(lanes[index] as number)]),
    );
    values[indicator.name] = { ...named, ...describe(indicator).style(lanes), ready };
  }
  return values;
}

/** The newest closed bar and the building one, or null. */
export function latestJson({ plan, closed, building }: LatestBars) {
  return {
    closed: closed === undefined ? null : barJson(closed.bar, 0, "closed", plan, closed.row, 0),
    building: building === undefined ? null : barJson(building.bar, 0, "building", plan, building.row, 0),
  };
}

/** The page's bars, oldest first. */
export function pageJson({ count, bars, plan, rows }: BarPage) {
  return Array.from({ length: count }, (_, index) =>
    barJson(bars, index * BAR_SIZE, "closed", plan, rows, index * plan.rowSize),
  );
}

/** `[ms, open, high, low, close, volume]` rows, as ccxt has them. */
export function ohlcvJson(bars: Float64Array, count: number): (number | null)[][] {
  return Array.from({ length: count }, (_, index) => {
    const at = index * BAR_SIZE;
    const field = (each: number) => numberOrNull(bars[at + each]);
    const time = Math.floor(bars[at + BAR_OPEN_TIME] / 1000);
    return [time, field(BAR_OPEN), field(BAR_HIGH), field(BAR_LOW), field(BAR_CLOSE), field(BAR_VOLUME)];
  });
}
