import { BAR_CLOSE, BAR_OPEN_TIME, BAR_SIZE } from "../../indicators/bar.ts";
import { RequestError } from "../../market/errors.ts";
import { TIMEFRAME_MICROS } from "../../market/timeframe.ts";
import { barJson, ohlcvJson, pageJson } from "../bar-json.ts";
import type { Handler } from "../http.ts";
import { json } from "../http.ts";
import type { Services } from "../services.ts";
import { findInstrument } from "./find-instrument.ts";
import { readCandleSymbol } from "./snapshot.ts";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/**
 * `GET /bars?symbol=&exchange=&timeframe=1m&limit=100&from=&to=` or `/bars/{symbol}`: closed bars with their
 * indicators, oldest first. `format=ohlcv` gives `[[ms,o,h,l,c,v]]`; `fill=flat` puts a bar at the last close, volume 0,
 * where an interval was silent; `building=true` adds the building bar.
 */
export function bars(services: Services): Handler {
  return ({ rest, query }) => {
    const { engine, catalog } = services;
    const text = rest === "" ? (query.get("symbol") ?? "") : rest;
    const { symbol, timeframe } = readCandleSymbol(text, query.get("timeframe"));
    const { id } = findInstrument(catalog, symbol, query.get("exchange"));
    const format = oneOf(query, "format", ["json", "ohlcv"]);
    const fill = oneOf(query, "fill", ["none", "flat"]);
    const limit = readLimit(query.get("limit"));
    const from = readTime(query, "from", 0);
    const to = readTime(query, "to", Number.POSITIVE_INFINITY);
    const page = engine.bars.read(id, timeframe, limit, from, to);
    if (format === "ohlcv") return json(fill === "flat" ? flatOhlcv(ohlcvJson(page), timeframe, limit) : ohlcvJson(page));
    const list: object[] = fill === "flat" ? filled(page, timeframe, limit) : pageJson(page);
    if (query.get("building") === "true") {
      const { plan, building } = engine.bars.latest(id, timeframe);
      if (building !== undefined) list.push(barJson(building.bar, 0, "building", plan, building.row, 0));
    }
    return json(list);
  };
}

function oneOf(query: URLSearchParams, name: string, values: readonly [string, ...string[]]): string {
  const value = query.get(name) ?? values[0];
  if (values.includes(value)) return value;
  throw new RequestError("bad_request", `${name}: one of ${values.join(", ")}`);
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

type Page = ReturnType<Services["engine"]["bars"]["read"]>;

/** The page's bars with a flat one for each silent interval between two of them; the newest `limit`. */
function filled(page: Page, timeframe: number, limit: number): object[] {
  const width = TIMEFRAME_MICROS[timeframe] as number;
  const listed = pageJson(page);
  const list: object[] = [];
  for (let index = 0; index < page.count; index += 1) {
    list.push(listed[index] as object);
    const at = index * BAR_SIZE;
    const next = index + 1 < page.count ? page.bars[at + BAR_SIZE + BAR_OPEN_TIME] : 0;
    const close = page.bars[at + BAR_CLOSE] as number;
    const first = Math.max(page.bars[at + BAR_OPEN_TIME] + width, next - limit * width);
    for (let time = first; time < next; time += width) list.push(flatBar(time, width, close));
  }
  return list.slice(-limit);
}

function flatBar(time: number, width: number, close: number): object {
  return {
    open_time: Math.floor(time / 1000),
    close_time: Math.floor((time + width) / 1000),
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
}

function flatOhlcv(rows: (number | null)[][], timeframe: number, limit: number): (number | null)[][] {
  const width = (TIMEFRAME_MICROS[timeframe] as number) / 1000;
  const list: (number | null)[][] = [];
  rows.forEach((row, index) => {
    list.push(row);
    const next = rows[index + 1]?.[0] ?? 0;
    const close = row[4] ?? null;
    const first = Math.max((row[0] as number) + width, next - limit * width);
    for (let time = first; time < next; time += width) list.push([time, close, close, close, close, 0]);
  });
  return list.slice(-limit);
}
