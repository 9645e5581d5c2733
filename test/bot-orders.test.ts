/** From what a bot asks for to what goes out: numbers, isolation, the risk gate, transactions, Kafka. */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import type { Bot, BotEvent, Intents, OrderDraft, OrderIntent, OrderPublisher, Progress } from "../src/bot/index.ts";
import {
  BotError,
  InMemoryStateStore,
  isOrderEvent,
  kafkaOrders,
  ListOrderPublisher,
  POSITION,
  parseOrderIntent,
  riskGate,
  StdoutOrderPublisher,
} from "../src/bot/index.ts";
import { Random } from "../src/std/random.ts";
import { ManualTime, passTime, surround } from "./bot-surroundings.ts";

const buy: OrderDraft = { symbol: "VN30F1M", side: "buy", qty: 2, price: 1200 };

/** Runs a bot over one tick for each of the intents; gives back what became of it. */
async function runOver(
  ticks: readonly (() => Intents | Promise<Intents>)[],
  context: { orders?: OrderPublisher; state?: InMemoryStateStore } = {},
  config = {},
) {
  const events: BotEvent[] = [];
  const bot: Bot = { onTick: ({ n }) => ticks[n as number]?.(), onEvent: (event) => void events.push(event) };
  const surroundings = surround(bot, config, context);
  const { runtime, market, time } = surroundings;
  for (const n of ticks.keys()) market.put({ n, [POSITION]: String(n) });
  market.close();
  const running = runtime.run();
  await passTime(time, 1000, () => runtime.phase === "stopped", "the bot to stop");
  return { ...surroundings, events, result: await running };
}

const sequences = (orders: readonly OrderIntent[]) => orders.map(({ sequence }) => sequence);

describe("intents", () => {
  test("nothing, lists, generators and asynchronous generators; null ones are left out", async () => {
    const { orders, result } = await runOver([
      () => undefined,
      () => null,
      () => [buy, null, undefined, buy],
      function* () {
        yield buy;
      },
      async () => new Set([buy]),
      async function* () {
        yield buy;
        yield null;
        yield buy;
      },
    ] as never);
    assert.deepEqual(sequences(orders.items), [1, 2, 3, 4, 5, 6]);
    assert.equal(result.stats.ticks, 6);
    assert.equal(result.stats.ordersPublished, 6);
  });

  test("are filled in", async () => {
    const annotations = { why_not: { deep_er: 1 } };
    const { orders } = await runOver([
      () => [
        buy,
        { symbol: "A", side: "sell", quantity: 1, annotations },
        { ...buy, type: "stop", timeInForce: "ioc" },
      ],
    ]);
    const who = { botId: "bot-1", accountId: "acc-1" };
    assert.deepEqual(orders.items, [
      {
        intentId: "bot-1-acc-1-1",
        ...who,
        symbol: "VN30F1M",
        side: "buy",
        quantity: 2,
        limitPrice: 1200,
        type: "limit",
        timeInForce: "gtc",
        sequence: 1,
      },
      {
        intentId: "bot-1-acc-1-2",
        ...who,
        symbol: "A",
        side: "sell",
        quantity: 1,
        type: "market",
        timeInForce: "gtc",
        sequence: 2,
        annotations,
      },
      {
        intentId: "bot-1-acc-1-3",
        ...who,
        symbol: "VN30F1M",
        side: "buy",
        quantity: 2,
        limitPrice: 1200,
        type: "stop",
        timeInForce: "ioc",
        sequence: 3,
      },
    ]);
  });

  test("one that breaks its contract keeps no other from going out, and the bot is told", async () => {
    const broken = { ...buy, qty: -1 };
    const { orders, events, result } = await runOver([() => [buy, broken, "text" as never, buy]]);
    assert.equal(orders.items.length, 2);
    assert.equal(result.stats.ordersFailed, 2);
    assert.equal(result.stats.tickErrors, 1);
    assert.equal(result.stats.ticks, 1);
    assert.deepEqual(
      events.map((event) => ({ ...event, publishedAt: 0 })),
      ["quantity: Too small: expected number to be >0", "an intent is an object"].map((reason) => ({
        type: "rejection",
        intentId: "bot-1-acc-1-2",
        botId: "bot-1",
        accountId: "acc-1",
        publishedAt: 0,
        category: "system_error",
        reason,
      })),
    );
  });

  test("what is no sequence is an error of the tick", async () => {
    const { result } = await runOver([() => buy as never, () => "text" as never]);
    assert.equal(result.stats.tickErrors, 2);
    assert.match(result.stats.lastError as string, /nothing or a sequence/);
  });

  test("a publisher that fails costs that order only, and its number is not used again", async () => {
    const list = new ListOrderPublisher();
    const orders: OrderPublisher = {
      async publish(order) {
        if (order.sequence === 2) throw new Error("lost");
        await list.publish(order);
      },
    };
    const { result } = await runOver([() => [buy, buy, buy], () => [buy]], { orders });
    assert.deepEqual(sequences(list.items), [1, 3, 4]);
    assert.equal(result.stats.ordersPublished, 3);
    assert.equal(result.stats.tickErrors, 1);
    assert.equal(result.stats.consecutiveErrors, 0);
  });

  test("numbers go on after a restart, by bot and account", async () => {
    const state = new InMemoryStateStore();
    const orders = new ListOrderPublisher();
    await runOver([() => [buy, buy]], { orders, state });
    await runOver([() => [buy]], { orders, state });
    assert.deepEqual(sequences(orders.items), [1, 2, 3]);
    await state.set("orders.sequence.acc-1.bot-1", "many");
    const { result, orders: none } = await runOver([() => [buy]], { state });
    assert.equal(none.items.length, 0);
    assert.equal(result.stats.ordersFailed, 1);
  });
});

