/** The signal engine: features, predictors, the rule, and an executor that is really called. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { BarColumns, type FillGaps } from "../src/bot/bar-columns.ts";
import {
  BotError,
  createMarketStream,
  createSignalEngine,
  DEFAULT_FEATURES,
  type Executor,
  type Feature,
  featuresOf,
  ListOrderPublisher,
  type MarketBar,
  type MarketStream,
  momentumPredictor,
  type OrderIntent,
  type Predictor,
  riskGate,
  type Signal,
  type SignalEngineOptions,
  signalOrders,
  thresholdSignal,
  volatility,
} from "../src/bot/index.ts";
import type { BarRow, LiveBars } from "../src/client/index.ts";
import { TIMEFRAME_MICROS, TIMEFRAMES, type Timeframe } from "../src/market/timeframe.ts";
import { Random } from "../src/std/random.ts";
import { eventually, listed, startGateway } from "./gateway.ts";
import { ServerProcess } from "./server-process.ts";

const START = 1_700_000_040e6;

/** Closed bars of a series as a client has them; a close that is NaN is an interval without a bar. */
class Series {
  readonly exchange: string;
  readonly symbol: string;
  readonly timeframe: Timeframe;
  readonly rows: BarRow[] = [];
  #at = START;

  constructor(closes: readonly number[], timeframe: Timeframe = "1m", exchange = "a", symbol = "BTC/USDT") {
    this.exchange = exchange;
    this.symbol = symbol;
    this.timeframe = timeframe;
    for (const close of closes) this.add(close);
  }

  add(close: number, change: Partial<BarRow> = {}): BarRow | undefined {
    const openTime = this.#at;
    const closeTime = openTime + (TIMEFRAME_MICROS[TIMEFRAMES.indexOf(this.timeframe)] as number);
    this.#at = closeTime;
    if (Number.isNaN(close)) return undefined;
    const prices = { open: close, high: close, low: close, close, vwap: close };
    const volumes = { volume: close / 10, quoteVolume: close, buyVolume: 1, sellVolume: 2, tradeCount: 3 };
    const flags = { state: "closed", source: "trades", partial: false, acrossGap: false, ready: true };
    const row = { openTime, closeTime, ...prices, ...volumes, ...flags, ...change, prev: {} } as BarRow;
    this.rows.push(row);
    return row;
  }

  columns(limit = 1000, fill: FillGaps = "none"): BarColumns {
    const { exchange, symbol, rows } = this;
    const bars = { exchange, symbol, count: rows.length, at: (index: number) => rows[index] };
    return new BarColumns(bars as unknown as LiveBars, this.timeframe, limit, fill);
  }
}

/** A stream whose bars the test closes. */
class Stage {
  readonly stream: MarketStream = createMarketStream();
  readonly told: { name: string; event: unknown }[] = [];
  readonly #series: Series[] = [];

  constructor(...series: Series[]) {
    this.#series.push(...series);
    for (const name of ["prediction", "signal", "error"] as const)
      this.stream.on(name, (event) => this.told.push({ name, event }));
    this.stream.bars = (symbol, timeframe, { exchange, limit } = {}) => {
      const found = this.#series.find(
        (each) => each.symbol === symbol && each.timeframe === timeframe && each.exchange === exchange,
      );
      return (found as Series).columns(limit);
    };
  }

  close(series: Series, close: number, change: Partial<BarRow> = {}): void {
    const { exchange, symbol, timeframe } = series;
    const row = series.add(close, change) as BarRow;
    this.stream.tell("bar", { ...row, exchange, symbol, timeframe } as MarketBar);
  }

  of<T>(name: string): T[] {
    return this.told.filter((each) => each.name === name).map(({ event }) => event as T);
  }

  engine(options: Omit<SignalEngineOptions, "stream">) {
    return createSignalEngine({ stream: this.stream, ...options });
  }
}

const says = (...said: unknown[]): Predictor => ({ predict: () => said.shift() as number });
const settle = () => new Promise((resolve) => setImmediate(resolve));
const rising = (count: number) => Array.from({ length: count }, (_, index) => 100 + index);

