/**
 * The recorded Coinbase run through everything that is real. Its oracle is the venue's ticker, which names the best bid
 * and ask of its moment, and the taker's side: compared here, in order of the frames, with the book and the trades.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { readCapture } from "../loadtest/venues/capture.ts";
import { startCoinbaseVenue } from "../loadtest/venues/coinbase.ts";
import type { VenueDouble } from "../loadtest/venues/double.ts";
import {
  type BarFrame,
  type BookFrame,
  Client,
  COINBASE_RUN,
  eventually,
  type Frame,
  HeldBook,
  listed,
  NO_CAPTURES,
  type QuoteFrame,
  type Running,
  type StateFrame,
  startGateway,
  type TickerFrame,
  type TradeFrame,
} from "./gateway.ts";

const PRODUCTS = 10;
const COMPARABLE_TICKERS = 97;
const CHANNELS = ["trades", "orderbook", "quotes", "ticker", "bars"];
const VENUE_CHANNELS = ["level2_batch", "matches", "ticker", "heartbeat"];

interface Message {
  type: string;
  product_id: string;
  time: string;
  price: string;
  size: string;
  side: "buy" | "sell";
  trade_id: number;
  best_bid: string;
  best_ask: string;
}

/** Microseconds since 1970, exactly. */
function microsOf(time: string): number {
  return Date.parse(`${time.slice(0, 19)}Z`) * 1000 + Number(time.slice(20, 26));
}

interface Recording {
  matches: Map<string, Message[]>;
  lastMatches: Map<string, Message>;
  tickers: Map<string, Message[]>;
  updates: number;
}

function readRecording(): Recording {
  const recording: Recording = { matches: new Map(), lastMatches: new Map(), tickers: new Map(), updates: 0 };
  const add = (lists: Map<string, Message[]>, symbol: string, message: Message) => {
    lists.set(symbol, [...(lists.get(symbol) ?? []), message]);
  };
  for (const path of COINBASE_RUN) {
    for (const { text } of readCapture(path)) {
      const message = JSON.parse(text.toString()) as Message;
      const symbol = message.product_id?.replace("-", "/");
      if (message.type === "match") add(recording.matches, symbol, message);
      else if (message.type === "ticker") add(recording.tickers, symbol, message);
      else if (message.type === "last_match") recording.lastMatches.set(symbol, message);
      else if (message.type === "l2update") recording.updates += 1;
    }
  }
  return recording;
}

/** What a client sees at the moment at which a ticker frame comes. */
interface Seen {
  symbol: string;
  index: number;
  ticker: TickerFrame;
  book: [bid: number | null, ask: number | null];
  quote: [bid: number | null, ask: number | null];
}

/** Follows one client's frames in their order. */
class Follower {
  readonly books = new Map<string, HeldBook>();
  readonly seen: Seen[] = [];
  readonly #quotes = new Map<string, QuoteFrame>();
  readonly #tickers = new Map<string, number>();
  readonly #symbolOf: (frame: Frame) => string;

  constructor(symbolOf: (frame: Frame) => string) {
    this.#symbolOf = symbolOf;
  }

  take(frame: Frame): void {
    const symbol = this.#symbolOf(frame);
    if (frame.type === "orderbook") {
      const book = this.books.get(symbol) ?? new HeldBook();
      this.books.set(symbol, book);
      book.apply(frame as BookFrame);
    } else if (frame.type === "quote") this.#quotes.set(symbol, frame as QuoteFrame);
    else if (frame.type === "ticker") this.#ticker(symbol, frame as TickerFrame);
  }

  #ticker(symbol: string, ticker: TickerFrame): void {
    const index = this.#tickers.get(symbol) ?? 0;
    this.#tickers.set(symbol, index + 1);
    const best = this.books.get(symbol)?.best;
    const quote = this.#quotes.get(symbol);
    this.seen.push({
      symbol,
      index,
      ticker,
      book: [best?.bid_price ?? null, best?.ask_price ?? null],
      quote: [quote?.bid_price ?? null, quote?.ask_price ?? null],
    });
  }
}

