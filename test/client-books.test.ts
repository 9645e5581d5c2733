/** Local order books of the SDK: equal to the server's own at every checked sequence, and never live while they are not. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connect, type LocalBook } from "../src/client/index.ts";
import { LocalBook as Book } from "../src/client/local-book.ts";
import type { Engine } from "../src/engine/engine.ts";
import { SLOT_ORDERBOOK, streamOf } from "../src/market/channel.ts";
import { Random } from "../src/std/random.ts";
import { FLAG_LAST_OF_EVENT, FLAG_SNAPSHOT, writeBookLevels, writeHeader } from "../src/wire/frame.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import { scratchMemory } from "../src/wire/memory.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { BINANCE_RUN, eventually, NO_CAPTURES, startGateway } from "./gateway.ts";
import { type Served, serve, settled, spot, type Venue } from "./serve.ts";

/** Levels of a side as one number, whatever keeps them. */
function digest(count: number, price: (level: number) => number, size: (level: number) => number): number {
  let sum = count;
  for (let level = 0; level < count; level += 1) sum = (sum * 31 + price(level) * 7919 + size(level) * 104_729) % 1e15;
  return sum;
}

function ofEngine(engine: Engine, id: number): string {
  const book = engine.books.get(id);
  if (book?.live !== true) return "";
  const side = ({ count, prices, sizes }: typeof book.bids) =>
    digest(
      count,
      (level) => prices[count - 1 - level] as number,
      (level) => sizes[count - 1 - level] as number,
    );
  return `${side(book.bids)} ${side(book.asks)}`;
}

function ofClient(book: LocalBook): string {
  const bids = digest(
    book.bidCount,
    (level) => book.bid(level),
    (level) => book.bidSize(level),
  );
  const asks = digest(
    book.askCount,
    (level) => book.ask(level),
    (level) => book.askSize(level),
  );
  return `${bids} ${asks}`;
}

/** Notes what the engine's book is at each sequence at which a turn ends. */
function watch(engine: Engine, id: number, onEnd: (ending: () => void) => void): Map<number, string> {
  const books = new Map<number, string>();
  onEnd(() => {
    const sequence = engine.frames.sequence(streamOf(id, SLOT_ORDERBOOK));
    const is = ofEngine(engine, id);
    if (is !== "") books.set(sequence, is);
  });
  return books;
}

interface Stage {
  served: Served;
  venue: Venue;
  id: number;
  expected: Map<number, string>;
}

async function stage(t: TestContext): Promise<Stage> {
  const served = await serve({ graceMs: 600_000 });
  t.after(() => served.stop());
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  const keeper = await connect(served.url);
  t.after(() => keeper.close());
  await keeper.books({ symbols: "A0/USDT" });
  return { served, venue, id, expected: watch(served.engine, id, (ending) => served.turn.onEnd(ending)) };
}

/** A change of the book that is anywhere, and any size, 0 among them. */
function change({ venue, id, served }: Stage, random: Random): void {
  venue.bookDelta(id, random.integer(0, 4) === 0 ? 0 : random.integer(1, 1e6), random.integer(0, 40));
  served.turn.end();
}