test("features: as many bars back as their names say, and for a year of their timeframe", () => {
  const closes = rising(30);
  const features = featuresOf(new Series(closes).columns(), DEFAULT_FEATURES);
  const names = ["return_1", "return_5", "return_20", "volatility", "volume_ratio", "sma_20_ratio"];
  assert.deepEqual(Object.keys(features), names);
  assert.equal(features.return_1, 129 / 128 - 1);
  assert.equal(features.return_5, 129 / 124 - 1);
  assert.equal(features.return_20, 129 / 109 - 1);
  // Closes 110 to 129 have the mean 119.5; volumes are a tenth of them.
  assert.ok(Math.abs((features.sma_20_ratio as number) - 129 / 119.5) < 1e-12);
  assert.ok(Math.abs((features.volume_ratio as number) - 129 / 119.5) < 1e-12);
  const changes = closes.slice(1).map((close, index) => close / (closes[index] as number) - 1);
  const mean = changes.reduce((a, b) => a + b) / changes.length;
  const deviation = Math.sqrt(changes.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (changes.length - 1));
  const ofMinutes = deviation * Math.sqrt(365 * 24 * 60);
  assert.ok(Math.abs((features.volatility as number) / ofMinutes - 1) < 1e-9);
  const ofDays = featuresOf(new Series(closes, "1d").columns(), DEFAULT_FEATURES).volatility as number;
  assert.ok(Math.abs(ofDays / (deviation * Math.sqrt(365)) - 1) < 1e-9);
  const traded = volatility(252 * 6.5 * 3600e6).of(new Series(closes).columns());
  assert.ok(Math.abs(traded / (deviation * Math.sqrt(252 * 6.5 * 60)) - 1) < 1e-9);
});

test("features of too few bars are not known", () => {
  for (const [count, known] of [
    [0, []],
    [1, []],
    [2, ["return_1"]],
    [3, ["return_1", "volatility"]],
    [6, ["return_1", "return_5", "volatility"]],
    [20, ["return_1", "return_5", "volatility", "volume_ratio", "sma_20_ratio"]],
    [21, ["return_1", "return_5", "return_20", "volatility", "volume_ratio", "sma_20_ratio"]],
  ] as const) {
    const features = featuresOf(new Series(rising(count)).columns(), DEFAULT_FEATURES);
    const there = Object.keys(features).filter((name) => !Number.isNaN(features[name]));
    assert.deepEqual(there, known, `${count} bars`);
  }
});

test("silent intervals: no bar, a flat one, or one that is not known", () => {
  const series = new Series([1, Number.NaN, Number.NaN, 4, 5]);
  const closes = (limit: number, fill: FillGaps) => Array.from(series.columns(limit, fill).close);
  assert.deepEqual(closes(10, "none"), [1, 4, 5]);
  assert.deepEqual(closes(10, "flat"), [1, 1, 1, 4, 5]);
  assert.deepEqual(closes(10, "null"), [1, Number.NaN, Number.NaN, 4, 5]);
  assert.deepEqual(closes(3, "flat"), [1, 4, 5]);
  const flat = series.columns(10, "flat").at(1);
  assert.deepEqual(
    [flat?.openTime, flat?.closeTime, flat?.open, flat?.high, flat?.volume, flat?.tradeCount],
    [START + 60e6, START + 120e6, 1, 1, 0, 0],
  );
  assert.ok(Number.isNaN(flat?.vwap));
  const columns = series.columns(10);
  assert.equal(columns.at(-3)?.close, 1);
  assert.equal(columns.at(3), undefined);
  assert.equal(columns.at(-4), undefined);
  series.add(50, { volume: 5, buyVolume: 1.5, sellVolume: 3, partial: true });
  assert.deepEqual(
    [series.columns(1).unknownVolume[0], series.columns(1).inexact, columns.inexact],
    [0.5, true, false],
  );
});

test("the momentum predictor: three fifths momentum, two fifths trend, never beyond 0 and 1", async () => {
  const { predict } = momentumPredictor();
  const of = (return_1: number, return_5: number, sma_20_ratio: number) =>
    predict("A", { return_1, return_5, sma_20_ratio }, { exchange: "a", symbol: "A", timeframe: "1m" });
  assert.equal(await of(0, 0, 1), 0.5);
  assert.ok(Math.abs((await of(0.01, 0.02, 1.05)) - (0.6 * (0.5 + 0.07 * 0.5) + 0.4 * (0.5 + 0.1))) < 1e-12);
  assert.deepEqual([await of(2, 2, 2), await of(-2, -2, 0), await of(Number.NaN, 0, 1)], [1, 0, 0.5]);
});

test("the rule: above the threshold long, below its counterpart short, on them nothing", () => {
  const rule = thresholdSignal(0.75);
  assert.deepEqual(rule(0.8), { direction: "long", confidence: 0.8 });
  assert.deepEqual(rule(0.125), { direction: "short", confidence: 0.875 });
  for (const probability of [0.75, 0.5, 0.25]) assert.equal(rule(probability), undefined);
});

