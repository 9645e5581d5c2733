import type { Clock } from "../std/clock.ts";
import type { Timers } from "../std/timers.ts";
import { TickwireError } from "./errors.ts";

/** Where a client that was given no address looks. */
export const DEFAULT_URL = "ws://localhost:8080";

export type Mode = "live" | "simulated" | "replay";
export type TokenProvider = string | (() => string | Promise<string>);

export interface ReconnectOptions {
  /** The first delay, and the longest, milliseconds; each is jittered. Default 200 and 10,000. */
  baseMs?: number;
  maxMs?: number;
  /** Attempts in a row, each over all addresses, after which the client gives up; default Infinity. */
  attempts?: number;
}

export interface ConnectOptions {
  /** Sent as a bearer token; a function is called at each connect. */
  token?: TokenProvider;
  /** Refuses a server of another mode: a program that places orders wants "live". */
  require?: Mode;
  /** How often the server is to say that it is there, milliseconds, 250 to 3,600,000; default 5,000. */
  heartbeatMs?: number;
  /** A file that makes this program's own restart exact: where it stood. Node only. */
  cursorFile?: string;
  reconnect?: ReconnectOptions;
  /** Closes the client, also while it is not connected yet. */
  signal?: AbortSignal;
  /** Time, delays and randomness, for tests. */
  clock?: Clock;
  timers?: Timers;
  random?: () => number;
}

/** A heartbeat's bounds at the server. */
const LEAST_HEARTBEAT_MS = 250;
const MOST_HEARTBEAT_MS = 3_600_000;

/** The addresses of servers, checked; throws a TickwireError. */
export function readUrls(urls: string | readonly string[] | undefined): URL[] {
  const list = urls === undefined ? [DEFAULT_URL] : typeof urls === "string" ? [urls] : [...urls];
  if (list.length === 0) throw new TickwireError("bad_url", "connect: no address was given");
  return list.map((text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url !== undefined && /^wss?:$/.test(url.protocol)) return url;
    throw new TickwireError("bad_url", `"${text}" is no address such as ${DEFAULT_URL}`);
  });
}

/** Checks what is a number or one of a few words; throws a TickwireError. */
export function checkOptions({ heartbeatMs, require, token, reconnect = {} }: ConnectOptions): void {
  const number = (name: string, value: number | undefined, low: number, high: number) => {
    if (value === undefined || (value >= low && value <= high)) return;
    throw new TickwireError("bad_option", `${name} is a number from ${low} to ${high}, not ${String(value)}`);
  };
  if (heartbeatMs !== undefined && !Number.isInteger(heartbeatMs))
    throw new TickwireError("bad_option", `heartbeatMs is a whole number, not ${String(heartbeatMs)}`);
  number("heartbeatMs", heartbeatMs, LEAST_HEARTBEAT_MS, MOST_HEARTBEAT_MS);
  number("reconnect.baseMs", reconnect.baseMs, 1, 3_600_000);
  number("reconnect.maxMs", reconnect.maxMs, 1, 3_600_000);
  number("reconnect.attempts", reconnect.attempts, 1, Number.POSITIVE_INFINITY);
  if (require !== undefined && !["live", "simulated", "replay"].includes(require))
    throw new TickwireError("bad_option", `require is live, simulated or replay, not "${String(require)}"`);
  if (token !== undefined && typeof token !== "function") checkToken(token);
}

/** What may stand in the name of a subprotocol, as which a token is sent. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]*$/;

/** A token that can be sent; throws a TickwireError for anything else. */
export function checkToken(token: unknown): string {
  if (typeof token === "string" && TOKEN.test(token)) return token;
  const what = typeof token === "string" ? "one with characters that it cannot have" : `a ${typeof token}`;
  throw new TickwireError("bad_option", `a token is a text such as a JWT, not ${what}`);
}
