import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { Feed, FeedLog, FeedOptions } from "../../src/feeds/feed.ts";
import type { SocketFactory, SocketHandlers } from "../../src/feeds/socket.ts";
import type { InstrumentListing } from "../../src/market/instrument.ts";
import * as market from "../../src/market/sink.ts";
import type { Clock } from "../../src/std/clock.ts";
import { Random } from "../../src/std/random.ts";
import type { Timers } from "../../src/std/timers.ts";

const { Slot } = market;

const TRADE_FIELDS = [market.PRICE, market.SIZE, market.TS_EXCHANGE, market.TRADE_NUMBER];
const BOOK_FIELDS = [market.TS_EXCHANGE, market.FIRST_SEQUENCE, market.LAST_SEQUENCE, market.PREVIOUS_SEQUENCE];
const QUOTE_FIELDS = [
  market.BID_PRICE,
  market.BID_SIZE,
  market.ASK_PRICE,
  market.ASK_SIZE,
  market.TS_EXCHANGE,
  market.LAST_SEQUENCE,
];
const TICKER_FIELDS = [
  market.LAST,
  market.MARK,
  market.INDEX,
  market.OPEN_INTEREST,
  market.VOLUME_24H,
  market.HIGH_24H,
  market.LOW_24H,
  market.TS_EXCHANGE,
];

export interface Recorded {
  kind: string;
  instrument: number;
  side: number;
  flags: number;
  numbers: number[];
  tradeId: string;
  bids: number[];
  asks: number[];
}

/** A sink that writes down what it is told. Every event must come within a message that was opened by `begin`. */
export class RecordingSink implements market.Sink {
  readonly slot = new Slot();
  events: Recorded[] = [];
  readonly listings: InstrumentListing[] = [];
  readonly states: { state: number; reason: string }[] = [];
  readonly failures: { instrument: number; reason: string }[] = [];
  readonly histories: { instrument: number; timeframe: number; rows: number[] }[] = [];
  begun = 0;
  readonly #ids = new Map<string, number>();

  prefetch(): void {}

  begin(): void {
    this.begun += 1;
  }

  #record(kind: string, instrument: number, side: number, flags: number, fields: number[]): Recorded {
    assert.ok(this.begun > 0, `${kind} outside a message`);
    const numbers = fields.map((field) => this.slot.numbers[field] as number);
    const event = { kind, instrument, side, flags, numbers, tradeId: "", bids: [], asks: [] };
    this.events.push(event);
    return event;
  }

  trade(instrument: number, side: number, flags: number): void {
    const event = this.#record("trade", instrument, side, flags, TRADE_FIELDS);
    event.tradeId = Buffer.from(this.slot.tradeId.subarray(0, this.slot.tradeIdLength)).toString();
  }
  quote(instrument: number, flags: number): void {
    this.#record("quote", instrument, 0, flags, QUOTE_FIELDS);
  }
  #book(kind: string, instrument: number, flags: number): void {
    const event = this.#record(kind, instrument, 0, flags, BOOK_FIELDS);
    event.bids = levelsOf(this.slot.bids);
    event.asks = levelsOf(this.slot.asks);
  }
  bookDelta(instrument: number, flags: number): void {
    this.#book("delta", instrument, flags);
  }
  bookSnapshot(instrument: number, flags: number): void {
    this.#book("snapshot", instrument, flags);
  }
  ticker(instrument: number, flags: number): void {
    this.#record("ticker", instrument, 0, flags, TICKER_FIELDS);
  }
  funding(instrument: number, flags: number): void {
    this.#record("funding", instrument, 0, flags, []);
  }
  liquidation(instrument: number, side: number, flags: number): void {
    this.#record("liquidation", instrument, side, flags, []);
  }
  heartbeat(venue: number): void {
    this.#record("heartbeat", venue, 0, 0, [market.TS_EXCHANGE]);
  }
  lastTrade(instrument: number): void {
    this.#record("lastTrade", instrument, 0, 0, [market.TRADE_NUMBER]);
  }
  /** Ids from 2 on, in order of first appearance, as the catalog gives them. */
  instruments(_venue: number, listings: readonly InstrumentListing[]): number[] {
    this.listings.push(...listings);
    return listings.map((listing) => {
      const id = this.#ids.get(listing.symbol) ?? this.#ids.size + 2;
      this.#ids.set(listing.symbol, id);
      return id;
    });
  }
  id(symbol: string): number {
    return this.#ids.get(symbol) ?? 0;
  }
  history(instrument: number, timeframe: number, rows: Float64Array): void {
    this.histories.push({ instrument, timeframe, rows: [...rows] });
  }
  connection(_venue: number, state: number, reason: string): void {
    this.states.push({ state, reason });
  }
  bookFailed(instrument: number, reason: string): void {
    this.failures.push({ instrument, reason });
  }

  of(kind: string): Recorded[] {
    return this.events.filter((event) => event.kind === kind);
  }
}

