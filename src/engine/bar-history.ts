import { BAR_OPEN_TIME, BAR_SIZE } from "../indicators/bar.ts";
import { assert } from "../std/assert.ts";
import type { BlockPool } from "../std/block-pool.ts";
import { copyBar } from "./bar-arithmetic.ts";

/** Bars in a block, at most. */
const BLOCK_BARS = 32;

/** How many bars the blocks of histories of so many bars have: a power of two. */
export function blockBarsFor(limit: number): number {
  assert(Number.isInteger(limit) && limit > 0, "a history keeps at least one bar");
  return Math.min(BLOCK_BARS, 2 ** Math.floor(Math.log2(limit)));
}

/**
 * The newest closed bars of one series, oldest first by open time, in blocks of a pool: most instruments of a venue
 * hardly trade. A whole block is dropped at a time, so between `limit` bars and one block more are kept.
 *
 *   bar 0 … 31 │ 32 … 63 │ … │ 480 … 511 │ 512 …
 */
export class BarHistory {
  readonly limit: number;
  readonly blockBars: number;
  count = 0;
  readonly #pool: BlockPool;
  readonly #blocks: number[] = [];
  readonly #shift: number;

  /** `pool` has blocks of blockBarsFor(limit) bars. */
  constructor(limit: number, pool: BlockPool) {
    this.limit = limit;
    this.blockBars = blockBarsFor(limit);
    this.#shift = Math.log2(this.blockBars);
    this.#pool = pool;
    assert(pool.size === this.blockBars * BAR_SIZE, "the pool's blocks are of the history's size");
  }

  /** True when there is no room for another bar before a block is dropped. */
  get full(): boolean {
    return this.count === (Math.ceil(this.limit / this.blockBars) + 1) * this.blockBars;
  }

  /** The array that bar `index` lies in; 0 is the oldest. */
  array(index: number): Float64Array {
    return this.#pool.array(this.#blocks[index >> this.#shift]);
  }

  /** Where in its array bar `index` lies. */
  offset(index: number): number {
    const start = this.#pool.start(this.#blocks[index >> this.#shift]);
    return start + (index & (this.blockBars - 1)) * BAR_SIZE;
  }

  /** Appends a bar newer than all; there must be room. Hot path. */
  append(bars: Float64Array, at: number): void {
    const index = this.count;
    if ((index & (this.blockBars - 1)) === 0) {
      assert(!this.full, "a history that is full drops its oldest block first");
      this.#blocks.push(this.#pool.take());
    }
    this.count = index + 1;
    copyBar(bars, at, this.array(index), this.offset(index));
  }

  /** Drops the oldest block, once there is room for no other. */
  dropBlock(): void {
    assert(this.full, "bars are dropped for want of room only");
    this.count -= this.blockBars;
    this.#pool.give(this.#blocks.shift() as number);
  }

  /** Drops all but the oldest `count` bars. */
  truncate(count: number): void {
    this.count = count;
    const blocks = Math.ceil(count / this.blockBars);
    for (const block of this.#blocks.splice(blocks)) this.#pool.give(block);
  }

  /** How many bars opened before the time at `times[at]`: the index of the bar that opened then, if there is one. */
  search(times: Float64Array, at: number): number {
    const time = times[at];
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.array(middle)[this.offset(middle) + BAR_OPEN_TIME] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** True when the bar `index` is there and opened at the time at `times[at]`. */
  has(index: number, times: Float64Array, at: number): boolean {
    return index < this.count && this.array(index)[this.offset(index) + BAR_OPEN_TIME] === times[at];
  }

  /** Makes bar `index` a copy of the given one, moving it and all newer ones on; there must be room. */
  insert(index: number, bars: Float64Array, at: number): void {
    assert(index <= this.count, "bars stay without a hole");
    this.append(bars, at);
    for (let to = this.count - 1; to > index; to -= 1) {
      copyBar(this.array(to - 1), this.offset(to - 1), this.array(to), this.offset(to));
    }
    copyBar(bars, at, this.array(index), this.offset(index));
  }
}
