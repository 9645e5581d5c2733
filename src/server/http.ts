import type { HttpRequest, HttpResponse, TemplatedApp } from "uWebSockets.js";
import type { ErrorCode } from "../market/errors.ts";
import { RequestError } from "../market/errors.ts";
import { nearest } from "../std/nearest.ts";
import type { Access } from "./access.ts";
import type { Services } from "./services.ts";

/** Longest path and query that are looked at. */
const MAX_URL = 4096;

export const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: "200 OK",
  204: "204 No Content",
  400: "400 Bad Request",
  401: "401 Unauthorized",
  403: "403 Forbidden",
  404: "404 Not Found",
  405: "405 Method Not Allowed",
  414: "414 URI Too Long",
  421: "421 Misdirected Request",
  426: "426 Upgrade Required",
  429: "429 Too Many Requests",
  500: "500 Internal Server Error",
  503: "503 Service Unavailable",
};

/** An HTTP request, read and decoded. */
export interface Query {
  path: string;
  /** What follows the route's prefix, decoded; "" when nothing does. */
  rest: string;
  query: URLSearchParams;
}

export interface Answer {
  status: number;
  body: string;
  contentType?: string;
}

export type Handler = (query: Query) => Answer | Promise<Answer>;

/** A path, or a prefix when it ends in "/". */
export type Routes = Readonly<Record<string, Handler>>;

export function json(value: unknown, status = 200): Answer {
  return { status, body: JSON.stringify(value) };
}

export function errorAnswer(status: number, code: ErrorCode, message: string): Answer {
  return json({ type: "error", code, message }, status);
}

/** HTTP's own word for a code; 400 for those that are not here. */
export const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  unauthorized: 401,
  forbidden: 403,
  unknown_symbol: 404,
  unknown_exchange: 404,
  not_available: 404,
  rate_limited: 429,
  internal: 500,
};

/** Paths that are WebSockets: asked for without an upgrade, they say so. */
const SOCKET_PATH = /^\/(stream|raw|ws\/.*)$/;

/** What of a request is needed to write its answer. The library takes the request back when the handler returns. */
interface Asked {
  origin: string;
  allowed: boolean;
  method: string;
  privateNetwork: boolean;
}

/** Answers every request that is no upgrade, by the route table. */
export function serveHttp(app: TemplatedApp, routes: Routes, access: Access, services: Services): void {
  app.any("/*", (response, request) => {
    // uWebSockets.js ends the process on an exception in a handler, so nothing may leave this function.
    const origin = request.getHeader("origin");
    const host = request.getHeader("host");
    const asked: Asked = {
      origin,
      allowed: access.allowsHost(host) && access.allowsOrigin(origin, host),
      method: request.getMethod(),
      privateNetwork: request.getHeader("access-control-request-private-network") === "true",
    };
    let answer: Answer | Promise<Answer>;
    try {
      answer = respond(request, asked, host, routes, access);
    } catch (error) {
      answer = failure(error, services);
    }
    if (!(answer instanceof Promise)) return send(response, answer, asked, services);
    let aborted = false;
    response.onAborted(() => {
      aborted = true;
    });
    answer
      .catch((error) => failure(error, services))
      .then((settled) => {
        if (!aborted) response.cork(() => send(response, settled, asked, services));
      });
  });
}

