import { systemTimers, type Timers } from "../std/timers.ts";
import { BotError } from "./errors.ts";
import { firstOf, pause } from "./pending-read.ts";

/** What a bot is told from outside. `stop` and `bot.stop`, in any case, end it; everything else is for the bot. */
export interface ControlMessage {
  readonly type: string;
  /** Of a stop: what `onStop` is given; `stop-command` when there is none. */
  readonly reason?: string;
  readonly [field: string]: unknown;
}

export interface ReceiveOptions {
  /** How long to wait for a message, milliseconds; 0 takes only what is there; as long as it takes when not given. */
  timeoutMs?: number | undefined;
  /** Ends the wait: resolves to undefined. */
  signal?: AbortSignal | undefined;
}

/** Where control messages come from, one at a time, in order; rejects with `bad_message` for one that cannot be read. */
export interface ControlChannel {
  receive(options?: ReceiveOptions): Promise<ControlMessage | undefined>;
}

/** A channel on which nothing ever comes. */
export class NullControlChannel implements ControlChannel {
  readonly #timers: Timers;

  constructor(timers: Timers = systemTimers) {
    this.#timers = timers;
  }

  async receive({ timeoutMs, signal }: ReceiveOptions = {}): Promise<undefined> {
    if (timeoutMs === 0) return;
    if (timeoutMs !== undefined) await pause(timeoutMs, signal, this.#timers);
    else await firstOf(new Promise(() => {}), signal);
  }
}

const MAX_WAITING = 10_000;

/** A channel that a program or a test feeds. */
export class QueueControlChannel implements ControlChannel {
  readonly #timers: Timers;
  readonly #messages: ControlMessage[] = [];
  #wake: () => void = () => {};
  #woken = this.#nextWake();

  constructor(timers: Timers = systemTimers) {
    this.#timers = timers;
  }

  get size(): number {
    return this.#messages.length;
  }

  /** Appends a message; throws `queue_full` when 10,000 wait. */
  put(message: ControlMessage): void {
    if (this.#messages.length >= MAX_WAITING) {
      throw new BotError("queue_full", `${MAX_WAITING} control messages wait already`);
    }
    this.#messages.push(message);
    this.#wake();
  }

  async receive({ timeoutMs, signal }: ReceiveOptions = {}): Promise<ControlMessage | undefined> {
    if (signal?.aborted) return undefined;
    if (this.#messages.length === 0 && timeoutMs !== 0) {
      if (timeoutMs === undefined) await firstOf(this.#woken, signal);
      else await this.#waitFor(timeoutMs, signal);
    }
    return signal?.aborted ? undefined : this.#messages.shift();
  }

  async #waitFor(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const over = new AbortController();
    const elapsed = pause(timeoutMs, over.signal, this.#timers);
    await firstOf(this.#woken, signal, elapsed);
    over.abort();
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        resolve();
        this.#woken = this.#nextWake();
      };
    });
  }
}
