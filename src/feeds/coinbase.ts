import type { Channel } from "../market/channel.ts";
import {
  instrumentOf,
  SLOT_ORDERBOOK,
  SLOT_STATE,
  SLOT_TICKER,
  SLOT_TRADES,
  slotIn,
  slotOf,
  streamOf,
} from "../market/channel.ts";
import type { FeedControl, VenueRules } from "../market/sink.ts";
import { TS_EXCHANGE } from "../market/sink.ts";
import { fetchCandles } from "./coinbase-candles.ts";
import { CoinbaseParser } from "./coinbase-parse.ts";
import { productsOf, serverTimeOf } from "./coinbase-products.ts";
import type { Feed, FeedOptions, FeedStatus } from "./feed.ts";
import { FeedCounters } from "./feed.ts";
import type { Fields } from "./fields.ts";
import { packRows } from "./history.ts";
import { LimitedLog } from "./limited-log.ts";
import { ListingLoop } from "./listing-loop.ts";
import { RestClient } from "./rest.ts";
import type { SessionLimits, SessionProtocol } from "./session.ts";
import { SessionPool } from "./session-pool.ts";
import { openSocket } from "./socket.ts";
import { StartedStreams } from "./started-streams.ts";
import { SymbolTable } from "./symbol-table.ts";
import { WeightBudget } from "./weight-budget.ts";

const WS_URL = "wss://ws-feed.exchange.coinbase.com";
const REST_URL = "https://api.exchange.coinbase.com";

const RULES: VenueRules = Object.freeze({
  integrity: "guaranteed",
  contiguousTradeIds: true,
  ownQuotes: false,
  quotesShareBookSequence: false,
});

const LIMITS: SessionLimits = Object.freeze({
  // 8 requests a second and address.
  pacingMs: 150,
  // A message of 100 products may be answered by as many books of some megabytes each.
  streamsPerMessage: 50,
  streamsPerConnection: 2_000,
  openTimeoutMs: 10_000,
  // A heartbeat comes every second for each product.
  livenessMs: 10_000,
  startTimeoutMs: 30_000,
  renewUnstarted: true,
  acknowledged: false,
  // No limit is known; and books of two connections cannot be told apart in order, because nothing counts them.
  rotateAfterMs: 0,
  overlapMs: 0,
});

/** 10 REST requests a second and address, with a burst of 15. */
const WEIGHT_BURST = 10;
const WEIGHT_PER_MINUTE = 480;

/** `level2` needs a login; `level2_batch` is the same every 50 ms. Slot 0, the state, stands for the heartbeat. */
const CHANNEL_NAMES: Readonly<Record<number, string>> = {
  [SLOT_STATE]: "heartbeat",
  [SLOT_TRADES]: "matches",
  [SLOT_ORDERBOOK]: "level2_batch",
  [SLOT_TICKER]: "ticker",
};