describe("the risk gate", () => {
  test("lets through what is within the limits, says why not, and costs no error", async () => {
    const list = new ListOrderPublisher();
    const limits = {
      maxQuantity: 5,
      maxQuantityBySymbol: { B: 1 },
      maxNotional: 6000,
      symbols: ["VN30F1M", "B"],
    };
    const { result, events } = await runOver(
      [
        () => [
          { ...buy, qty: 5 },
          { ...buy, qty: 5.5 },
          { symbol: "B", side: "sell", qty: 2 },
          { ...buy, price: 3001, qty: 2 },
          { symbol: "C", side: "buy", qty: 1 },
        ],
      ],
      { orders: riskGate(limits, list) },
    );
    assert.equal(list.items.length, 1);
    assert.equal(result.stats.ordersRejected, 4);
    assert.equal(result.stats.tickErrors, 0);
    assert.deepEqual(
      events.filter(isOrderEvent).map((event) => event.type === "rejection" && `${event.category}: ${event.reason}`),
      [
        "risk_limit: quantity 5.5 is over the limit of 5",
        "risk_limit: quantity 2 is over the limit of 1",
        "risk_limit: notional 6002 is over the limit of 6000",
        "risk_limit: C may not be traded",
      ],
    );
  });

  test("counts orders over any minute", async () => {
    const time = new ManualTime();
    const gate = riskGate({ maxOrdersPerMinute: 2 }, new ListOrderPublisher(), time);
    const order = { ...buy, sequence: 1 } as never;
    await gate.publish(order);
    time.advance(59_999);
    await gate.publish(order);
    await assert.rejects(gate.publish(order), { code: "risk_rejected", message: "2 orders a minute have passed" });
    time.advance(1);
    await gate.publish(order);
    assert.throws(() => riskGate({ maxQuantity: -1 }, new ListOrderPublisher()), { code: "bad_config" });
  });
});

