import { z } from "zod";
import { CONFLATE_MS } from "../engine/derived.ts";
import type { Channel } from "../market/channel.ts";
import { CHANNELS, channelOf } from "../market/channel.ts";
import { RequestError } from "../market/errors.ts";
import { MARKET_TYPES } from "../market/instrument.ts";
import { TIMEFRAMES, timeframeIndex } from "../market/timeframe.ts";
import { nearest } from "../std/nearest.ts";
import type { Resume } from "./replay.ts";
import { readResume } from "./replay.ts";

/** Most entries of one list in a request. */
const MAX_LIST = 1024;
/** The largest stream number of one shard. */
const MAX_STREAM = 2 ** 32 - 1;
/** Longest name in a request, characters. */
const MAX_NAME = 64;

export const DEFAULT_CHANNELS: readonly Channel[] = ["trades", "orderbook", "ticker", "funding"];
export const DEFAULT_DEPTH = 20;

const name = z.string().min(1).max(MAX_NAME);
/** A scalar is accepted where a list is expected. */
const names = z.preprocess(
  (value) => (typeof value === "string" ? [value] : value),
  z.array(name).min(1).max(MAX_LIST),
);
const requestId = z.union([
  z.string().min(1).max(MAX_NAME),
  z
    .number()
    .int()
    .min(-(2 ** 53))
    .max(2 ** 53),
]);

const SHAPES = {
  subscribe: z.strictObject({
    type: z.literal("subscribe"),
    id: requestId.optional(),
    channels: names.optional(),
    symbols: names,
    exchanges: names.optional(),
    market_types: names.optional(),
    timeframes: names.optional(),
    depth: z.number().int().min(1).max(1_000_000).or(z.literal("full")).optional(),
    conflate_ms: z.number().int().min(0).max(60_000).optional(),
    bars: z.enum(["all", "closed"]).optional(),
    indicators: names.optional(),
    max_lag_ms: z.number().int().min(100).max(600_000).optional(),
    resume: z.unknown().optional(),
    from: z.union([z.string().max(MAX_NAME), z.number()]).optional(),
    strict: z.boolean().optional(),
  }),
  unsubscribe: z.strictObject({ type: z.literal("unsubscribe"), id: requestId.optional(), subscription: requestId }),
  list: z.strictObject({ type: z.literal("list"), id: requestId.optional() }),
  ping: z.strictObject({ type: z.literal("ping"), id: requestId.optional() }),
  fetch: z.strictObject({
    type: z.literal("fetch"),
    id: requestId.optional(),
    stream: z.number().int().min(0).max(MAX_STREAM),
    from: z.number().int().min(1),
    to: z.number().int().min(1),
  }),
  auth: z.looseObject({ type: z.literal("auth"), id: requestId.optional() }),
} as const;

export type RequestId = string | number;

export interface SubscribeRequest {
  type: "subscribe";
  id: RequestId | undefined;
  channels: readonly Channel[];
  /** Upper case, or "*". */
  symbols: readonly string[];
  /** Lower case, or "*". */
  exchanges: readonly string[];
  marketTypes: readonly string[];
  /** Indices. */
  timeframes: readonly number[];
  /** Levels a side; Infinity is the whole book. */
  depth: number;
  /** Milliseconds; undefined when the request did not say. */
  conflateMs: number | undefined;
  bars: "all" | "closed";
  indicators: readonly string[] | undefined;
  /** How far behind this connection may be when it is slow, milliseconds; undefined is the channels' own. */
  maxLagMs: number | undefined;
  /** Where it resumes; or the time from which on it is asked for, as it was written. */
  resume: Resume | undefined;
  from: string | number | undefined;
  /** Refused when less than that is there. */
  strict: boolean;
}

/** Asks for the ring frames of a stream again, both sequences included. */
export interface FetchRequest {
  type: "fetch";
  id: RequestId | undefined;
  stream: number;
  from: number;
  to: number;
}

export type Request =
  | SubscribeRequest
  | FetchRequest
  | { type: "unsubscribe"; id: RequestId | undefined; subscription: RequestId }
  | { type: "list" | "ping"; id: RequestId | undefined };

/** The request's id even where the rest is wrong, so that the error can name it. */
export function idOf(value: unknown): RequestId | undefined {
  const id = typeof value === "object" && value !== null ? (value as { id?: unknown }).id : undefined;
  const parsed = requestId.safeParse(id);
  return parsed.success ? parsed.data : undefined;
}

/** Reads a control message; throws a RequestError with its code. */
export function readRequest(value: unknown): Request {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RequestError("bad_request", "a message is a JSON object with a type");
  }
  const type = (value as { type?: unknown }).type;
  if (typeof type !== "string" || !Object.hasOwn(SHAPES, type)) {
    const known = Object.keys(SHAPES).join(", ");
    if (typeof type !== "string") throw new RequestError("unknown_type", `type must be given: one of ${known}`);
    const near = nearest(type, Object.keys(SHAPES));
    const hint = near === undefined ? `one of ${known}` : `did you mean "${near}"?`;
    throw new RequestError("unknown_type", `unknown type "${type.slice(0, MAX_NAME)}": ${hint}`);
  }
  const shape = SHAPES[type as keyof typeof SHAPES];
  const parsed = shape.safeParse(value);
  if (!parsed.success) throw new RequestError("bad_request", complaint(parsed.error, shape));
  const data = parsed.data;
  if (data.type === "auth") throw new RequestError("not_available", "auth is not served");
  if (data.type === "fetch" && data.to < data.from) throw new RequestError("bad_request", "to: is below from");
  if (data.type !== "subscribe") return { id: undefined, ...data };
  return readSubscribe(data);
}

