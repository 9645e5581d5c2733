import { BAR_CLOSE, BAR_CLOSE_TIME, BAR_OPEN_TIME, BAR_SIZE } from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import { BarHistory } from "./bar-history.ts";

/** Memory that recomputations of all series share: rows of values before and after, and a state to run ahead with. */
export class Replay {
  before = new Float64Array(0);
  after = new Float64Array(0);
  state = new Float64Array(0);
  /** A bar to put together, and times to look up. */
  readonly bar = new Float64Array(BAR_SIZE);

  reserve(bars: number, plan: IndicatorPlan): void {
    const rows = bars * plan.rowSize;
    if (this.before.length < rows) this.before = new Float64Array(rows);
    if (this.after.length < rows) this.after = new Float64Array(rows);
    if (this.state.length < plan.stateSize) this.state = new Float64Array(plan.stateSize);
  }
}

/**
 * The closed bars of one series and its indicators' states, at three places in time:
 *
 *   dropped bars │ oldest kept … one before newest │ newest │ building
 *              trail                             recent    lead
 *
 * `lead` is what is looked at. `trail` has seen the dropped bars only, so that after a correction everything kept can
 * be computed again exactly as from the very first bar. `recent` spares that when the newest bar alone is corrected,
 * which is what nearly all late trades do: 0.1 µs instead of some 20.
 */
export class BarSeries {
  readonly history: BarHistory;
  plan: IndicatorPlan;
  /** [lead | recent | trail], each as long as the plan says. */
  #states: Float64Array;
  readonly #replay: Replay;
  /** Close of the newest dropped bar, NaN before there is one: what an indicator that comes later is seeded with. */
  #seed = Number.NaN;
  /** From when on no bar is missing, microseconds; NaN while that is when the series was joined. */
  knownFrom = Number.NaN;

