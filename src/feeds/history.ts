import { HISTORY_ROW } from "../market/sink.ts";

/** Rows of HISTORY_ROW numbers, oldest first; see `HISTORY_ROW` for what they hold. */
export type HistoryRow = readonly number[];

/** Most rows that one request for history makes: a timeframe built from smaller bars is not worth more requests. */
export const MAX_HISTORY_PAGES = 20;

const HIGH = 2;
const LOW = 3;
const CLOSE = 4;

/** Bars of a larger width out of bars of a smaller one; the first is left out unless it is whole. */
export function mergeRows(rows: readonly HistoryRow[], widthMicros: number): HistoryRow[] {
  const merged: number[][] = [];
  for (const row of rows) {
    const start = Math.floor((row[0] as number) / widthMicros) * widthMicros;
    const last = merged[merged.length - 1];
    if (last === undefined || last[0] !== start) {
      merged.push([start, ...row.slice(1)]);
      continue;
    }
    last[HIGH] = Math.max(last[HIGH] as number, row[HIGH] as number);
    last[LOW] = Math.min(last[LOW] as number, row[LOW] as number);
    last[CLOSE] = row[CLOSE] as number;
    for (let sum = CLOSE + 1; sum < HISTORY_ROW; sum += 1) last[sum] = (last[sum] as number) + (row[sum] as number);
  }
  const oldest = rows[0]?.[0] ?? 0;
  return oldest % widthMicros === 0 ? merged : merged.slice(1);
}

/** The last `bars` rows as the sink takes them. */
export function packRows(rows: readonly HistoryRow[], bars: number): Float64Array {
  const kept = rows.slice(-bars);
  const packed = new Float64Array(kept.length * HISTORY_ROW);
  for (let row = 0; row < kept.length; row += 1) packed.set(kept[row] as HistoryRow, row * HISTORY_ROW);
  return packed;
}
