import type { BookSide } from "./book-side.ts";

/** The depths that are kept for subscribers of less than the whole book; a request takes the next larger one. */
export const TIER_DEPTHS = [5, 20, 100] as const;

/** Changed levels of one side, as (price, size) pairs. */
export class TierSide {
  readonly #direction: number;
  readonly #depth: number;
  #held: Float64Array;
  #current: Float64Array;
  #heldCount = 0;
  readonly changes: Float64Array;
  changeCount = 0;

  constructor(isBid: boolean, depth: number) {
    this.#direction = isBid ? -1 : 1;
    this.#depth = depth;
    this.#held = new Float64Array(2 * depth);
    this.#current = new Float64Array(2 * depth);
    this.changes = new Float64Array(4 * depth);
  }

  /** Brings the held window up to the book's and leaves in `changes` what a holder of the old one must apply. */
  update(side: BookSide): void {
    const held = this.#held;
    const current = this.#current;
    const currentCount = side.copyTop(current, this.#depth);
    let old = 0;
    let now = 0;
    this.changeCount = 0;
    while (old < this.#heldCount || now < currentCount) {
      const order = this.#compare(old, now, currentCount);
      if (order === 0) {
        if (held[2 * old + 1] !== current[2 * now + 1]) this.#change(current[2 * now], current[2 * now + 1]);
        old += 1;
        now += 1;
      } else if (order < 0) {
        this.#change(held[2 * old], 0);
        old += 1;
      } else {
        this.#change(current[2 * now], current[2 * now + 1]);
        now += 1;
      }
    }
    this.#held = current;
    this.#current = held;
    this.#heldCount = currentCount;
  }

  /** Which comes first, best first: the held level (-1), the current one (1), or both are the same price (0). */
  #compare(old: number, now: number, currentCount: number): number {
    if (old >= this.#heldCount) return 1;
    if (now >= currentCount) return -1;
    const difference = (this.#held[2 * old] - this.#current[2 * now]) * this.#direction;
    return difference === 0 ? 0 : difference < 0 ? -1 : 1;
  }

  #change(price: number, size: number): void {
    this.changes[2 * this.changeCount] = price;
    this.changes[2 * this.changeCount + 1] = size;
    this.changeCount += 1;
  }

  get held(): Float64Array {
    return this.#held;
  }

  get heldCount(): number {
    return this.#heldCount;
  }
}

/**
 * The top of one book to a given depth, as its subscribers hold it. Its deltas keep that window exact: a level that
 * enters is announced with its size, one that leaves is removed, whether it was cancelled or pushed out.
 */
export class Tier {
  readonly depth: number;
  readonly bids: TierSide;
  readonly asks: TierSide;
  /** [the stream's sequence up to which the holders are level] */
  readonly sent = new Float64Array(1);

  constructor(depth: number) {
    this.depth = depth;
    this.bids = new TierSide(true, depth);
    this.asks = new TierSide(false, depth);
  }

  update(bids: BookSide, asks: BookSide): boolean {
    this.bids.update(bids);
    this.asks.update(asks);
    return this.bids.changeCount + this.asks.changeCount > 0;
  }
}
