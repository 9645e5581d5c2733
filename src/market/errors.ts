/**
 * Stable codes that clients see. An error of a request never closes the connection; the close codes below do, and tell
 * a client whether coming back makes sense.
 */
export const ERROR_CODES = [
  "bad_json",
  "bad_request",
  "unknown_type",
  "unknown_channel",
  "unknown_symbol",
  "unknown_exchange",
  "unknown_timeframe",
  "unknown_indicator",
  "too_many_subscriptions",
  "unauthorized",
  "forbidden",
  "rate_limited",
  "not_available",
  "internal",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** The server is stopping: come back after `retry_after_ms`. */
export const CLOSE_SHUTTING_DOWN = 1001;
/** Authorisation or policy: coming back unchanged is of no use. */
export const CLOSE_POLICY = 1008;
/** A message over the limit. */
export const CLOSE_TOO_LARGE = 1009;
export const CLOSE_INTERNAL = 1011;
/** The client reads more slowly than its streams flow: ask for less, or read faster. */
export const CLOSE_TOO_SLOW = 4008;

/** A request that cannot be served: thrown while it is read, answered with its code. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
