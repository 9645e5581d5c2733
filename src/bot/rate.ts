/** Seconds that a rate looks back over. */
const WINDOW_SECONDS = 10;

/** How often something happens, over the last ten whole seconds. Fixed memory. Hot path: `count` allocates nothing. */
export class Rate {
  total = 0;
  readonly #counts = new Float64Array(WINDOW_SECONDS + 1);
  #second = -1;
  #first = -1;

  /** Counts one at a time, microseconds. */
  count(now: number): void {
    this.#move(now);
    this.total += 1;
    this.#counts[this.#second % this.#counts.length] += 1;
  }

  #move(now: number): void {
    const second = Math.floor(now / 1e6);
    if (this.#first < 0) this.#first = this.#second = second;
    const steps = Math.min(second - this.#second, this.#counts.length);
    for (let step = 1; step <= steps; step += 1) this.#counts[(second - steps + step) % this.#counts.length] = 0;
    this.#second = Math.max(this.#second, second);
  }

  /** A second, over the seconds that are over; 0 in the first one. */
  perSecond(now: number): number {
    if (this.#first < 0) return 0;
    this.#move(now);
    const seconds = Math.min(WINDOW_SECONDS, this.#second - this.#first);
    if (seconds === 0) return 0;
    let sum = 0;
    for (let back = 1; back <= seconds; back += 1) {
      sum += this.#counts[(this.#second - back) % this.#counts.length] as number;
    }
    return sum / seconds;
  }
}
