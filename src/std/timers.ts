/** What a timer is called by; only its own kind of `Timers` looks inside. */
export type TimerHandle = unknown;

/** Delays, passed in like the clock, so that a test can live through a day in a millisecond. */
export interface Timers {
  setTimeout(callback: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

export const systemTimers: Timers = {
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};
