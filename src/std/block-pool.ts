import { assert } from "./assert.ts";

/** Blocks in one array: large enough that the collector sees few arrays, small enough that none is big in vain. */
const BLOCKS = 64;

/**
 * Blocks of doubles of one size, numbered, cut from larger arrays: a hundred thousand of them are no more work for the
 * garbage collector than a few hundred objects, and one that was given back is taken again. A block that is taken holds
 * whatever it held last.
 */
export class BlockPool {
  readonly size: number;
  readonly #arrays: Float64Array[] = [];
  readonly #free: number[] = [];
  #used = 0;

  constructor(size: number) {
    assert(Number.isInteger(size) && size > 0, "a block has a size");
    this.size = size;
  }

  take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#used === this.#arrays.length * BLOCKS) this.#arrays.push(new Float64Array(BLOCKS * this.size));
    this.#used += 1;
    return this.#used - 1;
  }

  give(block: number): void {
    this.#free.push(block);
  }

  /** The array that the block lies in. */
  array(block: number): Float64Array {
    return this.#arrays[Math.trunc(block / BLOCKS)];
  }

  /** Where in its array the block begins. */
  start(block: number): number {
    return (block % BLOCKS) * this.size;
  }
}
