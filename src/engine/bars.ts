import {
  BAR_ACROSS_GAP,
  BAR_APART,
  BAR_CLOSE_TIME,
  BAR_CLOSED,
  BAR_FLAGS,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_SIZE,
} from "../indicators/bar.ts";
import type { IndicatorSet } from "../indicators/registry.ts";
import { MAX_INDICATOR_ROW } from "../indicators/registry.ts";
import { TIMEFRAME_COUNT, TIMEFRAME_MICROS } from "../market/timeframe.ts";
import { assert } from "../std/assert.ts";
import { BarArchive } from "./bar-archive.ts";
import { addNewest, copyBar, settleBar } from "./bar-arithmetic.ts";
import { BarCorrections } from "./bar-corrections.ts";
import type { BarOutput } from "./bar-output.ts";
import type { BarSeries } from "./bar-series.ts";
import { Widening } from "./bar-stitch.ts";
import { ALL_TIMEFRAMES, UnclosedBars } from "./unclosed-bars.ts";

/** Seconds, by index: 1s 1m 5m 15m 1h. */
export const DEFAULT_TIMEFRAMES: readonly number[] = [0, 4, 5, 6, 8];
export const DEFAULT_HISTORY_BARS = 500;
export const DEFAULT_LATENESS_MICROS = 250_000;
/** The narrowest timeframe's width: a longer allowance would leave three bars of a series unclosed. */
const MAX_LATENESS_MICROS = 1_000_000;

/** Set in an instrument's timeframes from a loss at the venue until its next trade. */
const AFTER_GAP = 1 << 15;

export interface BarsOptions {
  /** Always computed, by index. */
  timeframes?: readonly number[];
  historyBars?: number;
  /** How long after its close a bar still takes trades of its interval, by the venue's clock. */
  latenessMicros?: number;
  indicators: IndicatorSet;
  out: BarOutput;
}

/**
 * Bars of every timeframe and their indicators, in place. Series = instrument * 11 + timeframe. Two bars of a series may
 * be unclosed:
 *
 *      previous          building
 *   ├─────────────────┼──────────────····┤
 *   open            close  ▲ clock: trades of either interval are still taken, each into its own
 *                     ├────────┤ allowance, then `previous` closes
 *
 * Everything closes by the venue's clock, which is passed in. A trade is counted once, in the narrowest timeframe; see
 * UnclosedBars. Hot path: `trade`, and `closeDue` while nothing is due.
 */
export class Bars {
  /** Bars that closed. */
  closed = 0;
  /** Trades that came after a bar of theirs had closed. */
  late = 0;

  readonly archive: BarArchive;
  readonly corrections: BarCorrections;
  readonly #always: number;
  /** The narrowest timeframe that is always computed. */
  readonly #narrowest: number;
  readonly #unclosed: UnclosedBars;
  readonly #out: BarOutput;
  readonly #row = new Float64Array(MAX_INDICATOR_ROW);
  /** The close time of the bars that are closing. */
  readonly #closing = new Float64Array(1);

  constructor(options: BarsOptions) {
    const { timeframes = DEFAULT_TIMEFRAMES, historyBars = DEFAULT_HISTORY_BARS } = options;
    const { latenessMicros = DEFAULT_LATENESS_MICROS } = options;
    assert(latenessMicros >= 0 && latenessMicros <= MAX_LATENESS_MICROS, "the allowance is at most the narrowest bar");
    for (const timeframe of timeframes) assert(timeframe >= 0 && timeframe < TIMEFRAME_COUNT, "a timeframe is known");
    this.#always = timeframes.reduce((bits, timeframe) => bits | (1 << timeframe), 0);
    this.#narrowest = 31 - Math.clz32(this.#always & -this.#always || 1);
    this.archive = new BarArchive(historyBars, options.indicators);
    this.#unclosed = new UnclosedBars(latenessMicros);
    this.#out = options.out;
    this.corrections = new BarCorrections(this.archive, this.#unclosed, options.out);
  }

  /**
   * Starts, or after `leave` goes on with, an instrument. Bars that opened before `times[at]`, when its trades began to
   * come, are partial; without it those are that the first trade falls into.
   */
  open(instrument: number, venue: number, times?: Float64Array, at = 0): void {
    this.#unclosed.reserve(instrument, venue);
    this.leave(instrument);
    this.#unclosed.venueOf[instrument] = venue;
    this.#unclosed.active[instrument] |= this.#always;
    this.#wholeFrom(instrument, times === undefined ? Number.NaN : times[at]);
    for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
      this.archive.find(instrument, timeframe)?.comeBack();
    }
  }

  /** The instrument's trades come no more: its unclosed bars close in their time, but are partial. */
  leave(instrument: number): void {
    this.#unclosed.flag(instrument, BAR_PARTIAL);
    this.#wholeFrom(instrument, Number.POSITIVE_INFINITY);
  }

