import { BAR_OPEN_TIME, BAR_SIZE } from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import type { IndicatorSet } from "../indicators/registry.ts";
import { TIMEFRAME_COUNT } from "../market/timeframe.ts";
import { copyBar, isFromVenue, isSameBar } from "./bar-arithmetic.ts";
import { BarMemory } from "./bar-memory.ts";
import { BarSeries } from "./bar-series.ts";
import type { Stitched } from "./bar-stitch.ts";
import { stitch } from "./bar-stitch.ts";

/** Closed bars as they were asked for, oldest first, in memory of their own. */
export interface BarPage {
  readonly count: number;
  /** `count` bars of BAR_SIZE doubles. */
  readonly bars: Float64Array;
  readonly plan: IndicatorPlan;
  /** `count` rows of plan.rowSize doubles. */
  readonly rows: Float64Array;
}

/** The closed bars of all series with their indicators, by series (instrument * 11 + timeframe); one is made when first needed. */
export class BarArchive {
  readonly memory: BarMemory;
  readonly #indicators: IndicatorSet;
  readonly #defaultPlan: IndicatorPlan;
  readonly #series: (BarSeries | undefined)[] = [];

  constructor(historyBars: number, indicators: IndicatorSet) {
    this.memory = new BarMemory(historyBars);
    this.#indicators = indicators;
    this.#defaultPlan = indicators.plan(indicators.defaults);
  }

  find(instrument: number, timeframe: number): BarSeries | undefined {
    return this.#series[instrument * TIMEFRAME_COUNT + timeframe];
  }

  of(instrument: number, timeframe: number): BarSeries {
    const series = instrument * TIMEFRAME_COUNT + timeframe;
    const known = this.#series[series];
    if (known !== undefined) return known;
    const created = new BarSeries(this.#defaultPlan, this.memory);
    this.#series[series] = created;
    return created;
  }

  forget(instrument: number, timeframe: number): void {
    this.find(instrument, timeframe)?.release();
    this.#series[instrument * TIMEFRAME_COUNT + timeframe] = undefined;
  }

  /** The layout of a series' rows of values; it changes only with the indicators that it uses. */
  plan(instrument: number, timeframe: number): IndicatorPlan {
    return this.find(instrument, timeframe)?.plan ?? this.#defaultPlan;
  }

  /** Has a series compute an indicator beside the default ones, from what is kept. */
  useIndicator(instrument: number, timeframe: number, indicator: number): void {
    const kept = this.of(instrument, timeframe);
    if (kept.plan.ids.includes(indicator)) return;
    kept.adopt(this.#indicators.plan([...kept.plan.ids, indicator]));
  }

  dropIndicator(instrument: number, timeframe: number, indicator: number): void {
    const kept = this.find(instrument, timeframe);
    if (kept === undefined || this.#indicators.defaults.includes(indicator)) return;
    if (!kept.plan.ids.includes(indicator)) return;
    kept.adopt(this.#indicators.plan(kept.plan.ids.filter((id) => id !== indicator)));
  }

  /** Puts the venue's own bars where they belong among a series'. Returns the open times of those that must be told. */
  stitch(instrument: number, timeframe: number, venueBars: readonly Float64Array[]): Stitched["told"] {
    const kept = this.of(instrument, timeframe);
    const { merged, told } = stitch(kept.history, venueBars, kept.dropped ? kept.knownFrom : 0, kept.awayFrom);
    if (merged.count > 0 && isFromVenue(merged.bars, 0) && !kept.dropped) kept.knownFrom = merged.bars[BAR_OPEN_TIME];
    kept.rebuild(merged);
    return told;
  }

  /** Takes a closed bar as it was told before: in the place of the kept one, or where there is none. */
  put(instrument: number, timeframe: number, bar: Float64Array): void {
    const kept = this.of(instrument, timeframe);
    const { history } = kept;
    let index = history.search(bar, BAR_OPEN_TIME);
    if (index === history.count) return kept.push(bar, 0);
    if (!history.has(index, bar, BAR_OPEN_TIME)) {
      index = kept.makeRoom(index);
      if (index < 0) return;
      history.insert(index, bar, 0);
    } else if (isSameBar(history.array(index), history.offset(index), bar)) return;
    else copyBar(bar, 0, history.array(index), history.offset(index));
    kept.recompute(index);
  }

  /** Copies the newest closed bar to `bars[at]`, and its values to `row[rowAt]`; false when there is none. */
  newest(
    instrument: number,
    timeframe: number,
    bars: Float64Array,
    at: number,
    row: Float64Array,
    rowAt: number,
  ): boolean {
    const kept = this.find(instrument, timeframe);
    if (kept === undefined || kept.history.count === 0) return false;
    const { history } = kept;
    copyBar(history.array(history.count - 1), history.offset(history.count - 1), bars, at);
    kept.values(row, rowAt);
    return true;
  }

  /** The newest `limit` closed bars that opened in [from, to), microseconds, with their values. */
  read(instrument: number, timeframe: number, limit: number, from = 0, to: number = Number.POSITIVE_INFINITY): BarPage {
    const plan = this.plan(instrument, timeframe);
    const kept = this.find(instrument, timeframe);
    if (kept === undefined) return { count: 0, bars: new Float64Array(0), plan, rows: new Float64Array(0) };
    const { history } = kept;
    const range = Float64Array.of(from, to);
    const end = history.search(range, 1);
    const start = Math.max(history.search(range, 0), end - limit);
    const count = Math.max(end - start, 0);
    const bars = new Float64Array(count * BAR_SIZE);
    for (let index = 0; index < count; index += 1) {
      copyBar(history.array(start + index), history.offset(start + index), bars, index * BAR_SIZE);
    }
    return { count, bars, plan, rows: kept.rows(start).subarray(0, count * plan.rowSize) };
  }
}
