import { BotError } from "./errors.ts";
import type { MarketDataClient, MarketSnapshot, PushSource, Unsubscribe } from "./market-data.ts";
import { firstOf, PendingRead } from "./pending-read.ts";

/** What the runtime asks for the next snapshot, whatever the source is. */
export interface Feed {
  /** Undefined when there is none, or `signal` is aborted. Rejects when the source fails. */
  next(signal: AbortSignal): Promise<MarketSnapshot | undefined>;
  /** Nothing comes any more. */
  readonly ended: boolean;
  /** Snapshots that were dropped because too many waited. */
  readonly dropped: number;
  close(): void;
}

/** What the runtime can be pushed by. */
export type Source = MarketDataClient | AsyncIterable<object> | PushSource;

/** Throws `bad_config` for what is no source. */
export function checkSource(source: unknown): void {
  if (typeof source === "object" && source !== null) {
    if ("fetch" in source || "subscribe" in source || Symbol.asyncIterator in source) return;
  }
  throw new BotError("bad_config", "source: has neither fetch nor subscribe and cannot be iterated");
}

/** The feed of a push source. One that can be fetched from is, because it goes on after an error. */
export function feedOf(source: Source, maxQueued: number): Feed {
  if ("fetch" in source) return new FetchFeed(source);
  return "subscribe" in source ? new SubscribedFeed(source, maxQueued) : new IteratedFeed(source);
}

export class FetchFeed implements Feed {
  readonly #client: MarketDataClient;
  readonly dropped = 0;

  constructor(client: MarketDataClient) {
    this.#client = client;
  }

  get ended(): boolean {
    return this.#client.ended ?? false;
  }

  next(signal: AbortSignal): Promise<MarketSnapshot | undefined> {
    return this.#client.fetch({ signal });
  }

  close(): void {}
}

class IteratedFeed implements Feed {
  readonly #iterator: AsyncIterator<object>;
  readonly #pending: PendingRead<IteratorResult<object>>;
  readonly dropped = 0;
  ended = false;

  constructor(source: AsyncIterable<object>) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#pending = new PendingRead(() => this.#iterator.next());
  }

  async next(signal: AbortSignal): Promise<MarketSnapshot | undefined> {
    let result: IteratorResult<object> | undefined;
    try {
      result = await this.#pending.take(signal);
    } catch (error) {
      this.ended = true;
      throw error;
    }
    if (result === undefined) return undefined;
    if (result.done === true) {
      this.ended = true;
      return undefined;
    }
    return result.value as MarketSnapshot;
  }

  close(): void {
    // A generator that waits ends only when its wait does: nobody waits for that.
    Promise.resolve(this.#iterator.return?.()).catch(() => {});
  }
}

class SubscribedFeed implements Feed {
  readonly #queue: MarketSnapshot[] = [];
  readonly #maxQueued: number;
  #unsubscribe: Promise<Unsubscribe>;
  #wake: () => void = () => {};
  #isOver = false;
  #error: unknown;
  #closed = false;
  dropped = 0;

  constructor(source: PushSource, maxQueued: number) {
    this.#maxQueued = maxQueued;
    const subscribed = async () =>
      source.subscribe(
        (snapshot) => this.#put(snapshot as MarketSnapshot),
        (error) => this.#end(error),
      );
    this.#unsubscribe = subscribed();
    this.#unsubscribe.catch((error: unknown) => this.#end(error));
  }

  get ended(): boolean {
    return this.#isOver && this.#queue.length === 0 && this.#error === undefined;
  }

  #put(snapshot: MarketSnapshot): void {
    if (this.#closed) return;
    this.#queue.push(snapshot);
    if (this.#queue.length > this.#maxQueued) {
      this.#queue.shift();
      this.dropped += 1;
    }
    this.#wake();
  }

  #end(error: unknown): void {
    this.#isOver = true;
    this.#error ??= error;
    this.#wake();
  }

  async next(signal: AbortSignal): Promise<MarketSnapshot | undefined> {
    while (this.#queue.length === 0 && !this.#isOver && !signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await firstOf(woken, signal);
    }
    if (signal.aborted) return undefined;
    if (this.#queue.length > 0) return this.#queue.shift();
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    return undefined;
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe.then((unsubscribe) => unsubscribe()).catch(() => {});
  }
}
