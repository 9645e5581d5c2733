/** Streams of markets for programs: every event really comes, also after losses; tables; health; what cannot be asked. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  alignToTimeframe,
  BotError,
  createCryptoStream,
  createMarketStream,
  DEFAULT_CRYPTO_SYMBOLS,
  type MarketStream,
  type MarketStreamEvents,
  type MarketStreamOptions,
} from "../src/bot/index.ts";
import { Rate } from "../src/bot/rate.ts";
import { connect, TickwireError } from "../src/client/index.ts";
import * as S from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { eventually, listed, startGateway } from "./gateway.ts";
import { type Served, type ServeOptions, serve, spot, type Venue } from "./serve.ts";
import { freePort, ServerProcess } from "./server-process.ts";

const NAMES = ["trade", "bar", "correction", "reconnect", "health", "backfill", "gap", "unavailable", "error"] as const;

/** A server that the test drives, and what a stream of it has told, in order. */
class Stage {
  readonly served: Served;
  readonly venue: Venue;
  readonly proxy: FaultProxy;
  readonly ids: number[];
  readonly told: { name: string; event: unknown }[] = [];
  readonly #t: TestContext;

  private constructor(t: TestContext, served: Served, proxy: FaultProxy) {
    this.#t = t;
    this.served = served;
    this.proxy = proxy;
    const [venue, other] = served.venues as [Venue, Venue];
    this.venue = venue;
    this.ids = venue.list(spot(4));
    other.list(spot(1));
    venue.up();
    other.up();
  }

  static async open(t: TestContext, options: ServeOptions = {}): Promise<Stage> {
    const served = await serve({ graceMs: 600_000, ...options });
    const proxy = await FaultProxy.start({ target: served.port, random: new Random(1) });
    t.after(async () => {
      await proxy.close();
      await served.stop();
    });
    return new Stage(t, served, proxy);
  }

  stream(options: MarketStreamOptions = {}): MarketStream {
    const own = options.client === undefined ? { url: `ws://127.0.0.1:${this.proxy.port}` } : {};
    const stream = createMarketStream({
      ...own,
      reconnect: { baseMs: 10, maxMs: 20 },
      heartbeatMs: 250,
      timeframes: ["1s", "5s"],
      ...options,
    });
    for (const name of NAMES) stream.on(name, (event) => this.told.push({ name, event }));
    this.#t.after(() => stream.stop());
    return stream;
  }

  of<Name extends keyof MarketStreamEvents>(name: Name): MarketStreamEvents[Name][] {
    return this.told.filter((each) => each.name === name).map(({ event }) => event as MarketStreamEvents[Name]);
  }

  trade(index: number, price: number, size = 1, side = S.SIDE_BUY): void {
    const { engine, turn } = this.served;
    engine.begin(this.venue.id);
    const { slot } = engine;
    slot.numbers.fill(0);
    slot.numbers[S.PRICE] = price;
    slot.numbers[S.SIZE] = size;
    slot.numbers[S.TS_EXCHANGE] = turn.now();
    slot.tradeIdLength = 0;
    engine.trade(this.ids[index] as number, side, 0);
    turn.end();
  }

  /** Trades of both kinds until something holds. */
  async until(holds: () => boolean, what: string): Promise<void> {
    let price = 100;
    const timer = setInterval(() => {
      price += 1;
      this.trade(0, price, 0.5, price % 3 === 0 ? S.SIDE_SELL : S.SIDE_BUY);
    }, 20);
    try {
      await eventually(holds, what);
    } finally {
      clearInterval(timer);
    }
  }
}

const A0 = { exchange: "test-a", symbols: ["A0/USDT"] };