function complaint(error: z.ZodError, shape: z.ZodObject): string {
  const issue = error.issues[0];
  if (issue === undefined) return "the message cannot be read";
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] as string;
    const near = nearest(key, Object.keys(shape.shape));
    return `unknown key "${key.slice(0, MAX_NAME)}"${near === undefined ? "" : `: did you mean "${near}"?`}`;
  }
  const path = issue.path.join(".");
  if (path === "symbols" && issue.code === "invalid_type")
    return 'symbols must be given; "*" stands for all active ones';
  return `${path === "" ? "message" : path}: ${issue.message}`;
}

/** Defaults are shared: thousands of connections keep the same request. */
const EVERYWHERE: readonly string[] = ["*"];
const ANY_TYPE: readonly string[] = [];
const DEFAULT_TIMEFRAMES: readonly number[] = [timeframeIndex("1m")];

function readSubscribe(data: z.infer<(typeof SHAPES)["subscribe"]>): SubscribeRequest {
  if (data.resume !== undefined && data.from !== undefined) {
    throw new RequestError("bad_request", "resume and from: one of them");
  }
  if (data.strict !== undefined && data.from === undefined)
    throw new RequestError("bad_request", "strict: of what from?");
  const channels = data.channels === undefined ? DEFAULT_CHANNELS : readChannels(data.channels);
  const conflateMs = data.conflate_ms;
  if (conflateMs !== undefined && !(CONFLATE_MS as readonly number[]).includes(conflateMs)) {
    throw new RequestError("bad_request", `conflate_ms: one of ${CONFLATE_MS.join(", ")}`);
  }
  const depth = data.depth === "full" ? Number.POSITIVE_INFINITY : (data.depth ?? DEFAULT_DEPTH);
  const request: SubscribeRequest = {
    type: "subscribe",
    id: data.id,
    channels,
    symbols: unique(data.symbols.map((symbol) => symbol.toUpperCase())),
    exchanges: data.exchanges === undefined ? EVERYWHERE : unique(data.exchanges.map((each) => each.toLowerCase())),
    marketTypes: data.market_types === undefined ? ANY_TYPE : unique(data.market_types.map(readMarketType)),
    timeframes: data.timeframes === undefined ? DEFAULT_TIMEFRAMES : unique(data.timeframes.map(readTimeframe)),
    depth,
    conflateMs,
    bars: data.bars ?? "all",
    indicators: data.indicators,
    maxLagMs: data.max_lag_ms,
    resume: data.resume === undefined ? undefined : readResume(data.resume),
    from: data.from,
    strict: data.strict ?? false,
  };
  refuseConflatedEvents(request, data.channels !== undefined);
  return request;
}

/** What must not be thinned out: asked for by name, it is refused; a default channel simply stays whole. */
function refuseConflatedEvents(request: SubscribeRequest, named: boolean): void {
  if (request.conflateMs === undefined || request.conflateMs === 0) return;
  for (const channel of request.channels) {
    const event =
      channel === "trades" || channel === "liquidations" || (channel === "bars" && request.bars === "closed");
    if (event && named)
      throw new RequestError("bad_request", `conflate_ms: ${channel} are events and are never conflated`);
    if (channel === "orderbook" && request.depth > 100) {
      throw new RequestError(
        "bad_request",
        "conflate_ms: the whole book is never conflated; ask for a depth of 5, 20 or 100",
      );
    }
  }
}

function readChannels(texts: readonly string[]): readonly Channel[] {
  return texts.includes("*") ? CHANNELS : unique(texts.map(readChannel));
}

function readChannel(text: string): Channel {
  const channel = channelOf(text);
  if (channel !== undefined) return channel;
  const near = nearest(text, CHANNELS);
  throw new RequestError(
    "unknown_channel",
    `unknown channel "${text}": ${near === undefined ? `one of ${CHANNELS.join(", ")}` : `did you mean "${near}"?`}`,
  );
}

function readTimeframe(text: string): number {
  const index = timeframeIndex(text);
  if (index >= 0) return index;
  throw new RequestError("unknown_timeframe", `unknown timeframe "${text}": one of ${TIMEFRAMES.join(", ")}`);
}

function readMarketType(text: string): string {
  const type = text.toLowerCase();
  if ((MARKET_TYPES as readonly string[]).includes(type)) return type;
  throw new RequestError("bad_request", `market_types: one of ${MARKET_TYPES.join(", ")}`);
}

function unique<T>(items: readonly T[]): readonly T[] {
  return items.length < 2 ? items : [...new Set(items)];
}
