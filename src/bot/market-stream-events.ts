import type { BarRow, GapEvent, PlainEvent, TickwireError, Unavailable } from "../client/index.ts";
import type { Timeframe } from "../market/timeframe.ts";
import type { BotError } from "./errors.ts";
import type { SourceHealth } from "./market-source.ts";

/** One series of bars. */
export interface SeriesName {
  readonly exchange: string;
  readonly symbol: string;
  readonly timeframe: Timeframe;
}

/** A bar that closed, or was corrected after that, with what it is of. */
export type MarketBar = BarRow & SeriesName;

export type Trade = Extract<PlainEvent, { type: "trade" }>;

/** What a predictor said of a series when a bar closed. Times are microseconds. */
export interface Prediction extends SeriesName {
  /** When the bar closed. */
  readonly time: number;
  readonly price: number;
  /** That the price rises, 0 to 1. */
  readonly probability: number;
  readonly features: Readonly<Record<string, number>>;
  /** Some bar that it rests on is not exact. */
  readonly inexact: boolean;
}

export interface Signal extends Omit<Prediction, "features"> {
  readonly direction: "long" | "short";
  /** In the direction, 0.5 to 1. */
  readonly confidence: number;
  /** The executor is not called. */
  readonly dryRun: boolean;
}

/** A connection that was lost is there again. */
export interface StreamReconnect {
  /** A venue, as the gateway tells, or "gateway": the gateway itself. */
  readonly source: string;
  /** Attempts that this program made; undefined where the gateway made them. */
  readonly attempts: number | undefined;
  readonly reason: string;
  readonly downtimeMs: number;
}

/** Bars that were not seen live and were fetched: at the beginning, or after something was missed. */
export interface Backfill extends SeriesName {
  /** How many of them are new, or other than what was there. */
  readonly bars: number;
}

/** What happens to a stream of markets. */
export interface MarketStreamEvents {
  trade: Trade;
  bar: MarketBar;
  correction: MarketBar;
  prediction: Prediction;
  signal: Signal;
  reconnect: StreamReconnect;
  health: Readonly<Record<string, SourceHealth>>;
  backfill: Backfill;
  /** What is lost: to this program, or, `upstream`, already to the gateway. */
  gap: GapEvent;
  /** What was asked for and is not there. */
  unavailable: Unavailable;
  /** A listener, a predictor or an executor threw, or something that came was wrong. Nothing ends by it. */
  error: TickwireError | BotError;
}
