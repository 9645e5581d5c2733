import {
  BAR_ACROSS_GAP,
  BAR_AMENDED,
  BAR_CLOSE_TIME,
  BAR_CLOSED,
  BAR_CORRECTED,
  BAR_FLAGS,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_SIZE,
} from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import type { IndicatorSet } from "../indicators/registry.ts";
import { MAX_INDICATOR_ROW } from "../indicators/registry.ts";
import { TIMEFRAME_COUNT, TIMEFRAME_MICROS } from "../market/timeframe.ts";
import { assert } from "../std/assert.ts";
import { BarSeries, Replay } from "./bar-series.ts";
import { BarSlots } from "./bar-slots.ts";
import { closedVenueBars, stitch, Widening } from "./bar-stitch.ts";
import { addToBuilding, addTrade, copyBar, isFromVenue, openBar, settleBar } from "./bar-trades.ts";

/** Seconds, by index: 1s 1m 5m 15m 1h. */
export const DEFAULT_TIMEFRAMES: readonly number[] = [0, 4, 5, 6, 8];
export const DEFAULT_HISTORY_BARS = 500;
export const DEFAULT_LATENESS_MICROS = 250_000;
/** The narrowest timeframe's width: a longer allowance would leave three bars of a series unclosed. */
const MAX_LATENESS_MICROS = 1_000_000;

const ALL_TIMEFRAMES = (1 << TIMEFRAME_COUNT) - 1;
/** Set in an instrument's timeframes from a loss at the venue until its next trade. */
const AFTER_GAP = 1 << 16;

/** Where bars and indicators go. Both lie where they are and may be overwritten after the call. Hot path. */
export interface BarOutput {
  /** A bar closed, or one that had closed was corrected: the fields of bar.ts at `bars[at]`. */
  bar(instrument: number, timeframe: number, bars: Float64Array, at: number, state: number): void;
  /** The indicators of the closed bar at `bars[at]`: a row of `plan` at `row[rowAt]`. */
  indicators(
    instrument: number,
    timeframe: number,
    bars: Float64Array,
    at: number,
    plan: IndicatorPlan,
    row: Float64Array,
    rowAt: number,
    state: number,
  ): void;
}

export interface BarsOptions {
  /** Always computed, by index. */
  timeframes?: readonly number[];
  historyBars?: number;
  /** How long after its close a bar still takes trades of its interval, by the venue's clock. */
  latenessMicros?: number;
  indicators: IndicatorSet;
  out: BarOutput;
}

/** Closed bars as they were asked for, oldest first, in memory of their own. */
export interface BarPage {
  readonly count: number;
  /** `count` bars of BAR_SIZE doubles. */
  readonly bars: Float64Array;
  readonly plan: IndicatorPlan;
  /** `count` rows of plan.rowSize doubles. */
  readonly rows: Float64Array;
}

/**
 * Bars of every timeframe and their indicators, in place. Series = instrument * 11 + timeframe. A series has up to two
 * unclosed bars, because the allowance for late trades is no longer than the narrowest bar:
 *
 *      previous          building
 *   ├─────────────────┼──────────────····┤
 *   open            close  ▲ clock: trades of either interval are still taken, each into its own
 *                     ├────────┤ allowance, then `previous` closes
 *
 * Everything closes by the venue's clock, which is passed in. Hot path: `trade`, and `closeDue` while nothing is due.
 */
export class Bars {
  /** Bars that closed; bars that were amended or created afterwards. */
  closed = 0;
  corrected = 0;
  /** Trades that came after a bar of theirs had closed. */
  late = 0;
  /** Bars not corrected, because the trade is older than what is kept, or in a bar of the venue's own, which has it. */
  tooOld = 0;
  inVenueBar = 0;

  readonly #always: number;
  readonly #historyBars: number;
  readonly #lateness: number;
  readonly #indicators: IndicatorSet;
  readonly #defaultPlan: IndicatorPlan;
  readonly #out: BarOutput;
  readonly #replay = new Replay();
  readonly #row = new Float64Array(MAX_INDICATOR_ROW);

  readonly #slots: BarSlots;
  /** By series; made when first needed. */
  readonly #series: (BarSeries | undefined)[] = [];

