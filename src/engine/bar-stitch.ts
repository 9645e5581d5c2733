import {
  BAR_AMENDED,
  BAR_BUY_VOLUME,
  BAR_CLOSE,
  BAR_CLOSE_TIME,
  BAR_FIRST_TIME,
  BAR_FLAGS,
  BAR_FROM_VENUE,
  BAR_HIGH,
  BAR_LAST_TIME,
  BAR_LOW,
  BAR_OPEN,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_QUOTE_VOLUME,
  BAR_SELL_VOLUME,
  BAR_SIZE,
  BAR_TRADE_COUNT,
  BAR_VOLUME,
} from "../indicators/bar.ts";
import { HISTORY_ROW } from "../market/sink.ts";
import { grown } from "../std/grow.ts";
import { copyBar, foldBar, isFromVenue, isPartial, settleBar } from "./bar-arithmetic.ts";
import type { BarHistory } from "./bar-history.ts";

/*
 * Making bars from other bars: the venue's own before ours, wide ones from narrow ones. Cold path, may allocate.
 */

/**
 * The last row of a venue's history may be the bar that was building when it answered; it is taken for closed only
 * when its interval ended longer ago than any answer is under way.
 */
const ANSWER_MICROS = 10e6;

/** A row of a venue's history as a bar. */
function venueBar(rows: Float64Array, row: number, width: number): Float64Array {
  const bar = new Float64Array(BAR_SIZE);
  const [time, open, high, low, close, volume, quoteVolume, buyVolume, count] = rows.subarray(row, row + HISTORY_ROW);
  bar[BAR_OPEN_TIME] = time as number;
  bar[BAR_CLOSE_TIME] = bar[BAR_OPEN_TIME] + width;
  bar[BAR_OPEN] = open as number;
  bar[BAR_HIGH] = high as number;
  bar[BAR_LOW] = low as number;
  bar[BAR_CLOSE] = close as number;
  bar[BAR_VOLUME] = volume as number;
  bar[BAR_QUOTE_VOLUME] = quoteVolume as number;
  bar[BAR_BUY_VOLUME] = buyVolume as number;
  bar[BAR_SELL_VOLUME] = bar[BAR_VOLUME] - bar[BAR_BUY_VOLUME];
  bar[BAR_TRADE_COUNT] = count as number;
  bar[BAR_FIRST_TIME] = bar[BAR_OPEN_TIME];
  bar[BAR_LAST_TIME] = bar[BAR_CLOSE_TIME] - 1;
  bar[BAR_FLAGS] = BAR_FROM_VENUE;
  settleBar(bar, 0);
  return bar;
}

/** The rows that are closed bars of the timeframe, oldest first. `clock` is the venue's, 0 while unknown. */
export function closedVenueBars(rows: Float64Array, width: number, lateness: number, clock: number): Float64Array[] {
  const bars: Float64Array[] = [];
  for (let row = 0; row + HISTORY_ROW <= rows.length; row += HISTORY_ROW) {
    const bar = venueBar(rows, row, width);
    const opened = bar[BAR_OPEN_TIME];
    const newest = bars.at(-1);
    if (opened % width !== 0 || (newest !== undefined && opened <= newest[BAR_OPEN_TIME])) continue;
    // Venues fill silent intervals with flat bars; here a silent interval has no bar.
    if (bar[BAR_VOLUME] === 0) continue;
    const last = row + 2 * HISTORY_ROW > rows.length;
    if (clock === 0 ? last : bar[BAR_CLOSE_TIME] + (last ? ANSWER_MICROS : lateness) > clock) continue;
    bars.push(bar);
  }
  return bars;
}

/** Bars one after the other in an array that grows. */
export class BarList {
  bars = new Float64Array(16 * BAR_SIZE);
  count = 0;

  append(bars: Float64Array, at: number): void {
    this.bars = grown(this.bars, (this.count + 1) * BAR_SIZE);
    copyBar(bars, at, this.bars, this.count * BAR_SIZE);
    this.count += 1;
  }
}

