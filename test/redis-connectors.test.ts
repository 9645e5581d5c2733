/** Every connector of Redis but the time series, against a real one. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type { Redis } from "ioredis";
import type { MarketSnapshot, RedisClient } from "../src/bot/index.ts";
import {
  connectRedis,
  keys,
  POSITION,
  RedisControlChannel,
  RedisHeartbeatPublisher,
  RedisStateStore,
  RedisStreamMarketDataClient,
  RedisStreamOrderPublisher,
} from "../src/bot/index.ts";
import { Random } from "../src/std/random.ts";
import { ManualTime, surround } from "./bot-surroundings.ts";
import { eventually } from "./gateway.ts";
import { type RedisServer, startRedis } from "./redis-server.ts";

let server: RedisServer;
let client: Redis;

before(async () => {
  server = await startRedis();
  client = server.client();
});
after(() => server?.stop());
beforeEach(async () => {
  await client.flushall();
});

/** Clients whose connections block on a read, now. */
async function blocked(): Promise<number> {
  return Number(/blocked_clients:(\d+)/.exec(await client.info("clients"))?.[1]);
}

async function untilBlocked(): Promise<void> {
  let count = 0;
  while (count === 0) count = await blocked();
}

describe("the market from a stream", () => {
  const stream = keys.depthStream("VN30F1M");
  const add = (fields: Record<string, string>) => client.xadd(stream, "*", ...Object.entries(fields).flat());

  test("a payload replaces the fields, times become milliseconds, id and stream are added", async () => {
    const id = (await add({ code: "X", payload: '{"price":5,"timestamp":"2026-01-02T03:04:05Z"}' })) as string;
    const plain = (await add({ price: "5", timestamp: "1700000000000", stream: "own" })) as string;
    const text = (await add({ payload: "not JSON" })) as string;
    const list = (await add({ payload: "[1]", timestamp: "soon" })) as string;
    const market = new RedisStreamMarketDataClient({ client, stream, lastId: "0-0", blockMs: 50 });
    const timestamp = Date.UTC(2026, 0, 2, 3, 4, 5);
    assert.deepEqual(await market.fetch(), { stream, stream_id: id, price: 5, timestamp, [POSITION]: id });
    const own = { stream: "own", stream_id: plain, price: "5", timestamp: 1_700_000_000_000, [POSITION]: plain };
    assert.deepEqual(await market.fetch(), own);
    assert.deepEqual(await market.fetch(), { stream, stream_id: text, payload: "not JSON", [POSITION]: text });
    assert.deepEqual(await market.fetch(), { stream, stream_id: list, payload: [1], [POSITION]: list });
    market.close();
  });

  test("fetch waits for more than one block, and an aborted one loses nothing", async () => {
    const market = new RedisStreamMarketDataClient({ client, stream, blockMs: 20 });
    await market.open();
    const abort = new AbortController();
    const given = market.fetch({ signal: abort.signal });
    await untilBlocked();
    abort.abort();
    assert.equal(await given, undefined);
    const waiting = market.fetch();
    await add({ n: "1" });
    assert.equal((await waiting)?.n, "1");
    market.close();
  });

  test("from $ on nothing is lost between two reads", async (t) => {
    const seed = 20261130;
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    await add({ n: "before" });
    const market = new RedisStreamMarketDataClient({ client, stream, count: 3, blockMs: 5 });
    await market.open();
    const seen: unknown[] = [];
    for (let n = 0; n < 200; ) {
      // Aborted reads, and entries that come while nobody reads.
      const abort = new AbortController();
      const given = market.fetch({ signal: abort.signal });
      for (const last = n + random.integer(0, 4); n < last; n += 1) await add({ n: String(n) });
      if (random.chance(0.5)) abort.abort();
      else if (seen.length < n) await given;
      else abort.abort();
      const snapshot = await given;
      if (snapshot !== undefined) seen.push(snapshot.n);
    }
    const total = await client.xlen(stream);
    while (seen.length < total - 1) seen.push((await market.fetch())?.n);
    assert.deepEqual(
      seen,
      Array.from({ length: total - 1 }, (_, n) => String(n)),
    );
    market.close();
  });

  test("a read that waits keeps no other command waiting, and close ends it", async () => {
    const market = new RedisStreamMarketDataClient({ client, stream, blockMs: 600_000 });
    const waiting = market.fetch();
    await untilBlocked();
    assert.equal(await client.ping(), "PONG");
    market.close();
    assert.equal(await waiting, undefined);
    assert.equal(market.ended, true);
  });

  test("ranges by time, iteration, a decoder of one's own, an entry that it cannot read", async () => {
    for (const n of [1, 2, 3, 4]) await client.xadd(stream, `${n}000-0`, "n", String(n));
    const decode = ({ fields }: { fields: Readonly<Record<string, string>> }) => {
      if (fields.n === "2") throw new Error("not this one");
      return { number: Number(fields.n) };
    };
    const market = new RedisStreamMarketDataClient({ client, stream, lastId: "0-0", decode });
    const numbers = (snapshots: readonly MarketSnapshot[]) => snapshots.map(({ number }) => number);
    assert.deepEqual(numbers(await market.fetchRange({ from: 3000 })), [3, 4]);
    assert.deepEqual(numbers(await market.fetchRange({ to: 1999.5 })), [1]);
    assert.deepEqual(numbers(await market.fetchRange({ from: 3000, limit: 1 })), [3]);
    assert.deepEqual(await market.fetchRange({ limit: 0 }), []);
    assert.equal((await market.fetch())?.number, 1);
    await assert.rejects(market.fetch(), /not this one/);
    const seen: unknown[] = [];
    for await (const { number } of market) {
      seen.push(number);
      if (seen.length === 2) break;
    }
    assert.deepEqual(seen, [3, 4]);
    market.close();
    for (const wrong of [{ lastId: "first" }, { blockMs: 0 }, { count: 1.5 }]) {
      assert.throws(() => new RedisStreamMarketDataClient({ client, stream, ...wrong }), { code: "bad_config" });
    }
  });
});

