import { RequestError } from "../../market/errors.ts";
import { TIMEFRAME_MICROS } from "../../market/timeframe.ts";
import { barJson, ohlcvJson, pageJson } from "../bar-json.ts";
import type { Handler } from "../http.ts";
import { json, oneOf, onlyParameters } from "../http.ts";
import type { Services } from "../services.ts";
import { findInstrument, withBars } from "./find-instrument.ts";
import { readCandleSymbol } from "./snapshot.ts";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const PARAMETERS = ["symbol", "exchange", "timeframe", "limit", "from", "to", "format", "fill", "building"];

/**
 * `GET /bars?symbol=&exchange=&timeframe=1m&limit=100&from=&to=` or `/bars/{symbol}`: closed bars with their
 * indicators, oldest first. `format=ohlcv` gives `[[ms,o,h,l,c,v]]`; `fill=flat` puts a bar at the last close, volume 0,
 * where an interval was silent; `building=true` adds the building bar.
 */
export function bars(services: Services): Handler {
  return ({ rest, query }) => {
    const { engine, catalog } = services;
    onlyParameters(query, PARAMETERS);
    const text = rest === "" ? (query.get("symbol") ?? "") : rest;
    const { symbol, timeframe } = readCandleSymbol(text, query.get("timeframe"));
    const { id } = withBars(findInstrument(catalog, symbol, query.get("exchange")));
    const ohlcv = oneOf(query, "format", ["json", "ohlcv"]) === "ohlcv";
    const flat = oneOf(query, "fill", ["none", "flat"]) === "flat";
    const limit = readLimit(query.get("limit"));
    const from = readTime(query, "from", 0);
    const to = readTime(query, "to", Number.POSITIVE_INFINITY);
    const width = (TIMEFRAME_MICROS[timeframe] as number) / 1000;
    const page = engine.bars.read(id, timeframe, limit, from, to);
    const { plan, building } = engine.bars.latest(id, timeframe);
    const withBuilding = oneOf(query, "building", ["false", "true"]) === "true" && building !== undefined;
    if (ohlcv) {
      const rows = ohlcvJson(page.bars, page.count);
      const list = flat ? filled(rows, ohlcvTime, width, limit, flatRow) : rows;
      return json(withBuilding ? [...list, ...ohlcvJson(building.bar, 1)] : list);
    }
    const listed: Bar[] = pageJson(page);
    const list = flat ? filled(listed, barTime, width, limit, flatBar) : listed;
    return json(withBuilding ? [...list, barJson(building.bar, 0, "building", plan, building.row, 0)] : list);
  };
}

function readLimit(text: string | null): number {
  if (text === null) return DEFAULT_LIMIT;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new RequestError("bad_request", `limit: a whole number from 1 to ${MAX_LIMIT}`);
}

/** A time in a query: Unix seconds or milliseconds, or ISO 8601; microseconds out. */
function readTime(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name);
  if (text === null) return fallback;
  const number = Number(text);
  if (text.trim() !== "" && Number.isFinite(number) && number >= 0) return number < 1e11 ? number * 1e6 : number * 1e3;
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new RequestError("bad_request", `${name}: Unix seconds or milliseconds, or ISO 8601`);
  return time * 1000;
}

/** The bars with a flat one for each silent interval between two of them; the newest `limit`. */
function filled<T>(
  bars: readonly T[],
  timeOf: (bar: T) => number,
  width: number,
  limit: number,
  flat: (time: number, width: number, last: T) => T,
): T[] {
  const newestFirst: T[] = [];
  for (let index = bars.length - 1; index >= 0 && newestFirst.length < limit; index -= 1) {
    const bar = bars[index] as T;
    const next = bars[index + 1];
    if (next !== undefined) {
      for (let time = timeOf(next) - width; time > timeOf(bar) && newestFirst.length < limit; time -= width) {
        newestFirst.push(flat(time, width, bar));
      }
    }
    if (newestFirst.length < limit) newestFirst.push(bar);
  }
  return newestFirst.reverse();
}

type Row = (number | null)[];
type Bar = { open_time: number; close: number | null };

const barTime = (bar: Bar) => bar.open_time;
const ohlcvTime = (row: Row) => row[0] as number;

function flatRow(time: number, _width: number, last: Row): Row {
  const close = last[4] ?? null;
  return [time, close, close, close, close, 0];
}

function flatBar(time: number, width: number, { close }: Bar): Bar {
  const bar = {
    open_time: time,
    close_time: time + width,
    open: close,
    high: close,
    low: close,
    close,
    volume: 0,
    quote_volume: 0,
    vwap: null,
    buy_volume: 0,
    sell_volume: 0,
    trade_count: 0,
    state: "closed",
    source: "fill",
    partial: false,
    across_gap: false,
    indicators: null,
  };
  return bar;
}
