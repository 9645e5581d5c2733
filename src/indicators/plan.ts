import type { Indicator } from "./indicator.ts";

/**
 * The indicators of a series, laid out: their states one after the other in an array, and their values in a row of
 * lanes, each indicator's followed by its ready. Series with the same indicators share one plan.
 *
 *   row      value signal histogram change ready | value change ready | value ready
 *   entries  (0,0) (0,1)  (0,2)     (0,3)          (1,0) (1,1)          (2,0)          (indicator id, lane)
 */
export class IndicatorPlan {
  readonly ids: readonly number[];
  readonly indicators: readonly Indicator[];
  /** Doubles of state. */
  readonly stateSize: number;
  /** Doubles of a row of values. */
  readonly rowSize: number;
  /** How many values there are, and of each its indicator's id, its lane, and where in the row it and its ready are. */
  readonly entries: number;
  readonly entryIndicator: Int32Array;
  readonly entryLane: Int32Array;
  readonly entryValue: Int32Array;
  readonly entryReady: Int32Array;
  readonly #stateAt: Int32Array;
  readonly #rowAt: Int32Array;

  constructor(ids: readonly number[], indicators: readonly Indicator[]) {
    this.ids = ids;
    this.indicators = indicators;
    this.#stateAt = new Int32Array(ids.length);
    this.#rowAt = new Int32Array(ids.length);
    this.entries = indicators.reduce((sum, indicator) => sum + indicator.lanes.length, 0);
    this.entryIndicator = new Int32Array(this.entries);
    this.entryLane = new Int32Array(this.entries);
    this.entryValue = new Int32Array(this.entries);
    this.entryReady = new Int32Array(this.entries);
    let state = 0;
    let row = 0;
    let entry = 0;
    for (const [index, indicator] of indicators.entries()) {
      this.#stateAt[index] = state;
      this.#rowAt[index] = row;
      for (let lane = 0; lane < indicator.lanes.length; lane += 1) {
        this.entryIndicator[entry] = ids[index] as number;
        this.entryLane[entry] = lane;
        this.entryValue[entry] = row + lane;
        this.entryReady[entry] = row + indicator.lanes.length;
        entry += 1;
      }
      state += indicator.size;
      row += indicator.lanes.length + 1;
    }
    this.stateSize = state;
    this.rowSize = row;
  }

  init(state: Float64Array, at: number, seed: number): void {
    for (const [index, indicator] of this.indicators.entries()) {
      indicator.init(state, at + this.#stateAt[index], seed);
    }
  }

  /** Starts a state anew, but takes over that of each indicator that another plan's state has already. */
  adopt(
    state: Float64Array,
    at: number,
    seed: number,
    from: IndicatorPlan,
    fromState: Float64Array,
    fromAt: number,
  ): void {
    this.init(state, at, seed);
    for (const [index, indicator] of this.indicators.entries()) {
      const held = from.ids.indexOf(this.ids[index] as number);
      if (held < 0) continue;
      const start = fromAt + from.#stateAt[held];
      state.set(fromState.subarray(start, start + indicator.size), at + this.#stateAt[index]);
    }
  }

  /** Takes a closed bar. Hot path, as are the two below. */
  update(state: Float64Array, at: number, bars: Float64Array, bar: number): void {
    const { indicators } = this;
    for (let index = 0; index < indicators.length; index += 1) {
      indicators[index].update(state, at + this.#stateAt[index], bars, bar);
    }
  }

  /** Writes the row that the bar would give if it closed now. */
  peek(state: Float64Array, at: number, bars: Float64Array, bar: number, row: Float64Array, rowAt: number): void {
    const { indicators } = this;
    for (let index = 0; index < indicators.length; index += 1) {
      indicators[index].peek(state, at + this.#stateAt[index], bars, bar, row, rowAt + this.#rowAt[index]);
    }
  }

  /** Writes the row of the last closed bar. */
  values(state: Float64Array, at: number, row: Float64Array, rowAt: number): void {
    const { indicators } = this;
    for (let index = 0; index < indicators.length; index += 1) {
      const indicator = indicators[index];
      const from = at + this.#stateAt[index];
      const to = rowAt + this.#rowAt[index];
      const lanes = indicator.lanes.length;
      for (let lane = 0; lane < lanes; lane += 1) row[to + lane] = state[from + lane];
      row[to + lanes] = indicator.ready(state, from) ? 1 : 0;
    }
  }
}
