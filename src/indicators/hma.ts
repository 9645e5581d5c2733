import { BAR_CLOSE } from "./bar.ts";
import type { Indicator, IndicatorKind } from "./indicator.ts";

const VALUE = 0;
const CHANGE = 1;
const LANES = ["value", "change"];
const COUNT = 2;
/** What stands for the closes before the first bar; NaN until it is known. */
const PAD = 3;
/** Per window its plain and its weighted sum: of n closes, of half as many, of root differences. */
const SUM = 4;
const WEIGHTED = 5;
const HALF_SUM = 6;
const HALF_WEIGHTED = 7;
const ROOT_SUM = 8;
const ROOT_WEIGHTED = 9;
/** Where the next close and the next difference go, which is where the oldest lies. */
const NEXT = 10;
const ROOT_NEXT = 11;
const RINGS = 12;

/**
 * Two values that differ by less than this share of the price are equal: the running sums carry rounding of some
 * 1e-14, which in a flat market must not read as a turn of direction.
 */
const FLAT = 1e-12;

/**
 * Hull moving average: WMA(2 WMA(close, n / 2) - WMA(close, n), root n), weights 1..n. O(1) an update: a new close
 * makes a window's weighted sum grow by n closes less the plain sum, and its plain sum by the close less the oldest.
 * Each time a ring has gone round, its sums are computed anew from the ring, so rounding never adds up over more than
 * one revolution, and that costs one addition per update. Hot path.
 */
class Hma implements Indicator {
  readonly name: string;
  readonly lanes = LANES;
  readonly size: number;
  readonly parameters: readonly number[];
  readonly #length: number;
  readonly #half: number;
  readonly #root: number;
  /** What the weighted sums are multiplied by: one over the sum of the weights, n (n + 1) / 2; the half window counts twice. */
  readonly #share: number;
  readonly #halfShare: number;
  readonly #rootShare: number;
  readonly #readyAfter: number;

  constructor(parameters: readonly number[]) {
    const length = parameters[0] as number;
    this.parameters = parameters;
    this.name = `hma(${length})`;
    this.#length = length;
    this.#half = Math.floor(length / 2);
    this.#root = Math.floor(Math.sqrt(length));
    this.#share = 2 / (length * (length + 1));
    this.#halfShare = 4 / (this.#half * (this.#half + 1));
    this.#rootShare = 2 / (this.#root * (this.#root + 1));
    this.size = RINGS + this.#length + this.#root;
    // A value is free of padding after n + root - 1 bars; one more, and so is its change, which the direction is.
    this.#readyAfter = length + this.#root;
  }

  init(state: Float64Array, at: number, seed: number): void {
    state.fill(0, at, at + this.size);
    state[at + VALUE] = Number.NaN;
    state[at + CHANGE] = Number.NaN;
    state[at + PAD] = Number.NaN;
    if (!Number.isNaN(seed)) this.#pad(state, at, seed);
  }

