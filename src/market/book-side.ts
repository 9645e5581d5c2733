/** Most levels that one side keeps; a venue that sends more is in error, and what is farthest from the top goes. */
export const MAX_SIDE_LEVELS = 1 << 18;

/** Above so many levels to be moved, the call of a built-in costs less than a loop. */
const LONG_MOVE = 32;

/**
 * One side of a book in two sorted typed arrays, the best level at the end: most changes are near the top, so an
 * insertion moves few levels, and the best is read without a search. Hot path.
 *
 *   bids   98.1  99.0  99.5 | 99.9        asks   103.0  101.2  100.4 | 100.1
 *                        best ^                                  best ^
 */
export class BookSide {
  /** 1 for bids (ascending), -1 for asks (descending): prices are compared after multiplication with it. */
  readonly #direction: number;
  prices = new Float64Array(64);
  sizes = new Float64Array(64);
  count = 0;
  /** Levels given up because the side was full. */
  truncated = 0;

  constructor(isBid: boolean) {
    this.#direction = isBid ? 1 : -1;
  }

  clear(): void {
    this.count = 0;
  }

  /** Sets the levels of a message, `values` as (price, size) pairs; size 0 removes, and removing nothing is normal. */
  applyAll(values: Float64Array, count: number): void {
    for (let level = 0; level < count; level += 1) this.#set(values, 2 * level);
  }

  #set(values: Float64Array, at: number): void {
    const price = values[at];
    const size = values[at + 1];
    const prices = this.prices;
    const key = price * this.#direction;
    // Near the top a short walk beats the search.
    let low = 0;
    let high = this.count;
    const near = high - 8;
    if (near > 0 && prices[near] * this.#direction <= key) low = near;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (prices[middle] * this.#direction < key) low = middle + 1;
      else high = middle;
    }
    const found = low < this.count && prices[low] === price;
    if (found && size !== 0) this.sizes[low] = size;
    else if (found) this.#remove(low);
    else if (size !== 0) this.#insert(low, price, size);
  }

  #remove(index: number): void {
    const { prices, sizes } = this;
    const last = this.count - 1;
    if (last - index > LONG_MOVE) {
      prices.copyWithin(index, index + 1, this.count);
      sizes.copyWithin(index, index + 1, this.count);
    } else {
      for (let level = index; level < last; level += 1) {
        prices[level] = prices[level + 1];
        sizes[level] = sizes[level + 1];
      }
    }
    this.count = last;
  }

  #insert(index: number, price: number, size: number): void {
    let at = index;
    if (this.count === this.prices.length && !this.#grow()) {
      this.truncated += 1;
      if (at === 0) return;
      this.#remove(0);
      at -= 1;
    }
    const { prices, sizes } = this;
    if (this.count - at > LONG_MOVE) {
      prices.copyWithin(at + 1, at, this.count);
      sizes.copyWithin(at + 1, at, this.count);
    } else {
      for (let level = this.count; level > at; level -= 1) {
        prices[level] = prices[level - 1];
        sizes[level] = sizes[level - 1];
      }
    }
    prices[at] = price;
    sizes[at] = size;
    this.count += 1;
  }

  #grow(): boolean {
    if (this.prices.length >= MAX_SIDE_LEVELS) return false;
    const prices = new Float64Array(this.prices.length * 2);
    const sizes = new Float64Array(prices.length);
    prices.set(this.prices);
    sizes.set(this.sizes);
    this.prices = prices;
    this.sizes = sizes;
    return true;
  }

  /** Copies the best `limit` levels as (price, size) pairs, best first, and returns how many there are. */
  copyTop(into: Float64Array, limit: number): number {
    const count = Math.min(limit, this.count);
    for (let level = 0; level < count; level += 1) {
      into[2 * level] = this.prices[this.count - 1 - level];
      into[2 * level + 1] = this.sizes[this.count - 1 - level];
    }
    return count;
  }
}
