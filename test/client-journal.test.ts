/** A journal as a client's source: a backtest is the same program. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type BarRow, connect, type Tickwire, TickwireError } from "../src/client/index.ts";
import { hma, macd } from "../src/indicators/index.ts";
import { JournalReader } from "../src/journal/reader.ts";
import { Random } from "../src/std/random.ts";
import { eventually, FrameDecoder, type TradeFrame } from "./gateway.ts";
import { serve, settled, spot, type Venue } from "./serve.ts";

async function written(t: TestContext): Promise<{ directory: string; prices: number[] }> {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-backtest-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const served = await serve({ journal: directory });
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  const keeper = await connect(served.url);
  await keeper.subscribe({ channels: ["trades", "orderbook"], symbols: "A0/USDT", depth: "full" });
  for (let event = 1; event <= 1000; event += 1) {
    venue.trade(id, event);
    venue.bookDelta(id, event);
    if (event % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await settled(served);
  await keeper.close();
  await served.stop();
  const decoder = new FrameDecoder();
  const frames = Array.from(new JournalReader(directory).frames(), ({ bytes }) => decoder.decode(Buffer.from(bytes)));
  return {
    directory,
    prices: frames.filter(({ type }) => type === "trade").map((frame) => (frame as TradeFrame).price),
  };
}

test("every event of a journal comes once, in order, and the client ends with it", async (t) => {
  const { directory, prices } = await written(t);
  const client = await connect({ journal: directory, speed: "max" });
  t.after(() => client.close());
  assert.equal(client.mode, "replay");
  const tape = await client.subscribe({ channels: "trades", symbols: "*" });
  const seen: number[] = [];
  const missed: object[] = [];
  tape.on("trade", ({ price }) => seen.push(price));
  tape.on("gap", (gap) => missed.push(gap));
  await client.closed;
  assert.deepEqual(seen, prices);
  assert.equal(prices.length, 1000);
  assert.deepEqual(missed, []);
});

test("a program that is slower than its journal gets the end of it, too", async (t) => {
  const { directory, prices } = await written(t);
  const client = await connect({ journal: directory });
  t.after(() => client.close());
  const tape = await client.subscribe({ channels: "trades", symbols: "*" });
  const seen: number[] = [];
  tape.on("trade", ({ price }) => {
    seen.push(price);
    if (seen.length % 50 !== 0) return;
    // The whole program is busy, and the server ends meanwhile.
    for (const until = Date.now() + 200; Date.now() < until; );
  });
  await client.closed;
  assert.deepEqual(seen, prices);
});

test("an iteration that takes its time gets every event, and ends", async (t) => {
  const { directory, prices } = await written(t);
  const client = await connect({ journal: directory });
  t.after(() => client.close());
  const seen: number[] = [];
  for await (const event of await client.subscribe({ channels: "trades", symbols: "*" })) {
    if (event.type === "trade") seen.push(event.price);
    if (seen.length % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(seen, prices);
});

test("from and to cut it; what cannot be replayed is a typed error", async (t) => {
  const { directory, prices } = await written(t);
  const times = Array.from(new JournalReader(directory).frames(), ({ time }) => time);
  const middle = new Date(Math.ceil((times[times.length >> 1] as number) / 1000)).toISOString();
  const client = await connect({ journal: directory, from: middle });
  t.after(() => client.close());
  const tape = await client.subscribe({ channels: "trades", symbols: "*" });
  const seen: number[] = [];
  tape.on("trade", ({ price }) => seen.push(price));
  await client.closed;
  assert.ok(seen.length > 0 && seen.length < prices.length);
  assert.deepEqual(seen, prices.slice(-seen.length));
  const refused = (says: RegExp) => (error: unknown) =>
    error instanceof TickwireError && error.code === "bad_option" && says.test(error.message);
  await assert.rejects(connect({ journal: "/no/such/folder" }), refused(/ENOENT/));
  await assert.rejects(connect({ journal: tmpdir() }), refused(/no journal/));
  await assert.rejects(connect({ journal: directory, from: "yesterday" }), refused(/--from is a time/));
  await assert.rejects(connect({ journal: directory, speed: -1 }), refused(/--speed/));
  await assert.rejects(connect({ journal: directory, cursorFile: "x" }), refused(/cursor/));
  await assert.rejects(connect({ journal: "" }), refused(/a folder/));
  await assert.rejects(connect({ journal: directory, from: "2100-01-01" }), refused(/nothing of that time/));
});

/** What a program says that trades on bars; the same live and over a journal. */
async function strategy(client: Tickwire) {
  const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a", depth: "full" });
  const indicators = { fast: macd(3, 6, 2), hull: hma(4) };
  const bars = await client.bars("A0/USDT", "1s", { exchange: "test-a", indicators });
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT", exchanges: "test-a" });
  const rows: BarRow[] = [];
  const prices: number[] = [];
  /** The best bid's size after each event of the venue. */
  const sizes: number[] = [];
  books.on("change", (book) => {
    if (book.live) sizes.push(book.bidSize(0));
  });
  tape.on("trade", ({ price }) => prices.push(price));
  const iterate = async () => {
    for await (const bar of bars.closed()) rows.push(bar);
  };
  return { rows, prices, sizes, done: iterate() };
}

