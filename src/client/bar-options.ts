import { BAR_COLUMNS } from "./bar-table.ts";
import { TickwireError } from "./errors.ts";

/** Bars kept when the program did not say, and the most that a server gives at once. */
const DEFAULT_HISTORY = 300;
const MAX_HISTORY = 1000;

/** An indicator by its name, "hma(20)", or what has one, as `hma(20)` of `tickwire/indicators` does. */
export type IndicatorSpec = string | { readonly name: string };

export interface BarsOptions {
  /** Needed where several venues have the symbol. */
  exchange?: string;
  /** Closed bars that are kept, 1 to 1,000; default 300. */
  history?: number;
  /** By the name under which a row has them. */
  indicators?: Readonly<Record<string, IndicatorSpec>>;
  /** The building bar too; default true. */
  building?: boolean;
}

/** What is asked for, with what was left out. */
export interface BarsRequest {
  readonly exchange: string;
  readonly history: number;
  readonly building: boolean;
  /** The program's names, and the server's, in the same order. */
  readonly keys: readonly string[];
  readonly names: readonly string[];
}

/** Checks options; throws a TickwireError. */
export function readBarsOptions(options: BarsOptions): BarsRequest {
  const { exchange = "", history = DEFAULT_HISTORY, indicators = {}, building = true } = options;
  if (!(Number.isInteger(history) && history >= 1 && history <= MAX_HISTORY))
    throw new TickwireError("bad_option", `history is a whole number from 1 to ${MAX_HISTORY}`);
  const keys = Object.keys(indicators);
  const names = Object.values(indicators).map((spec) => (typeof spec === "string" ? spec : spec.name));
  for (const key of keys) {
    if (RESERVED.has(key))
      throw new TickwireError("bad_option", `an indicator cannot be called "${key}": a row has that`);
  }
  return { exchange, history, building, keys, names };
}

/** What rows have of themselves. */
const RESERVED: ReadonlySet<string> = new Set([
  ...BAR_COLUMNS,
  ...["state", "source", "partial", "acrossGap", "ready", "prev"],
]);
