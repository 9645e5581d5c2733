import type { Role } from "./child.ts";
import { type Lateness, Pacer } from "./pacer.ts";
import { Audience } from "./source-audience.ts";
import { SourceMarket } from "./source-market.ts";
import type { Spread } from "./spread.ts";
import { describeInstrument } from "./venues/binance-instruments.ts";
import { answerControl } from "./venues/binance-streams.ts";
import { type Answer, type Doorman, Endpoint, type Peer, type VenueRequest } from "./venues/endpoint.ts";

export interface SourceOptions {
  instruments: number;
  spread: Spread;
  seed: number;
  mixed: boolean;
}

/** Ids of trades have ten digits, and stay below 2^31. */
const MOST_EVENTS = 1_000_000_000;

/** Where a source is reached; `ws` asks for microseconds, which is all that it speaks. */
export interface SourceInfo {
  ws: string;
  rest: string;
}

/** One run of a source. */
export interface SourceRun {
  sent: number;
  /** Of these, the trades and the quotes that somebody was subscribed to. */
  trades: number;
  quotes: number;
  /** How late events were sent, microseconds. */
  late: Lateness;
  /** Most bytes that waited in the source because the reader did not take them. */
  mostWaiting: number;
}

/** The venue's names, and the gateway's. */
export function venueSymbol(instrument: number): string {
  return `LOAD${String(instrument).padStart(5, "0")}USDT`;
}

export function unifiedSymbol(instrument: number): string {
  return `LOAD${String(instrument).padStart(5, "0")}/USDT`;
}

/** The part of Binance that a gateway needs: combined streams in microseconds, the list, empty klines, books. */
class SourceVenue implements Doorman {
  readonly #symbols: readonly string[];
  readonly #instrumentOf: Map<string, number>;
  readonly audience: Audience;
  readonly market: SourceMarket;

  constructor({ instruments, spread, seed, mixed }: SourceOptions) {
    this.#symbols = Array.from({ length: instruments }, (_, index) => venueSymbol(index));
    this.#instrumentOf = new Map(this.#symbols.map((symbol, index) => [symbol.toLowerCase(), index]));
    this.audience = new Audience(this.#instrumentOf);
    this.market = new SourceMarket(this.audience, { symbols: this.#symbols, spread, seed, mixed });
  }

  accepts(url: URL): boolean {
    return url.pathname === "/stream" && url.searchParams.get("timeUnit")?.toUpperCase() === "MICROSECOND";
  }

  joined(): void {}

  received(peer: Peer, kind: "message" | "ping" | "pong", text: string): void {
    if (kind === "message") answerControl(this, peer, text);
  }

  left(peer: Peer): void {
    this.audience.left(peer);
  }

  subscribe(peer: Peer, stream: string): void {
    this.audience.join(peer, stream);
  }

  unsubscribe(peer: Peer, stream: string): void {
    this.audience.leave(peer, stream);
  }

  send(peer: Peer, value: unknown): void {
    peer.socket.send(JSON.stringify(value));
  }

  async answer({ url }: VenueRequest): Promise<Answer> {
    switch (url.pathname) {
      case "/api/v3/exchangeInfo":
        return { status: 200, body: { serverTime: Date.now(), symbols: this.#symbols.map(describe) } };
      case "/api/v3/klines":
        return { status: 200, body: [] };
      case "/api/v3/depth": {
        const instrument = this.#instrumentOf.get((url.searchParams.get("symbol") ?? "").toLowerCase());
        if (instrument === undefined) return { status: 400, body: { code: -1121, msg: "Invalid symbol." } };
        return { status: 200, body: this.market.books.snapshot(instrument) };
      }
      default:
        return { status: 404, body: { code: -1000, msg: `No such path ${url.pathname}` } };
    }
  }
}

function describe(symbol: string): object {
  return describeInstrument({
    symbol,
    baseAsset: symbol.replace(/USDT$/, ""),
    quoteAsset: "USDT",
    status: "TRADING",
    tickSize: "0.01",
    stepSize: "0.0001",
    minNotional: "5.00000000",
  });
}

/** A venue that sends by an open-loop schedule; `run` answers when the last event has gone. */
export async function beSource(options: SourceOptions): Promise<Role> {
  const venue = new SourceVenue(options);
  const endpoint = new Endpoint({ host: "127.0.0.1", port: 0, pingIntervalMs: 20_000, pongTimeoutMs: 60_000 }, venue);
  const port = await endpoint.listen();
  let made = 0;
  const pacer = new Pacer((count, dueMicros) => venue.market.emit(count, dueMicros));
  const info: SourceInfo = {
    ws: `ws://127.0.0.1:${port}/stream?timeUnit=MICROSECOND`,
    rest: `http://127.0.0.1:${port}`,
  };
  return {
    info,
    calls: {
      run: async ({ rate, seconds }: { rate: number; seconds: number }): Promise<SourceRun> => {
        if (made + rate * seconds > MOST_EVENTS) throw new Error(`it makes ${MOST_EVENTS} events at most`);
        venue.audience.resetWaiting();
        venue.market.sent.fill(0);
        const sent = await pacer.run(rate, seconds);
        made += sent;
        const [trades = 0, quotes = 0] = venue.market.sent;
        return { sent, trades, quotes, late: pacer.lateness, mostWaiting: venue.audience.mostWaiting };
      },
      stop: () => pacer.stop(),
      stats: () => ({ sent: pacer.sent, running: pacer.running, streams: venue.audience.streams }),
    },
  };
}
