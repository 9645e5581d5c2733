import type { TimerHandle, Timers } from "../std/timers.ts";

/** A program that has asked for nothing for so long has asked for all that it wants, milliseconds. */
const BEGIN_MS = 50;

/**
 * Begins what is replayed once all that a program asks for in a row was answered, so that nothing of it is missed: the
 * journal's time stands until then.
 */
export class JournalStart {
  readonly #timers: Timers;
  readonly #hasAsked: () => boolean;
  #play: (() => void) | undefined;
  /** Requests that have not been answered. */
  #pending = 0;
  #timer: TimerHandle;

  /** `play` begins it; nothing is replayed without one. `hasAsked`: true once something is subscribed. */
  constructor(play: (() => void) | undefined, timers: Timers, hasAsked: () => boolean) {
    this.#play = play;
    this.#timers = timers;
    this.#hasAsked = hasAsked;
  }

  /** Hands an answer on that is waited for. */
  async asked<T>(answer: Promise<T>): Promise<T> {
    this.#pending += 1;
    try {
      return await answer;
    } finally {
      this.#pending -= 1;
      if (this.#play !== undefined) {
        this.#timers.clearTimeout(this.#timer);
        this.#timer = this.#timers.setTimeout(() => this.#begin(), BEGIN_MS);
      }
    }
  }

  #begin(): void {
    if (this.#pending > 0 || !this.#hasAsked()) return;
    this.#play?.();
    this.#play = undefined;
  }
}