test("a random book: equal at every sequence, one change for each event of the venue", async (t) => {
  const seed = 20261128;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const on = await stage(t);
  const client = await connect(on.served.url);
  t.after(() => client.close());
  const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a" });
  const [book] = books.all as [LocalBook];
  assert.equal(book.state, "live");
  let changes = 0;
  const wrong: number[] = [];
  books.on("change", (changed) => {
    changes += 1;
    if (changed.live && on.expected.get(changed.sequence) !== ofClient(changed)) wrong.push(changed.sequence);
  });
  const before = book.events;
  for (let event = 0; event < 3000; event += 1) {
    change(on, random);
    if (event % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await eventually(
    () => book.events - before === 3000,
    () => `3,000 events: ${book.events - before}`,
  );
  assert.equal(changes, 3000);
  assert.deepEqual(wrong, []);
  assert.ok(book.ageMs >= -1000 && book.ageMs < 60_000);
});

test("the recorded Binance run: equal to the server's at every checked sequence", { skip: NO_CAPTURES }, async (t) => {
  const flags = ["--feeds=recording", "--recording", BINANCE_RUN.join(","), "--speed=2000"];
  const running = await startGateway(flags, {});
  t.after(() => running.stop());
  const { engine } = running.gateway;
  await eventually(() => engine.catalog.withSymbol("ETH/USDT").length > 0, "the instrument");
  const [{ id }] = engine.catalog.withSymbol("ETH/USDT") as readonly { id: number }[] as readonly [{ id: number }];
  const expected = watch(engine, id, (ending) => running.gateway.turn.onEnd(ending));
  const client = await connect(running.url);
  t.after(() => client.close());
  const books = await client.books({ symbols: "ETH/USDT" });
  let checked = 0;
  const wrong: number[] = [];
  books.on("change", (book) => {
    const is = expected.get(book.sequence);
    if (!book.live || is === undefined) return;
    checked += 1;
    if (is !== ofClient(book)) wrong.push(book.sequence);
  });
  await (running.gateway.feeds[0] as unknown as { ended: Promise<void> }).ended;
  await eventually(() => books.all.every(({ state }) => state !== "live"), "the recording's end to be told");
  t.diagnostic(`${checked} sequences checked, of ${expected.size}`);
  assert.ok(checked > 5000, `${checked} checked`);
  assert.deepEqual(wrong, []);
});

test("depth tiers are the top of the server's book", async (t) => {
  const random = new Random(7);
  const on = await stage(t);
  const client = await connect(on.served.url);
  t.after(() => client.close());
  for (const depth of [5, 20]) {
    const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a", depth });
    const [book] = books.all as [LocalBook];
    for (let event = 0; event < 200; event += 1) change(on, random);
    await settled(on.served);
    const { bids, asks } = on.served.engine.books.get(on.id) as never as Record<
      string,
      { count: number; prices: Float64Array }
    >;
    const top = ({ count, prices }: { count: number; prices: Float64Array }) =>
      Array.from({ length: Math.min(depth, count) }, (_, level) => prices[count - 1 - level]);
    await eventually(
      () => JSON.stringify(book.top(depth).bids.map(([price]) => price)) === JSON.stringify(top(bids as never)),
      () => `the top ${depth} bids`,
    );
    await eventually(
      () => JSON.stringify(book.top(depth).asks.map(([price]) => price)) === JSON.stringify(top(asks as never)),
      () => `the top ${depth} asks`,
    );
    assert.ok(book.bidCount <= depth && book.askCount <= depth);
    await books.close();
  }
});

test("a book that is lost is not live at once, and is right when it is live again", async (t) => {
  const on = await stage(t);
  const client = await connect(on.served.url);
  t.after(() => client.close());
  const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a" });
  const [book] = books.all as [LocalBook];
  const states: string[] = [];
  books.on("change", ({ state, live, reason }) => {
    if (states.at(-1) !== state) states.push(state);
    assert.equal(live, state === "live");
    if (state === "stale") assert.equal(reason, "a test");
  });
  on.venue.bookDelta(on.id, 3);
  on.served.engine.books.lose(on.id, "a test");
  on.served.turn.end();
  await eventually(
    () => states.includes("stale") && book.live,
    () => states.join(),
  );
  assert.equal(states.at(-1), "live");
  await settled(on.served);
  assert.equal(ofClient(book), ofEngine(on.served.engine, on.id));
});

test("while the connection is gone no book is live; what was missed comes, and it is equal", async (t) => {
  const random = new Random(9);
  const on = await stage(t);
  const proxy = await FaultProxy.start({ target: on.served.port, random });
  t.after(() => proxy.close());
  const client = await connect(`ws://127.0.0.1:${proxy.port}`, {
    reconnect: { baseMs: 5, maxMs: 20 },
    heartbeatMs: 250,
  });
  t.after(() => client.close());
  const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a" });
  const [book] = books.all as [LocalBook];
  const wrong: number[] = [];
  const states = new Set<string>();
  books.on("change", (changed) => {
    states.add(changed.state);
    if (changed.live && on.expected.get(changed.sequence) !== ofClient(changed)) wrong.push(changed.sequence);
  });
  for (let round = 0; round < 5; round += 1) {
    for (let event = 0; event < 50; event += 1) change(on, random);
    await eventually(() => book.live, "the book to be live");
    const gone = new Promise<void>((resolve) => void client.once("disconnect", () => resolve()));
    proxy.fault("cut", { how: "reset" });
    await gone;
    assert.equal(book.state, "disconnected");
    for (let event = 0; event < 50; event += 1) change(on, random);
  }
  await settled(on.served);
  const sequence = on.served.engine.frames.sequence(streamOf(on.id, SLOT_ORDERBOOK));
  await eventually(
    () => book.live && book.sequence === sequence,
    () => `${book.state} ${book.sequence} ${sequence}`,
  );
  assert.deepEqual(wrong, []);
  assert.ok(states.has("disconnected"));
  assert.equal(ofClient(book), ofEngine(on.served.engine, on.id));
});

test("another server's book is another book: nothing of the old one is shown as live", async (t) => {
  const first = await stage(t);
  const second = await stage(t);
  for (let level = 0; level < 5; level += 1) second.venue.bookDelta(second.id, 0, level);
  second.served.turn.end();
  const client = await connect([first.served.url, second.served.url], { reconnect: { baseMs: 5, maxMs: 20 } });
  t.after(() => client.close());
  const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a" });
  const [book] = books.all as [LocalBook];
  assert.equal(book.bid(), 100);
  const shown: number[] = [];
  let left = false;
  client.on("disconnect", () => {
    left = true;
  });
  books.on("change", (changed) => {
    if (left && changed.live) shown.push(changed.bid());
  });
  await first.served.stop();
  await eventually(
    () => left && book.live,
    () => book.state,
  );
  assert.deepEqual([...new Set(shown)], [95]);
  assert.equal(ofClient(book), ofEngine(second.served.engine, second.id));
});

test("what a server has not got is refused by name, and a venue that is down holds nobody up", async (t) => {
  const on = await stage(t);
  const [, other] = on.served.venues as [Venue, Venue];
  other.list(spot(["B/USDT"]));
  const client = await connect(on.served.url);
  t.after(() => client.close());
  const books = await client.books({ symbols: ["A0/USDT", "NO/PE"], exchanges: "test-a" });
  assert.deepEqual(
    books.unavailable.map(({ symbol, code }) => [symbol, code]),
    [["NO/PE", "unknown_symbol"]],
  );
  assert.equal(books.get("test-a", "A0/USDT")?.live, true);
  assert.equal(books.get("test-a", "NO/PE"), undefined);
  await assert.rejects(client.books({ symbols: "NO/PE" }), { code: "unknown_symbol" });
});

/** Frames of one book, made by hand. */
class Frames {
  readonly #memory = scratchMemory(1 << 16);
  readonly #frame = new FrameView();
  readonly #numbers = new Float64Array(32);
  #sequence = 0;

  levels(
    bids: readonly (readonly [number, number])[],
    asks: readonly (readonly [number, number])[],
    flags: number,
  ): FrameView {
    const [b, a] = [Float64Array.from(bids.flat()), Float64Array.from(asks.flat())];
    writeBookLevels(this.#memory, 0, this.#numbers, b, 0, bids.length, a, 0, asks.length);
    this.#sequence += 1;
    writeHeader(this.#memory, 0, new Float64Array(7), 34, 1, flags);
    this.#frame.attach(this.#memory, this.#memory.i32[0] as number);
    return this.#frame;
  }
}

test("any order of snapshots, parts, changes and losses: never a level that should not be there, never half an event", (t) => {
  const seed = 20261128;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const frames = new Frames();
  for (let round = 0; round < 200; round += 1) {
    const book = new Book({ exchange: "x", symbol: "A/B" }, Number.POSITIVE_INFINITY, () => 0);
    let model: Map<number, number> | undefined;
    let pending: Map<number, number> | undefined;
    for (let step = 0; step < 60; step += 1) {
      const price = random.integer(1, 20);
      const size = random.integer(0, 3);
      const kind = random.integer(0, 9);
      const isLast = random.integer(0, 3) > 0;
      const flags = isLast ? FLAG_LAST_OF_EVENT : 0;
      if (kind === 0) {
        book.lose("gap", "window");
        model = undefined;
        pending = undefined;
      } else if (kind === 1 && pending === undefined) {
        const ended = book.takeLevels(frames.levels([[price, size + 1]], [[100, 1]], FLAG_SNAPSHOT | flags));
        assert.equal(ended, isLast);
        const whole = new Map([[price, size + 1]]);
        if (isLast) model = whole;
        else {
          // The rest of the snapshot.
          assert.equal(book.takeLevels(frames.levels([[price + 30, 2]], [], FLAG_SNAPSHOT | FLAG_LAST_OF_EVENT)), true);
          model = whole.set(price + 30, 2);
        }
      } else {
        const ended = book.takeLevels(frames.levels([[price, size]], [], flags));
        if (model === undefined) assert.equal(ended, false);
        else {
          pending = new Map([...(pending ?? model)]);
          if (size === 0) pending.delete(price);
          else pending.set(price, size);
          if (isLast) {
            model = pending;
            pending = undefined;
          }
        }
      }
      const best = [...(model ?? [])].sort(([x], [y]) => y - x);
      if (model !== undefined) assert.deepEqual(book.top(100).bids, best);
      assert.equal(book.live, model !== undefined);
    }
  }
});

test("a book that crosses is stale, and one whose changes come too late is lagging until they do not", () => {
  let now = 0;
  const frames = new Frames();
  const book = new Book({ exchange: "x", symbol: "A/B" }, 250, () => now);
  book.takeLevels(frames.levels([[1, 1]], [[2, 1]], FLAG_SNAPSHOT | FLAG_LAST_OF_EVENT));
  assert.equal(book.state, "live");
  now = 251_000;
  book.takeLevels(frames.levels([[1, 2]], [], FLAG_LAST_OF_EVENT));
  assert.deepEqual([book.state, book.live, book.reason], ["lagging", false, "251 ms behind"]);
  now = 249_000;
  book.takeLevels(frames.levels([[1, 3]], [], FLAG_LAST_OF_EVENT));
  assert.deepEqual([book.state, book.live], ["live", true]);
  book.takeLevels(frames.levels([[3, 1]], [], FLAG_LAST_OF_EVENT));
  assert.deepEqual([book.state, book.reason], ["stale", "bid above ask"]);
});
