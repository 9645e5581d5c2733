/** What goes wrong at a simulated venue, and how often; 0 or nothing is never. */
export interface SimulatedFaults {
  /** One instrument in turn loses a change of its book and a trade on the way. */
  gapEveryMs?: number;
  /** The venue stands still, its connection stays up. */
  silenceEveryMs?: number;
  silenceMs?: number;
  /** The connection is lost; what happens meanwhile is not seen. */
  disconnectEveryMs?: number;
  disconnectMs?: number;
}

export const NO_FAULTS: Required<SimulatedFaults> = Object.freeze({
  gapEveryMs: 0,
  silenceEveryMs: 0,
  silenceMs: 3_000,
  disconnectEveryMs: 0,
  disconnectMs: 2_000,
});

/** True in the tick that begins a new interval; a moment of the clock, so the same in every run. */
export function isDue(everyMs: number, time: number, tickMicros: number): boolean {
  if (everyMs <= 0) return false;
  const interval = everyMs * 1000;
  return Math.floor(time / interval) !== Math.floor((time - tickMicros) / interval);
}
