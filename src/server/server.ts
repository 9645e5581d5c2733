import type { TemplatedApp, us_listen_socket, us_socket_context_t, WebSocket } from "uWebSockets.js";
import { App, us_listen_socket_close, us_socket_local_port } from "uWebSockets.js";
import type { Logger } from "pino";
import type { Demand } from "../engine/demand.ts";
import type { Engine } from "../engine/engine.ts";
import { describe } from "../indicators/describe.ts";
import type { IndicatorSet } from "../indicators/registry.ts";
import { instrumentOf } from "../market/channel.ts";
import { CLOSE_SHUTTING_DOWN, CLOSE_TOO_SLOW, RequestError } from "../market/errors.ts";
import type { Instrument } from "../market/instrument.ts";
import type { Clock } from "../std/clock.ts";
import type { Turn } from "../std/turn.ts";
import { JsonTwin } from "../wire/json.ts";
import { Access } from "./access.ts";
import { AnalyticsClient, AnalyticsText } from "./analytics.ts";
import { Backlog } from "./backlog.ts";
import type { Client, SocketData } from "./client.ts";
import { Connection } from "./connection.ts";
import { Coverage } from "./coverage.ts";
import { decodePath, serveHttp } from "./http.ts";
import { Latency } from "./latency.ts";
import type { FeedReport } from "./metrics.ts";
import { Metrics } from "./metrics.ts";
import { ANALYTICS, FLATBUFFERS, JSON_US, Publisher } from "./publisher.ts";
import { RawConnection } from "./raw.ts";
import { pastOf } from "./replay.ts";
import { readRequest } from "./request.ts";
import { bars } from "./routes/bars.ts";
import { clientScript } from "./routes/client-script.ts";
import { findInstrument, withBars } from "./routes/find-instrument.ts";
import { health, ready } from "./routes/health.ts";
import { instruments } from "./routes/instruments.ts";
import { readCandleSymbol, snapshot } from "./routes/snapshot.ts";
import type { ServerLimits, Services } from "./services.ts";
import { ServerCounters } from "./services.ts";
import { onlyOptions, readSelectors, readStrict, refuse, upgrade } from "./upgrade.ts";

/** Beyond this the library cuts the connection without a close code; below it we answer with 1009 ourselves. */
const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** The library closes at once what queues more than this; our own limit, looked at every 100 ms, comes long before. */
const HARD_QUEUE_BYTES = 64 * 1024 * 1024;
/** How long a stopping server waits for its clients' queues, milliseconds. */
const DRAIN_MS = 3000;
const RETRY_AFTER_MS = { least: 500, spread: 4500 };

export interface ServerOptions {
  engine: Engine;
  demand: Demand;
  indicators: IndicatorSet;
  turn: Turn;
  /** Time as clients live in it: heartbeats, limits, uptime. In a replay the turn's is another. */
  wall: Clock;
  log: Logger;
  limits: ServerLimits;
  mode: Services["mode"];
  version: string;
  /** A double in [0, 1): spreads the clients' return after a stop. */
  random: () => number;
  origins: readonly string[];
  /** True when the server is reached under names that it cannot know. */
  anyHost: boolean;
  requiredVenues: readonly string[];
  feeds: () => FeedReport[];
  journal: Services["journal"];
  past: Services["past"];
  /** Symbols in upper case whose instruments have metrics of their own. */
  metricsSymbols: readonly string[];
}

/** The request that hello shows. */
const EXAMPLE = '{"type":"subscribe","id":1,"channels":["trades"],"symbols":["BTC/USDT"]}';

/**
 * The server's edge: route table, connections, publisher. It knows nothing of feeds; demand is raised, and whoever
 * listens to it subscribes.
 */
