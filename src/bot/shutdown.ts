import { setImmediate as endOfTurn } from "node:timers/promises";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { StopReason } from "./bot-base.ts";
import type { Logger } from "./context.ts";
import { firstOf } from "./pending-read.ts";

/**
 * When and why a bot stops, and how long for: what is running has so many milliseconds from the moment of the stop, what
 * is called after it has as many again. Who is not done by then is not waited for.
 */
export class Shutdown {
  readonly #timers: Timers;
  readonly #log: Logger;
  readonly #stopping = new AbortController();
  readonly #overdue = new AbortController();
  #graceMs: number;
  #timer: TimerHandle | undefined;
  #reason: StopReason | undefined;
  #isForced = false;

  constructor(graceMs: number, timers: Timers, log: Logger) {
    this.#graceMs = graceMs;
    this.#timers = timers;
    this.#log = log;
  }

  /** Aborted when the bot is to stop. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Aborted when what is running has had its time. */
  get overdue(): AbortSignal {
    return this.#overdue.signal;
  }

  get reason(): StopReason | undefined {
    return this.#reason;
  }

  /** Something was not waited for. */
  get isForced(): boolean {
    return this.#isForced;
  }

  /** Begins the stop; the first reason counts. */
  request(reason: StopReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#stopping.abort();
    this.hurry(undefined);
  }

  /** From now on what is running has its last milliseconds, the usual ones unless said; the first call counts. */
  hurry(graceMs: number | undefined): void {
    if (this.#timer !== undefined) return;
    if (graceMs !== undefined) this.#graceMs = graceMs;
    this.#timer = this.#timers.setTimeout(() => this.#overdue.abort(), this.#graceMs);
  }

  /** Waits for something that is running, but no longer than until it is overdue. */
  async finish(work: Promise<unknown>): Promise<void> {
    const done = work.then(() => true);
    if (await firstOf(done, this.overdue)) return;
    // What is done by now counts as done, also when the time is over.
    if (await Promise.race([done, endOfTurn(false)])) return;
    this.#force();
  }

  /** Waits for the last thing that is called, which has a time of its own. */
  async finishLast(work: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    const timer = this.#timers.setTimeout(() => over.abort(), this.#graceMs);
    const done = work.then(() => true);
    const isDone = await firstOf(done, over.signal);
    this.#timers.clearTimeout(timer);
    if (!isDone) this.#force();
  }

  #force(): void {
    this.#isForced = true;
    this.#log.warn({ grace_ms: this.#graceMs }, "bot_forced_stop");
  }

  /** Leaves no timer behind. */
  close(): void {
    this.#timers.clearTimeout(this.#timer);
  }
}