function levelsOf(levels: market.LevelList): number[] {
  return [...levels.values.subarray(0, 2 * levels.count)];
}

/** A clock and timers that move only when told to. */
export class FakeTime implements Clock, Timers {
  #micros: number;
  #last = 0;
  readonly #timers = new Map<number, { atMicros: number; callback: () => void }>();

  constructor(micros = 1_700_000_000_000_000) {
    this.#micros = micros;
  }

  now(): number {
    return this.#micros;
  }
  setTimeout(callback: () => void, delayMs: number): number {
    assert.ok(delayMs >= 0 && Number.isFinite(delayMs), `delay of ${delayMs} ms`);
    this.#last += 1;
    this.#timers.set(this.#last, { atMicros: this.#micros + delayMs * 1000, callback });
    return this.#last;
  }
  clearTimeout(handle: unknown): void {
    this.#timers.delete(handle as number);
  }
  get pending(): number {
    return this.#timers.size;
  }

  /** Runs the timers that fall due, each at its own time. */
  advance(ms: number): void {
    const end = this.#micros + ms * 1000;
    for (;;) {
      let next: [number, { atMicros: number; callback: () => void }] | undefined;
      for (const timer of this.#timers) {
        if (timer[1].atMicros <= end && (next === undefined || timer[1].atMicros < next[1].atMicros)) next = timer;
      }
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.#micros = Math.max(this.#micros, next[1].atMicros);
      next[1].callback();
    }
    this.#micros = end;
  }
}

export class FakeSocket {
  bytesReceived = 0;
  readonly sent: { atMs: number; text: string }[] = [];
  closed = false;
  readonly url: string;
  readonly #handlers: SocketHandlers;
  readonly #time: FakeTime;

  constructor(url: string, handlers: SocketHandlers, time: FakeTime) {
    this.url = url;
    this.#handlers = handlers;
    this.#time = time;
  }

