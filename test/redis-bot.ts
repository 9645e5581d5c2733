/**
 * A bot as a process of its own, to be killed: it reads a Redis stream and, of every third tick, sends an order to
 * another; how many ticks it saw it keeps in its state. `tsx test/redis-bot.ts <url> <market stream> <last tick>`.
 */
import { fileURLToPath } from "node:url";
import {
  BotBase,
  BotRuntime,
  connectRedis,
  createBotContext,
  type MarketSnapshot,
  numberIn,
  RedisStreamMarketDataClient,
  RedisStreamOrderPublisher,
} from "../src/bot/index.ts";

export const botId = "redis-bot";
export const accountId = "acc-1";

class EveryThird extends BotBase {
  async onTick(market: MarketSnapshot) {
    const seen = (await this.ctx.state.get("seen", 0)) + 1;
    await this.ctx.state.set("seen", seen);
    if (market.n === this.ctx.extra("last", 0)) this.ctx.extra("stop", () => {})();
    if (seen % 3 !== 0) return [];
    const price = numberIn(market, "price") as number;
    const annotations = { n: market.n, seen };
    // Two orders of one tick must come both or not at all.
    const order = { symbol: "VN30F1M", side: "buy", qty: 1, price, annotations } as const;
    return [order, { ...order, side: "sell" as const }];
  }
}

async function run(url: string, stream: string, last: string): Promise<void> {
  const client = await connectRedis(url);
  const orders = new RedisStreamOrderPublisher({ client, botId, accountId });
  const { position = "0-0" } = await orders.open();
  const source = new RedisStreamMarketDataClient({ client, stream, lastId: position });
  const extras = new Map<string, unknown>([["last", Number(last)]]);
  const ctx = createBotContext({ botId, accountId, orders, state: orders.state, extras });
  const runtime = new BotRuntime(new EveryThird({}, {}, ctx), ctx, { source });
  ctx.extras.set("stop", () => runtime.stop("last-tick"));
  const { reason } = await runtime.run();
  source.close();
  await client.quit();
  process.stdout.write(`${reason}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await run(...(process.argv.slice(2) as [string, string, string]));
}
