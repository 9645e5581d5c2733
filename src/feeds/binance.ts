import type { Channel } from "../market/channel.ts";
import { channelOfSlot, instrumentOf, slotIn, slotOf, streamOf } from "../market/channel.ts";
import type { FeedControl, VenueRules } from "../market/sink.ts";
import { TS_EXCHANGE } from "../market/sink.ts";
import { BinanceBooks } from "./binance-books.ts";
import { EXCHANGE_INFO_PATH, EXCHANGE_INFO_WEIGHT, exchangeInfoOf } from "./binance-instruments.ts";
import { fetchKlines } from "./binance-klines.ts";
import { BinanceParser } from "./binance-parse.ts";
import type { Feed, FeedOptions, FeedStatus } from "./feed.ts";
import { FeedCounters } from "./feed.ts";
import type { Fields } from "./fields.ts";
import { fieldsOf } from "./fields.ts";
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

const WS_URL = "wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND";
const REST_URL = "https://api.binance.com";

const RULES: VenueRules = Object.freeze({
  integrity: "range",
  contiguousTradeIds: true,
  ownQuotes: true,
  quotesShareBookSequence: true,
});

const LIMITS: SessionLimits = Object.freeze({
  // 5 messages a second come in at most, our pongs included; a bucket with a burst of 5 would send 9 in a second.
  pacingMs: 300,
  // The venue stops listening at a message of more than 4,096 bytes; the longest stream name takes about 36.
  streamsPerMessage: 100,
  streamsPerConnection: 1024,
  openTimeoutMs: 10_000,
  // A ping comes every 20 s.
  livenessMs: 30_000,
  startTimeoutMs: 30_000,
  renewUnstarted: false,
  acknowledged: true,
  // The venue closes at 24 h.
  rotateAfterMs: 23 * 60 * 60 * 1000,
  overlapMs: 2_000,
});

/** 6,000 of weight a minute and address; a fifth is left to others. */
const WEIGHT_BURST = 1_200;
const WEIGHT_PER_MINUTE = 3_600;

const STREAM_NAMES: Readonly<Partial<Record<Channel, string>>> = {
  trades: "@trade",
  orderbook: "@depth@100ms",
  quotes: "@bookTicker",
  ticker: "@ticker",
};