test("a bar becomes a prediction, a signal, and a call of the executor", async () => {
  const series = new Series(rising(24));
  const stage = new Stage(series);
  const submitted: Signal[] = [];
  const executor: Executor = { submit: (signal) => submitted.push(signal) };
  const asked: unknown[] = [];
  const predictor: Predictor = {
    predict: (symbol, features, of) => {
      asked.push([symbol, Object.keys(features), of]);
      return Promise.resolve([0.9, 0.5, 0.05][asked.length - 1] as number);
    },
  };
  const engine = stage.engine({ predictor, executor });
  for (const close of [200, 201, 202]) {
    stage.close(series, close);
    await settle();
  }
  const of = { exchange: "a", symbol: "BTC/USDT", timeframe: "1m" };
  assert.deepEqual(asked[0], ["BTC/USDT", DEFAULT_FEATURES.map(({ name }) => name), of]);
  const time = START + 25 * 60e6;
  const long = { ...of, time, price: 200, probability: 0.9, inexact: false };
  assert.deepEqual(submitted[0], { ...long, direction: "long", confidence: 0.9, dryRun: false });
  assert.deepEqual([submitted[1]?.direction, submitted[1]?.confidence, submitted.length], ["short", 0.95, 2]);
  assert.deepEqual(
    stage.told.map(({ name }) => name),
    ["prediction", "signal", "prediction", "prediction", "signal"],
  );
  assert.deepEqual(stage.of("signal"), submitted);
  assert.deepEqual(engine.stats, { predictions: 3, signals: 2, executed: 2, errors: 0, skipped: 0 });
  assert.equal(engine.latest("btc/usdt", "1m")?.signal, submitted[1]);
  engine.stop();
  stage.close(series, 203);
  await settle();
  assert.equal(engine.stats.predictions, 3);
});

test("a dry run, and an engine without an executor, tell their signals only", async () => {
  for (const options of [{ dryRun: true, executor: { submit: () => assert.fail("called") } }, {}]) {
    const series = new Series(rising(24));
    const stage = new Stage(series);
    const engine = stage.engine({ predictor: says(1), ...options });
    stage.close(series, 200);
    await settle();
    assert.deepEqual([engine.stats.signals, engine.stats.executed], [1, 0]);
    assert.equal(stage.of<Signal>("signal")[0]?.dryRun, true);
  }
});

test("a predictor that fails is undecided, and an executor that fails ends nothing: both are told", async () => {
  const series = new Series(rising(24));
  const stage = new Stage(series);
  const failing: Predictor = {
    predict: () => {
      throw new Error("no model");
    },
  };
  const late: Predictor = { predict: () => Promise.reject(new Error("late")) };
  const predictors = [failing, late, says(1.5), says("0.9"), says(Number.NaN), says(1)];
  const predictor: Predictor = { predict: (...given) => (predictors.shift() as Predictor).predict(...given) };
  const executor: Executor = { submit: () => Promise.reject(new Error("no broker")) };
  const engine = stage.engine({ predictor, executor });
  for (let bar = 0; bar < 6; bar += 1) {
    stage.close(series, 200);
    await settle();
  }
  assert.deepEqual(
    stage.of<BotError>("error").map(({ code, message }) => [code, message]),
    [
      ["bad_prediction", "BTC/USDT: no model"],
      ["bad_prediction", "BTC/USDT: late"],
      ["bad_prediction", "BTC/USDT: a probability is a number from 0 to 1, not 1.5"],
      ["bad_prediction", "BTC/USDT: a probability is a number from 0 to 1, not 0.9"],
      ["bad_prediction", "BTC/USDT: a probability is a number from 0 to 1, not NaN"],
      ["not_executed", "BTC/USDT: no broker"],
    ],
  );
  assert.deepEqual(engine.stats, { predictions: 6, signals: 1, executed: 0, errors: 6, skipped: 0 });
});

test("timeframes and exchanges do not overwrite each other, and may be chosen", async () => {
  const all = [new Series(rising(24)), new Series(rising(24), "5m"), new Series(rising(24), "1m", "b")] as const;
  const stage = new Stage(...all);
  const engine = stage.engine({ predictor: says(0.9, 0.1, 0.5) });
  const chosen = stage.engine({ predictor: says(0.7), timeframes: ["5m"] });
  for (const series of all) stage.close(series, 200);
  await settle();
  assert.equal(engine.latest("BTC/USDT", "1m", "a")?.signal?.direction, "long");
  assert.equal(engine.latest("BTC/USDT", "5m")?.signal?.direction, "short");
  assert.equal(engine.latest("BTC/USDT", "1m", "B")?.signal, undefined);
  assert.throws(() => engine.latest("BTC/USDT", "1m"), /several exchanges/);
  assert.equal(engine.latest("ETH/USDT", "1m"), undefined);
  assert.deepEqual([chosen.stats.predictions, chosen.latest("BTC/USDT", "5m")?.prediction.probability], [1, 0.7]);
});

