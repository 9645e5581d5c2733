import { TIMEFRAME_COUNT } from "./timeframe.ts";

/** What can be subscribed to, by the names clients use. */
export const CHANNELS = [
  "trades",
  "orderbook",
  "quotes",
  "ticker",
  "funding",
  "liquidations",
  "bars",
  "indicators",
] as const;

export type Channel = (typeof CHANNELS)[number];

/** Other names for a channel, as the systems before this one and the field use them. */
export const CHANNEL_ALIASES: Readonly<Record<string, Channel>> = {
  trade: "trades",
  book: "orderbook",
  bbo: "quotes",
  quote: "quotes",
  price: "ticker",
  prices: "ticker",
  ohlcv: "bars",
  candles: "bars",
  klines: "bars",
};

/** The canonical channel of a name, or undefined. */
export function channelOf(name: string): Channel | undefined {
  const lower = name.toLowerCase();
  if ((CHANNELS as readonly string[]).includes(lower)) return lower as Channel;
  return Object.hasOwn(CHANNEL_ALIASES, lower) ? CHANNEL_ALIASES[lower] : undefined;
}

/*
 * Streams are numbered by arithmetic, not by a table: stream = instrument * 32 + slot. Whoever holds a stream's number
 * knows its instrument, channel and timeframe; the same instrument list gives the same numbers, whatever clients asked.
 *
 *   slot   0        1       2          3       4       5        6             8..18             19..29
 *          state    trades  orderbook  quotes  ticker  funding  liquidations  bars, timeframe   indicators, timeframe
 *
 * Instrument 0 is nobody's: its stream 0 is the directory (Instrument and Stream frames). Each venue has a
 * pseudo-instrument without a symbol, whose state stream is the state of the feed. The top byte of a stream's number
 * is the shard, which leaves 2^19 instruments.
 */
export const SLOT_BITS = 5;
export const SLOTS_PER_INSTRUMENT = 1 << SLOT_BITS;
export const MAX_INSTRUMENTS = 1 << (24 - SLOT_BITS);

export const SLOT_STATE = 0;
export const SLOT_TRADES = 1;
export const SLOT_ORDERBOOK = 2;
export const SLOT_QUOTES = 3;
export const SLOT_TICKER = 4;
export const SLOT_FUNDING = 5;
export const SLOT_LIQUIDATIONS = 6;
export const SLOT_BARS = 8;
export const SLOT_INDICATORS = SLOT_BARS + TIMEFRAME_COUNT;

export const DIRECTORY_STREAM = 0;

const FIRST_SLOT: Readonly<Record<Channel, number>> = {
  trades: SLOT_TRADES,
  orderbook: SLOT_ORDERBOOK,
  quotes: SLOT_QUOTES,
  ticker: SLOT_TICKER,
  funding: SLOT_FUNDING,
  liquidations: SLOT_LIQUIDATIONS,
  bars: SLOT_BARS,
  indicators: SLOT_INDICATORS,
};

/** True for the channels that have one stream per timeframe. */
export function hasTimeframes(channel: Channel): boolean {
  return channel === "bars" || channel === "indicators";
}

/** The slot of a channel; `timeframe` (an index) counts for bars and indicators only. */
export function slotOf(channel: Channel, timeframe = 0): number {
  return FIRST_SLOT[channel] + (hasTimeframes(channel) ? timeframe : 0);
}

export function streamOf(instrument: number, slot: number): number {
  return (instrument << SLOT_BITS) | slot;
}

export function instrumentOf(stream: number): number {
  return (stream & 0xffffff) >>> SLOT_BITS;
}

export function slotIn(stream: number): number {
  return stream & (SLOTS_PER_INSTRUMENT - 1);
}

/** The channel that a slot belongs to; "state" for slot 0, undefined for a slot that is not used. */
export function channelOfSlot(slot: number): Channel | "state" | undefined {
  if (slot === SLOT_STATE) return "state";
  if (slot >= SLOT_INDICATORS + TIMEFRAME_COUNT) return undefined;
  if (slot >= SLOT_INDICATORS) return "indicators";
  if (slot >= SLOT_BARS) return "bars";
  return CHANNELS[slot - 1] !== undefined && slot <= SLOT_LIQUIDATIONS ? CHANNELS[slot - 1] : undefined;
}

/** The timeframe's index of a bar or indicator slot, else -1. */
export function timeframeOfSlot(slot: number): number {
  if (slot < SLOT_BARS || slot >= SLOT_INDICATORS + TIMEFRAME_COUNT) return -1;
  return (slot - SLOT_BARS) % TIMEFRAME_COUNT;
}
