import { Emitter } from "../client/emitter.ts";
import { EventQueue, type QueueLimits } from "../client/event-queue.ts";
import { type BarRow, connect, type DroppedEvent, type Tickwire, type TradeEvent } from "../client/index.ts";
import type { Timeframe } from "../market/timeframe.ts";
import type { TimerHandle } from "../std/timers.ts";
import { BarColumns, type FillGaps } from "./bar-columns.ts";
import { BotError, messageOf } from "./errors.ts";
import { GatewayWatch } from "./gateway-watch.ts";
import type { SourceHealth } from "./market-source.ts";
import type { MarketBar, MarketStreamEvents, StreamReconnect } from "./market-stream-events.ts";
import { metricsText, type StreamMetrics } from "./market-stream-metrics.ts";
import {
  type MarketSelection,
  type MarketStreamOptions,
  type MarketStreamSettings,
  readSelection,
  readStreamOptions,
} from "./market-stream-options.ts";
import { MarketVenues } from "./market-venues.ts";
import { Rate } from "./rate.ts";
import { SeriesSet } from "./series-set.ts";
import type { TradeColumns } from "./trade-buffer.ts";

/** Which of several, and how much of it. */
export interface TableOptions {
  /** Needed where several venues have the symbol. */
  exchange?: string;
  /** The newest so many; 100. */
  limit?: number;
}

const DEFAULT_LIMIT = 100;

/**
 * Markets for a program: their trades and bars as events and as tables, and how well they come. Made by
 * `createMarketStream`; nothing happens before `start`.
 */
export class MarketStream {
  /** Resolves when the stream is over: it was stopped, its journal is at its end, or its server was given up. */
  readonly ended: Promise<void>;
  readonly #settings: MarketStreamSettings;
  readonly #options: MarketStreamOptions;
  readonly #emitter = new Emitter<MarketStreamEvents>((error, event) => this.#threw(error, event));
  readonly #queues = new Set<{ end(): void }>();
  readonly #tradeRate = new Rate();
  readonly #barRate = new Rate();
  readonly #gateway: GatewayWatch;
  readonly #venues: MarketVenues;
  readonly #series: SeriesSet;
  /** Aborted when the stream is over. */
  readonly #over = new AbortController();
  readonly #selections: MarketSelection[];
  #client: Tickwire | undefined;
  #started: Promise<this> | undefined;
  #startedAt = 0;
  /** What is under way: a subscription can be changed once the last change of it was answered. */
  #work: Promise<unknown> = Promise.resolve();
  #timer: TimerHandle;

