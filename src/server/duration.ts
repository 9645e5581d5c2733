import { build, type Histogram as HdrHistogram } from "hdr-histogram-js";
import { Histogram } from "../std/histogram.ts";

/** Over how long quantiles are taken. */
export const WINDOW_SECONDS = 10;
export const QUANTILES = [0.5, 0.9, 0.99, 0.999] as const;
/** Upper bounds of the buckets that go out, microseconds. */
export const BOUNDS_MICROS = [
  10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
] as const;
const LONGEST_MICROS = 60e6;

function emptyHistogram(): HdrHistogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_MICROS,
    numberOfSignificantValueDigits: 2,
  });
}

/**
 * How long something takes, microseconds. Recording is one store into a typed array; once a second what gathered goes
 * into buckets, which count from the start, and into histograms that quantiles of the last seconds are read from.
 */
export class Duration {
  /** How many values were at most each of BOUNDS_MICROS, to within 3 %. */
  readonly counts = new Float64Array(BOUNDS_MICROS.length);
  count = 0;
  sumMicros = 0;
  readonly #recent = new Histogram();
  readonly #seconds = Array.from({ length: WINDOW_SECONDS }, emptyHistogram);
  readonly #window = emptyHistogram();
  #second = 0;

  /** Hot path. */
  record(micros: number): void {
    this.#recent.record(micros);
  }

  /** Takes in what was recorded since the last call. */
  gather(): void {
    const second = this.#seconds[this.#second] as HdrHistogram;
    this.#recent.drain((value, count) => {
      this.count += count;
      this.sumMicros += value * count;
      for (let bound = BOUNDS_MICROS.length - 1; bound >= 0 && value <= (BOUNDS_MICROS[bound] as number); bound -= 1) {
        this.counts[bound] += count;
      }
      second.recordValueWithCount(Math.min(value, LONGEST_MICROS), count);
    });
  }

  /** A second is over: the oldest one leaves the window. */
  advance(): void {
    this.gather();
    this.#second = (this.#second + 1) % WINDOW_SECONDS;
    this.#seconds[this.#second]?.reset();
  }

  /** The microseconds that a share of the values of the last WINDOW_SECONDS did not exceed; 0 without any. */
  quantiles(): readonly number[] {
    this.gather();
    this.#window.reset();
    for (const second of this.#seconds) this.#window.add(second);
    return QUANTILES.map((quantile) => this.#window.getValueAtPercentile(quantile * 100));
  }

  /** How many values the quantiles stand on. */
  get windowCount(): number {
    return this.#seconds.reduce((sum, second) => sum + second.totalCount, 0);
  }
}
