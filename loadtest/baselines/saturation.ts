import type { Calls } from "../child.ts";

/** Events made between two looks at the queues. */
export const EVENTS_PER_TURN = 64;
/** No event is made while a client's queue is longer, so the server goes as fast as its clients and no faster. */
const QUEUE_LIMIT_BYTES = 256 * 1024;
/** Sockets empty their queues while the loop waits; a loop that never waits would be a busy core, not a busy server. */
const PAUSE_MS = 1;

/** A server that makes its own load, as much as its clients take. */
export class Saturation {
  readonly #makeTurn: () => void;
  readonly #longestQueue: () => number;
  #running = false;
  #turns = 0;
  readonly #again = () => this.#turn();

  /** `makeTurn` publishes EVENTS_PER_TURN events; `longestQueue` is asked in another turn, when bytes are queued. */
  constructor(makeTurn: () => void, longestQueue: () => number) {
    this.#makeTurn = makeTurn;
    this.#longestQueue = longestQueue;
  }

  /** start; stop, which answers how many events were published since. */
  get calls(): Calls {
    return {
      start: () => {
        this.#turns = 0;
        this.#running = true;
        setImmediate(this.#again);
      },
      stop: () => {
        this.#running = false;
        return this.#turns * EVENTS_PER_TURN;
      },
    };
  }

  #turn(): void {
    if (!this.#running) return;
    if (this.#longestQueue() > QUEUE_LIMIT_BYTES) {
      setTimeout(this.#again, PAUSE_MS);
      return;
    }
    this.#makeTurn();
    this.#turns += 1;
    setImmediate(this.#again);
  }
}
