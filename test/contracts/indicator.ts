import assert from "node:assert/strict";
import { test } from "node:test";
import * as B from "../../src/indicators/bar.ts";
import type { Indicator } from "../../src/indicators/indicator.ts";
import { Random } from "../../src/std/random.ts";

/** The values of every bar by the textbook: from all closes at once, in as many steps as it takes. */
export type Reference = (bars: Float64Array, seed: number) => { lanes: number[][]; ready: boolean[] };

const MINUTE = 60e6;
const MIDNIGHT = 1_699_920_000e6;

/** Bars of a random walk, from midnight UTC on, one a minute with some missing. */
export function randomBars(seed: number, count: number, base = 100, missing = 0.1): Float64Array {
  const random = new Random(seed);
  const bars = new Float64Array(count * B.BAR_SIZE);
  let time = MIDNIGHT;
  let close = base;
  for (let index = 0; index < count; index += 1) {
    const at = index * B.BAR_SIZE;
    const open = close;
    if (random.chance(0.8)) close += random.normal() * base * 0.002;
    const volume = random.chance(0.05) ? 0 : random.next() * 10;
    bars[at + B.BAR_OPEN_TIME] = time;
    bars[at + B.BAR_CLOSE_TIME] = time + MINUTE;
    bars[at + B.BAR_OPEN] = open;
    bars[at + B.BAR_HIGH] = Math.max(open, close);
    bars[at + B.BAR_LOW] = Math.min(open, close);
    bars[at + B.BAR_CLOSE] = close;
    bars[at + B.BAR_VOLUME] = volume;
    bars[at + B.BAR_QUOTE_VOLUME] = (volume * (open + close)) / 2;
    time += MINUTE * (random.chance(missing) ? random.integer(2, 30) : 1);
  }
  return bars;
}

/** The rows that an indicator gives, bar by bar: its lanes, then ready. */
export function run(indicator: Indicator, bars: Float64Array, seed: number): number[][] {
  const at = 3;
  const state = new Float64Array(at + indicator.size);
  indicator.init(state, at, seed);
  const rows: number[][] = [];
  for (let bar = 0; bar < bars.length; bar += B.BAR_SIZE) {
    indicator.update(state, at, bars, bar);
    rows.push([...state.subarray(at, at + indicator.lanes.length), indicator.ready(state, at) ? 1 : 0]);
  }
  assert.deepEqual([...state.subarray(0, at)], [0, 0, 0], "nothing is written beside the state");
  return rows;
}

function assertClose(actual: number, expected: number, tolerance: number, what: string): void {
  if (Number.isNaN(expected)) assert.ok(Number.isNaN(actual), `${what}: ${actual} instead of NaN`);
  else assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual} instead of ${expected}`);
}

/** What holds of every indicator, whatever it computes. */
export function indicatorContract(indicator: Indicator, reference: Reference): void {
  const { name } = indicator;

  test(`${name}: equals the reference, seeded or not, at several prices`, () => {
    for (const [seed, prior] of [
      [1, Number.NaN],
      [2, 99],
      [3, -5],
      [4, 0],
    ] as const) {
      const base = seed === 3 ? 1e-4 : seed === 4 ? 65_000 : 100;
      const bars = randomBars(seed, 1200, base);
      const expected = reference(bars, prior);
      for (const [index, row] of run(indicator, bars, prior).entries()) {
        for (const [lane, value] of expected.lanes[index]!.entries()) {
          const scale = Math.max(base, Number.isNaN(prior) ? 0 : Math.abs(prior));
          assertClose(
            row[lane]!,
            value,
            1e-9 * scale,
            `${name} ${indicator.lanes[lane]} of bar ${index}, seed ${seed}`,
          );
        }
        assert.equal(row.at(-1) === 1, expected.ready[index], `${name} ready at bar ${index}`);
      }
    }
  });

  test(`${name}: 100,000 bars leave no drift`, () => {
    const bars = randomBars(7, 100_000, 30_000, 0);
    const tail = run(indicator, bars, Number.NaN).slice(-50);
    const expected = reference(bars, Number.NaN).lanes.slice(-50);
    for (const [index, row] of tail.entries()) {
      for (const [lane, value] of expected[index]!.entries()) assertClose(row[lane]!, value, 1e-9 * 30_000, name);
    }
  });

  test(`${name}: a peek leaves the state alone, and is what the update then gives`, () => {
    for (const prior of [Number.NaN, 101]) {
      const bars = randomBars(11, 600);
      const at = 5;
      const state = new Float64Array(at + indicator.size);
      indicator.init(state, at, prior);
      const peeked = new Float64Array(indicator.lanes.length + 3);
      for (let bar = 0; bar < bars.length; bar += B.BAR_SIZE) {
        const before = state.slice();
        peeked.fill(0);
        indicator.peek(state, at, bars, bar, peeked, 1);
        // Many looks at a bar advance nothing.
        indicator.peek(state, at, bars, bar, peeked, 1);
        assert.deepEqual(state, before);
        indicator.update(state, at, bars, bar);
        const row = [...state.subarray(at, at + indicator.lanes.length), indicator.ready(state, at) ? 1 : 0];
        assert.deepEqual([...peeked], [0, ...row, 0]);
      }
    }
  });

  test(`${name}: a copied state goes on as the original, and the same bars give the same bits`, () => {
    const bars = randomBars(13, 400);
    assert.deepEqual(run(indicator, bars, 100), run(indicator, bars, 100));
    const state = new Float64Array(indicator.size);
    indicator.init(state, 0, Number.NaN);
    for (let bar = 0; bar < 200 * B.BAR_SIZE; bar += B.BAR_SIZE) indicator.update(state, 0, bars, bar);
    const copy = new Float64Array(7 + indicator.size);
    copy.set(state, 7);
    for (let bar = 200 * B.BAR_SIZE; bar < bars.length; bar += B.BAR_SIZE) {
      indicator.update(state, 0, bars, bar);
      indicator.update(copy, 7, bars, bar);
    }
    assert.deepEqual(copy.subarray(7), state);
    indicator.init(state, 0, Number.NaN);
    assert.equal(indicator.ready(state, 0), false);
  });
}
