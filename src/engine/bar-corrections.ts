import { BAR_AMENDED, BAR_CORRECTED, BAR_FLAGS, BAR_OPEN_TIME } from "../indicators/bar.ts";
import { TIMEFRAME_MICROS } from "../market/timeframe.ts";
import type { BarArchive } from "./bar-archive.ts";
import { addTrade, isFromVenue, openBar, settleBar } from "./bar-arithmetic.ts";
import type { BarOutput } from "./bar-output.ts";
import type { BarSeries } from "./bar-series.ts";
import { closedVenueBars } from "./bar-stitch.ts";
import type { UnclosedBars } from "./unclosed-bars.ts";

/** What changes bars that have closed: a late trade, and the venue's own word. Both go out again, corrected. */
export class BarCorrections {
  /** Bars that were amended, created or replaced after their close. */
  corrected = 0;
  /** Bars not corrected, because the trade is older than what is kept, or in a bar of the venue's own, which has it. */
  tooOld = 0;
  inVenueBar = 0;

  readonly #archive: BarArchive;
  readonly #unclosed: UnclosedBars;
  readonly #out: BarOutput;

  constructor(archive: BarArchive, unclosed: UnclosedBars, out: BarOutput) {
    this.#archive = archive;
    this.#unclosed = unclosed;
    this.#out = out;
  }

  /** Amends the closed bar that a trade belongs to, or creates it where the interval was silent. */
  late(
    instrument: number,
    timeframe: number,
    side: number,
    numbers: Float64Array,
    times: Float64Array,
    at: number,
    flags: number,
  ): void {
    const kept = this.#archive.of(instrument, timeframe);
    const { history } = kept;
    const fresh = this.#archive.memory.bar;
    const partial = this.#unclosed.partialFlag(instrument, timeframe, times, at);
    openBar(fresh, 0, times, at, timeframe, partial | flags);
    let index = history.search(fresh, BAR_OPEN_TIME);
    const inserted = !history.has(index, fresh, BAR_OPEN_TIME);
    if (inserted) index = kept.makeRoom(index);
    else if (isFromVenue(history.array(index), history.offset(index))) {
      this.inVenueBar += 1;
      return;
    }
    if (index < 0) {
      this.tooOld += 1;
      return;
    }
    kept.remember(index);
    if (inserted) history.insert(index, fresh, 0);
    const bars = history.array(index);
    const bar = history.offset(index);
    addTrade(bars, bar, numbers, side, times, at);
    settleBar(bars, bar);
    bars[bar + BAR_FLAGS] |= BAR_AMENDED;
    this.corrected += 1;
    kept.recompute(index);
    this.#out.bar(instrument, timeframe, bars, bar, BAR_CORRECTED);
    this.#sendIndicators(instrument, timeframe, kept, index, inserted);
  }

  /** Sends the indicators that a correction of the bar `from` changed: its own, and those of later bars. */
  #sendIndicators(instrument: number, timeframe: number, kept: BarSeries, from: number, inserted: boolean): void {
    const { plan, history } = kept;
    if (plan.entries === 0) return;
    for (let index = from; index < history.count; index += 1) {
      if (!kept.changed(index, from, inserted)) continue;
      const rowAt = (index - from) * plan.rowSize;
      const bars = history.array(index);
      const at = history.offset(index);
      this.#out.indicators(instrument, timeframe, bars, at, plan, kept.recomputed, rowAt, BAR_CORRECTED);
    }
  }

  /**
   * Takes the venue's own bars, rows of HISTORY_ROW. They go before our first whole bar, into the last absence,
   * and in the place of a bar that we joined mid-way; only the latter two go out, corrected, with the indicators from
   * the first of them on.
   */
  history(instrument: number, timeframe: number, rows: Float64Array): void {
    const { clock, venueOf, lateness } = this.#unclosed;
    const venueBars = closedVenueBars(rows, TIMEFRAME_MICROS[timeframe], lateness, clock[venueOf[instrument]]);
    const kept = this.#archive.of(instrument, timeframe);
    const { history } = kept;
    const toldFrom = Float64Array.of(kept.toldFrom);
    const before = kept.rows(history.search(toldFrom, 0));
    const times = Float64Array.from(this.#archive.stitch(instrument, timeframe, venueBars));
    if (times.length === 0) return this.#retell(instrument, timeframe, kept, history.search(toldFrom, 0), before);
    for (let index = 0; index < times.length; index += 1) {
      const found = history.search(times, index);
      if (!history.has(found, times, index)) continue;
      this.corrected += 1;
      this.#out.bar(instrument, timeframe, history.array(found), history.offset(found), BAR_CORRECTED);
    }
    const { plan } = kept;
    const from = history.search(times, 0);
    const values = kept.rows(from);
    for (let index = from; index < history.count && plan.entries > 0; index += 1) {
      const bars = history.array(index);
      const at = history.offset(index);
      const rowAt = (index - from) * plan.rowSize;
      this.#out.indicators(instrument, timeframe, bars, at, plan, values, rowAt, BAR_CORRECTED);
    }
  }

  /** What came before them changes what indicators of bars are that have gone out: they go out again. */
  #retell(instrument: number, timeframe: number, kept: BarSeries, from: number, before: Float64Array): void {
    const { history, plan } = kept;
    const { rowSize } = plan;
    const after = kept.rows(from);
    for (let row = 0; row * rowSize < before.length; row += 1) {
      const at = row * rowSize;
      const isSame = before.subarray(at, at + rowSize).every((value, index) => Object.is(value, after[at + index]));
      if (isSame) continue;
      const bar = from + row;
      const bars = history.array(bar);
      this.#out.indicators(instrument, timeframe, bars, history.offset(bar), plan, after, at, BAR_CORRECTED);
    }
  }
}
