/** Allows so many events a second on average, and so many at once. Times are microseconds. */
export class TokenBucket {
  #tokens: number;
  #at = 0;

  /** Full at first. */
  constructor(burst: number) {
    this.#tokens = burst;
  }

  /** Takes one; false when there is none. The limits are the caller's: thousands of buckets share them. */
  take(now: number, perSecond: number, burst: number): boolean {
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) * perSecond) / 1e6);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