describe("streams of markets", { concurrency: true }, () => {
  test("trades and bars come, and a bar has every trade of its time", async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.stream({ subscriptions: [A0] }).start();
    await stage.until(() => stage.of("bar").filter(({ timeframe }) => timeframe === "1s").length >= 3, "three bars");
    const bars = stage.of("bar");
    for (const { exchange, symbol, closeTime, openTime } of bars) {
      assert.deepEqual([exchange, symbol], ["test-a", "A0/USDT"]);
      assert.ok(closeTime > openTime);
    }
    const trades = stage.of("trade");
    for (const bar of bars.filter(({ partial }) => !partial)) {
      const of = trades.filter(({ tsExchange: at }) => at >= bar.openTime && at < bar.closeTime);
      assert.ok(of.length > 0);
      assert.deepEqual(
        [bar.tradeCount, bar.open, bar.close, bar.volume],
        [of.length, of[0]?.price, of.at(-1)?.price, of.reduce((sum, { size }) => sum + size, 0)],
      );
      const bought = of.reduce((sum, { side, size }) => sum + (side === "buy" ? size : 0), 0);
      assert.deepEqual([bar.buyVolume, bar.sellVolume], [bought, bar.volume - bought]);
    }
    const columns = stream.bars("a0/usdt");
    assert.equal(columns.length, stream.bars("A0/USDT", "1s").length);
    const row = columns.at(-1);
    assert.equal(row?.openTime, bars.findLast(({ timeframe }) => timeframe === "1s")?.openTime);
    assert.deepEqual(columns.rows().at(-1), row);
    assert.ok(columns.close instanceof Float64Array && columns.toColumns().vwap instanceof Float64Array);
    assert.equal(stream.currentBar("A0/USDT", "5s")?.state, "building");
  });

  test("instruments are added and dropped at run time; what there is not is told", async (t) => {
    const stage = await Stage.open(t);
    const stream = stage.stream();
    // Before the start it is only noted.
    await stream.subscribe({ exchange: "TEST-A", symbols: ["a0/usdt", "a3/usdt"] });
    await stream.unsubscribe({ exchange: "test-a", symbols: "A3/USDT" });
    await stream.start();
    assert.equal(await stream.start(), stream);
    await stream.subscribe({ exchange: "test-a", symbols: ["A1/USDT", "X/USDT"], timeframes: ["1m"] });
    assert.deepEqual(
      stage.of("unavailable").map(({ exchange, symbol, code }) => [exchange, symbol, code]),
      [["test-a", "X/USDT", "unknown_symbol"]],
    );
    await stream.subscribe({ exchange: "test-b", symbols: "A0/USDT", timeframes: ["1s"] });
    stage.trade(0, 10);
    stage.trade(1, 20);
    await eventually(() => stage.of("trade").length === 2, "both trades");
    assert.equal(stream.metrics().symbolsStreaming, 3);
    assert.equal(stream.vwap("A1/USDT"), 20);
    // Two venues have it: which one is meant has to be said.
    assert.throws(() => stream.bars("A0/USDT", "1s"), /several exchanges have A0\/USDT.*test-a, test-b/);
    assert.throws(() => stream.vwap("A0/USDT"), /several exchanges/);
    assert.equal(stream.vwap("A0/USDT", { exchange: "test-a" }), 10);
    assert.equal(stream.bars("A1/USDT", "1m").length, 0);
    const isNot = (error: unknown) => error instanceof BotError && error.code === "not_subscribed";
    assert.throws(() => stream.bars("A1/USDT", "1s"), isNot);
    await stream.unsubscribe({ exchange: "test-a", symbols: "A1/USDT" });
    assert.throws(() => stream.bars("A1/USDT", "1m"), isNot);
    assert.throws(() => stream.trades("A1/USDT"), isNot);
    stage.trade(1, 21);
    stage.trade(0, 11);
    await eventually(() => stage.of("trade").length === 3, "the trade of what is still subscribed");
    assert.equal(stage.of("trade")[2]?.price, 11);
    await assert.rejects(stream.subscribe({ exchange: "test-a", symbols: "Y/USDT" }), /test-a has none of Y\/USDT/);
    await assert.rejects(stream.subscribe({ exchange: "nowhere", symbols: "A0/USDT" }), TickwireError);
    assert.deepEqual(Object.keys(stream.health()).sort(), ["test-a", "test-b"]);
    // What was refused has left nothing behind.
    await stream.subscribe({ exchange: "test-a", symbols: "A2/USDT", timeframes: ["1s"] });
  });

  test("after a lost connection the stream goes on, and says so", async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.stream({ subscriptions: [A0] }).start();
    stage.trade(0, 1);
    await eventually(() => stage.of("trade").length === 1, "a trade");
    let retries = 0;
    stream.client?.on("retry", () => {
      retries += 1;
    });
    stage.proxy.isRefusing = true;
    stage.proxy.fault("cut", { how: "reset" });
    await eventually(() => stream.health()["test-a"]?.status === "reconnecting", "the loss");
    assert.ok(stage.of("health").some((health) => health["test-a"]?.status === "reconnecting"));
    stage.trade(0, 2);
    await eventually(() => retries >= 3, "attempts in vain");
    stage.proxy.isRefusing = false;
    await eventually(() => stage.of("reconnect").length === 1, "the return");
    const [{ source, attempts, reason, downtimeMs }] = stage.of("reconnect") as [MarketStreamEvents["reconnect"]];
    assert.equal(source, "gateway");
    assert.ok((attempts ?? 0) >= 3, `${attempts} attempts`);
    assert.ok(reason.length > 0 && downtimeMs > 0, `${reason} ${downtimeMs}`);
    stage.trade(0, 3);
    await eventually(() => stage.of("trade").length === 3, "what was missed, and what came after");
    assert.deepEqual(
      stage.of("trade").map(({ price }) => price),
      [1, 2, 3],
    );
    const health = stream.health()["test-a"];
    assert.deepEqual([health?.status, health?.reconnects], ["connected", 1]);
  });

  test("a first connection that fails is tried again", async (t) => {
    const stage = await Stage.open(t);
    stage.proxy.isRefusing = true;
    const stream = stage.stream({ subscriptions: [A0] });
    const started = stream.start();
    await new Promise((resolve) => setTimeout(resolve, 80));
    assert.equal(stream.health()["test-a"], undefined);
    stage.proxy.isRefusing = false;
    await started;
    stage.trade(0, 5);
    await eventually(() => stage.of("trade").length === 1, "a trade");
  });

  test("attempts may be limited: then the start fails, and the stream is over", async (t) => {
    const stage = await Stage.open(t);
    stage.proxy.isRefusing = true;
    const stream = stage.stream({ subscriptions: [A0], reconnect: { baseMs: 1, maxMs: 2, attempts: 3 } });
    await assert.rejects(stream.start(), (error) => error instanceof TickwireError && error.code === "unavailable");
    await stream.ended;
  });

  test("a venue that goes away and comes back is told, and what was lost meanwhile", async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.stream({ subscriptions: [A0, { exchange: "test-b", symbols: "A0/USDT" }] }).start();
    const { engine, turn } = stage.served;
    engine.connection(stage.venue.id, S.STATE_DOWN, "closed with 1006");
    turn.end();
    await eventually(() => stream.health()["test-a"]?.status === "reconnecting", "the loss");
    assert.match(stream.health()["test-a"]?.reason ?? "", /1006/);
    assert.equal(stream.health()["test-b"]?.status, "connected");
    stage.venue.up();
    turn.end();
    stage.trade(0, 1);
    await eventually(() => stage.of("reconnect").length === 1, "the return");
    const [{ source, attempts, reason }] = stage.of("reconnect") as [MarketStreamEvents["reconnect"]];
    assert.deepEqual([source, attempts], ["test-a", undefined]);
    assert.match(reason, /1006/);
    assert.equal(stream.health()["test-a"]?.reconnects, 1);
    engine.begin(stage.venue.id);
    engine.upstreamGap(stage.ids[0] as number, 7, 9);
    turn.end();
    await eventually(() => stage.of("gap").length === 1, "the venue's loss");
    const [gap] = stage.of("gap") as [MarketStreamEvents["gap"]];
    assert.deepEqual([gap.symbol, gap.channel, gap.from, gap.to, gap.reason], ["A0/USDT", "trades", 7, 9, "upstream"]);
  });

  test("a source that is silent becomes stale, and is not any more once it speaks", async (t) => {
    const stage = await Stage.open(t);
    const stream = stage.stream({ subscriptions: [A0], staleAfterMs: 150, healthIntervalMs: 20 });
    await stream.start();
    await eventually(() => stage.of("health").some((each) => each["test-a"]?.status === "stale"), "staleness");
    stage.trade(0, 1);
    await eventually(() => stage.of("health").at(-1)?.["test-a"]?.status === "connected", "life");
    const health = stage.of("health").at(-1)?.["test-a"];
    assert.ok((health?.lastMessageAt ?? 0) > 0);
    assert.ok(Math.abs(health?.latencyMs ?? Number.NaN) < 10_000);
  });

  test("bars that were missed while another server was there are fetched, and told", async (t) => {
    const [port, seed] = [freePort(), "--seed=5"];
    const args = ["serve", "--feeds=sim-a", seed, `--port=${port}`];
    const first = new ServerProcess(args);
    await first.listening();
    const stream = createMarketStream({
      url: `ws://127.0.0.1:${port}`,
      reconnect: { baseMs: 20, maxMs: 50 },
      timeframes: ["1s"],
      historySize: 50,
    });
    t.after(() => stream.stop());
    const backfills: MarketStreamEvents["backfill"][] = [];
    const bars: number[] = [];
    stream.on("backfill", (each) => backfills.push(each));
    stream.on("bar", ({ openTime }) => bars.push(openTime));
    await stream.subscribe({ exchange: "sim-a", symbols: "BTC/USDT" });
    await stream.start();
    assert.deepEqual([backfills.length, stream.bars("BTC/USDT", "1s").length], [1, 50]);
    await eventually(() => bars.length > 0, "a bar");
    await first.end("SIGKILL");
    const count = bars.length;
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const second = new ServerProcess(args);
    t.after(() => second.end("SIGKILL"));
    await second.listening();
    await eventually(() => backfills.length > 1 && bars.length > count + 3, "the bars that were missed");
    // A market that is simulated trades every second; the one in which it was started anew may have had none.
    const { openTime, length } = stream.bars("BTC/USDT", "1s");
    assert.equal(length, 50);
    assert.ok((openTime[49] as number) - (openTime[0] as number) <= 50e6);
  });

  test("histories and buffers are as long as was said, and count what they overwrite", async (t) => {
    const stage = await Stage.open(t);
    const stream = stage.stream({ subscriptions: [A0], historySize: 2, tradeBufferSize: 8, timeframes: ["1s"] });
    await stream.start();
    for (let price = 1; price <= 20; price += 1) stage.trade(0, price, price, price % 2 ? S.SIDE_BUY : S.SIDE_SELL);
    await eventually(() => stage.of("trade").length === 20, "the trades");
    const { price, side, size, time } = stream.trades("A0/USDT");
    assert.deepEqual(Array.from(price), [13, 14, 15, 16, 17, 18, 19, 20]);
    assert.deepEqual(Array.from(side), [1, -1, 1, -1, 1, -1, 1, -1]);
    assert.equal(size.length, time.length);
    assert.deepEqual(Array.from(stream.trades("A0/USDT", { limit: 2 }).price), [19, 20]);
    assert.equal(stream.metrics().tradesOverwritten, 12);
    assert.equal(stream.vwap("A0/USDT", { limit: 2 }), (19 * 19 + 20 * 20) / 39);
    assert.equal(stream.imbalance("A0/USDT", { limit: 2 }), (19 - 20) / 39);
    assert.ok(Number.isNaN(stream.vwap("A0/USDT", { exchange: "test-a", limit: 1 }) - Number.NaN));
    await stage.until(() => stage.of("bar").length >= 4, "four bars");
    assert.equal(stream.bars("A0/USDT").length, 2);
  });

  test("listeners do not disturb each other; once, off and signals", async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.stream({ subscriptions: [A0] }).start();
    const heard: string[] = [];
    stream.on("trade", () => {
      throw new Error("mine");
    });
    const listener = () => heard.push("off");
    const controller = new AbortController();
    stream.on("trade", listener);
    stream.once("trade", () => heard.push("once"));
    stream.on("trade", () => heard.push("signal"), { signal: controller.signal });
    stage.trade(0, 1);
    await eventually(() => heard.length === 3, "three");
    stream.off("trade", listener);
    controller.abort();
    stage.trade(0, 2);
    await eventually(() => stage.of("error").length === 2, "both errors");
    assert.deepEqual(heard, ["off", "once", "signal"]);
    const [error] = stage.of("error") as [BotError];
    assert.equal(error.code, "listener_failed");
    assert.match(error.message, /"trade" threw: mine/);
  });

  test("events can be iterated over; the iteration ends with the stream", async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.stream({ subscriptions: [A0] }).start();
    const trades = stream.each("trade");
    for (const price of [1, 2, 3]) stage.trade(0, price);
    const seen: number[] = [];
    for await (const event of trades) {
      assert.ok(event.type === "trade");
      seen.push(event.price);
      if (event.price === 3) await stream.stop();
    }
    assert.deepEqual(seen, [1, 2, 3]);
    assert.deepEqual(await stream.each("bar").next(), { done: true, value: undefined });
  });

  test("a stream is stopped while it connects, and twice, and is over then", async (t) => {
    const stage = await Stage.open(t);
    stage.proxy.isRefusing = true;
    const stream = stage.stream({ subscriptions: [A0] });
    const started = stream.start();
    const refused = assert.rejects(started, (error) => (error as BotError).code === "closed");
    await stream.stop();
    await stream.stop();
    await refused;
    await stream.ended;
    await assert.rejects(stream.subscribe(A0), (error) => (error as BotError).code === "closed");
    const controller = new AbortController();
    const other = stage.stream({ signal: controller.signal });
    stage.proxy.isRefusing = false;
    await other.start();
    controller.abort();
    await other.ended;
    assert.equal(other.client?.stats.connections, 1);
  });

  test("a client that was given is used, and left open", async (t) => {
    const stage = await Stage.open(t);
    const client = await connect(stage.served.url);
    t.after(() => client.close());
    const stream = await stage.stream({ client, subscriptions: [A0] }).start();
    stage.trade(0, 1);
    await eventually(() => stage.of("trade").length === 1, "a trade");
    await stream.stop();
    stage.trade(0, 2);
    const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT", exchanges: "test-a" });
    const seen: number[] = [];
    tape.on("trade", ({ price }) => seen.push(price));
    stage.trade(0, 3);
    await eventually(() => seen.length === 1, "the client to be there");
    assert.equal(stage.of("trade").length, 1);
  });

  test("three hundred series open, with no more messages than a server reads at once", async (t) => {
    const stage = await Stage.open(t, { limits: { controlMessagesPerSecond: 50, controlMessageBurst: 200 } });
    const symbols = Array.from({ length: 100 }, (_, index) => `B${index}/USDT`);
    stage.venue.list(spot(symbols));
    const stream = stage.stream({ timeframes: ["1s", "5s", "1m"], subscriptions: [{ exchange: "test-a", symbols }] });
    await stream.start();
    assert.deepEqual(stage.of("error"), []);
    for (const symbol of symbols) assert.equal(stream.bars(symbol, "1m").length, 0);
  });

  test("a signal that was aborted before, or is during the start, stops the stream", async (t) => {
    const stage = await Stage.open(t);
    const stream = stage.stream({ subscriptions: [A0], signal: AbortSignal.abort() });
    await stream.ended;
    await assert.rejects(stream.start(), (error) => error instanceof BotError && error.code === "closed");
    assert.equal(stream.client, undefined);
  });

  test("a stream of a client that was given stops also while that has no server, and leaves nothing in it", async (t) => {
    const stage = await Stage.open(t);
    const client = await connect(`ws://127.0.0.1:${stage.proxy.port}`, { reconnect: { baseMs: 10, maxMs: 20 } });
    t.after(() => client.close());
    const signals: (AbortSignal | undefined)[] = [];
    const on = client.on.bind(client);
    client.on = (name, handler, options) => {
      signals.push(options?.signal);
      return on(name, handler, options);
    };
    const stream = await stage.stream({ client, subscriptions: [A0] }).start();
    stage.proxy.isRefusing = true;
    stage.proxy.fault("cut", { how: "reset" });
    await eventually(() => !client.isConnected, "the loss");
    const asked = assert.rejects(stream.subscribe({ exchange: "test-a", symbols: ["A1/USDT", "A2/USDT"] }), BotError);
    await stream.stop();
    await asked;
    stage.proxy.isRefusing = false;
    await eventually(() => client.isConnected, "the return");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { frames } = client.stats;
    for (const index of [0, 1, 2]) stage.trade(index, 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(client.stats.frames, frames);
    assert.ok(signals.length >= 5 && signals.every((signal) => signal?.aborted), "its listeners are gone");
  });

  test("what comes while instruments are being dropped leaves nothing behind", async (t) => {
    const stage = await Stage.open(t);
    const symbols = ["A0/USDT", "A1/USDT"];
    const stream = await stage.stream({ subscriptions: [{ exchange: "test-a", symbols }] }).start();
    stage.trade(1, 1);
    await eventually(() => stage.of("trade").length === 1, "a trade");
    const timer = setInterval(() => stage.trade(1, 2), 0);
    await stream.unsubscribe({ exchange: "test-a", symbols: "A1/USDT" });
    clearInterval(timer);
    await stream.subscribe({ exchange: "test-a", symbols: "A1/USDT" });
    assert.equal(stream.trades("A1/USDT").price.length, 0);
  });

  test("metrics: seven figures and more, also as Prometheus text", async (t) => {
    const stage = await Stage.open(t);
    const stream = await stage.stream({ subscriptions: [A0] }).start();
    await stage.until(() => stage.of("bar").length >= 1, "a bar");
    const metrics = stream.metrics();
    assert.equal(metrics.tradesProcessed, stage.of("trade").length);
    assert.equal(metrics.barsProduced, stage.of("bar").length);
    assert.deepEqual([metrics.symbolsStreaming, metrics.sourcesActive, metrics.tradesOverwritten], [1, 1, 0]);
    assert.ok(metrics.uptimeSeconds > 0 && metrics.tradesPerSecond >= 0 && metrics.barsPerSecond >= 0);
    const text = await stream.metricsText();
    assert.match(text, /# TYPE market_stream_trades_total counter\nmarket_stream_trades_total \d+/);
    assert.match(text, /market_stream_source_connected\{source="test-a"\} 1/);
    assert.match(text, /market_stream_source_latency_ms\{source="test-a"\} -?[\d.]+/);
  });

  test("presets: the usual symbols, and none when the list is empty", async (t) => {
    const stage = await Stage.open(t);
    const url = `ws://127.0.0.1:${stage.proxy.port}`;
    const none = createCryptoStream([], { url });
    t.after(() => none.stop());
    await none.start();
    assert.deepEqual([none.metrics().symbolsStreaming, none.health()], [0, {}]);
    // This server has no binance: nothing of it can be had, and that is an error.
    const usual = createCryptoStream(undefined, { url });
    await assert.rejects(usual.start(), (error) => (error as TickwireError).code === "unknown_exchange");
    assert.deepEqual(DEFAULT_CRYPTO_SYMBOLS, ["BTC/USDT", "XRP/USDT"]);
  });
});

