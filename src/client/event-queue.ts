import type { Clock } from "../std/clock.ts";
import { TickwireError } from "./errors.ts";

/** How much an iteration may be behind. */
export interface QueueLimits {
  /** Events that wait at most; default 65,536. */
  maxEvents?: number;
  /** How long an event waits at most, milliseconds; default 60,000. */
  maxAgeMs?: number;
  /** `gap` (default): the oldest are dropped, and an event in their place says how many; `error`: the iteration fails. */
  overflow?: "gap" | "error";
}

/** Said in the place of events that were dropped because the program was too slow. */
export interface DroppedEvent {
  readonly type: "dropped";
  readonly count: number;
}

const MAX_EVENTS = 65_536;
const MAX_AGE_MS = 60_000;

/** Where an event stands in its stream. */
export interface Placed {
  readonly epoch: number;
  readonly stream: number;
  readonly position: number;
  readonly sequence: number;
}

interface Waiting<E> {
  event: E;
  at: number;
  place: Placed | undefined;
}

/** Events that wait for a program that iterates, bounded in count and in age. */
export class EventQueue<E> implements AsyncIterableIterator<E | DroppedEvent> {
  dropped = 0;
  readonly #clock: Clock;
  readonly #maxEvents: number;
  readonly #maxAgeMicros: number;
  readonly #overflow: "gap" | "error";
  readonly #onEnd: () => void;
  #waiting: Waiting<E>[] = [];
  /** The first of `#waiting` that still waits. */
  #first = 0;
  /** Dropped and not told yet. */
  #untold = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #error: TickwireError | undefined;

  constructor(clock: Clock, limits: QueueLimits, onEnd: () => void) {
    this.#clock = clock;
    this.#maxEvents = limits.maxEvents ?? MAX_EVENTS;
    this.#maxAgeMicros = (limits.maxAgeMs ?? MAX_AGE_MS) * 1000;
    this.#overflow = limits.overflow ?? "gap";
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#waiting.length - this.#first;
  }

  push(event: E, place: Placed | undefined): void {
    if (this.#ended) return;
    const at = this.#clock.now();
    while (this.size > 0 && (this.size >= this.#maxEvents || at - this.#oldest().at > this.#maxAgeMicros)) this.#drop();
    this.#waiting.push({ event, at, place });
    this.#wakeUp();
  }

  #oldest(): Waiting<E> {
    return this.#waiting[this.#first] as Waiting<E>;
  }

  #drop(): void {
    this.dropped += 1;
    this.#untold += 1;
    this.#shift();
    if (this.#overflow !== "error") return;
    this.fail(new TickwireError("queue_full", "the iteration was too slow: events were dropped"));
  }

  #shift(): Waiting<E> {
    const first = this.#oldest();
    this.#first += 1;
    if (this.#first > 1024 && 2 * this.#first > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    return first;
  }

  /** Where the events stand that the program has not taken yet. */
  *places(): IterableIterator<Placed> {
    for (let index = this.#first; index < this.#waiting.length; index += 1) {
      const { place } = this.#waiting[index] as Waiting<E>;
      if (place !== undefined) yield place;
    }
  }

  /** Nothing more comes: the iteration ends after what waits. */
  end(): void {
    this.#ended = true;
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  fail(error: TickwireError): void {
    this.#error ??= error;
    this.end();
  }

  async next(): Promise<IteratorResult<E | DroppedEvent, undefined>> {
    for (;;) {
      if (this.#error !== undefined && (this.#overflow === "error" || this.size === 0)) throw this.#error;
      if (this.#untold > 0) {
        const count = this.#untold;
        this.#untold = 0;
        return { done: false, value: { type: "dropped", count } };
      }
      if (this.size > 0) return { done: false, value: this.#shift().event };
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        const others = this.#wake;
        this.#wake = () => {
          others?.();
          resolve();
        };
      });
    }
  }

  async return(): Promise<IteratorResult<E | DroppedEvent, undefined>> {
    this.end();
    this.#waiting = [];
    this.#first = 0;
    this.#onEnd();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
