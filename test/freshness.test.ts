/** What counts as silence: learned from each stream's own past, over simulated days and recorded minutes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { readCapture } from "../loadtest/venues/capture.ts";
import { Freshness } from "../src/engine/freshness.ts";
import { SLOT_ORDERBOOK, SLOT_QUOTES, SLOT_TICKER, SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import type { Instrument } from "../src/market/instrument.ts";
import {
  STATE_DOWN,
  STATE_LIVE,
  STATE_QUIET,
  STATE_RESYNCING,
  STATE_STALE,
  STATE_SYNCING,
} from "../src/market/sink.ts";
import { ManualClock } from "../src/std/clock.ts";
import { Random } from "../src/std/random.ts";
import { BINANCE_RULES, BINANCE_RUN, COINBASE_RUN, EngineBench, NO_CAPTURES, START_MICROS } from "./gateway.ts";

const MS = 1000;
const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** As the gateway looks. */
const LOOK = 250 * MS;
const SEED = 20_240_808;
const STREAMS = 20;

interface Alarm {
  stream: number;
  state: number;
  at: number;
}

/** Streams that count and have a state, with nothing behind them: a day of them passes in a moment. */
class Watch {
  readonly clock = new ManualClock(START_MICROS);
  readonly alarms: Alarm[] = [];
  readonly freshness: Freshness;
  readonly #sequences = new Map<number, number>();
  readonly #states = new Map<number, number>();

  constructor(options?: { quietMicros: number; staleMicros: number }) {
    const frames = { sequence: (stream: number) => this.#sequences.get(stream) ?? 0 };
    const states = {
      of: (stream: number) => this.#states.get(stream) ?? 0,
      set: (stream: number, state: number) => {
        this.alarms.push({ stream, state, at: this.clock.now() });
        this.set(stream, state);
      },
    };
    this.freshness = new Freshness(frames, states, () => {}, options);
  }

  watch(stream: number): void {
    this.set(stream, STATE_SYNCING);
    this.freshness.watch(stream);
  }

  /** A change of state is a frame, but none to look at here. */
  set(stream: number, state: number): void {
    this.#states.set(stream, state);
    this.#count(stream);
  }

  news(stream: number): void {
    if (this.#states.get(stream) !== STATE_LIVE) this.set(stream, STATE_LIVE);
    this.#count(stream);
  }

  #count(stream: number): void {
    this.#sequences.set(stream, (this.#sequences.get(stream) ?? 0) + 1);
  }

  /** Lets time go by, looked at as the gateway does. */
  pass(micros: number): void {
    for (let passed = 0; passed < micros; passed += LOOK) {
      this.clock.advance(LOOK);
      this.freshness.sweep(this.clock.now());
    }
  }

  /** News at a steady pace, from now on. */
  beat(stream: number, everyMicros: number, times: number): void {
    for (let beat = 0; beat < times; beat += 1) {
      this.news(stream);
      this.pass(everyMicros);
    }
  }

  /** How many alarms of a state there were from a time on. */
  count(state: number, from = 0): number {
    return this.alarms.filter((alarm) => alarm.state === state && alarm.at >= from).length;
  }
}

type Gap = (random: Random) => number;

/** Exponential: news that comes at random. */
const atRandom =
  (mean: number): Gap =>
  (random) =>
    -Math.log(1 - random.next()) * mean;

/** Log-normal, of the given mean: sigma 1.5 has one gap in a hundred ten times as long as the mean. */
const heavyTailed =
  (mean: number, sigma: number): Gap =>
  (random) =>
    mean * Math.exp(sigma * random.normal() - sigma ** 2 / 2);

/** Bursts of `size` on average, `within` apart, with random pauses in between. */
const inBursts =
  (size: number, within: number, pause: number): Gap =>
  (random) =>
    random.chance(1 / size) ? atRandom(pause)(random) : atRandom(within)(random);

/** Twenty streams whose gaps are drawn anew, each by a seed of its own. */
class Market {
  readonly watch = new Watch();
  readonly streams: readonly number[];
  readonly #randoms: readonly Random[];
  readonly #next: number[];
  readonly #gap: Gap;

  constructor(gap: Gap, slot = SLOT_TRADES) {
    this.#gap = gap;
    this.streams = Array.from({ length: STREAMS }, (_, index) => streamOf(index + 1, slot));
    this.#randoms = this.streams.map((stream) => new Random(SEED + stream));
    for (const stream of this.streams) this.watch.watch(stream);
    this.#next = this.#randoms.map((random) => this.watch.clock.now() + gap(random));
  }

