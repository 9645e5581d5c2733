import type { VenueRules } from "../market/sink.ts";

/* What can be relied on at each venue; it holds for its recorded frames too. */

export const BINANCE_RULES: VenueRules = Object.freeze({
  integrity: "range",
  contiguousTradeIds: true,
  ownQuotes: true,
  quotesShareBookSequence: true,
});

export const COINBASE_RULES: VenueRules = Object.freeze({
  integrity: "guaranteed",
  contiguousTradeIds: true,
  ownQuotes: false,
  quotesShareBookSequence: false,
});
