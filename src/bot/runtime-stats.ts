/** What a runtime has done so far. */
export interface RuntimeStats {
  /** Ticks whose `onTick` came to its end. */
  readonly ticks: number;
  readonly ordersPublished: number;
  /** Orders that the risk gate refused. */
  readonly ordersRejected: number;
  /** Intents that broke their contract, and orders whose publisher failed. */
  readonly ordersFailed: number;
  /** Ticks and fetches that failed since the last that did not. */
  readonly consecutiveErrors: number;
  /** All ticks and fetches that failed. */
  readonly tickErrors: number;
  /** Calls of `onEvent` that threw. */
  readonly eventErrors: number;
  /** Control messages that could not be had or read. */
  readonly controlErrors: number;
  /** Heartbeats that could not be made or brought out. */
  readonly heartbeatErrors: number;
  /** Heartbeats that were due while the one before was still under way. */
  readonly heartbeatsSkipped: number;
  /** Snapshots that were dropped because too many waited. */
  readonly snapshotsDropped: number;
  readonly lastError: string | undefined;
  /** Epoch milliseconds. */
  readonly lastTickAt: number | undefined;
  /** Epoch milliseconds. */
  readonly lastHeartbeatAt: number | undefined;
}

export type MutableStats = { -readonly [Name in keyof RuntimeStats]: RuntimeStats[Name] };

export function emptyStats(): MutableStats {
  return {
    ticks: 0,
    ordersPublished: 0,
    ordersRejected: 0,
    ordersFailed: 0,
    consecutiveErrors: 0,
    tickErrors: 0,
    eventErrors: 0,
    controlErrors: 0,
    heartbeatErrors: 0,
    heartbeatsSkipped: 0,
    snapshotsDropped: 0,
    lastError: undefined,
    lastTickAt: undefined,
    lastHeartbeatAt: undefined,
  };
}