test("a strategy sees in a journal what it saw live: every trade, every change, the same bars and indicators", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-backtest-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const served = await serve({ journal: directory });
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  const client = await connect(served.url);
  const live = await strategy(client);
  const random = new Random(20261128);
  for (let event = 0; event < 200 || live.rows.length < 8; event += 1) {
    venue.trade(id, 100 + random.integer(-20, 20), random.integer(1, 9));
    venue.bookDelta(id, random.integer(1, 9));
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await settled(served);
  await eventually(() => client.stats.frames > 0 && live.prices.length >= 200, "the last trades");
  await client.close();
  await served.stop();
  await live.done;
  for (const options of [{}, { speed: 20 }]) {
    const journal = await connect({ journal: directory, ...options });
    t.after(() => journal.close());
    const again = await strategy(journal);
    await journal.closed;
    await again.done;
    assert.deepEqual(again.prices, live.prices);
    assert.deepEqual(again.sizes.slice(-live.sizes.length), live.sizes);
    assert.deepEqual(again.rows.slice(0, live.rows.length), live.rows);
    assert.ok(again.rows.some(({ hull }) => hull.ready));
    assert.equal(journal.stats.gaps, 0);
  }
  // From the middle the bars before it are the history, and nothing that comes later is known.
  const middle = live.rows[4] as BarRow;
  const client2 = await connect({ journal: directory, from: new Date(middle.openTime / 1000 + 500).toISOString() });
  t.after(() => client2.close());
  const bars = await client2.bars("A0/USDT", "1s", { exchange: "test-a", indicators: { hull: hma(4) } });
  assert.deepEqual(
    Array.from(bars.openTime),
    live.rows.slice(0, 4).map(({ openTime }) => openTime),
  );
  const closed: BarRow[] = [];
  for await (const bar of bars.closed()) closed.push(bar);
  assert.deepEqual(
    closed.slice(0, live.rows.length - 4).map(({ openTime, close, hull }) => [openTime, close, hull]),
    live.rows.slice(4).map(({ openTime, close, hull }) => [openTime, close, hull]),
  );
});

test("stored frames have the indicators that every server computes, and refuse others", async (t) => {
  const { directory } = await written(t);
  const client = await connect({ journal: directory, recompute: false });
  t.after(() => client.close());
  await assert.rejects(
    client.bars("A0/USDT", "1s", { exchange: "test-a", indicators: { hull: hma(4) } }),
    (error) => error instanceof TickwireError && /only macd\(12,26,9\), hma\(20\), vwap/.test(error.message),
  );
  const bars = await client.bars("A0/USDT", "1s", { exchange: "test-a", indicators: { hull: hma(20) } });
  const closed: BarRow[] = [];
  for await (const bar of bars.closed()) closed.push(bar);
  assert.deepEqual([closed.length > 0, closed[0]?.open], [true, 1]);
});

test("a server of one's own that cannot be started is refused, and ends nothing", async (t) => {
  const { execPath } = process;
  t.after(() => {
    process.execPath = execPath;
  });
  process.execPath = "/nowhere/node";
  await assert.rejects(
    connect({ embedded: {} }),
    (error) => error instanceof TickwireError && error.code === "not_here",
  );
});
