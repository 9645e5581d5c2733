import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { BinanceFeed } from "../src/feeds/binance.ts";
import { STATE_LIVE } from "../src/market/sink.ts";
import { timeframeIndex } from "../src/market/timeframe.ts";
import { SystemClock } from "../src/std/clock.ts";
import { systemTimers } from "../src/std/timers.ts";
import {
  CAPTURES,
  FakeSockets,
  FakeTime,
  type FeedHarness,
  feedContract,
  feedOptions,
  RecordingSink,
} from "./contracts/feed.ts";

const SERVER_TIME = 1_723_161_600_000;
const FILTERS = [
  { filterType: "PRICE_FILTER", tickSize: "0.01000000" },
  { filterType: "LOT_SIZE", stepSize: "0.00010000", minQty: "0.00010000" },
  { filterType: "NOTIONAL", minNotional: "5.00000000" },
];
const SYMBOLS = [
  { symbol: "ETHUSDT", baseAsset: "ETH", quoteAsset: "USDT", status: "TRADING", filters: FILTERS },
  { symbol: "币安人生USDT", baseAsset: "币安人生", quoteAsset: "USDT", status: "BREAK", filters: [] },
  { symbol: "BROKEN" },
  ...Array.from({ length: 3_000 }, (_, index) => ({
    symbol: `SYM${index}TUSD`,
    baseAsset: `SYM${index}`,
    quoteAsset: "TUSD",
    status: "TRADING",
    filters: FILTERS,
  })),
];

type Reply = { status?: number; headers?: Record<string, string>; body: unknown };

