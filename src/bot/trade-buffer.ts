import type { TradeEvent } from "../client/index.ts";

/** Trades as columns, oldest first; times are microseconds. */
export interface TradeColumns {
  readonly time: Float64Array;
  readonly price: Float64Array;
  readonly size: Float64Array;
  /** 1 where the aggressor bought, -1 where it sold, 0 where nobody knows. */
  readonly side: Int8Array;
}

/** The newest trades of one instrument, in memory of a fixed size. Hot path: `add` allocates nothing. */
export class TradeBuffer {
  /** Trades that were added; those that do not fit any more were overwritten. */
  added = 0;
  readonly #capacity: number;
  readonly #time: Float64Array;
  readonly #price: Float64Array;
  readonly #size: Float64Array;
  readonly #side: Int8Array;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#time = new Float64Array(capacity);
    this.#price = new Float64Array(capacity);
    this.#size = new Float64Array(capacity);
    this.#side = new Int8Array(capacity);
  }

  get count(): number {
    return Math.min(this.added, this.#capacity);
  }

  get overwritten(): number {
    return this.added - this.count;
  }

  add(trade: TradeEvent): void {
    const at = this.added % this.#capacity;
    const { side } = trade;
    this.#time[at] = trade.tsExchange || trade.tsReceive;
    this.#price[at] = trade.price;
    this.#size[at] = trade.size;
    this.#side[at] = side === "buy" ? 1 : side === "sell" ? -1 : 0;
    this.added += 1;
  }

  /** Calls for the newest trades, the newest first. */
  #each(limit: number, take: (price: number, size: number, side: number) => void): void {
    for (let back = 1; back <= Math.min(limit, this.count); back += 1) {
      const at = (this.added - back) % this.#capacity;
      take(this.#price[at] as number, this.#size[at] as number, this.#side[at] as number);
    }
  }

  /** Volume-weighted price of the newest trades; NaN when there are none. */
  vwap(limit: number): number {
    let value = 0;
    let volume = 0;
    this.#each(limit, (price, size) => {
      value += price * size;
      volume += size;
    });
    return value / volume;
  }

  /** (bought - sold) / (bought + sold) over the newest trades, -1 to 1; NaN when no side is known. */
  imbalance(limit: number): number {
    let bought = 0;
    let sold = 0;
    this.#each(limit, (_price, size, side) => {
      if (side > 0) bought += size;
      if (side < 0) sold += size;
    });
    return (bought - sold) / (bought + sold);
  }

  /** A copy of the newest trades. */
  columns(limit: number): TradeColumns {
    const count = Math.min(limit, this.count);
    const first = this.added - count;
    const copy = <A extends Float64Array | Int8Array>(from: A, to: A): A => {
      for (let index = 0; index < count; index += 1) to[index] = from[(first + index) % this.#capacity] as number;
      return to;
    };
    return {
      time: copy(this.#time, new Float64Array(count)),
      price: copy(this.#price, new Float64Array(count)),
      size: copy(this.#size, new Float64Array(count)),
      side: copy(this.#side, new Int8Array(count)),
    };
  }
}
