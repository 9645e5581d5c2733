import assert from "node:assert/strict";
import { test } from "node:test";
import * as B from "../src/indicators/bar.ts";
import { DIRECTION_COLOURS, directionOf, histogramColour } from "../src/indicators/colour.ts";
import type { Indicator } from "../src/indicators/indicator.ts";
import {
  DEFAULT_INDICATORS,
  INDICATOR_KINDS,
  IndicatorSet,
  MAX_INDICATORS,
  parseIndicator,
} from "../src/indicators/registry.ts";
import type { Reference } from "./contracts/indicator.ts";
import { indicatorContract, run } from "./contracts/indicator.ts";

const DAY = 86_400e6;

function indicatorOf(text: string): Indicator {
  const { indicator, error } = parseIndicator(text);
  assert.ok(indicator, error);
  return indicator;
}

function barsOf(closes: readonly number[], start = 0, width = 60e6): Float64Array {
  const bars = new Float64Array(closes.length * B.BAR_SIZE);
  for (const [index, close] of closes.entries()) {
    const at = index * B.BAR_SIZE;
    bars[at + B.BAR_OPEN_TIME] = start + index * width;
    bars[at + B.BAR_CLOSE] = close;
    bars[at + B.BAR_VOLUME] = 1;
    bars[at + B.BAR_QUOTE_VOLUME] = close;
  }
  return bars;
}

function closesOf(bars: Float64Array): number[] {
  return Array.from({ length: bars.length / B.BAR_SIZE }, (_, index) => bars[index * B.BAR_SIZE + B.BAR_CLOSE]!);
}

/** A lane of every bar. */
function lane(text: string, closes: readonly number[], prior: number, name: string): number[] {
  const indicator = indicatorOf(text);
  return run(indicator, barsOf(closes), prior).map((row) => row[indicator.lanes.indexOf(name)]!);
}

function assertSeries(actual: readonly number[], expected: string): void {
  const values = expected.replaceAll("−", "-").split(/,\s*/).map(Number);
  assert.equal(actual.length >= values.length, true);
  for (const [index, value] of values.entries()) {
    assert.ok(Math.abs(actual[index]! - value) <= 1e-6, `bar ${index}: ${actual[index]} instead of ${value}`);
  }
}

const wma = (values: readonly number[], end: number, length: number, pad: number): number => {
  let sum = 0;
  for (let weight = 1; weight <= length; weight += 1) sum += weight * (values[end - length + weight] ?? pad);
  return sum / ((length * (length + 1)) / 2);
};

const hmaReference =
  (length: number): Reference =>
  (bars, seed) => {
    const closes = closesOf(bars);
    const pad = Number.isNaN(seed) ? closes[0]! : seed;
    const half = Math.floor(length / 2);
    const root = Math.floor(Math.sqrt(length));
    const differences = closes.map((_, end) => 2 * wma(closes, end, half, pad) - wma(closes, end, length, pad));
    const values = closes.map((_, end) => wma(differences, end, root, pad));
    return {
      lanes: values.map((value, index) => [value, index === 0 ? Number.NaN : value - values[index - 1]!]),
      ready: values.map((_, index) => index + 1 >= length + root),
    };
  };

const macdReference =
  (fast: number, slow: number, signal: number): Reference =>
  (bars, seed) => {
    const closes = closesOf(bars);
    const ema = (values: readonly number[], length: number, start: number): number[] => {
      const alpha = 2 / (length + 1);
      let last = start;
      return values.map((value) => {
        last = alpha * value + (1 - alpha) * last;
        return last;
      });
    };
    const start = Number.isNaN(seed) ? closes[0]! : seed;
    const slower = ema(closes, slow, start);
    const values = ema(closes, fast, start).map((value, index) => value - slower[index]!);
    const signals = ema(values, signal, 0);
    const histograms = values.map((value, index) => value - signals[index]!);
    return {
      lanes: values.map((value, index) => [
        value,
        signals[index]!,
        histograms[index]!,
        index === 0 ? Number.NaN : histograms[index]! - histograms[index - 1]!,
      ]),
      ready: values.map((_, index) => index + 1 >= 4 * slow),
    };
  };

