import type { HttpRequest, HttpResponse, us_socket_context_t } from "uWebSockets.js";
import type { ErrorCode } from "../market/errors.ts";
import { RequestError } from "../market/errors.ts";
import { nearest } from "../std/nearest.ts";
import type { Access } from "./access.ts";
import type { SocketData } from "./client.ts";
import { STATUS_OF, STATUS_TEXTS } from "./http.ts";
import { FLATBUFFERS, JSON_MS, JSON_US } from "./publisher.ts";
import type { Services } from "./services.ts";

export const PROTOCOL_FLATBUFFERS = "tickwire.v1.flatbuffers";
export const PROTOCOL_JSON = "tickwire.v1.json";
/** A browser cannot set headers, so its token comes as a second subprotocol. */
const PROTOCOL_BEARER = "bearer.";

const DEFAULT_HEARTBEAT_MS = 30_000;
const LEAST_HEARTBEAT_MS = 250;
const MOST_HEARTBEAT_MS = 3_600_000;

/** Selectors that may stand in the URL of `/stream`, and which of them are lists. */
const SELECTORS: Readonly<Record<string, "list" | "number" | "text" | "boolean">> = {
  channels: "list",
  symbols: "list",
  exchanges: "list",
  market_types: "list",
  timeframes: "list",
  indicators: "list",
  depth: "number",
  conflate_ms: "number",
  bars: "text",
  max_lag_ms: "number",
  from: "text",
  strict: "boolean",
};
const OPTIONS = ["encoding", "time_unit", "heartbeat_ms", "token"];

/** What a WebSocket's URL and headers ask for. */
export interface UpgradeQuery {
  path: string;
  query: URLSearchParams;
  encoding: number;
}

/** Reads what is asked for and tells how its client is made; throws a RequestError. */
export type ReadUpgrade = (query: UpgradeQuery) => SocketData["create"];

/** Answers an upgrade: checks who asks, chooses the encoding, or refuses with an HTTP status and a code. */
export function upgrade(
  response: HttpResponse,
  request: HttpRequest,
  context: us_socket_context_t,
  access: Access,
  services: Services,
  address: string,
  read: ReadUpgrade,
): void {
  const key = request.getHeader("sec-websocket-key");
  const offered = request.getHeader("sec-websocket-protocol");
  const extensions = request.getHeader("sec-websocket-extensions");
  // uWebSockets.js ends the process on an exception in a handler, so nothing may leave this function.
  try {
    admit(request, access);
    const query = new URLSearchParams(request.getQuery() ?? "");
    const [encoding, protocol] = chooseEncoding(offered, query);
    const data: SocketData = {
      encoding,
      heartbeatMs: readHeartbeat(query),
      microseconds: query.get("time_unit") === "us",
      address,
      client: undefined,
      create: read({ path: request.getUrl(), query, encoding }),
    };
    response.upgrade<SocketData>(data, key, protocol, extensions, context);
  } catch (error) {
    const known = error instanceof RequestError;
    if (!known) services.log.error({ err: error }, "an upgrade failed");
    refuse(
      response,
      services,
      known ? error.code : "internal",
      known ? error.message : "the upgrade could not be served",
    );
  }
}

/** Answers an upgrade with an HTTP status and a code. */
export function refuse(
  response: HttpResponse,
  services: Services,
  code: ErrorCode,
  message: string,
  status = STATUS_OF[code] ?? 400,
): void {
  const { refused } = services.counters;
  refused.set(code, (refused.get(code) ?? 0) + 1);
  response.writeStatus(STATUS_TEXTS[status] as string);
  response.writeHeader("content-type", "application/json; charset=utf-8");
  response.end(JSON.stringify({ type: "error", code, message }));
}

function admit(request: HttpRequest, access: Access): void {
  const host = request.getHeader("host");
  if (!access.allowsHost(host)) throw new RequestError("forbidden", "this host is not served here; see --origins");
  if (!access.allowsOrigin(request.getHeader("origin"), host)) {
    throw new RequestError("forbidden", "this origin is not allowed; see --origins");
  }
}