  #wholeFrom(instrument: number, time: number): void {
    const first = instrument * TIMEFRAME_COUNT;
    this.#unclosed.wholeFrom.fill(time, first, first + TIMEFRAME_COUNT);
  }

  /** The venue lost trades: the unclosed bars say so, and those that the next trade opens. */
  gap(instrument: number): void {
    this.#unclosed.flag(instrument, BAR_ACROSS_GAP);
    this.#unclosed.active[instrument] |= AFTER_GAP;
  }

  /** Brings the bar that the instrument's next trade is counted in into the cache. */
  prefetch(instrument: number): void {
    this.#unclosed.prefetch(instrument, this.#narrowest);
  }

  /** Takes a trade: PRICE and SIZE (base units) in `numbers`, its credible venue time in `times[at]`. */
  trade(instrument: number, side: number, numbers: Float64Array, times: Float64Array, at: number): void {
    const { active, building } = this.#unclosed;
    const timeframes = active[instrument];
    const narrowest = 31 - Math.clz32(timeframes & -timeframes);
    if (narrowest < 0 || narrowest >= TIMEFRAME_COUNT) return;
    const bar = this.#unclosed.at(instrument, narrowest);
    if (timeframes > ALL_TIMEFRAMES || !addNewest(building, bar, numbers, side, times, at)) {
      this.#place(instrument, narrowest, side, numbers, times, at);
    }
  }

  /** Takes a trade that is not simply the newest of the building bar. */
  #place(
    instrument: number,
    narrowest: number,
    side: number,
    numbers: Float64Array,
    times: Float64Array,
    at: number,
  ): void {
    const { active, venueOf, clock } = this.#unclosed;
    assert(times[at] > 0, "a trade has a time");
    const venue = venueOf[instrument];
    if (times[at] > clock[venue]) this.closeDue(venue, times, at);
    const gap = active[instrument] > ALL_TIMEFRAMES ? BAR_ACROSS_GAP : 0;
    active[instrument] &= ALL_TIMEFRAMES;
    this.#unclosed.noteFirst(instrument, narrowest, times, at);
    let late = 0;
    for (let left = active[instrument]; left !== 0; left &= left - 1) {
      const timeframe = 31 - Math.clz32(left & -left);
      if (this.#unclosed.hasClosed(instrument, timeframe, times, at)) {
        this.corrections.late(instrument, timeframe, side, numbers, times, at, gap);
        late = 1;
      } else if (!this.#unclosed.add(instrument, timeframe, side, numbers, times, at, gap)) break;
    }
    this.late += late;
  }

  /** Advances a venue's clock to `times[at]` and closes what is due, by close time, then by series. */
  closeDue(venue: number, times: Float64Array, at: number): void {
    const { clock, due, lateness } = this.#unclosed;
    if (times[at] > clock[venue]) clock[venue] = times[at];
    const bars = due[venue];
    if (bars === undefined) return;
    while (bars.next[0] + lateness <= clock[venue]) this.#closeNext(venue);
  }

  /** Closes all bars of the venue's earliest close time. */
  #closeNext(venue: number): void {
    const { active, due } = this.#unclosed;
    const bars = due[venue];
    this.#closing[0] = bars.next[0];
    let timeframes = 0;
    for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
      // Whole and large doubles: a remainder takes the processor thirty times as long as a quotient.
      const intervals = this.#closing[0] / TIMEFRAME_MICROS[timeframe];
      if (intervals === Math.floor(intervals)) timeframes |= 1 << timeframe;
    }
    const count = bars.take();
    for (let index = 0; index < count; index += 1) {
      const instrument = bars.taken[index];
      // A narrow bar's close may begin the wide one that closes with it.
      for (let left = active[instrument] & timeframes; left !== 0; left &= left - 1) {
        this.#close(instrument, 31 - Math.clz32(left & -left));
      }
    }
  }

  /** Closes the series' bar of the close time that is due, if it has one. */
  #close(instrument: number, timeframe: number): void {
    const { previous, building } = this.#unclosed;
    const bar = this.#unclosed.at(instrument, timeframe);
    const bars = previous[bar + BAR_CLOSE_TIME] === this.#closing[0] ? previous : building;
    if (bars[bar + BAR_CLOSE_TIME] !== this.#closing[0]) return;
    this.#unclosed.fold(instrument, timeframe, bars, bar);
    bars[bar + BAR_FLAGS] &= ~BAR_APART;
    settleBar(bars, bar);
    const kept = this.archive.of(instrument, timeframe);
    const { plan } = kept;
    kept.push(bars, bar);
    this.closed += 1;
    this.#out.bar(instrument, timeframe, bars, bar, BAR_CLOSED);
    if (plan.entries !== 0) {
      if (bars[bar + BAR_OPEN_TIME] < kept.toldFrom) kept.toldFrom = bars[bar + BAR_OPEN_TIME];
      kept.values(this.#row, 0);
      this.#out.indicators(instrument, timeframe, bars, bar, plan, this.#row, 0, BAR_CLOSED);
    }
    bars[bar + BAR_OPEN_TIME] = 0;
    bars[bar + BAR_CLOSE_TIME] = 0;
  }

  /** How long after its close a bar still takes trades of its interval. */
  get latenessMicros(): number {
    return this.#unclosed.lateness;
  }

  isActive(instrument: number, timeframe: number): boolean {
    return this.#unclosed.isActive(instrument, timeframe);
  }

  /** Starts a timeframe that is not always computed, from the bars of the widest narrower one, as far as they go. */
  enable(instrument: number, timeframe: number): void {
    assert(timeframe >= 0 && timeframe < TIMEFRAME_COUNT, "a timeframe is known");
    // May be asked for before the instrument is opened; the venue is told then.
    this.#unclosed.reserve(instrument, 0);
    if (this.isActive(instrument, timeframe)) return;
    const { active, wholeFrom, clock, venueOf } = this.#unclosed;
    const narrower = active[instrument] & ((1 << timeframe) - 1);
    const wider = active[instrument] & ALL_TIMEFRAMES & ~narrower;
    active[instrument] |= 1 << timeframe;
    if (narrower !== 0) this.#widen(instrument, 31 - Math.clz32(narrower), timeframe);
    else {
      // What came before, and at this very microsecond, was not counted; while nothing came, the first trade will tell.
      const now = clock[venueOf[instrument]];
      const first = instrument * TIMEFRAME_COUNT;
      const known = now !== 0 && !(wider !== 0 && Number.isNaN(wholeFrom[first + 31 - Math.clz32(wider)]));
      wholeFrom[first + timeframe] = known ? now + 1 : Number.NaN;
    }
  }

  #widen(instrument: number, from: number, to: number): void {
    const { wholeFrom, clock, venueOf, lateness, previous, building } = this.#unclosed;
    const first = instrument * TIMEFRAME_COUNT;
    const source = this.archive.find(instrument, from);
    const known = source?.knownFrom ?? Number.NaN;
    const knownFrom = Number.isNaN(known) ? wholeFrom[first + from] : known;
    const widening = new Widening(TIMEFRAME_MICROS[to], knownFrom);
    for (let index = 0; index < (source?.history.count ?? 0); index += 1) {
      const { history } = source as BarSeries;
      widening.add(history.array(index), history.offset(index));
    }
    // What is unclosed will be added when it closes, but for what stands apart.
    for (const bars of [previous, building]) {
      const at = this.#unclosed.at(instrument, from);
      if (bars[at] !== 0 && (bars[at + BAR_FLAGS] & BAR_APART) !== 0) widening.add(bars, at);
    }
    const { wide } = widening;
    wholeFrom[first + to] = wholeFrom[first + from];
    const kept = this.archive.of(instrument, to);
    kept.knownFrom = knownFrom;
    for (let index = 0; index < wide.count; index += 1) {
      const at = index * BAR_SIZE;
      if (wide.bars[at + BAR_CLOSE_TIME] + lateness <= clock[venueOf[instrument]]) kept.push(wide.bars, at);
      else this.#unclosed.put(instrument, to, wide.bars, at);
    }
  }

  /** Gives up a timeframe that is not always computed, with its history. */
  disable(instrument: number, timeframe: number): void {
    if ((this.#always & (1 << timeframe)) !== 0 || !this.isActive(instrument, timeframe)) return;
    this.#unclosed.release(instrument, timeframe);
    this.archive.forget(instrument, timeframe);
  }

  /** Takes the venue's own bars: see BarCorrections. */
  history(instrument: number, timeframe: number, rows: Float64Array): void {
    if (this.isActive(instrument, timeframe)) this.corrections.history(instrument, timeframe, rows);
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
    if (!this.isActive(instrument, timeframe)) return false;
    this.#unclosed.look(instrument, timeframe);
    const { seen } = this.#unclosed;
    if (seen[BAR_SIZE + BAR_OPEN_TIME] === 0) return false;
    settleBar(seen, 0);
    settleBar(seen, BAR_SIZE);
    copyBar(seen, BAR_SIZE, bars, at);
    this.archive.of(instrument, timeframe).peek(seen, BAR_SIZE, 0, row, rowAt);
    return true;
  }

  /** A venue's clock went back to `times[at]`: what had opened later never happened. */
  rewind(venue: number, times: Float64Array, at: number): void {
    const { due, clock, active, venueOf, wholeFrom } = this.#unclosed;
    if (due[venue] === undefined) return;
    clock[venue] = times[at];
    due[venue].clear();
    for (let instrument = 0; instrument < active.length; instrument += 1) {
      if (venueOf[instrument] !== venue || active[instrument] === 0) continue;
      for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
        if (!this.isActive(instrument, timeframe)) continue;
        const series = instrument * TIMEFRAME_COUNT + timeframe;
        this.#unclosed.forget(instrument, timeframe);
        wholeFrom[series] = Number.NaN;
        const kept = this.archive.find(instrument, timeframe);
        if (kept !== undefined && !kept.truncate(times, at)) this.archive.forget(instrument, timeframe);
      }
    }
  }
}