describe("state", () => {
  test("keeps values, forgets them in time, keeps bots apart", async () => {
    const state = new RedisStateStore({ client, prefix: "bot.state.a." });
    const other = new RedisStateStore({ client, prefix: "bot.state.b." });
    await state.set("k", { deep: [1, null] });
    assert.deepEqual(await state.get("k"), { deep: [1, null] });
    assert.equal(await other.get("k", "none"), "none");
    await state.set("k", 1, { ttlMs: 60_000 });
    const left = await client.pttl("bot.state.a.k");
    assert.ok(left > 0 && left <= 60_000);
    await state.set("k", 1, { ttlMs: 1 });
    let value: unknown = 1;
    while (value !== undefined) value = await state.get("k");
    await state.set("k", 2);
    assert.equal(await client.pttl("bot.state.a.k"), -1);
    await state.delete("k");
    assert.equal(await state.get("k"), undefined);
    await assert.rejects(state.set("k", undefined), { code: "bad_config" });
    await assert.rejects(state.set("k", 1, { ttlMs: 0.5 }), { code: "bad_config" });
    await client.set("bot.state.a.k", "{");
    await assert.rejects(state.get("k"), { code: "bad_reply" });
  });
});

describe("control messages", () => {
  const key = keys.commands("bot-1");
  const send = {
    list: (text: string) => client.rpush(key, text),
    stream: (text: string) => client.xadd(key, "*", "payload", text),
  };
  for (const kind of ["list", "stream"] as const) {
    test(`from a ${kind}: in order, waited for, cut short without loss`, async () => {
      const control = new RedisControlChannel({ client, key, kind, blockMs: 20 });
      await control.open();
      assert.equal(await control.receive({ timeoutMs: 0 }), undefined);
      await send[kind]('{"type":"a"}');
      await send[kind]("not JSON");
      await send[kind]('{"kind":"no type"}');
      await send[kind]('{"type":"b"}');
      assert.deepEqual(await control.receive({ timeoutMs: 0 }), { type: "a" });
      await assert.rejects(control.receive(), { code: "bad_message" });
      await assert.rejects(control.receive({ timeoutMs: 0 }), { code: "bad_message" });
      assert.deepEqual(await control.receive(), { type: "b" });
      assert.equal(await control.receive({ timeoutMs: 1 }), undefined);
      const abort = new AbortController();
      const given = control.receive({ signal: abort.signal });
      abort.abort();
      assert.equal(await given, undefined);
      await send[kind]('{"type":"c"}');
      assert.deepEqual(await control.receive(), { type: "c" });
      const waiting = control.receive();
      control.close();
      assert.equal(await waiting, undefined);
    });

    test(`from a ${kind}: a stop ends a bot that waits for its market`, async () => {
      const control = new RedisControlChannel({ client, key, kind });
      await control.open();
      const { runtime } = surround({ onTick() {} }, {}, { control });
      const running = runtime.run();
      await eventually(() => runtime.phase === "running", "the bot to run");
      await send[kind]('{"type":"bot.stop","reason":"from outside"}');
      assert.equal((await running).reason, "from outside");
      control.close();
    });
  }
});

