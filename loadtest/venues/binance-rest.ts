import { setTimeout as sleep } from "node:timers/promises";
import { type Bar, UNITS } from "./bars.ts";
import { describeInstrument, type Instrument } from "./binance-instruments.ts";
import type { Bootstrap } from "./bootstrap.ts";
import type { Double } from "./double.ts";
import type { Answer } from "./endpoint.ts";
import type { Level } from "./tape.ts";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
const WEEK = 7 * DAY;
const SPANS: Record<string, number> = {
  "1s": 1,
  "1m": MINUTE,
  "3m": 3 * MINUTE,
  "5m": 5 * MINUTE,
  "15m": 15 * MINUTE,
  "30m": 30 * MINUTE,
  "1h": HOUR,
  "2h": 2 * HOUR,
  "4h": 4 * HOUR,
  "6h": 6 * HOUR,
  "8h": 8 * HOUR,
  "12h": 12 * HOUR,
  "1d": DAY,
  "3d": 3 * DAY,
  "1w": WEEK,
};
/** Weeks begin on Mondays; 1970 began on a Thursday. */
const FIRST_MONDAY = 4 * DAY;
const WEIGHT_PER_MINUTE = 6000;

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

export interface BinanceRestOptions {
  /** Longest wait for the tape to reach the recorded snapshot. */
  snapshotWaitMs: number;
  /** True: 429 above 6000 weight a minute, as the venue does. */
  enforceWeight: boolean;
}

/** The venue's REST routes, answered from what the tape has played so far. */
export class BinanceRest {
  #weightMinute = 0;
  #weight = 0;

  constructor(
    readonly double: Double,
    readonly instruments: Map<string, Instrument>,
    readonly bootstrap: Bootstrap,
    readonly options: BinanceRestOptions,
  ) {}

