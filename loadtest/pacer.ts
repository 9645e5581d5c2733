import { createHistogram } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { SystemClock } from "../src/std/clock.ts";

const BATCH_MICROS = 1000;
/** Longer waits are left to a timer: a blocked thread answers nobody. */
const LONGEST_BLOCK_MICROS = 2000;
/** What is late goes out in pieces, so that the sockets are served in between. */
const MOST_BATCHES_A_TURN = 20;
const LEAD_MICROS = 5000;

/** How far behind its schedule a source was, microseconds. */
export interface Lateness {
  p50: number;
  p99: number;
  max: number;
}

/** Sends so many events, all due at one moment, microseconds since 1970. Hot path. */
export type Emit = (count: number, dueMicros: number) => void;

/**
 * An open-loop schedule: batches are due at fixed times, a millisecond apart, whatever happened to those before. A
 * batch that is late is sent late, with the time at which it was due. Node's timers are a millisecond off, so the last
 * stretch to the next batch is slept through by the thread itself (some 60 us off), once a turn of the event loop.
 */
export class Pacer {
  readonly #emit: Emit;
  readonly #clock = new SystemClock();
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));
  readonly #late = createHistogram();
  #left = 0;
  #perBatch = 0;
  #owed = 0;
  #due = 0;
  #sent = 0;
  #finish: (() => void) | undefined;
  readonly #again = () => this.#turn();

  constructor(emit: Emit) {
    this.#emit = emit;
  }

  get running(): boolean {
    return this.#finish !== undefined;
  }

  /** Events sent since the start of the last run. */
  get sent(): number {
    return this.#sent;
  }

  get lateness(): Lateness {
    const { count, max } = this.#late;
    const at = (percentile: number) => (count === 0 ? 0 : this.#late.percentile(percentile));
    return { p50: at(50), p99: at(99), max: count === 0 ? 0 : max };
  }

  /** Sends `rate` events a second for so long; resolves to their number when the last has gone, or after `stop`. */
  async run(rate: number, seconds: number): Promise<number> {
    if (this.running) throw new Error("it is running already");
    this.#left = Math.max(1, Math.round(rate * seconds));
    this.#perBatch = (rate * BATCH_MICROS) / 1e6;
    this.#owed = 0;
    this.#sent = 0;
    this.#late.reset();
    this.#due = this.#clock.now() + LEAD_MICROS;
    await new Promise<void>((resolve) => {
      this.#finish = resolve;
      setImmediate(this.#again);
    });
    return this.#sent;
  }

  stop(): void {
    this.#left = 0;
  }

  #turn(): void {
    const wait = this.#due - this.#clock.now();
    if (this.#left > 0 && wait > LONGEST_BLOCK_MICROS) {
      void sleep(wait / 1000 - 1).then(this.#again);
      return;
    }
    if (this.#left > 0 && wait > 0) Atomics.wait(this.#cell, 0, 0, wait / 1000);
    const now = this.#clock.now();
    for (let batch = 0; batch < MOST_BATCHES_A_TURN && this.#left > 0 && this.#due <= now; batch += 1) {
      this.#batch(now);
    }
    if (this.#left > 0) {
      setImmediate(this.#again);
      return;
    }
    const finish = this.#finish;
    this.#finish = undefined;
    finish?.();
  }

  #batch(now: number): void {
    this.#owed += this.#perBatch;
    const count = Math.min(Math.floor(this.#owed + 1e-9), this.#left);
    if (count > 0) {
      this.#owed -= count;
      this.#left -= count;
      this.#sent += count;
      this.#emit(count, this.#due);
      this.#late.record(Math.max(1, Math.round(now - this.#due)));
    }
    this.#due += BATCH_MICROS;
  }
}
