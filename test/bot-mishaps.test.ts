/** What must not happen to a bot: each test is a way in which one could be starved, killed, cut short or told wrongly. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bot, OrderIntent, ReceiveOptions, StopReason } from "../src/bot/index.ts";
import {
  BotError,
  InMemoryStateStore,
  NullMarketDataClient,
  QueueMarketDataClient,
  RedisStreamMarketDataClient,
  StaticMarketDataClient,
} from "../src/bot/index.ts";
import { passTime, settled, surround } from "./bot-surroundings.ts";
import { eventually } from "./gateway.ts";

const forever = new Promise<never>(() => {});
const idle = { onTick() {} };

describe("while a fetch waits", () => {
  test("control messages, heartbeats and a stop command are served", async () => {
    const events: string[] = [];
    const bot: Bot = { onTick() {}, onEvent: ({ type }) => void events.push(type) };
    const { runtime, control, heartbeats, time } = surround(bot);
    const running = runtime.run();
    await eventually(() => heartbeats.items.length === 1, "the first heartbeat");
    time.advance(5000);
    await eventually(() => heartbeats.items.length === 2, "the second heartbeat");
    control.put({ type: "note" });
    await eventually(() => events.length === 1, "the note");
    control.put({ type: "stop" });
    assert.equal((await running).reason, "stop-command");
    assert.deepEqual(events, ["note", "stop"]);
    assert.equal(runtime.stats.ticks, 0);
  });

  test("stop ends it, by the signal that fetch is given, and nothing is fetched in vain", async () => {
    const { runtime, market } = surround(idle);
    const running = runtime.run();
    await settled();
    runtime.stop();
    assert.deepEqual(
      { ...(await running), stats: undefined },
      {
        reason: "external-request",
        forcedStop: false,
        stats: undefined,
      },
    );
    market.put({ n: 1 });
    await settled();
    assert.equal(market.size, 1);
  });

  test("stop ends it also when the source knows no signal", async () => {
    const deaf = { ...new NullMarketDataClient(), fetch: () => forever, fetchRange: async () => [] };
    const marketData = { ...deaf, async *[Symbol.asyncIterator]() {} };
    const { runtime } = surround(idle, {}, { marketData });
    const running = runtime.run();
    await settled();
    runtime.stop("enough");
    assert.equal((await running).reason, "enough");
  });
});

describe("control messages", () => {
  test("one that cannot be read, and a channel that fails, are counted, and the next is heard", async () => {
    const answers = [new BotError("bad_message", "no JSON"), new Error("away"), { type: "stop", reason: "heard" }];
    const control = {
      async receive({ signal }: ReceiveOptions = {}) {
        const answer = answers.shift();
        if (answer instanceof Error) throw answer;
        if (answer === undefined) await new Promise((resolve) => signal?.addEventListener("abort", resolve));
        return answer;
      },
    };
    const { runtime, time } = surround(idle, {}, { control });
    const running = runtime.run();
    await eventually(() => runtime.stats.controlErrors === 2, "two errors");
    await settled();
    assert.equal(runtime.phase, "running", "a channel that fails is given a second");
    time.advance(1000);
    assert.equal((await running).reason, "heard");
  });

  test("a channel that never waits does not keep the bot busy", async () => {
    let asked = 0;
    const control = {
      async receive() {
        asked += 1;
        return undefined;
      },
    };
    const { runtime, time } = surround(idle, {}, { control });
    const running = runtime.run();
    await settled();
    assert.equal(asked, 1);
    time.advance(50);
    await settled();
    assert.equal(asked, 2);
    runtime.stop();
    await running;
  });
});

describe("a start that fails", () => {
  test("still calls onStop, and run says why", async () => {
    const reasons: StopReason[] = [];
    const cause = new Error("no account");
    const bot: Bot = {
      onStart() {
        throw cause;
      },
      onTick: () => assert.fail("it did not start"),
      onStop: (reason) => void reasons.push(reason),
    };
    const { runtime, heartbeats, signals } = surround(bot);
    await assert.rejects(runtime.run(), (error: Error & { code: string }) => {
      assert.equal(error.code, "start_failed");
      assert.equal(error.cause, cause);
      return true;
    });
    assert.deepEqual(reasons, ["start-failed"]);
    assert.equal(runtime.phase, "error");
    assert.equal(heartbeats.items.length, 0);
    assert.equal(signals.listeners.size, 0);
  });
});

describe("heartbeats", () => {
  test("a health that throws makes one that is not ok, a publisher that throws is counted, and the bot lives", async () => {
    let beats = 0;
    const bot: Bot = {
      onTick() {},
      health() {
        beats += 1;
        if (beats === 1) throw new Error("no idea");
        return { ok: true };
      },
    };
    const sent: unknown[] = [];
    const heartbeat = {
      async publish(beat: { status: unknown }) {
        sent.push(beat.status);
        if (sent.length === 2) throw new Error("no way");
      },
    };
    const { runtime, time } = surround(bot, {}, { heartbeat });
    const running = runtime.run();
    await passTime(time, 1000, () => sent.length === 3, "three heartbeats");
    runtime.stop();
    assert.equal((await running).reason, "external-request");
    assert.deepEqual(sent, [{ ok: false, error: "no idea" }, { ok: true }, { ok: true }]);
    assert.equal(runtime.stats.heartbeatErrors, 2);
  });

  test("while one is under way no other is begun", async () => {
    let health = 0;
    const bot: Bot = {
      onTick() {},
      health() {
        health += 1;
        return forever;
      },
    };
    const { runtime, time } = surround(bot);
    const running = runtime.run();
    await passTime(time, 1000, () => runtime.stats.heartbeatsSkipped === 3, "three to be skipped");
    runtime.stop();
    await running;
    assert.equal(health, 1);
  });

  test("say who, how and how much", async () => {
    const { runtime, heartbeats, time } = surround({ onTick() {}, health: () => ({ ok: true, mood: "calm" }) });
    const running = runtime.run();
    await eventually(() => heartbeats.items.length === 1, "a heartbeat");
    runtime.stop();
    await running;
    assert.deepEqual(heartbeats.items[0], {
      botId: "bot-1",
      accountId: "acc-1",
      sentAt: time.now() / 1000,
      status: { ok: true, mood: "calm" },
      stats: { ticks: 0, ordersPublished: 0, lastError: undefined },
    });
  });
});

describe("the time to stop", () => {
  test("a tick that hangs is given its time, then the stop is forced, and onStop is called all the same", async () => {
    const reasons: StopReason[] = [];
    const bot: Bot = { onTick: () => forever, onStop: (reason) => void reasons.push(reason) };
    const { runtime, market, time, log } = surround(bot, { gracefulShutdownTimeoutMs: 2000 });
    market.put({ n: 1 });
    const running = runtime.run();
    await settled();
    runtime.stop();
    time.advance(1999);
    await settled();
    assert.equal(runtime.phase, "running", "there is a millisecond left");
    time.advance(1);
    const result = await running;
    assert.equal(result.forcedStop, true);
    assert.deepEqual(reasons, ["external-request"]);
    assert.ok(log.lines.includes("bot_forced_stop"));
  });

  test("a stop command is heard while a tick hangs, also behind another message", async () => {
    const { runtime, market, control, time } = surround({ onTick: () => forever });
    market.put({ n: 1 });
    const running = runtime.run();
    await settled();
    control.put({ type: "note" });
    control.put({ type: "stop", reason: "stuck", timeout_ms: 700 });
    await settled();
    time.advance(700);
    const { reason, forcedStop } = await running;
    assert.deepEqual({ reason, forcedStop }, { reason: "stuck", forcedStop: true });
  });

  test("onStop itself", async () => {
    const { runtime, time } = surround({ onTick() {}, onStop: () => forever });
    const running = runtime.run();
    await settled();
    runtime.stop();
    await eventually(() => runtime.phase === "stopping", "the end to begin");
    time.advance(5000);
    assert.equal((await running).forcedStop, true);
    assert.equal(time.waiting, 0, "no timer is left");
  });

  test("onStart", async () => {
    const calls: string[] = [];
    const bot: Bot = { onStart: () => forever, onTick() {}, onStop: () => void calls.push("stop") };
    const { runtime, time } = surround(bot);
    const running = runtime.run();
    await settled();
    runtime.stop();
    time.advance(5000);
    assert.equal((await running).forcedStop, true);
    assert.deepEqual(calls, ["stop"]);
  });

  test("a tick that ends in time sends its orders; one that ends too late sends nothing", async () => {
    for (const inTime of [true, false]) {
      let finish: (orders: { symbol: string; side: "buy"; qty: number }[]) => void = () => {};
      const bot: Bot = {
        onTick: () =>
          new Promise((resolve) => {
            finish = resolve;
          }),
      };
      const { runtime, market, orders, time } = surround(bot);
      market.put({ n: 1 });
      const running = runtime.run();
      await settled();
      runtime.stop();
      if (!inTime) time.advance(5000);
      if (!inTime) await running;
      finish([{ symbol: "A", side: "buy", qty: 1 }]);
      const { forcedStop } = await running;
      await settled();
      assert.equal(forcedStop, !inTime);
      assert.equal(orders.items.length, inTime ? 1 : 0);
    }
  });
});

describe("ticks", () => {
  test("never two at once, in order, however slow", async () => {
    let underWay = 0;
    const seen: unknown[] = [];
    const bot: Bot = {
      async onTick({ n }) {
        underWay += 1;
        assert.equal(underWay, 1);
        for (let turn = 0; turn < Number(n) % 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        seen.push(n);
        underWay -= 1;
      },
    };
    const source = new QueueMarketDataClient();
    const { runtime } = surround(bot, { source });
    for (let n = 0; n < 200; n += 1) source.put({ n });
    source.close();
    assert.equal((await runtime.run()).reason, "market-data-ended");
    assert.deepEqual(
      seen,
      Array.from({ length: 200 }, (_, n) => n),
    );
  });

  test("an empty market ticks, unless told not to", async () => {
    for (const tickOnEmpty of [true, false]) {
      const seen: unknown[] = [];
      const bot: Bot = { onTick: (market) => void seen.push({ ...market }) };
      let fetches = 0;
      const marketData = {
        async fetch() {
          fetches += 1;
          return undefined;
        },
        fetchRange: async () => [],
        async *[Symbol.asyncIterator]() {},
      };
      const { runtime, time } = surround(bot, { tickOnEmpty, maxConsecutiveErrors: 0 }, { marketData });
      const running = runtime.run();
      await passTime(time, 1000, () => fetches >= 3, "three fetches");
      runtime.stop();
      await running;
      assert.ok(tickOnEmpty ? seen.length >= 2 : seen.length === 0, `${seen.length} ticks`);
    }
  });

  test("come at the interval, less what a tick took, and never faster than its floor", async () => {
    let ticks = 0;
    const marketData = new StaticMarketDataClient({ price: 1 });
    const onTick = () => {
      ticks += 1;
      if (ticks === 1) time.advance(20);
    };
    const { runtime, time } = surround({ onTick }, { pollIntervalMs: 1 }, { marketData });
    const running = runtime.run();
    await settled();
    assert.equal(ticks, 1);
    for (const [rest, expected] of [
      [30, 2],
      [50, 3],
      [50, 4],
    ] as const) {
      time.advance(rest - 1);
      await settled();
      assert.equal(ticks, expected - 1);
      time.advance(1);
      await settled();
      assert.equal(ticks, expected);
    }
    runtime.stop();
    await running;
  });

  test("a fetch that fails counts as a failed tick; a good one forgives; 0 never gives up", async () => {
    for (const maxConsecutiveErrors of [3, 0]) {
      let fetches = 0;
      const marketData = {
        async fetch() {
          fetches += 1;
          if (fetches % 3 !== 0 || fetches > 6) throw new Error(`fetch ${fetches}`);
          return { n: fetches };
        },
        fetchRange: async () => [],
        async *[Symbol.asyncIterator]() {},
      };
      const { runtime, time } = surround(idle, { maxConsecutiveErrors }, { marketData });
      const running = runtime.run();
      const enough = () => fetches >= 30 || runtime.phase === "stopped";
      await passTime(time, 1000, enough, "the bot to give up, or not");
      runtime.stop();
      const { reason, stats } = await running;
      assert.equal(reason, maxConsecutiveErrors === 3 ? "max-errors" : "external-request");
      if (maxConsecutiveErrors === 3) assert.equal(fetches, 9);
      assert.equal(stats.ticks, 2);
      assert.match(stats.lastError as string, /^fetch \d+$/);
    }
  });

  test("listeners that throw are only logged", async () => {
    const { runtime, market, log } = surround(idle);
    runtime.on("stats", () => {
      throw new Error("listener");
    });
    market.put({ n: 1 });
    market.close();
    const running = runtime.run();
    await eventually(() => runtime.stats.ticks === 1, "the tick");
    runtime.stop();
    assert.equal((await running).stats.ticks, 1);
    assert.ok(log.lines.includes("bot_listener_failed"));
  });
});

test("state expires by the clock, ranges keep to their bounds", async () => {
  const { time } = surround(idle);
  const state = new InMemoryStateStore(time);
  await state.set("a", 1, { ttlMs: 1000 });
  time.advance(999);
  assert.equal(await state.get("a"), 1);
  time.advance(1);
  assert.equal(await state.get("a", "gone"), "gone");

  const market = new QueueMarketDataClient();
  for (const timestamp of [1, 2, 3, 4, 5]) market.put({ timestamp });
  for (let n = 0; n < 5; n += 1) await market.fetch();
  const times = async (options: object) => (await market.fetchRange(options)).map(({ timestamp }) => timestamp);
  assert.deepEqual(await times({ from: 2, to: 4 }), [2, 3, 4]);
  assert.deepEqual(await times({ from: 2, limit: 2 }), [2, 3]);
  assert.deepEqual(await times({ to: 1 }), [1]);
  assert.deepEqual(await times({}), [1, 2, 3, 4, 5]);
});

test("orders before an error in the same tick are out and are counted", async () => {
  const sent: OrderIntent[] = [];
  const bot: Bot = {
    *onTick() {
      yield { symbol: "A", side: "buy" as const, qty: 1 };
      throw new Error("after the first");
    },
  };
  const { runtime, market, orders } = surround(bot, { maxConsecutiveErrors: 1 });
  runtime.on("order", (order) => sent.push(order));
  market.put({ n: 1 });
  const { stats, reason } = await runtime.run();
  assert.equal(reason, "max-errors");
  assert.equal(stats.ordersPublished, 1);
  assert.deepEqual(orders.items, sent);
});

test("guards have codes", () => {
  const client = { call: async () => null };
  assert.throws(() => new RedisStreamMarketDataClient({ client: undefined as never, stream: "s" }), {
    code: "missing_client",
  });
  assert.throws(() => new RedisStreamMarketDataClient({ client: client as never, stream: "s" }), {
    code: "bad_client",
  });
  for (const config of [{ pollIntervalMs: -1 }, { heartbeatIntervalMs: Number.NaN }, { source: 5 as never }]) {
    assert.throws(() => surround(idle, config), { code: "bad_config" });
  }
  assert.throws(() => surround({} as never), { code: "bad_config" });
  assert.throws(() => surround(idle, {}, { botId: "" }), { code: "bad_config" });
});
