import type { Clock } from "../std/clock.ts";

/** First and longest delay between two attempts for one book, and how long a book must hold to start over. */
const BASE_MICROS = 250e3;
const MAX_MICROS = 30e6;
const HEALTHY_MICROS = 60e6;
/** An answer that does not come is asked for again after this. */
const ANSWER_MICROS = 15e6;

interface Attempt {
  /** Attempts since the book last held for a minute. */
  count: number;
  /** When to ask (again), microseconds; Infinity when nothing is due. */
  dueAt: number;
  waiting: boolean;
  liveSince: number;
}

/**
 * When to ask for a book: at once the first time, then with growing delays, one request in flight per book. What is
 * due is asked for by `tick`.
 */
export class BookRecovery {
  readonly #ask: (instrument: number) => void;
  readonly #attempts = new Map<number, Attempt>();
  readonly #clock: Clock;
  requests = 0;

  constructor(ask: (instrument: number) => void, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /** The book is needed: asked for at once, or after the delay that earlier attempts have earned. */
  now(instrument: number): void {
    const attempt = this.#of(instrument);
    if (attempt.waiting) return;
    if (this.#clock.now() - attempt.liveSince > HEALTHY_MICROS) attempt.count = 0;
    if (attempt.count === 0) this.#start(instrument, attempt);
    else attempt.dueAt = this.#clock.now() + delay(attempt.count);
  }

  /** The request was refused, or what came was of no use. */
  failed(instrument: number): void {
    const attempt = this.#of(instrument);
    attempt.waiting = false;
    attempt.dueAt = this.#clock.now() + delay(Math.max(1, attempt.count));
  }

  succeeded(instrument: number): void {
    const attempt = this.#of(instrument);
    attempt.waiting = false;
    attempt.dueAt = Number.POSITIVE_INFINITY;
    attempt.liveSince = this.#clock.now();
  }

  forget(instrument: number): void {
    this.#attempts.delete(instrument);
  }

  /** Asks for what is due. */
  tick(now: number): void {
    for (const [instrument, attempt] of this.#attempts) if (attempt.dueAt <= now) this.#start(instrument, attempt);
  }

  #start(instrument: number, attempt: Attempt): void {
    attempt.count += 1;
    attempt.waiting = true;
    attempt.dueAt = this.#clock.now() + ANSWER_MICROS;
    this.requests += 1;
    this.#ask(instrument);
  }

  #of(instrument: number): Attempt {
    let attempt = this.#attempts.get(instrument);
    if (attempt === undefined) {
      attempt = { count: 0, dueAt: Number.POSITIVE_INFINITY, waiting: false, liveSince: Number.NEGATIVE_INFINITY };
      this.#attempts.set(instrument, attempt);
    }
    return attempt;
  }
}

function delay(attempts: number): number {
  return Math.min(MAX_MICROS, BASE_MICROS * 2 ** Math.min(20, attempts - 1));
}
