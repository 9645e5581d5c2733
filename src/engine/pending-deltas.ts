import type { LevelList } from "../market/sink.ts";
import { FIRST_SEQUENCE } from "../market/sink.ts";

/** Messages and levels kept for one book while its snapshot is on the way: 100 s of the busiest recording. */
export const MAX_PENDING_DELTAS = 1000;
export const MAX_PENDING_LEVELS = 200_000;

export interface PendingDelta {
  numbers: Float64Array;
  /** (price, size) pairs. */
  bids: Float64Array;
  asks: Float64Array;
}

/** Deltas that came before the snapshot they follow. Rare, so plain copies will do. */
export class PendingDeltas {
  #deltas: PendingDelta[] = [];
  #levels = 0;

  get count(): number {
    return this.#deltas.length;
  }

  /** The first update of the first delta. */
  get firstSequence(): number {
    return this.#deltas[0]?.numbers[FIRST_SEQUENCE] ?? 0;
  }

  /** Keeps a copy; false when the buffer is full. */
  add(numbers: Float64Array, bids: LevelList, asks: LevelList): boolean {
    this.#levels += bids.count + asks.count;
    if (this.#deltas.length >= MAX_PENDING_DELTAS || this.#levels > MAX_PENDING_LEVELS) return false;
    this.#deltas.push({
      numbers: numbers.slice(),
      bids: bids.values.slice(0, 2 * bids.count),
      asks: asks.values.slice(0, 2 * asks.count),
    });
    return true;
  }

  at(index: number): PendingDelta {
    return this.#deltas[index] as PendingDelta;
  }

  clear(): void {
    this.#deltas = [];
    this.#levels = 0;
  }
}