/** A transactional publisher whose commits fail now and then, sometimes after they were done. */
class Ledger implements OrderPublisher {
  readonly committed: OrderIntent[] = [];
  progress: Progress = { sequence: 0, position: undefined };
  #collected: OrderIntent[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  async open() {
    return this.progress;
  }

  async publish(order: OrderIntent) {
    this.#collected.push(order);
  }

  async commit(progress: Progress) {
    if (this.#random.chance(0.3)) throw new Error("before");
    this.committed.push(...this.#collected);
    this.#collected = [];
    this.progress = progress;
    if (this.#random.chance(0.3)) throw new Error("after");
  }
}

describe("transactions", () => {
  test("a commit that fails is repeated before the next tick, and no order is lost or doubled", async (t) => {
    const seed = 20261129;
    t.diagnostic(`seed ${seed}`);
    const ledger = new Ledger(new Random(seed));
    const ticks = Array.from({ length: 40 }, (_, n) => () => (n % 2 === 0 ? [buy, buy] : []));
    const { result } = await runOver(ticks, { orders: riskGate({}, ledger) }, { maxConsecutiveErrors: 0 });
    assert.deepEqual(
      sequences(ledger.committed),
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
    assert.deepEqual(ledger.progress, { sequence: 40, position: "39" });
    assert.equal(result.stats.ordersPublished, 40);
    assert.equal(result.stats.ticks, 40);
    assert.ok(result.stats.tickErrors > 0, "some commits failed");
  });

  test("one that never succeeds uses up the budget of errors", async () => {
    const orders: OrderPublisher = {
      open: async () => ({ sequence: 0, position: undefined }),
      publish: async () => {},
      commit: () => Promise.reject(new Error("down")),
    };
    const { result } = await runOver([() => [buy], () => [buy]], { orders });
    assert.equal(result.reason, "max-errors");
    assert.equal(result.stats.ordersPublished, 0);
    assert.equal(result.stats.ticks, 1, "the next tick waits");
  });

  test("a bot whose place another instance took stops at once", async () => {
    const orders: OrderPublisher = {
      open: async () => ({ sequence: 0, position: undefined }),
      publish: async () => {},
      commit: () => Promise.reject(new BotError("fenced", "taken")),
    };
    const { result } = await runOver([() => [buy], () => [buy]], { orders });
    assert.equal(result.reason, "fenced");
  });
});

describe("publishers", () => {
  const order = parseOrderIntent({
    intent_id: "i",
    bot_id: "b",
    account_id: "a",
    symbol: "S",
    side: "buy",
    quantity: 1,
    limit_price: 2,
    type: "limit",
    time_in_force: "day",
    sequence: 7,
  });

  test("standard output gets lines that can be read back", async () => {
    const stream = new PassThrough();
    const publisher = new StdoutOrderPublisher({ stream });
    await publisher.publish(order);
    await new StdoutOrderPublisher({ stream, format: ({ side, symbol }) => `${side} ${symbol}` }).publish(order);
    const [json, text] = String(stream.read()).split("\n") as [string, string];
    assert.deepEqual(parseOrderIntent(JSON.parse(json)), order);
    assert.equal(JSON.parse(json).limit_price, 2);
    assert.equal(text, "buy S");
  });

  test("Kafka gets account and bot as the key, the sequence as the idempotency key", async () => {
    const sent: unknown[] = [];
    const producer = { send: async (record: unknown) => sent.push(record) };
    await kafkaOrders({ producer }).publish(order);
    await kafkaOrders({ producer, topic: "mine" }).publish(order);
    await kafkaOrders({ producer, topic: ({ symbol }) => `orders.${symbol}` }).publish(order);
    type Sent = { topic: string; acks: number; messages: [{ value: string }] };
    const [first, ...others] = sent as [Sent, ...Sent[]];
    assert.equal(first.topic, "orders.intent.account.a.b");
    assert.equal(first.acks, -1);
    const { value, ...message } = first.messages[0];
    assert.deepEqual(message, {
      key: "a:b",
      headers: { "idempotency-key": "a:b:7", "content-type": "application/json" },
    });
    assert.deepEqual(parseOrderIntent(JSON.parse(value)), order);
    assert.deepEqual(
      others.map(({ topic }) => topic),
      ["mine", "orders.S"],
    );
    assert.throws(() => kafkaOrders({ producer: undefined as never }), { code: "missing_client" });
    assert.throws(() => kafkaOrders({ producer: {} as never }), { code: "bad_client" });
  });
});
