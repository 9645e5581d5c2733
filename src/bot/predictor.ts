import { BotError } from "./errors.ts";
import type { SeriesName } from "./market-stream-events.ts";

/** Tells the probability that a price rises, 0 to 1, from features by name, of which some may be NaN. */
export interface Predictor {
  predict(symbol: string, features: Readonly<Record<string, number>>, series: SeriesName): number | PromiseLike<number>;
}

/**
 * Predicts by what was: three fifths by how the last bars went, two fifths by where the close is to its mean. Needs the
 * features return_1, return_5 and sma_20_ratio; 0.5 where one of them is not known.
 */
export function momentumPredictor(): Predictor {
  return {
    predict: (_symbol, { return_1 = Number.NaN, return_5 = Number.NaN, sma_20_ratio = Number.NaN }) => {
      const momentum = 0.5 + (return_1 * 5 + return_5) * 0.5;
      const trend = 0.5 + (sma_20_ratio - 1) * 2;
      const probability = 0.6 * momentum + 0.4 * trend;
      return Number.isNaN(probability) ? 0.5 : Math.min(1, Math.max(0, probability));
    },
  };
}

/** What a probability says: above `threshold` the price rises, below its counterpart it falls; else nothing. */
export type SignalRule = (
  probability: number,
) => { readonly direction: "long" | "short"; readonly confidence: number } | undefined;

/** Throws `bad_config` for a threshold that is not from 0.5 to 1. */
export function thresholdSignal(threshold: number): SignalRule {
  if (!(threshold >= 0.5 && threshold <= 1))
    throw new BotError("bad_config", `threshold: a number from 0.5 to 1, not ${String(threshold)}`);
  return (probability) => {
    if (probability > threshold) return { direction: "long", confidence: probability };
    return probability < 1 - threshold ? { direction: "short", confidence: 1 - probability } : undefined;
  };
}
