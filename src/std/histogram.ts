/** Buckets per doubling: a value is known to one part in 32. */
const SUB_BUCKET_BITS = 5;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
/** Below this every value has a bucket of its own. */
const EXACT = 2 * SUB_BUCKETS;
const LARGEST = 2 ** 31 - 1;
const BUCKETS = (31 - SUB_BUCKET_BITS + 1) * SUB_BUCKETS;

/**
 * Counts whole numbers from 0 to 2^31 - 1 in logarithmic buckets of linear parts, in one typed array: a record is a few
 * operations on small integers, where hdr-histogram-js takes some 85 ns. What was counted is handed on by `drain` to
 * whoever needs more than counts. Hot path.
 */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);

  /** Counts a value; what is out of range goes to the nearest end, NaN to 0. */
  record(value: number): void {
    this.#counts[bucketOf(value > 0 ? Math.min(value, LARGEST) | 0 : 0)] += 1;
  }

  /** Gives each bucket's least value and its count to `take`, in order, and forgets them. */
  drain(take: (value: number, count: number) => void): void {
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      const count = this.#counts[bucket] as number;
      if (count === 0) continue;
      this.#counts[bucket] = 0;
      take(leastOf(bucket), count);
    }
  }
}

function bucketOf(value: number): number {
  if (value < EXACT) return value;
  const shift = 31 - SUB_BUCKET_BITS - Math.clz32(value);
  return (shift << SUB_BUCKET_BITS) + (value >>> shift);
}

function leastOf(bucket: number): number {
  if (bucket < EXACT) return bucket;
  const shift = (bucket >>> SUB_BUCKET_BITS) - 1;
  return (SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1))) * 2 ** shift;
}
