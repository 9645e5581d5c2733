/** What bots are made of, one by one: the base class, the context, the connectors in memory, the contracts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import {
  BotBase,
  BotRuntime,
  createBotContext,
  defineBot,
  InMemoryStateStore,
  keys,
  ListOrderPublisher,
  type MarketSnapshot,
  NullControlChannel,
  NullHeartbeatPublisher,
  NullMarketDataClient,
  numberIn,
  parseBotCommand,
  parseDepthSnapshot,
  parseOrderEvent,
  parseOrderIntent,
  QueueControlChannel,
  QueueMarketDataClient,
  StaticMarketDataClient,
  StdoutOrderPublisher,
} from "../src/bot/index.ts";
import { Log, ManualTime, Signals, settled, surround } from "./bot-surroundings.ts";
import { eventually } from "./gateway.ts";

const names = { botId: "bot-1", accountId: "acc-1" };

class Example extends BotBase<{ size: number }, { token: string }> {
  onTick(market: MarketSnapshot) {
    const price = numberIn(market, "price");
    return price === undefined ? [] : [{ symbol: "A", side: "buy" as const, qty: this.config.size, price }];
  }

  get token(): string {
    return this.secrets.token;
  }
}

describe("a bot", () => {
  test("as a class: it has copies of what it was given, and does not tell its secrets", async () => {
    const config = { size: 1 };
    const secrets = { token: "hidden" };
    const bot = new Example(config, secrets, createBotContext({ ...names, logger: new Log() }));
    config.size = 2;
    secrets.token = "changed";
    assert.equal(bot.config.size, 1);
    assert.equal(bot.token, "hidden");
    assert.doesNotMatch(inspect(bot, { depth: 5, showHidden: true }), /hidden/);
    assert.deepEqual(await bot.health(), { ok: true });
    assert.equal(await bot.onStart(), undefined);
    assert.deepEqual(bot.onTick({}), []);
    assert.equal(bot.onTick({ price: "12.5" })[0]?.price, 12.5);
  });

  test("as an object of hooks", async () => {
    const calls: unknown[] = [];
    const make = defineBot<{ size: number }, { token: string }>({
      onStart: ({ ctx }) => void calls.push(ctx.botId),
      onTick: ({ price }, { config }) => [{ symbol: "A", side: "buy", qty: config.size, price: Number(price) }],
      onStop: (reason, { secrets }) => void calls.push(reason, secrets.token),
    });
    const source = new QueueMarketDataClient();
    const orders = new ListOrderPublisher();
    const ctx = createBotContext({ ...names, orders, logger: new Log() });
    source.put({ price: 3 });
    source.close();
    await new BotRuntime(make({ size: 2 }, { token: "t" }, ctx), ctx, { source, signals: new Signals() }).run();
    assert.deepEqual(calls, ["bot-1", "market-data-ended", "t"]);
    assert.equal(orders.items[0]?.quantity, 2);
  });
});

describe("a context", () => {
  test("is safe where nothing is said", async () => {
    const ctx = createBotContext(names);
    assert.ok(ctx.marketData instanceof NullMarketDataClient);
    assert.ok(ctx.orders instanceof StdoutOrderPublisher);
    assert.ok(ctx.state instanceof InMemoryStateStore);
    assert.ok(ctx.control instanceof NullControlChannel);
    assert.ok(ctx.heartbeat instanceof NullHeartbeatPublisher);
    assert.equal(ctx.extra("none", 7), 7);
    const bare = createBotContext({ ...names, control: undefined, heartbeat: undefined });
    assert.equal(bare.control, undefined);
    assert.equal(bare.heartbeat, undefined);
  });

  test("with another logger is a copy, extras and all", () => {
    const logger = new Log();
    const ctx = createBotContext({ ...names, extras: { a: 1 } });
    const other = ctx.with({ logger });
    other.extras.set("b", 2);
    assert.equal(other.logger, logger);
    assert.notEqual(ctx.logger, logger);
    assert.equal(other.extra("a", 0), 1);
    assert.equal(ctx.extra("b", 0), 0);
    assert.equal(createBotContext({ ...names, extras: new Map([["c", 3]]) }).extra("c", 0), 3);
  });
});

describe("markets in memory", () => {
  const all = async (market: AsyncIterable<MarketSnapshot>) => {
    const seen: MarketSnapshot[] = [];
    for await (const snapshot of market) seen.push(snapshot);
    return seen;
  };

  test("one that says nothing, one that stands still", async () => {
    const nothing = new NullMarketDataClient();
    assert.deepEqual(await nothing.fetch(), {});
    assert.deepEqual(await nothing.fetchRange(), []);
    assert.deepEqual(await all(nothing), []);
    const time = new ManualTime();
    const still = new StaticMarketDataClient({ price: 1 }, time);
    const now = time.now() / 1000;
    assert.deepEqual(await still.fetch(), { price: 1 });
    assert.deepEqual(await still.fetchRange({ from: now }), [{ price: 1, timestamp: now }]);
    assert.deepEqual(await still.fetchRange({ to: now - 1 }), []);
    assert.deepEqual(await all(still), [{ price: 1 }]);
  });

  test("a queue: waits, is bounded, gives out what it holds when it is closed", async () => {
    const queue = new QueueMarketDataClient({ maxWaiting: 2, maxHistory: 2 });
    const waiting = queue.fetch();
    queue.put({ n: 1 });
    assert.deepEqual(await waiting, { n: 1 });
    const abort = new AbortController();
    const given = queue.fetch({ signal: abort.signal });
    abort.abort();
    assert.equal(await given, undefined);
    queue.put({ n: 2 });
    queue.put({ n: 3 });
    assert.throws(() => queue.put({ n: 4 }), { code: "queue_full" });
    queue.close();
    assert.throws(() => queue.put({ n: 4 }), { code: "closed" });
    assert.deepEqual(await all(queue), [{ n: 2 }, { n: 3 }]);
    assert.equal(await queue.fetch(), undefined);
    assert.equal(queue.ended, true);
    assert.deepEqual(await queue.fetchRange(), [{ n: 2 }, { n: 3 }]);
    assert.equal(queue.forgotten, 1);
  });

  test("a control queue waits, not longer than it is told, and is bounded", async () => {
    const time = new ManualTime();
    const control = new QueueControlChannel(time);
    assert.equal(await control.receive({ timeoutMs: 0 }), undefined);
    const given = control.receive({ timeoutMs: 100 });
    time.advance(100);
    assert.equal(await given, undefined);
    const waiting = control.receive({ timeoutMs: 100 });
    control.put({ type: "a" });
    assert.deepEqual(await waiting, { type: "a" });
    await settled();
    assert.equal(time.waiting, 0, "no timer is left");
    for (let n = 0; n < 10_000; n += 1) control.put({ type: "a" });
    assert.throws(() => control.put({ type: "a" }), { code: "queue_full" });
    const nobody = new NullControlChannel(time).receive({ timeoutMs: 5 });
    time.advance(5);
    assert.equal(await nobody, undefined);
  });
});

describe("push mode", () => {
  const seenBy = (seen: unknown[]) => ({ onTick: ({ n }: MarketSnapshot) => void seen.push(n) });

  test("a source that is iterated over: its end, its error, its being left", async () => {
    let left = 0;
    async function* source(fails: boolean) {
      try {
        yield { n: 1 };
        yield { n: 2 };
        if (fails) throw new Error("broken");
      } finally {
        left += 1;
      }
    }
    for (const fails of [false, true]) {
      const seen: unknown[] = [];
      const { runtime, time } = surround(seenBy(seen), { source: source(fails) });
      const running = runtime.run();
      await eventually(() => {
        time.advance(1000);
        return runtime.phase === "stopped";
      }, "the source to end");
      const { reason, stats } = await running;
      assert.equal(reason, "market-data-ended");
      assert.deepEqual(seen, [1, 2]);
      assert.equal(stats.lastError, fails ? "broken" : undefined);
    }
    assert.equal(left, 2);
  });

  test("a source that calls: the oldest are dropped when too many wait, counted; it is unsubscribed from", async () => {
    const seen: unknown[] = [];
    let push: (snapshot: object) => void = () => {};
    let unsubscribed = 0;
    const source = {
      async subscribe(onSnapshot: (snapshot: object) => void) {
        push = onSnapshot;
        return () => {
          unsubscribed += 1;
        };
      },
    };
    const { runtime } = surround(seenBy(seen), { source, maxQueuedSnapshots: 3 });
    const running = runtime.run();
    await eventually(() => runtime.phase === "running", "the bot to run");
    await settled();
    for (let n = 1; n <= 5; n += 1) push({ n });
    await eventually(() => seen.length === 3, "what was not dropped");
    push({ n: 6 });
    await eventually(() => seen.length === 4, "the next");
    runtime.stop();
    const { stats } = await running;
    push({ n: 7 });
    await settled();
    assert.deepEqual(seen, [3, 4, 5, 6]);
    assert.equal(stats.snapshotsDropped, 2);
    assert.equal(unsubscribed, 1);
  });

  test("a source that calls: its end and its failure", async () => {
    for (const error of [undefined, new Error("gone")]) {
      const seen: unknown[] = [];
      const source = {
        subscribe(onSnapshot: (snapshot: object) => void, onEnd: (error?: unknown) => void) {
          onSnapshot({ n: 1 });
          onEnd(error);
          return () => {};
        },
      };
      const { runtime, time } = surround(seenBy(seen), { source });
      const running = runtime.run();
      await eventually(() => {
        time.advance(1000);
        return runtime.phase === "stopped";
      }, "the source to end");
      const { reason, stats } = await running;
      assert.deepEqual(seen, [1]);
      assert.equal(reason, "market-data-ended");
      assert.equal(stats.lastError, error?.message);
    }
  });
});

describe("contracts", () => {
  const of = { intent_id: "i", bot_id: "b", account_id: "a", published_at: 5 };

  test("intents and events of orders, by the names of the wire or of TypeScript", () => {
    const intent = { intentId: "i", botId: "b", accountId: "a", symbol: "S", side: "sell", quantity: 1, sequence: 1 };
    const whole = { ...intent, type: "market", timeInForce: "ioc", expiresAt: 9 };
    assert.deepEqual(parseOrderIntent(whole), whole);
    for (const broken of [
      { ...whole, side: "hold" },
      { ...whole, quantity: 0 },
      { ...whole, type: "limit" },
      { ...whole, sequence: 1.5 },
      { ...whole, botId: "" },
      null,
      [whole],
    ]) {
      assert.throws(() => parseOrderIntent(broken), { code: "bad_order" });
    }
    for (const event of [
      { type: "ack", ...of, order_id: "o" },
      { type: "fill", ...of, order_id: "o", filled: 1, remaining: 0, price: 3, fee: -0.1 },
      { type: "rejection", ...of, category: "instrument_halted", reason: "halted" },
      { type: "cancel", ...of, order_id: "o", initiator: "broker", correlation_id: "c" },
    ]) {
      assert.equal(parseOrderEvent(event).type, event.type);
      assert.equal(parseOrderEvent(event).publishedAt, 5);
    }
    assert.throws(() => parseOrderEvent({ type: "fill", ...of }), { code: "bad_order" });
    assert.throws(() => parseOrderEvent({ type: "rejection", ...of, category: "mood", reason: "" }), {
      code: "bad_order",
    });
    assert.throws(() => parseOrderEvent({ type: "other", ...of }), { code: "bad_order" });
  });

  test("commands", () => {
    const envelope = { command_id: "c", issued_at: 5, correlation_id: "r" };
    const start = { type: "start", ...envelope, image: "i", config_revision: 3, overrides: { a_b: 1 } };
    const command = parseBotCommand(start);
    assert.deepEqual(command.type === "start" && [command.configRevision, command.overrides], [3, { a_b: 1 }]);
    const stop = parseBotCommand({ type: "bot.stop", ...envelope, mode: "force", timeout_ms: 100, reason: "now" });
    assert.deepEqual(stop.type === "stop" && [stop.mode, stop.timeoutMs, stop.reason], ["force", 100, "now"]);
    assert.equal(parseBotCommand({ type: "ROLLOUT", ...envelope, image: "i", config_revision: "r" }).type, "rollout");
    for (const broken of [{ ...start, image: "" }, { type: "dance", ...envelope }, { type: "stop" }, "stop", null]) {
      assert.throws(() => parseBotCommand(broken), { code: "bad_message" });
    }
  });

  test("keys", () => {
    assert.equal(keys.series("VN30F1M", "price"), "markets:vn30f1m:price");
    assert.equal(keys.series("BTC/USDT:USDT", "volume"), "markets:btc_usdt_usdt:volume");
    assert.equal(keys.depthHistory("X"), "ssi_ps:X");
    assert.equal(keys.depthStream("X"), "ssi_ps_stream:X");
    assert.equal(keys.orderIntents("a", "b"), "orders.intent.account.a.b");
    assert.equal(keys.orderEvents("a", "b"), "orders.event.account.a.b");
    assert.equal(keys.riskAlerts("a"), "risk.alerts.account.a");
    assert.equal(keys.commands("b"), "bot.commands.b");
    assert.equal(keys.depthTopic, "ssi_ps");
  });

  test("depth snapshots, in snake_case, in camelCase, with lists of levels", () => {
    const snake: Record<string, unknown> = {
      board: "PS",
      raw_symbol: "41I1F7000",
      code: "VN30F1M",
      timestamp: "1700000000000",
      server_timestamp: 1_700_000_000_005,
      last: "1234.5",
      open_interest: "",
      ceiling: 1300,
      total_match: "120",
    };
    for (let level = 1; level <= 10; level += 1) {
      snake[`bid_price_${level}`] = 1234 - level;
      snake[`bid_volume_${level}`] = String(level);
      snake[`offer_price_${level}`] = level < 9 ? 1234 + level : 0;
      snake[`offer_volume_${level}`] = level;
    }
    const depth = parseDepthSnapshot(snake);
    assert.equal(depth.symbol, "41I1F7000");
    assert.equal(depth.timestamp, 1_700_000_000_000);
    assert.equal(depth.last, 1234.5);
    assert.equal(depth.openInterest, undefined);
    assert.equal(depth.totalMatch, 120);
    assert.equal(depth.bids.length, 10);
    assert.deepEqual(depth.bids[1], { price: 1232, volume: 2 });
    assert.equal(depth.offers.length, 8);
    const camel = {
      code: "X",
      timestamp: "2026-01-02T03:04:05+07:00",
      bidPrice1: 1,
      bidVolume1: 2,
      offers: [[3, "4"]],
    };
    const { timestamp, bids, offers } = parseDepthSnapshot(camel);
    assert.equal(timestamp, Date.UTC(2026, 0, 1, 20, 4, 5));
    assert.deepEqual([bids, offers], [[{ price: 1, volume: 2 }], [{ price: 3, volume: 4 }]]);
    for (const broken of [{}, null, "text", { code: "X", timestamp: "soon" }, { ...camel, last: "much" }]) {
      assert.throws(() => parseDepthSnapshot(broken), { code: "bad_snapshot" });
    }
  });
});
