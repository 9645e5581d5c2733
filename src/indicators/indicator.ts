/** No indicator has more values than this. */
export const MAX_LANES = 8;

/**
 * An indicator: parameters and arithmetic, without state of its own. The state is `size` doubles in an array that the
 * caller owns, at `at`, so that thousands of series share one object and a copy of the state is a copy of memory.
 *
 *   state   lane 0 | lane 1 | … | whatever else the indicator needs
 *   peeked  lane 0 | lane 1 | … | ready (1 or 0)
 *
 * `update` and `peek` are on the hot path: O(1), nothing allocated, doubles in typed arrays only.
 */
export interface Indicator {
  /** Canonical: "macd(12,26,9)", "hma(20)", "vwap". */
  readonly name: string;
  readonly parameters: readonly number[];
  /** The names of its values, in order; a lane named "change" is what colour and direction are derived from. */
  readonly lanes: readonly string[];
  /** Doubles of state, lanes included. */
  readonly size: number;
  /** Starts a state. `seed` is the close before the first bar, NaN when unknown: then the first close is used. */
  init(state: Float64Array, at: number, seed: number): void;
  /** Takes one closed bar, at `bar` of `bars`. */
  update(state: Float64Array, at: number, bars: Float64Array, bar: number): void;
  /** Writes the lanes, then ready, as if the bar had closed; the state stays as it is. */
  peek(state: Float64Array, at: number, bars: Float64Array, bar: number, out: Float64Array, outAt: number): void;
  /** True once the values no longer depend on how the state was started. */
  ready(state: Float64Array, at: number): boolean;
}

/** What a whole-number parameter may be. */
export interface ParameterRule {
  readonly name: string;
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
}

/** A kind of indicator: what the registry lists. */
export interface IndicatorKind {
  readonly name: string;
  readonly parameters: readonly ParameterRule[];
  /** A rule over all parameters together: the complaint, or undefined. */
  check?(parameters: readonly number[]): string | undefined;
  create(parameters: readonly number[]): Indicator;
}
