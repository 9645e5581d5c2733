import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  CHECKSUM,
  FUNDING_RATE,
  HIGH_24H,
  INDEX,
  LAST,
  LAST_SEQUENCE,
  LOW_24H,
  MARK,
  MAX_TRADE_ID_BYTES,
  NEXT_FUNDING,
  OPEN_INTEREST,
  PREVIOUS_SEQUENCE,
  PRICE,
  SIZE,
  VOLUME_24H,
} from "../market/sink.ts";
import { assert } from "../std/assert.ts";
import { MAX_FRAME_BYTES } from "./frame-flags.ts";
import * as T from "./generated/templates.ts";

export * from "./frame-flags.ts";

import type { Memory } from "./memory.ts";

/*
 * Hot path. Writes finished FlatBuffers frames: the prebuilt template is copied word by word, then the fields are
 * patched where the schema's own Builder put them. `at` is always a multiple of 8; each function returns the frame's
 * length, a multiple of 8 too. Doubles come in typed arrays, so nothing is boxed.
 */

/** Levels, both sides together, that fit one frame. */
export const MAX_FRAME_LEVELS = (MAX_FRAME_BYTES - T.BOOK_LEVELS_BYTES - 8) >> 4;
export const MAX_FRAME_INDICATORS = 256;

/** Header numbers that exceed a small integer, by index into a FrameHeader's words. */
export const H_EPOCH = 0;
export const H_POSITION = 1;
export const H_SEQ = 2;
export const H_FROM_SEQ = 3;
export const H_TS_EXCHANGE = 4;
export const H_TS_RECEIVE = 5;
export const H_TS_PUBLISH = 6;
const HEADER_WORDS = 7;

/** Fields of a bar in the array that `writeBar` takes. */
export const BAR_VALUES = 12;

const HIGH_WORD = 1 / 4294967296;

/** Writes a whole number below 2^53 as 64 bits; storing to an Int32Array keeps the low 32 bits, whatever the size. */
function putInteger(i32: Int32Array, word: number, numbers: Float64Array, index: number): void {
  const value = numbers[index];
  i32[word] = value;
  i32[word + 1] = Math.floor(value * HIGH_WORD);
}

/**
 * The 64-bit numbers of a frame's header, kept as they lie in a frame, so that those that stay the same from frame to
 * frame (epoch, times) cost a copy and no conversion. As doubles the bits of a negative time alone are a NaN's, and
 * from one typed array to another even those are copied as they are (wire.test.ts has some).
 */
export class FrameHeader {
  readonly words = new Float64Array(HEADER_WORDS);
  readonly #i32 = new Int32Array(this.words.buffer);

