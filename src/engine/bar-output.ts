import type { IndicatorPlan } from "../indicators/plan.ts";

/** Where bars and indicators go. Both lie where they are and may be overwritten after the call. Hot path. */
export interface BarOutput {
  /** A bar closed, or one that had closed was corrected: the fields of bar.ts at `bars[at]`. */
  bar(instrument: number, timeframe: number, bars: Float64Array, at: number, state: number): void;
  /** The indicators of the closed bar at `bars[at]`: a row of `plan` at `row[rowAt]`. */
  indicators(
    instrument: number,
    timeframe: number,
    bars: Float64Array,
    at: number,
    plan: IndicatorPlan,
    row: Float64Array,
    rowAt: number,
    state: number,
  ): void;
}
