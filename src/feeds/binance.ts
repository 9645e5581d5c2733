import {
  instrumentOf,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_TICKER,
  SLOT_TRADES,
  slotIn,
  streamOf,
} from "../market/channel.ts";
import { BinanceBooks } from "./binance-books.ts";
import { fetchExchangeInfo } from "./binance-instruments.ts";
import { fetchKlines } from "./binance-klines.ts";
import { BinanceParser } from "./binance-parse.ts";
import type { FeedOptions } from "./feed.ts";
import type { Fields } from "./fields.ts";
import { fieldsOf } from "./fields.ts";
import type { HistoryRow } from "./history.ts";
import type { SessionLimits } from "./session-protocol.ts";
import type { VenueFacts, VenueListings } from "./venue-feed.ts";
import { VenueFeed } from "./venue-feed.ts";
import { BINANCE_RULES } from "./venue-rules.ts";

const WS_URL = "wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND";

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

const STREAM_NAMES: Readonly<Record<number, string>> = {
  [SLOT_TRADES]: "@trade",
  [SLOT_ORDERBOOK]: "@depth@100ms",
  [SLOT_QUOTES]: "@bookTicker",
  [SLOT_TICKER]: "@ticker",
};

const FACTS: VenueFacts = {
  name: "binance",
  rules: BINANCE_RULES,
  limits: LIMITS,
  restUrl: "https://api.binance.com",
  // 6,000 of weight a minute and address; a fifth is left to others.
  restBurst: 1_200,
  restPerMinute: 3_600,
  streamNames: STREAM_NAMES,
};

/** Binance spot: JSON combined streams, books bracketed by REST snapshots. */
export class BinanceFeed extends VenueFeed {
  readonly #parser: BinanceParser;
  readonly #books: BinanceBooks;

  constructor(options: FeedOptions) {
    super(FACTS, options, streamUrl(options.wsUrl ?? WS_URL));
    const { sink, venue, clock, timers } = options;
    const microseconds = /[?&]timeUnit=microsecond/i.test(this.url);
    this.#parser = new BinanceParser({ ...this.parserOptions, microseconds });
    this.#books = new BinanceBooks({
      sink,
      venue,
      rest: this.rest,
      clock,
      timers,
      symbol: (instrument) => this.symbols.name(instrument),
      isSent: (instrument) => this.pool.isSent(streamOf(instrument, SLOT_ORDERBOOK)),
      hasStarted: (instrument) => this.hasStarted(streamOf(instrument, SLOT_ORDERBOOK)),
    });
  }

  override stop(): Promise<void> {
    this.#books.stop();
    return super.stop();
  }

  override receive(bytes: Buffer): void {
    this.#parser.parse(bytes);
  }

  override subscribeMessage(streams: readonly number[], id: number): string {
    return this.#message("SUBSCRIBE", streams, id);
  }

  override unsubscribeMessage(streams: readonly number[], id: number): string {
    return this.#message("UNSUBSCRIBE", streams, id);
  }

  #message(method: string, streams: readonly number[], id: number): string {
    return JSON.stringify({ method, params: streams.map((stream) => this.#streamName(stream)), id });
  }

  /** Stream names are in lower case, symbols in payloads in upper case. */
  #streamName(stream: number): string {
    const symbol = this.symbols.name(instrumentOf(stream)) ?? "";
    return symbol.toLowerCase() + STREAM_NAMES[slotIn(stream)];
  }

  protected override onControl(message: Fields): void {
    if (message.e === "serverShutdown") {
      this.pool.rotate("the venue announced a shutdown");
      return;
    }
    const error = fieldsOf(message.error) ?? ("code" in message ? message : undefined);
    if (typeof message.id === "number") this.pool.acknowledge(message.id);
    if (error !== undefined) {
      this.counters.refusals += 1;
      this.options.log.warn({ venue: this.name, code: error.code, reason: error.msg }, "refused by the venue");
    } else if (!("result" in message)) {
      this.counters.ignored += 1;
    }
  }

  protected override removeStream(instrument: number, slot: number): void {
    if (slot === SLOT_ORDERBOOK) this.#books.cancel(instrument);
    super.removeStream(instrument, slot);
  }

  protected override resyncBook(instrument: number): void {
    this.#books.request(instrument);
  }

  protected override async fetchListings(): Promise<VenueListings> {
    const { serverTime, listings } = await fetchExchangeInfo(this.rest);
    return { listings, serverTime: serverTime * 1000 };
  }

  protected override fetchHistory(symbol: string, timeframe: number, bars: number): Promise<HistoryRow[]> {
    return fetchKlines(this.rest, symbol, timeframe, bars);
  }
}

/** An endpoint given without a path means the combined streams, the only form that names its streams. */
function streamUrl(given: string): string {
  const url = new URL(given);
  if (url.pathname === "/") url.pathname = "/stream";
  return url.href;
}
