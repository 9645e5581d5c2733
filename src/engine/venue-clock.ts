import { assert } from "../std/assert.ts";

const HOUR_MICROS = 3_600e6;
const DAY_MICROS = 86_400e6;

/** Indices into the times that `observe` takes and gives. */
export const NOW = 0;
/** In: the venue's time of a message, 0 when it has none. Out: the credible time of the event. */
export const EVENT = 1;

/**
 * A venue's clock: its latest credible time, advanced by the local time elapsed since. Bars close by it, never by the
 * wall clock, so that a recording of 2024 makes the same bars at any speed.
 *
 * A step of more than an hour forward or a day back is believed only once a second message agrees; until then the
 * event gets the clock's own time, and is counted. Hot path: times travel in a typed array.
 */
export class VenueClock {
  /** [latest venue time, local time when it came, the step that waits for a second message] */
  readonly #state = new Float64Array(3);
  /** Messages whose time was not believed. */
  wild = 0;
  /** Steps that a second message confirmed. */
  steps = 0;
  /** True while the last observed time was not believed. */
  doubtful = false;

  get known(): boolean {
    return this.#state[0] !== 0;
  }

  /** The venue's time now, microseconds; 0 before any credible time. */
  at(times: Float64Array): number {
    const state = this.#state;
    return state[0] === 0 ? 0 : state[0] + (times[NOW] - state[1]);
  }

  /**
   * Takes a message's time in `times[EVENT]` and replaces it by the credible one: itself, or the clock's when it has
   * none or is not believed, or 0 when nothing credible is known yet. Returns true when the clock went back.
   */
  observe(times: Float64Array): boolean {
    const state = this.#state;
    const time = times[EVENT];
    const expected = state[0] === 0 ? times[NOW] : state[0] + (times[NOW] - state[1]);
    this.doubtful = false;
    if (time === 0) {
      times[EVENT] = state[0] === 0 ? 0 : expected;
      return false;
    }
    if (time <= expected + HOUR_MICROS && time >= expected - DAY_MICROS) {
      state[2] = 0;
      if (time > state[0]) {
        state[0] = time;
        state[1] = times[NOW];
      }
      return false;
    }
    return this.#doubt(times, expected);
  }

  #doubt(times: Float64Array, expected: number): boolean {
    const state = this.#state;
    const time = times[EVENT];
    const waiting = state[2];
    if (waiting !== 0 && time <= waiting + HOUR_MICROS && time >= waiting - DAY_MICROS) {
      const wentBack = state[0] !== 0 && time < state[0];
      state[0] = time;
      state[1] = times[NOW];
      state[2] = 0;
      this.steps += 1;
      return wentBack;
    }
    state[2] = time;
    this.wild += 1;
    this.doubtful = true;
    times[EVENT] = state[0] === 0 ? 0 : expected;
    assert(times[EVENT] >= 0, "the clock runs after 1970");
    return false;
  }
}