  /** Sets the number `index` to the whole number `values[at]`, which is below 2^53. */
  set(index: number, values: Float64Array, at: number): void {
    putInteger(this.#i32, 2 * index, values, at);
  }
}

/** Patches the header into a frame whose payload is written already. */
export function writeHeader(
  memory: Memory,
  at: number,
  header: Float64Array,
  stream: number,
  instrument: number,
  flags: number,
): void {
  const { i32, f64 } = memory;
  i32[(at + T.FRAME_STREAM) >> 2] = stream;
  i32[(at + T.FRAME_INSTRUMENT) >> 2] = instrument;
  i32[(at + T.FRAME_FLAGS) >> 2] = flags;
  f64[(at + T.FRAME_EPOCH) >> 3] = header[H_EPOCH];
  f64[(at + T.FRAME_POSITION) >> 3] = header[H_POSITION];
  f64[(at + T.FRAME_SEQ) >> 3] = header[H_SEQ];
  f64[(at + T.FRAME_FROM_SEQ) >> 3] = header[H_FROM_SEQ];
  f64[(at + T.FRAME_TS_EXCHANGE) >> 3] = header[H_TS_EXCHANGE];
  f64[(at + T.FRAME_TS_RECEIVE) >> 3] = header[H_TS_RECEIVE];
  f64[(at + T.FRAME_TS_PUBLISH) >> 3] = header[H_TS_PUBLISH];
}

/**
 * The same for a ring frame, from where its numbers are kept: `sequences[sequenceAt]`, `position[0]`, `times[exchangeAt]`.
 * Numbers that were just counted go straight to their place: put into the header's words as halves and read back as
 * whole ones, each would stall until its store has left the processor's buffer.
 */
export function writeRingHeader(
  memory: Memory,
  at: number,
  header: Float64Array,
  stream: number,
  instrument: number,
  flags: number,
  sequences: Float64Array,
  sequenceAt: number,
  position: Float64Array,
  times: Float64Array,
  exchangeAt: number,
): void {
  const { i32, f64 } = memory;
  i32[(at + T.FRAME_STREAM) >> 2] = stream;
  i32[(at + T.FRAME_INSTRUMENT) >> 2] = instrument;
  i32[(at + T.FRAME_FLAGS) >> 2] = flags;
  f64[(at + T.FRAME_EPOCH) >> 3] = header[H_EPOCH];
  f64[(at + T.FRAME_TS_RECEIVE) >> 3] = header[H_TS_RECEIVE];
  f64[(at + T.FRAME_TS_PUBLISH) >> 3] = header[H_TS_PUBLISH];
  putInteger(i32, (at + T.FRAME_POSITION) >> 2, position, 0);
  putInteger(i32, (at + T.FRAME_SEQ) >> 2, sequences, sequenceAt);
  putInteger(i32, (at + T.FRAME_FROM_SEQ) >> 2, sequences, sequenceAt);
  putInteger(i32, (at + T.FRAME_TS_EXCHANGE) >> 2, times, exchangeAt);
}

/** PRICE and SIZE of the slot; the id's bytes are copied as the venue wrote them, four at a time. */
export function writeTrade(
  memory: Memory,
  at: number,
  numbers: Float64Array,
  side: number,
  flags: number,
  idWords: Int32Array,
  idLength: number,
): number {
  assert(idLength <= MAX_TRADE_ID_BYTES, "a trade's id is at most 40 bytes");
  T.stampTrade(memory.f64, at >> 3);
  const { f64, u8, i32 } = memory;
  f64[(at + T.TRADE_PRICE) >> 3] = numbers[PRICE];
  f64[(at + T.TRADE_SIZE) >> 3] = numbers[SIZE];
  u8[at + T.TRADE_SIDE] = side;
  u8[at + T.TRADE_FLAGS] = flags;
  const data = at + T.TRADE_TRADE_ID_DATA;
  i32[(data - 4) >> 2] = idLength;
  const end = (T.TRADE_TRADE_ID_DATA + idLength + 1 + 7) & ~7;
  // Whole words, then the rest of the last one, whose other bytes are the terminator and the padding.
  const full = idLength >> 2;
  let word = data >> 2;
  for (let index = 0; index < full; index += 1) i32[word++] = idWords[index];
  i32[word++] = idWords[full] & ((1 << ((idLength & 3) << 3)) - 1);
  if (word << 2 < at + end) i32[word] = 0;
  return end;
}

export const LARGEST_TRADE_BYTES = (T.TRADE_TRADE_ID_DATA + MAX_TRADE_ID_BYTES + 8) & ~7;

/** Bytes of a book frame with so many levels, both sides together. */
export function bookBytes(levels: number): number {
  return T.BOOK_LEVELS_BYTES + levels * 16 + 8;
}

/**
 * Levels of both sides, taken from (price, size) pairs, `from` counted in levels. PREVIOUS_SEQUENCE, LAST_SEQUENCE and
 * CHECKSUM come from the slot's numbers.
 */
export function writeBookLevels(
  memory: Memory,
  at: number,
  numbers: Float64Array,
  bids: Float64Array,
  bidFrom: number,
  bidCount: number,
  asks: Float64Array,
  askFrom: number,
  askCount: number,
): number {
  assert(bidCount + askCount <= MAX_FRAME_LEVELS, "a frame's levels fit a frame");
  T.stampBookLevels(memory.f64, at >> 3);
  const { f64, i32 } = memory;
  putInteger(i32, (at + T.BOOK_LEVELS_VENUE_SEQ) >> 2, numbers, LAST_SEQUENCE);
  putInteger(i32, (at + T.BOOK_LEVELS_VENUE_PREV_SEQ) >> 2, numbers, PREVIOUS_SEQUENCE);
  putInteger(i32, (at + T.BOOK_LEVELS_CHECKSUM) >> 2, numbers, CHECKSUM);
  const bidData = at + T.BOOK_LEVELS_BIDS_DATA;
  i32[(bidData - 4) >> 2] = bidCount;
  let word = bidData >> 3;
  for (let value = 2 * bidFrom; value < 2 * (bidFrom + bidCount); value += 1) f64[word++] = bids[value];
  // The asks' length is the upper half of the word before their data, which stays aligned to 8.
  f64[word++] = 0;
  const askData = word << 3;
  i32[(askData - 4) >> 2] = askCount;
  i32[(at + T.BOOK_LEVELS_ASKS) >> 2] = askData - 4 - (at + T.BOOK_LEVELS_ASKS);
  for (let value = 2 * askFrom; value < 2 * (askFrom + askCount); value += 1) f64[word++] = asks[value];
  return (word << 3) - at;
}

/** BID_*, ASK_* and LAST_SEQUENCE of the slot. */
export function writeQuote(memory: Memory, at: number, numbers: Float64Array, live: number): number {
  T.stampQuote(memory.f64, at >> 3);
  const { f64, u8, i32 } = memory;
  f64[(at + T.QUOTE_BID_PRICE) >> 3] = numbers[BID_PRICE];
  f64[(at + T.QUOTE_BID_SIZE) >> 3] = numbers[BID_SIZE];
  f64[(at + T.QUOTE_ASK_PRICE) >> 3] = numbers[ASK_PRICE];
  f64[(at + T.QUOTE_ASK_SIZE) >> 3] = numbers[ASK_SIZE];
  putInteger(i32, (at + T.QUOTE_VENUE_SEQ) >> 2, numbers, LAST_SEQUENCE);
  u8[at + T.QUOTE_LIVE] = live;
  return T.QUOTE_BYTES;
}

/** LAST, MARK, INDEX, OPEN_INTEREST, VOLUME_24H, HIGH_24H and LOW_24H of the slot. */
export function writeTicker(memory: Memory, at: number, numbers: Float64Array): number {
  T.stampTicker(memory.f64, at >> 3);
  const f64 = memory.f64;
  f64[(at + T.TICKER_LAST) >> 3] = numbers[LAST];
  f64[(at + T.TICKER_MARK) >> 3] = numbers[MARK];
  f64[(at + T.TICKER_INDEX) >> 3] = numbers[INDEX];
  f64[(at + T.TICKER_OPEN_INTEREST) >> 3] = numbers[OPEN_INTEREST];
  f64[(at + T.TICKER_VOLUME_24H) >> 3] = numbers[VOLUME_24H];
  f64[(at + T.TICKER_HIGH_24H) >> 3] = numbers[HIGH_24H];
  f64[(at + T.TICKER_LOW_24H) >> 3] = numbers[LOW_24H];
  return T.TICKER_BYTES;
}

/** FUNDING_RATE, NEXT_FUNDING, MARK and INDEX of the slot. */
export function writeFunding(memory: Memory, at: number, numbers: Float64Array): number {
  T.stampFunding(memory.f64, at >> 3);
  const { f64, i32 } = memory;
  f64[(at + T.FUNDING_RATE) >> 3] = numbers[FUNDING_RATE];
  f64[(at + T.FUNDING_MARK) >> 3] = numbers[MARK];
  f64[(at + T.FUNDING_INDEX) >> 3] = numbers[INDEX];
  putInteger(i32, (at + T.FUNDING_NEXT_TIME) >> 2, numbers, NEXT_FUNDING);
  return T.FUNDING_BYTES;
}

/** PRICE and SIZE of the slot. */
export function writeLiquidation(memory: Memory, at: number, numbers: Float64Array, side: number): number {
  T.stampLiquidation(memory.f64, at >> 3);
  const { f64, u8 } = memory;
  f64[(at + T.LIQUIDATION_PRICE) >> 3] = numbers[PRICE];
  f64[(at + T.LIQUIDATION_SIZE) >> 3] = numbers[SIZE];
  u8[at + T.LIQUIDATION_SIDE] = side;
  return T.LIQUIDATION_BYTES;
}

/**
 * `values` holds, from `from` on: open time, close time, open, high, low, close, volume, quote volume, vwap, buy
 * volume, sell volume, trade count.
 */
export function writeBar(
  memory: Memory,
  at: number,
  values: Float64Array,
  from: number,
  timeframe: number,
  state: number,
  source: number,
  partial: number,
  acrossGap: number,
): number {
  T.stampBar(memory.f64, at >> 3);
  const { f64, u8, i32 } = memory;
  putInteger(i32, (at + T.BAR_OPEN_TIME) >> 2, values, from);
  putInteger(i32, (at + T.BAR_CLOSE_TIME) >> 2, values, from + 1);
  f64[(at + T.BAR_OPEN) >> 3] = values[from + 2];
  f64[(at + T.BAR_HIGH) >> 3] = values[from + 3];
  f64[(at + T.BAR_LOW) >> 3] = values[from + 4];
  f64[(at + T.BAR_CLOSE) >> 3] = values[from + 5];
  f64[(at + T.BAR_VOLUME) >> 3] = values[from + 6];
  f64[(at + T.BAR_QUOTE_VOLUME) >> 3] = values[from + 7];
  f64[(at + T.BAR_VWAP) >> 3] = values[from + 8];
  f64[(at + T.BAR_BUY_VOLUME) >> 3] = values[from + 9];
  f64[(at + T.BAR_SELL_VOLUME) >> 3] = values[from + 10];
  putInteger(i32, (at + T.BAR_TRADE_COUNT) >> 2, values, from + 11);
  u8[at + T.BAR_TIMEFRAME] = timeframe;
  u8[at + T.BAR_STATE] = state;
  u8[at + T.BAR_SOURCE] = source;
  u8[at + T.BAR_PARTIAL] = partial;
  u8[at + T.BAR_ACROSS_GAP] = acrossGap;
  return T.BAR_BYTES;
}

/** Opens an indicators frame without values; `barTime[from]` is the bar's open time. */
export function writeIndicators(
  memory: Memory,
  at: number,
  barTime: Float64Array,
  from: number,
  timeframe: number,
  state: number,
): number {
  T.stampIndicators(memory.f64, at >> 3);
  putInteger(memory.i32, (at + T.INDICATORS_BAR_TIME) >> 2, barTime, from);
  memory.u8[at + T.INDICATORS_TIMEFRAME] = timeframe;
  memory.u8[at + T.INDICATORS_STATE] = state;
  return T.INDICATORS_BYTES;
}

/**
 * Writes the values of an indicators frame that is the last thing written, and returns the frame's length. Entry i is
 * lane `lanes[i]` of indicator `ids[i]`; its value lies at `row[rowAt + valueAt[i]]`, whether it is ready, 1 or 0, at
 * `row[rowAt + readyAt[i]]`.
 */
export function writeIndicatorValues(
  memory: Memory,
  at: number,
  count: number,
  ids: Int32Array,
  lanes: Int32Array,
  valueAt: Int32Array,
  readyAt: Int32Array,
  row: Float64Array,
  rowAt: number,
): number {
  assert(count <= MAX_FRAME_INDICATORS, "an indicators frame has room");
  const { i32, f64 } = memory;
  const data = at + T.INDICATORS_VALUES_DATA;
  i32[(data - 4) >> 2] = count;
  let word = data >> 2;
  for (let entry = 0; entry < count; entry += 1) {
    i32[word] = ids[entry] | (lanes[entry] << 16) | (row[rowAt + readyAt[entry]] << 24);
    i32[word + 1] = 0;
    // Arithmetic makes NaNs of either sign, and 0 / 0 another one before V8 has compiled it than after: all become one,
    // so that the same input gives the same bytes.
    const value = row[rowAt + valueAt[entry]];
    f64[(word >> 1) + 1] = Number.isNaN(value) ? Number.NaN : value;
    word += 4;
  }
  return 4 * word - at;
}

/** Bytes of an indicators frame with so many values. */
export function indicatorsBytes(values: number): number {
  return T.INDICATORS_BYTES + values * 16;
}

/** What a stream is: `channel` and `timeframe` are values of the schema's enums. */
export function writeStream(
  memory: Memory,
  at: number,
  stream: number,
  instrument: number,
  channel: number,
  timeframe: number,
): number {
  T.stampStream(memory.f64, at >> 3);
  const { u8, i32 } = memory;
  i32[(at + T.STREAM_ID) >> 2] = stream;
  i32[(at + T.STREAM_INSTRUMENT) >> 2] = instrument;
  u8[at + T.STREAM_CHANNEL] = channel;
  u8[at + T.STREAM_TIMEFRAME] = timeframe;
  return T.STREAM_BYTES;
}

export const LARGEST_FIXED_BYTES = Math.max(
  LARGEST_TRADE_BYTES,
  T.QUOTE_BYTES,
  T.TICKER_BYTES,
  T.FUNDING_BYTES,
  T.LIQUIDATION_BYTES,
  T.BAR_BYTES,
  T.STREAM_BYTES,
);
