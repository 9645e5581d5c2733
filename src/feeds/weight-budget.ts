/**
 * What a venue lets one address ask for, as a bucket that fills at an even rate: a burst up to its size, then as much as
 * flows in. Kept below the venue's own limit, because others may share the address and a breach is a ban.
 */
export class WeightBudget {
  readonly #size: number;
  readonly #perMs: number;
  #left: number;
  #filledAtMs = 0;
  #pausedUntilMs = 0;

  constructor(size: number, perMinute: number) {
    this.#size = size;
    this.#perMs = perMinute / 60_000;
    this.#left = size;
  }

  /** Takes a weight and returns 0, or takes nothing and returns after how many milliseconds to try again. */
  take(weight: number, nowMs: number): number {
    if (nowMs < this.#pausedUntilMs) return Math.ceil(this.#pausedUntilMs - nowMs);
    if (nowMs > this.#filledAtMs) {
      this.#left = Math.min(this.#size, this.#left + (nowMs - this.#filledAtMs) * this.#perMs);
      this.#filledAtMs = nowMs;
    }
    const needed = Math.min(weight, this.#size);
    if (this.#left < needed) return Math.max(1, Math.ceil((needed - this.#left) / this.#perMs));
    this.#left -= needed;
    return 0;
  }

  /** Nothing until then: the venue said so. */
  pause(untilMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, untilMs);
    this.#left = 0;
  }
}
