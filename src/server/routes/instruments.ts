import { describeInstrument } from "../describe.ts";
import type { Handler } from "../http.ts";
import { json } from "../http.ts";
import type { Services } from "../services.ts";

/** `GET /instruments`: all known instruments; `exchange`, `symbol` and `active` narrow the list. */
export function instruments({ catalog }: Services): Handler {
  return ({ query }) => {
    const exchange = query.get("exchange")?.toLowerCase();
    const symbol = query.get("symbol")?.toUpperCase();
    const active = query.get("active");
    const matching = [...catalog.all()].filter(
      (instrument) =>
        (exchange === undefined || instrument.exchange === exchange) &&
        (symbol === undefined || instrument.symbol === symbol) &&
        (active === null || instrument.active === (active !== "false")),
    );
    return json(matching.map(describeInstrument));
  };
}
