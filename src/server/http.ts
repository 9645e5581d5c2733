import type { HttpRequest, HttpResponse, TemplatedApp } from "uWebSockets.js";
import { RequestError } from "../market/errors.ts";
import type { ErrorCode } from "../market/errors.ts";
import type { Access } from "./access.ts";
import type { Services } from "./services.ts";

/** Longest path and query that are looked at. */
const MAX_URL = 4096;

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: "200 OK",
  204: "204 No Content",
  400: "400 Bad Request",
  403: "403 Forbidden",
  404: "404 Not Found",
  405: "405 Method Not Allowed",
  414: "414 URI Too Long",
  421: "421 Misdirected Request",
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

const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  unknown_symbol: 404,
  not_available: 404,
  internal: 500,
  forbidden: 403,
  rate_limited: 429,
};

/** Answers every request that is no upgrade, by the route table. */
export function serveHttp(app: TemplatedApp, routes: Routes, access: Access, services: Services): void {
  app.any("/*", (response, request) => {
    // uWebSockets.js ends the process on an exception in a handler, so nothing may leave this function.
    const origin = request.getHeader("origin");
    const host = request.getHeader("host");
    const allowed = access.allowsOrigin(origin, host);
    let answer: Answer | Promise<Answer>;
    try {
      answer = respond(request, host, allowed, routes, access);
    } catch (error) {
      answer = failure(error, services);
    }
    if (!(answer instanceof Promise)) return send(response, answer, allowed ? origin : "", services);
    let aborted = false;
    response.onAborted(() => {
      aborted = true;
    });
    answer
      .catch((error) => failure(error, services))
      .then((settled) => {
        if (!aborted) response.cork(() => send(response, settled, allowed ? origin : "", services));
      });
  });
}

function respond(request: HttpRequest, host: string, allowed: boolean, routes: Routes, access: Access): Answer | Promise<Answer> {
  if (!access.allowsHost(host)) return errorAnswer(421, "forbidden", "this host is not served here; see --origins");
  if (!allowed) return errorAnswer(403, "forbidden", "this origin is not allowed; see --origins");
  const url = request.getUrl();
  const search = request.getQuery() ?? "";
  if (url.length + search.length > MAX_URL) return errorAnswer(414, "bad_request", `a URL is at most ${MAX_URL} characters`);
  const method = request.getMethod();
  if (method === "options") return { status: 204, body: "" };
  if (method !== "get" && method !== "head") return errorAnswer(405, "bad_request", "only GET is served here");
  const path = decodePath(url);
  const [route, handler] = find(routes, path);
  if (handler === undefined) {
    const known = Object.keys(routes).join(", ");
    return errorAnswer(404, "not_available", `nothing is served at ${path}; there are ${known}, and /stream, /raw and /ws/{symbol} for WebSockets`);
  }
  return handler({ path, rest: path.slice(route.length), query: new URLSearchParams(search) });
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

function send(response: HttpResponse, answer: Answer, origin: string, services: Services): void {
  services.counters.responses.set(answer.status, (services.counters.responses.get(answer.status) ?? 0) + 1);
  response.writeStatus(STATUS_TEXTS[answer.status] ?? String(answer.status));
  response.writeHeader("content-type", answer.contentType ?? "application/json; charset=utf-8");
  response.writeHeader("cache-control", "no-store");
  response.writeHeader("x-content-type-options", "nosniff");
  if (origin !== "") {
    response.writeHeader("access-control-allow-origin", origin);
    response.writeHeader("vary", "origin");
    response.writeHeader("access-control-allow-methods", "GET, HEAD, OPTIONS");
  }
  response.end(answer.body);
}
