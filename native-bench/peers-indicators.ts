import { MACD as GeneratorMacd, VWAP as GeneratorVwap, WMA as GeneratorWma } from "technicalindicators";
import { EMA, HMA, MACD, VWAP } from "trading-signals";
import * as B from "../src/indicators/bar.ts";
import type { Indicator } from "../src/indicators/indicator.ts";
import { parseIndicator } from "../src/indicators/registry.ts";
import { assert } from "../src/std/assert.ts";
import { secondBars } from "./peers-bars.ts";
import type { Contest } from "./peers-contest.ts";
import type { TradeColumns } from "./peers-trades.ts";

const FAST = 12;
const SLOW = 26;
const SIGNAL = 9;
const LENGTH = 20;
const HALF = Math.floor(LENGTH / 2);
const ROOT = Math.floor(Math.sqrt(LENGTH));

/**
 * Where a MACD crosses zero, what is left is the rounding of the averages that it is the difference of: 5e-13 each at the
 * recorded prices, 2e-12 at most in the recording.
 */
const TOLERANCE = { relative: 1e-9, absolute: 1e-11 };

const SECOND_MICROS = 1e6;
/** A midnight, UTC. */
const FIRST_DAY_MICROS = 19_944 * 86_400 * SECOND_MICROS;

/** The recorded closes, as each of the contenders wants its bars. */
interface Closes {
  count: number;
  closes: Float64Array;
  /** Bars as bar.ts lays them out. */
  bars: Float64Array;
  candles: { high: number; low: number; close: number; volume: number }[];
}

/**
 * The peers know a bar's high, low and close only and take the mean of the three for its average price; ours has what was
 * paid. So that the answers can be the same, the bars here have that mean times the volume as their quote volume. Nor do
 * the peers begin anew at midnight, which the recording goes across: the bars here begin at one.
 */
function closesOf(columns: TradeColumns): Closes {
  const seconds = secondBars(columns);
  const bars = new Float64Array(seconds.length * B.BAR_SIZE);
  for (const [index, { high, low, close, volume }] of seconds.entries()) {
    const at = index * B.BAR_SIZE;
    bars[at + B.BAR_OPEN_TIME] = FIRST_DAY_MICROS + index * SECOND_MICROS;
    bars[at + B.BAR_HIGH] = high;
    bars[at + B.BAR_LOW] = low;
    bars[at + B.BAR_CLOSE] = close;
    bars[at + B.BAR_VOLUME] = volume;
    bars[at + B.BAR_QUOTE_VOLUME] = ((high + low + close) / 3) * volume;
  }
  return {
    count: seconds.length,
    closes: Float64Array.from(seconds, ({ close }) => close),
    bars,
    candles: seconds.map(({ high, low, close, volume }) => ({ high, low, close, volume })),
  };
}

function stateOf(text: string): { indicator: Indicator; state: Float64Array } {
  const { indicator, error } = parseIndicator(text);
  assert(indicator !== undefined, error ?? "");
  const state = new Float64Array(indicator.size);
  indicator.init(state, 0, Number.NaN);
  return { indicator, state };
}

/** Calls `step` for the closes twice over and returns what it gives from bar `first` of these on. */
function answersFrom(first: number, count: number, step: (index: number) => number[]): number[] {
  const answers: number[] = [];
  for (let bar = 0; bar < 2 * count; bar += 1) {
    const values = step(bar % count);
    if (bar >= first) answers.push(...values);
  }
  return answers;
}

function ourAnswers(text: string, lanes: number, first: number, { count, bars }: Closes): number[] {
  const { indicator, state } = stateOf(text);
  return answersFrom(first, count, (index) => {
    indicator.update(state, 0, bars, index * B.BAR_SIZE);
    return [...state.subarray(0, lanes)];
  });
}

const signalsMacd = () => new MACD(new EMA(FAST), new EMA(SLOW), new EMA(SIGNAL));
const generatorMacd = () =>
  new GeneratorMacd({
    values: [],
    fastPeriod: FAST,
    slowPeriod: SLOW,
    signalPeriod: SIGNAL,
    SimpleMAOscillator: false,
    SimpleMASignal: false,
  });

/**
 * The averages start differently. Ours and trading-signals' take the first close, but the signal's begins with the first
 * bar here and with bar 26 there; technicalindicators' take the mean of the first 12, 26 and 9. What differs dies out as
 * (1 - 2/27)^n: the closes of a first pass, some 600, leave 1e-20 of it, so the second is compared.
 */
