import assert from "node:assert/strict";
import { test } from "node:test";
import type { FeedOptions } from "../src/feeds/feed.ts";
import type { SimulatedSettings } from "../src/feeds/simulated.ts";
import { SimulatedFeed } from "../src/feeds/simulated.ts";
import type { Channel } from "../src/market/channel.ts";
import { CHANNELS } from "../src/market/channel.ts";
import type { InstrumentListing } from "../src/market/instrument.ts";
import type { LevelList, Sink } from "../src/market/sink.ts";
import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  FIRST_SEQUENCE,
  HISTORY_ROW,
  LAST_SEQUENCE,
  PRICE,
  SIDE_BUY,
  SIZE,
  Slot,
  STATE_DOWN,
  STATE_LIVE,
  TRADE_NUMBER,
  TS_EXCHANGE,
} from "../src/market/sink.ts";
import { TIMEFRAME_MICROS, TIMEFRAMES } from "../src/market/timeframe.ts";
import { ManualClock } from "../src/std/clock.ts";

const START = 1_763_735_123_456_789;
const EVENTS: readonly Channel[] = ["trades", "orderbook", "quotes", "ticker", "funding", "liquidations"];
const silent = { info: () => {}, warn: () => {}, error: () => {} };

interface Call {
  what: string;
  instrument: number;
  now: number;
  side: number;
  numbers: number[];
  id: string;
  bids: number[];
  asks: number[];
  rows: number[];
}

/** Keeps what a feed says, and checks that each message was opened. */
class Recorder implements Sink {
  readonly slot = new Slot();
  readonly calls: Call[] = [];
  listings: readonly InstrumentListing[] = [];
  #begun = false;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  #keep(what: string, instrument: number, side = 0, rows: number[] = [], isMessage = true): void {
    const { slot } = this;
    assert.ok(this.#begun || !isMessage, `${what} without begin`);
    this.#begun = false;
    this.calls.push({
      what,
      instrument,
      side,
      rows,
      now: this.#clock.now(),
      numbers: [...slot.numbers],
      id: Buffer.from(slot.tradeId.subarray(0, slot.tradeIdLength)).toString("latin1"),
      bids: what.startsWith("book") ? levelsOf(slot.bids) : [],
      asks: what.startsWith("book") ? levelsOf(slot.asks) : [],
    });
  }

  begin = (): void => {
    assert.ok(!this.#begun, "a message was opened and not sent");
    this.#begun = true;
  };
  prefetch = (): void => {};
  trade = (instrument: number, side: number): void => this.#keep("trade", instrument, side);
  quote = (instrument: number): void => this.#keep("quote", instrument);
  bookDelta = (instrument: number): void => this.#keep("bookDelta", instrument);
  bookSnapshot = (instrument: number): void => this.#keep("bookSnapshot", instrument);
  ticker = (instrument: number): void => this.#keep("ticker", instrument);
  funding = (instrument: number): void => this.#keep("funding", instrument);
  liquidation = (instrument: number, side: number): void => this.#keep("liquidation", instrument, side);
  heartbeat = (): void => this.#keep("heartbeat", 0);
  lastTrade = (instrument: number): void => this.#keep("lastTrade", instrument);
  instruments = (_venue: number, listings: readonly InstrumentListing[]): number[] => {
    this.listings = listings;
    return listings.map((_, index) => index + 2);
  };
  history = (instrument: number, timeframe: number, rows: Float64Array): void =>
    this.#keep("history", instrument, timeframe, [...rows]);
  connection = (_venue: number, state: number): void => this.#keep("connection", 0, state, [], false);
  bookFailed = (instrument: number): void => this.#keep("bookFailed", instrument, 0, [], false);

  of(what: string, instrument = 0): Call[] {
    return this.calls.filter((call) => call.what === what && (instrument === 0 || call.instrument === instrument));
  }
}

function levelsOf(levels: LevelList): number[] {
  return [...levels.values.subarray(0, 2 * levels.count)];
}

/** A feed with a clock and timers that move only by `run`. */
class Bench {
  readonly clock: ManualClock;
  readonly sink: Recorder;
  readonly feed: SimulatedFeed;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();
  #lastTimer = 0;

