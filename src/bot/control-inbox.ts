import type { Timers } from "../std/timers.ts";
import { stopOrderOf } from "./command-contract.ts";
import type { ControlChannel, ControlMessage } from "./control.ts";
import { BotError } from "./errors.ts";
import { pause } from "./pending-read.ts";

/** Messages that wait for the bot: while it is busy with a tick no more are taken from the channel. */
const MAX_WAITING = 64;
/** A channel that answers with nothing is asked again after so many milliseconds, */
const IDLE_MS = 50;
/** and one that fails after so many. */
const FAILED_MS = 1000;

export interface InboxEvents {
  /** A message has come. */
  onArrival(): void;
  /** A message that stops the bot has come: what is running has from now on so long. */
  onStopMessage(timeoutMs: number | undefined): void;
  /** A message could not be had or read. */
  onError(error: unknown): void;
}

/** Takes messages from a channel all the time, so that a stop is heard also while the bot waits, or hangs. */
export class ControlInbox {
  readonly #channel: ControlChannel;
  readonly #timers: Timers;
  readonly #events: InboxEvents;
  readonly #messages: ControlMessage[] = [];
  readonly #stopping = new AbortController();
  #roomAgain: () => void = () => {};

  constructor(channel: ControlChannel, timers: Timers, events: InboxEvents) {
    this.#channel = channel;
    this.#timers = timers;
    this.#events = events;
  }

  /** Messages that wait. */
  get size(): number {
    return this.#messages.length;
  }

  /** Begins to take; resolves when the inbox is stopped, or has taken a message that stops the bot. */
  async run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const message = await this.#receive(signal);
      if (message === undefined) continue;
      this.#messages.push(message);
      const stop = stopOrderOf(message);
      if (stop !== undefined) this.#events.onStopMessage(stop.timeoutMs);
      this.#events.onArrival();
      // What was sent after a stop is not for this run.
      if (stop !== undefined) return;
      while (this.#messages.length >= MAX_WAITING && !signal.aborted) await this.#room();
    }
  }

  async #receive(signal: AbortSignal): Promise<ControlMessage | undefined> {
    try {
      const message = await this.#channel.receive({ signal });
      if (message === undefined) await pause(IDLE_MS, signal, this.#timers);
      return message;
    } catch (error) {
      if (signal.aborted) return undefined;
      this.#events.onError(error);
      // The channel is well, and the next message may be good.
      if (error instanceof BotError && error.code === "bad_message") return undefined;
      await pause(FAILED_MS, signal, this.#timers);
      return undefined;
    }
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#roomAgain = resolve;
    });
  }

  /** The next message; undefined when none waits. */
  take(): ControlMessage | undefined {
    const message = this.#messages.shift();
    if (message !== undefined) this.#roomAgain();
    return message;
  }

  /** Ends the taking and forgets what waits. */
  stop(): void {
    this.#stopping.abort();
    this.#messages.length = 0;
    this.#roomAgain();
  }
}