const vwapReference: Reference = (bars) => {
  const lanes: number[][] = [];
  for (let at = 0; at < bars.length; at += B.BAR_SIZE) {
    const day = Math.floor(bars[at]! / DAY);
    let quote = 0;
    let volume = 0;
    for (let from = at; from >= 0 && Math.floor(bars[from]! / DAY) === day; from -= B.BAR_SIZE) {
      quote += bars[from + B.BAR_QUOTE_VOLUME]!;
      volume += bars[from + B.BAR_VOLUME]!;
    }
    lanes.push([volume === 0 ? Number.NaN : quote / volume]);
  }
  return { lanes, ready: lanes.map(([value]) => !Number.isNaN(value)) };
};

for (const length of [20, 9, 2, 50, 3]) indicatorContract(indicatorOf(`hma(${length})`), hmaReference(length));
indicatorContract(indicatorOf("macd"), macdReference(12, 26, 9));
indicatorContract(indicatorOf("macd(1,2,1)"), macdReference(1, 2, 1));
indicatorContract(indicatorOf("vwap"), vwapReference);

test("every kind in the registry is under the contract", () => {
  assert.deepEqual(INDICATOR_KINDS.map((kind) => kind.name).sort(), ["hma", "macd", "vwap"]);
});

const CLOSES = [
  100, 101, 102, 101, 103, 105, 104, 106, 108, 107, 109, 108, 106, 105, 103, 104, 102, 101, 99, 100, 98, 97, 99, 101,
  103,
];

test("golden: hma(20)", () => {
  const expected =
    "100, 100.107359, 100.389957, 100.664632, 101.116104, 101.85329, 102.62039, 103.562641, 104.725801, 105.824069, 107.002684, 107.985325, 108.511818, 108.579221, 108.061732, 107.307403, 106.275108, 105.014632, 103.490216, 102.011732, 100.508961, 99.053506, 98.004416, 97.537662, 97.772684";
  assertSeries(lane("hma", CLOSES, Number.NaN, "value"), expected);
  assertSeries(lane("hma(20)", CLOSES, 100, "value"), expected);
  const padded = lane("hma(20)", CLOSES, 99, "value");
  assertSeries(padded, "99.107359, 99.389957, 99.879351, 100.359221, 100.984286");
  assertSeries(padded.slice(-1), "97.772684");
});

test("golden: directions", () => {
  const directions = lane("hma(20)", CLOSES, Number.NaN, "change").map(directionOf);
  const expected = ["down", ...Array(13).fill("up"), ...Array(10).fill("down"), "up"];
  assert.deepEqual(directions, expected);
  assert.deepEqual(DIRECTION_COLOURS, { up: "#01FFFF", down: "#FF66FE" });
});

test("golden: macd(12,26,9)", () => {
  assertSeries(
    lane("macd", CLOSES, Number.NaN, "value"),
    "0, 0.079772, 0.221135, 0.249597, 0.428596, 0.723497, 0.866528, 1.128258, 1.480004, 1.65895, 1.939789, 2.057942, 1.967515, 1.794474, 1.478906, 1.294585, 0.975877, 0.635283, 0.201652, −0.060613, −0.424944, −0.785319, −0.89917, −0.818578, −0.586564",
  );
  assertSeries(
    lane("macd", CLOSES, Number.NaN, "signal"),
    "0, 0.015954, 0.05699, 0.095512, 0.162128, 0.274402, 0.392827, 0.539913, 0.727932, 0.914135, 1.119266, 1.307001, 1.439104, 1.510178, 1.503924, 1.462056, 1.36482, 1.218913, 1.015461, 0.800246, 0.555208, 0.287103, 0.049848, −0.123837, −0.216383",
  );
  assertSeries(
    lane("macd", CLOSES, Number.NaN, "histogram"),
    "0, 0.063818, 0.164144, 0.154085, 0.266467, 0.449095, 0.473701, 0.588345, 0.752073, 0.744815, 0.820523, 0.75094, 0.528411, 0.284296, −0.025017, −0.167471, −0.388943, −0.58363, −0.813808, −0.860858, −0.980152, −1.072421, −0.949018, −0.694741, −0.370181",
  );
  assertSeries(lane("macd", CLOSES, 99, "value"), "0.079772, 0.221135, 0.409141, 0.472004");
  const histogram = lane("macd", CLOSES, 99, "histogram");
  assertSeries(histogram, "0.063818, 0.164144, 0.28172, 0.275667");
  assertSeries(histogram.slice(-2), "-0.730933, -0.406247");
});