export class Server {
  readonly services: Services;
  readonly metrics: Metrics;
  readonly #app: TemplatedApp = App();
  readonly #clients = new Set<Client>();
  readonly #byAddress = new Map<string, number>();
  readonly #options: ServerOptions;
  readonly #access: Access;
  #listening: us_listen_socket | undefined;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { engine, demand, turn, wall, log, limits, mode, indicators } = options;
    const twin = new JsonTwin(engine.catalog, (id) => {
      const indicator = indicators.get(id);
      return indicator === undefined ? undefined : describe(indicator);
    });
    const analytics = new AnalyticsText(engine);
    const latency = new Latency(turn, () => wall.now());
    const publisher = new Publisher(
      this.#app,
      engine,
      (encoding, memory, at, stream) =>
        encoding === ANALYTICS ? analytics.encode(memory, at, stream) : twin.encode(memory, at, encoding === JSON_US),
      (memory, at, stream) => latency.sample(engine.catalog.get(instrumentOf(stream))?.venue ?? 0, memory, at),
    );
    // What hello shows is right; and reading it once here makes the first client's request as quick as the second's.
    readRequest(JSON.parse(EXAMPLE));
    this.#access = new Access(options.origins, options.anyHost);
    this.services = {
      engine,
      catalog: engine.catalog,
      demand,
      publisher,
      coverage: new Coverage(engine.catalog),
      backlog: new Backlog(wall),
      clock: wall,
      log,
      limits,
      counters: new ServerCounters(),
      journal: options.journal,
      past: options.past,
      mode,
      hello: (heartbeatMs) => this.#hello(heartbeatMs),
      time: (microseconds) => (microseconds ? wall.now() : Math.floor(wall.now() / 1000)),
    };
    this.metrics = new Metrics({
      services: this.services,
      latency,
      clients: () => this.#clients,
      feeds: options.feeds,
      symbols: options.metricsSymbols,
    });
    // A recording's time says nothing of how long a turn took.
    if (mode === "replay") turn.onEnd(() => publisher.endTurn(turn.now()));
    else turn.onEnd(() => latency.endTurn(publisher));
    const announce = (instrument: Instrument) => {
      for (const client of this.#clients) client.activated(instrument);
    };
    engine.catalog.onActive(announce);
    engine.catalog.onChannels(announce);
    this.#route();
  }

  #hello(heartbeatMs: number): string {
    const { log } = this.#options.engine.frames;
    return JSON.stringify({
      type: "hello",
      version: this.#options.version,
      mode: this.#options.mode,
      epoch: log.epoch,
      position: log.position,
      window_seconds: Math.floor(this.#options.engine.window.seconds),
      heartbeat_ms: heartbeatMs,
      example: EXAMPLE,
    });
  }