test("what cannot be asked for is refused, with what would be right", async () => {
  const refused = (options: object, said: RegExp) =>
    assert.throws(
      () => createMarketStream(options as MarketStreamOptions),
      (error) => error instanceof BotError && error.code === "bad_config" && said.test(error.message),
    );
  refused({ timeframes: ["2m"] }, /timeframes: one of 1s 5s .*, not 2m/);
  refused({ timeframes: [] }, /at least one/);
  refused({ defaultTimeframe: "1 minute" }, /not 1 minute/);
  refused({ historySize: 0 }, /historySize: a whole number from 1 to 1000, not 0/);
  refused({ tradeBufferSize: 1.5 }, /tradeBufferSize/);
  refused({ healthIntervalMs: 1 }, /healthIntervalMs/);
  refused({ staleAfterMs: Number.NaN }, /staleAfterMs/);
  refused({ url: "ws://a", embedded: {} }, /url and embedded exclude each other/);
  refused({ subscriptions: [{ exchange: "*", symbols: "A" }] }, /the name of one venue/);
  refused({ subscriptions: [{ exchange: "a", symbols: ["*"] }] }, /names such as BTC\/USDT, not "\*"/);
  refused({ subscriptions: [{ exchange: "a", symbols: 5 }] }, /a list of names/);
  const stream = createMarketStream();
  assert.throws(() => stream.bars("A", "1m"), /not subscribed/);
  assert.throws(() => stream.trades("A", { limit: 0 }), /not subscribed/);
  await assert.rejects(stream.subscribe({ exchange: "", symbols: "A" }), /the name of one venue/);
  assert.equal(alignToTimeframe(1_700_000_055_000_001, "1m"), 1_700_000_040_000_000);
  assert.equal(alignToTimeframe(1_700_000_055_000_001, "1d"), 1_699_920_000_000_000);
});