  #pad(state: Float64Array, at: number, pad: number): void {
    state[at + PAD] = pad;
    state.fill(pad, at + RINGS, at + this.size);
    this.#sumCloses(state, at);
    this.#sumDifferences(state, at);
  }

  update(state: Float64Array, at: number, bars: Float64Array, bar: number): void {
    const close = bars[bar + BAR_CLOSE];
    const isFirst = Number.isNaN(state[at + PAD]);
    if (isFirst) this.#pad(state, at, close);
    const length = this.#length;
    const half = this.#half;
    const root = this.#root;
    const sum = state[at + SUM];
    const halfSum = state[at + HALF_SUM];
    const rootSum = state[at + ROOT_SUM];
    const weighted = state[at + WEIGHTED] + (length * close - sum);
    const halfWeighted = state[at + HALF_WEIGHTED] + (half * close - halfSum);
    const difference = halfWeighted * this.#halfShare - weighted * this.#share;
    const rootWeighted = state[at + ROOT_WEIGHTED] + (root * difference - rootSum);
    state[at + CHANGE] = state[at + VALUE];
    state[at + VALUE] = rootWeighted * this.#rootShare;
    putChange(state, at, bars, bar, state[at + COUNT] === 0);
    // Padded with itself, the first close is its own average, to the last bit.
    if (isFirst) state[at + VALUE] = close;
    const closes = at + RINGS;
    const next = state[at + NEXT];
    const leaving = state[closes + next];
    const leavingHalf = state[closes + (next < half ? next + length - half : next - half)];
    state[closes + next] = close;
    const differences = closes + length;
    const rootNext = state[at + ROOT_NEXT];
    const leavingDifference = state[differences + rootNext];
    state[differences + rootNext] = difference;
    state[at + COUNT] += 1;
    // After the lanes, so that what was peeked is what the update gives, to the last bit.
    if (next + 1 === length) {
      state[at + NEXT] = 0;
      this.#sumCloses(state, at);
    } else {
      state[at + NEXT] = next + 1;
      state[at + SUM] = sum + (close - leaving);
      state[at + WEIGHTED] = weighted;
      state[at + HALF_SUM] = halfSum + (close - leavingHalf);
      state[at + HALF_WEIGHTED] = halfWeighted;
    }
    if (rootNext + 1 === root) {
      state[at + ROOT_NEXT] = 0;
      this.#sumDifferences(state, at);
    } else {
      state[at + ROOT_NEXT] = rootNext + 1;
      state[at + ROOT_SUM] = rootSum + (difference - leavingDifference);
      state[at + ROOT_WEIGHTED] = rootWeighted;
    }
  }

  peek(state: Float64Array, at: number, bars: Float64Array, bar: number, out: Float64Array, outAt: number): void {
    const close = bars[bar + BAR_CLOSE];
    if (Number.isNaN(state[at + PAD])) {
      out[outAt + VALUE] = close;
      out[outAt + CHANGE] = Number.NaN;
    } else {
      const weighted = state[at + WEIGHTED] + (this.#length * close - state[at + SUM]);
      const halfWeighted = state[at + HALF_WEIGHTED] + (this.#half * close - state[at + HALF_SUM]);
      const difference = halfWeighted * this.#halfShare - weighted * this.#share;
      const rootWeighted = state[at + ROOT_WEIGHTED] + (this.#root * difference - state[at + ROOT_SUM]);
      out[outAt + CHANGE] = state[at + VALUE];
      out[outAt + VALUE] = rootWeighted * this.#rootShare;
      putChange(out, outAt, bars, bar, state[at + COUNT] === 0);
    }
    out[outAt + LANES.length] = state[at + COUNT] + 1 >= this.#readyAfter ? 1 : 0;
  }

  ready(state: Float64Array, at: number): boolean {
    return state[at + COUNT] >= this.#readyAfter;
  }

  /** The sums of the closes, exactly, while the oldest lies first in the ring. */
  #sumCloses(state: Float64Array, at: number): void {
    const closes = at + RINGS;
    const older = this.#length - this.#half;
    let sum = 0;
    let weighted = 0;
    let halfSum = 0;
    let halfWeighted = 0;
    for (let index = 0; index < this.#length; index += 1) {
      const close = state[closes + index];
      sum += close;
      weighted += (index + 1) * close;
      if (index >= older) {
        halfSum += close;
        halfWeighted += (index + 1 - older) * close;
      }
    }
    state[at + SUM] = sum;
    state[at + WEIGHTED] = weighted;
    state[at + HALF_SUM] = halfSum;
    state[at + HALF_WEIGHTED] = halfWeighted;
  }

  #sumDifferences(state: Float64Array, at: number): void {
    const differences = at + RINGS + this.#length;
    let sum = 0;
    let weighted = 0;
    for (let index = 0; index < this.#root; index += 1) {
      sum += state[differences + index];
      weighted += (index + 1) * state[differences + index];
    }
    state[at + ROOT_SUM] = sum;
    state[at + ROOT_WEIGHTED] = weighted;
  }
}

/** Makes of the value before, which lies in CHANGE, the change to the new one in VALUE. */
function putChange(out: Float64Array, at: number, bars: Float64Array, bar: number, isFirst: boolean): void {
  const close = bars[bar + BAR_CLOSE];
  const value = out[at + VALUE];
  const before = out[at + CHANGE];
  const change = value - before;
  const flat = Math.abs(change) <= FLAT * Math.max(Math.abs(close), Math.abs(value), Math.abs(before));
  out[at + CHANGE] = isFirst ? Number.NaN : flat ? 0 : change;
}

export const hma: IndicatorKind = {
  name: "hma",
  // Half of 1 is a window without bars.
  parameters: [{ name: "length", fallback: 20, min: 2, max: 500 }],
  create: (parameters) => new Hma(parameters),
};