function chooseEncoding(offered: string, query: URLSearchParams): [encoding: number, protocol: string] {
  const wanted = query.get("encoding");
  if (wanted !== null && wanted !== "flatbuffers" && wanted !== "json") {
    throw new RequestError("bad_request", "encoding: flatbuffers or json");
  }
  const timeUnit = query.get("time_unit");
  if (timeUnit !== null && timeUnit !== "ms" && timeUnit !== "us")
    throw new RequestError("bad_request", "time_unit: ms or us");
  const protocols = offered
    .split(",")
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== "" && !protocol.startsWith(PROTOCOL_BEARER));
  const chosen = protocols.find((protocol) => protocol === PROTOCOL_FLATBUFFERS || protocol === PROTOCOL_JSON);
  if (protocols.length > 0 && chosen === undefined) {
    throw new RequestError("bad_request", `subprotocols: ${PROTOCOL_FLATBUFFERS} or ${PROTOCOL_JSON}`);
  }
  const binary = (chosen ?? "") === PROTOCOL_FLATBUFFERS || (chosen === undefined && wanted === "flatbuffers");
  if (chosen !== undefined && wanted !== null && binary !== (wanted === "flatbuffers")) {
    throw new RequestError("bad_request", `encoding=${wanted} contradicts the subprotocol ${chosen}`);
  }
  return [binary ? FLATBUFFERS : timeUnit === "us" ? JSON_US : JSON_MS, chosen ?? ""];
}

function readHeartbeat(query: URLSearchParams): number {
  const text = query.get("heartbeat_ms");
  if (text === null) return DEFAULT_HEARTBEAT_MS;
  const value = Number(text);
  if (Number.isInteger(value) && value >= LEAST_HEARTBEAT_MS && value <= MOST_HEARTBEAT_MS) return value;
  throw new RequestError(
    "bad_request",
    `heartbeat_ms: a whole number from ${LEAST_HEARTBEAT_MS} to ${MOST_HEARTBEAT_MS}`,
  );
}

/** The selectors of a URL as a subscribe request; undefined when there are none. */
export function readSelectors(query: URLSearchParams): object | undefined {
  const request: Record<string, unknown> = {};
  for (const name of new Set(query.keys())) {
    if (OPTIONS.includes(name)) continue;
    const kind = Object.hasOwn(SELECTORS, name) ? SELECTORS[name] : undefined;
    if (kind === undefined) throw new RequestError("bad_request", unknownParameter(name));
    const values = query.getAll(name);
    if (kind === "list") request[name] = values.flatMap(splitList);
    else if (values.length > 1) throw new RequestError("bad_request", `${name} is given more than once`);
    else request[name] = readValue(kind, values[0] as string);
  }
  if (Object.keys(request).length === 0) return undefined;
  if (request.symbols === undefined)
    throw new RequestError("bad_request", 'symbols must be given; "*" stands for all active ones');
  return { type: "subscribe", id: "url", ...request };
}

/** A value of a URL; what is not of its kind stays a text, and is refused with the rest of the request. */
function readValue(kind: "number" | "text" | "boolean", text: string): number | boolean | string {
  if (kind === "number" && /^\d{1,9}$/.test(text)) return Number(text);
  if (kind === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

/** Whether a past that is cut short is to be refused. */
export function readStrict(query: URLSearchParams): boolean {
  const text = query.get("strict") ?? "false";
  if (text !== "true" && text !== "false") throw new RequestError("bad_request", "strict: true or false");
  return text === "true";
}

/** Refuses parameters that an endpoint does not know. */
export function onlyOptions(query: URLSearchParams, more: readonly string[]): void {
  for (const name of query.keys()) {
    if (!OPTIONS.includes(name) && !more.includes(name))
      throw new RequestError("bad_request", unknownParameter(name, more));
  }
}

function unknownParameter(name: string, more: readonly string[] = Object.keys(SELECTORS)): string {
  const near = nearest(name, [...more, ...OPTIONS]);
  return `unknown parameter "${name.slice(0, 64)}"${near === undefined ? "" : `: did you mean "${near}"?`}`;
}

/** Commas part a list, but not those inside parentheses: `macd(12,26,9),vwap` is two names. */
function splitList(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
