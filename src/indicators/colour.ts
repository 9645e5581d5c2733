/*
 * What a chart draws an indicator in, derived from the lanes of one frame: no row before it is needed, because the
 * `change` lane carries the step from it (NaN on the first row). Not on the wire.
 */
export type Direction = "up" | "down";

export const DIRECTION_COLOURS: Readonly<Record<Direction, string>> = { up: "#01FFFF", down: "#FF66FE" };

/** The direction of a moving average: the first row and a flat one are down. */
export function directionOf(change: number): Direction {
  return change > 0 ? "up" : "down";
}

export const HISTOGRAM_COLOURS = {
  positiveRising: "#04FE00",
  positive: "#006401",
  negativeFalling: "#FE0000",
  negative: "#7E0100",
} as const;

/** The colour of a histogram's column. Zero counts as negative; the first row, whose change is NaN, as moving away. */
export function histogramColour(histogram: number, change: number): string {
  if (histogram > 0) {
    return change > 0 || Number.isNaN(change) ? HISTOGRAM_COLOURS.positiveRising : HISTOGRAM_COLOURS.positive;
  }
  return change < 0 || Number.isNaN(change) ? HISTOGRAM_COLOURS.negativeFalling : HISTOGRAM_COLOURS.negative;
}