  constructor(settings: SimulatedSettings = {}, name = "sim-a", start = START) {
    this.clock = new ManualClock(start);
    this.sink = new Recorder(this.clock);
    const options: FeedOptions = {
      sink: this.sink,
      venue: 1,
      clock: this.clock,
      random: () => 0.5,
      log: silent,
      timers: {
        setTimeout: (callback, delayMs) => {
          this.#lastTimer += 1;
          this.#timers.set(this.#lastTimer, { at: this.clock.now() + delayMs * 1000, callback });
          return this.#lastTimer;
        },
        clearTimeout: (handle) => this.#timers.delete(handle as number),
      },
    };
    this.feed = new SimulatedFeed(name, options, settings);
    void this.feed.start();
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets time pass; timers come late by `lateMs`. */
  run(ms: number, lateMs = 0): void {
    const end = this.clock.now() + ms * 1000;
    for (;;) {
      const [due] = [...this.#timers.entries()].sort((a, b) => a[1].at - b[1].at);
      if (due === undefined || due[1].at > end) break;
      this.#timers.delete(due[0]);
      this.clock.set(due[1].at + lateMs * 1000);
      due[1].callback();
    }
    this.clock.set(end);
  }

  subscribe(instrument: number, channels: readonly Channel[] = EVENTS): void {
    for (const channel of channels) this.feed.control.subscribe(instrument, channel);
  }

  get all(): number[] {
    return this.sink.listings.map((_, index) => index + 2);
  }
}

/** A book as simple as can be. */
class NaiveBook {
  readonly sides = [new Map<number, number>(), new Map<number, number>()] as const;
  sequence = 0;

  apply(call: Call): void {
    if (call.what === "bookSnapshot") for (const side of this.sides) side.clear();
    for (const [side, levels] of [call.bids, call.asks].entries()) {
      for (let at = 0; at < levels.length; at += 2) {
        if (levels[at + 1] === 0) assert.ok(this.sides[side].delete(levels[at]), "removes a level that exists");
        else this.sides[side].set(levels[at], levels[at + 1]);
      }
    }
    this.sequence = call.numbers[LAST_SEQUENCE];
  }

  get top(): number[] {
    const bid = Math.max(...this.sides[0].keys());
    const ask = Math.min(...this.sides[1].keys());
    return [bid, this.sides[0].get(bid) as number, ask, this.sides[1].get(ask) as number];
  }
}

function topOf({ numbers }: Call): number[] {
  return [numbers[BID_PRICE], numbers[BID_SIZE], numbers[ASK_PRICE], numbers[ASK_SIZE]];
}

test("the same seed and the same steps of the clock give the same calls, however late timers are", () => {
  const runs = [0, 0, 13].map((lateMs) => {
    const bench = new Bench();
    for (const instrument of bench.all) {
      bench.feed.control.resyncBook(instrument);
      bench.subscribe(instrument);
    }
    bench.run(10_000, lateMs);
    return bench.sink.calls;
  });
  assert.ok(runs[0].length > 2500, `${runs[0].length} calls`);
  assert.deepEqual(runs[1], runs[0]);
  // Late timers change when a call is made, not what it says, nor the order.
  const told = (calls: Call[]) => calls.slice(0, 2500).map((call) => ({ ...call, now: 0 }));
  assert.deepEqual(told(runs[2]), told(runs[0]));
});

test("another seed is another market, another venue the same one seen differently", () => {
  const lastPrices = [new Bench(), new Bench({ seed: 2 }), new Bench({}, "sim-b")].map((bench) => {
    bench.subscribe(2, ["trades"]);
    bench.run(3000);
    return bench.sink.of("trade").map((call) => call.numbers[PRICE]);
  });
  const [here, other, there] = lastPrices.map((prices) => prices[prices.length - 1]);
  assert.notEqual(here, other);
  assert.notDeepEqual(lastPrices[0], lastPrices[2]);
  assert.ok(Math.abs(here / there - 1) < 0.002, `${here} and ${there}`);
});

test("books: deltas follow each other, never cross, and every quote of the same update is the top", () => {
  const bench = new Bench();
  for (const instrument of bench.all) bench.subscribe(instrument, ["orderbook", "quotes"]);
  bench.run(400);
  for (const instrument of bench.all) bench.feed.control.resyncBook(instrument);
  bench.run(60_000);
  let compared = 0;
  for (const instrument of bench.all) {
    const book = new NaiveBook();
    let bracket = false;
    let quoted: Call | undefined;
    for (const call of bench.sink.calls) {
      if (call.instrument !== instrument) continue;
      if (call.what === "quote") {
        quoted = call;
        assert.ok(call.numbers[BID_PRICE] < call.numbers[ASK_PRICE], "a quote is crossed");
      } else if (call.what === "bookSnapshot") {
        book.apply(call);
        bracket = true;
        assert.ok(call.bids.length > 200 && call.asks.length > 200, `${call.bids.length / 2} levels`);
      } else if (call.what === "bookDelta" && book.sequence !== 0 && call.numbers[LAST_SEQUENCE] > book.sequence) {
        const first = call.numbers[FIRST_SEQUENCE];
        assert.ok(bracket ? first <= book.sequence + 1 : first === book.sequence + 1, "a hole in the sequences");
        bracket = false;
        book.apply(call);
        const [bid, , ask] = book.top;
        assert.ok(bid < ask, `${bid} is above ${ask}`);
        if (quoted?.numbers[LAST_SEQUENCE] !== book.sequence) continue;
        assert.deepEqual(topOf(quoted), book.top);
        compared += 1;
      }
    }
    const deltas = bench.sink.of("bookDelta", instrument).length;
    assert.ok(deltas > 500 && deltas < 1300, `${deltas} deltas in a minute`);
  }
  assert.ok(compared > 3000, `${compared} quotes were compared`);
});

test("trades take from the best levels: a quote after a trade of a whole level is worse", () => {
  const bench = new Bench();
  bench.subscribe(2, ["trades", "quotes"]);
  bench.run(30_000);
  let eaten = 0;
  let top: number[] | undefined;
  const { calls } = bench.sink;
  for (const [index, call] of calls.entries()) {
    if (call.what === "quote") top = topOf(call);
    if (call.what !== "trade" || top === undefined || calls[index + 1]?.what !== "quote") continue;
    const [price, size] = call.side === SIDE_BUY ? [top[2], top[3]] : [top[0], top[1]];
    const after = topOf(calls[index + 1]);
    assert.equal(call.numbers[PRICE], price, "a trade is at the best price");
    if (call.numbers[SIZE] === size) {
      eaten += 1;
      assert.ok(call.side === SIDE_BUY ? after[2] > price : after[0] < price);
    } else assert.ok(Math.abs((call.side === SIDE_BUY ? after[3] : after[1]) - (size - call.numbers[SIZE])) < 1e-9);
  }
  assert.ok(eaten > 5, `${eaten} levels were eaten`);
});

test("trade ids have no holes, times go on, sizes and prices are on their grids", () => {
  const bench = new Bench();
  for (const instrument of bench.all) bench.subscribe(instrument, ["trades"]);
  bench.run(20_000);
  for (const instrument of bench.all) {
    const trades = bench.sink.of("trade", instrument);
    const { tick, lot } = bench.sink.listings[instrument - 2];
    for (const [index, { numbers, id, now }] of trades.entries()) {
      const before = trades[index - 1]?.numbers;
      assert.equal(id, String(numbers[TRADE_NUMBER]));
      assert.ok(numbers[TS_EXCHANGE] <= now && numbers[TS_EXCHANGE] > now - 100e3, "the time is just past");
      assert.ok(onGrid(numbers[PRICE], tick) && onGrid(numbers[SIZE], lot) && numbers[SIZE] > 0);
      if (before === undefined) continue;
      assert.equal(numbers[TRADE_NUMBER], before[TRADE_NUMBER] + 1);
      assert.ok(numbers[TS_EXCHANGE] >= before[TS_EXCHANGE]);
    }
    assert.ok(trades.length > 50 && trades.length < 400, `${trades.length} trades in 20 s`);
  }
});

function onGrid(value: number, step: number): boolean {
  return Math.abs(value / step - Math.round(value / step)) < 1e-6;
}

test("history of all timeframes is one history, and ends where live begins", () => {
  const bench = new Bench();
  const earlier = new Bench({}, "sim-a", START - 120e6);
  for (const { feed } of [bench, earlier]) {
    for (const timeframe of TIMEFRAMES.keys()) feed.control.fetchHistory(2, timeframe, 5000);
    feed.control.subscribe(2, "trades");
  }
  bench.run(10_000);
  earlier.run(130_000);
  const given = new Map(bench.sink.of("history").map((call) => [TIMEFRAMES[call.side], rowsOf(call.rows)]));
  assert.deepEqual([...given.keys()], TIMEFRAMES.slice(0, 9), "an hour has no bar of four");
  const seconds = given.get("1s") as number[][];
  assert.ok(seconds.length >= 3600, `${seconds.length} bars of a second`);
  for (const [name, rows] of given) {
    const width = TIMEFRAME_MICROS[TIMEFRAMES.indexOf(name)];
    assert.ok(rows.length > 0);
    for (const row of rows)
      checkMerged(
        row,
        seconds.filter(([time]) => time >= row[0] && time < row[0] + width),
      );
  }
  // Live goes on in the bar that history ended with: someone who was there all the time saw the same trades.
  const boundary = bench.sink.of("trade")[0].numbers[TS_EXCHANGE];
  const seen = earlier.sink.of("trade");
  const building = seconds[seconds.length - 1];
  const before = seen.filter(({ numbers }) => numbers[TS_EXCHANGE] >= building[0] && numbers[TS_EXCHANGE] < boundary);
  assert.equal(before.length, building[8]);
  assert.equal(before[before.length - 1].numbers[PRICE], building[4]);
  const facts = (calls: Call[]) =>
    calls.map(({ side, numbers }) => [side, numbers[PRICE], numbers[SIZE], numbers[TS_EXCHANGE]]);
  assert.deepEqual(
    facts(bench.sink.of("trade")),
    facts(seen.filter(({ numbers }) => numbers[TS_EXCHANGE] >= boundary)),
  );
});

function rowsOf(rows: number[]): number[][] {
  return Array.from({ length: rows.length / HISTORY_ROW }, (_, row) =>
    rows.slice(row * HISTORY_ROW, (row + 1) * HISTORY_ROW),
  );
}

function checkMerged(row: number[], parts: number[][]): void {
  assert.equal(row[1], parts[0][1], "open");
  assert.equal(row[2], Math.max(...parts.map((part) => part[2])), "high");
  assert.equal(row[3], Math.min(...parts.map((part) => part[3])), "low");
  assert.equal(row[4], parts[parts.length - 1][4], "close");
  for (const field of [5, 6, 7, 8]) {
    const sum = parts.reduce((total, part) => total + part[field], 0);
    assert.ok(Math.abs(row[field] - sum) <= 1e-9 * Math.abs(sum), `field ${field}`);
  }
  assert.ok(row[7] <= row[5] && row[6] >= row[3] * row[5] * 0.999999 && row[6] <= row[2] * row[5] * 1.000001);
}

test("every instrument trades within a second of its subscription, for 200 seeds", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const bench = new Bench({ seed, instruments: 2 }, seed % 2 === 0 ? "sim-a" : "sim-b", START + seed * 777_777_777);
    for (const instrument of bench.all) bench.subscribe(instrument, ["trades"]);
    bench.run(1000);
    for (const instrument of bench.all) {
      assert.ok(bench.sink.of("trade", instrument).length > 0, `seed ${seed}, instrument ${instrument}`);
    }
  }
});

test("no instrument is silent for longer than 600 ms", () => {
  const bench = new Bench();
  for (const instrument of bench.all) bench.subscribe(instrument, ["trades"]);
  bench.run(120_000);
  for (const instrument of bench.all) {
    const times = bench.sink.of("trade", instrument).map((call) => call.numbers[TS_EXCHANGE]);
    const gaps = times.slice(1).map((time, index) => time - times[index]);
    assert.ok(Math.max(...gaps) <= 600e3, `instrument ${instrument}: ${Math.max(...gaps)} us`);
  }
});

test("only what is subscribed to is sent, and nothing runs while nothing is", () => {
  const bench = new Bench();
  assert.equal(bench.timers, 0);
  for (const channel of CHANNELS) bench.feed.control.subscribe(4, channel);
  bench.feed.control.subscribe(3, "ticker");
  assert.equal(bench.feed.status.streams, 7);
  bench.run(3000);
  const got = new Set(
    bench.sink.calls.filter((call) => call.instrument > 0).map((call) => `${call.instrument} ${call.what}`),
  );
  assert.deepEqual([...got].sort(), ["3 ticker", "4 bookDelta", "4 quote", "4 ticker", "4 trade"]);
  assert.equal(bench.sink.of("ticker", 3).length, 3);
  for (const channel of CHANNELS) bench.feed.control.unsubscribe(4, channel);
  bench.feed.control.unsubscribe(3, "ticker");
  const count = bench.sink.calls.length;
  bench.run(5000);
  assert.equal(bench.sink.calls.length, count);
  assert.equal(bench.timers, 0);
  // Back after a while: ids have gone on, as if the market had been there.
  const last = bench.sink.of("trade", 4).at(-1)?.numbers[TRADE_NUMBER] as number;
  bench.subscribe(4, ["trades"]);
  bench.run(1000);
  assert.ok((bench.sink.of("trade", 4).at(-1)?.numbers[TRADE_NUMBER] as number) > last);
});

test("once it has stopped, what is asked of it does nothing", async () => {
  const bench = new Bench();
  bench.subscribe(4, ["trades", "orderbook"]);
  bench.run(1000);
  await bench.feed.stop();
  const count = bench.sink.calls.length;
  bench.feed.control.subscribe(3, "trades");
  bench.feed.control.resyncBook(4);
  bench.feed.control.fetchHistory(4, 4, 10);
  bench.feed.control.unsubscribe(4, "trades");
  bench.run(5000);
  assert.equal(bench.sink.calls.length, count);
  assert.equal(bench.timers, 0);
});

test("the perpetual has funding, mark and index, and is liquidated now and then", () => {
  const bench = new Bench();
  const perpetual = bench.sink.listings.findIndex(({ marketType }) => marketType === "perp") + 2;
  assert.equal(bench.sink.listings[perpetual - 2].symbol, "BTC/USDT:USDT");
  bench.subscribe(perpetual);
  bench.run(300_000);
  assert.equal(bench.sink.of("funding").length, 300);
  const liquidations = bench.sink.of("liquidation").length;
  assert.ok(liquidations > 3 && liquidations < 60, `${liquidations} liquidations`);
  assert.equal(new Bench({}, "sim-b").sink.listings.length, 8);
});

test("faults: a gap, a silence and a lost connection can be seen", () => {
  const bench = new Bench();
  bench.subscribe(2);
  bench.run(2000);
  bench.feed.gap(2);
  bench.run(2000);
  assert.equal(holesIn(bench.sink.of("trade"), TRADE_NUMBER, TRADE_NUMBER), 1);
  assert.equal(holesIn(bench.sink.of("bookDelta"), FIRST_SEQUENCE, LAST_SEQUENCE), 1);

  bench.feed.silence(1500);
  const before = bench.sink.calls.length;
  bench.run(1500);
  assert.equal(bench.sink.calls.length, before);
  bench.run(1000);
  assert.ok(bench.sink.calls.length > before + 10);
  assert.equal(holesIn(bench.sink.of("trade"), TRADE_NUMBER, TRADE_NUMBER), 1, "a silence loses nothing");

  bench.feed.disconnect(1000);
  const down = bench.sink.calls.at(-1) as Call;
  assert.deepEqual([down.what, down.side, bench.feed.status.state], ["connection", STATE_DOWN, STATE_DOWN]);
  bench.feed.control.resyncBook(2);
  assert.equal(bench.sink.calls.at(-1)?.what, "bookFailed");
  const lost = bench.sink.calls.length;
  bench.run(900);
  assert.equal(bench.sink.calls.length, lost);
  bench.run(2000);
  assert.deepEqual(
    bench.sink.of("connection").map(({ side }) => side),
    [STATE_LIVE, STATE_DOWN, STATE_LIVE],
  );
  assert.equal(holesIn(bench.sink.of("trade"), TRADE_NUMBER, TRADE_NUMBER), 2, "trades were lost meanwhile");
  assert.equal(bench.feed.counters.reconnects, 1);
});

function holesIn(calls: Call[], first: number, last: number): number {
  return calls.slice(1).filter((call, index) => call.numbers[first] !== calls[index].numbers[last] + 1).length;
}

test("faults come by themselves when asked for", () => {
  const bench = new Bench({ faults: { gapEveryMs: 1000, disconnectEveryMs: 7000, disconnectMs: 500 } });
  bench.subscribe(2, ["orderbook"]);
  bench.run(20_000);
  assert.ok(holesIn(bench.sink.of("bookDelta"), FIRST_SEQUENCE, LAST_SEQUENCE) >= 15);
  assert.ok(bench.feed.counters.reconnects >= 2);
});

test("10,000 instruments are cheap to list, and rates can be scaled", () => {
  const bench = new Bench({ instruments: 10_000, tradesPerSecond: 0.5, noHistory: true });
  assert.equal(bench.sink.listings.length, 10_009);
  assert.equal(bench.sink.listings[10_008].symbol, "SYM10000/USDT");
  assert.equal(new Set(bench.sink.listings.map(({ symbol }) => symbol)).size, 10_009);
  for (const instrument of bench.all.slice(0, 500)) bench.subscribe(instrument, ["trades"]);
  bench.run(20_000);
  const perSecond = bench.sink.of("trade").length / 20;
  assert.ok(perSecond > 200 && perSecond < 350, `${perSecond} trades a second`);
});