  constructor(options: BarsOptions) {
    const { timeframes = DEFAULT_TIMEFRAMES, historyBars = DEFAULT_HISTORY_BARS } = options;
    this.#lateness = options.latenessMicros ?? DEFAULT_LATENESS_MICROS;
    assert(this.#lateness >= 0 && this.#lateness <= MAX_LATENESS_MICROS, "the allowance is at most the narrowest bar");
    for (const timeframe of timeframes) assert(timeframe >= 0 && timeframe < TIMEFRAME_COUNT, "a timeframe is known");
    this.#always = timeframes.reduce((bits, timeframe) => bits | (1 << timeframe), 0);
    this.#historyBars = historyBars;
    this.#indicators = options.indicators;
    this.#defaultPlan = options.indicators.plan(options.indicators.defaults);
    this.#out = options.out;
    this.#slots = new BarSlots(this.#lateness);
  }

  /**
   * Starts, or after `leave` goes on with, an instrument. Bars that opened before `times[at]`, when its trades began to
   * come, are partial; without it those are that the first trade falls into.
   */
  open(instrument: number, venue: number, times?: Float64Array, at = 0): void {
    this.#slots.reserve(instrument, venue);
    this.leave(instrument);
    this.#slots.venueOf[instrument] = venue;
    this.#slots.active[instrument] |= this.#always;
    const first = instrument * TIMEFRAME_COUNT;
    this.#slots.wholeFrom.fill(times === undefined ? Number.NaN : times[at], first, first + TIMEFRAME_COUNT);
  }

  /** The instrument's trades come no more: its unclosed bars close in their time, but are partial. */
  leave(instrument: number): void {
    this.#slots.flag(instrument, BAR_PARTIAL);
  }

  /** The venue lost trades: the unclosed bars say so, and those that the next trade opens. */
  gap(instrument: number): void {
    this.#slots.flag(instrument, BAR_ACROSS_GAP);
    this.#slots.active[instrument] |= AFTER_GAP;
  }

  /** Takes a trade: PRICE and SIZE (base units) in `numbers`, its credible venue time in `times[at]`. */
  trade(instrument: number, side: number, numbers: Float64Array, times: Float64Array, at: number): void {
    const active = this.#slots.active[instrument];
    let late = 0;
    let left = addToBuilding(this.#slots.building, instrument, active & ALL_TIMEFRAMES, side, numbers, times, at);
    for (; left !== 0; left &= left - 1) {
      late |= this.#place(instrument, 31 - Math.clz32(left & -left), side, numbers, times, at);
    }
    if (active > ALL_TIMEFRAMES) this.#slots.active[instrument] &= ~AFTER_GAP;
    this.late += late;
  }

  /** Takes a trade that is not simply the newest of the building bar. Returns 1 when its bar has closed. */
  #place(
    instrument: number,
    timeframe: number,
    side: number,
    numbers: Float64Array,
    times: Float64Array,
    at: number,
  ): number {
    const venue = this.#slots.venueOf[instrument];
    const time = times[at];
    assert(time > 0, "a trade has a time");
    if (time > this.#slots.clock[venue]) this.closeDue(venue, times, at);
    const width = TIMEFRAME_MICROS[timeframe];
    const opened = time - (time % width);
    const bar = (instrument * TIMEFRAME_COUNT + timeframe) * BAR_SIZE;
    if (opened + width + this.#lateness <= this.#slots.clock[venue]) {
      this.#correct(instrument, timeframe, side, numbers, times, at);
      return 1;
    }
    let bars = this.#slots.building;
    const current = bars[bar + BAR_OPEN_TIME];
    if (current !== 0 && opened > current) {
      // Two widths after the previous bar opened, the allowance is over and the clock has closed it.
      assert(this.#slots.previous[bar + BAR_OPEN_TIME] === 0, "a series has at most two unclosed bars");
      copyBar(bars, bar, this.#slots.previous, bar);
    } else if (opened < current) {
      bars = this.#slots.previous;
      assert(bars[bar] === 0 || bars[bar] === opened, "a series has at most two unclosed bars");
    }
    if (bars[bar + BAR_OPEN_TIME] !== opened) this.#begin(instrument, timeframe, bars, times, at);
    addTrade(bars, bar, numbers, side, times, at);
    return 0;
  }

  /** Begins a bar in `bars`. */
  #begin(instrument: number, timeframe: number, bars: Float64Array, times: Float64Array, at: number): void {
    const series = instrument * TIMEFRAME_COUNT + timeframe;
    const bar = series * BAR_SIZE;
    openBar(bars, bar, times, at, timeframe, this.#flagsOf(instrument, timeframe, times, at));
    this.#slots.schedule(this.#slots.venueOf[instrument], series, bars);
  }

  /** The flags of a bar that the trade at `times[at]` opens. */
  #flagsOf(instrument: number, timeframe: number, times: Float64Array, at: number): number {
    const series = instrument * TIMEFRAME_COUNT + timeframe;
    // Trades may have come before the first that we saw, so even a bar that it opens to the microsecond is partial.
    if (Number.isNaN(this.#slots.wholeFrom[series])) this.#slots.wholeFrom[series] = times[at] + 1;
    const opened = times[at] - (times[at] % TIMEFRAME_MICROS[timeframe]);
    const partial = opened < this.#slots.wholeFrom[series] ? BAR_PARTIAL : 0;
    return partial | ((this.#slots.active[instrument] & AFTER_GAP) === 0 ? 0 : BAR_ACROSS_GAP);
  }

  /** Advances a venue's clock to `times[at]` and closes what is due, by close time, then by series. */
  closeDue(venue: number, times: Float64Array, at: number): void {
    const clock = times[at];
    if (clock > this.#slots.clock[venue]) this.#slots.clock[venue] = clock;
    if (clock < this.#slots.nextDue[venue]) return;
    const due = this.#slots.due[venue];
    if (due === undefined) return;
    while (due.count > 0 && due.times[0] <= clock) {
      const series = due.series[0];
      const bar = series * BAR_SIZE;
      const slots = this.#slots.previous[bar + BAR_OPEN_TIME] !== 0 ? this.#slots.previous : this.#slots.building;
      assert(slots[bar + BAR_CLOSE_TIME] + this.#lateness === due.times[0], "what is due is the older unclosed bar");
      due.pop();
      this.#close(series, slots);
    }
    this.#slots.nextDue[venue] = due.count > 0 ? due.times[0] : Number.POSITIVE_INFINITY;
  }

  #close(series: number, slots: Float64Array): void {
    const bar = series * BAR_SIZE;
    settleBar(slots, bar);
    const kept = this.#seriesOf(series);
    const at = kept.push(slots, bar);
    slots[bar + BAR_OPEN_TIME] = 0;
    slots[bar + BAR_CLOSE_TIME] = 0;
    this.closed += 1;
    const instrument = Math.floor(series / TIMEFRAME_COUNT);
    const timeframe = series - instrument * TIMEFRAME_COUNT;
    const { plan, history } = kept;
    this.#out.bar(instrument, timeframe, history.bars, at, BAR_CLOSED);
    if (plan.entries === 0) return;
    kept.values(this.#row, 0);
    this.#out.indicators(instrument, timeframe, history.bars, at, plan, this.#row, 0, BAR_CLOSED);
  }

  #seriesOf(series: number): BarSeries {
    const known = this.#series[series];
    if (known !== undefined) return known;
    const created = new BarSeries(this.#historyBars, this.#defaultPlan, this.#replay);
    this.#series[series] = created;
    return created;
  }

  /** Amends the closed bar that a trade belongs to, or creates it where the interval was silent. */
  #correct(
    instrument: number,
    timeframe: number,
    side: number,
    numbers: Float64Array,
    times: Float64Array,
    at: number,
  ): void {
    const kept = this.#seriesOf(instrument * TIMEFRAME_COUNT + timeframe);
    const { history } = kept;
    const fresh = this.#replay.bar;
    openBar(fresh, 0, times, at, timeframe, this.#flagsOf(instrument, timeframe, times, at));
    let index = history.search(fresh, BAR_OPEN_TIME);
    const inserted = !history.has(index, fresh, BAR_OPEN_TIME);
    if (inserted) index = kept.makeRoom(index);
    else if (isFromVenue(history.bars, history.offset(index))) {
      this.inVenueBar += 1;
      return;
    }
    if (index < 0) {
      this.tooOld += 1;
      return;
    }
    kept.remember(index);
    if (inserted) history.insert(index, fresh, 0);
    const bar = history.offset(index);
    addTrade(history.bars, bar, numbers, side, times, at);
    settleBar(history.bars, bar);
    history.bars[bar + BAR_FLAGS] |= BAR_AMENDED;
    this.corrected += 1;
    kept.recompute(index, inserted);
    this.#out.bar(instrument, timeframe, history.bars, bar, BAR_CORRECTED);
    this.#correctIndicators(instrument, timeframe, kept, index, inserted);
  }

  /** Sends the indicators that a correction of the bar `from` changed: its own, and those of later bars. */
  #correctIndicators(instrument: number, timeframe: number, kept: BarSeries, from: number, inserted: boolean): void {
    const { plan, history } = kept;
    if (plan.entries === 0) return;
    for (let index = from; index < history.count; index += 1) {
      if (!kept.changed(index, from, inserted)) continue;
      const rowAt = (index - from) * plan.rowSize;
      const at = history.offset(index);
      this.#out.indicators(instrument, timeframe, history.bars, at, plan, kept.recomputed, rowAt, BAR_CORRECTED);
    }
  }

  isActive(instrument: number, timeframe: number): boolean {
    return (this.#slots.active[instrument] & (1 << timeframe)) !== 0;
  }

  /** Starts a timeframe that is not always computed, from the bars of the widest narrower one, as far as they go. */
  enable(instrument: number, timeframe: number): void {
    assert(timeframe >= 0 && timeframe < TIMEFRAME_COUNT, "a timeframe is known");
    // May be asked for before the instrument is opened; the venue is told then.
    this.#slots.reserve(instrument, 0);
    if (this.isActive(instrument, timeframe)) return;
    const narrower = this.#slots.active[instrument] & ((1 << timeframe) - 1);
    this.#slots.active[instrument] |= 1 << timeframe;
    const first = instrument * TIMEFRAME_COUNT;
    if (narrower !== 0) this.#widen(first + 31 - Math.clz32(narrower), first + timeframe, timeframe);
    else {
      // What came before, and at this very microsecond, was not counted.
      const clock = this.#slots.clock[this.#slots.venueOf[instrument]];
      this.#slots.wholeFrom[first + timeframe] = clock === 0 ? Number.NaN : clock + 1;
    }
  }

  #widen(from: number, to: number, timeframe: number): void {
    const source = this.#series[from];
    const wholeFrom = this.#slots.wholeFrom[from];
    const knownFrom = Number.isNaN(source?.knownFrom ?? Number.NaN) ? wholeFrom : (source as BarSeries).knownFrom;
    const widening = new Widening(this.#historyBars + 2, TIMEFRAME_MICROS[timeframe], knownFrom);
    if (source !== undefined) {
      const { history } = source;
      for (let index = 0; index < history.count; index += 1) widening.add(history.bars, history.offset(index));
    }
    const slot = from * BAR_SIZE;
    if (this.#slots.previous[slot] !== 0) widening.add(this.#slots.previous, slot);
    if (this.#slots.building[slot] !== 0) widening.add(this.#slots.building, slot);
    this.#slots.wholeFrom[to] = wholeFrom;
    const venue = this.#slots.venueOf[Math.floor(to / TIMEFRAME_COUNT)];
    const kept = this.#seriesOf(to);
    kept.knownFrom = knownFrom;
    const bar = to * BAR_SIZE;
    const { wide } = widening;
    for (let index = 0; index < wide.count; index += 1) {
      const at = wide.offset(index);
      if (wide.bars[at + BAR_CLOSE_TIME] + this.#lateness <= this.#slots.clock[venue]) kept.push(wide.bars, at);
      else {
        copyBar(this.#slots.building, bar, this.#slots.previous, bar);
        copyBar(wide.bars, at, this.#slots.building, bar);
        this.#slots.schedule(venue, to, this.#slots.building);
      }
    }
  }

  /** Gives up a timeframe that is not always computed, with its history. */
  disable(instrument: number, timeframe: number): void {
    if ((this.#always & (1 << timeframe)) !== 0 || !this.isActive(instrument, timeframe)) return;
    this.#slots.active[instrument] &= ~(1 << timeframe);
    this.#slots.forget(instrument * TIMEFRAME_COUNT + timeframe);
    this.#series[instrument * TIMEFRAME_COUNT + timeframe] = undefined;
  }

  /** Has a series compute an indicator beside the default ones, from what is kept. */
  useIndicator(instrument: number, timeframe: number, indicator: number): void {
    const kept = this.#seriesOf(instrument * TIMEFRAME_COUNT + timeframe);
    if (kept.plan.ids.includes(indicator)) return;
    kept.adopt(this.#indicators.plan([...kept.plan.ids, indicator]));
  }

  dropIndicator(instrument: number, timeframe: number, indicator: number): void {
    const kept = this.#series[instrument * TIMEFRAME_COUNT + timeframe];
    if (kept === undefined || this.#indicators.defaults.includes(indicator)) return;
    if (!kept.plan.ids.includes(indicator)) return;
    kept.adopt(this.#indicators.plan(kept.plan.ids.filter((id) => id !== indicator)));
  }

  /** The layout of a series' rows of values; it changes only with the indicators that it uses. */
  plan(instrument: number, timeframe: number): IndicatorPlan {
    return this.#series[instrument * TIMEFRAME_COUNT + timeframe]?.plan ?? this.#defaultPlan;
  }

  /**
   * Takes the venue's own bars, rows of HISTORY_ROW. They go before our first whole bar, and in the place of a bar that
   * we joined mid-way; only such a replaced bar goes out, corrected, with the indicators from it on.
   */
  history(instrument: number, timeframe: number, rows: Float64Array): void {
    if (!this.isActive(instrument, timeframe)) return;
    const clock = this.#slots.clock[this.#slots.venueOf[instrument]];
    const venueBars = closedVenueBars(rows, TIMEFRAME_MICROS[timeframe], this.#lateness, clock);
    const kept = this.#seriesOf(instrument * TIMEFRAME_COUNT + timeframe);
    const { history } = kept;
    const { merged, replaced } = stitch(history, venueBars, kept.dropped ? kept.knownFrom : 0);
    if (merged.count > 0 && isFromVenue(merged.bars, 0) && !kept.dropped) kept.knownFrom = merged.bars[BAR_OPEN_TIME];
    kept.rebuild(merged);
    if (replaced.length === 0) return;
    const times = Float64Array.from(replaced);
    for (let index = 0; index < times.length; index += 1) {
      const found = history.search(times, index);
      if (!history.has(found, times, index)) continue;
      this.corrected += 1;
      this.#out.bar(instrument, timeframe, history.bars, history.offset(found), BAR_CORRECTED);
    }
    const { plan } = kept;
    const from = history.search(times, 0);
    const values = kept.rows(from);
    for (let index = from; index < history.count && plan.entries > 0; index += 1) {
      const at = history.offset(index);
      const rowAt = (index - from) * plan.rowSize;
      this.#out.indicators(instrument, timeframe, history.bars, at, plan, values, rowAt, BAR_CORRECTED);
    }
  }

  /** Copies the building bar to `bars[at]`, and its values, peeked, to `row[rowAt]`; false when there is none. */
  building(
    instrument: number,
    timeframe: number,
    bars: Float64Array,
    at: number,
    row: Float64Array,
    rowAt: number,
  ): boolean {
    const series = instrument * TIMEFRAME_COUNT + timeframe;
    const bar = series * BAR_SIZE;
    if (!(this.#slots.building[bar] > 0)) return false;
    copyBar(this.#slots.building, bar, bars, at);
    settleBar(bars, at);
    this.#seriesOf(series).peek(this.#slots.building, bar, this.#slots.previous, row, rowAt);
    return true;
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
    const kept = this.#series[instrument * TIMEFRAME_COUNT + timeframe];
    if (kept === undefined || kept.history.count === 0) return false;
    const { history } = kept;
    copyBar(history.bars, history.offset(history.count - 1), bars, at);
    kept.values(row, rowAt);
    return true;
  }

  /** The newest `limit` closed bars that opened in [from, to), microseconds, with their values. */
  read(instrument: number, timeframe: number, limit: number, from = 0, to: number = Number.POSITIVE_INFINITY): BarPage {
    const plan = this.plan(instrument, timeframe);
    const kept = this.#series[instrument * TIMEFRAME_COUNT + timeframe];
    if (kept === undefined) return { count: 0, bars: new Float64Array(0), plan, rows: new Float64Array(0) };
    const { history } = kept;
    const range = Float64Array.of(from, to);
    const end = history.search(range, 1);
    const start = Math.max(history.search(range, 0), end - limit);
    const count = Math.max(end - start, 0);
    const bars = new Float64Array(count * BAR_SIZE);
    for (let index = 0; index < count; index += 1) {
      copyBar(history.bars, history.offset(start + index), bars, index * BAR_SIZE);
    }
    return { count, bars, plan, rows: kept.rows(start).subarray(0, count * plan.rowSize) };
  }

  /** A venue's clock went back to `times[at]`: what had opened later never happened. */
  rewind(venue: number, times: Float64Array, at: number): void {
    if (this.#slots.due[venue] === undefined) return;
    this.#slots.clock[venue] = times[at];
    this.#slots.due[venue].count = 0;
    for (let instrument = 0; instrument < this.#slots.active.length; instrument += 1) {
      if (this.#slots.venueOf[instrument] !== venue || this.#slots.active[instrument] === 0) continue;
      for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
        if (!this.isActive(instrument, timeframe)) continue;
        const series = instrument * TIMEFRAME_COUNT + timeframe;
        this.#slots.forget(series);
        this.#slots.wholeFrom[series] = Number.NaN;
        const kept = this.#series[series];
        if (kept !== undefined && !kept.truncate(times, at)) this.#series[series] = undefined;
      }
    }
  }
}
