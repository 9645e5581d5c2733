import type { FeedControl, Sink, VenueRules } from "../market/sink.ts";
import type { Clock } from "../std/clock.ts";
import type { Timers } from "../std/timers.ts";
import type { SocketFactory } from "./socket.ts";

/** The part of a pino logger that feeds use. */
export interface FeedLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What every feed is made from. */
export interface FeedOptions {
  sink: Sink;
  /** The venue's pseudo-instrument (`Catalog.addVenue(name).id`). */
  venue: number;
  clock: Clock;
  /** A double in [0, 1): jitter only. */
  random: () => number;
  timers: Timers;
  log: FeedLog;
  /** Other endpoints than the venue's own: a mirror, or a double. */
  wsUrl?: string | undefined;
  restUrl?: string | undefined;
  /** Opens sockets; `ws` unless a test has its own. */
  connect?: SocketFactory | undefined;
}

/** Plain counts since the start, read by whoever wants to. All but `bytes` are whole numbers of events. */
export class FeedCounters {
  /** Connections that were opened, and those of them that replaced one that was lost. */
  connects = 0;
  reconnects = 0;
  connectFailures = 0;
  /** Planned replacements of a connection, before the venue would have closed it. */
  rotations = 0;
  /** Streams that were asked for again because nothing ever came on them. */
  resubscribes = 0;
  messages = 0;
  pings = 0;
  bytes = 0;
  /** Messages that the scanner left to JSON.parse. */
  slowMessages = 0;
  /** Messages that are not JSON, and JSON with missing or impossible fields. */
  parseErrors = 0;
  malformed = 0;
  /** Messages of a kind, or of an instrument, that we do not know. */
  ignored = 0;
  /** Errors that the venue answered on the socket. */
  refusals = 0;
  /** Messages with a number that did not fit a double exactly. */
  inexact = 0;
  requests = 0;
  requestFailures = 0;
}

/** A venue that cannot be reached is a state, not an error: nothing here throws or gives up. */
export interface FeedStatus {
  /** One of the STATE_ numbers, 0 while nothing was asked for yet. */
  state: number;
  reason: string;
  connections: number;
  /** Streams that are subscribed at the venue. */
  streams: number;
  instruments: number;
}

export interface Feed {
  readonly name: string;
  readonly rules: VenueRules;
  readonly control: FeedControl;
  readonly counters: FeedCounters;
  readonly status: FeedStatus;
  /** Begins; resolves once the venue's list has been handed to the sink (or on stop), however long that takes. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export type FeedFactory = (options: FeedOptions) => Feed;