function macdContest(closes: Closes): Contest {
  const text = `macd(${FAST},${SLOW},${SIGNAL})`;
  const { count, bars } = closes;
  const own = stateOf(text);
  const signals = signalsMacd();
  const generator = generatorMacd();
  const sum = new Float64Array(1);
  return {
    part: "MACD(12,26,9), a close",
    count,
    tolerance: TOLERANCE,
    ours: {
      name: "macd",
      run(from, to) {
        for (let index = from; index < to; index += 1) {
          own.indicator.update(own.state, 0, bars, index * B.BAR_SIZE);
          sum[0] += own.state[2];
        }
      },
      answers: () => ourAnswers(text, 3, count, closes),
    },
    peers: [
      {
        name: "trading-signals",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += signals.add(closes.closes[index])?.histogram ?? 0;
        },
        answers() {
          const fresh = signalsMacd();
          return answersFrom(count, count, (index) => {
            const result = fresh.add(closes.closes[index]);
            return [result?.macd ?? Number.NaN, result?.signal ?? Number.NaN, result?.histogram ?? Number.NaN];
          });
        },
      },
      {
        name: "technicalindicators",
        run(from, to) {
          for (let index = from; index < to; index += 1) {
            sum[0] += generator.nextValue(closes.closes[index])?.histogram ?? 0;
          }
        },
        answers() {
          const fresh = generatorMacd();
          return answersFrom(count, count, (index) => {
            const result = fresh.nextValue(closes.closes[index]);
            return [result?.MACD ?? Number.NaN, result?.signal ?? Number.NaN, result?.histogram ?? Number.NaN];
          });
        },
      },
    ],
  };
}

/** technicalindicators has no HMA: one of its weighted averages. */
class GeneratorHma {
  readonly #full = new GeneratorWma({ period: LENGTH, values: [] });
  readonly #half = new GeneratorWma({ period: HALF, values: [] });
  readonly #root = new GeneratorWma({ period: ROOT, values: [] });

  nextValue(close: number): number | undefined {
    const half = this.#half.nextValue(close);
    const full = this.#full.nextValue(close);
    return half === undefined || full === undefined ? undefined : this.#root.nextValue(2 * half - full);
  }
}

/** Windows end, so the start is forgotten altogether after 20 + 4 - 1 bars; before, ours pads and the peers are silent. */
function hmaContest(closes: Closes): Contest {
  const text = `hma(${LENGTH})`;
  const { count, bars } = closes;
  const first = LENGTH + ROOT - 2;
  const own = stateOf(text);
  const signals = new HMA(LENGTH);
  const generator = new GeneratorHma();
  const sum = new Float64Array(1);
  return {
    part: "HMA(20), a close",
    count,
    tolerance: TOLERANCE,
    ours: {
      name: "hma",
      run(from, to) {
        for (let index = from; index < to; index += 1) {
          own.indicator.update(own.state, 0, bars, index * B.BAR_SIZE);
          sum[0] += own.state[0];
        }
      },
      answers: () => ourAnswers(text, 1, first, closes),
    },
    peers: [
      {
        name: "trading-signals",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += signals.add(closes.closes[index]) ?? 0;
        },
        answers() {
          const fresh = new HMA(LENGTH);
          return answersFrom(first, count, (index) => [fresh.add(closes.closes[index]) ?? Number.NaN]);
        },
      },
      {
        name: "technicalindicators, of its WMAs",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += generator.nextValue(closes.closes[index]) ?? 0;
        },
        answers() {
          const fresh = new GeneratorHma();
          return answersFrom(first, count, (index) => [fresh.nextValue(closes.closes[index]) ?? Number.NaN]);
        },
      },
    ],
  };
}

const generatorVwap = () => new GeneratorVwap({ high: [], low: [], close: [], volume: [] });

/** The same closes again and again are of the same day, so the sums of all go on for ever. */
function vwapContest(closes: Closes): Contest {
  const { count, bars, candles } = closes;
  const own = stateOf("vwap");
  const signals = new VWAP();
  const generator = generatorVwap();
  const sum = new Float64Array(1);
  return {
    part: "VWAP, a close",
    count,
    tolerance: TOLERANCE,
    ours: {
      name: "vwap",
      run(from, to) {
        for (let index = from; index < to; index += 1) {
          own.indicator.update(own.state, 0, bars, index * B.BAR_SIZE);
          sum[0] += own.state[0];
        }
      },
      answers: () => ourAnswers("vwap", 1, 0, closes),
    },
    peers: [
      {
        name: "trading-signals",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += signals.add(candles[index]) ?? 0;
        },
        answers() {
          const fresh = new VWAP();
          return answersFrom(0, count, (index) => [fresh.add(candles[index]) ?? Number.NaN]);
        },
      },
      {
        name: "technicalindicators",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += generator.nextValue(candles[index]) ?? 0;
        },
        answers() {
          const fresh = generatorVwap();
          return answersFrom(0, count, (index) => [fresh.nextValue(candles[index]) ?? Number.NaN]);
        },
      },
    ],
  };
}

/** Indicators updated at each close, all their values read, against the two libraries that update one by one. */
export function indicatorContests(columns: TradeColumns): Contest[] {
  const closes = closesOf(columns);
  return [macdContest(closes), hmaContest(closes), vwapContest(closes)];
}