  #route(): void {
    const { services } = this;
    this.#socket("/stream", ({ query }) => {
      const request = readSelectors(query);
      return (socket) => new Connection(socket, services, request);
    });
    this.#socket("/raw", ({ query }) => {
      onlyOptions(query, ["from", "strict"]);
      const from = query.get("from");
      const { engine, past: journal } = services;
      const past = from === null ? undefined : pastOf(from, readStrict(query), false, engine.window, journal);
      return (socket) => new RawConnection(socket, services, past);
    });
    this.#socket("/ws/*", ({ path, query, encoding }) => {
      onlyOptions(query, ["exchange", "timeframe"]);
      if (encoding === FLATBUFFERS) throw new RequestError("bad_request", "/ws/{symbol} speaks JSON only");
      const { symbol, timeframe } = readCandleSymbol(decodePath(path).slice("/ws/".length), query.get("timeframe"));
      const instrument = withBars(findInstrument(services.catalog, symbol, query.get("exchange")));
      return (socket) => new AnalyticsClient(socket, services, instrument, timeframe);
    });
    const stopping = () => this.#stopping;
    serveHttp(
      this.#app,
      {
        "/health": health(),
        "/ready": ready(services, this.#options.requiredVenues, stopping),
        "/instruments": instruments(services),
        "/snapshot": snapshot(services),
        "/snapshot/": snapshot(services),
        "/bars": bars(services),
        "/bars/": bars(services),
        "/client.js": clientScript(),
        "/metrics": () => this.metrics.prometheus(),
        "/metrics.json": () => this.metrics.json(),
      },
      this.#access,
      services,
    );
  }

  #socket(pattern: string, read: Parameters<typeof upgrade>[6]): void {
    this.#app.ws<SocketData>(pattern, {
      maxPayloadLength: MAX_PAYLOAD_BYTES,
      maxBackpressure: HARD_QUEUE_BYTES,
      closeOnBackpressureLimit: true,
      idleTimeout: 120,
      sendPingsAutomatically: true,
      upgrade: (response, request, context: us_socket_context_t) => {
        const address = Buffer.from(response.getRemoteAddressAsText()).toString("latin1");
        const { limits } = this.services;
        if (this.#stopping) return refuse(response, this.services, "not_available", "the server is stopping", 503);
        const full = this.#clients.size >= limits.connections;
        if (full || (this.#byAddress.get(address) ?? 0) >= limits.connectionsPerAddress) {
          return refuse(response, this.services, "rate_limited", "too many connections");
        }
        upgrade(response, request, context, this.#access, this.services, address, read);
      },
      open: (socket) => this.#guard(socket, () => this.#open(socket)),
      message: (socket, message, isBinary) => {
        this.#guard(socket, () => socket.getUserData().client?.message(message, isBinary));
      },
      close: (socket) => this.#guard(socket, () => this.#close(socket)),
    });
  }

  /** An exception that left a handler would end the process. */
  #guard(socket: WebSocket<SocketData>, action: () => void): void {
    try {
      action();
    } catch (error) {
      const { client } = socket.getUserData();
      if (client === undefined || client.closed) this.services.log.error({ err: error }, "a handler failed");
      else client.failed(error);
    }
  }

  #open(socket: WebSocket<SocketData>): void {
    const data = socket.getUserData();
    this.services.counters.connectionsOpened += 1;
    this.#byAddress.set(data.address, (this.#byAddress.get(data.address) ?? 0) + 1);
    data.client = data.create(socket);
    // What it was made of, the URL among it, would stay as long as the socket.
    data.create = createdBefore;
    this.#clients.add(data.client);
    data.client.open();
  }

  #close(socket: WebSocket<SocketData>): void {
    const { client, address } = socket.getUserData();
    this.services.counters.connectionsClosed += 1;
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
    if (client === undefined) return;
    this.#clients.delete(client);
    client.close();
  }

  /** Listens; resolves to the port, or to an error's text. */
  listen(host: string, port: number): Promise<{ port: number } | { error: string }> {
    return new Promise((resolve) => {
      listenExclusively(this.#app, host, port, (token) => {
        if (token === false) return resolve({ error: `${host}:${port} cannot be listened on: is the port in use?` });
        this.#listening = token;
        this.#timer = setInterval(() => this.#check(), 100);
        resolve({ port: us_socket_local_port(token) });
      });
    });
  }

  /** Looks at every queue; when all together are too long, the longest go first. */
  #check(): void {
    const now = this.services.clock.now();
    let total = 0;
    for (const client of this.#clients) total += client.check(now);
    const { limits, counters } = this.services;
    if (total > limits.allQueuesBytes) {
      for (const client of [...this.#clients].sort((a, b) => b.queued - a.queued)) {
        if (total <= limits.allQueuesBytes) break;
        total -= client.queued;
        counters.closedForMemory += 1;
        client.end(CLOSE_TOO_SLOW, "the clients' queues together were too long, this one's the longest");
      }
    }
    this.metrics.sample(now);
  }

  /** Subscriptions of all clients. */
  get subscriptionCount(): number {
    let count = 0;
    for (const client of this.#clients) count += client.subscriptionCount;
    return count;
  }

  /** True while a client has not got all that there is: it is behind, or something waits for it. */
  get isBusy(): boolean {
    for (const client of this.#clients) if (client.pending || client.isBehind || client.queued > 0) return true;
    return false;
  }

  /** Tells every client, lets their queues empty, and closes. */
  async stop(): Promise<void> {
    // The library ends the process when something is closed twice.
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#listening !== undefined) us_listen_socket_close(this.#listening);
    for (const client of this.#clients) {
      const retryAfter = Math.floor(RETRY_AFTER_MS.least + RETRY_AFTER_MS.spread * this.#options.random());
      client.json({ type: "server_shutdown", retry_after_ms: retryAfter });
    }
    const queued = () => [...this.#clients].some((client) => client.queued > 0);
    for (let waited = 0; waited < DRAIN_MS && queued(); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
    for (const client of [...this.#clients]) client.end(CLOSE_SHUTTING_DOWN, "shutting down");
    clearInterval(this.#timer);
    this.#app.close();
  }
}

function createdBefore(): never {
  throw new Error("a socket has one client");
}

/** Without this option two servers share a port, and each gets half of the connections (SO_REUSEPORT). */
const LISTEN_EXCLUSIVE_PORT = 1;

type Listen = (host: string, port: number, options: number, done: (token: us_listen_socket | false) => void) => void;

/** The library takes a host and options together; its declarations leave that form out. */
function listenExclusively(app: TemplatedApp, host: string, port: number, done: Parameters<Listen>[3]): void {
  (app.listen as unknown as Listen).call(app, host, port, LISTEN_EXCLUSIVE_PORT, done);
}
