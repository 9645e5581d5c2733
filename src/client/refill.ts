import { Memory } from "../wire/memory.ts";

/** Frames of one stream that wait while a hole before them is being filled. */
const MAX_WAITING = 4096;

/** A hole in a stream: what is missing is fetched, and what comes meanwhile waits. */
export class Refill {
  /** The last sequence that is missing. */
  readonly until: number;
  /** Some of it is not to be had. */
  isLossy = false;
  readonly #waiting: Memory[] = [];

  constructor(until: number) {
    this.until = until;
  }

  /** Keeps a copy of a frame for later; false when no more can wait. */
  keep(memory: Memory, length: number): boolean {
    if (this.#waiting.length >= MAX_WAITING) return false;
    this.#waiting.push(new Memory(memory.u8.slice(0, (length + 7) & ~7).buffer));
    return true;
  }

  /** What waited, in order; nothing does after it. */
  take(): Memory[] {
    return this.#waiting.splice(0);
  }
}
