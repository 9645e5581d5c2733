/*
 * A bar is 16 doubles, two cache lines, in whatever array holds it. The first twelve lie in the order that the writer
 * of bar frames takes, so a closed bar goes to the wire straight from where it lies.
 *
 *   0 open time   1 close time   2 open    3 high         4 low           5 close         6 volume       7 quote volume
 *   8 vwap        9 buy volume  10 sell   11 trade count  12 first trade  13 last trade  14 flags       15 unused
 */
/** Microseconds since the Unix epoch, a multiple of the timeframe's width; 0 in a slot that holds no bar. */
export const BAR_OPEN_TIME = 0;
/** Microseconds, exclusive. */
export const BAR_CLOSE_TIME = 1;
/** Price of the earliest trade by the venue's time; of trades at the same time, of the one that came first. */
export const BAR_OPEN = 2;
export const BAR_HIGH = 3;
export const BAR_LOW = 4;
/** Price of the latest trade by the venue's time; of trades at the same time, of the one that came last. */
export const BAR_CLOSE = 5;
/** Base units. */
export const BAR_VOLUME = 6;
export const BAR_QUOTE_VOLUME = 7;
/** Quote volume over volume, NaN when volume is 0; filled in when the bar closes or is looked at. */
export const BAR_VWAP = 8;
/** By the aggressor's side: trades of unknown side count in volume only. NaN where a venue does not tell. */
export const BAR_BUY_VOLUME = 9;
export const BAR_SELL_VOLUME = 10;
export const BAR_TRADE_COUNT = 11;
/** The venue's times of the earliest and the latest trade, microseconds. */
export const BAR_FIRST_TIME = 12;
export const BAR_LAST_TIME = 13;
/** Bits of BarFlags below. */
export const BAR_FLAGS = 14;
export const BAR_UNUSED = 15;
export const BAR_SIZE = 16;

/** Not all of the bar's trades were seen: it was joined mid-way, or left. */
export const BAR_PARTIAL = 1;
/** The venue lost trades within it. */
export const BAR_ACROSS_GAP = 2;
/** The venue's own bar, not one made of its trades. */
export const BAR_FROM_VENUE = 4;
/** Amended, created or replaced after its close. */
export const BAR_AMENDED = 8;
/** Unclosed only: what it counts is in the next wider bar already, because its timeframe was asked for mid-way. */
export const BAR_APART = 16;

/** States of a bar that goes out, in the order of the schema's enum. */
export const BAR_BUILDING = 1;
export const BAR_CLOSED = 2;
export const BAR_CORRECTED = 3;
