/** `tickwire/indicators`: a program that has bars of its own gets the values that the server gives. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";
import {
  DIRECTION_COLOURS,
  describe,
  HISTOGRAM_COLOURS,
  hma,
  INDICATOR_KINDS,
  type Indicator,
  IndicatorSeries,
  macd,
  type PlainBar,
  parseIndicator,
  vwap,
} from "../src/indicators/index.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { pageJson } from "../src/server/bar-json.ts";
import { Random } from "../src/std/random.ts";
import { COINBASE_RULES, EngineBench } from "./gateway.ts";

const MINUTE = 60e6;
const TIMEFRAME = TIMEFRAMES.indexOf("1m");

const CLOSES = [
  100, 101, 102, 101, 103, 105, 104, 106, 108, 107, 109, 108, 106, 105, 103, 104, 102, 101, 99, 100, 98, 97, 99, 101,
  103,
];

const bar = (close: number, index: number): PlainBar => ({ openTime: index * MINUTE, close, volume: 1 });

function assertNear(actual: readonly number[], expected: readonly number[]): void {
  assert.ok(actual.length >= expected.length && expected.length > 0);
  for (const [index, value] of expected.entries()) {
    assert.ok(Math.abs((actual[index] as number) - value) <= 1e-6, `bar ${index}: ${actual[index]}, not ${value}`);
  }
}

test("golden: hma(20)", () => {
  const series = new IndicatorSeries(hma());
  const values = CLOSES.map((close, index) => series.update(bar(close, index)));
  assertNear(
    values.map(({ value }) => value),
    [
      100, 100.107359, 100.389957, 100.664632, 101.116104, 101.85329, 102.62039, 103.562641, 104.725801, 105.824069,
      107.002684, 107.985325, 108.511818, 108.579221, 108.061732, 107.307403, 106.275108, 105.014632, 103.490216,
      102.011732, 100.508961, 99.053506, 98.004416, 97.537662, 97.772684,
    ],
  );
  const directions = ["down", ...Array(13).fill("up"), ...Array(10).fill("down"), "up"];
  assert.deepEqual(
    values.map(({ direction }) => direction),
    directions,
  );
  assert.equal(values[1]?.color, DIRECTION_COLOURS.up);
  // Twenty closes of the longest average, and four of the one over the differences.
  assert.deepEqual(
    values.map(({ ready }) => ready),
    CLOSES.map((_, index) => index >= 23),
  );
  const seeded = new IndicatorSeries(hma(20), 99);
  assertNear(
    CLOSES.map((close, index) => seeded.update(bar(close, index)).value),
    [99.107359, 99.389957, 99.879351, 100.359221, 100.984286],
  );
});

test("golden: macd(12,26,9)", () => {
  const series = new IndicatorSeries(macd());
  const values = CLOSES.map((close, index) => series.update(bar(close, index)));
  assertNear(
    values.map(({ value }) => value),
    [0, 0.079772, 0.221135, 0.249597, 0.428596, 0.723497, 0.866528, 1.128258, 1.480004, 1.65895, 1.939789],
  );
  assertNear(
    values.map(({ signal }) => signal),
    [0, 0.015954, 0.05699, 0.095512, 0.162128, 0.274402, 0.392827, 0.539913, 0.727932, 0.914135, 1.119266],
  );
  assertNear(
    values.map(({ histogram }) => histogram),
    [
      0, 0.063818, 0.164144, 0.154085, 0.266467, 0.449095, 0.473701, 0.588345, 0.752073, 0.744815, 0.820523, 0.75094,
      0.528411, 0.284296, -0.025017, -0.167471, -0.388943, -0.58363, -0.813808, -0.860858, -0.980152, -1.072421,
      -0.949018, -0.694741, -0.370181,
    ],
  );
  const { negativeFalling: r, negative: dr, positiveRising: g, positive: dg } = HISTOGRAM_COLOURS;
  assert.deepEqual(
    values.map(({ color }) => color),
    [r, g, g, dg, g, g, g, g, g, dg, g, dg, dg, dg, r, r, r, r, r, r, r, r, dr, dr, dr],
  );
});

test("golden: vwap starts anew at midnight", () => {
  const midnight = 19_675 * 86_400e6;
  const series = new IndicatorSeries(vwap());
  const values = [10, 20, 40].map((close, index) =>
    series.update({ openTime: midnight + (index - 2) * MINUTE, close, volume: 1 }),
  );
  assert.deepEqual(values, [
    { value: 10, ready: false },
    { value: 15, ready: false },
    { value: 40, ready: true },
  ]);
  const partial = series.update({ openTime: midnight + MINUTE, close: 40, volume: 1, partial: true });
  assert.deepEqual(partial, { value: 40, ready: false }, "trades of the day are missing");
  assert.equal(series.update({ openTime: midnight + 2 * MINUTE, close: 40, volume: 1 }).ready, false);
});

test("what a building bar is looked at for changes nothing", () => {
  const [looked, plain] = [new IndicatorSeries(macd(3, 5, 2)), new IndicatorSeries(macd(3, 5, 2))];
  for (const [index, close] of CLOSES.entries()) {
    for (const other of [close - 5, close + 5]) looked.peek(bar(other, index));
    const peeked = looked.peek(bar(close, index));
    const values = looked.update(bar(close, index));
    assert.deepEqual(peeked, values);
    assert.deepEqual(values, plain.update(bar(close, index)));
  }
});

test("wrong parameters are a RangeError in the registry's words", () => {
  const wrong: [() => Indicator, string][] = [
    [() => hma(0), "hma(0)"],
    [() => hma(1.5), "hma(1.5)"],
    [() => hma(-3), "hma(-3)"],
    [() => hma(Number.NaN), "hma(NaN)"],
    [() => hma(1e9), "hma(1000000000)"],
    [() => macd(26, 12), "macd(26,12,9)"],
    [() => macd(12, 26, 0), "macd(12,26,0)"],
    [() => macd(Number.POSITIVE_INFINITY), "macd(Infinity,26,9)"],
  ];
  for (const [create, text] of wrong) {
    const { error } = parseIndicator(text);
    assert.ok(error, text);
    assert.throws(create, { name: "RangeError", message: error }, text);
  }
});

test("each is the indicator that its name stands for, and every kind has a function", () => {
  const made = [macd(), hma(), vwap()];
  for (const indicator of made) {
    const parsed = parseIndicator(indicator.name).indicator as Indicator;
    assert.deepEqual(
      [parsed.name, parsed.parameters, parsed.lanes],
      [indicator.name, indicator.parameters, indicator.lanes],
    );
    assert.equal(parsed.constructor, indicator.constructor);
    assert.deepEqual(describe(indicator).lanes, indicator.lanes);
  }
  assert.deepEqual(
    made.map(({ name }) => name.replace(/\(.*/, "")),
    INDICATOR_KINDS.map(({ name }) => name),
  );
});

