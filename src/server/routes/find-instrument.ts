import { RequestError } from "../../market/errors.ts";
import type { Catalog, Instrument } from "../../market/instrument.ts";

/** The one instrument that a symbol and, where several venues have it, an exchange name. */
export function findInstrument(catalog: Catalog, symbol: string | null, exchange: string | null): Instrument {
  if (symbol === null || symbol === "") throw new RequestError("bad_request", "symbol must be given");
  if (exchange !== null) {
    if (catalog.venue(exchange) === undefined) {
      const known = [...catalog.venues].map((venue) => venue.exchange).join(", ");
      throw new RequestError("unknown_exchange", `unknown exchange "${exchange}": one of ${known}`);
    }
    const instrument = catalog.find(exchange, symbol);
    if (instrument !== undefined) return instrument;
  }
  const matching = catalog.withSymbol(symbol);
  if (matching.length === 0 || exchange !== null) {
    const suggestion = catalog.suggest(symbol);
    const hint = suggestion === undefined || matching.length > 0 ? "" : `: did you mean "${suggestion}"?`;
    throw new RequestError("unknown_symbol", `unknown symbol "${symbol}"${exchange === null ? "" : ` at ${exchange}`}${hint}`);
  }
  if (matching.length > 1) {
    const venues = matching.map((instrument) => instrument.exchange).join(", ");
    throw new RequestError("bad_request", `several exchanges have ${symbol}: say which with exchange=, one of ${venues}`);
  }
  return matching[0] as Instrument;
}
