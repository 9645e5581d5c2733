/**
 * A local book against the engine's own: random runs of what a venue and a connection can do, fed frame by frame as the
 * ring has them. While the local book says that it is live it equals the engine's, and it is live whenever it can be.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LocalBook } from "../src/client/local-book.ts";
import { RING, variantOf } from "../src/engine/derived.ts";
import { TIER_DEPTHS } from "../src/engine/tier.ts";
import type { BookSide } from "../src/market/book-side.ts";
import { SLOT_ORDERBOOK, streamOf } from "../src/market/channel.ts";
import type { Instrument } from "../src/market/instrument.ts";
import { STATE_DOWN, STATE_LIVE, STATE_QUIET, STATE_RESYNCING, STATE_STALE } from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import { MAX_FRAME_LEVELS } from "../src/wire/frame.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import { FrameView, PAYLOAD_BOOK_LEVELS, PAYLOAD_STREAM_STATE } from "../src/wire/generated/views.ts";
import type { Memory } from "../src/wire/memory.ts";
import { COINBASE_RULES, EngineBench, type Levels } from "./gateway.ts";

const RUNS = 40;
const STEPS = 250;
const NAME = { exchange: "venue", symbol: "BTC/USDT" };
const MID = 1000;

/** A side of the engine's book, best first. */
function levelsOf(side: BookSide): [number, number][] {
  return Array.from({ length: side.count }, (_, level) => {
    const at = side.count - 1 - level;
    return [side.prices[at] as number, side.sizes[at] as number];
  });
}

function all(book: LocalBook): ReturnType<LocalBook["top"]> {
  return book.top(Number.POSITIVE_INFINITY);
}

/** An engine, and a client of its only book that gets the ring's frames. */
class Pair {
  readonly bench: EngineBench;
  readonly instrument: Instrument;
  readonly book: LocalBook;
  readonly #frame = new FrameView();
  readonly #cursor: LogCursor;
  /** Frames are lost on their way while it is true. */
  isDeaf = false;
  /** Called after each frame, with whether it ended an event. */
  onFrame: (ended: boolean) => void = () => {};
  compared = 0;
  frames = 0;
  unfinished = 0;

  constructor(bench: EngineBench, maxLagMs = Number.POSITIVE_INFINITY) {
    this.bench = bench;
    this.#cursor = new LogCursor(bench.log);
    this.#cursor.seek(0);
    this.instrument = bench.start();
    this.book = new LocalBook(NAME, maxLagMs, () => bench.clock.now());
  }

  get own() {
    return this.bench.engine.books.get(this.instrument.id);
  }

