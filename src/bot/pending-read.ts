import { systemTimers, type Timers } from "../std/timers.ts";

/**
 * A read that is under way for whoever waits next. Who gives up leaves it there, and what it brings is kept for the
 * next one, so that a wait can be cut short where the read itself cannot, and nothing is lost by it. One waits at a time.
 */
export class PendingRead<T> {
  readonly #read: () => Promise<T>;
  #pending: Promise<T> | undefined;

  constructor(read: () => Promise<T>) {
    this.#read = read;
  }

  get isUnderWay(): boolean {
    return this.#pending !== undefined;
  }

  /** What the read brings; undefined when `signal` or `giveUp` comes first. Rejects as the read does. */
  async take(signal?: AbortSignal, giveUp?: Promise<unknown>): Promise<T | undefined> {
    if (signal?.aborted) return undefined;
    this.#pending ??= this.#read();
    const pending = this.#pending;
    // Nobody may be waiting any more when it fails; whoever takes next is told.
    pending.catch(ignore);
    const taken = pending.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    const outcome = await firstOf(taken, signal, giveUp);
    if (outcome === undefined) return undefined;
    this.#pending = undefined;
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }
}

/** What `promise` resolves to; undefined when `signal` is aborted or `giveUp` settles first. */
export async function firstOf<T>(
  promise: Promise<T>,
  signal?: AbortSignal,
  giveUp?: Promise<unknown>,
): Promise<T | undefined> {
  if (signal?.aborted) {
    promise.catch(ignore);
    return undefined;
  }
  let onAbort: () => void = ignore;
  const aborted = new Promise<undefined>((resolve) => {
    onAbort = () => resolve(undefined);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  try {
    const given = giveUp?.then(ignore, ignore) as Promise<undefined> | undefined;
    return await Promise.race(given === undefined ? [promise, aborted] : [promise, aborted, given]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Waits for so many milliseconds, or until the signal is aborted. */
export async function pause(delayMs: number, signal?: AbortSignal, timers: Timers = systemTimers): Promise<void> {
  let handle: unknown;
  const elapsed = new Promise<void>((resolve) => {
    handle = timers.setTimeout(resolve, delayMs);
  });
  await firstOf(elapsed, signal);
  timers.clearTimeout(handle);
}

function ignore(): void {}
