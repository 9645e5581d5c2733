import type { BookSide } from "../market/book-side.ts";

/** The depths that are kept for subscribers of less than the whole book; a request takes the next larger one. */
export const TIER_DEPTHS = [5, 20, 100] as const;

const LARGEST_DEPTH = Math.max(...TIER_DEPTHS);

/** What all tiers share: room for a window, and for the changes of the two sides of the tier that was updated last. */
export class TierScratch {
  readonly window = new Float64Array(2 * LARGEST_DEPTH);
  readonly bidChanges = new Float64Array(4 * LARGEST_DEPTH);
  readonly askChanges = new Float64Array(4 * LARGEST_DEPTH);
}

/** The window of one side, as (price, size) pairs, best first, and what changed in it. */
export class TierSide {
  readonly #direction: number;
  readonly #depth: number;
  readonly #window: Float64Array;
  /** The held levels, from level `heldFrom` on. */
  readonly held: Float64Array;
  readonly heldFrom: number;
  heldCount = 0;
  /** Changed levels; good until the next update of any tier. */
  readonly changes: Float64Array;
  changeCount = 0;

  constructor(isBid: boolean, depth: number, held: Float64Array, scratch: TierScratch) {
    this.#direction = isBid ? -1 : 1;
    this.#depth = depth;
    this.#window = scratch.window;
    this.held = held;
    this.heldFrom = isBid ? 0 : depth;
    this.changes = isBid ? scratch.bidChanges : scratch.askChanges;
  }

  /** Brings the held window up to the book's and leaves in `changes` what a holder of the old one must apply. */
  update(side: BookSide): void {
    const { held, heldFrom, heldCount } = this;
    const window = this.#window;
    const windowCount = side.copyTop(window, this.#depth);
    let old = 0;
    let now = 0;
    this.changeCount = 0;
    while (old < heldCount || now < windowCount) {
      const order = this.#compare(old, now, windowCount);
      const heldAt = 2 * (heldFrom + old);
      if (order === 0) {
        if (held[heldAt + 1] !== window[2 * now + 1]) this.#change(window[2 * now], window[2 * now + 1]);
        old += 1;
        now += 1;
      } else if (order < 0) {
        this.#change(held[heldAt], 0);
        old += 1;
      } else {
        this.#change(window[2 * now], window[2 * now + 1]);
        now += 1;
      }
    }
    for (let index = 0; index < 2 * windowCount; index += 1) held[2 * heldFrom + index] = window[index];
    this.heldCount = windowCount;
  }

  /** Which comes first, best first: the held level (-1), the current one (1), or both are the same price (0). */
  #compare(old: number, now: number, windowCount: number): number {
    if (old >= this.heldCount) return 1;
    if (now >= windowCount) return -1;
    const difference = (this.held[2 * (this.heldFrom + old)] - this.#window[2 * now]) * this.#direction;
    return difference === 0 ? 0 : difference < 0 ? -1 : 1;
  }

  #change(price: number, size: number): void {
    this.changes[2 * this.changeCount] = price;
    this.changes[2 * this.changeCount + 1] = size;
    this.changeCount += 1;
  }
}

/**
 * The top of one book to a given depth, as its subscribers hold it. Its deltas keep that window exact: a level that
 * enters is announced with its size, one that leaves is removed, whether it was cancelled or pushed out. A wildcard
 * makes one for each book, so it is one array and little more.
 */
export class Tier {
  readonly depth: number;
  readonly bids: TierSide;
  readonly asks: TierSide;

  constructor(depth: number, scratch: TierScratch) {
    this.depth = depth;
    const held = new Float64Array(4 * depth);
    this.bids = new TierSide(true, depth, held, scratch);
    this.asks = new TierSide(false, depth, held, scratch);
  }

  /** The same window, held by somebody else. */
  copy(scratch: TierScratch): Tier {
    const copy = new Tier(this.depth, scratch);
    copy.bids.held.set(this.bids.held);
    copy.bids.heldCount = this.bids.heldCount;
    copy.asks.heldCount = this.asks.heldCount;
    return copy;
  }

  update(bids: BookSide, asks: BookSide): boolean {
    this.bids.update(bids);
    this.asks.update(asks);
    return this.bids.changeCount + this.asks.changeCount > 0;
  }
}