function respond(
  request: HttpRequest,
  { allowed, method }: Asked,
  host: string,
  routes: Routes,
  access: Access,
): Answer | Promise<Answer> {
  if (!access.allowsHost(host)) return errorAnswer(421, "forbidden", "this host is not served here; see --origins");
  if (!allowed) return errorAnswer(403, "forbidden", "this origin is not allowed; see --origins");
  const url = request.getUrl();
  const search = request.getQuery() ?? "";
  if (url.length + search.length > MAX_URL) {
    return errorAnswer(414, "bad_request", `a URL is at most ${MAX_URL} characters`);
  }
  if (method === "options") return { status: 204, body: "" };
  if (method !== "get" && method !== "head") return errorAnswer(405, "bad_request", "only GET is served here");
  const path = decodePath(url);
  const [route, handler] = find(routes, path);
  if (handler !== undefined) {
    return handler({ path, rest: path.slice(route.length), query: new URLSearchParams(search) });
  }
  if (SOCKET_PATH.test(path)) return errorAnswer(426, "bad_request", `${path.slice(0, 64)} is a WebSocket`);
  const known = Object.keys(routes).join(", ");
  const sockets = "and /stream, /raw and /ws/{symbol} for WebSockets";
  return errorAnswer(404, "not_available", `nothing is served at ${path.slice(0, 64)}; there are ${known}, ${sockets}`);
}

/** Decodes the escapes of a path; a bad one is the client's error. */
export function decodePath(url: string): string {
  try {
    return decodeURIComponent(url);
  } catch {
    throw new RequestError("bad_request", "the path holds a bad % escape");
  }
}

function find(routes: Routes, path: string): [string, Handler | undefined] {
  if (Object.hasOwn(routes, path)) return [path, routes[path]];
  const prefix = Object.keys(routes).find((route) => route.endsWith("/") && route !== "/" && path.startsWith(route));
  return prefix === undefined ? ["", undefined] : [prefix, routes[prefix]];
}

function failure(error: unknown, services: Services): Answer {
  if (error instanceof RequestError) return errorAnswer(STATUS_OF[error.code] ?? 400, error.code, error.message);
  services.log.error({ err: error }, "an HTTP request failed");
  return errorAnswer(500, "internal", "the request could not be served");
}

function send(response: HttpResponse, answer: Answer, asked: Asked, services: Services): void {
  const { origin, allowed, method } = asked;
  services.counters.responses.set(answer.status, (services.counters.responses.get(answer.status) ?? 0) + 1);
  response.writeStatus(STATUS_TEXTS[answer.status] ?? String(answer.status));
  response.writeHeader("vary", "origin");
  if (allowed && origin !== "") {
    response.writeHeader("access-control-allow-origin", origin);
    response.writeHeader("access-control-allow-methods", "GET, HEAD, OPTIONS");
    response.writeHeader("access-control-allow-headers", "authorization, content-type");
    if (asked.privateNetwork) response.writeHeader("access-control-allow-private-network", "true");
  }
  if (answer.status === 405) response.writeHeader("allow", "GET, HEAD, OPTIONS");
  if (answer.status === 426) response.writeHeader("upgrade", "websocket");
  if (answer.status === 204) return void response.endWithoutBody();
  response.writeHeader("content-type", answer.contentType ?? "application/json; charset=utf-8");
  response.writeHeader("cache-control", "no-store");
  response.writeHeader("x-content-type-options", "nosniff");
  if (method !== "head") return void response.end(answer.body);
  // With a length as its argument the library waits for a body that never comes, and ends the process.
  response.writeHeader("content-length", String(Buffer.byteLength(answer.body)));
  response.endWithoutBody();
}

/** Refuses parameters that a route does not know: one that is misspelt would otherwise be as good as not given. */
export function onlyParameters(query: URLSearchParams, names: readonly string[]): void {
  for (const name of query.keys()) {
    if (names.includes(name)) continue;
    const near = nearest(name, names);
    const hint = near === undefined ? `there are ${names.join(", ")}` : `did you mean "${near}"?`;
    throw new RequestError("bad_request", `unknown parameter "${name.slice(0, 64)}": ${hint}`);
  }
}

/** One of a parameter's values; the first where it is not given. */
export function oneOf(query: URLSearchParams, name: string, values: readonly [string, ...string[]]): string {
  const value = query.get(name) ?? values[0];
  if (values.includes(value)) return value;
  throw new RequestError("bad_request", `${name}: one of ${values.join(", ")}`);
}
