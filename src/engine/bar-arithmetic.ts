import {
  BAR_ACROSS_GAP,
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

/**
 * When the timeframe's interval that `times[at]` lies in began. The remainder of doubles this large takes longer than a
 * whole trade; the quotient of a time below 2^53 and a width is never rounded across a whole number, so it is exact. It is
 * left in `opened`: a double that a call returns is boxed where V8 does not inline the call.
 */
export function findOpenTime(times: Float64Array, at: number, timeframe: number): void {
  const width = TIMEFRAME_MICROS[timeframe];
  opened[0] = Math.floor(times[at] / width) * width;
}

/** What `findOpenTime` found, in [0]; good until the next call. */
export const opened = new Float64Array(1);

/** Makes `bars[at]` a bar without trades, of the timeframe's interval that `times[timeAt]` lies in. */
export function openBar(
  bars: Float64Array,
  at: number,
  times: Float64Array,
  timeAt: number,
  timeframe: number,
  flags: number,
): void {
  findOpenTime(times, timeAt, timeframe);
  bars[at + BAR_OPEN_TIME] = opened[0];
  bars[at + BAR_CLOSE_TIME] = opened[0] + TIMEFRAME_MICROS[timeframe];
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
 * Adds a trade to the bar at `bars[at]` when it lies in the bar's interval and is its latest, which nearly all are. An
 * empty slot's close time of 0 makes it none of these.
 */
export function addNewest(
  bars: Float64Array,
  at: number,
  numbers: Float64Array,
  side: number,
  times: Float64Array,
  timeAt: number,
): boolean {
  const time = times[timeAt];
  if (!(time >= bars[at + BAR_LAST_TIME] && time < bars[at + BAR_CLOSE_TIME])) return false;
  const price = numbers[PRICE];
  const size = numbers[SIZE];
  if (price > bars[at + BAR_HIGH]) bars[at + BAR_HIGH] = price;
  if (price < bars[at + BAR_LOW]) bars[at + BAR_LOW] = price;
  bars[at + BAR_CLOSE] = price;
  bars[at + BAR_LAST_TIME] = time;
  bars[at + BAR_VOLUME] += size;
  bars[at + BAR_QUOTE_VOLUME] += price * size;
  if (side === SIDE_BUY) bars[at + BAR_BUY_VOLUME] += size;
  else if (side === SIDE_SELL) bars[at + BAR_SELL_VOLUME] += size;
  bars[at + BAR_TRADE_COUNT] += 1;
  return true;
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

/** Adds a narrower bar, its flags aside, to one of a wider timeframe. */
export function foldBar(wide: Float64Array, at: number, bars: Float64Array, from: number): void {
  if (bars[from + BAR_HIGH] > wide[at + BAR_HIGH]) wide[at + BAR_HIGH] = bars[from + BAR_HIGH];
  if (bars[from + BAR_LOW] < wide[at + BAR_LOW]) wide[at + BAR_LOW] = bars[from + BAR_LOW];
  wide[at + BAR_VOLUME] += bars[from + BAR_VOLUME];
  wide[at + BAR_QUOTE_VOLUME] += bars[from + BAR_QUOTE_VOLUME];
  wide[at + BAR_BUY_VOLUME] += bars[from + BAR_BUY_VOLUME];
  wide[at + BAR_SELL_VOLUME] += bars[from + BAR_SELL_VOLUME];
  wide[at + BAR_TRADE_COUNT] += bars[from + BAR_TRADE_COUNT];
  if (bars[from + BAR_LAST_TIME] >= wide[at + BAR_LAST_TIME]) {
    wide[at + BAR_LAST_TIME] = bars[from + BAR_LAST_TIME];
    wide[at + BAR_CLOSE] = bars[from + BAR_CLOSE];
  }
  if (bars[from + BAR_FIRST_TIME] < wide[at + BAR_FIRST_TIME]) {
    wide[at + BAR_FIRST_TIME] = bars[from + BAR_FIRST_TIME];
    wide[at + BAR_OPEN] = bars[from + BAR_OPEN];
  }
}

/** True when two bars are the same on the wire; when their first and last trades were is not. */
export function isSameBar(bars: Float64Array, at: number, bar: Float64Array): boolean {
  for (let field = 0; field < BAR_FIRST_TIME; field += 1) {
    if (!Object.is(bars[at + field], bar[field])) return false;
  }
  return ((bars[at + BAR_FLAGS] ^ bar[BAR_FLAGS]) & (BAR_PARTIAL | BAR_ACROSS_GAP | BAR_FROM_VENUE)) === 0;
}

export function isPartial(bars: Float64Array, at: number): boolean {
  return (bars[at + BAR_FLAGS] & BAR_PARTIAL) !== 0;
}

export function isFromVenue(bars: Float64Array, at: number): boolean {
  return (bars[at + BAR_FLAGS] & BAR_FROM_VENUE) !== 0;
}
