import { TIMEFRAME_MICROS, TIMEFRAMES } from "../market/timeframe.ts";
import { decimalOf } from "./decimal.ts";
import { integerOf } from "./fields.ts";
import type { HistoryRow } from "./history.ts";
import { MAX_HISTORY_PAGES, mergeRows } from "./history.ts";
import type { RestClient } from "./rest.ts";

const KLINES_WEIGHT = 2;
/** Most klines that the venue gives at once. */
const PAGE_ROWS = 1000;
/** The venue has no klines of these widths; they are built from its 1 s ones. */
const BUILT: readonly string[] = ["5s", "10s", "30s"];

/** The last bars of a timeframe, oldest first, page by page back from now; silent intervals have none. */
export async function fetchKlines(
  rest: RestClient,
  symbol: string,
  timeframe: number,
  bars: number,
): Promise<HistoryRow[]> {
  const name = TIMEFRAMES[timeframe] as string;
  const built = BUILT.includes(name);
  const factor = built ? (TIMEFRAME_MICROS[timeframe] as number) / 1e6 : 1;
  // One bar more than asked for, because the oldest of those built may not be whole.
  const needed = Math.min(built ? (bars + 1) * factor : bars, MAX_HISTORY_PAGES * PAGE_ROWS);
  const pages: HistoryRow[][] = [];
  let count = 0;
  let endTime = "";
  while (count < needed) {
    const limit = Math.min(PAGE_ROWS, needed - count);
    const query = `symbol=${encodeURIComponent(symbol)}&interval=${built ? "1s" : name}&limit=${limit}${endTime}`;
    const page = rowsOf(await rest.get(`/api/v3/klines?${query}`, KLINES_WEIGHT));
    if (page.length === 0) break;
    pages.push(page);
    count += page.length;
    if (page.length < limit) break;
    endTime = `&endTime=${(page[0]?.[0] as number) / 1000 - 1}`;
  }
  const rows = pages.reverse().flat();
  const merged = built ? mergeRows(rows, TIMEFRAME_MICROS[timeframe] as number) : rows;
  return merged.filter((row) => (row[8] as number) > 0);
}

/** [open time ms, o, h, l, c, volume, close time, quote volume, trades, taker buy base, taker buy quote, unused] */
function rowsOf(answer: unknown): HistoryRow[] {
  if (!Array.isArray(answer)) throw new Error("klines are not a list");
  return answer.map((kline) => {
    if (!Array.isArray(kline)) throw new Error("a kline is not a list");
    const numbers = [1, 2, 3, 4, 5, 7, 9].map((field) => decimalOf(kline[field]));
    const row = [integerOf(kline[0]) * 1000, ...numbers, integerOf(kline[8])];
    if (row.some(Number.isNaN)) throw new Error("a kline is malformed");
    return row;
  });
}
