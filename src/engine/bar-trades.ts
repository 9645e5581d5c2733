import {
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
  BAR_VWAP,
} from "../indicators/bar.ts";
import { PRICE, SIDE_BUY, SIDE_SELL, SIZE } from "../market/sink.ts";
import { TIMEFRAME_MICROS } from "../market/timeframe.ts";

/*
 * Arithmetic on one bar where it lies. Hot path: doubles stay in typed arrays. A bar without trades has a high of
 * -Infinity, a low of Infinity, and a first and a last time that every trade beats, so that the first trade needs no
 * case of its own: prices of 0 and below are as good as any.
 */

/** Makes `bars[at]` a bar without trades, of the timeframe's interval that `times[timeAt]` lies in. */
export function openBar(
  bars: Float64Array,
  at: number,
  times: Float64Array,
  timeAt: number,
  timeframe: number,
  flags: number,
): void {
  const width = TIMEFRAME_MICROS[timeframe];
  bars[at + BAR_OPEN_TIME] = times[timeAt] - (times[timeAt] % width);
  bars[at + BAR_CLOSE_TIME] = bars[at + BAR_OPEN_TIME] + width;
  bars[at + BAR_HIGH] = Number.NEGATIVE_INFINITY;
  bars[at + BAR_LOW] = Number.POSITIVE_INFINITY;
  bars[at + BAR_VOLUME] = 0;
  bars[at + BAR_QUOTE_VOLUME] = 0;
  bars[at + BAR_VWAP] = Number.NaN;
  bars[at + BAR_BUY_VOLUME] = 0;
  bars[at + BAR_SELL_VOLUME] = 0;
  bars[at + BAR_TRADE_COUNT] = 0;
  bars[at + BAR_FIRST_TIME] = Number.POSITIVE_INFINITY;
  bars[at + BAR_LAST_TIME] = Number.NEGATIVE_INFINITY;
  bars[at + BAR_FLAGS] = flags;
}

/**
 * The layout of bar.ts, of the slot and of a series once more, for the loop below: an enum of the same file becomes
 * numbers in the code, while an imported constant is loaded and checked at each use, which doubled the cost of a trade.
 * A test compares them.
 */
export enum Hot {
  CLOSE_TIME = 1,
  HIGH = 3,
  LOW = 4,
  CLOSE = 5,
  VOLUME = 6,
  QUOTE_VOLUME = 7,
  BUY_VOLUME = 9,
  SELL_VOLUME = 10,
  TRADE_COUNT = 11,
  LAST_TIME = 13,
  BAR_SIZE = 16,
}
export enum HotTrade {
  PRICE = 0,
  SIZE = 1,
}
export enum HotSeries {
  BUY = 1,
  SELL = 2,
  TIMEFRAMES = 11,
}

/**
 * Adds a trade to an instrument's building bars of the timeframes in `active`, one bit each: to those whose latest
 * trade it is, which is nearly always all. Returns the bits of the others, untouched: no bar, another interval, or a
 * trade out of order. An empty slot's close time of 0 makes it one of the others.
 */
export function addToBuilding(
  bars: Float64Array,
  instrument: number,
  active: number,
  side: number,
  numbers: Float64Array,
  times: Float64Array,
  timeAt: number,
): number {
  const price = numbers[HotTrade.PRICE];
  const size = numbers[HotTrade.SIZE];
  const time = times[timeAt];
  const quote = price * size;
  const bought = side === HotSeries.BUY ? size : 0;
  const sold = side === HotSeries.SELL ? size : 0;
  const first = instrument * HotSeries.TIMEFRAMES;
  let others = 0;
  for (let left = active; left !== 0; left &= left - 1) {
    const bit = left & -left;
    const at = (first + 31 - Math.clz32(bit)) * Hot.BAR_SIZE;
    if (time >= bars[at + Hot.LAST_TIME] && time < bars[at + Hot.CLOSE_TIME]) {
      if (price > bars[at + Hot.HIGH]) bars[at + Hot.HIGH] = price;
      if (price < bars[at + Hot.LOW]) bars[at + Hot.LOW] = price;
      bars[at + Hot.CLOSE] = price;
      bars[at + Hot.LAST_TIME] = time;
      bars[at + Hot.VOLUME] += size;
      bars[at + Hot.QUOTE_VOLUME] += quote;
      bars[at + Hot.BUY_VOLUME] += bought;
      bars[at + Hot.SELL_VOLUME] += sold;
      bars[at + Hot.TRADE_COUNT] += 1;
    } else others |= bit;
  }
  return others;
}

