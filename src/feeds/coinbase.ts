import {
  instrumentOf,
  SLOT_ORDERBOOK,
  SLOT_STATE,
  SLOT_TICKER,
  SLOT_TRADES,
  slotIn,
  streamOf,
} from "../market/channel.ts";
import { fetchCandles } from "./coinbase-candles.ts";
import { CoinbaseParser } from "./coinbase-parse.ts";
import { productsOf, serverTimeOf } from "./coinbase-products.ts";
import type { FeedOptions } from "./feed.ts";
import type { Fields } from "./fields.ts";
import type { HistoryRow } from "./history.ts";
import type { SessionLimits } from "./session-protocol.ts";
import type { VenueFacts, VenueListings } from "./venue-feed.ts";
import { VenueFeed } from "./venue-feed.ts";
import { COINBASE_RULES } from "./venue-rules.ts";

const WS_URL = "wss://ws-feed.exchange.coinbase.com";

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

/** `level2` needs a login; `level2_batch` is the same every 50 ms. Slot 0, the state, stands for the heartbeat. */
const CHANNEL_NAMES: Readonly<Record<number, string>> = {
  [SLOT_STATE]: "heartbeat",
  [SLOT_TRADES]: "matches",
  [SLOT_ORDERBOOK]: "level2_batch",
  [SLOT_TICKER]: "ticker",
};

const FACTS: VenueFacts = {
  name: "coinbase",
  rules: COINBASE_RULES,
  limits: LIMITS,
  restUrl: "https://api.exchange.coinbase.com",
  // 10 REST requests a second and address, with a burst of 15.
  restBurst: 10,
  restPerMinute: 480,
  streamNames: CHANNEL_NAMES,
};

/** Coinbase Exchange's public feed: trades, whole books by subscription, heartbeats that name the last trade. */
export class CoinbaseFeed extends VenueFeed {
  readonly #parser: CoinbaseParser;

  constructor(options: FeedOptions) {
    super(FACTS, options, options.wsUrl ?? WS_URL);
    this.#parser = new CoinbaseParser(this.parserOptions);
  }

  override receive(bytes: Buffer): void {
    this.#parser.parse(bytes);
  }

  override subscribeMessage(streams: readonly number[]): string {
    return this.#message("subscribe", streams);
  }

  override unsubscribeMessage(streams: readonly number[]): string {
    return this.#message("unsubscribe", streams);
  }

  /** One message names several channels, each with its products. */
  #message(type: string, streams: readonly number[]): string {
    const channels = new Map<string, string[]>();
    for (const stream of streams) {
      const name = CHANNEL_NAMES[slotIn(stream)] as string;
      const products = channels.get(name) ?? [];
      if (products.length === 0) channels.set(name, products);
      products.push(this.symbols.name(instrumentOf(stream)) as string);
    }
    return JSON.stringify({ type, channels: [...channels].map(([name, product_ids]) => ({ name, product_ids })) });
  }

  protected override onControl(message: Fields): void {
    if (message.type !== "error") return;
    this.counters.refusals += 1;
    this.options.log.warn({ venue: this.name, error: message.message, reason: message.reason }, "refused by the venue");
  }

  /** With its first channel an instrument gets the heartbeat: without it a quiet one looks dead. */
  protected override addStream(instrument: number, slot: number): boolean {
    return super.addStream(instrument, SLOT_STATE) && super.addStream(instrument, slot);
  }

  protected override removeStream(instrument: number, slot: number): void {
    super.removeStream(instrument, slot);
    const others = [SLOT_TRADES, SLOT_ORDERBOOK, SLOT_TICKER];
    if (others.some((other) => this.pool.has(streamOf(instrument, other)))) return;
    super.removeStream(instrument, SLOT_STATE);
  }

  /** The snapshot comes with the subscription; while it has not come there is nothing to start anew. */
  protected override resyncBook(instrument: number): void {
    const stream = streamOf(instrument, SLOT_ORDERBOOK);
    if (this.hasStarted(stream)) this.pool.renew(stream);
  }

  protected override async fetchListings(): Promise<VenueListings> {
    const listings = productsOf(await this.rest.get("/products"));
    return { listings, serverTime: serverTimeOf(await this.rest.get("/time")) };
  }

  /** Candles are asked for by the venue's time; widths that it does not have come to none. */
  protected override async fetchHistory(
    product: string,
    timeframe: number,
    bars: number,
  ): Promise<HistoryRow[] | undefined> {
    const rows = await fetchCandles(this.rest, product, timeframe, bars, this.venueTime);
    return rows.length > 0 ? rows : undefined;
  }
}
