/**
 * Where in its source a snapshot lies, as the source counts: what a publisher that remembers how far a bot came saves
 * together with the bot's orders. A symbol, so that no field of the market can be taken for it.
 */
export const POSITION: unique symbol = Symbol("position");

/**
 * What a bot is told of the market: fields as the source names them. Usual ones are `symbol`, `price`, `timestamp`
 * (epoch milliseconds); none is sure to be there, and numbers may be texts. An empty one says that there is nothing yet.
 */
export interface MarketSnapshot {
  readonly [field: string]: unknown;
  readonly [POSITION]?: string;
}

export const EMPTY_SNAPSHOT: MarketSnapshot = Object.freeze({});

export interface FetchOptions {
  /** Ends the wait: `fetch` then resolves to undefined, and nothing that comes later is lost. */
  signal?: AbortSignal | undefined;
}

export interface RangeOptions {
  /** First and last time that are wanted, epoch milliseconds, both included; open where not given. */
  from?: number | undefined;
  to?: number | undefined;
  /** At most so many, the oldest first. */
  limit?: number | undefined;
}

/** Where a bot's market comes from. As an iterable it gives what is new, one after the other. */
export interface MarketDataClient extends AsyncIterable<MarketSnapshot> {
  /** The latest, or the next one where the source is a queue; it may wait. Undefined when there is nothing. */
  fetch(options?: FetchOptions): Promise<MarketSnapshot | undefined>;
  /** What was, oldest first. */
  fetchRange(options?: RangeOptions): Promise<MarketSnapshot[]>;
  /** True once nothing will come any more. */
  readonly ended?: boolean;
}

/** A source that calls: for each snapshot `onSnapshot`, at its end `onEnd`, with an error if it broke. */
export interface PushSource {
  /** Begins to call; the function that is returned ends it. */
  subscribe(
    onSnapshot: (snapshot: object) => void,
    onEnd: (error?: unknown) => void,
  ): Unsubscribe | Promise<Unsubscribe>;
}

export type Unsubscribe = () => unknown;

/** A field as a number, also where it is a decimal text; undefined when it is none, or not finite. */
export function numberIn(snapshot: MarketSnapshot, field: string): number | undefined {
  const value = snapshot[field];
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}
