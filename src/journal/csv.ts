import * as V from "../wire/generated/views.ts";

/*
 * One table for all: the type first, then what every frame has, then each payload's own columns, empty where the type
 * has none or the value is unknown. Names and units are those of the JSON form. Books, indicators, states and the
 * directory have no row: they do not fit a table, and the JSON form has them.
 *
 *   trade        price size side trade_id
 *   quote        bid_price bid_size ask_price ask_size
 *   ticker       last mark index open_interest volume_24h high_24h low_24h
 *   funding      rate next_time mark index
 *   liquidation  price size side
 *   bar          timeframe open_time close_time open high low close volume quote_volume vwap buy_volume sell_volume
 *                trade_count state
 */
const COLUMNS = [
  ...["type", "exchange", "symbol", "market_type", "stream", "epoch", "position", "seq"],
  ...["ts_exchange", "ts_receive", "ts_publish", "flags"],
  ...["price", "size", "side", "trade_id"],
  ...["bid_price", "bid_size", "ask_price", "ask_size"],
  ...["last", "mark", "index", "open_interest", "volume_24h", "high_24h", "low_24h", "rate", "next_time"],
  ...["timeframe", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume", "vwap"],
  ...["buy_volume", "sell_volume", "trade_count", "state"],
] as const;

const PAYLOADS: ReadonlySet<number> = new Set([
  V.PAYLOAD_TRADE,
  V.PAYLOAD_QUOTE,
  V.PAYLOAD_TICKER,
  V.PAYLOAD_FUNDING,
  V.PAYLOAD_LIQUIDATION,
  V.PAYLOAD_BAR,
]);

/** True for the payloads that have a row. */
export function isCsvPayload(payloadType: number): boolean {
  return PAYLOADS.has(payloadType);
}

export function csvHeader(): string {
  return `${COLUMNS.join(",")}\n`;
}

/** The row of a frame, from its JSON form; flags are separated by spaces. */
export function csvRow(json: string): string {
  const fields = JSON.parse(json) as Record<string, unknown>;
  return `${COLUMNS.map((column) => cell(fields[column])).join(",")}\n`;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = Array.isArray(value) ? value.join(" ") : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
