/** The life of a bot under its runtime: what is called, in which order, and what no mishap may keep from happening. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bot, BotEvent, Intents, MarketSnapshot } from "../src/bot/index.ts";
import { passTime, surround } from "./bot-surroundings.ts";
import { eventually } from "./gateway.ts";

/** Writes down what is called; what it does is up to the case. */
class Recorder implements Bot {
  readonly calls: string[] = [];
  readonly does: Partial<Bot>;

  constructor(does: Partial<Bot> = {}) {
    this.does = does;
  }

  async onStart() {
    this.calls.push("start");
    await this.does.onStart?.();
  }

  onTick(market: MarketSnapshot, signal: AbortSignal) {
    this.calls.push(`tick ${market.n ?? "empty"}`);
    return this.does.onTick?.(market, signal) as Intents;
  }

  async onEvent(event: BotEvent) {
    this.calls.push(`event ${event.type}`);
    await this.does.onEvent?.(event);
  }

  async onStop(reason: string) {
    this.calls.push(`stop ${reason}`);
    await this.does.onStop?.(reason);
  }

  health() {
    this.calls.push("health");
    return this.does.health?.() ?? { ok: true };
  }
}

interface Case {
  name: string;
  does?: Partial<Bot>;
  messages?: { type: string; reason?: string }[];
  snapshots?: { n: number }[];
  calls: string[];
  reason: string;
}

const fails = () => {
  throw new Error("boom");
};

const CASES: Case[] = [
  {
    name: "messages before the tick, the event before its stop, nothing after it",
    messages: [{ type: "note" }, { type: "BOT.STOP", reason: "night" }, { type: "late" }],
    snapshots: [{ n: 1 }],
    calls: ["start", "health", "event note", "event BOT.STOP", "stop night"],
    reason: "night",
  },
  {
    name: "a stop without a reason",
    messages: [{ type: "stop" }],
    calls: ["start", "health", "event stop", "stop stop-command"],
    reason: "stop-command",
  },
  {
    name: "ticks in order, until the market ends",
    snapshots: [{ n: 1 }, { n: 2 }, { n: 3 }],
    calls: ["start", "health", "tick 1", "tick 2", "tick 3", "stop market-data-ended"],
    reason: "market-data-ended",
  },
  {
    name: "an event that throws does not stop the bot",
    does: { onEvent: fails },
    messages: [{ type: "note" }],
    snapshots: [{ n: 1 }],
    calls: ["start", "health", "event note", "tick 1", "stop market-data-ended"],
    reason: "market-data-ended",
  },
  {
    name: "five failed ticks in a row",
    does: { onTick: fails },
    snapshots: [1, 2, 3, 4, 5, 6].map((n) => ({ n })),
    calls: ["start", "health", "tick 1", "tick 2", "tick 3", "tick 4", "tick 5", "stop max-errors"],
    reason: "max-errors",
  },
  {
    name: "an onStop that throws is only logged",
    does: { onStop: fails },
    messages: [{ type: "stop" }],
    calls: ["start", "health", "event stop", "stop stop-command"],
    reason: "stop-command",
  },
];

describe("the order of calls", () => {
  for (const { name, does, messages = [], snapshots = [], calls, reason } of CASES) {
    test(name, async () => {
      const bot = new Recorder(does);
      const { runtime, market, control, time, log } = surround(bot, { heartbeatIntervalMs: 1e9 });
      for (const message of messages) control.put(message);
      for (const snapshot of snapshots) market.put(snapshot);
      market.close();
      const running = runtime.run();
      await passTime(time, 1000, () => runtime.phase === "stopped", "the bot to stop");
      const result = await running;
      assert.deepEqual(bot.calls, calls);
      assert.equal(result.reason, reason);
      assert.equal(result.forcedStop, false);
      assert.equal(log.lines[0], "bot_runtime_starting");
      assert.equal(log.lines.at(-1), "bot_runtime_stopped");
    });
  }

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(`${signal}, and its listeners are gone afterwards`, async () => {
      const bot = new Recorder();
      const { runtime, signals } = surround(bot);
      const running = runtime.run();
      await eventually(() => runtime.phase === "running", "the bot to run");
      signals.send(signal);
      assert.equal((await running).reason, `signal-${signal.toLowerCase()}`);
      assert.equal(signals.listeners.size, 0);
    });
  }

  test("the first reason wins", async () => {
    const bot = new Recorder();
    const { runtime } = surround(bot, { handleSignals: false });
    runtime.stop("first");
    runtime.stop("second");
    assert.equal((await runtime.run()).reason, "first");
    assert.deepEqual(bot.calls, ["start", "stop first"]);
  });

  test("an aborted signal, and a second run", async () => {
    const bot = new Recorder();
    const { runtime } = surround(bot);
    const abort = new AbortController();
    const running = runtime.run({ signal: abort.signal });
    await eventually(() => runtime.phase === "running", "the bot to run");
    abort.abort();
    assert.equal((await running).reason, "aborted");
    await assert.rejects(runtime.run(), { code: "already_run" });
  });
});
