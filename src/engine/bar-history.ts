import { BAR_OPEN_TIME, BAR_SIZE } from "../indicators/bar.ts";
import { assert } from "../std/assert.ts";
import { copyBar } from "./bar-arithmetic.ts";

const INITIAL_BARS = 16;

/**
 * The newest closed bars of one series, oldest first by open time. Memory doubles from 16 bars as they come, because
 * most instruments of a venue hardly trade; at `limit` bars it is a ring and the oldest makes way.
 */
export class BarHistory {
  readonly limit: number;
  bars: Float64Array;
  count = 0;
  #oldest = 0;

  constructor(limit: number) {
    assert(Number.isInteger(limit) && limit > 0, "a history keeps at least one bar");
    this.limit = limit;
    this.bars = new Float64Array(Math.min(INITIAL_BARS, limit) * BAR_SIZE);
  }

  get full(): boolean {
    return this.count === this.limit;
  }

  /** Where the bar `index` lies in `bars`; 0 is the oldest. */
  offset(index: number): number {
    const capacity = this.bars.length / BAR_SIZE;
    const slot = this.#oldest + index;
    return (slot < capacity ? slot : slot - capacity) * BAR_SIZE;
  }

  /** Appends a bar newer than all; there must be room. Returns where it lies. */
  append(bars: Float64Array, at: number): number {
    assert(!this.full, "a history that is full drops its oldest bar first");
    if (this.count * BAR_SIZE === this.bars.length) this.#grow();
    const to = this.offset(this.count);
    copyBar(bars, at, this.bars, to);
    this.count += 1;
    return to;
  }

  #grow(): void {
    // Only a ring at its limit starts elsewhere than at the front, and that one never grows.
    assert(this.#oldest === 0, "a history that grows is not a ring yet");
    const larger = new Float64Array(Math.min(this.bars.length * 2, this.limit * BAR_SIZE));
    larger.set(this.bars);
    this.bars = larger;
  }

  /** Drops the oldest bar, once there is room for no other. */
  drop(): void {
    assert(this.full, "a bar is dropped for want of room only");
    this.count -= 1;
    this.#oldest += 1;
    if (this.#oldest * BAR_SIZE === this.bars.length) this.#oldest = 0;
  }

  clear(): void {
    this.count = 0;
    this.#oldest = 0;
  }

  /** How many bars opened before the time at `times[at]`: the index of the bar that opened then, if there is one. */
  search(times: Float64Array, at: number): number {
    const time = times[at];
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bars[this.offset(middle) + BAR_OPEN_TIME] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** True when the bar `index` is there and opened at the time at `times[at]`. */
  has(index: number, times: Float64Array, at: number): boolean {
    return index < this.count && this.bars[this.offset(index) + BAR_OPEN_TIME] === times[at];
  }

  /** Makes bar `index` a copy of the given one, moving it and all newer ones on; there must be room. */
  insert(index: number, bars: Float64Array, at: number): void {
    assert(index <= this.count, "bars stay without a hole");
    this.append(bars, at);
    for (let to = this.count - 1; to > index; to -= 1) {
      copyBar(this.bars, this.offset(to - 1), this.bars, this.offset(to));
    }
    copyBar(bars, at, this.bars, this.offset(index));
  }
}
