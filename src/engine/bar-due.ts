import { TIMEFRAME_COUNT, TIMEFRAME_MICROS } from "../market/timeframe.ts";
import { assert } from "../std/assert.ts";
import { grown } from "../std/grow.ts";

/** Up to so many are put in order here: the library's sort allocates, which only pays for many. */
const FEW = 32;

/**
 * Which instruments of one venue have unclosed bars, by the time that these close at. Per timeframe two lists, for
 * intervals of even and of odd number: no more are unclosed at once, because the allowance for late trades is no longer
 * than the narrowest bar. Adding is a store, and a close time is sorted once, when it is due. Hot path.
 */
export class DueBars {
  /** Close times, by list; Infinity while it is empty. */
  readonly #closes = new Float64Array(2 * TIMEFRAME_COUNT).fill(Number.POSITIVE_INFINITY);
  readonly #counts = new Int32Array(2 * TIMEFRAME_COUNT);
  readonly #lists = Array.from({ length: 2 * TIMEFRAME_COUNT }, () => new Int32Array(16));
  /** The earliest close time of all, in [0]. */
  readonly next = Float64Array.of(Number.POSITIVE_INFINITY);
  /** What `take` took: the first `count` are instruments in order, some perhaps twice. */
  taken = new Int32Array(64);

  /** Notes that the instrument has a bar of the timeframe that closes at `closes[at]`. */
  add(instrument: number, timeframe: number, closes: Float64Array, at: number): void {
    const close = closes[at];
    const interval = close / TIMEFRAME_MICROS[timeframe];
    const list = 2 * timeframe + (interval - 2 * Math.floor(interval / 2));
    const count = this.#counts[list];
    assert(count === 0 || this.#closes[list] === close, "a timeframe has at most two unclosed intervals");
    if (count === this.#lists[list].length) this.#lists[list] = grown(this.#lists[list], count + 1);
    this.#lists[list][count] = instrument;
    this.#counts[list] = count + 1;
    this.#closes[list] = close;
    if (close < this.next[0]) this.next[0] = close;
  }

  /** Takes all that close at the earliest close time; returns how many. */
  take(): number {
    let taken = 0;
    const due = this.next[0];
    this.next[0] = Number.POSITIVE_INFINITY;
    for (let list = 0; list < this.#lists.length; list += 1) {
      if (this.#closes[list] === due) {
        const count = this.#counts[list];
        this.taken = grown(this.taken, taken + count);
        for (let index = 0; index < count; index += 1) this.taken[taken + index] = this.#lists[list][index];
        taken += count;
        this.#counts[list] = 0;
        this.#closes[list] = Number.POSITIVE_INFINITY;
      } else if (this.#closes[list] < this.next[0]) this.next[0] = this.#closes[list];
    }
    if (taken > FEW) this.taken.subarray(0, taken).sort();
    else sortFew(this.taken, taken);
    return taken;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#closes.fill(Number.POSITIVE_INFINITY);
    this.next[0] = Number.POSITIVE_INFINITY;
  }
}

/** Puts the first `count` in order. */
function sortFew(array: Int32Array, count: number): void {
  for (let index = 1; index < count; index += 1) {
    const value = array[index];
    let hole = index;
    for (; hole > 0 && array[hole - 1] > value; hole -= 1) array[hole] = array[hole - 1];
    array[hole] = value;
  }
}