function colours(closes: readonly number[], prior: number): string {
  const names: Record<string, string> = { "#04FE00": "g", "#006401": "dg", "#FE0000": "r", "#7E0100": "dr" };
  const changes = lane("macd", closes, prior, "change");
  const histogram = lane("macd", closes, prior, "histogram");
  return histogram.map((value, index) => names[histogramColour(value, changes[index]!)]).join(" ");
}

test("golden: histogram colours", () => {
  assert.equal(colours(CLOSES, Number.NaN), "r g g dg g g g g g dg g dg dg dg r r r r r r r r dr dr dr");
  assert.equal(colours(CLOSES, 99).slice(0, 1), "g");
});

test("golden: five equal closes are red, then dark, and down all along", () => {
  for (const price of [100, 0.1234, 65_432.1, 1e-7]) {
    const closes = Array(5).fill(price);
    assert.equal(colours(closes, Number.NaN), "r dr dr dr dr");
    assert.deepEqual(lane("hma", closes, Number.NaN, "change").map(directionOf), Array(5).fill("down"));
  }
});

test("a market that goes flat after a move has no direction made of rounding", () => {
  const closes = [...CLOSES.map((close) => close * 0.0123457), ...Array(200).fill(1.2345678)];
  const changes = lane("hma(20)", closes, Number.NaN, "change").slice(-150);
  assert.deepEqual(new Set(changes), new Set([0]));
});

test("golden: ten looks at a bar do not advance the macd, ten updates would", () => {
  const closes = [100, 101, 102, 101, 103, 105];
  const everyEvent = closes.flatMap((close) => Array<number>(10).fill(close));
  assertSeries(lane("macd", everyEvent, Number.NaN, "value").slice(-1), "0.881542");
  assertSeries(lane("macd", everyEvent, Number.NaN, "histogram").slice(-1), "0.035793");
  const indicator = indicatorOf("macd");
  const bars = barsOf(closes);
  const state = new Float64Array(indicator.size);
  const out = new Float64Array(8);
  indicator.init(state, 0, Number.NaN);
  for (let bar = 0; bar < bars.length; bar += B.BAR_SIZE) {
    for (let event = 0; event < 10; event += 1) indicator.peek(state, 0, bars, bar, out, 0);
    indicator.update(state, 0, bars, bar);
  }
  assertSeries([state[0]!, state[2]!], "0.723497, 0.449095");
});

test("vwap is anchored at midnight UTC, and ready only where the day is known from its start", () => {
  const ready = (bars: Float64Array) => run(indicatorOf("vwap"), bars, Number.NaN).map((row) => row[1]);
  const midnight = 19_675 * DAY;
  assert.deepEqual(ready(barsOf([1, 2], midnight)), [1, 1]);
  assert.deepEqual(ready(barsOf([1, 2, 3], midnight - 120e6)), [0, 0, 1]);
  const partial = barsOf([1, 2, 3, 4], midnight);
  partial[B.BAR_SIZE + B.BAR_FLAGS] = B.BAR_PARTIAL;
  assert.deepEqual(ready(partial), [1, 0, 0, 0]);
  // Nothing at midnight itself, but the bars before it are known.
  const silent = barsOf([1, 2], midnight - DAY / 2, DAY / 2 + 300e6);
  assert.deepEqual(ready(silent), [0, 1]);
  const idle = barsOf([1], midnight);
  idle[B.BAR_VOLUME] = 0;
  assert.deepEqual(run(indicatorOf("vwap"), idle, 5)[0], [Number.NaN, 0]);
  assert.deepEqual(
    run(indicatorOf("vwap"), barsOf([10, 20, 40], midnight - 120e6), 5).map((row) => row[0]),
    [10, 15, 40],
  );
});

