/** `tickwire/indicators`: the very indicators that the server runs, for programs that have bars of their own. */
import type { Indicator } from "./indicator.ts";
import { parseIndicator } from "./registry.ts";

export * from "./colour.ts";
export { describe, type IndicatorDescription } from "./describe.ts";
export type { Indicator, IndicatorKind, ParameterRule } from "./indicator.ts";
export { DEFAULT_INDICATORS, INDICATOR_KINDS, parseIndicator } from "./registry.ts";
export { IndicatorSeries, type IndicatorValues, type PlainBar } from "./series.ts";

/** Moving average convergence and divergence: lanes value, signal, histogram, change. Throws a RangeError. */
export function macd(fast = 12, slow = 26, signal = 9): Indicator {
  return indicatorOf(`macd(${fast},${slow},${signal})`);
}

/** Hull moving average: lanes value, change. Throws a RangeError. */
export function hma(period = 20): Indicator {
  return indicatorOf(`hma(${period})`);
}

/** Volume weighted average price since midnight UTC: lane value. */
export function vwap(): Indicator {
  return indicatorOf("vwap");
}

function indicatorOf(text: string): Indicator {
  const { indicator, error } = parseIndicator(text);
  if (indicator === undefined) throw new RangeError(error);
  return indicator;
}
