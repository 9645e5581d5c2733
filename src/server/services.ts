import type { Logger } from "pino";
import type { Demand } from "../engine/demand.ts";
import type { Engine } from "../engine/engine.ts";
import type { JournalPast } from "../journal/past.ts";
import type { JournalFigures } from "../journal/writer.ts";
import type { Catalog } from "../market/instrument.ts";
import type { Clock } from "../std/clock.ts";
import type { Backlog } from "./backlog.ts";
import type { Coverage } from "./coverage.ts";
import type { Publisher } from "./publisher.ts";

/** Limits on everything a stranger can send; each has a counter and an error. */
export interface ServerLimits {
  /** Longest control message, bytes. */
  messageBytes: number;
  /** Subscriptions of one connection. */
  subscriptions: number;
  /** Streams that one connection asks for by name; wildcards do not count. */
  namedStreams: number;
  controlMessagesPerSecond: number;
  controlMessageBurst: number;
  /** Connections of one address, and of all. */
  connectionsPerAddress: number;
  connections: number;
  /** Bytes waiting for one client above which it falls behind: it reads the ring at its own pace. */
  queueBytes: number;
  /** Bytes waiting for all clients together above which the slowest are closed. */
  allQueuesBytes: number;
}

/** Plain counts since the start; metrics read them. */
export class ServerCounters {
  connectionsOpened = 0;
  connectionsClosed = 0;
  /** Upgrades that were refused, by reason. */
  readonly refused = new Map<string, number>();
  controlMessages = 0;
  /** Errors answered on sockets, by code. */
  readonly errors = new Map<string, number>();
  /** HTTP answers by status. */
  readonly responses = new Map<number, number>();
  /** Clients that fell behind because they were slow, and those that came level again. */
  fellBehind = 0;
  caughtUp = 0;
  /** Replays and resumes begun. */
  replays = 0;
  /** Times that the ring overtook a client that was behind. */
  laps = 0;
  /** Gaps told to clients, by reason. */
  readonly gaps = new Map<string, number>();
  closedSlow = 0;
  closedForMemory = 0;
}

/** What the parts of the server share. */
export interface Services {
  engine: Engine;
  catalog: Catalog;
  demand: Demand;
  publisher: Publisher;
  coverage: Coverage;
  backlog: Backlog;
  clock: Clock;
  log: Logger;
  limits: ServerLimits;
  counters: ServerCounters;
  /** How the journal is doing; undefined where there is none. */
  journal: () => JournalFigures | undefined;
  /** Reads the journal; undefined where there is none. */
  past: JournalPast | undefined;
  mode: "live" | "simulated" | "replay";
  /** The hello of a connection, as JSON text. */
  hello(heartbeatMs: number): string;
  /** Now as clients read it: milliseconds, or microseconds. */
  time(microseconds: boolean): number;
}
