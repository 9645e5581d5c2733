import {
  BAR_ACROSS_GAP,
  BAR_APART,
  BAR_CLOSE_TIME,
  BAR_FLAGS,
  BAR_FROM_VENUE,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_SIZE,
  BAR_UNUSED,
  BAR_VWAP,
} from "../indicators/bar.ts";
import { TIMEFRAME_COUNT, TIMEFRAME_MICROS } from "../market/timeframe.ts";
import { assert } from "../std/assert.ts";
import { Columns } from "../std/columns.ts";
import { grown } from "../std/grow.ts";
import { addTrade, copyBar, findOpenTime, foldBar, openBar, opened } from "./bar-arithmetic.ts";
import { DueBars } from "./bar-due.ts";

/**
 * Numbers before the first bar. Large arrays begin 16 bytes into a line of the cache; from the middle of a bar on, what a
 * trade changes (fields 1 to 7, 9 to 13) then lies in two lines and not in three, with BAR_VWAP and BAR_UNUSED beside it.
 */
const LEAD = 5;

/** One bit for each timeframe. */
export const ALL_TIMEFRAMES = (1 << TIMEFRAME_COUNT) - 1;

/**
 * Bars that have not closed, by small integers. A trade is counted once, in the instrument's narrowest timeframe; a bar
 * that closes is added to the one of the next wider timeframe, because each timeframe divides the next:
 *
 *   1m  │ closed 1s bars of this minute        │  + what is below: the 1m bar as it is seen
 *   1s                  closed │ previous │ building
 *
 * A series has up to two unclosed bars, because the allowance for late trades is no longer than the narrowest bar; an
 * open time of 0 is no bar. Arrays grow as instruments and venues are registered. Hot path.
 */
export class UnclosedBars {
  /** Per instrument: its venue, and one bit for each timeframe that is computed. */
  venueOf = new Int32Array(16);
  active = new Uint16Array(16);
  /** Unclosed bars, a bar's fields at `at(instrument, timeframe)`. */
  building: Float64Array;
  previous: Float64Array;
  /** Per series (instrument * 11 + timeframe): since when its bars are whole, microseconds; NaN is not known yet. */
  wholeFrom: Float64Array = new Float64Array(16 * TIMEFRAME_COUNT).fill(Number.NaN);
  /** Per venue: its clock, and what closes when. */
  clock: Float64Array = new Float64Array(8);
  readonly due: DueBars[] = [];
  readonly lateness: number;
  /** What `look` put together: an older bar at 0, the newest at BAR_SIZE. */
  readonly seen = new Float64Array(2 * BAR_SIZE);
  readonly #building = new Columns(Float64Array, TIMEFRAME_COUNT);
  readonly #previous = new Columns(Float64Array, TIMEFRAME_COUNT);

  constructor(lateness: number) {
    this.lateness = lateness;
    this.building = this.#building.values;
    this.previous = this.#previous.values;
  }

  /** Makes room for an instrument and its venue. */
  reserve(instrument: number, venue: number): void {
    while (this.due.length <= venue) this.due.push(new DueBars());
    this.clock = grown(this.clock, venue + 1);
    this.venueOf = grown(this.venueOf, instrument + 1);
    this.active = grown(this.active, instrument + 1);
    this.wholeFrom = grown(this.wholeFrom, (instrument + 1) * TIMEFRAME_COUNT, Number.NaN);
    this.#building.reserve((instrument + 2) * BAR_SIZE);
    this.#previous.reserve((instrument + 2) * BAR_SIZE);
    this.building = this.#building.values;
    this.previous = this.#previous.values;
  }

  /** Where a series' bar lies in `building` and in `previous`. */
  at(instrument: number, timeframe: number): number {
    return LEAD + this.#building.at(instrument * BAR_SIZE, timeframe);
  }

  /**
   * Stores to a field that is filled in before anybody reads it, and to one that nobody reads, which lie in the two lines
   * of the cache that a trade changes. A load would hold up whatever comes after it until the line is there; a store does
   * not. A trade of one in 10,000 instruments then costs 1.35 times that of one in 10, instead of 1.5 (`npm run bench`).
   */
  prefetch(instrument: number, timeframe: number): void {
    const bar = this.at(instrument, timeframe);
    const { building } = this;
    if (bar + BAR_SIZE > building.length) return;
    building[bar + BAR_VWAP] = Number.NaN;
    building[bar + BAR_UNUSED] = 0;
  }

