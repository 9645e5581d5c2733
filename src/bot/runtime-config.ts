import { type Clock, SystemClock } from "../std/clock.ts";
import { systemTimers, type Timers } from "../std/timers.ts";
import { BotError } from "./errors.ts";
import { checkSource, type Source } from "./feed.ts";

/** Where signals of the operating system come from: `process` fits. */
export interface SignalSource {
  on(signal: "SIGTERM" | "SIGINT", listener: () => void): unknown;
  off(signal: "SIGTERM" | "SIGINT", listener: () => void): unknown;
}

/** How a runtime drives its bot. Whatever is not given has the default that is said. */
export interface RuntimeConfig {
  /** From one fetch to the next, milliseconds, the time of the tick included; 1,000, at least 50. */
  pollIntervalMs?: number;
  /** From one heartbeat to the next, milliseconds; 5,000, at least 100. */
  heartbeatIntervalMs?: number;
  /** After so many failed ticks in a row the bot is stopped; 5; 0 is never. */
  maxConsecutiveErrors?: number;
  /** What is running when the bot is stopped is given so long, and then `onStop` as long again, milliseconds; 5,000. */
  gracefulShutdownTimeoutMs?: number;
  /** Stop at SIGTERM and SIGINT; true. */
  handleSignals?: boolean;
  /** Call `onTick` also when there is nothing: with an empty snapshot; true. Never in push mode. */
  tickOnEmpty?: boolean;
  /** Push mode: a tick for each snapshot as soon as it is there, instead of a fetch at each interval. */
  source?: Source;
  /** Push mode: snapshots of a source that calls that wait, at most; the oldest are dropped, counted; 10,000. */
  maxQueuedSnapshots?: number;
  clock?: Clock;
  timers?: Timers;
  signals?: SignalSource;
}

export interface RuntimeSettings {
  readonly pollIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly maxConsecutiveErrors: number;
  readonly gracefulShutdownTimeoutMs: number;
  readonly handleSignals: boolean;
  readonly tickOnEmpty: boolean;
  readonly source: Source | undefined;
  readonly maxQueuedSnapshots: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly signals: SignalSource;
}

const POLL_FLOOR_MS = 50;
const HEARTBEAT_FLOOR_MS = 100;
/** The longest delay that a timer of Node knows; a longer one would be over at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** Fills in the defaults, lifts intervals to their floors; throws `bad_config` for what is no number, or below 0. */
export function readSettings(config: RuntimeConfig): RuntimeSettings {
  const number = (name: keyof RuntimeConfig, fallback: number, floor: number) => {
    const value = config[name] ?? fallback;
    if (typeof value !== "number" || !(value >= 0 && value <= LONGEST_MS)) {
      throw new BotError("bad_config", `${name}: a number from 0 to ${LONGEST_MS}, not ${String(value)}`);
    }
    return Math.max(floor, value);
  };
  if (config.source !== undefined) checkSource(config.source);
  return {
    pollIntervalMs: number("pollIntervalMs", 1000, POLL_FLOOR_MS),
    heartbeatIntervalMs: number("heartbeatIntervalMs", 5000, HEARTBEAT_FLOOR_MS),
    maxConsecutiveErrors: number("maxConsecutiveErrors", 5, 0),
    gracefulShutdownTimeoutMs: number("gracefulShutdownTimeoutMs", 5000, 0),
    handleSignals: config.handleSignals ?? true,
    tickOnEmpty: config.tickOnEmpty ?? true,
    source: config.source,
    maxQueuedSnapshots: number("maxQueuedSnapshots", 10_000, 1),
    clock: config.clock ?? new SystemClock(),
    timers: config.timers ?? systemTimers,
    signals: config.signals ?? process,
  };
}