/** A REST server that answers as it is told, and notes what it was asked. */
async function restServer(answer: (url: URL, asked: number) => Reply) {
  const asked: URL[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const url = new URL(request.url ?? "/", "http://test");
    asked.push(url);
    const {
      status = 200,
      headers = {},
      body,
    } = answer(url, asked.filter((other) => other.pathname === url.pathname).length);
    response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { asked, close, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** [open time, o, h, l, c, volume, close time, quote volume, trades, taker base, taker quote, unused] */
function kline(time: number, trades: number): unknown[] {
  const price = (offset: number) => String(100 + ((time / 1000) % 7) + offset);
  return [time, price(0), price(2), price(-2), price(1), "2.0", time + 999, "200.0", trades, "0.5", "50.0", "0"];
}

function klines(url: URL): unknown[] {
  const limit = Number(url.searchParams.get("limit"));
  const step = url.searchParams.get("interval") === "1s" ? 1_000 : 60_000;
  const end = Math.floor(Number(url.searchParams.get("endTime") ?? SERVER_TIME) / step) * step;
  return Array.from({ length: limit }, (_, index) => kline(end - (limit - 1 - index) * step, index % 10 === 3 ? 0 : 4));
}

function answer(url: URL): Reply {
  if (url.pathname === "/api/v3/exchangeInfo") return { body: { serverTime: SERVER_TIME, symbols: SYMBOLS } };
  if (url.pathname === "/api/v3/klines") return { body: klines(url) };
  return { body: { lastUpdateId: 500, bids: [["10.1", "1.5"]], asks: [["10.2", "0.00000001"]] } };
}

async function harness(reply = answer as (url: URL, asked: number) => Reply) {
  const rest = await restServer(reply);
  const [sink, time] = [new RecordingSink(), new FakeTime()];
  const sockets = new FakeSockets(time);
  const options = { ...feedOptions(sink, time), connect: sockets.connect, restUrl: rest.url, wsUrl: "ws://test" };
  const feed = new BinanceFeed(options);
  const { asked, close } = rest;
  return { feed, sink, sockets, time, symbol: "ETH/USDT", close, asked } satisfies FeedHarness & { asked: URL[] };
}

feedContract("binance", () => harness());

/** Lets answers arrive: they are real, the clock is not. */
async function until(condition: () => boolean, time: FakeTime, stepMs = 0): Promise<void> {
  for (let round = 0; round < 2_000; round += 1) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
    if (stepMs > 0) time.advance(stepMs);
  }
  assert.fail("it never came");
}

test("instruments come from the venue's list, in its order, by unified names; the venue's clock with them", async () => {
  const { feed, sink, close } = await harness();
  await feed.start();
  assert.equal(sink.listings.length, SYMBOLS.length - 1);
  const [eth, other] = sink.listings;
  assert.equal(eth?.symbol, "ETH/USDT");
  assert.deepEqual(
    [eth?.tick, eth?.priceDecimals, eth?.sizeDecimals, eth?.minSize, eth?.minNotional, eth?.status],
    [0.01, 2, 4, 0.0001, 5, "trading"],
  );
  assert.deepEqual([other?.symbol, other?.status], ["币安人生/USDT", "halted"]);
  assert.deepEqual(sink.of("heartbeat")[0]?.numbers, [SERVER_TIME * 1000]);
  await feed.stop();
  await close();
});

test("a list that cannot be had is asked for until it comes; 429 is obeyed", async () => {
  const replies: Reply[] = [
    { status: 500, body: "down" },
    { status: 429, headers: { "retry-after": "120" }, body: "{}" },
    { body: "no json" },
    { body: JSON.stringify({ serverTime: SERVER_TIME, symbols: SYMBOLS }).slice(0, -2) },
    { body: { symbols: "none" } },
  ];
  const { feed, sink, time, asked, close } = await harness((url, count) => replies[count - 1] ?? answer(url));
  void feed.start();
  await until(() => asked.length === 2, time, 100);
  const limitedAt = time.now();
  await until(() => asked.length === 3, time, 1_000);
  assert.ok(time.now() - limitedAt >= 119_000_000, "not before the venue allows");
  await until(() => sink.listings.length > 0, time, 1_000);
  assert.equal(feed.counters.requestFailures, 4);
  await feed.stop();
  await close();
});

test("3,000 instruments of three channels: nine connections, messages below 4,096 bytes, at the venue's pace", async () => {
  const { feed, sink, sockets, time, close } = await harness();
  await feed.start();
  const began = performance.now();
  for (let index = 0; index < 3_000; index += 1) {
    for (const channel of ["trades", "orderbook", "quotes"] as const)
      feed.control.subscribe(sink.id(`SYM${index}/TUSD`), channel);
  }
  assert.ok(performance.now() - began < 500);
  assert.equal(sockets.all.length, 9);
  for (const socket of sockets.all) socket.open();
  time.advance(5_000);
  const params = sockets.all.flatMap((socket) => socket.messages.flatMap((message) => message.params as string[]));
  assert.equal(new Set(params).size, 9_000);
  assert.ok(params.includes("sym2999tusd@depth@100ms"));
  for (const { sent } of sockets.all) {
    for (const { text } of sent) assert.ok(Buffer.byteLength(text) < 4_088, `${text.length}`);
    for (let index = 5; index < sent.length; index += 1) assert.ok(sent[index]!.atMs - sent[index - 5]!.atMs > 1_000);
  }
  await feed.stop();
  await close();
});

test("a snapshot is fetched once the stream has been asked for, and its failure is passed on", async () => {
  let fail = false;
  const reply = (url: URL): Reply =>
    fail && url.pathname === "/api/v3/depth" ? { status: 400, body: "no" } : answer(url);
  const { feed, sink, sockets, time, asked, close } = await harness(reply);
  await feed.start();
  const eth = sink.id("ETH/USDT");
  feed.control.subscribe(eth, "orderbook");
  feed.control.resyncBook(eth);
  feed.control.resyncBook(eth);
  time.advance(5_000);
  assert.equal(asked.length, 1, "not while the stream has not been asked for");
  sockets.last.open();
  time.advance(500);
  sockets.last.receive('{"e":"depthUpdate","E":1,"s":"ETHUSDT","U":499,"u":501,"b":[],"a":[]}');
  await until(() => sink.of("snapshot").length === 1, time, 100);
  const [snapshot] = sink.of("snapshot");
  assert.deepEqual([snapshot?.instrument, snapshot?.numbers, snapshot?.bids], [eth, [0, 0, 500, 0], [10.1, 1.5]]);
  assert.equal(asked.filter((url) => url.pathname === "/api/v3/depth").length, 1);
  assert.equal(asked[1]?.searchParams.get("limit"), "5000");
  fail = true;
  feed.control.resyncBook(eth);
  await until(() => sink.failures.length === 1, time, 100);
  assert.match(sink.failures[0]!.reason, /status 400/);
  feed.control.resyncBook(eth);
  feed.control.unsubscribe(eth, "orderbook");
  time.advance(1_000);
  assert.equal(sink.failures.length, 1, "nobody wants it any more");
  await feed.stop();
  await close();
});

test("many books keep within the weight of a minute", async () => {
  const { feed, sink, sockets, time, asked, close } = await harness();
  await feed.start();
  for (let index = 0; index < 200; index += 1) {
    feed.control.subscribe(sink.id(`SYM${index}/TUSD`), "orderbook");
    feed.control.resyncBook(sink.id(`SYM${index}/TUSD`));
  }
  sockets.last.open();
  const began = time.now();
  const complete = () => {
    sockets.last.ping();
    return sink.of("snapshot").length === 200;
  };
  await until(complete, time, 200);
  const minutes = (time.now() - began) / 60_000_000;
  const weights = asked
    .filter((url) => url.pathname === "/api/v3/depth")
    .map((url) => (url.searchParams.get("limit") === "5000" ? 250 : 50));
  const weight = weights.reduce((sum, next) => sum + next, 0);
  assert.ok(weight <= 1_200 + 3_600 * minutes + 250, `${weight} in ${minutes} min`);
  assert.ok(weights.filter((each) => each === 50).length >= 180, "few levels while many wait");
  await feed.stop();
  await close();
});

test("history: native widths, widths built of seconds, silent intervals left out", async () => {
  const { feed, sink, time, close } = await harness();
  await feed.start();
  const eth = sink.id("ETH/USDT");
  feed.control.fetchHistory(eth, timeframeIndex("1m"), 10);
  feed.control.fetchHistory(eth, timeframeIndex("1m"), 10);
  await until(() => sink.histories.length === 1, time, 100);
  const [minutes] = sink.histories;
  assert.equal(minutes?.rows.length, 9 * 9, "one of ten was silent");
  assert.equal(minutes?.rows[0], (SERVER_TIME - 9 * 60_000) * 1000);
  assert.deepEqual(minutes?.rows.slice(5, 9), [2, 200, 0.5, 4]);
  feed.control.fetchHistory(eth, timeframeIndex("30s"), 50);
  await until(() => sink.histories.length === 2, time, 100);
  const rows = sink.histories[1]!.rows;
  assert.equal(rows.length, 50 * 9);
  for (let row = 0; row < 50; row += 1) {
    assert.equal(rows[row * 9]! % 30_000_000, 0);
    if (row < 49) assert.equal(rows[row * 9 + 5], 60, "thirty seconds of 2.0");
  }
  await feed.stop();
  await close();
});

test("history of thousands is fetched in the end, each series once, and no book waits behind it", async () => {
  const { feed, sink, sockets, time, asked, close } = await harness();
  await feed.start();
  const ids = SYMBOLS.slice(3, 1_503).map(({ symbol }) => sink.id(symbol.replace("TUSD", "/TUSD")));
  const seconds = timeframeIndex("1s");
  for (let round = 0; round < 2; round += 1) for (const id of ids) feed.control.fetchHistory(id, seconds, 5);
  feed.control.subscribe(sink.id("ETH/USDT"), "orderbook");
  sockets.last.open();
  time.advance(1_000);
  feed.control.resyncBook(sink.id("ETH/USDT"));
  await until(() => asked.some(({ pathname }) => pathname === "/api/v3/depth"), time, 100);
  const before = asked.findIndex(({ pathname }) => pathname === "/api/v3/depth");
  assert.ok(before < 200, `the book was asked for after ${before} other requests`);
  await until(() => sink.histories.length === ids.length, time, 1_000);
  const klines = asked.filter(({ pathname }) => pathname === "/api/v3/klines");
  assert.equal(klines.length, ids.length);
  await feed.stop();
  await close();
});

test("answers and errors of control messages", async () => {
  const { feed, sink, sockets, time, close } = await harness();
  await feed.start();
  feed.control.subscribe(sink.id("ETH/USDT"), "trades");
  sockets.last.open();
  time.advance(1_000);
  sockets.last.receive('{"result":null,"id":1}');
  sockets.last.receive('{"code":2,"msg":"Invalid request","id":1}');
  sockets.last.receive('{"error":{"code":3,"msg":"Invalid JSON"}}');
  assert.equal(feed.counters.refusals, 2);
  sockets.last.receive('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}');
  assert.equal(sockets.all.length, 2, "a replacement at once");
  await feed.stop();
  await close();
});

const venueFile = join(import.meta.dirname, "../loadtest/venues/binance.ts");
const files = ["08", "09"].map((day) => join(CAPTURES, `binance/spot-ethusdt-202408${day}.gz`));
const missing = [venueFile, ...files].find((path) => !existsSync(path));

test("all 14,515 recorded trades arrive in order through a real socket", {
  skip: missing && `no ${missing}`,
  timeout: 60_000,
}, async () => {
  const { startBinanceVenue } = await import(venueFile);
  const venue = await startBinanceVenue({ captures: files, speed: Number.POSITIVE_INFINITY, hold: true });
  const sink = new RecordingSink();
  const clock = new SystemClock();
  const feed = new BinanceFeed({
    ...feedOptions(sink, Object.assign(clock, systemTimers)),
    wsUrl: `${venue.wsUrl}/stream?timeUnit=MICROSECOND`,
    restUrl: venue.restUrl,
  });
  await feed.start();
  const eth = sink.id("ETH/USDT");
  for (const channel of ["trades", "orderbook", "quotes"] as const) feed.control.subscribe(eth, channel);
  feed.control.resyncBook(eth);
  while (feed.status.state !== STATE_LIVE) await new Promise((resolve) => setTimeout(resolve, 10));
  venue.play();
  await venue.finished;
  while (sink.of("trade").length < 14_515) await new Promise((resolve) => setTimeout(resolve, 20));
  const trades = sink.of("trade");
  const first = trades[0]!.numbers[3]!;
  assert.deepEqual(
    trades.map(({ numbers }) => numbers[3]),
    Array.from({ length: 14_515 }, (_, index) => first + index),
  );
  assert.ok(trades.every(({ numbers }) => numbers[2]! > 1.7e15 && numbers[2]! < 1.8e15));
  assert.equal(sink.of("quote").length, 58_758);
  assert.equal(sink.of("delta").length, 6_470);
  assert.equal(sink.of("snapshot").length, 1);
  assert.equal(feed.counters.malformed + feed.counters.parseErrors, 0);
  assert.ok(feed.counters.slowMessages < 10);
  await feed.stop();
  await venue.close();
});
