import { type Bar, UNITS } from "./bars.ts";
import { coinbaseTime, type Increments, type MatchPayload } from "./coinbase-frames.ts";
import type { Double } from "./double.ts";
import type { Answer } from "./endpoint.ts";
import type { Frame } from "./tape.ts";

const GRANULARITIES = [60, 300, 900, 3600, 21_600, 86_400];
const MOST_CANDLES = 300;
const MOST_TRADES = 1000;
/** Matches kept per product for /trades; older ones are forgotten. */
const KEPT_MATCHES = 5000;

const LISTED: [id: string, quoteIncrement: string, baseIncrement: string, status?: string][] = [
  ["BTC-USD", "0.01", "0.00000001"],
  ["ETH-USD", "0.01", "0.00000001"],
  ["ETH-BTC", "0.00001", "0.00000001"],
  ["BTC-EUR", "0.01", "0.00000001"],
  ["USDT-USD", "0.00001", "0.01"],
  ["REP-USD", "0.01", "0.000001", "delisted"],
];

class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Products, trades and candles as the Exchange's REST gives them, from what the tape has played so far. */
export class CoinbaseRest {
  readonly increments: Map<string, Increments>;
  readonly #statuses = new Map<string, string>();
  readonly #matches = new Map<string, Frame[]>();

  constructor(
    readonly double: Double,
    onTape: Map<string, Increments>,
  ) {
    this.increments = new Map(onTape);
    for (const [id, quote, base, status] of LISTED) {
      if (!this.increments.has(id)) this.increments.set(id, { quote, base });
      if (status !== undefined) this.#statuses.set(id, status);
    }
  }

  get products(): ReadonlyMap<string, Increments> {
    return this.increments;
  }

  played(frame: Frame): void {
    let matches = this.#matches.get(frame.symbol);
    if (matches === undefined) {
      matches = [];
      this.#matches.set(frame.symbol, matches);
    }
    matches.push(frame);
    if (matches.length >= KEPT_MATCHES * 2) matches.splice(0, KEPT_MATCHES);
  }

  /** The newest match of a product, if one was played. */
  lastMatch(product: string): MatchPayload | undefined {
    const frame = this.#matches.get(product)?.at(-1);
    return frame && (JSON.parse(frame.data.toString()) as MatchPayload);
  }

  async answer(url: URL): Promise<Answer> {
    try {
      return this.#route(url);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { status: error.status, body: { message: error.message } };
    }
  }

  #route(url: URL): Answer {
    if (url.pathname === "/time") return ok({ iso: coinbaseTime(this.#nowMs), epoch: this.#nowMs / 1000 });
    if (url.pathname === "/products") return ok([...this.products.keys()].map((id) => this.#product(id)));
    const [, product, part] = /^\/products\/([^/]+)(?:\/(\w+))?$/.exec(url.pathname) ?? [];
    if (product === undefined || !this.products.has(product)) throw new Refusal(404, "NotFound");
    switch (part) {
      case undefined:
        return ok(this.#product(product));
      case "ticker":
        return ok(this.#ticker(product));
      case "trades":
        return this.#trades(product, url.searchParams);
      case "candles":
        return ok(this.#candles(product, url.searchParams));
      default:
        throw new Refusal(404, "NotFound");
    }
  }

  get #nowMs(): number {
    return this.double.player.timeMs;
  }

  #product(id: string): object {
    const [base_currency, quote_currency] = id.split("-");
    const { quote, base } = this.products.get(id)!;
    const status = this.#statuses.get(id) ?? "online";
    return {
      id,
      base_currency,
      quote_currency,
      quote_increment: quote,
      base_increment: base,
      display_name: id,
      min_market_funds: "1",
      margin_enabled: false,
      post_only: false,
      limit_only: false,
      cancel_only: false,
      status,
      status_message: "",
      trading_disabled: status !== "online",
      fx_stablecoin: false,
      max_slippage_percentage: "0.03000000",
      auction_mode: false,
      high_bid_limit_percentage: "",
    };
  }

  #ticker(product: string): object {
    const book = this.double.book(product);
    const last = this.lastMatch(product);
    const second = Math.floor(this.#nowMs / 1000);
    const day = this.double.series(product).bar(second - 86_400, second + 1, second);
    return {
      ask: book.asks(1)[0]?.[0] ?? "0",
      bid: book.bids(1)[0]?.[0] ?? "0",
      volume: ((day?.volume ?? 0) / UNITS).toFixed(8),
      trade_id: last?.trade_id ?? 0,
      price: last?.price ?? "0",
      size: last?.size ?? "0",
      time: last?.time ?? coinbaseTime(this.#nowMs),
    };
  }

  /** Newest first; `before` asks for trades newer than an id and `after` for older ones, as the venue's cursors do. */
  #trades(product: string, query: URLSearchParams): Answer {
    const limit = Math.min(wholeNumber(query, "limit", MOST_TRADES), MOST_TRADES);
    const newerThan = wholeNumber(query, "before", 0);
    const olderThan = wholeNumber(query, "after", Number.POSITIVE_INFINITY);
    const trades = (this.#matches.get(product) ?? [])
      .map((frame) => JSON.parse(frame.data.toString()) as MatchPayload)
      .filter(({ trade_id }) => trade_id > newerThan && trade_id < olderThan)
      .map(({ trade_id, side, size, price, time }) => ({ trade_id, side, size, price, time }))
      .reverse()
      .slice(0, limit);
    if (trades.length === 0) return ok(trades);
    const headers = { "cb-before": String(trades[0]!.trade_id), "cb-after": String(trades.at(-1)!.trade_id) };
    return { ...ok(trades), headers };
  }

  #candles(product: string, query: URLSearchParams): number[][] {
    const granularity = wholeNumber(query, "granularity", 60);
    if (!GRANULARITIES.includes(granularity)) throw new Refusal(400, "Unsupported granularity");
    const now = Math.floor(this.#nowMs / 1000);
    const end = Math.min(seconds(query, "end") ?? now, now);
    const lastOpen = Math.floor(end / granularity) * granularity;
    const start = seconds(query, "start") ?? lastOpen - (MOST_CANDLES - 1) * granularity;
    if ((end - start) / granularity > MOST_CANDLES) {
      const excess = `Count of aggregations requested exceeds ${MOST_CANDLES}`;
      throw new Refusal(400, `granularity too small for the requested time range. ${excess}`);
    }
    const series = this.double.series(product);
    const candles: number[][] = [];
    for (let open = lastOpen; open >= start && candles.length < MOST_CANDLES; open -= granularity) {
      const bar = series.bar(open, open + granularity, now);
      // The venue publishes no candle for an interval in which nothing traded.
      if (bar !== undefined && bar.trades > 0) candles.push(candle(bar));
    }
    return candles;
  }
}

function candle(bar: Bar): number[] {
  const { openSecond, low, high, open, close, volume } = bar;
  return [openSecond, low / UNITS, high / UNITS, open / UNITS, close / UNITS, volume / UNITS];
}

function ok(body: unknown): Answer {
  return { status: 200, body };
}

function wholeNumber(query: URLSearchParams, name: string, otherwise: number): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  if (!/^\d{1,15}$/.test(text)) throw new Refusal(400, `Invalid ${name}`);
  return Number(text);
}

/** Candles take a time as ISO 8601 or as seconds since 1970. */
function seconds(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  if (Number.isNaN(value)) throw new Refusal(400, `Invalid ${name}`);
  return Math.floor(value);
}