test("a rate is of the last seconds, not of the whole life", () => {
  const rate = new Rate();
  assert.equal(rate.perSecond(5e6), 0);
  for (let second = 100; second < 104; second += 1) for (let each = 0; each < 10; each += 1) rate.count(second * 1e6);
  assert.equal(rate.perSecond(104e6), 10);
  assert.equal(rate.perSecond(108e6), 5);
  assert.equal(rate.perSecond(112e6), 2);
  assert.equal(rate.perSecond(114e6), 0);
  rate.count(1e12);
  assert.equal(rate.perSecond(1e12), 0);
  assert.equal(rate.total, 41);
});

/** The engines that this process has started. */
function children(): number[] {
  const file = `/proc/${process.pid}/task/${process.pid}/children`;
  const pids = readFileSync(file, "utf8").trim().split(" ").filter(Boolean).map(Number);
  return pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("tickwire.mjs"));
}

const PROGRAM = `
import { createMarketStream } from "${fileURLToPath(new URL("../build/bot.mjs", import.meta.url))}";
const stream = createMarketStream({ embedded: { feeds: "sim-a", seed: 9 }, timeframes: ["1s"],
  subscriptions: [{ exchange: "sim-a", symbols: "BTC/USDT" }] });
stream.once("trade", () => console.log("url", stream.client.url, stream.client.mode));
await stream.start();
`;

