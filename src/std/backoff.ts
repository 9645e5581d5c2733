export interface BackoffOptions {
  /** First delay, milliseconds. */
  baseMs: number;
  /** No delay is longer than this, milliseconds. */
  maxMs: number;
  /** How long a connection must have been good before the delays start from the base again, milliseconds. */
  healthyAfterMs: number;
}

/**
 * Exponential backoff with full jitter, without a limit of attempts: the delay is drawn evenly from the upper half of
 * [0, base * 2^attempt], so that a thousand clients that lost one venue together do not come back together.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #attempts = 0;

  constructor(options: BackoffOptions, random: () => number) {
    this.#options = options;
    this.#random = random;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** The next delay, milliseconds. */
  next(): number {
    const ceiling = Math.min(this.#options.maxMs, this.#options.baseMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    return ceiling / 2 + (ceiling / 2) * this.#random();
  }

  /** Tells how long the last connection was good; long enough and the delays start from the base again. */
  wasGoodFor(ms: number): void {
    if (ms >= this.#options.healthyAfterMs) this.#attempts = 0;
  }
}
