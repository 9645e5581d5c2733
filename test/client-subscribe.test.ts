/** Subscriptions: what they bring, what is refused, handlers, iterations, change. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connect, type Tickwire, TickwireError } from "../src/client/index.ts";
import { StreamCounters, Streams } from "../src/client/streams.ts";
import { Subscription } from "../src/client/subscription.ts";
import { SystemClock } from "../src/std/clock.ts";
import { Random } from "../src/std/random.ts";
import { described, tradeFrame } from "./client-double.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { eventually } from "./gateway.ts";
import { type Served, serve, settled, spot, type Venue } from "./serve.ts";

interface Stage extends Served {
  venue: Venue;
  id: number;
  client: Tickwire;
}

async function stage(t: TestContext): Promise<Stage> {
  const served = await serve({ graceMs: 600_000 });
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(2)) as [number];
  venue.up();
  const client = await connect(served.url);
  t.after(async () => {
    await client.close();
    await served.stop();
  });
  return Object.assign(served, { venue, id, client });
}

const coded = (code: string) => (error: unknown) => error instanceof TickwireError && error.code === code;

test("streams, and what the server has not got, with its code", async (t) => {
  const { client } = await stage(t);
  const tape = await client.subscribe({
    channels: ["trades", "quotes"],
    symbols: ["A0/USDT", "NO/PE"],
    exchanges: "test-a",
  });
  assert.deepEqual(
    tape.streams.map(({ channel, instrument, resumable }) => [
      channel,
      instrument.exchange,
      instrument.symbol,
      resumable,
    ]),
    [
      ["trades", "test-a", "A0/USDT", true],
      ["quotes", "test-a", "A0/USDT", true],
    ],
  );
  assert.deepEqual(
    tape.unavailable.map(({ symbol, code }) => [symbol, code]),
    [["NO/PE", "unknown_symbol"]],
  );
  assert.equal(tape.streams[0]?.instrument, client.instrument("test-a", "A0/USDT"), "an instrument is one object");
});

test("a request that cannot be served is refused with the server's code", async (t) => {
  const { client } = await stage(t);
  await assert.rejects(client.subscribe({ channels: "gossip", symbols: "*" }), coded("unknown_channel"));
  await assert.rejects(
    client.subscribe({ channels: "trades", symbols: "NO/PE", exchanges: "test-a" }),
    coded("unknown_symbol"),
  );
  await assert.rejects(
    client.subscribe({ channels: "bars", symbols: "*", timeframes: "7m" }),
    coded("unknown_timeframe"),
  );
  await assert.rejects(client.subscribe({ channels: "trades", symbols: "*", conflateMs: 100 }), coded("bad_request"));
  await assert.rejects(client.subscribe({ symbol: "*" } as never), coded("bad_option"));
  assert.equal(client.isConnected, true);
});

test("handlers that are added when the subscription is there miss nothing that came with it", async (t) => {
  const { client, venue, id, turn } = await stage(t);
  const first = await client.subscribe({ channels: "quotes", symbols: "A0/USDT" });
  for (let bid = 1; bid <= 3; bid += 1) venue.quote(id, bid);
  turn.end();
  for (let round = 0; round < 20; round += 1) {
    const again = await client.subscribe({ channels: "quotes", symbols: "A0/USDT" });
    const bids: number[] = [];
    again.on("quote", ({ bid }) => bids.push(bid));
    await eventually(() => bids.length > 0, "the last quote");
    assert.equal(bids[0], 3);
    await again.close();
  }
  assert.equal(client.stats.connections, 2, "subscriptions that overlap have a connection each");
  await first.close();
});

test("views say what the frames say; what they return can be kept", async (t) => {
  const { client, venue, id, turn } = await stage(t);
  const all = await client.subscribe({
    channels: ["trades", "orderbook", "ticker"],
    symbols: "A0/USDT",
    depth: "full",
  });
  const kept: { type: string; [key: string]: unknown }[] = [];
  for (const name of ["trade", "book", "ticker", "state"] as const)
    all.on(name, (view) => kept.push(view.toObject() as never));
  await eventually(() => kept.some(({ type }) => type === "book"), "the book");
  venue.trade(id, 101.5, 2.25);
  venue.bookDelta(id, 7);
  venue.ticker(id, 99);
  turn.end();
  await eventually(() => kept.some(({ type }) => type === "ticker"), "the ticker");
  const trade = kept.find(({ type }) => type === "trade") as Record<string, unknown>;
  assert.deepEqual(
    [trade.exchange, trade.symbol, trade.price, trade.size, trade.side, trade.isBlock],
    ["test-a", "A0/USDT", 101.5, 2.25, "buy", false],
  );
  assert.ok((trade.tsExchange as number) > 1.7e15 && Number.isInteger(trade.tsPublish));
  const delta = kept.findLast(({ type }) => type === "book") as Record<string, unknown>;
  assert.deepEqual([delta.isSnapshot, delta.bids, delta.asks], [false, [[100, 7]], [[101, 7]]]);
  assert.equal((kept.find(({ type }) => type === "ticker") as Record<string, unknown>).last, 99);
});

test("once, off and a signal remove a handler; one that throws ends nothing", async (t) => {
  const { client, venue, id, turn } = await stage(t);
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT" });
  const calls: string[] = [];
  const errors: TickwireError[] = [];
  client.on("error", (error) => errors.push(error));
  const controller = new AbortController();
  tape.once("trade", () => calls.push("once"));
  const off = tape.on("trade", () => calls.push("on"));
  tape.on("trade", () => calls.push("signal"), { signal: controller.signal });
  tape.on("trade", () => {
    throw new Error("a handler's own");
  });
  tape.on("trade", () => calls.push("last"));
  const trade = async () => {
    const before = calls.length;
    venue.trade(id);
    turn.end();
    await eventually(
      () => calls.length > before && calls.at(-1) === "last",
      () => calls.join(),
    );
  };
  await trade();
  assert.deepEqual(calls.splice(0), ["once", "on", "signal", "last"]);
  off();
  await trade();
  assert.deepEqual(calls.splice(0), ["signal", "last"]);
  controller.abort();
  await trade();
  assert.deepEqual(calls.splice(0), ["last"]);
  assert.deepEqual(
    errors.map(({ code }) => code),
    ["handler", "handler", "handler"],
  );
  assert.equal(((errors[0] as TickwireError).cause as Error).message, "a handler's own");
});

test("an iteration yields plain objects in order, and a break ends it", async (t) => {
  const { client, venue, id, turn } = await stage(t);
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT" });
  const iteration = (async () => {
    const prices: number[] = [];
    for await (const event of tape) {
      if (event.type === "trade") prices.push(event.price);
      if (prices.length === 100) break;
    }
    return prices;
  })();
  for (let price = 1; price <= 150; price += 1) venue.trade(id, price);
  turn.end();
  assert.deepEqual(
    await iteration,
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
  assert.equal(tape.dropped, 0);
});

test("an iteration that is too slow is told what was dropped, or fails, as it wishes", async (t) => {
  const { client, venue, id, turn, server } = await stage(t);
  const gap = await client.subscribe({ channels: "trades", symbols: "A0/USDT" }, { maxEvents: 10 });
  const error = await client.subscribe(
    { channels: "trades", symbols: "A0/USDT" },
    { maxEvents: 10, overflow: "error" },
  );
  const [slow, failing] = [gap[Symbol.asyncIterator](), error[Symbol.asyncIterator]()];
  let seen = 0;
  error.on("trade", () => {
    seen += 1;
  });
  await settled({ server, turn } as Served);
  for (let price = 1; price <= 25; price += 1) venue.trade(id, price);
  turn.end();
  await eventually(() => seen === 25 && gap.dropped > 0, "all trades");
  const first = await slow.next();
  assert.equal(first.value?.type, "dropped");
  const dropped = (first.value as { count: number }).count;
  const next = await slow.next();
  assert.equal((next.value as { price: number }).price, dropped + (25 - dropped - 10) + 1);
  await assert.rejects(failing.next(), coded("queue_full"));
});

test("a subscription can be changed: what stays goes on, what is new begins", async (t) => {
  const { client, venue, id, turn } = await stage(t);
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT" });
  const seen: string[] = [];
  tape.on("trade", ({ symbol, price }) => seen.push(`${symbol} ${price}`));
  venue.trade(id, 1);
  turn.end();
  await eventually(() => seen.length === 1, "the first");
  await tape.change({ symbols: ["A0/USDT", "A1/USDT"] });
  assert.equal(tape.streams.length, 2);
  venue.trade(id, 2);
  venue.trade(venue.ids.get("A1/USDT") as number, 3);
  turn.end();
  await eventually(
    () => seen.length === 3,
    () => seen.join(),
  );
  assert.deepEqual(seen, ["A0/USDT 1", "A0/USDT 2", "A1/USDT 3"]);
  await tape.change({ symbols: "A1/USDT" });
  venue.trade(id, 4);
  venue.trade(venue.ids.get("A1/USDT") as number, 5);
  turn.end();
  await eventually(
    () => seen.length === 4,
    () => seen.join(),
  );
  assert.equal(seen[3], "A1/USDT 5");
  await assert.rejects(tape.change({ channels: "gossip" }), coded("unknown_channel"));
});

test("from brings the past in order, then goes on", async (t) => {
  const { client, venue, id, turn } = await stage(t);
  const keeper = await client.subscribe({ channels: "trades", symbols: "A0/USDT" });
  for (let price = 1; price <= 20; price += 1) venue.trade(id, price);
  turn.end();
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT", from: "now-1h" });
  const prices: number[] = [];
  const gaps: object[] = [];
  tape.on("trade", ({ price }) => prices.push(price));
  tape.on("gap", (gap) => gaps.push(gap));
  await eventually(
    () => prices.length === 20,
    () => prices.join(),
  );
  venue.trade(id, 21);
  turn.end();
  await eventually(
    () => prices.length === 21,
    () => prices.join(),
  );
  assert.deepEqual(
    prices,
    Array.from({ length: 21 }, (_, index) => index + 1),
  );
  assert.deepEqual(gaps, []);
  await keeper.close();
});

test("what comes with the ack is kept until handlers are there, in no more memory than it has itself", () => {
  const turns: (() => void)[] = [];
  const context = {
    clock: new SystemClock(),
    timers: { setTimeout: (callback: () => void) => turns.push(callback), clearTimeout: () => {} },
    onThrow: () => assert.fail(),
    gap: () => assert.fail(),
    closed: () => {},
  };
  const subscription = new Subscription(context, { symbols: "A" }, {});
  const streams = new Streams(
    new StreamCounters(),
    (exchange, symbol) => ({ exchange, symbol }),
    () => assert.fail(),
  );
  streams.add(described(0) as never, 1, subscription, 1, 0);
  const frames = Array.from({ length: 1000 }, (_, index) => tradeFrame({ position: index + 1, seq: index + 1 }));
  const before = process.memoryUsage().arrayBuffers;
  for (const frame of frames) streams.take(frame);
  const bytes = process.memoryUsage().arrayBuffers - before;
  assert.ok(bytes < 1000 * 1024, `${bytes} bytes`);
  subscription.attached(undefined as never, { id: 1, streams: [], acked: [], unavailable: [], indicators: [] });
  const prices: number[] = [];
  subscription.on("trade", ({ price }) => prices.push(price));
  for (const turn of turns) turn();
  assert.deepEqual(
    prices,
    frames.map((_, index) => index + 1),
  );
});

test("more is asked for than a server reads at once: all of it is answered, also on the next connection", async (t) => {
  const served = await serve({ graceMs: 600_000, limits: { controlMessagesPerSecond: 50, controlMessageBurst: 200 } });
  const [venue] = served.venues as [Venue, Venue];
  venue.list(spot(300));
  venue.up();
  const proxy = await FaultProxy.start({ target: served.port, random: new Random(1) });
  const client = await connect(`ws://127.0.0.1:${proxy.port}`, { reconnect: { baseMs: 10, maxMs: 20 } });
  t.after(async () => {
    await client.close();
    await proxy.close();
    await served.stop();
  });
  const errors: TickwireError[] = [];
  client.on("error", (error) => errors.push(error));
  const ask = (from: number, count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        client.subscribe({ channels: "trades", symbols: `A${from + index}/USDT`, exchanges: "test-a" }),
      ),
    );
  for (const each of await ask(0, 90)) void each.close();
  assert.equal((await ask(100, 90)).length, 90);
  await ask(190, 105);
  let returns = 0;
  client.on("reconnect", () => {
    returns += 1;
  });
  proxy.fault("cut", { how: "reset" });
  await eventually(() => returns === client.stats.connections, "the return");
  assert.deepEqual(errors, []);
});
