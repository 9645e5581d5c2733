import { Backoff } from "../std/backoff.ts";
import type { TickwireError } from "./errors.ts";
import type { ReconnectOptions } from "./options.ts";

const BASE_MS = 200;
const MAX_MS = 10_000;
/** A connection that stood for so long makes the delays begin anew. */
const HEALTHY_MS = 5_000;

/** What is done after a connection was lost: the delay until the next one, or the end. */
export type Next = { delayMs: number } | { error: TickwireError } | { exhausted: number };

/**
 * Which server is connected to next, and when: all addresses in turn, then a delay that grows with each round. It is
 * over when every server of a round has refused, or after so many rounds as are allowed.
 */
export class Addresses {
  readonly #urls: readonly URL[];
  readonly #attempts: number;
  readonly #backoff: Backoff;
  #index = 0;
  /** Addresses of this round that were tried in vain, and how many of them refused. */
  #tried = 0;
  #refused = 0;
  #rounds = 0;
  /** The delay that a server asked for, milliseconds; 0 none. */
  #askedMs = 0;

  constructor(urls: readonly URL[], reconnect: ReconnectOptions, random: () => number) {
    this.#urls = urls;
    const { baseMs = BASE_MS, maxMs = MAX_MS, attempts = Number.POSITIVE_INFINITY } = reconnect;
    this.#attempts = attempts;
    this.#backoff = new Backoff({ baseMs, maxMs, healthyAfterMs: HEALTHY_MS }, random);
  }

  get url(): URL {
    return this.#urls[this.#index] as URL;
  }

  /** The server asks not to be come back to before so long, milliseconds. */
  askedToWait(ms: number): void {
    if (ms > 0) this.#askedMs = ms;
  }

  /** A connection that stood for `goodMs` was lost; `refusal` when the server does not want this client back. */
  lost(goodMs: number, refusal: TickwireError | undefined): Next {
    this.#backoff.wasGoodFor(goodMs);
    this.#rounds = 0;
    // A server that greets and hangs up is no better than one that is not there.
    if (goodMs < HEALTHY_MS) return this.#next(refusal, 1, 0);
    this.#tried = 0;
    this.#refused = 0;
    return this.#next(refusal, refusal === undefined ? 0 : 1, 0);
  }

  /** A connection could not be made. */
  failed(refusal: TickwireError | undefined): Next {
    return this.#next(refusal, 1, 1);
  }

  /** Counts an address as tried, and a round that ends with it as one that was in vain, or not. */
  #next(refusal: TickwireError | undefined, tried: number, inVain: number): Next {
    const count = this.#urls.length;
    const asked = this.#askedMs;
    this.#askedMs = 0;
    this.#index = (this.#index + 1) % count;
    this.#tried += tried;
    if (refusal !== undefined) this.#refused += 1;
    if (this.#tried < count && count > 1) return { delayMs: 0 };
    if (this.#tried >= count) {
      if (refusal !== undefined && this.#refused >= count) return { error: refusal };
      this.#tried = 0;
      this.#refused = 0;
      this.#rounds += inVain;
      if (this.#rounds >= this.#attempts) return { exhausted: this.#rounds };
    }
    return { delayMs: asked > 0 ? asked : this.#backoff.next() };
  }
}