  isActive(instrument: number, timeframe: number): boolean {
    return (this.active[instrument] & (1 << timeframe)) !== 0;
  }

  /** Whether the bar of the interval that `times[at]` lies in has closed. */
  hasClosed(instrument: number, timeframe: number, times: Float64Array, at: number): boolean {
    findOpenTime(times, at, timeframe);
    return opened[0] + TIMEFRAME_MICROS[timeframe] + this.lateness <= this.clock[this.venueOf[instrument]];
  }

  /** BAR_PARTIAL for a bar of the interval that `times[at]` lies in when not all of its trades were seen. */
  partialFlag(instrument: number, timeframe: number, times: Float64Array, at: number): number {
    findOpenTime(times, at, timeframe);
    return opened[0] < this.wholeFrom[instrument * TIMEFRAME_COUNT + timeframe] ? BAR_PARTIAL : 0;
  }

  /**
   * Takes note of the first trade of an instrument whose start is not known: since it says nothing of those before it,
   * even a bar that it opens to the microsecond is partial.
   */
  noteFirst(instrument: number, narrowest: number, times: Float64Array, at: number): void {
    const first = instrument * TIMEFRAME_COUNT;
    if (Number.isNaN(this.wholeFrom[first + narrowest])) {
      this.wholeFrom.fill(times[at] + 1, first, first + TIMEFRAME_COUNT);
    }
  }

