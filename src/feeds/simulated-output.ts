import type { Sink } from "../market/sink.ts";
import type { FeedCounters } from "./feed.ts";

/** Where a simulated venue's messages go: nowhere while its connection is down. */
export class SimulatedOutput {
  readonly sink: Sink;
  muted = false;
  readonly #venue: number;
  readonly #counters: FeedCounters;

  constructor(sink: Sink, venue: number, counters: FeedCounters) {
    this.sink = sink;
    this.#venue = venue;
    this.#counters = counters;
  }

  /** Opens a message; false when it cannot be sent. */
  begin(): boolean {
    if (this.muted) return false;
    this.#counters.messages += 1;
    this.sink.begin(this.#venue);
    return true;
  }
}
