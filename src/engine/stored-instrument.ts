import type { InstrumentListing } from "../market/instrument.ts";
import { INSTRUMENT_STATUSES, MARKET_TYPES, SIZE_UNITS } from "../market/instrument.ts";
import type { InstrumentView } from "../wire/generated/views.ts";

/** What an Instrument frame says; which channels the venue has for it, it does not say. */
export function storedListing(view: InstrumentView): InstrumentListing {
  return {
    symbol: view.symbol,
    venueSymbol: view.venueSymbol,
    marketType: MARKET_TYPES[view.marketType] ?? "unknown",
    base: view.base,
    quote: view.quote,
    settle: view.settle,
    expiry: view.expiry,
    contractSize: view.contractSize,
    sizeUnit: SIZE_UNITS[view.sizeUnit] ?? "unknown",
    priceDecimals: view.priceDecimals,
    sizeDecimals: view.sizeDecimals,
    tick: view.tick,
    lot: view.lot,
    minSize: view.minSize,
    minNotional: view.minNotional,
    status: INSTRUMENT_STATUSES[view.status] ?? "unknown",
    bookDepth: view.bookDepth,
    channels: [],
  };
}
