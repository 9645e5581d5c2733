import { SIDE_BUY, SIDE_SELL } from "../src/market/sink.ts";
import { recordedTrades, syntheticTrades } from "./workload.ts";

/** As many a second as in the recording, so that as many bars close. */
const TRADES = 14_515;
const PER_SECOND = 22;

/** The trades that the peers are fed with, as messages and as numbers. */
export interface TradeColumns {
  messages: Buffer[];
  /** The venue's own name of the one instrument. */
  symbol: string;
  count: number;
  prices: Float64Array;
  sizes: Float64Array;
  /** The venue's times, microseconds, and how far they move on from one pass to the next. */
  times: Float64Array;
  spanMicros: number;
  ids: Float64Array;
  sides: Uint8Array;
}

/** The recorded trades, or as many synthetic ones where there are no recordings. */
export function tradeColumns(): TradeColumns {
  const { messages, symbols, spanMs } = recordedTrades() ?? syntheticTrades(1, "uniform", TRADES, PER_SECOND);
  const count = messages.length;
  const columns: TradeColumns = {
    messages: messages.map(({ bytes }) => bytes),
    symbol: symbols[0],
    count,
    prices: new Float64Array(count),
    sizes: new Float64Array(count),
    times: new Float64Array(count),
    spanMicros: spanMs * 1000,
    ids: new Float64Array(count),
    sides: new Uint8Array(count),
  };
  for (const [index, message] of columns.messages.entries()) {
    const { data } = JSON.parse(message.toString()) as {
      data: { p: string; q: string; T: number; t: number; m: boolean };
    };
    columns.prices[index] = Number(data.p);
    columns.sizes[index] = Number(data.q);
    columns.times[index] = data.T * 1000;
    columns.ids[index] = data.t;
    columns.sides[index] = data.m ? SIDE_SELL : SIDE_BUY;
  }
  return columns;
}