/** Coinbase Exchange's public feed: trades, whole books by subscription, heartbeats that name the last trade. */
export class CoinbaseFeed implements Feed {
  readonly name = "coinbase";
  readonly rules = RULES;
  readonly counters = new FeedCounters();
  readonly control: FeedControl;
  readonly #options: FeedOptions;
  readonly #symbols = new SymbolTable();
  readonly #started = new StartedStreams();
  readonly #rest: RestClient;
  readonly #pool: SessionPool;
  readonly #listing: ListingLoop;
  readonly #historyUnderWay = new Set<string>();
  readonly #malformed: LimitedLog;
  /** The venue's clock less ours, microseconds: candles are asked for by the venue's time. */
  #aheadMicros = 0;
  #stopped = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    const { sink, venue, clock, timers, random, log } = options;
    this.#malformed = new LimitedLog(log, clock, "message ignored");
    this.#rest = new RestClient({
      baseUrl: options.restUrl ?? REST_URL,
      clock,
      timers,
      budget: new WeightBudget(WEIGHT_BURST, WEIGHT_PER_MINUTE),
      counters: this.counters,
    });
    this.#pool = new SessionPool({
      name: this.name,
      protocol: this.#protocol(options.wsUrl ?? WS_URL),
      connect: options.connect ?? openSocket,
      clock,
      timers,
      random,
      log,
      counters: this.counters,
      onState: (state, reason) => sink.connection(venue, state, reason),
    });
    this.#listing = new ListingLoop({ venue: this.name, load: () => this.#loadInstruments(), timers, random, log });
    this.control = {
      subscribe: (instrument, channel) => this.#subscribe(instrument, channel),
      unsubscribe: (instrument, channel) => this.#unsubscribe(instrument, channel),
      resyncBook: (instrument) => this.#resyncBook(instrument),
      fetchHistory: (instrument, timeframe, bars) => void this.#fetchHistory(instrument, timeframe, bars),
    };
  }

  get status(): FeedStatus {
    return {
      state: this.#pool.state,
      reason: this.#pool.reason,
      connections: this.#pool.connections,
      streams: this.#pool.streams,
      instruments: this.#symbols.size,
    };
  }

  start(): Promise<void> {
    void this.#listing.run();
    return this.#listing.loaded;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#listing.stop();
    this.#pool.close();
    await this.#rest.close();
  }

  #protocol(url: string): SessionProtocol {
    const parser = new CoinbaseParser({
      sink: this.#options.sink,
      venue: this.#options.venue,
      symbols: this.#symbols,
      started: this.#started,
      counters: this.counters,
      onControl: (message) => this.#onControl(message),
      onMalformed: (text) => this.#malformed.warn(this.name, text),
    });
    return {
      url,
      limits: LIMITS,
      subscribeMessage: (streams) => this.#message("subscribe", streams),
      unsubscribeMessage: (streams) => this.#message("unsubscribe", streams),
      receive: (bytes) => parser.parse(bytes),
      hasStarted: (stream) => this.#started.has(stream),
      clearStarted: (stream) => this.#started.clear(stream),
    };
  }

  /** One message names several channels, each with its products. */
  #message(type: string, streams: readonly number[]): string {
    const channels = new Map<string, string[]>();
    for (const stream of streams) {
      const name = CHANNEL_NAMES[slotIn(stream)] as string;
      const products = channels.get(name) ?? [];
      if (products.length === 0) channels.set(name, products);
      products.push(this.#symbols.name(instrumentOf(stream)) as string);
    }
    return JSON.stringify({ type, channels: [...channels].map(([name, product_ids]) => ({ name, product_ids })) });
  }

  #onControl(message: Fields): void {
    if (message.type !== "error") return;
    this.counters.refusals += 1;
    this.#options.log.warn(
      { venue: this.name, error: message.message, reason: message.reason },
      "refused by the venue",
    );
  }

  /** With its first channel an instrument gets the heartbeat: without it a quiet one looks dead. */
  #subscribe(instrument: number, channel: Channel): void {
    const slot = slotOf(channel);
    if (CHANNEL_NAMES[slot] === undefined || this.#symbols.name(instrument) === undefined) return;
    if (this.#pool.add(streamOf(instrument, SLOT_STATE)) && this.#pool.add(streamOf(instrument, slot))) return;
    this.#options.log.error({ venue: this.name, instrument, channel }, "the venue can take no more streams");
  }

  #unsubscribe(instrument: number, channel: Channel): void {
    const slot = slotOf(channel);
    if (CHANNEL_NAMES[slot] === undefined) return;
    this.#pool.remove(streamOf(instrument, slot));
    const others = [SLOT_TRADES, SLOT_ORDERBOOK, SLOT_TICKER];
    if (others.some((other) => this.#pool.has(streamOf(instrument, other)))) return;
    this.#pool.remove(streamOf(instrument, SLOT_STATE));
  }

  /** The snapshot comes with the subscription; while it has not come there is nothing to start anew. */
  #resyncBook(instrument: number): void {
    const stream = streamOf(instrument, SLOT_ORDERBOOK);
    if (this.#started.has(stream)) this.#pool.renew(stream);
  }

  async #loadInstruments(): Promise<void> {
    const { sink, venue, clock } = this.#options;
    const listings = productsOf(await this.#rest.get("/products"));
    const serverTime = serverTimeOf(await this.#rest.get("/time"));
    if (this.#stopped) return;
    const ids = sink.instruments(venue, listings);
    for (let index = 0; index < listings.length; index += 1) {
      this.#symbols.add(listings[index]!.venueSymbol, ids[index]!);
    }
    if (serverTime === 0) return;
    this.#aheadMicros = serverTime - clock.now();
    sink.slot.numbers[TS_EXCHANGE] = serverTime;
    sink.begin(venue);
    sink.heartbeat(venue);
  }

  async #fetchHistory(instrument: number, timeframe: number, bars: number): Promise<void> {
    const product = this.#symbols.name(instrument);
    const key = `${instrument} ${timeframe}`;
    if (product === undefined || bars <= 0 || this.#historyUnderWay.has(key)) return;
    this.#historyUnderWay.add(key);
    const now = this.#options.clock.now() + this.#aheadMicros;
    try {
      const rows = await fetchCandles(this.#rest, product, timeframe, bars, now);
      if (!this.#stopped && rows.length > 0) this.#options.sink.history(instrument, timeframe, packRows(rows, bars));
    } catch (error) {
      if (this.#stopped) return;
      this.#options.log.warn({ venue: this.name, product, reason: (error as Error).message }, "history not fetched");
    } finally {
      this.#historyUnderWay.delete(key);
    }
  }
}