  /** The array that holds the series' bar of the interval that `times[at]` lies in; it is begun when it is not there. */
  #holder(instrument: number, timeframe: number, times: Float64Array, at: number): Float64Array {
    const bar = this.at(instrument, timeframe);
    findOpenTime(times, at, timeframe);
    const open = opened[0];
    const current = this.building[bar + BAR_OPEN_TIME];
    let bars = this.building;
    if (open > current && current !== 0) {
      // Two widths after the previous bar opened, the allowance is over and the clock has closed it.
      assert(this.previous[bar + BAR_OPEN_TIME] === 0, "a series has at most two unclosed bars");
      copyBar(this.building, bar, this.previous, bar);
    } else if (open < current) {
      bars = this.previous;
      assert(bars[bar] === 0 || bars[bar] === open, "a series has at most two unclosed bars");
    }
    if (bars[bar + BAR_OPEN_TIME] !== open) {
      openBar(bars, bar, times, at, timeframe, this.partialFlag(instrument, timeframe, times, at));
      this.due[this.venueOf[instrument]].add(instrument, timeframe, bars, bar + BAR_CLOSE_TIME);
    }
    return bars;
  }

  /**
   * Counts a trade in the timeframe's bar that it belongs to; `flags` go into the bar. True when the bar stands apart, so
   * that the next wider one has to count the trade as well.
   */
  add(
    instrument: number,
    timeframe: number,
    side: number,
    numbers: Float64Array,
    times: Float64Array,
    at: number,
    flags: number,
  ): boolean {
    const bar = this.at(instrument, timeframe);
    const bars = this.#holder(instrument, timeframe, times, at);
    addTrade(bars, bar, numbers, side, times, at);
    bars[bar + BAR_FLAGS] |= flags;
    return (bars[bar + BAR_FLAGS] & BAR_APART) !== 0;
  }

  /** Adds a bar of a timeframe to that of the next wider one, and further on from one that stands apart. */
  fold(instrument: number, timeframe: number, bars: Float64Array, at: number): void {
    if ((bars[at + BAR_FLAGS] & BAR_APART) !== 0) return;
    let wider = this.active[instrument] & (-2 << timeframe) & ALL_TIMEFRAMES;
    for (; wider !== 0; wider &= wider - 1) {
      const timeframe = 31 - Math.clz32(wider & -wider);
      const to = this.at(instrument, timeframe);
      const wide = this.#holder(instrument, timeframe, bars, at + BAR_OPEN_TIME);
      foldBar(wide, to, bars, at);
      wide[to + BAR_FLAGS] |= bars[at + BAR_FLAGS] & BAR_ACROSS_GAP;
      if ((wide[to + BAR_FLAGS] & BAR_APART) === 0) return;
    }
  }

  /** Puts the series' unclosed bars together, as they would be if they closed now, in `seen`. */
  look(instrument: number, timeframe: number): void {
    const { seen } = this;
    seen[BAR_OPEN_TIME] = 0;
    seen[BAR_SIZE + BAR_OPEN_TIME] = 0;
    const narrower = this.active[instrument] & ((1 << timeframe) - 1);
    this.#see(instrument, timeframe, timeframe, BAR_ACROSS_GAP | BAR_PARTIAL);
    for (let left = narrower; left !== 0; ) {
      const widest = 31 - Math.clz32(left);
      // That a narrower timeframe began later makes the wider bar no less whole.
      this.#see(instrument, timeframe, widest, BAR_ACROSS_GAP);
      left &= ~(1 << widest);
    }
  }

  /** Adds the unclosed bars of timeframe `from` to those seen of a timeframe at least as wide. */
  #see(instrument: number, timeframe: number, from: number, flags: number): void {
    const bar = this.at(instrument, from);
    for (let older = 1; older >= 0; older -= 1) {
      const bars = older === 1 ? this.previous : this.building;
      if (bars[bar + BAR_OPEN_TIME] === 0) continue;
      if (from !== timeframe && (bars[bar + BAR_FLAGS] & BAR_APART) !== 0) continue;
      this.#merge(instrument, timeframe, bars, bar, flags);
    }
  }

  #merge(instrument: number, timeframe: number, bars: Float64Array, bar: number, flags: number): void {
    const { seen } = this;
    findOpenTime(bars, bar + BAR_OPEN_TIME, timeframe);
    const open = opened[0];
    if (open > seen[BAR_SIZE + BAR_OPEN_TIME]) copyBar(seen, BAR_SIZE, seen, 0);
    const at = open < seen[BAR_SIZE + BAR_OPEN_TIME] ? 0 : BAR_SIZE;
    if (seen[at + BAR_OPEN_TIME] !== open) {
      const partial = this.partialFlag(instrument, timeframe, bars, bar + BAR_OPEN_TIME);
      openBar(seen, at, bars, bar + BAR_OPEN_TIME, timeframe, partial);
    }
    foldBar(seen, at, bars, bar);
    seen[at + BAR_FLAGS] |= bars[bar + BAR_FLAGS] & flags;
  }

  /** Takes a bar that was put together elsewhere, and whose parts are in wider bars already. */
  put(instrument: number, timeframe: number, bars: Float64Array, at: number): void {
    const bar = this.at(instrument, timeframe);
    const to = this.#holder(instrument, timeframe, bars, at + BAR_OPEN_TIME);
    copyBar(bars, at, to, bar);
    // Trades of our own will come on top of what the venue told.
    to[bar + BAR_FLAGS] = (to[bar + BAR_FLAGS] & ~BAR_FROM_VENUE) | BAR_APART;
  }

  /** Gives a timeframe up; what its unclosed bars hold goes to the next wider one. */
  release(instrument: number, timeframe: number): void {
    const bar = this.at(instrument, timeframe);
    if (this.previous[bar] !== 0) this.fold(instrument, timeframe, this.previous, bar);
    if (this.building[bar] !== 0) this.fold(instrument, timeframe, this.building, bar);
    this.active[instrument] &= ~(1 << timeframe);
    this.forget(instrument, timeframe);
  }

  /** Drops a series' unclosed bars. */
  forget(instrument: number, timeframe: number): void {
    const bar = this.at(instrument, timeframe);
    this.building.fill(0, bar, bar + BAR_SIZE);
    this.previous.fill(0, bar, bar + BAR_SIZE);
  }

  /** Sets a flag in all unclosed bars of an instrument. */
  flag(instrument: number, flag: number): void {
    for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
      const at = this.at(instrument, timeframe);
      if (this.building[at] !== 0) this.building[at + BAR_FLAGS] |= flag;
      if (this.previous[at] !== 0) this.previous[at + BAR_FLAGS] |= flag;
    }
  }
}
