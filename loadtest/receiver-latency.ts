/** Latencies of a report, whole microseconds but for the mean; all 0 when nothing was recorded. */
export interface Latency {
  count: number;
  min: number;
  mean: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

/** Longer ones are counted as this long. */
export const LONGEST_US = 60_000_000;

/** Buckets of one width; each time the width doubles, half as many follow. */
const SUB_BUCKETS = 256;
const HALF = SUB_BUCKETS / 2;
const SUB_BUCKET_BITS = 8;

function bucketOf(micros: number): number {
  const shift = Math.max(0, 32 - Math.clz32(micros) - SUB_BUCKET_BITS);
  return shift * HALF + (micros >> shift);
}

/** The middle of a bucket; the bucket itself below 256 us, where it is one microsecond wide. */
function middleOf(bucket: number): number {
  if (bucket < SUB_BUCKETS) return bucket;
  const shift = (bucket >> (SUB_BUCKET_BITS - 1)) - 1;
  return ((bucket - shift * HALF) << shift) + ((1 << shift) >> 1);
}

/**
 * Log-linear histogram from 1 us to 60 s. A bucket is at most 1/128 of its values wide and reported by its middle, so
 * the error is at most 0.4 %; min and max are exact. The native receiver has the same buckets.
 */
export class LatencyHistogram {
  readonly #buckets = new Uint32Array(bucketOf(LONGEST_US) + 1);
  #count = 0;
  #sum = 0;
  #min = LONGEST_US;
  #max = 0;

  /** Records a latency in microseconds, clamped to 0 to 60 s. */
  add(micros: number): void {
    const value = micros <= 0 ? 0 : micros >= LONGEST_US ? LONGEST_US : Math.floor(micros);
    const bucket = bucketOf(value);
    this.#buckets[bucket] = (this.#buckets[bucket] as number) + 1;
    this.#count += 1;
    this.#sum += value;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }

  reset(): void {
    this.#buckets.fill(0);
    this.#count = 0;
    this.#sum = 0;
    this.#min = LONGEST_US;
    this.#max = 0;
  }

  summary(): Latency {
    const count = this.#count;
    return {
      count,
      min: count === 0 ? 0 : this.#min,
      mean: count === 0 ? 0 : Math.round((10 * this.#sum) / count) / 10,
      p50: this.#quantile(0.5),
      p90: this.#quantile(0.9),
      p99: this.#quantile(0.99),
      p999: this.#quantile(0.999),
      max: this.#max,
    };
  }

  #quantile(share: number): number {
    if (this.#count === 0) return 0;
    const rank = Math.ceil(share * this.#count);
    let seen = 0;
    for (let bucket = 0; bucket < this.#buckets.length; bucket += 1) {
      seen += this.#buckets[bucket] as number;
      if (seen >= rank) return Math.max(this.#min, Math.min(this.#max, middleOf(bucket)));
    }
    return this.#max;
  }
}