/** Binance spot: JSON combined streams, books bracketed by REST snapshots. */
export class BinanceFeed implements Feed {
  readonly name = "binance";
  readonly rules = RULES;
  readonly counters = new FeedCounters();
  readonly control: FeedControl;
  readonly #options: FeedOptions;
  readonly #symbols = new SymbolTable();
  readonly #started = new StartedStreams();
  readonly #rest: RestClient;
  readonly #pool: SessionPool;
  readonly #books: BinanceBooks;
  readonly #listing: ListingLoop;
  readonly #historyUnderWay = new Set<string>();
  readonly #malformed: LimitedLog;
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
      protocol: this.#protocol(streamUrl(options.wsUrl ?? WS_URL)),
      connect: options.connect ?? openSocket,
      clock,
      timers,
      random,
      log,
      counters: this.counters,
      onState: (state, reason) => sink.connection(venue, state, reason),
    });
    this.#books = new BinanceBooks({
      sink,
      venue,
      rest: this.#rest,
      clock,
      timers,
      symbol: (instrument) => this.#symbols.name(instrument),
      isSent: (instrument) => this.#pool.isSent(streamOf(instrument, slotOf("orderbook"))),
      hasStarted: (instrument) => this.#started.has(streamOf(instrument, slotOf("orderbook"))),
    });
    this.#listing = new ListingLoop({ venue: this.name, load: () => this.#loadInstruments(), timers, random, log });
    this.control = {
      subscribe: (instrument, channel) => this.#subscribe(instrument, channel),
      unsubscribe: (instrument, channel) => this.#unsubscribe(instrument, channel),
      resyncBook: (instrument) => this.#books.request(instrument),
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
    this.#books.stop();
    this.#pool.close();
    await this.#rest.close();
  }

  #protocol(url: string): SessionProtocol {
    const parser = new BinanceParser({
      sink: this.#options.sink,
      venue: this.#options.venue,
      symbols: this.#symbols,
      started: this.#started,
      counters: this.counters,
      microseconds: /[?&]timeUnit=microsecond/i.test(url),
      onControl: (message) => this.#onControl(message),
      onMalformed: (text) => this.#malformed.warn(this.name, text),
    });
    return {
      url,
      limits: LIMITS,
      subscribeMessage: (streams, id) => this.#message("SUBSCRIBE", streams, id),
      unsubscribeMessage: (streams, id) => this.#message("UNSUBSCRIBE", streams, id),
      receive: (bytes) => parser.parse(bytes),
      hasStarted: (stream) => this.#started.has(stream),
      clearStarted: (stream) => this.#started.clear(stream),
    };
  }

  #message(method: string, streams: readonly number[], id: number): string {
    return JSON.stringify({ method, params: streams.map((stream) => this.#streamName(stream)), id });
  }

  /** Stream names are in lower case, symbols in payloads in upper case. */
  #streamName(stream: number): string {
    const symbol = this.#symbols.name(instrumentOf(stream)) ?? "";
    return symbol.toLowerCase() + STREAM_NAMES[channelOfSlot(slotIn(stream)) as Channel];
  }

  #onControl(message: Fields): void {
    if (message.e === "serverShutdown") {
      this.#pool.rotate("the venue announced a shutdown");
      return;
    }
    const error = fieldsOf(message.error) ?? ("code" in message ? message : undefined);
    if (typeof message.id === "number") this.#pool.acknowledge(message.id);
    if (error !== undefined) {
      this.counters.refusals += 1;
      this.#options.log.warn({ venue: this.name, code: error.code, reason: error.msg }, "refused by the venue");
    } else if (!("result" in message)) {
      this.counters.ignored += 1;
    }
  }

  #subscribe(instrument: number, channel: Channel): void {
    if (STREAM_NAMES[channel] === undefined || this.#symbols.name(instrument) === undefined) return;
    if (this.#pool.add(streamOf(instrument, slotOf(channel)))) return;
    this.#options.log.error({ venue: this.name, instrument, channel }, "the venue can take no more streams");
  }

  #unsubscribe(instrument: number, channel: Channel): void {
    if (STREAM_NAMES[channel] === undefined) return;
    if (channel === "orderbook") this.#books.cancel(instrument);
    this.#pool.remove(streamOf(instrument, slotOf(channel)));
  }

  async #loadInstruments(): Promise<void> {
    const { sink, venue } = this.#options;
    const { serverTime, listings } = exchangeInfoOf(await this.#rest.get(EXCHANGE_INFO_PATH, EXCHANGE_INFO_WEIGHT));
    if (this.#stopped) return;
    const ids = sink.instruments(venue, listings);
    for (let index = 0; index < listings.length; index += 1) {
      this.#symbols.add(listings[index]!.venueSymbol, ids[index]!);
    }
    if (serverTime === 0) return;
    sink.slot.numbers[TS_EXCHANGE] = serverTime * 1000;
    sink.begin(venue);
    sink.heartbeat(venue);
  }

  async #fetchHistory(instrument: number, timeframe: number, bars: number): Promise<void> {
    const symbol = this.#symbols.name(instrument);
    const key = `${instrument} ${timeframe}`;
    if (symbol === undefined || bars <= 0 || this.#historyUnderWay.has(key)) return;
    this.#historyUnderWay.add(key);
    try {
      const rows = await fetchKlines(this.#rest, symbol, timeframe, bars);
      if (!this.#stopped) this.#options.sink.history(instrument, timeframe, packRows(rows, bars));
    } catch (error) {
      if (this.#stopped) return;
      this.#options.log.warn({ venue: this.name, symbol, reason: (error as Error).message }, "history not fetched");
    } finally {
      this.#historyUnderWay.delete(key);
    }
  }
}

/** An endpoint given without a path means the combined streams, the only form that names its streams. */
function streamUrl(given: string): string {
  const url = new URL(given);
  if (url.pathname === "/") url.pathname = "/stream";
  return url.href;
}
