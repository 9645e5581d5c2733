import type { Instrument } from "../market/instrument.ts";
import type { UpstreamChannel } from "./demand.ts";

/** Channels opened in one turn of the event loop: some 2 ms. */
const OPENED_PER_TURN = 16;

export interface OpeningOptions {
  open(instrument: Instrument, channel: UpstreamChannel): void;
  close(instrument: Instrument, channel: UpstreamChannel): void;
  /** Runs an action in a later turn of the event loop. */
  later(action: () => void): void;
}

/**
 * Spreads what is opened over turns of the event loop: one request may name a thousand instruments, and every client
 * would wait the fraction of a second that opening them takes. The first of a turn are opened at once, the rest in order.
 */
export class Opening {
  readonly #options: OpeningOptions;
  /** By instrument and channel, in the order in which they were asked for. */
  readonly #waiting = new Map<string, () => void>();
  #left = OPENED_PER_TURN;
  #planned = false;
  #stopped = false;

  constructor(options: OpeningOptions) {
    this.#options = options;
  }

  /** Channels that are still to be opened. */
  get size(): number {
    return this.#waiting.size;
  }

  open(instrument: Instrument, channel: UpstreamChannel): void {
    if (this.#stopped) return;
    this.#waiting.set(keyOf(instrument, channel), () => this.#options.open(instrument, channel));
    this.#openSome();
  }

  /** Closes a channel, or takes back that it is to be opened. */
  close(instrument: Instrument, channel: UpstreamChannel): void {
    if (!this.#waiting.delete(keyOf(instrument, channel))) this.#options.close(instrument, channel);
  }

  #openSome(): void {
    for (const [key, open] of this.#waiting) {
      if (this.#left === 0) break;
      this.#left -= 1;
      this.#waiting.delete(key);
      open();
    }
    if (this.#planned) return;
    this.#planned = true;
    this.#options.later(() => {
      this.#planned = false;
      this.#left = OPENED_PER_TURN;
      if (this.#waiting.size > 0) this.#openSome();
    });
  }

  /** Opens nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#waiting.clear();
  }
}

function keyOf(instrument: Instrument, channel: UpstreamChannel): string {
  return `${instrument.id} ${channel}`;
}
