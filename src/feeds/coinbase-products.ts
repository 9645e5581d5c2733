import type { InstrumentListing, InstrumentStatus } from "../market/instrument.ts";
import { emptyListing } from "../market/instrument.ts";
import { decimalOf } from "./decimal.ts";
import type { Fields } from "./fields.ts";
import { fieldsOf, textOf } from "./fields.ts";
import { timeOf } from "./rfc3339.ts";
import { decimalPlaces } from "./step.ts";

/** The venue's list in its own order; throws when the answer is something else. An entry that is not whole is left out. */
export function productsOf(answer: unknown): InstrumentListing[] {
  if (!Array.isArray(answer)) throw new Error("products are not a list");
  return answer.map((entry) => listingOf(fieldsOf(entry))).filter((listing) => listing !== undefined);
}

function listingOf(entry: Fields | undefined): InstrumentListing | undefined {
  const venueSymbol = textOf(entry?.id);
  const base = textOf(entry?.base_currency);
  const quote = textOf(entry?.quote_currency);
  if (entry === undefined || venueSymbol === "" || base === "" || quote === "") return undefined;
  return {
    ...emptyListing(),
    symbol: `${base}/${quote}`,
    venueSymbol,
    marketType: "spot",
    base,
    quote,
    contractSize: 1,
    sizeUnit: "base",
    priceDecimals: decimalPlaces(entry.quote_increment),
    sizeDecimals: decimalPlaces(entry.base_increment),
    tick: decimalOf(entry.quote_increment),
    lot: decimalOf(entry.base_increment),
    minSize: decimalOf(entry.base_min_size),
    minNotional: decimalOf(entry.min_market_funds),
    status: statusOf(entry),
    channels: ["trades", "orderbook", "ticker"],
  };
}

function statusOf(entry: Fields): InstrumentStatus {
  if (entry.trading_disabled === true || entry.cancel_only === true) return "halted";
  const status = textOf(entry.status);
  if (status === "online") return "trading";
  if (status === "delisted") return "closed";
  return status === "" ? "unknown" : "halted";
}

/** GET /time in microseconds, 0 when it says none. */
export function serverTimeOf(answer: unknown): number {
  return timeOf(fieldsOf(answer)?.iso) || 0;
}