test("an engine of one's own ends with the program, however that ends", async (t) => {
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (data: Buffer) => {
    said += data.toString();
  });
  await eventually(() => said.includes("\n"), "a trade");
  const [, url, mode] = said.trim().split(" ") as [string, string, string];
  assert.equal(mode, "simulated");
  const health = () =>
    fetch(`${url.replace("ws", "http").replace(/\/$/, "")}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  assert.equal(await health(), true);
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  let isThere = true;
  for (let attempt = 0; attempt < 200 && isThere; attempt += 1) {
    isThere = await health();
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.equal(isThere, false);
});

test("an engine of one's own that dies, or hangs when it is to stop, does not hold its program up", async () => {
  for (const signal of ["SIGTERM", "SIGKILL"]) {
    const stream = createMarketStream({ embedded: { feeds: "sim-a" } });
    await stream.start();
    const errors: TickwireError[] = [];
    stream.on("error", (error) => errors.push(error as TickwireError));
    for (const pid of children()) process.kill(pid, signal);
    await stream.ended;
    assert.deepEqual(
      errors.map(({ code }) => code),
      ["unavailable"],
    );
  }
  const hanging = createMarketStream({ embedded: { feeds: "sim-a" } });
  await hanging.start();
  const pids = children();
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  await hanging.stop();
  await eventually(() => children().length === 0, "the engine to be gone");
});

test("an engine of one's own that cannot start says why", async () => {
  const start = (embedded: object) => createMarketStream({ embedded: embedded as { feeds: string } }).start();
  const isBad = (said: RegExp) => (error: unknown) =>
    error instanceof TickwireError && error.code === "bad_option" && said.test(error.message);
  await assert.rejects(start({ feeds: "sim-x" }), isBad(/sim-x/));
  await assert.rejects(start({ ringMemroy: 5 }), isBad(/did you mean --ring-memory/));
});

test("a stream over a journal has every trade and bar of it, and is over with it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-stream-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const stage = await Stage.open(t, { journal: directory });
  const live = await stage.stream({ subscriptions: [A0], timeframes: ["1s"] }).start();
  await stage.until(() => stage.of("bar").length >= 3, "three bars");
  await live.stop();
  const { trade: count, bar } = { trade: stage.of("trade").length, bar: stage.of("bar") };
  await stage.served.stop();
  const stream = createMarketStream({ journal: directory, subscriptions: [A0], timeframes: ["1s"] });
  const bars: MarketStreamEvents["bar"][] = [];
  let trades = 0;
  stream.on("bar", (each) => bars.push(each));
  stream.on("trade", () => {
    trades += 1;
  });
  await stream.start();
  await stream.ended;
  assert.ok(trades >= count);
  assert.deepEqual(bars.slice(0, bar.length), bar);
  assert.equal(stream.bars("A0/USDT").length, bars.length);
});

test("the simulated markets stream through a whole gateway", async (t) => {
  const running = await startGateway(["--feeds=sim-a,sim-b"], {});
  t.after(() => running.stop());
  await listed(running, "BTC/USDT");
  const subscriptions = ["sim-a", "sim-b"].map((exchange) => ({ exchange, symbols: ["BTC/USDT", "ETH/USDT"] }));
  const stream = createMarketStream({ url: running.url, subscriptions, timeframes: ["1s", "1m"], historySize: 100 });
  t.after(() => stream.stop());
  await stream.start();
  for (const exchange of ["sim-a", "sim-b"]) {
    await eventually(() => stream.bars("BTC/USDT", "1m", { exchange }).length > 10, "the history");
    const bars = stream.bars("BTC/USDT", "1m", { exchange });
    const { volume, buyVolume, sellVolume, unknownVolume } = bars;
    for (let row = 0; row < bars.length; row += 1) {
      const [whole, parts] = [volume[row], (buyVolume[row] ?? 0) + (sellVolume[row] ?? 0) + (unknownVolume[row] ?? 0)];
      assert.ok(Math.abs((whole ?? 0) - parts) < 1e-9);
    }
  }
});