  live(micros: number): void {
    const { watch } = this;
    for (let passed = 0; passed < micros; passed += LOOK) {
      const until = watch.clock.now() + LOOK;
      for (const [index, stream] of this.streams.entries()) {
        while ((this.#next[index] as number) <= until) {
          watch.news(stream);
          this.#next[index] = (this.#next[index] as number) + this.#gap(this.#randoms[index] as Random);
        }
      }
      watch.pass(LOOK);
    }
  }

  /** Falls silent; how long it took until each stream was quiet, and stale: the shortest and the longest, microseconds. */
  fallSilent(most: number): Record<"quiet" | "stale", [shortest: number, longest: number]> {
    const { watch } = this;
    // A pause that goes on already is part of the silence, so it counts from the last news at the latest.
    const since = watch.clock.now();
    const before = watch.alarms.length;
    watch.pass(most);
    const taken = (state: number): [number, number] => {
      const times = watch.alarms.slice(before).filter((alarm) => alarm.state === state);
      assert.equal(new Set(times.map(({ stream }) => stream)).size, STREAMS, `all are ${state} within ${most} us`);
      return [times[0]?.at ?? 0, times.at(-1)?.at ?? 0].map((at) => at - since) as [number, number];
    };
    return { quiet: taken(STATE_QUIET), stale: taken(STATE_STALE) };
  }
}

describe("streams that come at random", () => {
  for (const [name, mean, days, quiet, stale] of [
    ["0.1 s", 0.1 * SECOND, 1, 7 * SECOND, 13 * SECOND],
    ["10 s", 10 * SECOND, 2, 10 * MINUTE, 20 * MINUTE],
    ["10 min", 10 * MINUTE, 3, 8 * HOUR, 16 * HOUR],
  ] as const) {
    test(`each ${name}: no alarm in ${STREAMS} times ${days} days, and a real silence is noticed in time`, (t) => {
      t.diagnostic(`seed ${SEED}`);
      const market = new Market(atRandom(mean));
      market.live(days * DAY);
      assert.deepEqual(market.watch.alarms, []);
      const noticed = market.fallSilent(stale);
      t.diagnostic(`seconds until quiet and stale: ${JSON.stringify(noticed, (_, v) => (v > 1e4 ? v / SECOND : v))}`);
      assert.ok(noticed.quiet[1] <= quiet, `quiet within ${quiet}: ${noticed.quiet}`);
      assert.ok(noticed.stale[1] <= stale, `stale within ${stale}: ${noticed.stale}`);
    });
  }

  test("books and quotes that change each 10 s on average raise no alarm in a day", (t) => {
    t.diagnostic(`seed ${SEED}`);
    for (const slot of [SLOT_ORDERBOOK, SLOT_QUOTES]) {
      const market = new Market(atRandom(10 * SECOND), slot);
      market.live(DAY);
      assert.deepEqual(market.watch.alarms, []);
    }
  });
});

describe("streams that come in bursts", () => {
  for (const [name, gap] of [
    ["20 within a second, 10 s between", inBursts(20, 50 * MS, 10 * SECOND)],
    ["100 within 5 s, a minute between", inBursts(100, 50 * MS, MINUTE)],
    ["50 within 5 s, 10 min between", inBursts(50, 100 * MS, 10 * MINUTE)],
  ] as const) {
    test(`${name}: no alarm in ${STREAMS} times two days`, (t) => {
      t.diagnostic(`seed ${SEED}`);
      const market = new Market(gap);
      market.live(2 * DAY);
      assert.deepEqual(market.watch.alarms, []);
    });
  }

  for (const [sigma, quietFirst, staleFirst, quietLater] of [
    [1, 2, 0, 2],
    [1.5, 10, 1, 4],
  ] as const) {
    test(`log-normal gaps, sigma ${sigma}: ${STREAMS} streams are called quiet at most ${quietFirst} times on the first day, ${quietLater} on the next, and never stale then`, (t) => {
      t.diagnostic(`seed ${SEED}`);
      const market = new Market(heavyTailed(10 * SECOND, sigma));
      const { watch } = market;
      market.live(DAY);
      const first = [watch.count(STATE_QUIET), watch.count(STATE_STALE)] as const;
      const since = watch.clock.now();
      market.live(DAY);
      const later = [watch.count(STATE_QUIET, since), watch.count(STATE_STALE, since)] as const;
      t.diagnostic(`quiet and stale: ${first}, then ${later}`);
      assert.ok(first[0] <= quietFirst && first[1] <= staleFirst, `first day: ${first}`);
      assert.ok(later[0] <= quietLater && later[1] === 0, `second day: ${later}`);
      assert.ok(market.fallSilent(6 * HOUR).stale[1] > 0, "a real silence is noticed all the same");
    });
  }
});

describe("what is learned", () => {
  const TRADES = streamOf(1, SLOT_TRADES);
  const BOOK = streamOf(1, SLOT_ORDERBOOK);

  /** When a stream that falls silent now is called so, seconds; then it has news again. */
  function noticed(watch: Watch, stream: number, most: number): number[] {
    const [since, before] = [watch.clock.now(), watch.alarms.length];
    watch.pass(most);
    return watch.alarms.slice(before).map(({ at }) => {
      watch.news(stream);
      return (at - since) / SECOND;
    });
  }

  test("a book that changes each 100 ms is quiet after 4 s, and stale after 10 s", () => {
    const watch = new Watch();
    watch.watch(BOOK);
    for (let look = 0; look < 400; look += 1) {
      for (let each = 0; each < 2 + (look % 2); each += 1) watch.news(BOOK);
      watch.pass(LOOK);
    }
    const [quiet, stale] = noticed(watch, BOOK, 11 * SECOND) as [number, number];
    assert.ok(quiet > 2.9 && quiet <= 4, `quiet after ${quiet} s`);
    assert.ok(stale > 10 && stale <= 10.5, `stale after ${stale} s`);
  });

  test("trades that begin with a burst are not judged by it", () => {
    const watch = new Watch();
    watch.watch(TRADES);
    watch.beat(TRADES, LOOK, 100);
    watch.pass(HOUR);
    assert.deepEqual(watch.alarms, []);
    watch.beat(TRADES, LOOK, 100);
    watch.pass(HOUR);
    assert.deepEqual(watch.alarms, [], "and the pause is known from then on");
    watch.freshness.watch(TRADES);
    assert.deepEqual(watch.freshness.counts(), { watched: 1, learned: 1 }, "watched twice is watched on");
  });

  test("a pair that trades a few times a day remembers its longest pause for more than a day", () => {
    const watch = new Watch();
    watch.watch(TRADES);
    watch.beat(TRADES, LOOK, 40);
    watch.pass(20 * HOUR);
    for (let burst = 0; burst < 20; burst += 1) {
      watch.beat(TRADES, LOOK, 40);
      watch.pass(3 * HOUR);
    }
    watch.beat(TRADES, LOOK, 40);
    watch.pass(40 * HOUR);
    assert.deepEqual(watch.alarms, []);
  });

  test("a pair that grows forty times slower is called quiet a few times, then its pace is its own", () => {
    const watch = new Watch();
    watch.watch(TRADES);
    watch.beat(TRADES, 5 * SECOND, 200);
    watch.beat(TRADES, 200 * SECOND, 3);
    assert.ok(watch.count(STATE_QUIET) > 0, "it was noticed");
    const before = watch.alarms.length;
    watch.beat(TRADES, 200 * SECOND, 20);
    assert.ok(watch.alarms.length - before <= 4, `${watch.alarms.length - before} alarms`);
    const later = watch.alarms.length;
    watch.beat(TRADES, 200 * SECOND, 400);
    assert.equal(watch.alarms.length, later);
  });

  for (const [what, states] of [
    ["down", [STATE_DOWN]],
    ["given up for silent", [STATE_STALE]],
    ["lost, and its book asked for again", [STATE_STALE, STATE_RESYNCING]],
    ["found stale here, then down", [STATE_LIVE, STATE_DOWN]],
  ] as const) {
    test(`a stream that was ${what} for an hour: the hour is no cadence, and what was learned before holds`, () => {
      const watch = new Watch();
      for (const stream of [TRADES, BOOK]) {
        watch.watch(stream);
        watch.beat(stream, 500 * MS, 1200);
        const [quiet, stale] = noticed(watch, stream, 40 * SECOND);
        assert.ok(stale !== undefined, "it was stale by its own silence before");
        watch.beat(stream, 500 * MS, 1200);
        for (const state of states) {
          if (state !== STATE_LIVE) watch.set(stream, state);
          watch.pass(HOUR);
        }
        watch.beat(stream, 500 * MS, 2);
        assert.deepEqual(watch.freshness.counts().learned, stream === TRADES ? 1 : 2, "it need not learn again");
        watch.beat(stream, 500 * MS, 18);
        const [again = Number.POSITIVE_INFINITY] = noticed(watch, stream, 40 * SECOND);
        assert.ok(Math.abs(again - (quiet ?? 0)) <= 1, `quiet after ${quiet} s, then after ${again} s`);
        watch.beat(stream, 500 * MS, 2);
        watch.freshness.forget(BOOK);
      }
    });
  }

  test("an outage of an hour that passes for a pause is not taken for the usual", () => {
    const watch = new Watch();
    watch.watch(TRADES);
    for (let outage = 0; outage < 3; outage += 1) {
      watch.beat(TRADES, 500 * MS, 1200);
      const [quiet, stale] = noticed(watch, TRADES, HOUR) as [number, number];
      assert.ok(quiet <= 20 && stale <= 40, `outage ${outage}: quiet after ${quiet} s, stale after ${stale} s`);
    }
  });

  test("a process that stood still for minutes has not heard silence", () => {
    const watch = new Watch();
    watch.watch(BOOK);
    watch.beat(BOOK, LOOK, 400);
    watch.clock.advance(10 * MINUTE);
    watch.pass(LOOK);
    watch.news(BOOK);
    watch.pass(LOOK);
    assert.deepEqual(watch.alarms, []);
    watch.pass(20 * SECOND);
    assert.deepEqual([watch.count(STATE_QUIET), watch.count(STATE_STALE)], [1, 1], "but then it does");
  });

  test("streams come and go, and the others keep what they have learned", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const random = new Random(SEED);
    const watch = new Watch();
    const open = new Map<number, number>();
    for (let step = 0; step < 500; step += 1) {
      const stream = streamOf(random.integer(1, 100), random.pick([SLOT_TRADES, SLOT_ORDERBOOK, SLOT_TICKER]));
      if (open.delete(stream)) watch.freshness.forget(stream);
      else {
        watch.watch(stream);
        open.set(stream, stream);
      }
      for (const each of open.keys()) watch.news(each);
      watch.pass(LOOK);
    }
    const watched = [...open.keys()].filter((stream) => stream % 32 !== SLOT_TICKER);
    assert.equal(watch.freshness.counts().watched, watched.length);
    assert.deepEqual(watch.alarms, []);
    watch.pass(MINUTE);
    const silent = watch.alarms.filter(({ state }) => state === STATE_STALE).map(({ stream }) => stream);
    const books = watched.filter((stream) => stream % 32 === SLOT_ORDERBOOK);
    assert.ok(books.length > 10 && silent.length >= books.length - 20, `${silent.length} of ${books.length} books`);
    assert.equal(new Set(silent).size, silent.length);
    assert.ok(
      silent.every((stream) => open.has(stream)),
      "only what is open is silent",
    );
  });
});

describe("in the engine", () => {
  /** Everything four times a second, for ten minutes: quiet after 7.5 s. */
  function lively(): { bench: EngineBench; instrument: Instrument; update: () => void } {
    const bench = new EngineBench(BINANCE_RULES, {}, 64 * 2 ** 20);
    const instrument = bench.start();
    let last = 10;
    bench.snapshot(instrument, last, [[99, 1]], [[101, 1]]);
    const update = () => {
      last += 1;
      bench.quote(instrument, last, [99, last, 101, 1]);
      bench.delta(instrument, last, last, [[99, last]], []);
      bench.trade(instrument, 100);
    };
    for (let beat = 0; beat < 2400; beat += 1) {
      update();
      pass(bench, LOOK);
    }
    bench.story();
    return { bench, instrument, update };
  }

  function pass(bench: EngineBench, micros: number): void {
    for (let passed = 0; passed < micros; passed += LOOK) {
      bench.advance(LOOK);
      bench.engine.sweep();
    }
  }

  /** The streams that a frame of their own has called quiet, or worse, by the latter's name. */
  const silent = (bench: EngineBench) =>
    bench
      .story()
      .filter((line) => line.includes(" silent for "))
      .map((line) => line.split(" ").slice(0, 2).join(" "))
      .sort();

  test("trades, book and quotes turn quiet, and each is live again with its own next news", () => {
    const { bench, instrument, update } = lively();
    pass(bench, 9 * SECOND);
    assert.deepEqual(silent(bench), ["orderbook quiet", "quotes quiet", "trades quiet"]);
    update();
    const { engine } = bench;
    for (const slot of [SLOT_TRADES, SLOT_ORDERBOOK, SLOT_QUOTES]) {
      assert.equal(engine.states.of(streamOf(instrument.id, slot)), STATE_LIVE, `slot ${slot}`);
    }
    assert.deepEqual([engine.freshness.quiets, engine.freshness.stales], [3, 0]);
  });

  test("a lost connection is no silence, however long, and after it the cadence is known at once", () => {
    const { bench, instrument, update } = lively();
    bench.disconnect();
    pass(bench, 10 * MINUTE);
    assert.deepEqual([bench.engine.freshness.quiets, bench.engine.freshness.stales], [0, 0]);
    bench.connect();
    bench.snapshot(instrument, 2410, [[99, 1]], [[101, 1]]);
    for (let beat = 0; beat < 4; beat += 1) {
      update();
      pass(bench, LOOK);
    }
    bench.story();
    pass(bench, 9 * SECOND);
    assert.deepEqual(silent(bench), ["orderbook quiet", "quotes quiet", "trades quiet"]);
  });
});

/** What a recorded message is news of: the stream's name, or undefined for what is not watched. */
type Reader = (message: Record<string, never>) => string | undefined;

const CAPTURES = COINBASE_RUN[0]?.replace(/\/coinbase\/.*/, "");

const coinbase: Reader = ({ type, product_id }) => {
  if (type === "l2update" || type === "snapshot") return `orderbook ${product_id}`;
  return type === "match" || type === "last_match" ? `trades ${product_id}` : undefined;
};

const binance: Reader = ({ stream, lastUpdateId }) => {
  if (lastUpdateId !== undefined) return "orderbook ethusdt";
  const [symbol, channel] = String(stream).split("@");
  return `${channel === "trade" ? "trades" : channel === "depth" ? "orderbook" : "quotes"} ${symbol}`;
};

const okx: Reader = ({ arg, data }) => {
  const { channel, instId } = (arg ?? {}) as { channel?: string; instId?: string };
  if (data === undefined || (channel !== "books" && channel !== "trades")) return undefined;
  return `${channel === "books" ? "orderbook" : "trades"} ${instId}`;
};

const kraken: Reader = ({ channel, type }) =>
  channel === "book" && (type === "update" || type === "snapshot") ? "orderbook BTC/USD" : undefined;

interface Line {
  atMs: number;
  text: Buffer | string;
}

function* krakenLines(path: string): Generator<Line> {
  const lines = gunzipSync(readFileSync(path)).toString().split("\n");
  for (let at = 1; at + 1 < lines.length; at += 2) {
    yield { atMs: Number(lines[at]?.split(" ")[0]) / 1e6, text: lines[at + 1] as string };
  }
}

function* linesOf(paths: readonly string[]): Generator<Line> {
  for (const path of paths) yield* path.includes("/kraken/") ? krakenLines(path) : readCapture(path);
}

/** The news of a recording, in its order. */
function newsOf(paths: readonly string[], read: Reader): { key: string; at: number }[] {
  return [...linesOf(paths)].flatMap(({ atMs, text }) => {
    const key = read(JSON.parse(text.toString()));
    return key === undefined ? [] : [{ key, at: atMs * MS }];
  });
}

describe("the recorded venues", { skip: NO_CAPTURES }, () => {
  for (const [name, paths, read, streams, learned] of [
    ["Binance", BINANCE_RUN, binance, 3, 3],
    ["Coinbase", COINBASE_RUN, coinbase, 20, 20],
    ["Kraken", [`${CAPTURES}/kraken/v2-btcusd-depth25.cbcap.gz`], kraken, 1, 1],
    ["Kraken, subscribed again and again", [`${CAPTURES}/kraken/v2-btcusd-depth10-resync.cbcap.gz`], kraken, 1, 1],
    ["OKX", [`${CAPTURES}/okx/v5-20220513.gz`], okx, 6, 6],
  ] as const) {
    test(`${name}: no stream is ever quiet, from its first message on, through half an hour of the recording`, (t) => {
      const news = newsOf(paths, read);
      const [first, last] = [news[0]?.at ?? 0, news.at(-1)?.at ?? 0];
      const watch = new Watch();
      const numbers = new Map<string, number>();
      // Most are too short for anything to be learned: they are played again and again.
      for (let shift = 0; shift < 30 * MINUTE; shift += last - first + LOOK) {
        for (const { key, at } of news) {
          while (watch.clock.now() + LOOK < START_MICROS + shift + at - first) watch.pass(LOOK);
          let stream = numbers.get(key);
          if (stream === undefined) {
            const slot = { trades: SLOT_TRADES, orderbook: SLOT_ORDERBOOK }[key.split(" ")[0] as string] ?? SLOT_QUOTES;
            stream = streamOf(numbers.size + 1, slot);
            numbers.set(key, stream);
            watch.watch(stream);
          }
          watch.news(stream);
        }
      }
      const counts = watch.freshness.counts();
      t.diagnostic(`${counts.watched} streams, ${counts.learned} of them learned`);
      assert.deepEqual(watch.alarms, []);
      assert.deepEqual(counts, { watched: streams, learned }, [...numbers.keys()].join());
    });
  }
});
