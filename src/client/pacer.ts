import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import { TokenBucket } from "../std/token-bucket.ts";

/**
 * A server reads 200 messages of a connection at once and 50 a second: what comes above that it refuses without reading
 * it, so that nobody can say which request it was. A client stays a little below.
 */
const BURST = 180;
const PER_SECOND = 45;
const LOOK_MS = 25;

/** What a connection sends, in order, and no faster than the server reads. */
export class Pacer {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #send: (message: object) => void;
  readonly #bucket = new TokenBucket(BURST);
  readonly #waiting: object[] = [];
  #timer: TimerHandle;

  constructor(clock: Clock, timers: Timers, send: (message: object) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#send = send;
  }

  send(message: object): void {
    this.#waiting.push(message);
    if (this.#waiting.length === 1) this.#flush();
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#bucket.take(this.#clock.now(), PER_SECOND, BURST))
      this.#send(this.#waiting.shift() as object);
    if (this.#waiting.length > 0) this.#timer = this.#timers.setTimeout(() => this.#flush(), LOOK_MS);
  }

  /** The connection is gone, and with it what waits. */
  end(): void {
    this.#timers.clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }
}