  constructor(limit: number, plan: IndicatorPlan, replay: Replay) {
    this.history = new BarHistory(limit);
    this.plan = plan;
    this.#replay = replay;
    this.#states = new Float64Array(3 * plan.stateSize);
    for (let place = 0; place < 3; place += 1) plan.init(this.#states, place * plan.stateSize, this.#seed);
  }

  /** True once a bar was dropped: nothing can be put before the oldest any more. */
  get dropped(): boolean {
    return !Number.isNaN(this.#seed);
  }

  /** Appends a closed bar and advances the indicators. Hot path. Returns where the bar lies in the history. */
  push(bars: Float64Array, at: number): number {
    if (this.history.full) this.#dropOldest();
    const kept = this.history.append(bars, at);
    this.#advance(kept);
    return kept;
  }

  /** Takes the newest bar into the indicators. */
  #advance(kept: number): void {
    const size = this.plan.stateSize;
    this.#states.copyWithin(size, 0, size);
    this.plan.update(this.#states, 0, this.history.bars, kept);
  }

  #dropOldest(): void {
    const { history } = this;
    const oldest = history.offset(0);
    this.plan.update(this.#states, 2 * this.plan.stateSize, history.bars, oldest);
    this.#seed = history.bars[oldest + BAR_CLOSE];
    this.knownFrom = history.bars[oldest + BAR_CLOSE_TIME];
    history.drop();
  }

  /** The row of values of the newest bar. */
  values(row: Float64Array, rowAt: number): void {
    this.plan.values(this.#states, 0, row, rowAt);
  }

  /**
   * The row of values as if the building bar at `bars[at]` closed now. A bar between it and the newest, still inside
   * its allowance, lies at `bars[previous]`, or has an open time of 0.
   */
  peek(bars: Float64Array, at: number, previous: number, row: Float64Array, rowAt: number): void {
    const { plan } = this;
    if (bars[previous + BAR_OPEN_TIME] === 0) {
      plan.peek(this.#states, 0, bars, at, row, rowAt);
      return;
    }
    this.#replay.reserve(1, plan);
    const { state } = this.#replay;
    for (let index = 0; index < plan.stateSize; index += 1) state[index] = this.#states[index];
    plan.update(state, 0, bars, previous);
    plan.peek(state, 0, bars, at, row, rowAt);
  }

  /** Makes room for one more bar at `index`; returns its index then, or -1 when that is before what is kept. */
  makeRoom(index: number): number {
    if (index === 0 && (this.history.full || this.dropped)) return -1;
    if (!this.history.full) return index;
    this.#dropOldest();
    return index - 1;
  }

  /** Keeps the rows of values of the bars from `index` on, as they were before a correction. */
  remember(index: number): void {
    const { plan } = this;
    this.#replay.reserve(this.history.limit, plan);
    const { before, state } = this.#replay;
    if (index >= this.history.count) return;
    if (index === this.history.count - 1) plan.values(this.#states, 0, before, 0);
    else this.#run(state, 0, index, before);
  }

  /** Computes the rows of values of the bars from `index` on anew; `inserted` when the bar there was not there before. */
  recompute(index: number, inserted: boolean): void {
    this.#replay.reserve(this.history.limit, this.plan);
    const { plan, history } = this;
    const { after } = this.#replay;
    const size = plan.stateSize;
    if (index < history.count - 1) {
      this.#run(this.#states, 0, index, after);
      return;
    }
    // The newest: an inserted one follows what led, an amended one what it followed before.
    if (inserted) this.#states.copyWithin(size, 0, size);
    else this.#states.copyWithin(0, size, 2 * size);
    plan.update(this.#states, 0, history.bars, history.offset(index));
    plan.values(this.#states, 0, after, 0);
  }

  /** Whether the values of the bar `index` are others than before, after a correction from `from` on. */
  changed(index: number, from: number, inserted: boolean): boolean {
    if (inserted && index === from) return true;
    const { before, after } = this.#replay;
    const { rowSize } = this.plan;
    const old = (index - from - (inserted ? 1 : 0)) * rowSize;
    const now = (index - from) * rowSize;
    for (let value = 0; value < rowSize; value += 1) {
      if (!Object.is(before[old + value], after[now + value])) return true;
    }
    return false;
  }

  /** The rows that `recompute` left, from the bar that it began with. */
  get recomputed(): Float64Array {
    return this.#replay.after;
  }

  /** The rows of values of the bars from `index` on, in memory of their own. */
  rows(index: number): Float64Array {
    this.#replay.reserve(0, this.plan);
    const rows = new Float64Array(Math.max(this.history.count - index, 0) * this.plan.rowSize);
    this.#run(this.#replay.state, 0, index, rows);
    return rows;
  }

  /** Runs a state over everything kept, from the trail on, and writes the rows from bar `from` on. */
  #run(state: Float64Array, at: number, from: number, rows: Float64Array): void {
    const { plan, history } = this;
    const size = plan.stateSize;
    const leading = state === this.#states;
    for (let index = 0; index < size; index += 1) state[at + index] = this.#states[2 * size + index];
    for (let index = 0; index < history.count; index += 1) {
      if (leading && index === history.count - 1) state.copyWithin(size, 0, size);
      plan.update(state, at, history.bars, history.offset(index));
      if (index >= from) plan.values(state, at, rows, (index - from) * plan.rowSize);
    }
  }

  /** Replaces the kept bars by others, oldest first, and computes the indicators anew. */
  rebuild(merged: BarHistory): void {
    const size = this.plan.stateSize;
    this.history.clear();
    this.#states.copyWithin(0, 2 * size, 3 * size);
    for (let index = 0; index < merged.count; index += 1) this.push(merged.bars, merged.offset(index));
  }

  /** Drops the bars that had not closed by the time at `times[at]`; false when none is left. */
  truncate(times: Float64Array, at: number): boolean {
    const { history } = this;
    while (history.count > 0 && history.bars[history.offset(history.count - 1) + BAR_CLOSE_TIME] > times[at]) {
      history.count -= 1;
    }
    const { count } = history;
    this.adopt(this.plan);
    return count > 0;
  }

  /** Changes the indicators; those that stay keep what they know of dropped bars. */
  adopt(plan: IndicatorPlan): void {
    const states = new Float64Array(3 * plan.stateSize);
    plan.adopt(states, 2 * plan.stateSize, this.#seed, this.plan, this.#states, 2 * this.plan.stateSize);
    this.plan = plan;
    this.#states = states;
    this.#run(states, 0, this.history.count, states);
  }
}