describe("heartbeats", () => {
  test("a key that expires, a channel, a stream", async () => {
    const told: string[] = [];
    const listener = server.client();
    await listener.subscribe(keys.heartbeat("bot-1"));
    listener.on("message", (_channel, text) => told.push(text));
    const heartbeat = new RedisHeartbeatPublisher({ client, expiresAfterMs: 5000, stream: "beats" });
    const { runtime } = surround({ onTick() {} }, {}, { heartbeat });
    const running = runtime.run();
    await eventually(() => told.length === 1, "a heartbeat");
    runtime.stop();
    await running;
    const text = (await client.get(keys.heartbeat("bot-1"))) as string;
    const { sent_at, ...rest } = JSON.parse(text);
    assert.deepEqual(rest, {
      bot_id: "bot-1",
      account_id: "acc-1",
      status: { ok: true },
      stats: { ticks: 0, orders_published: 0, last_error: null },
    });
    assert.ok(Number.isInteger(sent_at));
    const left = await client.pttl(keys.heartbeat("bot-1"));
    assert.ok(left > 0 && left <= 5000);
    assert.deepEqual(told, [text]);
    assert.deepEqual((await client.xrange("beats", "-", "+"))[0]?.[1], ["payload", text]);
    assert.throws(() => new RedisHeartbeatPublisher({ client, expiresAfterMs: 0 }), { code: "bad_config" });
    await client.set("beats-taken", "text");
    const failing = new RedisHeartbeatPublisher({ client, stream: "beats-taken" });
    await assert.rejects(failing.publish({ ...JSON.parse(text), botId: "bot-1", stats: {} }), /WRONGTYPE/);
  });
});

