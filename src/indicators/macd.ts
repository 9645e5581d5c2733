import { BAR_CLOSE } from "./bar.ts";
import type { Indicator, IndicatorKind } from "./indicator.ts";

const VALUE = 0;
const SIGNAL = 1;
const HISTOGRAM = 2;
const CHANGE = 3;
const LANES = ["value", "signal", "histogram", "change"];
const FAST = 4;
const SLOW = 5;
const COUNT = 6;
const SIZE = 7;

/**
 * The weight that the seed still has after as many bars as 4 times the slow period is (1 - 2 / (slow + 1))^(4 slow),
 * less than e^-7: a thousandth.
 */
const READY_PERIODS = 4;

/**
 * Moving average convergence and divergence: a fast less a slow exponential average of the close, a signal average of
 * that, and the histogram between them. Hot path.
 */
class Macd implements Indicator {
  readonly name: string;
  readonly lanes = LANES;
  readonly size = SIZE;
  readonly parameters: readonly number[];
  readonly #fast: number;
  readonly #slow: number;
  readonly #signal: number;
  readonly #readyAfter: number;

  constructor(parameters: readonly number[]) {
    const [fast, slow, signal] = parameters as [number, number, number];
    this.parameters = parameters;
    this.name = `macd(${parameters.join(",")})`;
    this.#fast = 2 / (fast + 1);
    this.#slow = 2 / (slow + 1);
    this.#signal = 2 / (signal + 1);
    this.#readyAfter = READY_PERIODS * slow;
  }

  init(state: Float64Array, at: number, seed: number): void {
    state[at + VALUE] = Number.NaN;
    state[at + SIGNAL] = 0;
    state[at + HISTOGRAM] = Number.NaN;
    state[at + CHANGE] = Number.NaN;
    state[at + FAST] = seed;
    state[at + SLOW] = seed;
    state[at + COUNT] = 0;
  }

  update(state: Float64Array, at: number, bars: Float64Array, bar: number): void {
    this.#lanes(state, at, bars, bar, state, at);
    const close = bars[bar + BAR_CLOSE];
    const unseeded = Number.isNaN(state[at + FAST]);
    const fast = unseeded ? close : state[at + FAST];
    const slow = unseeded ? close : state[at + SLOW];
    state[at + FAST] = fast + this.#fast * (close - fast);
    state[at + SLOW] = slow + this.#slow * (close - slow);
    state[at + COUNT] += 1;
  }

  peek(state: Float64Array, at: number, bars: Float64Array, bar: number, out: Float64Array, outAt: number): void {
    this.#lanes(state, at, bars, bar, out, outAt);
    out[outAt + LANES.length] = state[at + COUNT] + 1 >= this.#readyAfter ? 1 : 0;
  }

  ready(state: Float64Array, at: number): boolean {
    return state[at + COUNT] >= this.#readyAfter;
  }

  /** Averages move by a share of the difference, so equal closes give a histogram of exactly 0, whose colour counts. */
  #lanes(state: Float64Array, at: number, bars: Float64Array, bar: number, out: Float64Array, outAt: number): void {
    const close = bars[bar + BAR_CLOSE];
    const unseeded = Number.isNaN(state[at + FAST]);
    const fast = unseeded ? close : state[at + FAST];
    const slow = unseeded ? close : state[at + SLOW];
    const value = fast + this.#fast * (close - fast) - (slow + this.#slow * (close - slow));
    const signal = state[at + SIGNAL] + this.#signal * (value - state[at + SIGNAL]);
    const histogram = value - signal;
    out[outAt + CHANGE] = state[at + COUNT] === 0 ? Number.NaN : histogram - state[at + HISTOGRAM];
    out[outAt + VALUE] = value;
    out[outAt + SIGNAL] = signal;
    out[outAt + HISTOGRAM] = histogram;
  }
}

export const macd: IndicatorKind = {
  name: "macd",
  parameters: [
    { name: "fast", fallback: 12, min: 1, max: 500 },
    { name: "slow", fallback: 26, min: 1, max: 500 },
    { name: "signal", fallback: 9, min: 1, max: 500 },
  ],
  check: ([fast, slow]) => (fast! < slow! ? undefined : "fast must be less than slow"),
  create: (parameters) => new Macd(parameters),
};
