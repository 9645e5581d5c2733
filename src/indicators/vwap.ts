import { BAR_FLAGS, BAR_OPEN_TIME, BAR_PARTIAL, BAR_QUOTE_VOLUME, BAR_VOLUME } from "./bar.ts";
import type { Indicator, IndicatorKind } from "./indicator.ts";

const VALUE = 0;
const LANES = ["value"];
const QUOTE_VOLUME = 1;
const VOLUME = 2;
/** Start of the day that the sums are of, microseconds; NaN before the first bar. */
const DAY = 3;
/** 1 while every bar of the day so far was seen whole. */
const COVERED = 4;
const SIZE = 5;

const DAY_MICROS = 86_400e6;

/**
 * Volume-weighted average price of the day so far, anchored at UTC midnight; NaN while nothing was traded. Ready only
 * while the bars reach back to midnight: the first bar known opened then, or a bar of an earlier day was known, and
 * none since is partial. Hot path.
 */
class Vwap implements Indicator {
  readonly name = "vwap";
  readonly lanes = LANES;
  readonly size = SIZE;
  readonly parameters: readonly number[] = [];

  init(state: Float64Array, at: number, _seed: number): void {
    state[at + VALUE] = Number.NaN;
    state[at + QUOTE_VOLUME] = 0;
    state[at + VOLUME] = 0;
    state[at + DAY] = Number.NaN;
    state[at + COVERED] = 0;
  }

  update(state: Float64Array, at: number, bars: Float64Array, bar: number): void {
    const opened = bars[bar + BAR_OPEN_TIME];
    const sameDay = opened - state[at + DAY] < DAY_MICROS;
    const covered = coveredWith(state, at, bars, bar);
    const quoteVolume = bars[bar + BAR_QUOTE_VOLUME] + (sameDay ? state[at + QUOTE_VOLUME] : 0);
    const volume = bars[bar + BAR_VOLUME] + (sameDay ? state[at + VOLUME] : 0);
    state[at + QUOTE_VOLUME] = quoteVolume;
    state[at + VOLUME] = volume;
    state[at + VALUE] = volume === 0 ? Number.NaN : quoteVolume / volume;
    state[at + COVERED] = covered ? 1 : 0;
    if (!sameDay) state[at + DAY] = opened - (opened % DAY_MICROS);
  }

  peek(state: Float64Array, at: number, bars: Float64Array, bar: number, out: Float64Array, outAt: number): void {
    const sameDay = bars[bar + BAR_OPEN_TIME] - state[at + DAY] < DAY_MICROS;
    const quoteVolume = bars[bar + BAR_QUOTE_VOLUME] + (sameDay ? state[at + QUOTE_VOLUME] : 0);
    const volume = bars[bar + BAR_VOLUME] + (sameDay ? state[at + VOLUME] : 0);
    const value = volume === 0 ? Number.NaN : quoteVolume / volume;
    out[outAt + VALUE] = value;
    out[outAt + LANES.length] = !Number.isNaN(value) && coveredWith(state, at, bars, bar) ? 1 : 0;
  }

  ready(state: Float64Array, at: number): boolean {
    return state[at + COVERED] === 1 && !Number.isNaN(state[at + VALUE]);
  }
}

/** Whether the day of a bar is known from its start to the bar. */
function coveredWith(state: Float64Array, at: number, bars: Float64Array, bar: number): boolean {
  if ((bars[bar + BAR_FLAGS] & BAR_PARTIAL) !== 0) return false;
  const opened = bars[bar + BAR_OPEN_TIME];
  if (Math.floor(opened / DAY_MICROS) * DAY_MICROS === opened) return true;
  if (opened - state[at + DAY] < DAY_MICROS) return state[at + COVERED] === 1;
  return !Number.isNaN(state[at + DAY]);
}

export const vwap: IndicatorKind = { name: "vwap", parameters: [], create: () => new Vwap() };
