import type { GapEvent, StateEvent, Subscription, Tickwire, TradeEvent, Unavailable } from "../client/index.ts";
import { BotError } from "./errors.ts";
import { MarketSource, type Return } from "./market-source.ts";
import type { MarketStreamSettings } from "./market-stream-options.ts";
import { TradeBuffer } from "./trade-buffer.ts";

/** What is subscribed of one venue. */
interface Venue {
  readonly source: MarketSource;
  readonly symbols: Set<string>;
  subscription: Subscription | undefined;
}

/** What happens to venues. */
export interface VenueNews {
  /** Hot path. */
  trade(trade: TradeEvent, now: number): void;
  gap(gap: GapEvent): void;
  unavailable(unavailable: Unavailable): void;
  /** A venue went away. */
  down(): void;
  back(source: MarketSource, back: Return): void;
}

/** The trades of everything that is subscribed: one subscription for each venue. */
export class MarketVenues {
  readonly #settings: MarketStreamSettings;
  readonly #news: VenueNews;
  readonly #venues = new Map<string, Venue>();
  readonly #trades = new Map<string, TradeBuffer>();
  /** What is being asked for is not kept. */
  #isClosed = false;

  constructor(settings: MarketStreamSettings, news: VenueNews) {
    this.#settings = settings;
    this.#news = news;
  }

  get sources(): MarketSource[] {
    return [...this.#venues.values()].map(({ source }) => source);
  }

  source(exchange: string): MarketSource | undefined {
    return this.#venues.get(exchange)?.source;
  }

  get symbolCount(): number {
    let count = 0;
    for (const { symbols } of this.#venues.values()) count += symbols.size;
    return count;
  }

  /** Trades that the buffers did not hold any more. */
  get overwritten(): number {
    let overwritten = 0;
    for (const buffer of this.#trades.values()) overwritten += buffer.overwritten;
    return overwritten;
  }

  /** Subscribes symbols of a venue besides what is; resolves with those that are there, rejects when none is. */
  async add(client: Tickwire, exchange: string, symbols: readonly string[]): Promise<string[]> {
    const venue = this.#venueOf(exchange);
    const added = symbols.filter((symbol) => !venue.symbols.has(symbol));
    for (const symbol of added) venue.symbols.add(symbol);
    try {
      if (added.length > 0) await this.#ask(client, exchange, venue);
    } catch (error) {
      for (const symbol of added) venue.symbols.delete(symbol);
      if (venue.subscription === undefined) this.#venues.delete(exchange);
      throw error;
    }
    const there = symbols.filter((symbol) => venue.symbols.has(symbol));
    if (there.length === 0) throw new BotError("not_available", `${exchange} has none of ${symbols.join(", ")}`);
    return there;
  }

  #venueOf(exchange: string): Venue {
    let venue = this.#venues.get(exchange);
    if (venue === undefined) {
      const { staleAfterMs, clock } = this.#settings;
      const source = new MarketSource(exchange, staleAfterMs, clock.now());
      venue = { source, symbols: new Set(), subscription: undefined };
      this.#venues.set(exchange, venue);
    }
    return venue;
  }

  /** Asks for the trades of all that is wanted of a venue. */
  async #ask(client: Tickwire, exchange: string, venue: Venue): Promise<void> {
    const { source } = venue;
    const symbols = [...venue.symbols];
    if (venue.subscription === undefined) {
      venue.subscription = await client.subscribe({ channels: "trades", exchanges: exchange, symbols });
      if (this.#isClosed) return venue.subscription.close();
      venue.subscription.on("trade", (trade) => this.#trade(trade, source));
      venue.subscription.on("state", (state) => this.#state(state, source));
    } else await venue.subscription.change({ symbols });
    for (const unavailable of venue.subscription.unavailable) {
      if (!venue.symbols.delete(unavailable.symbol)) continue;
      source.errors += 1;
      this.#news.unavailable(unavailable);
    }
  }

  /** Drops symbols of a venue, and the venue with the last of them. */
  async drop(client: Tickwire, exchange: string, symbols: readonly string[]): Promise<void> {
    const venue = this.#venues.get(exchange);
    if (venue === undefined) return;
    const dropped = symbols.filter((symbol) => venue.symbols.delete(symbol));
    if (venue.symbols.size === 0) {
      this.#venues.delete(exchange);
      await venue.subscription?.close();
    } else if (dropped.length > 0) {
      try {
        await this.#ask(client, exchange, venue);
      } catch (error) {
        for (const symbol of dropped) venue.symbols.add(symbol);
        throw error;
      }
    }
    // Now that nothing of them comes any more.
    for (const symbol of dropped) {
      venue.source.forget(symbol);
      this.#trades.delete(keyOf(exchange, symbol));
    }
  }

  async closeAll(): Promise<void> {
    this.#isClosed = true;
    const venues = [...this.#venues.values()];
    for (const { subscription } of venues) await subscription?.close();
  }

  #trade(trade: TradeEvent, source: MarketSource): void {
    const now = this.#settings.clock.now();
    source.saw(now, trade.tsExchange);
    this.#bufferOf(trade).add(trade);
    this.#news.trade(trade, now);
  }

  #bufferOf({ exchange, symbol }: TradeEvent): TradeBuffer {
    const key = keyOf(exchange, symbol);
    let buffer = this.#trades.get(key);
    if (buffer === undefined) {
      buffer = new TradeBuffer(this.#settings.tradeBufferSize);
      this.#trades.set(key, buffer);
    }
    return buffer;
  }

  #state({ instrument, channel, state, reason, upstreamGap }: StateEvent, source: MarketSource): void {
    const { exchange, symbol } = instrument;
    if (upstreamGap !== undefined && !upstreamGap.refilled) {
      const { fromId, toId } = upstreamGap;
      source.errors += 1;
      const of = { instrument, exchange, symbol, channel, timeframe: undefined };
      const gap = { ...of, from: fromId || undefined, to: toId || undefined, reason: "upstream" };
      this.#news.gap({ type: "gap", ...gap });
    }
    const back = source.told(symbol, state, reason, this.#settings.clock.now());
    if (back !== undefined) this.#news.back(source, back);
    else if (state === "down") this.#news.down();
  }

  /** The trades of a market that came last; throws `not_subscribed`, and `bad_config` where several venues have it. */
  trades(symbol: string, exchange: string | undefined): TradeBuffer {
    const name = symbol.toUpperCase();
    const venues = [...this.#venues].filter(
      ([venue, { symbols }]) => symbols.has(name) && (exchange === undefined || venue === exchange.toLowerCase()),
    );
    const names = venues.map(([venue]) => venue);
    if (names.length > 1)
      throw new BotError("bad_config", `several exchanges have ${name}, name one of them: ${names.join(", ")}`);
    const [venue] = names;
    if (venue === undefined) throw new BotError("not_subscribed", `trades of ${name} are not subscribed`);
    return this.#trades.get(keyOf(venue, name)) ?? new TradeBuffer(1);
  }
}

function keyOf(exchange: string, symbol: string): string {
  return `${exchange} ${symbol}`;
}
