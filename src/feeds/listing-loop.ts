import { Backoff } from "../std/backoff.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { FeedLog } from "./feed.ts";

/** New pairs appear some times a week, and a halt shows in the list only. */
const RELOAD_MS = 60 * 60 * 1000;
const BACKOFF = { baseMs: 1_000, maxMs: 60_000, healthyAfterMs: 0 };

export interface ListingLoopOptions {
  venue: string;
  load: () => Promise<void>;
  timers: Timers;
  random: () => number;
  log: FeedLog;
}

/** Loads the venue's list of instruments, again and again until it comes, then once an hour. */
export class ListingLoop {
  readonly #options: ListingLoopOptions;
  readonly #backoff: Backoff;
  #timer: TimerHandle;
  #stopped = false;
  #loaded!: () => void;
  /** Resolves at the first list, or on stop. */
  readonly loaded = new Promise<void>((resolve) => {
    this.#loaded = resolve;
  });

  constructor(options: ListingLoopOptions) {
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
  }

  async run(): Promise<void> {
    let delayMs = RELOAD_MS;
    try {
      await this.#options.load();
      this.#backoff.wasGoodFor(BACKOFF.healthyAfterMs);
      this.#loaded();
    } catch (error) {
      delayMs = this.#backoff.next();
      if (this.#stopped) return;
      this.#options.log.warn({ venue: this.#options.venue, reason: String(error) }, "instruments not loaded");
    }
    if (!this.#stopped) this.#timer = this.#options.timers.setTimeout(() => void this.run(), delayMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.timers.clearTimeout(this.#timer);
    this.#loaded();
  }
}
