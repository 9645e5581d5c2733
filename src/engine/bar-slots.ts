import { BAR_FLAGS, BAR_SIZE } from "../indicators/bar.ts";
import { TIMEFRAME_COUNT } from "../market/timeframe.ts";
import { grown } from "../std/grow.ts";
import { DueBars } from "./bar-due.ts";

/**
 * What the hot path of the bars reads and writes, by small integers: per instrument, per series (instrument * 11 +
 * timeframe) and per venue. Arrays grow by doubling as instruments and venues are registered, and are never read past
 * a registration by who holds one in a local.
 */
export class BarSlots {
  /** Per instrument: its venue, and one bit for each timeframe that is computed. */
  venueOf = new Int32Array(16);
  active = new Int32Array(16);
  /** Per series: the unclosed bars, a bar's fields each; an open time of 0 is no bar. */
  building: Float64Array = new Float64Array(16 * TIMEFRAME_COUNT * BAR_SIZE);
  previous: Float64Array = new Float64Array(16 * TIMEFRAME_COUNT * BAR_SIZE);
  /** Per series: since when its bars are whole, microseconds; NaN until the first trade tells. */
  wholeFrom: Float64Array = new Float64Array(16 * TIMEFRAME_COUNT).fill(Number.NaN);
  /** Per venue: its clock, when its next bar is due, and all that are to come. */
  clock: Float64Array = new Float64Array(8);
  nextDue: Float64Array = new Float64Array(8).fill(Number.POSITIVE_INFINITY);
  readonly due: DueBars[] = [];
  readonly #lateness: number;

  constructor(lateness: number) {
    this.#lateness = lateness;
  }

  /** Makes room for an instrument and its venue. */
  reserve(instrument: number, venue: number): void {
    while (this.due.length <= venue) this.due.push(new DueBars());
    this.clock = grown(this.clock, venue + 1);
    this.nextDue = grown(this.nextDue, venue + 1, Number.POSITIVE_INFINITY);
    const instruments = instrument + 1;
    this.venueOf = grown(this.venueOf, instruments);
    this.active = grown(this.active, instruments);
    this.building = grown(this.building, instruments * TIMEFRAME_COUNT * BAR_SIZE);
    this.previous = grown(this.previous, instruments * TIMEFRAME_COUNT * BAR_SIZE);
    this.wholeFrom = grown(this.wholeFrom, instruments * TIMEFRAME_COUNT, Number.NaN);
  }

  /** Notes when the series' bar in `bars` is due. */
  schedule(venue: number, series: number, bars: Float64Array): void {
    const due = this.due[venue];
    due.push(series, bars, series * BAR_SIZE, this.#lateness);
    this.nextDue[venue] = due.times[0];
  }

  /** Drops a series' unclosed bars. */
  forget(series: number): void {
    const venue = this.venueOf[Math.floor(series / TIMEFRAME_COUNT)];
    const bar = series * BAR_SIZE;
    this.building.fill(0, bar, bar + BAR_SIZE);
    this.previous.fill(0, bar, bar + BAR_SIZE);
    const due = this.due[venue];
    due.remove(series);
    this.nextDue[venue] = due.count > 0 ? due.times[0] : Number.POSITIVE_INFINITY;
  }

  /** Sets a flag in all unclosed bars of an instrument. */
  flag(instrument: number, flag: number): void {
    for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
      const at = (instrument * TIMEFRAME_COUNT + timeframe) * BAR_SIZE;
      if (this.building[at] !== 0) this.building[at + BAR_FLAGS] |= flag;
      if (this.previous[at] !== 0) this.previous[at + BAR_FLAGS] |= flag;
    }
  }
}