  async answer(url: URL): Promise<Answer> {
    const query = url.searchParams;
    try {
      switch (url.pathname) {
        case "/api/v3/ping":
          return this.#weighed(1, {});
        case "/api/v3/time":
          return this.#weighed(1, { serverTime: this.#nowMs });
        case "/api/v3/exchangeInfo":
          return this.#weighed(20, this.#exchangeInfo(query));
        case "/api/v3/depth":
          return await this.#depth(query);
        case "/api/v3/klines":
          return this.#weighed(2, this.#klines(query));
        default:
          return { status: 404, body: { code: -1000, msg: `No such path ${url.pathname}` } };
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { ...this.#weighed(1, { code: error.code, msg: error.message }), status: error.status };
    }
  }

  get #nowMs(): number {
    return this.double.player.timeMs;
  }

  #weighed(weight: number, body: unknown): Answer {
    const minute = Math.floor(Date.now() / 60_000);
    if (minute !== this.#weightMinute) this.#weight = 0;
    this.#weightMinute = minute;
    this.#weight += weight;
    const headers = { "X-MBX-USED-WEIGHT-1M": String(this.#weight) };
    if (!this.options.enforceWeight || this.#weight <= WEIGHT_PER_MINUTE) return { status: 200, body, headers };
    const wait = String(60 - (Math.floor(Date.now() / 1000) % 60));
    const msg = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE.";
    return { status: 429, body: { code: -1003, msg }, headers: { ...headers, "Retry-After": wait } };
  }

  #instrument(query: URLSearchParams): Instrument {
    const symbol = query.get("symbol");
    if (!symbol)
      throw new Refusal(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.");
    const instrument = this.instruments.get(symbol);
    if (instrument === undefined) throw new Refusal(400, -1121, "Invalid symbol.");
    return instrument;
  }

  #exchangeInfo(query: URLSearchParams): object {
    let chosen = [...this.instruments.values()];
    if (query.has("symbol")) chosen = [this.#instrument(query)];
    else if (query.has("symbols")) {
      const names = jsonArray(query.get("symbols")!);
      chosen = names.map((symbol) => this.#instrument(new URLSearchParams({ symbol })));
    }
    const status = query.get("symbolStatus");
    if (status !== null) chosen = chosen.filter((instrument) => instrument.status === status);
    return {
      timezone: "UTC",
      serverTime: this.#nowMs,
      rateLimits: [
        { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1, limit: WEIGHT_PER_MINUTE },
        { rateLimitType: "RAW_REQUESTS", interval: "MINUTE", intervalNum: 5, limit: 61_000 },
      ],
      exchangeFilters: [],
      symbols: chosen.map(describeInstrument),
    };
  }

  async #depth(query: URLSearchParams): Promise<Answer> {
    const { faults } = this.double;
    const { symbol } = this.#instrument(query);
    const limit = Math.min(wholeNumber(query, "limit", 100), 5000);
    const failing = faults.takeSnapshot("failSnapshot");
    if (failing !== undefined) {
      const { status = 500, retryAfterSeconds = 1 } = failing;
      const headers: Record<string, string> = status === 500 ? {} : { "Retry-After": String(retryAfterSeconds) };
      return { status, body: { code: -1000, msg: "An unknown error occurred while processing the request." }, headers };
    }
    const slow = faults.takeSnapshot("slowSnapshot");
    if (slow !== undefined) await sleep(slow.ms ?? 1000, undefined, { ref: false });
    if (this.double.protocol.tape.symbols.includes(symbol)) await this.#untilSeeded(symbol);
    const weight = limit <= 100 ? 5 : limit <= 500 ? 25 : limit <= 1000 ? 50 : 250;
    const firstId = this.bootstrap.firstId(symbol);
    const stale = firstId === undefined ? undefined : faults.takeSnapshot("staleSnapshot");
    if (stale === undefined) this.bootstrap.answered(symbol);
    return this.#weighed(weight, this.#snapshot(symbol, limit, stale && firstId! - 1000));
  }

  /** Before the tape reaches the recorded snapshot the double has no book either: the client waits with it. */
  async #untilSeeded(symbol: string): Promise<void> {
    const untilMs = Date.now() + this.options.snapshotWaitMs;
    while (!this.double.book(symbol).seeded) {
      if (Date.now() >= untilMs || this.double.player.over) {
        throw new Refusal(503, -1008, "Server is currently overloaded with other requests. Please try again.");
      }
      await sleep(2, undefined, { ref: false });
    }
  }

  #snapshot(symbol: string, limit: number, staleId: number | undefined): object {
    const book = this.double.book(symbol);
    if (!book.seeded) return this.#quietBook(symbol, limit);
    return { lastUpdateId: staleId ?? book.lastId, bids: book.bids(limit), asks: book.asks(limit) };
  }

  /** A listed symbol that is not on the tape has a book that never moves. */
  #quietBook(symbol: string, limit: number): object {
    const tick = Number(this.instruments.get(symbol)!.tickSize);
    const second = Math.floor(this.double.protocol.tape.firstTimeMs / 1000);
    const middle = this.double.series(symbol).bar(second, second + 1, second)!.close / UNITS;
    const levels = (step: number): Level[] =>
      Array.from({ length: Math.min(limit, 20) }, (_, i) => [(middle + (i + 1) * step).toFixed(8), "1.00000000"]);
    return { lastUpdateId: 1_000_000, bids: levels(-tick).filter(([price]) => Number(price) > 0), asks: levels(tick) };
  }

  #klines(query: URLSearchParams): unknown[] {
    const { symbol } = this.#instrument(query);
    const interval = query.get("interval") ?? "";
    if (interval !== "1M" && SPANS[interval] === undefined) throw new Refusal(400, -1120, "Invalid interval.");
    const limit = Math.min(wholeNumber(query, "limit", 500), 1000);
    const now = Math.floor(this.#nowMs / 1000);
    const lastOpen = Math.min(now, Math.floor(wholeNumber(query, "endTime", now * 1000) / 1000));
    const opens: number[] = [];
    if (query.has("startTime")) {
      const from = Math.ceil(wholeNumber(query, "startTime", 0) / 1000);
      let open = openOf(interval, from);
      if (open < from) open = shift(interval, open, 1);
      for (; open <= lastOpen && opens.length < limit; open = shift(interval, open, 1)) opens.push(open);
    } else {
      for (let open = openOf(interval, lastOpen); opens.length < limit && open >= 0; open = shift(interval, open, -1)) {
        opens.unshift(open);
      }
    }
    const series = this.double.series(symbol);
    return opens.flatMap((open) => {
      const next = shift(interval, open, 1);
      const bar = series.bar(open, next, now);
      return bar === undefined ? [] : [kline(bar, next)];
    });
  }
}

/** The venue's array form of a bar. */
function kline(bar: Bar, next: number): unknown[] {
  return [
    bar.openSecond * 1000,
    price(bar.open),
    price(bar.high),
    price(bar.low),
    price(bar.close),
    price(bar.volume),
    next * 1000 - 1,
    bar.quoteVolume.toFixed(8),
    bar.trades,
    price(bar.takerBuyVolume),
    (bar.volume === 0 ? 0 : (bar.quoteVolume * bar.takerBuyVolume) / bar.volume).toFixed(8),
    "0",
  ];
}

function price(units: number): string {
  return (units / UNITS).toFixed(8);
}

function openOf(interval: string, second: number): number {
  if (interval === "1M") {
    const date = new Date(second * 1000);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) / 1000;
  }
  const span = SPANS[interval]!;
  const offset = interval === "1w" ? FIRST_MONDAY : 0;
  return Math.floor((second - offset) / span) * span + offset;
}

function shift(interval: string, open: number, bars: number): number {
  if (interval !== "1M") return open + bars * SPANS[interval]!;
  const date = new Date(open * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + bars, 1) / 1000;
}

function wholeNumber(query: URLSearchParams, name: string, otherwise: number): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  if (!/^\d{1,15}$/.test(text) || (name === "limit" && text === "0")) {
    throw new Refusal(400, -1100, `Illegal characters found in parameter '${name}'; legal range is '^[0-9]{1,20}$'.`);
  }
  return Number(text);
}

function jsonArray(text: string): string[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value)) return value.map(String);
  } catch {
    // Falls through to the refusal below.
  }
  throw new Refusal(400, -1100, "Illegal characters found in parameter 'symbols'.");
}
