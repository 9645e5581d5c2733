import { RequestError } from "../../market/errors.ts";
import type { Catalog, Instrument } from "../../market/instrument.ts";
import { unknownExchange } from "../selection.ts";
import { suggestSymbol } from "../suggestion.ts";

/** The one instrument that a symbol and, where several venues have it, an exchange name. */
export function findInstrument(catalog: Catalog, symbol: string, exchange: string | null): Instrument {
  if (symbol === "") throw new RequestError("bad_request", "symbol must be given");
  const shown = symbol.slice(0, 64);
  if (exchange !== null) {
    if (catalog.venue(exchange) === undefined) {
      throw new RequestError("unknown_exchange", unknownExchange(catalog, exchange.slice(0, 64)));
    }
    const instrument = catalog.find(exchange, symbol);
    if (instrument !== undefined) return instrument;
  }
  const matching = catalog.withSymbol(symbol);
  if (matching.length === 0 || exchange !== null) {
    const suggestion = matching.length > 0 ? undefined : suggestSymbol(catalog, symbol);
    const hint = suggestion === undefined ? "" : `: did you mean "${suggestion}"?`;
    const where = exchange === null ? "" : ` at ${exchange}`;
    throw new RequestError("unknown_symbol", `unknown symbol "${shown}"${where}${hint}`);
  }
  if (matching.length > 1) {
    const venues = matching.map((instrument) => instrument.exchange).join(", ");
    throw new RequestError(
      "bad_request",
      `several exchanges have ${shown}: say which with exchange=, one of ${venues}`,
    );
  }
  return matching[0] as Instrument;
}

/** The instrument, if bars are made of it: only of those whose sizes are in base units. */
export function withBars(instrument: Instrument): Instrument {
  if (instrument.channels.includes("bars")) return instrument;
  throw new RequestError("not_available", `there are no bars of ${instrument.symbol} at ${instrument.exchange}`);
}
