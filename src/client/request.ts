import { CHANNELS, channelOf, hasTimeframes } from "../market/channel.ts";
import { TickwireError } from "./errors.ts";

/** What is asked of a server; see the table of `subscribe` in README.md. A scalar is taken for a list. */
export interface SubscribeSpec {
  channels?: string | readonly string[];
  /** Unified names; "*" is every active instrument. */
  symbols: string | readonly string[];
  exchanges?: string | readonly string[];
  marketTypes?: string | readonly string[];
  timeframes?: string | readonly string[];
  depth?: number | "full";
  conflateMs?: 0 | 50 | 100 | 250 | 1000;
  bars?: "all" | "closed";
  /** Names such as "macd(12,26,9)". */
  indicators?: readonly string[];
  /** Begins in the past: "now-5m", ISO 8601, Unix seconds or milliseconds. */
  from?: string | number;
  /** Refuses less past than was asked for. */
  strict?: boolean;
  /** How far this connection may be behind, milliseconds, before it is brought to the present. */
  maxLagMs?: number;
}

const KEYS: ReadonlySet<string> = new Set<keyof SubscribeSpec>([
  "channels",
  "symbols",
  "exchanges",
  "marketTypes",
  "timeframes",
  "depth",
  "conflateMs",
  "bars",
  "indicators",
  "from",
  "strict",
  "maxLagMs",
]);

/** A subscribe as the server takes it; throws a TickwireError for a key that there is not. */
export function requestOf(spec: SubscribeSpec): Record<string, unknown> {
  const request: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(spec)) {
    if (!KEYS.has(name)) throw new TickwireError("bad_option", `subscribe: there is no option "${name}"`);
    if (value !== undefined) request[snakeCase(name)] = value;
  }
  return request;
}

/** Names are camelCase in TypeScript, snake_case on the wire. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const DEFAULT_CHANNELS = ["trades", "orderbook", "ticker", "funding"];

/**
 * True when two subscriptions may name a stream both: on one connection it would have the form that the later one asks
 * for, and whoever came second would not get its beginning.
 */
export function overlap(a: SubscribeSpec, b: SubscribeSpec): boolean {
  const channels = channelsOf(a).filter((channel) => channelsOf(b).includes(channel));
  if (channels.length === 0) return false;
  if (!meets(a.symbols, b.symbols) || !meets(a.exchanges ?? "*", b.exchanges ?? "*")) return false;
  const timeless = channels.some((channel) => !hasTimeframes(channel as "bars"));
  return timeless || meets(a.timeframes ?? "1m", b.timeframes ?? "1m");
}

function channelsOf({ channels = DEFAULT_CHANNELS }: SubscribeSpec): readonly string[] {
  const names = listOf(channels);
  return names.includes("*") ? CHANNELS : names.map((name) => channelOf(name) ?? name);
}

function meets(a: string | readonly string[], b: string | readonly string[]): boolean {
  const [first, second] = [a, b].map((each) => listOf(each).map((text) => text.toUpperCase())) as [string[], string[]];
  if (first.includes("*") || second.includes("*")) return true;
  return first.some((each) => second.includes(each));
}

export function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
}
