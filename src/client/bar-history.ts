import { columns } from "./bar-rows.ts";
import type { BarValues } from "./bar-table.ts";
import { snakeCase } from "./request.ts";
import type { ClientParts } from "./tickwire.ts";

/** Which closed bars are wanted. */
export interface HistoryQuery {
  symbol: string;
  timeframe: string;
  exchange: string | undefined;
  limit: number;
}

/** Closed bars as the server's REST gives them, oldest first. */
export interface BarHistory {
  /** The only venue that has the symbol, where none was named. */
  exchange: string;
  bars: { values: BarValues; indicators: Readonly<Record<string, Readonly<Record<string, unknown>>>> }[];
}

/** A bar in the words of REST: times in milliseconds, unknown is null. */
interface RestBar {
  open_time: number;
  close_time: number;
  state: string;
  source: string;
  partial: boolean;
  across_gap: boolean;
  indicators: Record<string, Record<string, unknown>> | null;
  [field: string]: unknown;
}

/** Fetches closed bars with their indicators; throws a TickwireError with the server's code. */
export async function readHistory(parts: ClientParts, query: HistoryQuery): Promise<BarHistory> {
  const { symbol, timeframe, exchange, limit } = query;
  const parameters = new URLSearchParams({ symbol, timeframe, limit: String(limit) });
  if (exchange !== undefined && exchange !== "") parameters.set("exchange", exchange);
  const rows = (await parts.get(`/bars?${parameters}`)) as RestBar[];
  return {
    exchange: exchange ?? "",
    bars: rows.map((row) => ({ values: valuesOf(row), indicators: row.indicators ?? {} })),
  };
}

function valuesOf(row: RestBar): BarValues {
  const numbers = columns((column) => {
    const value = row[snakeCase(column)];
    return value === null ? Number.NaN : Number(value);
  });
  return {
    ...numbers,
    openTime: row.open_time * 1000,
    closeTime: row.close_time * 1000,
    state: "closed",
    source: row.source,
    partial: row.partial,
    acrossGap: row.across_gap,
  };
}
