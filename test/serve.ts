/**
 * A server on a free port over an engine that the test drives by hand, and a client that keeps every message in order.
 * What a gateway adds, the venues' feeds, is left out: `Venue` is one, of which the test says what happens next.
 */
import { pino } from "pino";
import WebSocket from "ws";
import { Demand } from "../src/engine/demand.ts";
import { Engine } from "../src/engine/engine.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { openJournal } from "../src/journal/open.ts";
import { JournalPast } from "../src/journal/past.ts";
import { JournalWriter } from "../src/journal/writer.ts";
import type { Channel } from "../src/market/channel.ts";
import type { InstrumentListing } from "../src/market/instrument.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import type { FeedControl, VenueRules } from "../src/market/sink.ts";
import * as S from "../src/market/sink.ts";
import { Server } from "../src/server/server.ts";
import type { ServerLimits } from "../src/server/services.ts";
import { SystemClock } from "../src/std/clock.ts";
import { Random } from "../src/std/random.ts";
import { Turn } from "../src/std/turn.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import type { Frame, Message } from "./gateway.ts";
import { eventually, FrameDecoder } from "./gateway.ts";

/** Listings of `count` spot instruments, A0/USDT and so on, or of the given symbols. */
export function spot(symbols: number | readonly string[], channels?: readonly Channel[]): InstrumentListing[] {
  const names = typeof symbols === "number" ? Array.from({ length: symbols }, (_, i) => `A${i}/USDT`) : symbols;
  return names.map((symbol) => ({
    ...emptyListing(),
    symbol,
    venueSymbol: symbol.replace("/", ""),
    marketType: symbol.includes(":") ? "perp" : "spot",
    base: symbol.split("/")[0] as string,
    quote: "USDT",
    settle: symbol.split(":")[1] ?? "",
    sizeUnit: symbol.includes(":") ? "contracts" : "base",
    status: "trading",
    channels: channels ?? ["trades", "orderbook", "quotes", "ticker", ...(symbol.includes(":") ? PERPETUAL : [])],
  }));
}

const PERPETUAL: readonly Channel[] = ["funding", "liquidations"];

/** One venue whose events the test makes. Its books come with the subscription, and have `LEVELS` levels a side. */
export class Venue implements FeedControl {
  readonly name: string;
  readonly rules: VenueRules;
  readonly subscribed = new Set<string>();
  /** Calls of subscribe and unsubscribe, in order. */
  readonly calls: string[] = [];
  readonly ids = new Map<string, number>();
  readonly id: number;
  readonly #served: Pick<Served, "engine" | "turn">;
  #trades = 0;

  constructor(served: Pick<Served, "engine" | "turn">, name: string, ownQuotes: boolean) {
    this.name = name;
    this.rules = { integrity: "guaranteed", contiguousTradeIds: false, ownQuotes, quotesShareBookSequence: false };
    this.#served = served;
    this.id = served.engine.addVenue(name, this.rules, this).instrument.id;
  }

  list(listings: readonly InstrumentListing[]): number[] {
    const ids = this.#served.engine.instruments(this.id, listings);
    for (const [index, { symbol }] of listings.entries()) this.ids.set(symbol, ids[index] as number);
    return ids;
  }

  up(): void {
    this.#served.engine.connection(this.id, S.STATE_LIVE, "");
  }

  subscribe(instrument: number, channel: Channel): void {
    this.calls.push(`+${instrument} ${channel}`);
    this.subscribed.add(`${instrument} ${channel}`);
    if (channel === "orderbook") this.resyncBook(instrument);
  }

  unsubscribe(instrument: number, channel: Channel): void {
    this.calls.push(`-${instrument} ${channel}`);
    this.subscribed.delete(`${instrument} ${channel}`);
  }

  resyncBook(instrument: number): void {
    setImmediate(() => {
      if (this.subscribed.has(`${instrument} orderbook`)) this.bookSnapshot(instrument);
    });
  }

  fetchHistory(): void {}