describe("the recorded Coinbase run", { skip: NO_CAPTURES }, () => {
  let recording: Recording;
  let venue: VenueDouble;
  let running: Running;
  /** The last position before the run: what came earlier, the one client has as a frame and the other in its snapshot. */
  let playedFrom = 0;
  const clients: Record<"binary" | "json" | "raw" | "tier", Client> = {} as never;
  const followers: Record<"binary" | "json" | "raw", Follower> = {} as never;
  const windows = new Map<string, HeldBook>();

  before(async () => {
    recording = readRecording();
    const symbols = [...recording.tickers.keys()];
    venue = await startCoinbaseVenue({ captures: COINBASE_RUN, speed: Number.POSITIVE_INFINITY, hold: true });
    running = await startGateway(["--timeframes=1s,1m"], { coinbase: venue });
    await listed(running, symbols[0] as string);
    const { catalog } = running.gateway.engine;
    const symbolOf = (frame: Frame) => catalog.get(frame.stream >>> 5)?.symbol ?? "";
    const { url } = running;
    for (const name of ["binary", "json", "raw", "tier"] as const) {
      const path = name === "raw" ? "/raw" : "/stream";
      const client = await Client.open(url + path, name === "json" || name === "tier" ? "json" : "flatbuffers");
      clients[name] = client;
      if (name === "tier") {
        client.onFrame = (frame) => {
          if (frame.type !== "orderbook") return;
          const book = windows.get(symbolOf(frame)) ?? new HeldBook();
          windows.set(symbolOf(frame), book);
          book.apply(frame as BookFrame);
        };
        await client.subscribe("top", { channels: ["orderbook"], symbols, depth: 20 });
        continue;
      }
      followers[name] = new Follower(symbolOf);
      client.onFrame = (frame) => followers[name].take(frame);
      if (name !== "raw") {
        const timeframes = ["1s", "1m"];
        await client.subscribe("all", { channels: CHANNELS, symbols, depth: "full", timeframes, bars: "closed" });
      }
    }
    const wanted = VENUE_CHANNELS.flatMap((channel) =>
      symbols.map((symbol) => `${channel}:${symbol.replace("/", "-")}`),
    );
    await eventually(() => {
      const asked = new Set(venue.stats.subscriptions);
      return wanted.every((stream) => asked.has(stream));
    }, "the venue to be asked for all streams");
    playedFrom = running.gateway.engine.frames.log.position;
    venue.play();
    await venue.finished;
    const all = COMPARABLE_TICKERS + PRODUCTS;
    for (const [name, { seen }] of Object.entries(followers)) {
      await eventually(() => seen.length === all, `all tickers at the ${name} client`);
    }
    // The last changes of the books come after the last ticker: level with the engine's own numbers, all is there.
    const { frames } = running.gateway.engine;
    for (const client of [clients.binary, clients.json]) {
      for (const { stream } of client.streams.values()) {
        const level = () => (client.held.get(stream) ?? 0) >= frames.sequence(stream);
        await client.until(level, `stream ${stream} to be level`);
      }
    }
    const top = (book: HeldBook | undefined, levels: number) => JSON.stringify(book?.top(levels));
    for (const [symbol, window] of windows) {
      const level = () => top(window, 1000) === top(followers.binary.books.get(symbol), 20);
      await clients.tier.until(level, `the window of ${symbol} to be level`);
    }
  });

  after(async () => {
    for (const client of Object.values(clients)) await client?.close();
    await running?.stop();
    await venue?.close();
  });

  for (const name of ["binary", "json", "raw"] as const) {
    test(`${name}: book and quote equal the ticker's best bid and ask, 97 of 97`, () => {
      let compared = 0;
      for (const { symbol, index, ticker, book, quote } of followers[name].seen) {
        const recorded = recording.tickers.get(symbol)?.[index] as Message;
        assert.equal(ticker.last, Number(recorded.price));
        assert.equal(ticker.ts_exchange, microsOf(recorded.time));
        // A product's first ticker is that of its last trade, from before the book.
        if (index === 0) continue;
        const best = [Number(recorded.best_bid), Number(recorded.best_ask)];
        assert.deepEqual(book, best, `book of ${symbol}, ticker ${index}`);
        assert.deepEqual(quote, best, `quote of ${symbol}, ticker ${index}`);
        compared += 1;
      }
      assert.equal(compared, COMPARABLE_TICKERS);
    });

    test(`${name}: a trade's side is the taker's, 97 of 97`, () => {
      const sides = new Map(
        clients[name].of<TradeFrame>("trade").map((trade) => [`${trade.stream >>> 5} ${trade.trade_id}`, trade.side]),
      );
      let compared = 0;
      for (const { symbol, index, ticker } of followers[name].seen) {
        const recorded = recording.tickers.get(symbol)?.[index] as Message;
        if (index === 0) continue;
        assert.equal(sides.get(`${ticker.stream >>> 5} ${recorded.trade_id}`), recorded.side);
        compared += 1;
      }
      assert.equal(compared, COMPARABLE_TICKERS);
    });

    test(`${name}: every match is a trade, once and in order; last_match is none`, () => {
      const bySymbol = new Map<string, TradeFrame[]>();
      const { catalog } = running.gateway.engine;
      for (const trade of clients[name].of<TradeFrame>("trade")) {
        const symbol = catalog.get(trade.stream >>> 5)?.symbol ?? "";
        bySymbol.set(symbol, [...(bySymbol.get(symbol) ?? []), trade]);
      }
      for (const [symbol, trades] of bySymbol) {
        const matches = recording.matches.get(symbol) ?? [];
        assert.equal(trades.length, matches.length);
        trades.forEach(({ price, size, side, trade_id, ts_exchange }, index) => {
          const match = matches[index] as Message;
          assert.deepEqual(
            { price, size, trade_id, ts_exchange },
            {
              price: Number(match.price),
              size: Number(match.size),
              trade_id: String(match.trade_id),
              ts_exchange: microsOf(match.time),
            },
          );
          assert.equal(side, match.side === "buy" ? "sell" : "buy", "the match names the maker's side");
        });
        const lastMatch = String(recording.lastMatches.get(symbol)?.trade_id);
        assert.ok(!trades.some(({ trade_id }) => trade_id === lastMatch), `${lastMatch} is none of ours`);
      }
      assert.equal([...bySymbol.values()].flat().length, [...recording.matches.values()].flat().length);
      assert.equal(recording.lastMatches.size, PRODUCTS);
    });

    test(`${name}: no hole, nothing twice, no loss`, () => {
      const client = clients[name];
      assert.deepEqual(client.holes, []);
      assert.deepEqual(client.duplicates, []);
      const states = client.of<StateFrame>("state").filter(({ channel }) => channel !== "state");
      const names = states.map(({ state }) => state);
      assert.ok(
        names.includes("live") && names.every((name) => name === "syncing" || name === "live"),
        names.join(", "),
      );
      assert.deepEqual(
        states.filter(({ gap }) => gap !== null),
        [],
      );
    });
  }

  test("every update of a book came out", () => {
    const deltas = clients.raw.of<BookFrame>("orderbook").filter(({ update_type }) => update_type === "delta");
    assert.equal(deltas.length, recording.updates);
  });

  test("both encodings of a frame say the same", () => {
    const ring = (client: Client) =>
      client.frames.filter(({ flags, position }) => !flags.includes("derived") && position > playedFrom);
    const [binary, json] = [ring(clients.binary), ring(clients.json)];
    assert.ok(binary.length > 10_000);
    assert.equal(binary.length, json.length);
    binary.forEach((frame, index) => {
      assert.deepEqual(frame, json[index]);
    });
  });

  test("depth 20 ends as the top of the whole book", () => {
    assert.equal(windows.size, PRODUCTS);
    for (const [symbol, window] of windows) {
      assert.deepEqual(window.top(1000), followers.binary.books.get(symbol)?.top(20), symbol);
    }
    assert.deepEqual(clients.tier.holes, []);
  });

  test("1s bars are those of the matches", () => {
    const { catalog } = running.gateway.engine;
    const last = new Map<string, BarFrame>();
    for (const bar of clients.binary.of<BarFrame>("bar")) {
      if (bar.timeframe === "1s" && !bar.flags.includes("derived")) {
        last.set(`${catalog.get(bar.stream >>> 5)?.symbol} ${bar.open_time}`, bar);
      }
    }
    assert.ok(last.size > 0, "no bar came");
    for (const [key, bar] of last) {
      const [symbol, opened] = key.split(" ") as [string, string];
      const matches = (recording.matches.get(symbol) ?? []).filter(
        ({ time }) => Math.floor(microsOf(time) / 1e6) * 1e6 === Number(opened),
      );
      const prices = matches.map(({ price }) => Number(price));
      const sum = (side: string) =>
        matches.filter((match) => match.side !== side).reduce((total, { size }) => total + Number(size), 0);
      assert.deepEqual(
        [bar.open, bar.high, bar.low, bar.close, bar.trade_count],
        [prices[0], Math.max(...prices), Math.min(...prices), prices.at(-1), matches.length],
      );
      assert.deepEqual([bar.buy_volume, bar.sell_volume], [sum("buy"), sum("sell")]);
    }
  });
});
