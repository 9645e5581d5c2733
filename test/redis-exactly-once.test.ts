/** A bot that is killed in the middle of its market and started again: each order once, none missing. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Redis } from "ioredis";
import {
  BotRuntime,
  createBotContext,
  keys,
  type MarketSnapshot,
  RedisStreamMarketDataClient,
  RedisStreamOrderPublisher,
} from "../src/bot/index.ts";
import { Random } from "../src/std/random.ts";
import { Log } from "./bot-surroundings.ts";
import { eventually } from "./gateway.ts";
import { accountId, botId } from "./redis-bot.ts";
import { type RedisServer, startRedis } from "./redis-server.ts";

const TICKS = 10_000;
const KILLS = 3;
const MARKET = "market:VN30F1M";
const ORDERS = keys.orderIntents(accountId, botId);
const BOT = fileURLToPath(new URL("redis-bot.ts", import.meta.url));

let server: RedisServer;
let client: Redis;

before(async () => {
  server = await startRedis();
  client = server.client();
});
after(() => server?.stop());

interface Running {
  child: ChildProcess;
  output: () => string;
  exited: Promise<number | null>;
}

function startBot(): Running {
  const child = spawn(process.execPath, ["--import", "tsx", BOT, server.url, MARKET, String(TICKS)]);
  let output = "";
  const read = (bytes: Buffer) => {
    output += bytes.toString();
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  return { child, output: () => output, exited };
}

async function addTicks(from: number, to: number): Promise<void> {
  const pipeline = client.pipeline();
  for (let n = from; n <= to; n += 1) {
    pipeline.xadd(MARKET, "*", "payload", JSON.stringify({ symbol: "VN30F1M", price: 1200 + n, n }));
  }
  await pipeline.exec();
}

async function ordersAre(least: number): Promise<void> {
  let count = 0;
  let isAsked = false;
  await eventually(() => {
    if (!isAsked) {
      isAsked = true;
      void client.xlen(ORDERS).then((length) => {
        count = length;
        isAsked = false;
      });
    }
    return count >= least;
  }, `${least} orders`);
}

describe("a bot between two Redis streams", () => {
  test("10,000 ticks, killed in the middle, each order exactly once", async (t) => {
    const seed = 20261128;
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const expected = 2 * Math.floor(TICKS / 3);
    const part = TICKS / (KILLS + 1);
    for (let kill = 1; kill <= KILLS; kill += 1) {
      // It can be killed while it works, or while it waits for more, but never after its end.
      await addTicks(part * (kill - 1) + 1, part * kill);
      const running = startBot();
      await ordersAre(Math.floor((2 * part * (kill - random.next())) / 3));
      running.child.kill("SIGKILL");
      await running.exited;
    }
    const halfway = await client.xlen(ORDERS);
    await addTicks(part * KILLS + 1, TICKS);
    const last = startBot();
    assert.equal(await last.exited, 0, last.output());

    const entries = await client.xrange(ORDERS, "-", "+");
    const orders = entries.map(([id, [, text]]) => ({ id, ...JSON.parse(text as string) }));
    const told = orders.map(({ id, sequence, side, annotations }) => [id, sequence, side, annotations.n]);
    const wanted = Array.from({ length: expected }, (_, index) => {
      const sequence = index + 1;
      return [`${sequence}-0`, sequence, index % 2 === 0 ? "buy" : "sell", 3 * (1 + Math.floor(index / 2))];
    });
    assert.deepEqual(told, wanted);
    t.diagnostic(`${orders.length} orders, ${KILLS} kills, ${halfway} out before the last start`);
  });

  test("the server is killed three times under a bot that runs on: each order exactly once", async () => {
    const stream = "market:A";
    const to = "orders:A";
    const own = server.client();
    const who = { botId: "steady-bot", accountId: "acc-1" };
    const orders = new RedisStreamOrderPublisher({ client: own, ...who, stream: to });
    const source = new RedisStreamMarketDataClient({ client: own, stream, blockMs: 100 });
    await source.open();
    let ticks = 0;
    const bot = {
      onTick({ n }: MarketSnapshot) {
        ticks += 1;
        return [{ symbol: "A", side: "buy", qty: 1, annotations: { n } } as const];
      },
    };
    const bare = { logger: new Log(), control: undefined, heartbeat: undefined };
    const ctx = createBotContext({ ...who, orders, state: orders.state, ...bare });
    const config = { source, maxConsecutiveErrors: 0, pollIntervalMs: 50, handleSignals: false };
    const runtime = new BotRuntime(bot, ctx, config);
    const running = runtime.run();
    const total = 300;
    for (let n = 1; n <= total; n += 1) {
      await client.xadd(stream, "*", "payload", JSON.stringify({ n }));
      if (n % 100 !== 50) continue;
      await eventually(() => ticks >= n - 25, `${n - 25} ticks`);
      await server.crash();
    }
    await eventually(
      () => runtime.stats.ordersPublished === total,
      () => JSON.stringify(runtime.stats),
    );
    runtime.stop();
    await running;
    source.close();
    const entries = await client.xrange(to, "-", "+");
    assert.deepEqual(
      entries.map(([id, [, text]]) => [id, JSON.parse(text as string).annotations.n]),
      Array.from({ length: total }, (_, index) => [`${index + 1}-0`, index + 1]),
    );
  });
});