  #begin(): S.Slot {
    const { engine, turn } = this.#served;
    engine.begin(this.id);
    engine.slot.numbers.fill(Number.NaN);
    for (const field of [S.TRADE_NUMBER, S.FIRST_SEQUENCE, S.LAST_SEQUENCE, S.PREVIOUS_SEQUENCE, S.CHECKSUM]) {
      engine.slot.numbers[field] = 0;
    }
    engine.slot.numbers[S.NEXT_FUNDING] = 0;
    engine.slot.numbers[S.TS_EXCHANGE] = turn.now();
    return engine.slot;
  }

  trade(instrument: number, price = 100, size = 1): void {
    const slot = this.#begin();
    this.#trades += 1;
    slot.numbers[S.PRICE] = price;
    slot.numbers[S.SIZE] = size;
    slot.numbers[S.TRADE_NUMBER] = this.#trades;
    slot.tradeIdLength = Buffer.from(String(this.#trades)).copy(slot.tradeId);
    this.#served.engine.trade(instrument, S.SIDE_BUY, 0);
  }

  quote(instrument: number, bid = 99): void {
    const slot = this.#begin();
    slot.numbers.set([bid, 1, bid + 2, 1], S.BID_PRICE);
    this.#served.engine.quote(instrument, 0);
  }

  ticker(instrument: number, last = 100): void {
    this.#begin().numbers[S.LAST] = last;
    this.#served.engine.ticker(instrument, 0);
  }

  funding(instrument: number, rate = 0.0001): void {
    this.#begin().numbers[S.FUNDING_RATE] = rate;
    this.#served.engine.funding(instrument, 0);
  }

  liquidation(instrument: number, price = 100): void {
    const slot = this.#begin();
    slot.numbers[S.PRICE] = price;
    slot.numbers[S.SIZE] = 1;
    this.#served.engine.liquidation(instrument, S.SIDE_SELL, 0);
  }

  bookSnapshot(instrument: number, levels = LEVELS): void {
    const slot = this.#begin();
    slot.bids.count = 0;
    slot.asks.count = 0;
    for (let level = 0; level < levels; level += 1) {
      slot.bids.push(100 - level, 1);
      slot.asks.push(101 + level, 1);
    }
    this.#served.engine.bookSnapshot(instrument, 0);
  }

  /** Changes one level of each side, `depth` levels from the top. */
  bookDelta(instrument: number, size: number, depth = 0): void {
    const slot = this.#begin();
    slot.bids.count = 0;
    slot.asks.count = 0;
    slot.bids.push(100 - depth, size);
    slot.asks.push(101 + depth, size);
    this.#served.engine.bookDelta(instrument, 0);
  }

  /** One event of every upstream channel that is subscribed for the instrument; sizes never repeat. */
  everything(instrument: number, size: number): void {
    const has = (channel: Channel) => this.subscribed.has(`${instrument} ${channel}`);
    if (has("trades")) this.trade(instrument, 100, size);
    if (has("orderbook")) this.bookDelta(instrument, size);
    if (has("quotes")) this.quote(instrument, 90 + (size % 1000) / 1000);
    if (has("ticker")) this.ticker(instrument, size);
    if (has("funding")) this.funding(instrument, size / 1e6);
    if (has("liquidations")) this.liquidation(instrument, size);
  }
}

/** Levels a side of a new book. */
export const LEVELS = 30;

export interface Served {
  engine: Engine;
  server: Server;
  demand: Demand;
  turn: Turn;
  venues: Venue[];
  port: number;
  url: string;
  http: string;
  stop(): Promise<void>;
}

export interface ServeOptions {
  limits?: Partial<ServerLimits>;
  origins?: readonly string[];
  anyHost?: boolean;
  graceMs?: number;
  ringBytes?: number;
  requiredVenues?: readonly string[];
  metricsSymbols?: readonly string[];
  /** A folder to keep a journal in. */
  journal?: string;
}

const MIB = 2 ** 20;

/** Queues are long by default: a test's clients read only when the one event loop lets them. */
const LIMITS: ServerLimits = {
  messageBytes: 64 * 1024,
  subscriptions: 256,
  namedStreams: 4096,
  controlMessagesPerSecond: 1e6,
  controlMessageBurst: 1e6,
  connections: 1000,
  connectionsPerAddress: 1000,
  queueBytes: 48 * MIB,
  allQueuesBytes: 1024 * MIB,
};

/** Starts a server over an empty engine with the venues test-a (quotes of its own) and test-b (quotes of its books). */
export async function serve(options: ServeOptions = {}): Promise<Served> {
  const turn = new Turn(new SystemClock());
  const catalog = new Catalog();
  const indicators = new IndicatorSet();
  const log = new FrameLog(options.ringBytes ?? 32 * MIB, 1e15 + 7);
  const engine = new Engine({ catalog, log, clock: turn, indicators });
  const timers = new Set<NodeJS.Timeout>();
  const demand = new Demand({
    graceMs: options.graceMs ?? 0,
    after: (ms, action) => {
      const timer = setTimeout(action, ms);
      timers.add(timer);
      return () => clearTimeout(timer);
    },
    open: (instrument, channel) => engine.open(instrument, channel),
    close: (instrument, channel) => engine.close(instrument, channel),
    quotesFromBook: ({ venue }) => engine.venue(venue)?.rules.ownQuotes === false,
  });
  const random = new Random(1);
  const writer = options.journal === undefined ? undefined : keepJournal(options.journal, log, turn);
  const server = new Server({
    engine,
    demand,
    indicators,
    turn,
    wall: new SystemClock(),
    log: pino({ level: process.env.TICKWIRE_TEST_LOG ?? "silent" }),
    limits: { ...LIMITS, ...options.limits },
    mode: "simulated",
    version: "1.2.3",
    random: () => random.next(),
    origins: options.origins ?? [],
    anyHost: options.anyHost ?? false,
    requiredVenues: options.requiredVenues ?? [],
    metricsSymbols: options.metricsSymbols ?? [],
    feeds: () => [],
    journal: () => writer?.figures,
    past:
      options.journal === undefined
        ? undefined
        : new JournalPast(options.journal, log.epoch, engine.window.startedAt, undefined),
  });
  const venues = [new Venue({ engine, turn }, "test-a", true), new Venue({ engine, turn }, "test-b", false)];
  const listening = await server.listen("127.0.0.1", 0);
  if ("error" in listening) throw new Error(listening.error);
  const { port } = listening;
  const tick = setInterval(() => engine.tick(), 5);
  const stop = async () => {
    clearInterval(tick);
    await server.stop();
    // Connections that the stop has closed are demand that ends, too.
    for (const timer of timers) clearTimeout(timer);
    await server.services.past?.stop();
    await writer?.close();
  };
  const url = `ws://127.0.0.1:${port}`;
  return { engine, server, demand, turn, venues, port, url, http: `http://127.0.0.1:${port}`, stop };
}

function keepJournal(directory: string, log: FrameLog, turn: Turn): JournalWriter {
  const writer = new JournalWriter({ opened: openJournal(directory), log, mode: "simulated", now: turn.now() });
  turn.onEnd(() => writer.publish());
  return writer;
}

/** Waits until no client has anything left to join, and everything committed has been published. */
export async function settled({ server, turn }: Served): Promise<void> {
  await eventually(() => server.services.backlog.size === 0, "the backlog to be empty");
  turn.now();
  turn.end();
}

/** Any message, in the words of the JSON form. */
export type Any = Record<string, unknown> & { type: string };

/** Payloads that the decoder knows by number only. */
const PAYLOADS: Readonly<Record<string, string>> = { "payload 5": "funding", "payload 6": "liquidation" };

export function named(frame: Any): Any {
  return { ...frame, type: PAYLOADS[frame.type] ?? frame.type };
}

export interface ProbeOptions {
  protocols?: string[];
  headers?: Record<string, string>;
}

/** A client that keeps everything that it gets, in order, and never judges. */
export class Probe {
  /** Frames and messages; a frame has `seq`. */
  readonly log: Any[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly socket: WebSocket;
  readonly #decoder = new FrameDecoder();
  #pings = 0;

  private constructor(url: string, { protocols = [], headers = {} }: ProbeOptions) {
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false, headers });
    this.socket.on("message", (data: Buffer, binary) => {
      if (binary) this.log.push(named(this.#decoder.decode(data) as unknown as Any));
      else this.log.push(JSON.parse(data.toString()) as Any);
    });
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on("error", () => {});
  }

  /** Connects; a refusal is thrown as its status and body. */
  static async open(url: string, options: ProbeOptions = {}): Promise<Probe> {
    const probe = new Probe(url, options);
    await new Promise<void>((resolve, reject) => {
      probe.socket.once("open", resolve).once("error", reject);
      probe.socket.once("unexpected-response", (_request, response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => {
          const body = JSON.parse(Buffer.concat(parts).toString()) as Message;
          reject(new Error(`${response.statusCode} ${body.code}`));
        });
      });
    });
    return probe;
  }

  get frames(): Frame[] {
    return this.log.filter((each) => "seq" in each && each.type !== "system") as unknown as Frame[];
  }

  messages(type: string): Any[] {
    return this.log.filter((each) => each.type === type);
  }

  send(message: object | string | Buffer): void {
    const raw = typeof message === "string" || message instanceof Buffer;
    this.socket.send(raw ? message : JSON.stringify(message));
  }

  until(holds: () => boolean, what: string): Promise<void> {
    return eventually(() => {
      if (holds()) return true;
      if (this.closed !== undefined) throw new Error(`closed with ${this.closed.code} while waiting for ${what}`);
      return false;
    }, what);
  }

  /** Waits for the answer to the request with this id. */
  async answer(id: unknown, from = 0): Promise<Any> {
    const find = () => this.log.slice(from).find((each) => "id" in each && each.id === id && !("seq" in each));
    await this.until(() => find() !== undefined, `the answer to ${String(id)}`);
    return find() as Any;
  }

  async ask(request: { id: unknown; [key: string]: unknown }): Promise<Any> {
    const from = this.log.length;
    this.send(request);
    return this.answer(request.id, from);
  }

  /** Subscribes; anything but an ack is thrown. */
  async subscribe(id: unknown, request: object): Promise<Any> {
    const answer = await this.ask({ type: "subscribe", id, ...request });
    if (answer.status !== "subscribed") throw new Error(JSON.stringify(answer));
    return answer;
  }

  /** Waits until everything that the server has sent so far is here. */
  async level(): Promise<void> {
    this.#pings += 1;
    await this.ask({ type: "ping", id: `level ${this.#pings}` });
  }

  async gone(): Promise<{ code: number; reason: string }> {
    await eventually(() => this.closed !== undefined, "the connection to be closed");
    return this.closed as { code: number; reason: string };
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.gone();
  }
}

/** Closes clients and waits until the server knows, and has given back what it held for them. */
export async function leave(served: Served, ...probes: Probe[]): Promise<void> {
  const { counters } = served.server.services;
  const open = probes.filter(({ closed }) => closed === undefined);
  const expected = counters.connectionsClosed + open.length;
  for (const probe of open) probe.socket.terminate();
  await eventually(() => counters.connectionsClosed >= expected, "the connections to be closed");
  await eventually(() => served.server.services.backlog.size === 0, "the backlog to be empty");
}