test("too few bars are not predicted; bars that are not exact are marked", async () => {
  const series = new Series(rising(19));
  const stage = new Stage(series);
  const engine = stage.engine({ predictor: says(0.9, 0.9), bars: 21 });
  stage.close(series, 200);
  await settle();
  assert.equal(engine.stats.predictions, 0);
  stage.close(series, 201, { acrossGap: true });
  await settle();
  assert.deepEqual([engine.stats.predictions, stage.of<Signal>("signal")[0]?.inexact], [1, true]);
});

test("a predictor that is slower than bars close gets the newest, one at a time", async () => {
  const series = new Series(rising(24));
  const stage = new Stage(series);
  const waiting: ((probability: number) => void)[] = [];
  const predictor: Predictor = { predict: () => new Promise((resolve) => waiting.push(resolve)) };
  const engine = stage.engine({ predictor });
  for (const close of [1, 2, 3, 4]) stage.close(series, close);
  await settle();
  assert.equal(waiting.length, 1);
  waiting.shift()?.(0.5);
  await settle();
  waiting.shift()?.(0.5);
  await settle();
  assert.deepEqual(waiting, []);
  assert.deepEqual(
    stage.of<{ price: number }>("prediction").map(({ price }) => price),
    [1, 4],
  );
  assert.deepEqual([engine.stats.predictions, engine.stats.skipped], [2, 2]);
});

test("bars that come together, because they were missed, are not predicted by what came after them", async () => {
  const series = new Series(rising(24));
  const stage = new Stage(series);
  const engine = stage.engine({ predictor: says(0.9, 0.9) });
  const { exchange, symbol, timeframe } = series;
  const rows = [1, 2, 3].map((close) => series.add(close) as BarRow);
  for (const row of rows) stage.stream.tell("bar", { ...row, exchange, symbol, timeframe } as MarketBar);
  await settle();
  const [only, ...others] = stage.of<Signal>("signal");
  assert.deepEqual([only?.price, others], [3, []]);
  assert.equal(engine.stats.skipped, 2);
});

test("after a stop, the engine's or its stream's, the executor is not called", async () => {
  for (const isStream of [false, true]) {
    const series = new Series(rising(24));
    const stage = new Stage(series);
    const waiting: ((probability: number) => void)[] = [];
    const predictor: Predictor = { predict: () => new Promise((resolve) => waiting.push(resolve)) };
    const engine = stage.engine({ predictor, executor: { submit: () => assert.fail("called") } });
    stage.close(series, 1);
    stage.close(series, 2);
    if (isStream) await stage.stream.stop();
    else engine.stop();
    waiting.shift()?.(0.9);
    await settle();
    assert.deepEqual(waiting, []);
    assert.deepEqual([engine.stats.signals, engine.stats.errors], [0, 0]);
  }
});

test("in a replay every bar is predicted, by what there was when it closed, however fast it is", async (t) => {
  const journal = mkdtempSync(join(tmpdir(), "tickwire-signals-"));
  t.after(() => rmSync(journal, { recursive: true }));
  const recorder = new ServerProcess(["record", journal, "--feeds=sim-a", "--symbols=BTC/USDT,ETH/USDT"]);
  await eventually(() => readdirSync(journal).length > 0, "a journal");
  await new Promise((resolve) => setTimeout(resolve, 6000));
  await recorder.end("SIGTERM");
  const subscriptions = [{ exchange: "sim-a", symbols: ["BTC/USDT", "ETH/USDT"] }];
  await using stream = createMarketStream({ journal, subscriptions, timeframes: ["1s"] });
  let bars = 0;
  stream.on("bar", () => {
    bars += 1;
  });
  const closed: Feature = { name: "closed", of: ({ closeTime, length }) => closeTime[length - 1] as number };
  const predictor: Predictor = { predict: () => Promise.resolve(0.9) };
  const engine = createSignalEngine({ stream, predictor, minBars: 1, features: [closed] });
  stream.on("prediction", ({ time, features }) => assert.equal(features.closed, time));
  stream.on("error", (error) => assert.fail(error));
  await stream.start();
  await stream.ended;
  assert.ok(bars > 6, `${bars} bars`);
  assert.deepEqual([engine.stats.predictions, engine.stats.skipped], [bars, 0]);
});

