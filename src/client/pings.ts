import type { Clock } from "../std/clock.ts";
import type { LagMeter } from "./lag.ts";

/** Questions to the server whose way there and back tells the clocks apart. */
export class Pings {
  readonly #clock: Clock;
  readonly #lag: LagMeter;
  /** When each was asked, by its id. */
  readonly #asked = new Map<number, number>();

  constructor(clock: Clock, lag: LagMeter) {
    this.#clock = clock;
    this.#lag = lag;
  }

  ask(id: number): object {
    this.#asked.set(id, this.#clock.now());
    return { type: "ping", id };
  }

  answered(id: number, serverTime: number): void {
    const askedAt = this.#asked.get(id);
    if (askedAt !== undefined) this.#lag.answered(askedAt, this.#clock.now(), serverTime);
    this.#asked.delete(id);
  }

  /** The connection is gone: no answer comes any more. */
  forget(): void {
    this.#asked.clear();
  }
}