/** Kept bars and the venue's in one, and the open times of the venue's that replaced a kept one or fill an absence. */
export interface Stitched {
  readonly merged: BarList;
  readonly told: number[];
}

/**
 * Puts the venue's bars before the first whole one of our own, into the last absence, which began at `awayFrom` (Infinity
 * without one) and ended with our next whole bar, and in the place of bars that were joined mid-way. Nothing goes before
 * the oldest kept bar once older ones were dropped (`oldestTime`, else 0).
 */
export function stitch(
  history: BarHistory,
  venue: readonly Float64Array[],
  oldestTime: number,
  awayFrom: number,
): Stitched {
  const merged = new BarList();
  const told: number[] = [];
  let ownFrom = Number.POSITIVE_INFINITY;
  let backFrom = Number.POSITIVE_INFINITY;
  for (let index = history.count - 1; index >= 0; index -= 1) {
    const bars = history.array(index);
    const at = history.offset(index);
    if (isPartial(bars, at) || isFromVenue(bars, at)) continue;
    ownFrom = bars[at + BAR_OPEN_TIME];
    if (ownFrom >= awayFrom) backFrom = ownFrom;
  }
  let kept = 0;
  for (const bar of venue) {
    const opened = bar[BAR_OPEN_TIME];
    while (kept < history.count && history.array(kept)[history.offset(kept) + BAR_OPEN_TIME] < opened) {
      merged.append(history.array(kept), history.offset(kept));
      kept += 1;
    }
    if (history.has(kept, bar, BAR_OPEN_TIME)) {
      const bars = history.array(kept);
      const at = history.offset(kept);
      const own = !isFromVenue(bars, at);
      if (own && !isPartial(bars, at)) continue;
      kept += 1;
      // One that was replaced earlier stays marked when the venue tells it again.
      bar[BAR_FLAGS] |= own ? BAR_AMENDED : bars[at + BAR_FLAGS] & BAR_AMENDED;
      if (own) told.push(opened);
    } else if (opened >= awayFrom && opened < backFrom) {
      bar[BAR_FLAGS] |= BAR_AMENDED;
      told.push(opened);
    } else if (opened >= ownFrom || opened < oldestTime) continue;
    merged.append(bar, 0);
  }
  for (; kept < history.count; kept += 1) merged.append(history.array(kept), history.offset(kept));
  return { merged, told };
}

/** Wide bars, made from narrow ones that come in order of time. */
export class Widening {
  readonly wide = new BarList();
  readonly #width: number;
  readonly #knownFrom: number;
  readonly #bar = new Float64Array(BAR_SIZE);

  /** A bar that opened before `knownFrom` is partial; NaN is not known at all. */
  constructor(width: number, knownFrom: number) {
    this.#width = width;
    this.#knownFrom = knownFrom;
  }

  add(bars: Float64Array, at: number): void {
    const { wide } = this;
    const bar = this.#bar;
    copyBar(bars, at, bar, 0);
    bar[BAR_OPEN_TIME] -= bar[BAR_OPEN_TIME] % this.#width;
    bar[BAR_CLOSE_TIME] = bar[BAR_OPEN_TIME] + this.#width;
    bar[BAR_FLAGS] &= ~BAR_AMENDED;
    if (!(bar[BAR_OPEN_TIME] >= this.#knownFrom)) bar[BAR_FLAGS] |= BAR_PARTIAL;
    settleBar(bar, 0);
    const last = (wide.count - 1) * BAR_SIZE;
    if (wide.count === 0 || wide.bars[last + BAR_OPEN_TIME] !== bar[BAR_OPEN_TIME]) {
      wide.append(bar, 0);
      return;
    }
    foldBar(wide.bars, last, bar, 0);
    settleBar(wide.bars, last);
    const either = wide.bars[last + BAR_FLAGS] | bar[BAR_FLAGS];
    // The venue's word for a part of it does not make the whole the venue's: late trades of our own part must count.
    const both = wide.bars[last + BAR_FLAGS] & bar[BAR_FLAGS];
    wide.bars[last + BAR_FLAGS] = (either & ~BAR_FROM_VENUE) | (both & BAR_FROM_VENUE);
  }
}