test("signals become orders: through a risk gate, numbered, and the same bar has the same id again", async () => {
  const list = new ListOrderPublisher();
  const orders = riskGate({ maxQuantity: 2 }, list);
  const of = { exchange: "a", symbol: "BTC/USDT", timeframe: "1m" as const, time: 60e6, inexact: false, dryRun: false };
  const signal = (price: number, direction: "long" | "short"): Signal => ({
    ...{ ...of, price, direction, probability: 0.9, confidence: 0.9 },
  });
  const draft = ({ price }: Signal) => ({ limitPrice: price });
  const quantity = ({ price }: Signal) => price / 100;
  const executor = signalOrders({ orders, botId: "bot", accountId: "paper", quantity, draft });
  await Promise.all([executor.submit(signal(100, "long")), executor.submit(signal(150, "short"))]);
  await assert.rejects(async () => executor.submit(signal(500, "long")), /quantity 5 is over the limit of 2/);
  await executor.submit(signal(0, "long"));
  await assert.rejects(async () => executor.submit(signal(-1, "long")), /quantity: a number from 0 on/);
  await executor.submit(signal(200, "long"));
  assert.deepEqual(
    list.items.map(({ sequence, side, quantity: size, limitPrice, type }: OrderIntent) => [
      sequence,
      side,
      size,
      limitPrice,
      type,
    ]),
    [
      [1, "buy", 1, 100, "limit"],
      [2, "sell", 1.5, 150, "limit"],
      [3, "buy", 2, 200, "limit"],
    ],
  );
  assert.equal(list.items[0]?.intentId, "bot-paper-a-BTC/USDT-1m-60000000");
});

test("a transactional publisher goes on from its last number, and commits each order", async () => {
  const done: unknown[] = [];
  let isOpen = false;
  const orders = {
    open: async () => {
      if (!isOpen) {
        isOpen = true;
        throw new Error("not yet");
      }
      return { sequence: 41, position: undefined };
    },
    publish: async ({ sequence }: OrderIntent) => void done.push(sequence),
    commit: async ({ sequence }: { sequence: number }) => void done.push(`commit ${sequence}`),
  };
  const executor = signalOrders({ orders, botId: "bot", accountId: "paper", quantity: 1 });
  const series = new Series(rising(24));
  const stage = new Stage(series);
  const engine = stage.engine({ predictor: says(1, 1, 0), executor });
  for (let bar = 0; bar < 3; bar += 1) {
    stage.close(series, 200);
    await settle();
  }
  assert.deepEqual(done, [42, "commit 42", 43, "commit 43"]);
  assert.deepEqual([engine.stats.executed, engine.stats.errors], [2, 1]);
});

test("what an engine cannot be made of is refused", () => {
  const stream = createMarketStream();
  const refused = (options: object, said: RegExp) =>
    assert.throws(
      () => createSignalEngine({ stream, ...options }),
      (error) => error instanceof BotError && error.code === "bad_config" && said.test(error.message),
    );
  refused({ threshold: 0.4 }, /threshold: a number from 0.5 to 1, not 0.4/);
  refused({ threshold: Number.NaN }, /threshold/);
  refused({ minBars: 0 }, /minBars: a whole number from 1 to 1000, not 0/);
  refused({ bars: 1001 }, /bars/);
  refused({ timeframes: ["7m"] }, /not 7m/);
  refused({ stream: createMarketStream({ historySize: 20 }) }, /minBars: the stream keeps 20 bars, not 21/);
});

async function simulated(t: TestContext): Promise<string> {
  const running = await startGateway(["--feeds=sim-a"], {});
  t.after(() => running.stop());
  await listed(running, "BTC/USDT");
  return running.url;
}

test("on a real server: predictions, signals and orders come as bars close", async (t) => {
  const url = await simulated(t);
  const subscriptions = [{ exchange: "sim-a", symbols: ["BTC/USDT", "ETH/USDT"] }];
  const stream = createMarketStream({ url, subscriptions, timeframes: ["1s", "5s"] });
  t.after(() => stream.stop());
  const list = new ListOrderPublisher();
  const executor = signalOrders({ orders: list, botId: "bot", accountId: "paper", quantity: 1 });
  const random = new Random(7);
  const engine = createSignalEngine({ stream, executor, predictor: { predict: () => random.next() } });
  const signals: Signal[] = [];
  stream.on("signal", (signal) => signals.push(signal));
  await stream.start();
  await eventually(() => list.items.length >= 3, "three orders");
  for (const [index, { side, symbol }] of list.items.entries()) {
    assert.equal(side, signals[index]?.direction === "long" ? "buy" : "sell");
    assert.equal(symbol, signals[index]?.symbol);
  }
  assert.equal(engine.stats.errors, 0);
});