/** Adds the trade of PRICE and SIZE in `numbers`, at the venue's time in `times[timeAt]`. */
export function addTrade(
  bars: Float64Array,
  at: number,
  numbers: Float64Array,
  side: number,
  times: Float64Array,
  timeAt: number,
): void {
  const price = numbers[PRICE];
  const size = numbers[SIZE];
  const time = times[timeAt];
  if (price > bars[at + BAR_HIGH]) bars[at + BAR_HIGH] = price;
  if (price < bars[at + BAR_LOW]) bars[at + BAR_LOW] = price;
  bars[at + BAR_VOLUME] += size;
  bars[at + BAR_QUOTE_VOLUME] += price * size;
  if (side === SIDE_BUY) bars[at + BAR_BUY_VOLUME] += size;
  else if (side === SIDE_SELL) bars[at + BAR_SELL_VOLUME] += size;
  bars[at + BAR_TRADE_COUNT] += 1;
  if (time >= bars[at + BAR_LAST_TIME]) {
    bars[at + BAR_LAST_TIME] = time;
    bars[at + BAR_CLOSE] = price;
  }
  if (time < bars[at + BAR_FIRST_TIME]) {
    bars[at + BAR_FIRST_TIME] = time;
    bars[at + BAR_OPEN] = price;
  }
}

/** Fills in what is derived from the rest. */
export function settleBar(bars: Float64Array, at: number): void {
  const volume = bars[at + BAR_VOLUME];
  bars[at + BAR_VWAP] = volume === 0 ? Number.NaN : bars[at + BAR_QUOTE_VOLUME] / volume;
}

export function copyBar(from: Float64Array, fromAt: number, to: Float64Array, toAt: number): void {
  for (let field = 0; field < BAR_SIZE; field += 1) to[toAt + field] = from[fromAt + field];
}

/** Adds a later bar of a narrower timeframe to a wider one's. */
export function foldBar(wide: Float64Array, at: number, bars: Float64Array, from: number): void {
  wide[at + BAR_HIGH] = Math.max(wide[at + BAR_HIGH], bars[from + BAR_HIGH]);
  wide[at + BAR_LOW] = Math.min(wide[at + BAR_LOW], bars[from + BAR_LOW]);
  wide[at + BAR_CLOSE] = bars[from + BAR_CLOSE];
  wide[at + BAR_LAST_TIME] = bars[from + BAR_LAST_TIME];
  wide[at + BAR_VOLUME] += bars[from + BAR_VOLUME];
  wide[at + BAR_QUOTE_VOLUME] += bars[from + BAR_QUOTE_VOLUME];
  wide[at + BAR_BUY_VOLUME] += bars[from + BAR_BUY_VOLUME];
  wide[at + BAR_SELL_VOLUME] += bars[from + BAR_SELL_VOLUME];
  wide[at + BAR_TRADE_COUNT] += bars[from + BAR_TRADE_COUNT];
  const either = wide[at + BAR_FLAGS] | bars[from + BAR_FLAGS];
  // The venue's word for a part of it does not make the whole the venue's: late trades of our own part must count.
  const both = wide[at + BAR_FLAGS] & bars[from + BAR_FLAGS];
  wide[at + BAR_FLAGS] = (either & ~BAR_FROM_VENUE) | (both & BAR_FROM_VENUE);
  settleBar(wide, at);
}

export function isPartial(bars: Float64Array, at: number): boolean {
  return (bars[at + BAR_FLAGS] & BAR_PARTIAL) !== 0;
}

export function isFromVenue(bars: Float64Array, at: number): boolean {
  return (bars[at + BAR_FLAGS] & BAR_FROM_VENUE) !== 0;
}
