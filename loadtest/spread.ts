import { zipf } from "../native-bench/workload.ts";
import { Random } from "../src/std/random.ts";

export const SPREADS = ["one", "zipf", "uniform"] as const;
export type Spread = (typeof SPREADS)[number];

/** So many choices are made beforehand and gone through again and again. */
const CHOICES = 1 << 16;

/**
 * Which instrument each event falls on: `one` the first alone; `zipf` gives the n-th a share of 1/n, as markets have
 * it; `uniform` is the worst case for caches. The first choices go through all instruments once, so that every one
 * has traded.
 */
export class Choices {
  readonly #instruments: Int32Array;
  #at = 0;

  constructor(instruments: number, spread: Spread, seed: number) {
    const random = new Random(seed);
    this.#instruments = new Int32Array(CHOICES);
    const pick = spread === "zipf" ? zipf(instruments, random) : () => random.integer(0, instruments - 1);
    for (let index = 0; index < CHOICES; index += 1) {
      this.#instruments[index] = spread === "one" ? 0 : index < instruments ? index : pick();
    }
  }

  /** Hot path. */
  next(): number {
    const instrument = this.#instruments[this.#at] as number;
    this.#at = (this.#at + 1) & (CHOICES - 1);
    return instrument;
  }
}
