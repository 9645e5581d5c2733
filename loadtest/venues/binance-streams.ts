import type { Peer } from "./endpoint.ts";

const METHODS = ["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"];
const STREAMS_PER_CONNECTION = 1024;
const INBOUND_PER_SECOND = 5;

export interface StreamDesk {
  subscribe(peer: Peer, stream: string): void;
  unsubscribe(peer: Peer, stream: string): void;
  send(peer: Peer, value: unknown): void;
}

/** Streams in a URL: `/ws/<stream>[/<stream>]` or `/stream?streams=<stream>/<stream>`. */
export function streamsInUrl(url: URL): string[] {
  const named = url.pathname.startsWith("/ws") ? url.pathname.slice("/ws".length) : url.searchParams.get("streams");
  return (named ?? "")
    .split("/")
    .filter((stream) => stream !== "")
    .map(decodeURIComponent);
}

/** Everything inbound counts, pings and pongs too: true when this one is more than the venue takes in a second. */
export class InboundLimit {
  readonly #arrivals = new WeakMap<Peer, number[]>();

  breached(peer: Peer, nowMs: number): boolean {
    const recent = (this.#arrivals.get(peer) ?? []).filter((atMs) => nowMs - atMs < 1000);
    recent.push(nowMs);
    this.#arrivals.set(peer, recent);
    return recent.length > INBOUND_PER_SECOND;
  }
}

class BadRequest extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** Answers one control message as the venue does; a stream it does not know is acknowledged and stays silent. */
export function answerControl(desk: StreamDesk, peer: Peer, text: string): void {
  let id: unknown = null;
  try {
    const request = parse(text);
    id = requestId(request.id);
    desk.send(peer, { result: perform(desk, peer, request), id });
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    desk.send(peer, { code: error.code, msg: error.message, id });
  }
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadRequest(3, "Invalid JSON: expected value at line 1 column 1");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadRequest(2, "Invalid request: missing field `method` at line 1 column 1");
  }
  return value as Record<string, unknown>;
}

function requestId(id: unknown): unknown {
  const known = id === undefined || id === null || Number.isInteger(id) || (typeof id === "string" && id.length <= 36);
  if (!known) throw new BadRequest(2, "Invalid request: request ID must be an integer, a string or null");
  return id ?? null;
}

function perform(desk: StreamDesk, peer: Peer, request: Record<string, unknown>): unknown {
  const { method, params } = request;
  if (method === undefined) throw new BadRequest(2, "Invalid request: missing field `method` at line 1 column 1");
  if (typeof method !== "string" || !METHODS.includes(method)) {
    throw new BadRequest(
      2,
      `Invalid request: unknown variant ${String(method)}, expected one of ${METHODS.join(", ")}`,
    );
  }
  switch (method) {
    case "LIST_SUBSCRIPTIONS":
      return [...peer.topics];
    case "SET_PROPERTY":
      return setProperty(peer, params);
    case "GET_PROPERTY":
      if (!Array.isArray(params) || params[0] !== "combined") throw new BadRequest(0, "Unknown property");
      return peer.combined;
    default: {
      const streams = streamNames(params);
      if (method === "UNSUBSCRIBE") for (const stream of streams) desk.unsubscribe(peer, stream);
      else subscribeAll(desk, peer, streams);
      return null;
    }
  }
}

export function subscribeAll(desk: StreamDesk, peer: Peer, streams: string[]): void {
  if (new Set([...peer.topics, ...streams]).size > STREAMS_PER_CONNECTION) {
    throw new BadRequest(2, `Invalid request: more than ${STREAMS_PER_CONNECTION} streams on one connection`);
  }
  for (const stream of streams) desk.subscribe(peer, stream);
}

function streamNames(params: unknown): string[] {
  if (!Array.isArray(params) || params.length === 0 || !params.every((name) => typeof name === "string")) {
    throw new BadRequest(2, "Invalid request: params must be a list of stream names");
  }
  return params as string[];
}

function setProperty(peer: Peer, params: unknown): null {
  if (!Array.isArray(params) || typeof params[0] !== "string") {
    throw new BadRequest(2, "Invalid request: property name must be a string");
  }
  if (params.length > 2) throw new BadRequest(2, "Invalid request: too many parameters");
  if (params[0] !== "combined") throw new BadRequest(0, "Unknown property");
  if (typeof params[1] !== "boolean") throw new BadRequest(1, "Invalid value type: expected Boolean");
  peer.combined = params[1];
  return null;
}
