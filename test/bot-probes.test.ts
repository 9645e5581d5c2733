/** What an orchestrator sees of a bot over HTTP. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bot } from "../src/bot/index.ts";
import { serveBotProbes } from "../src/bot/index.ts";
import { surround } from "./bot-surroundings.ts";
import { eventually } from "./gateway.ts";

test("probes follow the bot's life, metrics what it does", async () => {
  let isWell = true;
  const bot: Bot = {
    onTick({ n }) {
      if (n === 3) throw new Error("third");
      return [{ symbol: `S${n}`, side: "buy", qty: 1 }];
    },
    health: () => ({ ok: isWell, pnl: { realized: 12.5, unrealized: -3 } }),
  };
  const { runtime, market, time, heartbeats } = surround(bot, { heartbeatIntervalMs: 10_000 });
  const probes = await serveBotProbes({ runtime, port: 0, clock: time });
  const url = `http://127.0.0.1:${probes.port}`;
  const status = async (path: string, method = "GET") => (await fetch(url + path, { method })).status;
  assert.equal(await status("/healthz"), 200);
  assert.equal(await status("/readyz"), 503);

  const running = runtime.run();
  await eventually(() => heartbeats.items.length === 1, "a heartbeat");
  assert.equal(await status("/readyz"), 200);
  for (let n = 1; n <= 4; n += 1) {
    market.put({ n });
    await eventually(() => market.size === 0, "the tick");
    time.advance(1000);
  }
  await eventually(() => runtime.stats.ticks === 3, "three good ticks");
  const response = await fetch(`${url}/metrics`);
  const text = await response.text();
  assert.match(response.headers.get("content-type") as string, /^text\/plain/);
  for (const line of [
    "bot_tick_latency_ms_count 4",
    "bot_on_tick_exceptions_total 1",
    'bot_order_intents_total{side="buy",symbol="S1"} 1',
    'bot_order_intents_total{side="buy",symbol="S4"} 1',
    "bot_pnl_realized 12.5",
    "bot_pnl_unrealized -3",
    "bot_heartbeat_ok 1",
  ]) {
    assert.ok(text.split("\n").includes(line), line);
  }

  isWell = false;
  time.advance(10_000);
  await eventually(() => heartbeats.items.at(-1)?.status.ok === false, "a heartbeat that is not ok");
  assert.equal(await status("/readyz"), 503);
  assert.equal(await status("/healthz"), 200, "not well is not dead");
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^bot_heartbeat_ok 0$/m);
  assert.equal(await status("/nothing"), 404);
  assert.equal(await status("/healthz", "POST"), 405);
  assert.equal(await status("/healthz?verbose"), 200);

  runtime.stop();
  await running;
  assert.equal(await status("/healthz"), 503);
  await probes.close();
  await assert.rejects(fetch(url));
});

test("a bot whose heartbeats stay away is not alive", async () => {
  const heartbeat = { publish: () => new Promise<void>(() => {}) };
  const { runtime, time } = surround({ onTick() {} }, {}, { heartbeat });
  const probes = await serveBotProbes({ runtime, port: 0, clock: time });
  const status = async () => (await fetch(`http://127.0.0.1:${probes.port}/healthz`)).status;
  const running = runtime.run();
  await eventually(() => runtime.phase === "running", "the bot to run");
  time.advance(29_999);
  assert.equal(await status(), 200);
  time.advance(1);
  assert.equal(await status(), 503);
  await assert.rejects(serveBotProbes({ runtime, port: probes.port }), { code: "EADDRINUSE" });
  runtime.stop();
  await running;
  await probes.close();
});
