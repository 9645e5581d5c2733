/** The timeframes of bars, shortest first; the index into this list is the small integer that the engine uses. */
export const TIMEFRAMES = ["1s", "5s", "10s", "30s", "1m", "5m", "15m", "30m", "1h", "4h", "1d"] as const;

export type Timeframe = (typeof TIMEFRAMES)[number];

export const TIMEFRAME_COUNT = TIMEFRAMES.length;

/** Width of each timeframe, in microseconds, by index. Every one divides a day, so all bars align to UTC. */
export const TIMEFRAME_MICROS = Float64Array.from(
  [1, 5, 10, 30, 60, 300, 900, 1800, 3600, 14400, 86400],
  (seconds) => seconds * 1e6,
);

/** The index of a timeframe's name, or -1: an unknown one is an error of the caller, never a default. */
export function timeframeIndex(name: string): number {
  const canonical = /^[smhd]$/.test(name) ? `1${name}` : name;
  return (TIMEFRAMES as readonly string[]).indexOf(canonical);
}

/** When the bar opens that a time falls into, microseconds: every bar is aligned to UTC. */
export function alignToTimeframe(micros: number, timeframe: Timeframe): number {
  const width = TIMEFRAME_MICROS[TIMEFRAMES.indexOf(timeframe)] as number;
  return Math.floor(micros / width) * width;
}