  constructor(options: MarketStreamOptions) {
    this.#options = options;
    this.#settings = readStreamOptions(options);
    this.#selections = [...(options.subscriptions ?? [])];
    for (const selection of this.#selections) readSelection(selection, this.#settings.timeframes);
    this.ended = new Promise((resolve) => this.#over.signal.addEventListener("abort", () => resolve()));
    options.signal?.addEventListener("abort", () => void this.stop(), { once: true, signal: this.#over.signal });
    this.#gateway = new GatewayWatch(this.#settings.clock, {
      lost: () => this.#tellHealth(),
      back: (reconnect) => this.#isBack(reconnect),
      over: () => this.#finish(),
    });
    this.#venues = new MarketVenues(this.#settings, {
      trade: (trade, now) => this.#trade(trade, now),
      gap: (gap) => this.tell("gap", gap),
      unavailable: (unavailable) => this.tell("unavailable", unavailable),
      down: () => this.#tellHealth(),
      back: ({ name }, back) => this.#isBack({ source: name, attempts: undefined, ...back }),
    });
    this.#series = new SeriesSet(this.#settings, {
      bar: (bar) => this.#bar(bar),
      correction: (bar) => this.tell("correction", bar),
      backfill: (backfill) => this.tell("backfill", backfill),
    });
    if (options.signal?.aborted) void this.stop();
  }

  /**
   * Connects and subscribes; resolves when the trades come and the bars are warm. Called again it is the same start. A
   * selection of which there is nothing is told by `error`; it rejects only when that is so of all.
   */
  start(): Promise<this> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<this> {
    const { signal } = this.#over;
    if (signal.aborted) throw new BotError("closed", "the stream was stopped");
    this.#startedAt = this.#settings.clock.now();
    const client = await this.#connect();
    this.#client = client;
    if (signal.aborted) {
      await this.#leave();
      throw new BotError("closed", "the stream was stopped");
    }
    this.#gateway.follow(client, signal);
    client.on("error", (error) => this.tell("error", error), { signal });
    client.on("gap", (gap) => this.#gap(gap), { signal });
    this.#watch();
    const results = await Promise.allSettled(this.#selections.map((selection) => this.#subscribe(selection)));
    const reasons = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    if (reasons.length > 0 && reasons.length === results.length) {
      await this.stop();
      throw reasons[0];
    }
    for (const reason of reasons) this.tell("error", reason);
    return this;
  }

  async #connect(): Promise<Tickwire> {
    const { client, url } = this.#options;
    if (client !== undefined) return client;
    this.#gateway.begin();
    try {
      const options = { ...this.#options, signal: this.#over.signal };
      return await (url === undefined ? connect(options) : connect(url, options));
    } catch (error) {
      this.#gateway.fail(error);
      throw error;
    }
  }

  /** Ends the stream: nothing more is told, iterations end, what is kept can still be read. */
  async stop(): Promise<void> {
    this.#gateway.end("stopped");
    await this.#work;
    await this.#leave();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #finish(): void {
    this.#settings.timers.clearTimeout(this.#timer);
    this.#tellHealth();
    this.#over.abort();
    for (const queue of this.#queues) queue.end();
  }

  /** A client that was given is not this stream's to close. */
  async #leave(): Promise<void> {
    if (this.#client !== this.#options.client) return this.#client?.close();
    await this.#series.closeAll();
    await this.#venues.closeAll();
  }

  /**
   * Adds instruments, at any time. Resolves when their trades come and their bars are warm, before the start at once; what
   * of it there is not is told by `unavailable`. Rejects when there is nothing of it, with the server's code or
   * `not_available`, and with `bad_config`.
   */
  async subscribe(selection: MarketSelection): Promise<void> {
    readSelection(selection, this.#settings.timeframes);
    if (this.#started === undefined) this.#selections.push(selection);
    else await this.#started.then(() => this.#subscribe(selection));
  }

  #subscribe(selection: MarketSelection): Promise<void> {
    const { exchange, symbols, timeframes } = readSelection(selection, this.#settings.timeframes);
    if (symbols.length === 0) return Promise.resolve();
    return this.#inTurn(async (client) => {
      const there = await this.#venues.add(client, exchange, symbols);
      await this.#series.open(client, exchange, there, timeframes);
    });
  }

  /** Drops instruments, and what is kept of them. */
  async unsubscribe(selection: Pick<MarketSelection, "exchange" | "symbols">): Promise<void> {
    const { exchange, symbols } = readSelection(selection, this.#settings.timeframes);
    if (this.#started === undefined) return this.#unselect(exchange, symbols);
    await this.#started;
    await this.#inTurn(async (client) => {
      for (const symbol of symbols) await this.#series.close(exchange, symbol);
      await this.#venues.drop(client, exchange, symbols);
    });
  }

  /** Takes instruments out of what the start is to subscribe. */
  #unselect(exchange: string, symbols: readonly string[]): void {
    for (const [index, selection] of this.#selections.entries()) {
      const read = readSelection(selection, this.#settings.timeframes);
      if (read.exchange !== exchange) continue;
      this.#selections[index] = { ...read, symbols: read.symbols.filter((symbol) => !symbols.includes(symbol)) };
    }
  }

  #inTurn(work: (client: Tickwire) => Promise<unknown>): Promise<void> {
    const done = this.#work.then(async () => {
      if (this.#client === undefined || this.#over.signal.aborted)
        throw new BotError("closed", "the stream is not running");
      await this.#unlessOver(work(this.#client));
    });
    this.#work = done.catch(() => {});
    return done;
  }

  /** A client that was given may be without a server for long: a stop does not wait for what it was asked. */
  async #unlessOver(work: Promise<unknown>): Promise<void> {
    const { signal } = this.#over;
    let stopped!: () => void;
    const over = new Promise<void>((_, reject) => {
      stopped = () => reject(new BotError("closed", "the stream was stopped"));
    });
    signal.addEventListener("abort", stopped, { once: true });
    try {
      await Promise.race([work, over]);
    } finally {
      signal.removeEventListener("abort", stopped);
    }
  }

  /** Tells how the sources are, again and again. */
  #watch(): void {
    const { timers, healthIntervalMs } = this.#settings;
    this.#timer = timers.setTimeout(() => {
      this.#watch();
      this.#tellHealth();
    }, healthIntervalMs);
  }

  #tellHealth(): void {
    if (this.#emitter.has("health")) this.tell("health", this.health());
  }

  #isBack(reconnect: StreamReconnect): void {
    const now = this.#settings.clock.now();
    if (reconnect.source === "gateway") for (const source of this.#venues.sources) source.returned(now);
    this.tell("reconnect", reconnect);
    this.#tellHealth();
  }

  /** Hot path, but for what is made for listeners. */
  #trade(trade: TradeEvent, now: number): void {
    this.#tradeRate.count(now);
    if (this.#emitter.has("trade")) this.tell("trade", trade.toObject());
  }

  #bar(bar: MarketBar): void {
    this.#barRate.count(this.#settings.clock.now());
    this.tell("bar", bar);
  }

  #gap(gap: MarketStreamEvents["gap"]): void {
    const source = this.#venues.source(gap.exchange);
    if (source === undefined) return;
    source.errors += 1;
    this.tell("gap", gap);
  }

  /** Tells the listeners: what else is part of a stream, as a signal engine is, tells by it, too. */
  tell<Name extends keyof MarketStreamEvents>(name: Name, event: MarketStreamEvents[Name]): void {
    if (!this.#over.signal.aborted) this.#emitter.emit(name, event);
  }

  #threw(cause: unknown, event: string): void {
    const error = new BotError("listener_failed", `a listener of "${event}" threw: ${messageOf(cause)}`, { cause });
    // One that throws when it is told of an error is not told of its own.
    if (event !== "error") this.tell("error", error);
  }

  on<Name extends keyof MarketStreamEvents>(
    name: Name,
    listener: (event: MarketStreamEvents[Name]) => void,
    options?: { signal?: AbortSignal },
  ): () => void {
    return this.#emitter.on(name, listener, options);
  }

  once<Name extends keyof MarketStreamEvents>(name: Name, listener: (event: MarketStreamEvents[Name]) => void) {
    return this.#emitter.once(name, listener);
  }

  off<Name extends keyof MarketStreamEvents>(name: Name, listener: (event: MarketStreamEvents[Name]) => void): void {
    this.#emitter.off(name, listener);
  }

  /** Iterates over events of one kind, from now on; its queue is bounded, and says what it had to drop. */
  each<Name extends keyof MarketStreamEvents>(
    name: Name,
    limits: QueueLimits = {},
  ): AsyncIterableIterator<MarketStreamEvents[Name] | DroppedEvent> {
    const queue: EventQueue<MarketStreamEvents[Name]> = new EventQueue(this.#settings.clock, limits, () => {
      off();
      this.#queues.delete(queue);
    });
    const off = this.on(name, (event) => queue.push(event, undefined));
    this.#queues.add(queue);
    if (this.#over.signal.aborted) queue.end();
    return queue;
  }

  /** The newest closed bars of a market; throws `not_subscribed`. */
  bars(symbol: string, timeframe?: Timeframe, options: TableOptions & { fill?: FillGaps } = {}): BarColumns {
    const { exchange, limit = DEFAULT_LIMIT, fill = "none" } = options;
    const { defaultTimeframe } = this.#settings;
    return new BarColumns(
      this.#series.find(symbol, timeframe, exchange),
      timeframe ?? defaultTimeframe,
      limitOf(limit),
      fill,
    );
  }

  /** The building bar of a market; undefined before its first trade. Throws `not_subscribed`. */
  currentBar(symbol: string, timeframe?: Timeframe, { exchange }: TableOptions = {}): BarRow | undefined {
    return this.#series.find(symbol, timeframe, exchange).current;
  }

  /** The newest trades of a market; throws `not_subscribed`. */
  trades(symbol: string, { exchange, limit = DEFAULT_LIMIT }: TableOptions = {}): TradeColumns {
    return this.#venues.trades(symbol, exchange).columns(limitOf(limit));
  }

  /** Volume-weighted price of the newest trades; NaN when there are none. Throws `not_subscribed`. */
  vwap(symbol: string, { exchange, limit = DEFAULT_LIMIT }: TableOptions = {}): number {
    return this.#venues.trades(symbol, exchange).vwap(limitOf(limit));
  }

  /** (bought - sold) / (bought + sold) of the newest trades; NaN when no side is known. Throws `not_subscribed`. */
  imbalance(symbol: string, { exchange, limit = DEFAULT_LIMIT }: TableOptions = {}): number {
    return this.#venues.trades(symbol, exchange).imbalance(limitOf(limit));
  }

  /** How each venue is. */
  health(): Readonly<Record<string, SourceHealth>> {
    const now = this.#settings.clock.now();
    const offsetMs = this.#client?.lag.offsetMs || 0;
    return Object.fromEntries(
      this.#venues.sources.map((source) => [source.name, source.health(this.#gateway.state, now, offsetMs)]),
    );
  }

  metrics(): StreamMetrics {
    const now = this.#settings.clock.now();
    const active = Object.values(this.health()).filter(({ status }) => status === "connected");
    return {
      uptimeSeconds: this.#startedAt === 0 ? 0 : (now - this.#startedAt) / 1e6,
      tradesProcessed: this.#tradeRate.total,
      barsProduced: this.#barRate.total,
      tradesPerSecond: this.#tradeRate.perSecond(now),
      barsPerSecond: this.#barRate.perSecond(now),
      symbolsStreaming: this.#venues.symbolCount,
      sourcesActive: active.length,
      tradesOverwritten: this.#venues.overwritten,
    };
  }

  /** The same as Prometheus text. */
  metricsText(): Promise<string> {
    return metricsText(this.metrics(), Object.values(this.health()));
  }

  /** Closed bars that are kept of a market in a timeframe. */
  get historySize(): number {
    return this.#settings.historySize;
  }

  /** The client, for whatever else it has: books, quotes, funding, liquidations. Undefined before the start. */
  get client(): Tickwire | undefined {
    return this.#client;
  }
}

function limitOf(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1) return limit;
  throw new BotError("bad_config", `limit: a whole number from 1 on, not ${String(limit)}`);
}

/** Makes a stream of markets; throws `bad_config`. */
export function createMarketStream(options: MarketStreamOptions = {}): MarketStream {
  return new MarketStream(options);
}

/** What `createCryptoStream` subscribes when nothing is said. */
export const DEFAULT_CRYPTO_SYMBOLS: readonly string[] = ["BTC/USDT", "XRP/USDT"];

/** A stream of Binance, from an engine of its own unless a server is named; an empty list is none. */
export function createCryptoStream(
  symbols: readonly string[] = DEFAULT_CRYPTO_SYMBOLS,
  options: MarketStreamOptions = {},
): MarketStream {
  const { url, client, journal, embedded } = options;
  const isSaid = [url, client, journal, embedded].some((each) => each !== undefined);
  const own = isSaid ? {} : { embedded: { feeds: "binance" } };
  const selection = { exchange: "binance", symbols };
  return createMarketStream({ ...own, ...options, subscriptions: [...(options.subscriptions ?? []), selection] });
}
