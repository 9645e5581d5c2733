import { TIMEFRAME_MICROS, TIMEFRAMES } from "../market/timeframe.ts";
import type { BarColumns } from "./bar-columns.ts";

/** A number made of the closed bars of a series, the newest last; NaN when there are too few of them. */
export interface Feature {
  readonly name: string;
  of(bars: BarColumns): number;
}

const YEAR_MICROS = 365 * 86_400e6;
const AVERAGED_BARS = 20;

/** How much the close has changed over `count` bars: 0.01 is one per cent. */
export function returnOver(count: number): Feature {
  return {
    name: `return_${count}`,
    of: ({ close, length }) =>
      length > count ? (close[length - 1] as number) / (close[length - 1 - count] as number) - 1 : Number.NaN,
  };
}

/**
 * Standard deviation of the changes from bar to bar, of the sample, for a year. `yearMicros` is how long its market is
 * open in a year: by default always, as markets of crypto currencies are.
 */
export function volatility(yearMicros = YEAR_MICROS): Feature {
  return {
    name: "volatility",
    of: ({ close, length, timeframe }) => {
      const changes = Array.from(close.subarray(1), (price, index) => price / (close[index] as number) - 1);
      const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length;
      const squares = changes.reduce((sum, change) => sum + (change - mean) ** 2, 0);
      const width = TIMEFRAME_MICROS[TIMEFRAMES.indexOf(timeframe)] as number;
      return length < 3 ? Number.NaN : Math.sqrt(squares / (changes.length - 1)) * Math.sqrt(yearMicros / width);
    },
  };
}

/** The newest of the last 20, the newest included, by their mean. */
function ratioToMean(name: string, column: "close" | "volume"): Feature {
  return {
    name,
    of: (bars) => {
      if (bars.length < AVERAGED_BARS) return Number.NaN;
      const last = bars[column].subarray(bars.length - AVERAGED_BARS);
      const mean = last.reduce((sum, value) => sum + value, 0) / AVERAGED_BARS;
      return (last[AVERAGED_BARS - 1] as number) / mean;
    },
  };
}

/** Returns over 1, 5 and 20 bars, volatility, volume and close by their means over 20 bars. */
export const DEFAULT_FEATURES: readonly Feature[] = [
  returnOver(1),
  returnOver(5),
  returnOver(20),
  volatility(),
  ratioToMean("volume_ratio", "volume"),
  ratioToMean("sma_20_ratio", "close"),
];

/** Every feature by its name. */
export function featuresOf(bars: BarColumns, features: readonly Feature[]): Record<string, number> {
  return Object.fromEntries(features.map((feature) => [feature.name, feature.of(bars)]));
}
