import type { Clock } from "../std/clock.ts";
import type { FeedLog } from "./feed.ts";

const INTERVAL_MICROS = 10_000_000;
const EXCERPT_LENGTH = 200;

/** Logs what may come a thousand times a second at most once in ten seconds, with how many were left out. */
export class LimitedLog {
  readonly #log: FeedLog;
  readonly #clock: Clock;
  readonly #message: string;
  #nextMicros = 0;
  #suppressed = 0;

  constructor(log: FeedLog, clock: Clock, message: string) {
    this.#log = log;
    this.#clock = clock;
    this.#message = message;
  }

  warn(venue: string, text: string): void {
    const now = this.#clock.now();
    if (now < this.#nextMicros) {
      this.#suppressed += 1;
      return;
    }
    this.#nextMicros = now + INTERVAL_MICROS;
    this.#log.warn({ venue, text: text.slice(0, EXCERPT_LENGTH), suppressed: this.#suppressed }, this.#message);
    this.#suppressed = 0;
  }
}