test("definitions are parsed in any case, with defaults, to one canonical name", () => {
  for (const [text, name] of [
    ["macd", "macd(12,26,9)"],
    ["MACD(8,21,5)", "macd(8,21,5)"],
    [" hma ( 20 ) ", "hma(20)"],
    ["Hma", "hma(20)"],
    ["hma()", "hma(20)"],
    ["vwap", "vwap"],
    ["VWAP()", "vwap"],
    ["macd( 12 , 26 , 9 )", "macd(12,26,9)"],
  ]) {
    assert.equal(parseIndicator(text!).indicator?.name, name);
  }
});

test("what is no definition is told, not thrown", () => {
  for (const [text, complaint] of [
    ["", /not an indicator/],
    ["rsi(14)", /unknown indicator "rsi"/],
    ["macd(12,26)", /takes 3 \(fast, slow, signal\)/],
    ["macd(26,12,9)", /fast must be less than slow/],
    ["macd(12,12,9)", /fast must be less/],
    ["hma(0)", /from 2 to 500/],
    ["hma(501)", /from 2 to 500/],
    ["hma(2.5)", /whole number/],
    ["hma(-3)", /whole number/],
    ["hma(1e2)", /whole number/],
    ["vwap(1)", /no parameters/],
    ["hma(20", /not an indicator/],
    ["macd(12,,9)", /slow must be/],
    ["hma(20)x", /not an/],
    ["constructor", /unknown indicator/],
    [`hma(${"9".repeat(100)})`, /not an indicator/],
  ] as const) {
    const parsed = parseIndicator(text);
    assert.equal(parsed.indicator, undefined, text);
    assert.match(parsed.error ?? "", complaint);
  }
});

test("a set numbers definitions in order, each once, up to its limit", () => {
  const set = new IndicatorSet();
  assert.deepEqual(set.defaults, [0, 1, 2]);
  assert.deepEqual(
    DEFAULT_INDICATORS.map((name) => set.register(name).id),
    [0, 1, 2],
  );
  assert.equal(set.register("MACD").id, 0);
  assert.equal(set.register("hma(9)").id, 3);
  assert.equal(set.get(3)?.name, "hma(9)");
  assert.match(set.register("rsi").error ?? "", /unknown/);
  for (let length = 100; set.size < MAX_INDICATORS; length += 1) set.register(`hma(${length})`);
  assert.match(set.register("hma(77)").error ?? "", /more than 32/);
  assert.equal(set.register("hma(9)").id, 3);
});

test("a plan lays states and rows out one after the other, and is shared", () => {
  const set = new IndicatorSet();
  const plan = set.plan([2, 0, 1, 0]);
  assert.equal(plan, set.plan([0, 1, 2]));
  assert.deepEqual([...plan.entryIndicator], [0, 0, 0, 0, 1, 1, 2]);
  assert.deepEqual([...plan.entryLane], [0, 1, 2, 3, 0, 1, 0]);
  assert.deepEqual([...plan.entryValue], [0, 1, 2, 3, 5, 6, 8]);
  assert.deepEqual([...plan.entryReady], [4, 4, 4, 4, 7, 7, 9]);
  assert.equal(plan.rowSize, 10);
  const bars = barsOf(CLOSES);
  const state = new Float64Array(plan.stateSize);
  const peeked = new Float64Array(plan.rowSize);
  const row = new Float64Array(plan.rowSize);
  plan.init(state, 0, Number.NaN);
  for (let bar = 0; bar < bars.length; bar += B.BAR_SIZE) {
    plan.peek(state, 0, bars, bar, peeked, 0);
    plan.update(state, 0, bars, bar);
    plan.values(state, 0, row, 0);
    assert.deepEqual(peeked, row);
  }
  assertSeries([row[0]!, row[5]!], "-0.586564, 97.772684");
});
