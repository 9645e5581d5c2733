/** A supervisor brings about what it is told: starts, stops, other revisions, and starts again what failed. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Bot } from "../src/bot/index.ts";
import {
  BotRuntime,
  type BotStatus,
  BotSupervisor,
  createBotContext,
  type Launch,
  QueueControlChannel,
  QueueMarketDataClient,
  statusText,
} from "../src/bot/index.ts";
import { Log, ManualTime, Signals, settled } from "./bot-surroundings.ts";

/** A supervisor of bots that the test makes, and what it told. */
class Stage {
  readonly time = new ManualTime();
  readonly control = new QueueControlChannel(this.time);
  readonly log = new Log();
  readonly statuses: BotStatus[] = [];
  readonly launches: Launch[] = [];
  readonly hooks: string[] = [];
  readonly markets: QueueMarketDataClient[] = [];
  readonly supervisor: BotSupervisor;
  readonly #over = new AbortController();
  readonly ended: Promise<void>;
  #commands = 0;

  constructor(t: TestContext, bot: (launch: Launch) => Partial<Bot> = () => ({}), config: object = {}) {
    this.supervisor = new BotSupervisor({
      botId: "bot-1",
      control: this.control,
      launch: (launch) => {
        this.launches.push(launch);
        const name = String(launch.configRevision);
        const { time, log } = this;
        const marketData = new QueueMarketDataClient();
        this.markets.push(marketData);
        const ctx = createBotContext({
          botId: "bot-1",
          accountId: "acc-1",
          marketData,
          control: launch.control,
          heartbeat: undefined,
          logger: log,
        });
        const hooks: Bot = {
          onStart: () => void this.hooks.push(`${name} start`),
          onTick: () => {},
          onEvent: ({ type }) => void this.hooks.push(`${name} event ${type}`),
          onStop: (reason) => void this.hooks.push(`${name} stop ${reason}`),
          ...bot(launch),
        };
        return new BotRuntime(hooks, ctx, {
          clock: time,
          timers: time,
          signals: new Signals(),
          handleSignals: false,
          gracefulShutdownTimeoutMs: 1000,
          ...config,
        });
      },
      restart: { baseMs: 1000, maxMs: 4000, healthyAfterMs: 60_000 },
      logger: this.log,
      clock: this.time,
      timers: this.time,
      random: () => 1,
    });
    this.supervisor.on("status", (status) => this.statuses.push(status));
    this.ended = this.supervisor.run({ signal: this.#over.signal });
    t.after(() => this.#over.abort());
  }

  async tell(type: string, fields: object = {}, id = ""): Promise<void> {
    this.#commands += 1;
    const command_id = id || `c${this.#commands}`;
    this.control.put({ type, command_id, issued_at: 1, ...fields });
    await settled();
  }

  start(revision: string | number, fields: object = {}): Promise<void> {
    return this.tell("bot.start", { image: `img:${revision}`, config_revision: revision, ...fields });
  }

  async pass(ms: number): Promise<void> {
    this.time.advance(ms);
    await settled();
  }

  phase(): string {
    return this.supervisor.status.phase;
  }

  get phases(): string[] {
    return this.statuses.map(({ phase }) => phase);
  }

  over(): Promise<void> {
    this.#over.abort();
    return this.ended;
  }
}

test("a bot is started, told what is its own, and stopped with the reason of the command", async (t) => {
  const stage = new Stage(t);
  assert.equal(stage.phase(), "stopped");
  await stage.start("r1", { overrides: { size: 3 } });
  assert.deepEqual(
    stage.launches.map(({ image, overrides }) => [image, overrides]),
    [["img:r1", { size: 3 }]],
  );
  assert.deepEqual(stage.phases, ["starting", "running"]);
  await stage.tell("pause");
  await stage.tell("bot.stop", { mode: "graceful", reason: "maintenance" });
  await stage.pass(1000);
  assert.deepEqual(stage.hooks, ["r1 start", "r1 event pause", "r1 stop maintenance"]);
  assert.deepEqual(stage.phases, ["starting", "running", "stopping", "stopped"]);
  const { status } = stage.supervisor;
  assert.deepEqual([status.reason, status.forcedStop, status.configRev], ["maintenance", false, "r1"]);
  const text = JSON.parse(statusText(status)) as Record<string, unknown>;
  assert.deepEqual(
    [text.type, text.bot_id, text.phase, text.config_rev, text.forced_stop, text.restarts],
    ["bot.status", "bot-1", "stopped", "r1", false, 0],
  );
});

test("another revision takes the place of the one before, which stops first; the same command counts once", async (t) => {
  const stage = new Stage(t);
  await stage.start(1);
  await stage.tell("rollout", { image: "img:2", config_revision: 2 }, "once");
  await stage.pass(1000);
  assert.deepEqual(stage.hooks, ["1 start", "1 stop rollout", "2 start"]);
  await stage.tell("rollout", { image: "img:2", config_revision: 2 }, "once");
  await stage.pass(1000);
  assert.equal(stage.launches.length, 2);
  assert.equal(stage.supervisor.status.configRev, 2);
  // Three at once: what is wanted in the end is what runs in the end.
  await Promise.all([stage.start(3), stage.tell("stop", { mode: "graceful" }), stage.start(4)]);
  for (let step = 0; step < 5; step += 1) await stage.pass(1000);
  assert.deepEqual([stage.phase(), stage.supervisor.status.configRev], ["running", 4]);
  assert.equal(stage.hooks.filter((hook) => hook.endsWith("start")).length, stage.launches.length);
});

test("a start of what runs already changes nothing; of other overrides it is another one", async (t) => {
  const stage = new Stage(t);
  await stage.start(1, { overrides: { size: 1 } });
  await stage.start(1, { overrides: { size: 1 } });
  await stage.pass(1000);
  assert.deepEqual([stage.launches.length, stage.phase()], [1, "running"]);
  await stage.start(1, { overrides: { size: 2 } });
  await stage.pass(1000);
  assert.deepEqual([stage.launches.length, stage.phase()], [2, "running"]);
});

test("what cannot be read, or makes no sense, changes nothing and is logged", async (t) => {
  const stage = new Stage(t);
  await stage.tell("rollout", { image: "img", config_revision: 1 });
  await stage.tell("start", { image: "img" });
  await stage.tell("stop", { mode: "softly" });
  assert.deepEqual(stage.statuses, []);
  assert.deepEqual(
    stage.log.lines.filter((line) => line.startsWith("supervisor")),
    ["supervisor_rollout_of_a_stopped_bot", "supervisor_command_refused", "supervisor_command_refused"],
  );
});

test("a start may be for later; a stop takes it back", async (t) => {
  const stage = new Stage(t);
  const now = stage.time.now() / 1000;
  await stage.start(1, { effective_at: now + 5000 });
  await stage.pass(4999);
  assert.equal(stage.launches.length, 0);
  await stage.pass(1);
  assert.equal(stage.launches.length, 1);
  await stage.tell("stop", { mode: "graceful" });
  await stage.pass(1000);
  await stage.start(2, { effective_at: now + 60_000 });
  await stage.tell("stop", { mode: "graceful" });
  await stage.pass(120_000);
  assert.equal(stage.launches.length, 1);
});

test("a bot that fails is started again, later each time, until it is told to stop", async (t) => {
  const failing = () => ({
    onStart: () => {
      throw new Error("no data");
    },
  });
  const stage = new Stage(t, failing);
  await stage.start(1);
  assert.equal(stage.phase(), "error");
  assert.match(stage.supervisor.status.error ?? "", /no data/);
  for (const [afterMs, launches] of [
    [999, 1],
    [1, 2],
    [1999, 2],
    [1, 3],
    [4000, 4],
    [4000, 5],
  ] as const) {
    await stage.pass(afterMs);
    assert.equal(stage.launches.length, launches);
  }
  assert.equal(stage.supervisor.status.restarts, 5);
  await stage.tell("stop", { mode: "graceful" });
  await stage.pass(60_000);
  assert.equal(stage.launches.length, 5);
});

test("too many errors are a failure too; an end of its own will is not", async (t) => {
  let throws = true;
  const stage = new Stage(
    t,
    () => ({
      onTick: () => {
        if (throws) throw new Error("bad tick");
      },
    }),
    { maxConsecutiveErrors: 2, pollIntervalMs: 50 },
  );
  await stage.start(1);
  for (const market of stage.markets) for (let each = 0; each < 3; each += 1) market.put({ price: 1 });
  for (let step = 0; step < 20 && stage.phase() !== "error"; step += 1) await stage.pass(100);
  assert.deepEqual([stage.phase(), stage.supervisor.status.reason], ["error", "max-errors"]);
  assert.equal(stage.supervisor.status.error, "bad tick");
  throws = false;
  await stage.pass(1000);
  assert.equal(stage.phase(), "running");
  stage.markets[1]?.close();
  for (let step = 0; step < 20 && stage.phase() !== "stopped"; step += 1) await stage.pass(100);
  assert.equal(stage.supervisor.status.reason, "market-data-ended");
  await stage.pass(60_000);
  assert.equal(stage.launches.length, 2);
});

test("a forced stop leaves behind what does not end", async (t) => {
  const stage = new Stage(t, () => ({ onTick: () => new Promise(() => {}) }));
  await stage.start(1);
  stage.markets[0]?.put({ price: 1 });
  await stage.pass(50);
  await stage.tell("stop", { mode: "force" });
  for (let step = 0; step < 5; step += 1) await stage.pass(1);
  assert.deepEqual([stage.phase(), stage.supervisor.status.forcedStop], ["stopped", true]);
});

test("a launch that fails is told, and tried again; the supervisor's end is the bot's", async (t) => {
  let fails = true;
  const stage = new Stage(t, () => {
    if (fails) throw new Error("no such image");
    return {};
  });
  await stage.start(1);
  assert.deepEqual([stage.phase(), stage.supervisor.status.error], ["error", "no such image"]);
  fails = false;
  await stage.pass(1000);
  assert.equal(stage.phase(), "running");
  const ended = stage.over();
  for (let step = 0; step < 5; step += 1) await stage.pass(100);
  await ended;
  assert.deepEqual([stage.phase(), stage.hooks.at(-1)], ["stopped", "1 stop external-request"]);
});

test("a bot that had failed is stopped by a stop, and says so", async (t) => {
  const stage = new Stage(t, () => {
    throw new Error("no such image");
  });
  await stage.start(1);
  assert.equal(stage.phase(), "error");
  await stage.tell("stop", { mode: "graceful", reason: "given up" });
  assert.deepEqual([stage.phase(), stage.supervisor.status.reason], ["stopped", "given up"]);
  await stage.pass(120_000);
  assert.equal(stage.launches.length, 1);
});

test("a listener that throws keeps no bot from being started and stopped", async (t) => {
  const stage = new Stage(t);
  stage.supervisor.on("status", () => {
    throw new Error("mine");
  });
  await stage.start(1);
  assert.equal(stage.phase(), "running");
  await stage.tell("stop", { mode: "graceful" });
  await stage.pass(1000);
  assert.equal(stage.phase(), "stopped");
});

test("a channel that fails at once is left alone for a while, and then asked again", async () => {
  const time = new ManualTime();
  const over = new AbortController();
  let asked = 0;
  const receive = async () => {
    asked += 1;
    throw new Error("the connection is closed");
  };
  const launch = () => assert.fail("launched");
  const options = { botId: "b", control: { receive }, launch, logger: new Log(), clock: time, timers: time };
  const ended = new BotSupervisor(options).run({ signal: over.signal });
  await settled();
  assert.equal(asked, 1);
  time.advance(1000);
  await settled();
  assert.equal(asked, 2);
  over.abort();
  await ended;
});

test("a message that comes while the bot is being made is for the bot", async (t) => {
  const stage = new Stage(t);
  await Promise.all([stage.start(1), stage.tell("pause")]);
  await settled();
  assert.deepEqual(stage.hooks, ["1 start", "1 event pause"]);
});
