import { RequestError } from "../../market/errors.ts";
import type { Instrument } from "../../market/instrument.ts";
import { describeInstrument } from "../describe.ts";
import type { Handler } from "../http.ts";
import { oneOf, onlyParameters } from "../http.ts";
import { unknownExchange } from "../selection.ts";
import type { Services } from "../services.ts";

/** Instruments written in one turn of the event loop: some 2 ms; a venue may list thousands. */
const PER_TURN = 500;

/** `GET /instruments`: all known instruments; `exchange`, `symbol` and `active` narrow the list. */
export function instruments({ catalog }: Services): Handler {
  return ({ query }) => {
    onlyParameters(query, ["exchange", "symbol", "active"]);
    const exchange = query.get("exchange")?.toLowerCase();
    if (exchange !== undefined && catalog.venue(exchange) === undefined) {
      throw new RequestError("unknown_exchange", unknownExchange(catalog, exchange.slice(0, 64)));
    }
    const symbol = query.get("symbol")?.toUpperCase();
    const active = oneOf(query, "active", ["any", "true", "false"]);
    const matching = [...(symbol === undefined ? catalog.all() : catalog.withSymbol(symbol))].filter(
      (instrument) =>
        (exchange === undefined || instrument.exchange === exchange) &&
        (active === "any" || instrument.active === (active === "true")),
    );
    return write(matching);
  };
}

async function write(list: readonly Instrument[]): Promise<{ status: number; body: string }> {
  const parts: string[] = [];
  for (let from = 0; from < list.length; from += PER_TURN) {
    if (from > 0) await new Promise((resolve) => setImmediate(resolve));
    parts.push(
      list
        .slice(from, from + PER_TURN)
        .map((each) => JSON.stringify(describeInstrument(each)))
        .join(","),
    );
  }
  return { status: 200, body: `[${parts.join(",")}]` };
}
