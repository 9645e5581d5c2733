import type { Clock } from "../std/clock.ts";
import { ManualClock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";

/** A step of more than this is not lived through: timers move along with it. */
const LONGEST_STEP_MICROS = 3600e6;

interface Pending {
  at: number;
  callback: () => void;
}

/**
 * The time of a recording: a clock that its frames move, and timers that fire by it, in order and between the frames
 * they fall between. What runs by it does the same at any speed.
 */
export class RecordedTime implements Clock, Timers {
  readonly #clock = new ManualClock();
  readonly #pending = new Map<number, Pending>();
  #lastHandle = 0;

  constructor(micros = 0) {
    this.#clock.set(micros);
  }

  now(): number {
    return this.#clock.now();
  }

  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    this.#lastHandle += 1;
    this.#pending.set(this.#lastHandle, { at: this.now() + delayMs * 1000, callback });
    return this.#lastHandle;
  }

  clearTimeout(handle: TimerHandle): void {
    this.#pending.delete(handle as number);
  }

  /** Goes to a time; timers that fall due on the way fire at their own. */
  advance(to: number): void {
    const step = to - this.now();
    if (step > LONGEST_STEP_MICROS) {
      for (const pending of this.#pending.values()) pending.at += step;
      this.#clock.set(to);
      return;
    }
    for (let due = this.#nextDue(to); due !== 0; due = this.#nextDue(to)) {
      const { at, callback } = this.#pending.get(due) as Pending;
      this.#pending.delete(due);
      this.#clock.set(at);
      callback();
    }
    this.#clock.set(to);
  }

  /** The timer that is due first, of two at once the older; 0 when none is. */
  #nextDue(to: number): number {
    let next = 0;
    let nextAt = to;
    for (const [handle, { at }] of this.#pending) {
      if (at > nextAt || (at === nextAt && next !== 0)) continue;
      next = handle;
      nextAt = at;
    }
    return next;
  }
}
