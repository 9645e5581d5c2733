import type { InstrumentListing, InstrumentStatus } from "../market/instrument.ts";
import { emptyListing } from "../market/instrument.ts";
import { decimalOf } from "./decimal.ts";
import type { Fields } from "./fields.ts";
import { fieldsOf, integerOf, textOf } from "./fields.ts";
import type { RestClient } from "./rest.ts";
import { decimalPlaces } from "./step.ts";

/** Permission sets make up most of the answer and are of no use here. */
const EXCHANGE_INFO_PATH = "/api/v3/exchangeInfo?showPermissionSets=false";
const EXCHANGE_INFO_WEIGHT = 20;

const STATUSES: Readonly<Record<string, InstrumentStatus>> = {
  TRADING: "trading",
  HALT: "halted",
  BREAK: "halted",
  CANCEL_ONLY: "halted",
  AUCTION_MATCH: "halted",
  PRE_TRADING: "closed",
  POST_TRADING: "closed",
  END_OF_DAY: "closed",
};

export interface ExchangeInfo {
  /** Milliseconds, 0 unknown. */
  serverTime: number;
  listings: InstrumentListing[];
}

/** Reads the venue's list, in its own order; throws when the answer has none. An entry that is not whole is left out. */
export async function fetchExchangeInfo(rest: Pick<RestClient, "walk">): Promise<ExchangeInfo> {
  const listings: InstrumentListing[] = [];
  let serverTime = 0;
  let entries = 0;
  await rest.walk(EXCHANGE_INFO_PATH, EXCHANGE_INFO_WEIGHT, ["$.serverTime", "$.symbols.*"], (value, key) => {
    if (key === "serverTime") {
      serverTime = integerOf(value) || 0;
      return;
    }
    entries += 1;
    const listing = listingOf(fieldsOf(value));
    if (listing !== undefined) listings.push(listing);
  });
  if (entries === 0) throw new Error("exchangeInfo has no symbols");
  return { serverTime, listings };
}

function listingOf(entry: Fields | undefined): InstrumentListing | undefined {
  const venueSymbol = textOf(entry?.symbol);
  const base = textOf(entry?.baseAsset);
  const quote = textOf(entry?.quoteAsset);
  if (entry === undefined || venueSymbol === "" || base === "" || quote === "") return undefined;
  const price = filterOf(entry, "PRICE_FILTER");
  const lot = filterOf(entry, "LOT_SIZE");
  const notional = filterOf(entry, "NOTIONAL") ?? filterOf(entry, "MIN_NOTIONAL");
  return {
    ...emptyListing(),
    symbol: `${base}/${quote}`,
    venueSymbol,
    marketType: "spot",
    base,
    quote,
    contractSize: 1,
    sizeUnit: "base",
    priceDecimals: decimalPlaces(price?.tickSize),
    sizeDecimals: decimalPlaces(lot?.stepSize),
    tick: decimalOf(price?.tickSize),
    lot: decimalOf(lot?.stepSize),
    minSize: decimalOf(lot?.minQty),
    minNotional: decimalOf(notional?.minNotional),
    status: STATUSES[textOf(entry.status)] ?? "unknown",
    channels: ["trades", "orderbook", "quotes", "ticker"],
  };
}

function filterOf(entry: Fields, type: string): Fields | undefined {
  const filters = entry.filters;
  if (!Array.isArray(filters)) return undefined;
  return filters.map(fieldsOf).find((filter) => filter?.filterType === type);
}
