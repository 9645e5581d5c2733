import { BAR_COLUMNS } from "./bar-table.ts";
import { TickwireError } from "./errors.ts";

/** Bars kept when the program did not say, and the most that a server gives at once. */
const DEFAULT_HISTORY = 300;
const MAX_HISTORY = 1000;
const WAIT_MS = 3_000;

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
  /**
   * How long a first bar is waited for, milliseconds; default 3,000. A server that had not been asked for a series fetches
   * its history from the venue just then; what comes later is taken all the same.
   */
  waitMs?: number;
}

/** What is asked for, with what was left out. */
export interface BarsRequest {
  readonly exchange: string;
  readonly history: number;
  readonly building: boolean;
  readonly waitMs: number;
  /** The program's names, and the server's, in the same order. */
  readonly keys: readonly string[];
  readonly names: readonly string[];
}

/** Checks options; throws a TickwireError. */
export function readBarsOptions(options: BarsOptions): BarsRequest {
  const { exchange = "", history = DEFAULT_HISTORY, indicators = {}, building = true, waitMs = WAIT_MS } = options;
  if (!(Number.isInteger(history) && history >= 1 && history <= MAX_HISTORY))
    throw new TickwireError("bad_option", `history is a whole number from 1 to ${MAX_HISTORY}`);
  if (!(waitMs >= 0)) throw new TickwireError("bad_option", "waitMs is a number from 0");
  const keys = Object.keys(indicators);
  const names = Object.values(indicators).map((spec) => (typeof spec === "string" ? spec : spec.name));
  for (const key of keys) {
    if (RESERVED.has(key))
      throw new TickwireError("bad_option", `an indicator cannot be called "${key}": a row has that`);
  }
  return { exchange, history, building, waitMs, keys, names };
}

/** What rows have of themselves. */
const RESERVED: ReadonlySet<string> = new Set([
  ...BAR_COLUMNS,
  ...["state", "source", "partial", "acrossGap", "ready", "prev"],
]);
