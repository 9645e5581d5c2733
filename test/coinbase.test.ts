import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { CoinbaseFeed } from "../src/feeds/coinbase.ts";
import { STATE_LIVE } from "../src/market/sink.ts";
import { timeframeIndex } from "../src/market/timeframe.ts";
import { FakeSockets, FakeTime, type FeedHarness, feedContract, feedOptions, RecordingSink } from "./contracts/feed.ts";

const PRODUCT = {
  id: "BTC-USD",
  base_currency: "BTC",
  quote_currency: "USD",
  quote_increment: "0.01",
  base_increment: "0.00000001",
  min_market_funds: "1",
  status: "online",
};
const PRODUCTS = [
  PRODUCT,
  { ...PRODUCT, id: "ETH-USD", base_currency: "ETH", trading_disabled: true },
  { ...PRODUCT, id: "OLD-USD", base_currency: "OLD", status: "delisted" },
  { id: "BROKEN" },
];
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

function answer(url: URL): unknown {
  if (url.pathname === "/products") return PRODUCTS;
  if (url.pathname === "/time") return { iso: new Date(NOW).toISOString(), epoch: NOW / 1000 };
  const step = Number(url.searchParams.get("granularity"));
  const candles: number[][] = [];
  for (let time = Number(url.searchParams.get("end")); time >= Number(url.searchParams.get("start")); time -= step) {
    if ((time / step) % 10 !== 3) candles.push([time, 90, 110, 100, 105, 1.5]);
  }
  return candles;
}

async function harness() {
  const asked: URL[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://test");
    asked.push(url);
    response.end(JSON.stringify(answer(url)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  const [sink, time] = [new RecordingSink(), new FakeTime()];
  const sockets = new FakeSockets(time);
  const restUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const feed = new CoinbaseFeed({ ...feedOptions(sink, time), connect: sockets.connect, restUrl, wsUrl: "ws://test" });
  return { feed, sink, sockets, time, symbol: "BTC/USD", close, asked } satisfies FeedHarness & { asked: URL[] };
}

feedContract("coinbase", harness);

test("products by unified names, the venue's clock with them", async () => {
  const { feed, sink, close } = await harness();
  await feed.start();
  assert.deepEqual(
    sink.listings.map(({ symbol, status }) => [symbol, status]),
    [
      ["BTC/USD", "trading"],
      ["ETH/USD", "halted"],
      ["OLD/USD", "closed"],
    ],
  );
  const [btc] = sink.listings;
  assert.deepEqual(
    [btc?.tick, btc?.priceDecimals, btc?.lot, btc?.sizeDecimals, btc?.minNotional],
    [0.01, 2, 1e-8, 8, 1],
  );
  assert.deepEqual(sink.of("heartbeat")[0]?.numbers, [NOW * 1000]);
  await feed.stop();
  await close();
});

test("the first subscription goes out at once, with a heartbeat for each product, until its last channel is gone", async () => {
  const { feed, sink, sockets, time, close } = await harness();
  await feed.start();
  const btc = sink.id("BTC/USD");
  feed.control.subscribe(btc, "trades");
  feed.control.subscribe(btc, "orderbook");
  sockets.last.open();
  time.advance(1);
  assert.deepEqual(sockets.last.messages, [
    {
      type: "subscribe",
      channels: [
        { name: "heartbeat", product_ids: ["BTC-USD"] },
        { name: "matches", product_ids: ["BTC-USD"] },
        { name: "level2_batch", product_ids: ["BTC-USD"] },
      ],
    },
  ]);
  assert.equal(feed.status.state, STATE_LIVE);
  feed.control.unsubscribe(btc, "trades");
  time.advance(1_000);
  assert.deepEqual(sockets.last.messages[1]?.channels, [{ name: "matches", product_ids: ["BTC-USD"] }]);
  feed.control.unsubscribe(btc, "orderbook");
  time.advance(1_000);
  assert.deepEqual(
    sockets.last.messages[2]?.channels,
    ["level2_batch", "heartbeat"].map((name) => ({ name, product_ids: ["BTC-USD"] })),
  );
  await feed.stop();
  await close();
});

test("a book starts anew by subscribing again, but not while its snapshot is on its way", async () => {
  const { feed, sink, sockets, time, close } = await harness();
  await feed.start();
  const btc = sink.id("BTC/USD");
  feed.control.subscribe(btc, "orderbook");
  feed.control.resyncBook(btc);
  sockets.last.open();
  time.advance(1_000);
  feed.control.resyncBook(btc);
  time.advance(1_000);
  assert.equal(sockets.last.sent.length, 1);
  const snapshot = '{"type":"snapshot","product_id":"BTC-USD","bids":[["1.0","2"]],"asks":[["1.5","3"]]}';
  sockets.last.receive(snapshot);
  feed.control.resyncBook(btc);
  feed.control.resyncBook(btc);
  time.advance(1_000);
  const [, ending, starting, ...more] = sockets.last.messages;
  assert.deepEqual([ending?.type, starting?.type, more.length], ["unsubscribe", "subscribe", 0]);
  assert.deepEqual(starting?.channels, [{ name: "level2_batch", product_ids: ["BTC-USD"] }]);
  sockets.last.receive(snapshot);
  assert.equal(sink.of("snapshot").length, 2);
  await feed.stop();
  await close();
});

test("history in pages of 300, oldest first; what the venue does not say is unknown", async () => {
  const { feed, sink, asked, close } = await harness();
  await feed.start();
  const btc = sink.id("BTC/USD");
  const arrived = async (count: number) => {
    for (let round = 0; round < 1_000 && sink.histories.length < count; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return sink.histories[count - 1]!.rows;
  };
  feed.control.fetchHistory(btc, timeframeIndex("1m"), 500);
  const rows = await arrived(1);
  assert.equal(asked.filter((url) => url.pathname.endsWith("/candles")).length, 2);
  assert.equal(rows.length / 9, 450);
  assert.equal(
    rows.at(-9),
    (Math.floor(NOW / 60_000) * 60_000 - (Math.floor(NOW / 60_000) % 10 === 3 ? 60_000 : 0)) * 1000,
  );
  for (let row = 9; row < rows.length; row += 9) assert.ok(rows[row]! > rows[row - 9]!);
  assert.deepEqual(rows.slice(1, 9), [100, 110, 90, 105, 1.5, Number.NaN, Number.NaN, 0]);
  feed.control.fetchHistory(btc, timeframeIndex("4h"), 20);
  const built = await arrived(2);
  assert.equal(built.length / 9, 20);
  for (let row = 0; row < built.length; row += 9) assert.equal(built[row]! % 14_400_000_000, 0);
  feed.control.fetchHistory(btc, timeframeIndex("1s"), 20);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(sink.histories.length, 2, "there is none below a minute");
  await feed.stop();
  await close();
});
