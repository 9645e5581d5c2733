import { BAR_CLOSE, BAR_CLOSE_TIME, BAR_OPEN_TIME, BAR_SIZE } from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import type { BlockPool } from "../std/block-pool.ts";
import { BarHistory } from "./bar-history.ts";
import type { BarMemory } from "./bar-memory.ts";
import type { BarList } from "./bar-stitch.ts";

/**
 * The closed bars of one series and its indicators' states: `lead`, which has seen all of them, and one from before each
 * block of bars, so that after a correction everything kept can be computed again from there, exactly as from the very
 * first bar:
 *
 *   dropped bars │ block │ block │ … │ newest block
 *                ▲       ▲           ▲             ▲
 *              checkpoints                        lead
 */
export class BarSeries {
  readonly history: BarHistory;
  plan: IndicatorPlan;
  readonly #memory: BarMemory;
  #pool: BlockPool;
  #lead: number;
  /** By block of the history. */
  #checkpoints: number[] = [];
  /** Close of the newest dropped bar, NaN before there is one: what an indicator that comes later is seeded with. */
  #seed = Number.NaN;
  /** From when on no bar is missing, microseconds; NaN while that is when the series was joined. */
  knownFrom = Number.NaN;
  /** Close of the newest bar before the instrument's trades last stopped coming, microseconds; Infinity while they never did. */
  awayFrom = Number.POSITIVE_INFINITY;
  /** When the first bar opened whose indicators went out, microseconds; Infinity while none did. */
  toldFrom = Number.POSITIVE_INFINITY;

