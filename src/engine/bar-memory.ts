import { BAR_SIZE } from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import { BlockPool } from "../std/block-pool.ts";
import { blockBarsFor } from "./bar-history.ts";

/**
 * What all series share: the memory of their bars and of their indicators' states, and room to recompute in, rows of
 * values before and after, and a state to run ahead with.
 */
export class BarMemory {
  readonly limit: number;
  readonly bars: BlockPool;
  before = new Float64Array(0);
  after = new Float64Array(0);
  state = new Float64Array(0);
  /** A bar to put together, and times to look up. */
  readonly bar = new Float64Array(BAR_SIZE);
  /** Pools of states by size, which is rounded up to a power of two, so that they are few. */
  readonly #states = new Map<number, BlockPool>();

  constructor(limit: number) {
    this.limit = limit;
    this.bars = new BlockPool(blockBarsFor(limit) * BAR_SIZE);
  }

  states(size: number): BlockPool {
    const rounded = 2 ** Math.ceil(Math.log2(Math.max(size, 1)));
    const known = this.#states.get(rounded);
    if (known !== undefined) return known;
    const created = new BlockPool(rounded);
    this.#states.set(rounded, created);
    return created;
  }

  reserve(bars: number, plan: IndicatorPlan): void {
    const rows = bars * plan.rowSize;
    if (this.before.length < rows) this.before = new Float64Array(rows);
    if (this.after.length < rows) this.after = new Float64Array(rows);
    if (this.state.length < plan.stateSize) this.state = new Float64Array(plan.stateSize);
  }
}