  send(text: string): void {
    assert.ok(!this.closed, "sent on a closed socket");
    this.sent.push({ atMs: this.#time.now() / 1000, text });
  }
  close(): void {
    this.closed = true;
  }
  terminate(): void {
    this.closed = true;
  }

  open(): void {
    this.#handlers.onOpen();
  }
  receive(text: string): void {
    const bytes = Buffer.from(text);
    this.bytesReceived += bytes.length;
    this.#handlers.onMessage(bytes);
  }
  ping(): void {
    this.bytesReceived += 6;
    this.#handlers.onPing();
  }
  lose(reason = "reset"): void {
    this.closed = true;
    this.#handlers.onClose(1006, reason);
  }
  /** The messages sent, parsed. */
  get messages(): Record<string, unknown>[] {
    return this.sent.map(({ text }) => JSON.parse(text));
  }
}

/** Sockets that a test opens, feeds and breaks by hand. */
export class FakeSockets {
  readonly all: FakeSocket[] = [];
  readonly #time: FakeTime;

  constructor(time: FakeTime) {
    this.#time = time;
  }

  readonly connect: SocketFactory = (url, handlers) => {
    const socket = new FakeSocket(url, handlers, this.#time);
    this.all.push(socket);
    return socket;
  };
  get last(): FakeSocket {
    const socket = this.all.at(-1);
    assert.ok(socket !== undefined, "nothing has connected");
    return socket;
  }
}

export const quietLog: FeedLog = { info: () => {}, warn: () => {}, error: () => {} };

/** Options for a feed under test; `seed` decides the jitter. */
export function feedOptions(sink: market.Sink, time: Clock & Timers, seed = 1): FeedOptions {
  const random = new Random(seed);
  return { sink, venue: 1, clock: time, timers: time, random: () => random.next(), log: quietLog };
}

export const CAPTURES = process.env.TICKWIRE_CAPTURES ?? join(import.meta.dirname, "../../../shared/captures");

/** The lines of a recording, undefined (with the reason to skip) when the folder is absent. */
export function captureLines(name: string): string[] | undefined {
  const path = join(CAPTURES, name);
  return existsSync(path) ? gunzipSync(readFileSync(path)).toString().split("\n").filter(Boolean) : undefined;
}

export interface FeedHarness {
  feed: Feed;
  sink: RecordingSink;
  sockets: FakeSockets;
  time: FakeTime;
  /** A symbol that the venue lists. */
  symbol: string;
  /** Frees what the harness opened. */
  close(): Promise<void>;
}

/** What holds for every feed, whatever its venue. */
export function feedContract(name: string, make: () => Promise<FeedHarness>): void {
  const withFeed = (title: string, run: (harness: FeedHarness) => Promise<void> | void) =>
    test(`${name}: ${title}`, async () => {
      const harness = await make();
      try {
        await harness.feed.start();
        await run(harness);
      } finally {
        await harness.feed.stop();
        await harness.close();
      }
    });

  withFeed("lists instruments by their unified names before anything else", ({ feed, sink, symbol }) => {
    assert.ok(sink.listings.some((listing) => listing.symbol === symbol && listing.channels.includes("trades")));
    assert.ok(feed.status.instruments > 0);
    assert.throws(() => Object.assign(feed.rules, { integrity: "other" }));
  });

  withFeed("has no connection until something is wanted, and is quiet about what it does not know", (harness) => {
    const { feed, sink, sockets, symbol } = harness;
    feed.control.subscribe(999_999, "trades");
    feed.control.subscribe(sink.id(symbol), "funding");
    feed.control.unsubscribe(sink.id(symbol), "trades");
    feed.control.resyncBook(999_999);
    assert.equal(sockets.all.length, 0);
    feed.control.subscribe(sink.id(symbol), "trades");
    assert.equal(sockets.all.length, 1);
  });

  withFeed("subscribes once, however often it is asked", ({ feed, sink, sockets, time, symbol }) => {
    for (let round = 0; round < 5; round += 1) feed.control.subscribe(sink.id(symbol), "trades");
    sockets.last.open();
    time.advance(4_000);
    feed.control.subscribe(sink.id(symbol), "trades");
    time.advance(4_000);
    assert.equal(sockets.last.sent.length, 1);
    assert.equal(feed.status.state, market.STATE_LIVE);
  });

  withFeed("subscribes again to everything after a loss, and says what became of the connection", (harness) => {
    const { feed, sink, sockets, time, symbol } = harness;
    feed.control.subscribe(sink.id(symbol), "trades");
    feed.control.subscribe(sink.id(symbol), "orderbook");
    sockets.last.open();
    time.advance(2_000);
    const first = sockets.last.sent.map(({ text }) => text.replace(/"id":\d+/, ""));
    sockets.last.lose();
    time.advance(60_000);
    assert.equal(sockets.all.length > 1, true);
    sockets.last.open();
    time.advance(2_000);
    assert.deepEqual(
      sockets.last.sent.map(({ text }) => text.replace(/"id":\d+/, "")),
      first,
    );
    const { STATE_DOWN, STATE_LIVE, STATE_SYNCING } = market;
    const states = sink.states.map(({ state }) => state);
    assert.deepEqual(states.slice(0, 4), [STATE_SYNCING, STATE_LIVE, STATE_DOWN, STATE_SYNCING]);
    assert.equal(states.at(-1), STATE_LIVE);
  });

  withFeed("survives nonsense", ({ feed, sink, sockets, time, symbol }) => {
    feed.control.subscribe(sink.id(symbol), "trades");
    sockets.last.open();
    time.advance(1_000);
    const before = sink.events.length;
    for (const text of ["", "{", "[]", "null", "1", '"x"', "{}", '{"e":"trade"}', '{"type":"match"}', "\u0000"]) {
      sockets.last.receive(text);
    }
    assert.equal(sink.events.length, before);
    assert.ok(feed.counters.parseErrors + feed.counters.malformed >= 6);
    assert.equal(feed.status.state, market.STATE_LIVE);
  });

  test(`${name}: leaves no timer behind`, async () => {
    const harness = await make();
    await harness.feed.start();
    harness.feed.control.subscribe(harness.sink.id(harness.symbol), "trades");
    harness.feed.control.subscribe(harness.sink.id(harness.symbol), "orderbook");
    harness.feed.control.resyncBook(harness.sink.id(harness.symbol));
    harness.sockets.last.open();
    harness.time.advance(1_000);
    await harness.feed.stop();
    assert.equal(harness.time.pending, 0);
    assert.ok(harness.sockets.all.every((socket) => socket.closed));
    await harness.close();
  });

  test(`${name}: once it has stopped, what is asked of it does nothing`, async () => {
    const harness = await make();
    const { feed, sink, sockets, time, symbol } = harness;
    await feed.start();
    feed.control.subscribe(sink.id(symbol), "trades");
    sockets.last.open();
    time.advance(1_000);
    await feed.stop();
    const before = [sink.events.length, sockets.all.length];
    feed.control.subscribe(sink.id(symbol), "quotes");
    feed.control.resyncBook(sink.id(symbol));
    feed.control.fetchHistory(sink.id(symbol), 0, 10);
    feed.control.unsubscribe(sink.id(symbol), "trades");
    time.advance(60_000);
    assert.deepEqual([sink.events.length, sockets.all.length], before);
    assert.equal(time.pending, 0);
    await harness.close();
  });
}