  constructor(plan: IndicatorPlan, memory: BarMemory) {
    this.history = new BarHistory(memory.limit, memory.bars);
    this.plan = plan;
    this.#memory = memory;
    this.#pool = memory.states(plan.stateSize);
    this.#lead = this.#pool.take();
    plan.init(this.#pool.array(this.#lead), this.#pool.start(this.#lead), this.#seed);
  }

  /** True once a bar was dropped: nothing can be put before the oldest any more. */
  get dropped(): boolean {
    return !Number.isNaN(this.#seed);
  }

  /** The instrument's trades come again, after a time in which they did not. */
  comeBack(): void {
    const newest = this.history.count - 1;
    if (newest < 0) return;
    this.awayFrom = this.history.array(newest)[this.history.offset(newest) + BAR_CLOSE_TIME];
  }

  /** Appends a closed bar and advances the indicators. Hot path. */
  push(bars: Float64Array, at: number): void {
    const { history } = this;
    if (history.full) this.#dropBlock();
    this.#mark(history.count);
    history.append(bars, at);
    this.plan.update(this.#pool.array(this.#lead), this.#pool.start(this.#lead), bars, at);
  }

  /** Keeps the lead's state when bar `index`, which it has not seen yet, is the first of its block. */
  #mark(index: number): void {
    if (index % this.history.blockBars !== 0) return;
    const block = index / this.history.blockBars;
    if (block === this.#checkpoints.length) this.#checkpoints.push(this.#pool.take());
    this.#copy(this.#lead, this.#checkpoints[block]);
  }

  #copy(from: number, to: number): void {
    const target = this.#pool.array(to);
    const source = this.#pool.array(from);
    const targetAt = this.#pool.start(to);
    const sourceAt = this.#pool.start(from);
    for (let index = 0; index < this.plan.stateSize; index += 1) target[targetAt + index] = source[sourceAt + index];
  }

  #dropBlock(): void {
    const { history } = this;
    const last = history.blockBars - 1;
    this.#seed = history.array(last)[history.offset(last) + BAR_CLOSE];
    this.knownFrom = history.array(last)[history.offset(last) + BAR_CLOSE_TIME];
    history.dropBlock();
    this.#pool.give(this.#checkpoints.shift() as number);
  }

  /** The row of values of the newest bar. */
  values(row: Float64Array, rowAt: number): void {
    this.plan.values(this.#pool.array(this.#lead), this.#pool.start(this.#lead), row, rowAt);
  }

  /**
   * The row of values as if the building bar at `bars[at]` closed now. A bar between it and the newest, still inside
   * its allowance, lies at `bars[previous]`, or has an open time of 0.
   */
  peek(bars: Float64Array, at: number, previous: number, row: Float64Array, rowAt: number): void {
    const { plan } = this;
    const lead = this.#pool.array(this.#lead);
    const start = this.#pool.start(this.#lead);
    if (bars[previous + BAR_OPEN_TIME] === 0) {
      plan.peek(lead, start, bars, at, row, rowAt);
      return;
    }
    this.#memory.reserve(1, plan);
    const { state } = this.#memory;
    for (let index = 0; index < plan.stateSize; index += 1) state[index] = lead[start + index];
    plan.update(state, 0, bars, previous);
    plan.peek(state, 0, bars, at, row, rowAt);
  }

  /** Makes room for one more bar at `index`; returns its index then, or -1 when that is before what is kept. */
  makeRoom(index: number): number {
    const { full, blockBars } = this.history;
    const place = full ? index - blockBars : index;
    if (place < 0 || (place === 0 && (full || this.dropped))) return -1;
    if (full) this.#dropBlock();
    return place;
  }

  /** Keeps the rows of values of the bars from `index` on, as they were before a correction. */
  remember(index: number): void {
    const { history, plan } = this;
    this.#memory.reserve(history.count + 1, plan);
    if (index === history.count - 1) this.values(this.#memory.before, 0);
    else if (index < history.count) this.#rows(index, this.#memory.before);
  }

  /** Computes the values of the bars from `index` on anew, and keeps their rows. */
  recompute(index: number): void {
    const { plan, history } = this;
    this.#memory.reserve(history.count, plan);
    const lead = this.#pool.array(this.#lead);
    const start = this.#pool.start(this.#lead);
    const block = Math.floor(index / history.blockBars);
    if (block < this.#checkpoints.length) this.#copy(this.#checkpoints[block], this.#lead);
    for (let bar = block * history.blockBars; bar < history.count; bar += 1) {
      this.#mark(bar);
      plan.update(lead, start, history.array(bar), history.offset(bar));
      if (bar >= index) plan.values(lead, start, this.#memory.after, (bar - index) * plan.rowSize);
    }
  }

  /** Whether the values of the bar `index` are others than before, after a correction from `from` on. */
  changed(index: number, from: number, inserted: boolean): boolean {
    if (inserted && index === from) return true;
    const { before, after } = this.#memory;
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
    return this.#memory.after;
  }

  /** The rows of values of the bars from `index` on, in memory of their own. */
  rows(index: number): Float64Array {
    const rows = new Float64Array(Math.max(this.history.count - index, 0) * this.plan.rowSize);
    this.#memory.reserve(0, this.plan);
    if (rows.length > 0) this.#rows(index, rows);
    return rows;
  }

  /** Writes the rows of the bars from `index` on, from the checkpoint before it. */
  #rows(index: number, rows: Float64Array): void {
    const { plan, history } = this;
    const { state } = this.#memory;
    const block = Math.floor(index / history.blockBars);
    const checkpoint = this.#pool.array(this.#checkpoints[block]);
    const start = this.#pool.start(this.#checkpoints[block]);
    for (let value = 0; value < plan.stateSize; value += 1) state[value] = checkpoint[start + value];
    for (let bar = block * history.blockBars; bar < history.count; bar += 1) {
      plan.update(state, 0, history.array(bar), history.offset(bar));
      if (bar >= index) plan.values(state, 0, rows, (bar - index) * plan.rowSize);
    }
  }

  /** Replaces the kept bars by others, oldest first, and computes the indicators anew. */
  rebuild(merged: BarList): void {
    if (this.#checkpoints.length > 0) this.#copy(this.#checkpoints[0], this.#lead);
    this.history.truncate(0);
    this.#forgetCheckpoints(0);
    for (let index = 0; index < merged.count; index += 1) this.push(merged.bars, index * BAR_SIZE);
  }

  #forgetCheckpoints(kept: number): void {
    for (const checkpoint of this.#checkpoints.splice(kept)) this.#pool.give(checkpoint);
  }

  /** Drops the bars that had not closed by the time at `times[at]`; false when none is left. */
  truncate(times: Float64Array, at: number): boolean {
    const { history } = this;
    let { count } = history;
    while (count > 0 && history.array(count - 1)[history.offset(count - 1) + BAR_CLOSE_TIME] > times[at]) count -= 1;
    if (count === 0) return false;
    history.truncate(count);
    this.#forgetCheckpoints(Math.ceil(count / history.blockBars));
    this.recompute(count - 1);
    return true;
  }

  /** Changes the indicators; those that stay keep what they know of dropped bars. */
  adopt(plan: IndicatorPlan): void {
    const from = this.#checkpoints[0] ?? this.#lead;
    const pool = this.#memory.states(plan.stateSize);
    const lead = pool.take();
    const held = this.#pool.array(from);
    plan.adopt(pool.array(lead), pool.start(lead), this.#seed, this.plan, held, this.#pool.start(from));
    this.#forgetCheckpoints(0);
    this.#pool.give(this.#lead);
    this.plan = plan;
    this.#pool = pool;
    this.#lead = lead;
    this.recompute(0);
  }

  /** Gives all memory back; the series is not to be used any more. */
  release(): void {
    this.history.truncate(0);
    this.#forgetCheckpoints(0);
    this.#pool.give(this.#lead);
  }
}
