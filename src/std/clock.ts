/**
 * Time, passed in everywhere, in whole microseconds since the Unix epoch. A `number` holds them exactly until the
 * year 2255, so no BigInt is needed. Nothing outside this file reads the machine's clock.
 */
export interface Clock {
  /** Microseconds since the Unix epoch, never going back. */
  now(): number;
}

/** The machine's clock: wall time at start, advanced by the monotonic clock, so that a step of NTP never runs it back. */
export class SystemClock implements Clock {
  readonly #originMicros = Math.round(performance.timeOrigin * 1000);

  now(): number {
    return this.#originMicros + Math.floor(performance.now() * 1000);
  }
}

/** A clock that moves only when told to: for tests, and for a recording, whose frames carry their own times. */
export class ManualClock implements Clock {
  #micros: number;

  constructor(micros = 0) {
    this.#micros = micros;
  }

  now(): number {
    return this.#micros;
  }

  /** Sets the time; an earlier one is ignored, because a clock never goes back. */
  set(micros: number): void {
    if (micros > this.#micros) this.#micros = micros;
  }

  advance(micros: number): void {
    this.set(this.#micros + micros);
  }
}