/** A server's bars of some hours over a midnight, with silent minutes, and its REST's answer. */
function served(random: Random, names: readonly string[]) {
  const indicators = new IndicatorSet();
  const bench = new EngineBench(COINBASE_RULES, { indicators });
  const instrument = bench.start(["BTC/USDT"]);
  const ids = names.map((name) => indicators.register(name).id as number);
  bench.engine.bars.useIndicators(instrument.id, TIMEFRAME, ids);
  // Four hours before a midnight.
  bench.advance((20 * 60 * MINUTE - (bench.clock.now() % 86_400e6) + 86_400e6) % 86_400e6);
  let price = 100;
  for (let minute = 0; minute < 480; minute += 1) {
    for (let count = random.integer(0, 4); count > 0; count -= 1) {
      price += random.normal() * 0.2;
      bench.trade(instrument, price);
    }
    bench.advance(MINUTE);
  }
  return pageJson(bench.engine.bars.bars.archive.read(instrument.id, TIMEFRAME, 1000));
}

test("equal to the server's values over the bars of an engine, to the last bit", (t) => {
  const seed = 20261128;
  t.diagnostic(`seed ${seed}`);
  const made: Indicator[] = [macd(), hma(), vwap(), macd(3, 6, 2), hma(9)];
  const bars = served(
    new Random(seed),
    made.map(({ name }) => name),
  );
  let compared = 0;
  for (const indicator of made) {
    const series = new IndicatorSeries(indicator);
    const readies = new Set<boolean>();
    for (const json of bars) {
      const number = (value: number | null) => value ?? Number.NaN;
      const values = series.update({
        openTime: json.open_time * 1000,
        open: number(json.open),
        high: number(json.high),
        low: number(json.low),
        close: number(json.close),
        volume: number(json.volume),
        quoteVolume: number(json.quote_volume),
        partial: json.partial,
      });
      const own = Object.entries(values).map(([name, value]) => [name, Number.isNaN(value) ? null : value]);
      const expected = (json.indicators as Record<string, object>)[indicator.name];
      assert.deepEqual(Object.fromEntries(own), expected, `${indicator.name} at ${json.open_time}`);
      readies.add(values.ready);
      compared += 1;
    }
    assert.deepEqual([...readies], [false, true], `${indicator.name} becomes ready and stays so`);
  }
  t.diagnostic(`${compared} rows of ${bars.length} bars equal`);
  assert.ok(bars.length > 300);
});

test("nothing of Node is in it", async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: ["src/indicators/index.ts"],
    bundle: true,
    platform: "browser",
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "silent",
  });
  assert.equal(outputFiles.length, 1);
  assert.doesNotMatch(outputFiles[0]?.text ?? "node:", /\b(?:process|Buffer|require|node:)\b/);
  for (const path of Object.keys(metafile.inputs)) assert.match(path, /^src\/(?:indicators|std)\//);
});
