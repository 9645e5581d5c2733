import type { Clock } from "../std/clock.ts";
import type { Timers } from "../std/timers.ts";
import type { TickwireError } from "./errors.ts";
import type { LagMeter } from "./lag.ts";
import type { Hello } from "./message.ts";
import type { Mode, ReconnectOptions, TokenProvider } from "./options.ts";
import type { InstrumentName } from "./receiver.ts";
import type { StreamCounters } from "./streams.ts";

/** What a session takes from its client, and tells it. */
export interface SessionContext {
  urls: readonly URL[];
  heartbeatMs: number;
  token: TokenProvider | undefined;
  require: Mode | undefined;
  reconnect: ReconnectOptions;
  /** Comes back without the delay that a stopping server asks for. */
  retryAtOnce: boolean;
  clock: Clock;
  timers: Timers;
  random: () => number;
  lag: LagMeter;
  counters: StreamCounters;
  name(exchange: string, symbol: string): InstrumentName;
  connected(hello: Hello, url: URL): void;
  disconnected(url: URL, reason: string): void;
  retrying(retry: Retry): void;
  reconnected(report: Reconnected): void;
  heartbeat(beat: Heartbeat): void;
  error(error: TickwireError): void;
  /** The session has given up. */
  failed(error: TickwireError): void;
}

/** What a heartbeat of the server says. */
export interface Heartbeat {
  /** The gateway's time, microseconds. */
  readonly serverTime: number;
  readonly position: number;
  /** Bytes that wait at the gateway for this client, and for how long some have, milliseconds. */
  readonly queueBytes: number;
  readonly lagMs: number;
}

/** There is no connection, and another attempt follows. */
export interface Retry {
  /** The server that is tried next. */
  readonly url: string;
  /** Why the last one was lost, or could not be made. */
  readonly reason: string;
  /** 1 for the first since a connection stood. */
  readonly attempt: number;
  readonly retryMs: number;
}

/** A connection is there again, and what was missed has come. */
export interface Reconnected {
  readonly url: string;
  /** Frames that were missed and came again. */
  readonly replayed: number;
  /** Gaps: what was missed and is lost. */
  readonly gaps: number;
  readonly tookMs: number;
}
