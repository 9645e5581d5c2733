import { TIMEFRAMES } from "../market/timeframe.ts";
import { integerOf } from "./fields.ts";
import type { HistoryRow } from "./history.ts";
import { MAX_HISTORY_PAGES, mergeRows } from "./history.ts";
import type { RestClient } from "./rest.ts";

/** Most candles that the venue gives at once. */
const PAGE_ROWS = 300;
/** The venue's own widths in seconds, and those that are built from the next smaller one. */
const GRANULARITY: Readonly<Record<string, number>> = {
  "1m": 60,
  "5m": 300,
  "15m": 900,
  "30m": 900,
  "1h": 3600,
  "4h": 3600,
  "1d": 86400,
};
const FACTOR: Readonly<Record<string, number>> = { "30m": 2, "4h": 4 };

/** The last bars of a timeframe, oldest first; none for those below a minute. `nowMicros` is the venue's time. */
export async function fetchCandles(
  rest: RestClient,
  product: string,
  timeframe: number,
  bars: number,
  nowMicros: number,
): Promise<HistoryRow[]> {
  const name = TIMEFRAMES[timeframe] as string;
  const seconds = GRANULARITY[name];
  if (seconds === undefined) return [];
  const factor = FACTOR[name] ?? 1;
  const needed = Math.min(factor === 1 ? bars : (bars + 1) * factor, MAX_HISTORY_PAGES * PAGE_ROWS);
  const rows: HistoryRow[] = [];
  // Windows of time, because silent intervals have no candle: a page may hold fewer rows than it spans.
  let end = Math.floor(nowMicros / 1e6 / seconds) * seconds;
  for (let left = needed; left > 0; left -= PAGE_ROWS) {
    const start = end - (Math.min(left, PAGE_ROWS) - 1) * seconds;
    const query = `granularity=${seconds}&start=${start}&end=${end}`;
    rows.push(...rowsOf(await rest.get(`/products/${encodeURIComponent(product)}/candles?${query}`)));
    end = start - seconds;
  }
  rows.sort((left, right) => (left[0] as number) - (right[0] as number));
  const distinct = rows.filter((row, index) => index === 0 || row[0] !== rows[index - 1]?.[0]);
  return factor === 1 ? distinct : mergeRows(distinct, seconds * factor * 1e6);
}

/** [time s, low, high, open, close, volume], newest first. The venue says no more: quote and buy volume are unknown. */
function rowsOf(answer: unknown): HistoryRow[] {
  if (!Array.isArray(answer)) throw new Error("candles are not a list");
  return answer.map((candle) => {
    if (!Array.isArray(candle)) throw new Error("a candle is not a list");
    const [low, high, open, close, volume] = candle.slice(1, 6) as number[];
    const row = [integerOf(candle[0]) * 1e6, open, high, low, close, volume];
    if (!row.every(Number.isFinite)) throw new Error("a candle is malformed");
    return [...row, Number.NaN, Number.NaN, 0] as HistoryRow;
  });
}
