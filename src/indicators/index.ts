/** `tickwire/indicators`: the very indicators that the server runs, for programs that have bars of their own. */
import { parseIndicator } from "./registry.ts";
import type { NamedIndicator } from "./series.ts";

export * from "./colour.ts";
export { describe, type IndicatorDescription } from "./describe.ts";
export type { Indicator, IndicatorKind, ParameterRule } from "./indicator.ts";
export { DEFAULT_INDICATORS, INDICATOR_KINDS, parseIndicator } from "./registry.ts";
export { IndicatorSeries, type IndicatorValues, type NamedIndicator, type PlainBar } from "./series.ts";

/** Moving average convergence and divergence: lanes value, signal, histogram, change. Throws a RangeError. */
export function macd(fast = 12, slow = 26, signal = 9): NamedIndicator<"value" | "signal" | "histogram" | "change"> {
  return indicatorOf(`macd(${fast},${slow},${signal})`);
}

/** Hull moving average: lanes value, change. Throws a RangeError. */
export function hma(period = 20): NamedIndicator<"value" | "change"> {
  return indicatorOf(`hma(${period})`);
}

/** Volume weighted average price since midnight UTC: lane value. */
export function vwap(): NamedIndicator<"value"> {
  return indicatorOf("vwap");
}

function indicatorOf<Lane extends string>(text: string): NamedIndicator<Lane> {
  const { indicator, error } = parseIndicator(text);
  if (indicator === undefined) throw new RangeError(error);
  return indicator as NamedIndicator<Lane>;
}
