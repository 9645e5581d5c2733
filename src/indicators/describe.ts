import { DIRECTION_COLOURS, directionOf, histogramColour } from "./colour.ts";
import type { Indicator } from "./indicator.ts";

/** What the JSON form says of an indicator beside its values. */
export interface IndicatorDescription {
  name: string;
  lanes: readonly string[];
  /** Texts derived from the values: direction and colour. */
  style(lanes: readonly number[]): Record<string, string>;
}

/** An indicator with a histogram has a colour; any other that tells its change has a direction. */
export function describe({ name, lanes }: Pick<Indicator, "name" | "lanes">): IndicatorDescription {
  const change = lanes.indexOf("change");
  const histogram = lanes.indexOf("histogram");
  return {
    name,
    lanes,
    style(values) {
      if (change < 0) return {};
      const step = values[change] ?? Number.NaN;
      if (histogram >= 0) return { color: histogramColour(values[histogram] ?? Number.NaN, step) };
      const direction = directionOf(step);
      return { direction, color: DIRECTION_COLOURS[direction] };
    },
  };
}
