import type { ConnectOptions, IndicatorSpec, OwnOptions, Tickwire } from "../client/index.ts";
import { TIMEFRAMES, type Timeframe, timeframeIndex } from "../market/timeframe.ts";
import { type Clock, SystemClock } from "../std/clock.ts";
import { systemTimers, type Timers } from "../std/timers.ts";
import { BotError } from "./errors.ts";

/** Instruments of one venue. */
export interface MarketSelection {
  /** "binance" */
  exchange: string;
  symbols: string | readonly string[];
  /** Of their bars; those of the stream when not given. */
  timeframes?: readonly Timeframe[];
}

/**
 * A stream of markets. Where it comes from is said as to `connect`: `url` (ws://localhost:8080 when nothing is said),
 * `embedded` for an engine of its own, `journal` for what was, or a client that is there already.
 */
export interface MarketStreamOptions extends ConnectOptions, OwnOptions {
  url?: string | readonly string[];
  /** Used, and left open when the stream stops. */
  client?: Tickwire;
  /** What is subscribed from the start. */
  subscriptions?: readonly MarketSelection[];
  /** Bars are kept in these; 1m, 5m and 15m. */
  timeframes?: readonly Timeframe[];
  /** What `bars` and `currentBar` take when no timeframe is named: the first of `timeframes`. */
  defaultTimeframe?: Timeframe;
  /** Closed bars kept by instrument and timeframe, 1 to 1,000; 500. */
  historySize?: number;
  /** Trades kept by instrument, 1 to 1,000,000; 10,000. The oldest are overwritten, counted. */
  tradeBufferSize?: number;
  /** Indicators of the bars, by the name under which a bar has them; none. */
  indicators?: Readonly<Record<string, IndicatorSpec>>;
  /** From one `health` event to the next, milliseconds; 10,000. */
  healthIntervalMs?: number;
  /** A source that has said nothing for so long is stale, milliseconds; 30,000. */
  staleAfterMs?: number;
}

export interface MarketStreamSettings {
  readonly timeframes: readonly Timeframe[];
  readonly defaultTimeframe: Timeframe;
  readonly historySize: number;
  readonly tradeBufferSize: number;
  readonly indicators: Readonly<Record<string, IndicatorSpec>>;
  readonly healthIntervalMs: number;
  readonly staleAfterMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
}

const DEFAULT_TIMEFRAMES: readonly Timeframe[] = ["1m", "5m", "15m"];
/** The longest delay that a timer of Node knows. */
const LONGEST_MS = 2 ** 31 - 1;

/** Fills in the defaults; throws `bad_config`. */
export function readStreamOptions(options: MarketStreamOptions): MarketStreamSettings {
  const number = (name: keyof MarketStreamOptions, fallback: number, low: number, high: number) => {
    const value = options[name] ?? fallback;
    if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high) return value as number;
    throw new BotError("bad_config", `${name}: a whole number from ${low} to ${high}, not ${String(value)}`);
  };
  const sources = (["url", "client", "embedded", "journal"] as const).filter((name) => options[name] !== undefined);
  if (sources.length > 1) throw new BotError("bad_config", `${sources.join(" and ")} exclude each other`);
  const timeframes = readTimeframes(options.timeframes ?? DEFAULT_TIMEFRAMES);
  const [defaultTimeframe = timeframes[0] as Timeframe] = readTimeframes([options.defaultTimeframe ?? timeframes[0]]);
  return {
    timeframes,
    defaultTimeframe,
    historySize: number("historySize", 500, 1, 1000),
    tradeBufferSize: number("tradeBufferSize", 10_000, 1, 1e6),
    indicators: options.indicators ?? {},
    healthIntervalMs: number("healthIntervalMs", 10_000, 10, LONGEST_MS),
    staleAfterMs: number("staleAfterMs", 30_000, 1, LONGEST_MS),
    clock: options.clock ?? new SystemClock(),
    timers: options.timers ?? systemTimers,
  };
}

/** Timeframes, each once; an unknown one is an error, never a default. */
export function readTimeframes(given: readonly unknown[]): Timeframe[] {
  if (!Array.isArray(given) || given.length === 0)
    throw new BotError("bad_config", "timeframes: at least one, such as 1m");
  for (const name of given) {
    if (typeof name !== "string" || timeframeIndex(name) < 0)
      throw new BotError("bad_config", `timeframes: one of ${TIMEFRAMES.join(" ")}, not ${String(name)}`);
  }
  return [...new Set(given.map((name) => TIMEFRAMES[timeframeIndex(name)] as Timeframe))];
}

/** A selection's symbols and timeframes, in one form; throws `bad_config`. */
export function readSelection({ exchange, symbols, timeframes }: MarketSelection, usual: readonly Timeframe[]) {
  if (typeof exchange !== "string" || exchange === "" || exchange === "*")
    throw new BotError("bad_config", `exchange: the name of one venue, not "${String(exchange)}"`);
  const list: readonly unknown[] = typeof symbols === "string" ? [symbols] : symbols;
  if (!Array.isArray(list)) throw new BotError("bad_config", "symbols: a list of names such as BTC/USDT");
  for (const symbol of list) {
    if (typeof symbol !== "string" || symbol === "" || symbol.includes("*"))
      throw new BotError("bad_config", `symbols: names such as BTC/USDT, not "${String(symbol)}"`);
  }
  return {
    exchange: exchange.toLowerCase(),
    symbols: [...new Set((list as readonly string[]).map((symbol) => symbol.toUpperCase()))],
    timeframes: readTimeframes(timeframes ?? usual),
  };
}
