import { SLOT_ORDERBOOK, SLOT_QUOTES, SLOT_TRADES, streamOf } from "../../market/channel.ts";
import { RequestError } from "../../market/errors.ts";
import { STATES } from "../../market/sink.ts";
import { TIMEFRAMES, timeframeIndex } from "../../market/timeframe.ts";
import { latestJson } from "../bar-json.ts";
import { numberOrNull } from "../describe.ts";
import type { Handler } from "../http.ts";
import { json, onlyParameters } from "../http.ts";
import type { Services } from "../services.ts";
import { findInstrument } from "./find-instrument.ts";

/** `GET /snapshot?symbol=&exchange=` or `/snapshot/{symbol}`: the last enriched state of one instrument. */
export function snapshot(services: Services): Handler {
  return ({ rest, query }) => {
    const { engine, catalog } = services;
    onlyParameters(query, ["symbol", "exchange", "timeframe"]);
    const { symbol, timeframe } = readCandleSymbol(
      rest === "" ? (query.get("symbol") ?? "") : rest,
      query.get("timeframe"),
    );
    const instrument = findInstrument(catalog, symbol, query.get("exchange"));
    const { id } = instrument;
    const book = engine.books.get(id);
    const quote = engine.quotes.last(id);
    const state = (slot: number) => STATES[engine.states.of(streamOf(id, slot))];
    return json({
      type: "snapshot",
      symbol: instrument.symbol,
      exchange: instrument.exchange,
      updated_at: services.time(false),
      book: {
        state: state(SLOT_ORDERBOOK),
        bid_levels: book?.live === true ? book.bids.count : null,
        ask_levels: book?.live === true ? book.asks.count : null,
      },
      quote: {
        state: state(SLOT_QUOTES),
        bid_price: numberOrNull(quote?.[0] ?? Number.NaN),
        bid_size: numberOrNull(quote?.[1] ?? Number.NaN),
        ask_price: numberOrNull(quote?.[2] ?? Number.NaN),
        ask_size: numberOrNull(quote?.[3] ?? Number.NaN),
      },
      trades: { state: state(SLOT_TRADES) },
      bar: latestJson(engine.bars.latest(id, timeframe)),
    });
  };
}

/** `SPX{=5m}` is the symbol SPX in bars of five minutes; `{=m}` and `{=1m}` are the same. */
export function readCandleSymbol(text: string, parameter: string | null): { symbol: string; timeframe: number } {
  const match = /^(.*)\{=([^}]*)\}$/.exec(text);
  const name = match?.[2] ?? parameter ?? "1m";
  const timeframe = timeframeIndex(name);
  if (timeframe < 0)
    throw new RequestError(
      "unknown_timeframe",
      `unknown timeframe "${name.slice(0, 16)}": one of ${TIMEFRAMES.join(", ")}`,
    );
  return { symbol: match?.[1] ?? text, timeframe };
}