  /** What the ring has more never comes. */
  skip(): void {
    while (this.#cursor.next());
  }

  /** Takes what the ring has more of the book's stream, so many frames of it. */
  read(most = Number.POSITIVE_INFINITY): void {
    const until = this.frames + most;
    while (this.frames < until && this.#cursor.next()) {
      if (this.isDeaf) continue;
      const { ring, record } = this.#cursor;
      const at = ring.placeOf(record);
      this.#frame.attach(ring.memory, at + (ring.memory.i32[at >> 2] as number));
      if (this.#frame.stream === this.stream) this.take(this.#frame);
    }
  }

  get stream(): number {
    return streamOf(this.instrument.id, SLOT_ORDERBOOK);
  }

  take(frame: FrameView): boolean {
    this.frames += 1;
    const { book } = this;
    if (frame.payloadType === PAYLOAD_STREAM_STATE) return book.takeState(frame);
    assert.equal(frame.payloadType, PAYLOAD_BOOK_LEVELS);
    const before = book.events;
    const ended = book.takeLevels(frame);
    if (!ended) {
      this.unfinished += 1;
      assert.equal(book.events, before, "nothing of an unfinished event is seen");
    }
    this.onFrame(ended);
    return ended;
  }

  /** The book, or its state, as a new subscriber gets it. */
  bootstrap(): void {
    this.bench.engine.derived.bootstrap(this.stream, RING, (memory: Memory) => {
      this.#frame.attach(memory, memory.i32[0] as number);
      this.take(this.#frame);
    });
  }

  compare(context: string): void {
    const { book, own } = this;
    if (!book.live) return;
    assert.ok(own?.live, `${context}: live while the engine's is not`);
    assert.deepEqual(all(book), { bids: levelsOf(own.bids), asks: levelsOf(own.asks) }, context);
    assert.equal(book.bidCount, own.bids.count);
    assert.equal(book.askCount, own.asks.count);
    this.compared += 1;
  }
}

/** What a run does next, and how often beside the others. */
const DEEDS = [
  ["delta", 60],
  ["snapshot", 8],
  ["lose", 3],
  ["gap", 4],
  ["drop", 3],
  ["quiet", 1],
] as const;

type Deed = (typeof DEEDS)[number][0];

/** One random run over a pair: every event's price lies `spread` at most from the middle, bids below, asks above. */
class Run {
  readonly pair: Pair;
  readonly #random: Random;
  readonly #levels: number;
  readonly #bag: Deed[] = DEEDS.flatMap(([deed, weight]) => new Array<Deed>(weight).fill(deed));
  /** Ring frames that a lost connection keeps back until it is there again. */
  #isAway = false;
  readonly story: string[] = [];

  constructor(seed: number, levels: number) {
    this.pair = new Pair(new EngineBench(COINBASE_RULES));
    this.#random = new Random(seed);
    this.#levels = levels;
    this.#snapshot();
  }

  #side(sign: number, count: number, isWhole: boolean): Levels {
    const random = this.#random;
    return Array.from({ length: count }, (_, index) => {
      const price = MID + (sign * (isWhole ? index + 1 : random.integer(1, 2 * this.#levels))) / 8;
      return [price, isWhole || random.chance(0.6) ? random.integer(1, 1000) / 16 : 0] as const;
    });
  }

  step(): void {
    const deed = this.#random.pick(this.#bag);
    this.story.push(deed);
    this.#do(deed);
    if (!this.#isAway) this.pair.read();
    this.pair.bench.clock.advance(this.#random.integer(0, 1000));
  }

  #do(deed: Deed): void {
    const { pair } = this;
    const { bench, instrument, book } = pair;
    const random = this.#random;
    if (deed === "delta") {
      const count = random.integer(1, random.chance(0.1) ? this.#levels : 6);
      bench.delta(instrument, 0, 0, this.#side(-1, count, false), this.#side(1, random.integer(0, count), false));
    } else if (deed === "snapshot") this.#snapshot();
    else if (deed === "lose") {
      if (random.chance(0.5)) bench.engine.books.lose(instrument.id, "for the test");
      else {
        bench.disconnect();
        if (random.chance(0.8)) bench.connect();
      }
    } else if (deed === "gap") this.#gap();
    else if (deed === "quiet") {
      if (pair.own?.live === true) bench.engine.states.set(pair.stream, STATE_QUIET, "silent for the test");
    } else if (this.#isAway) this.#return();
    else {
      pair.read();
      this.#isAway = true;
      book.disconnect("cut");
    }
  }

  #snapshot(): void {
    const { bench, instrument } = this.pair;
    bench.connect();
    const count = this.#random.integer(1, this.#levels);
    bench.snapshot(instrument, 0, this.#side(-1, count, true), this.#side(1, count, true));
  }

  /** Some frames do not come; then what they were is told, and the book begins anew. */
  #gap(): void {
    const { pair } = this;
    if (this.#isAway) return;
    pair.read();
    pair.isDeaf = true;
    for (let step = this.#random.integer(0, 3); step > 0; step -= 1) this.#do("delta");
    pair.read();
    pair.isDeaf = false;
    pair.book.lose("gap", "window");
    assert.equal(pair.book.live, false);
    pair.bootstrap();
  }

  /** The connection is there again: with all that was missed, with some of it and then a beginning, or with a beginning. */
  #return(): void {
    const { pair } = this;
    const way = this.#random.pick(["whole", "part", "anew"] as const);
    this.story.push(way);
    this.#isAway = false;
    pair.isDeaf = way === "anew";
    if (way === "anew") pair.book.lose("syncing", "another server");
    pair.read();
    assert.equal(pair.book.live, false, "not live before it is level");
    pair.isDeaf = true;
    if (way === "part") {
      this.#do(this.#random.pick(["delta", "snapshot"] as const));
      pair.read();
      pair.book.lose("gap", "window");
    }
    pair.isDeaf = false;
    if (way !== "whole") pair.bootstrap();
    pair.book.level();
  }

  check(step: number): void {
    const { pair } = this;
    const context = `step ${step} after ${this.story.slice(-5).join(", ")}`;
    if (this.#isAway) assert.equal(pair.book.live, false, context);
    else if (pair.own?.live === true) assert.equal(pair.book.live, true, `${context}: ${pair.book.state}`);
    pair.compare(context);
  }
}

test(`${RUNS} random runs: live means equal, and is said as soon as it can be`, () => {
  let compared = 0;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const run = new Run(seed, 40);
    for (let step = 0; step < STEPS; step += 1) {
      run.step();
      try {
        run.check(step);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    compared += run.pair.compared;
  }
  console.log(`# seeds 1 to ${RUNS}: ${compared} comparisons`);
  assert.ok(compared > (RUNS * STEPS) / 4, "most steps were compared");
});

test("a book of thousands of levels, whose events span frames, is never seen half changed", () => {
  const run = new Run(1, 3 * MAX_FRAME_LEVELS);
  for (let step = 0; step < 100; step += 1) {
    run.step();
    run.check(step);
  }
  assert.ok(run.pair.unfinished > 20, `${run.pair.unfinished} frames did not end an event`);
  assert.ok(run.pair.book.events > 0);
});

test("while an event is gathered the book stays as it was, frame after frame", () => {
  const pair = new Pair(new EngineBench(COINBASE_RULES));
  const { bench, instrument, book } = pair;
  const count = MAX_FRAME_LEVELS + 10;
  const side = (sign: number, size: number): Levels =>
    Array.from({ length: count }, (_, index) => [MID + sign * (index + 1), size] as const);
  bench.snapshot(instrument, 0, side(-1, 1), side(1, 1));
  pair.read();
  let seen = 0;
  pair.onFrame = (ended) => {
    const sizes = new Set([...all(book).bids, ...all(book).asks].map(([, size]) => size));
    assert.deepEqual([...sizes], [ended ? 2 : 1]);
    seen += 1;
  };
  bench.delta(instrument, 0, 0, side(-1, 2), side(1, 2));
  pair.read();
  assert.equal(seen, 3);
  assert.equal(book.bidCount, count);
});

test("a snapshot that begins while changes are gathered takes nothing of them", () => {
  const pair = new Pair(new EngineBench(COINBASE_RULES));
  const { bench, instrument, book } = pair;
  const many: Levels = Array.from({ length: MAX_FRAME_LEVELS + 1 }, (_, index) => [MID - 1 - index, 7] as const);
  bench.snapshot(instrument, 0, [[MID - 1, 1]], [[MID + 1, 1]]);
  pair.read();
  bench.delta(instrument, 0, 0, many, []);
  pair.read(1);
  assert.equal(book.bidCount, 1, "the first half only is there");
  pair.skip();
  bench.snapshot(instrument, 0, [[MID - 2, 2]], [[MID + 2, 2]]);
  pair.read();
  assert.deepEqual(all(book), { bids: [[MID - 2, 2]], asks: [[MID + 2, 2]] });
});

test("a crossed book is stale, with the reason, until the next snapshot; a locked one is right", () => {
  const pair = new Pair(new EngineBench(COINBASE_RULES));
  const { bench, instrument, book } = pair;
  bench.snapshot(instrument, 0, [[99, 1]], [[101, 1]]);
  bench.delta(instrument, 0, 0, [[101, 1]], []);
  pair.read();
  assert.deepEqual([book.state, book.bid(), book.ask()], ["live", 101, 101]);
  // Above the ask, and the removal of the ask never comes: what the engine has is right, what came here is not.
  bench.delta(
    instrument,
    0,
    0,
    [],
    [
      [101, 0],
      [103, 1],
    ],
  );
  pair.skip();
  bench.delta(instrument, 0, 0, [[102, 1]], []);
  pair.read();
  assert.deepEqual([book.state, book.reason, book.live], ["stale", "bid above ask", false]);
  bench.delta(instrument, 0, 0, [[98, 1]], []);
  pair.read();
  assert.equal(book.state, "stale");
  pair.bootstrap();
  assert.deepEqual([book.state, book.reason], ["live", ""]);
  pair.compare("after the snapshot");
});

test("a book whose changes come late is lagging, and live again with the first that does not", () => {
  const pair = new Pair(new EngineBench(COINBASE_RULES), 250);
  const { bench, instrument, book } = pair;
  assert.ok(Number.isNaN(book.ageMs));
  bench.snapshot(instrument, 0, [[99, 1]], [[101, 1]]);
  bench.clock.advance(250_000);
  pair.read();
  assert.deepEqual([book.state, book.ageMs], ["live", 250]);
  bench.delta(instrument, 0, 0, [[98, 1]], []);
  bench.clock.advance(251_000);
  pair.read();
  assert.deepEqual([book.state, book.reason, book.live], ["lagging", "251 ms behind", false]);
  // What the stream says does not make late levels right.
  bench.engine.states.set(pair.stream, STATE_QUIET, "silent");
  pair.read();
  assert.equal(book.state, "lagging");
  bench.delta(instrument, 0, 0, [[97, 1]], []);
  pair.read();
  assert.deepEqual([book.state, book.reason], ["live", ""]);
  assert.deepEqual(book.top(2), {
    bids: [
      [99, 1],
      [98, 1],
    ],
    asks: [[101, 1]],
  });
  assert.ok([book.bid(9), book.bidSize(9), book.ask(1), book.askSize(1)].every(Number.isNaN), "beyond the book");
});

test("a stream's state is the book's, but a snapshot is the whole truth", () => {
  const pair = new Pair(new EngineBench(COINBASE_RULES));
  const { bench, instrument, book } = pair;
  const { states } = bench.engine;
  assert.equal(book.state, "syncing");
  pair.read();
  bench.snapshot(instrument, 0, [[99, 1]], [[101, 1]]);
  pair.read();
  for (const [state, name] of [
    [STATE_STALE, "stale"],
    [STATE_RESYNCING, "resyncing"],
    [STATE_DOWN, "down"],
  ] as const) {
    states.set(pair.stream, state, "why");
    pair.read();
    assert.deepEqual([book.state, book.reason, book.live], [name, "why", false]);
  }
  book.disconnect("cut");
  assert.deepEqual([book.state, book.reason], ["disconnected", "cut"]);
  pair.bootstrap();
  assert.equal(book.state, "disconnected", "not before all that was missed has come");
  book.level();
  assert.equal(book.state, "down", "the stream said so last");
  states.set(pair.stream, STATE_LIVE, "");
  pair.skip();
  pair.bootstrap();
  assert.deepEqual([book.state, book.reason], ["live", ""]);
});

for (const [index, depth] of TIER_DEPTHS.entries()) {
  test(`a tier of ${depth} levels is the top of the book`, () => {
    const run = new Run(depth, 60);
    const { pair } = run;
    const { derived } = pair.bench.engine;
    const variant = variantOf(index, 0);
    const tier = new LocalBook(NAME, Number.POSITIVE_INFINITY, () => 0);
    const frame = new FrameView();
    const take = (memory: Memory) => {
      frame.attach(memory, memory.i32[0] as number);
      if (frame.payloadType === PAYLOAD_STREAM_STATE) tier.takeState(frame);
      else tier.takeLevels(frame);
    };
    derived.open(pair.stream, variant);
    derived.bootstrap(pair.stream, variant, take);
    let compared = 0;
    for (let step = 0; step < 4 * STEPS; step += 1) {
      run.step();
      derived.flush(pair.bench.clock.now(), take);
      assert.equal(tier.live, pair.own?.live === true, `step ${step}: ${tier.state}`);
      if (!tier.live || pair.own === undefined) continue;
      const { bids, asks } = pair.own;
      const top = { bids: levelsOf(bids).slice(0, depth), asks: levelsOf(asks).slice(0, depth) };
      assert.deepEqual(all(tier), top, `step ${step}`);
      compared += 1;
    }
    assert.ok(compared > STEPS, `${compared} comparisons`);
  });
}
