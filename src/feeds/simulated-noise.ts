/*
 * Randomness that is a function of where it is asked for, not of what was asked before: a hash of a key and a place.
 * So a simulated market can be looked at from any moment, costs nothing while nobody looks, and has one past.
 */

/** Mixes a number into a key (the finalizer of MurmurHash3); both count by their lowest 32 bits. */
export function mix(key: number, value: number): number {
  let hash = key ^ Math.imul(value, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** The key of a name under a key. */
export function mixText(key: number, text: string): number {
  let hash = mix(key, text.length);
  for (let at = 0; at < text.length; at += 1) hash = mix(hash, text.charCodeAt(at));
  return hash;
}

/** A double in [0, 1) made of a hash. */
export function unit(hash: number): number {
  return (hash >>> 0) / 4294967296;
}

/** Quantiles of the standard normal distribution by rank, by Tukey's lambda, which is right to within a hundredth. */
export const NORMALS = Float64Array.from({ length: 1024 }, (_, rank) => {
  const probability = (rank + 0.5) / 1024;
  return (probability ** 0.1349 - (1 - probability) ** 0.1349) / 0.1975;
});

/** A sequence of draws that starts anew from any key. */
export class Draws {
  #key = 0;
  #count = 0;

  start(key: number): void {
    this.#key = key;
    this.#count = 0;
  }

  /** A double in [0, 1). */
  next(): number {
    this.#count += 1;
    return unit(mix(this.#key, this.#count));
  }

  /** A standard normal variate, one of 1,024. */
  normal(): number {
    return NORMALS[Math.floor(this.next() * 1024)];
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  /** A Poisson count by Knuth's product, for means of a few dozen at most. */
  poisson(mean: number): number {
    const limit = Math.exp(-mean);
    let product = this.next();
    let count = 0;
    while (product > limit) {
      product *= this.next();
      count += 1;
    }
    return count;
  }
}

const SHORTEST_MICROS = 500e3;
/** Half a second, quadrupled 8 times, is 9 hours. */
const LAYERS = 9;
/** Makes the standard deviation after one second about sigma. */
const AMPLITUDE = 1.6;

/**
 * A wandering line that looks like a random walk up to a day and stays near zero for ever: layers of smoothed noise,
 * each four times as long as the one before and twice as loud, as a random walk's are.
 */
export class Path {
  readonly #keys = new Int32Array(LAYERS);
  readonly #phases = new Float64Array(LAYERS);
  /** Per layer: the cell it was last asked in, the noise at its two ends; asking nearby again costs no hash. */
  readonly #cells = new Float64Array(3 * LAYERS).fill(-1);
  readonly #sigma: number;

  /** `sigma`: how far the line goes in a second, as one standard deviation. */
  constructor(key: number, sigma: number) {
    this.#sigma = sigma;
    for (let layer = 0; layer < LAYERS; layer += 1) {
      this.#keys[layer] = mix(key, layer + 1);
      // Shifted against each other, or all layers would stand still at the same moments.
      this.#phases[layer] = unit(mix(this.#keys[layer], 0));
    }
  }

  /** The line's height at a time in microseconds. */
  at(time: number): number {
    const cells = this.#cells;
    let period = SHORTEST_MICROS;
    let amplitude = this.#sigma * AMPLITUDE * Math.sqrt(SHORTEST_MICROS / 1e6);
    let height = 0;
    for (let layer = 0; layer < LAYERS; layer += 1) {
      const place = time / period + this.#phases[layer];
      const cell = Math.floor(place);
      const at = 3 * layer;
      if (cells[at] !== cell) {
        cells[at] = cell;
        cells[at + 1] = 2 * unit(mix(this.#keys[layer], cell)) - 1;
        cells[at + 2] = 2 * unit(mix(this.#keys[layer], cell + 1)) - 1;
      }
      const along = place - cell;
      const left = cells[at + 1];
      height += amplitude * (left + (cells[at + 2] - left) * along * along * (3 - 2 * along));
      period *= 4;
      amplitude *= 2;
    }
    return height;
  }
}