describe("orders", () => {
  const who = { botId: "bot-1", accountId: "acc-1" };
  const stream = keys.orderIntents("acc-1", "bot-1");
  const order = (sequence: number) => ({ ...who, intentId: `i-${sequence}`, sequence, symbol: "S" }) as never;
  const ids = async () => (await client.xrange(stream, "-", "+")).map(([id]) => id);

  test("a tick goes in as a whole: orders, position, state; a new instance goes on there", async () => {
    const time = new ManualTime();
    const first = new RedisStreamOrderPublisher({ client, ...who, clock: time });
    assert.deepEqual(await first.open(), { sequence: 0, position: undefined });
    await first.publish(order(1));
    await first.publish(order(2));
    await first.publish(order(2));
    await first.state.set("a", 1);
    await first.state.set("soon gone", 1, { ttlMs: 1000 });
    assert.equal(await first.state.get("a"), 1, "it sees its own changes");
    assert.deepEqual(await ids(), [], "nothing is out before the commit");
    await first.commit({ sequence: 2, position: "5-0" });
    assert.deepEqual(await ids(), ["1-0", "2-0"]);
    await first.publish(order(3));
    await first.state.set("a", 2);

    const second = new RedisStreamOrderPublisher({ client, ...who, clock: time });
    assert.deepEqual(await second.open(), { sequence: 2, position: "5-0" });
    assert.equal(await second.state.get("a"), 1, "what was not committed never was");
    assert.equal(await second.state.get("soon gone"), 1);
    time.advance(1000);
    assert.equal(await second.state.get("soon gone", "gone"), "gone");
    await assert.rejects(first.commit({ sequence: 3, position: "6-0" }), { code: "fenced" });
    await second.state.delete("a");
    await second.publish(order(3));
    await second.commit({ sequence: 3, position: "6-0" });
    assert.deepEqual(await ids(), ["1-0", "2-0", "3-0"]);
    assert.equal(await second.state.get("a"), undefined);
  });

  test("ticks without orders and changes save their position now and then", async () => {
    const orders = new RedisStreamOrderPublisher({ client, ...who, idleTicks: 3 });
    const saved = () => client.hget("bot.progress.acc-1.bot-1", "position");
    for (const [position, expected] of [
      ["1-0", null],
      ["2-0", null],
      ["3-0", "3-0"],
      ["4-0", "3-0"],
    ] as const) {
      await orders.commit({ sequence: 0, position });
      assert.equal(await saved(), expected);
    }
    assert.throws(() => new RedisStreamOrderPublisher({ client, ...who, idleTicks: 0 }), { code: "bad_config" });
  });

  test("what onStart, onEvent and onStop change is kept too, and a snapshot without a position forgets none", async () => {
    const orders = new RedisStreamOrderPublisher({ client, ...who });
    const bot = {
      onStart: () => orders.state.set("start", 1),
      async onTick({ n }: { n?: unknown }) {
        await orders.state.set("tick", n);
      },
      onEvent: () => orders.state.set("event", 1),
      onStop: () => orders.state.set("stop", 1),
    };
    const { runtime, market, control } = surround(bot, { pollIntervalMs: 50 }, { orders, heartbeat: undefined });
    control.put({ type: "note" });
    market.put({ n: 1, [POSITION]: "7-0" });
    const running = runtime.run();
    await eventually(() => runtime.stats.ticks === 1, "the tick");
    runtime.stop();
    await running;
    const next = new RedisStreamOrderPublisher({ client, ...who });
    assert.deepEqual(await next.open(), { sequence: 0, position: "7-0" });
    const kept = await Promise.all(["start", "tick", "event", "stop"].map((key) => next.state.get(key)));
    assert.deepEqual(kept, [1, 1, 1, 1]);
  });

  test("a commit whose answer is lost goes in once", async (t) => {
    const seed = 20261201;
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    let lost = 0;
    const unsafe: RedisClient = {
      call: async (command, ...args) => {
        if (command !== "EVALSHA") return client.call(command, ...args);
        if (random.chance(0.2)) throw new Error("lost on the way there");
        const reply = await client.call(command, ...args);
        if (random.chance(0.3)) {
          lost += 1;
          throw new Error("lost on the way back");
        }
        return reply;
      },
      duplicate: () => unsafe,
      disconnect() {},
      on() {},
      pipeline: () => client.pipeline() as never,
    };
    const orders = new RedisStreamOrderPublisher({ client: unsafe, ...who });
    const bot = {
      async onTick({ n }: { n?: unknown }) {
        await orders.state.set("n", n);
        return [{ symbol: "S", side: "buy", qty: 1, annotations: { n } } as const];
      },
    };
    const config = { maxConsecutiveErrors: 0, pollIntervalMs: 50, timers: instantly };
    const { runtime, market } = surround(bot, config, { orders, control: undefined, heartbeat: undefined });
    for (let n = 1; n <= 100; n += 1) market.put({ n, [POSITION]: `${n}-0` });
    market.close();
    await runtime.run();
    const entries = await client.xrange(stream, "-", "+");
    assert.deepEqual(
      entries.map(([id, [, text]]) => [id, JSON.parse(text as string).annotations.n]),
      Array.from({ length: 100 }, (_, index) => [`${index + 1}-0`, index + 1]),
    );
    assert.ok(lost > 10, `${lost} answers were lost`);
  });
});

/** Every delay is over in the next turn but that which ends a stop. */
const instantly = {
  setTimeout: (callback: () => void, delayMs: number) => (delayMs < 5000 ? setImmediate(callback) : undefined),
  clearTimeout: (handle: unknown) => clearImmediate(handle as NodeJS.Immediate),
};

describe("the package", () => {
  test("is loaded when used, and its lack is said in one line", async () => {
    const own = await connectRedis(server.url);
    assert.equal(await own.call("PING"), "PONG");
    await own.quit();
    const missing = connectRedis(server.url, () => Promise.reject(new Error("Cannot find package 'ioredis'")));
    await assert.rejects(missing, {
      code: "missing_package",
      message: /^Redis needs the package ioredis: npm install/,
    });
  });
});
