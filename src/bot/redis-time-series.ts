import { systemTimers, type Timers } from "../std/timers.ts";
import { BotError } from "./errors.ts";
import type { FetchOptions, MarketDataClient, MarketSnapshot, RangeOptions } from "./market-data.ts";
import { firstOf, pause } from "./pending-read.ts";
import { checkRedis, type RedisClient } from "./redis-client.ts";

export interface RedisTimeSeriesOptions {
  client: RedisClient;
  /** Key of the series, as `keys.series` makes it. */
  key: string;
  symbol: string;
  /** Field of the snapshot that the series' value goes to; `price`. */
  valueField?: string;
  /** Further fields, and the keys of the series that their latest values are in. */
  extraFields?: Readonly<Record<string, string>>;
  /** As an iterable it looks so often for something new, milliseconds; 1,000. */
  pollIntervalMs?: number;
  timers?: Timers;
}

/** The market from the time series of a Redis that has them: what `TS.GET` and `TS.RANGE` answer. */
export class RedisTimeSeriesMarketDataClient implements MarketDataClient {
  readonly #client: RedisClient;
  readonly #key: string;
  readonly #symbol: string;
  readonly #valueField: string;
  readonly #extras: [field: string, key: string][];
  readonly #pollIntervalMs: number;
  readonly #timers: Timers;
  readonly #closing = new AbortController();

  constructor({ client, key, symbol, valueField = "price", extraFields = {}, ...rest }: RedisTimeSeriesOptions) {
    checkRedis(client, ["call", "pipeline"]);
    this.#client = client;
    this.#key = key;
    this.#symbol = symbol;
    this.#valueField = valueField;
    this.#extras = Object.entries(extraFields);
    this.#pollIntervalMs = rest.pollIntervalMs ?? 1000;
    this.#timers = rest.timers ?? systemTimers;
  }

  get ended(): boolean {
    return this.#closing.signal.aborted;
  }

  /**
   * The latest point, the extras' latest values with it, all in one round trip; undefined when there is no point. An
   * extra that has none is left out. Rejects with `bad_sample` for what is no point.
   */
  async fetch({ signal }: FetchOptions = {}): Promise<MarketSnapshot | undefined> {
    const pipeline = this.#client.pipeline().call("TS.GET", this.#key);
    for (const [, key] of this.#extras) pipeline.call("TS.GET", key);
    const replies = (await firstOf(pipeline.exec(), signal)) ?? [];
    const [value, ...extras] = replies.map(latest);
    if (value === undefined) return undefined;
    const snapshot = this.#snapshot(value);
    for (const [index, [field]] of this.#extras.entries()) {
      const extra = extras[index];
      if (extra !== undefined) snapshot[field] = extra[1];
    }
    return snapshot;
  }

  /** Points without the extras. */
  async fetchRange({ from, to, limit }: RangeOptions = {}): Promise<MarketSnapshot[]> {
    if (limit === 0) return [];
    const count = limit === undefined ? [] : ["COUNT", limit];
    const first = from === undefined ? "-" : Math.max(0, Math.ceil(from));
    const last = to === undefined ? "+" : Math.max(0, Math.floor(to));
    const reply = await this.#client.call("TS.RANGE", this.#key, first, last, ...count);
    if (!Array.isArray(reply)) throw new BotError("bad_sample", "a range is a list of points");
    return reply.map((sample) => this.#snapshot(readSample(sample)));
  }

  #snapshot([time, value]: Sample): Record<string, unknown> {
    return { symbol: this.#symbol, [this.#valueField]: value, timestamp: time };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MarketSnapshot> {
    let before = "";
    while (!this.ended) {
      const snapshot = await this.fetch();
      const now = JSON.stringify(snapshot);
      if (snapshot !== undefined && now !== before) yield snapshot;
      before = now;
      await pause(this.#pollIntervalMs, this.#closing.signal, this.#timers);
    }
  }

  /** Ends what iterates over it. */
  close(): void {
    this.#closing.abort();
  }
}

type Sample = [time: number, value: number];

function latest([error, reply]: [error: Error | null, reply: unknown]): Sample | undefined {
  if (error !== null) {
    if (/does not exist/i.test(error.message)) return undefined;
    throw error;
  }
  if (reply === null || (Array.isArray(reply) && reply.length === 0)) return undefined;
  return readSample(reply);
}

function readSample(sample: unknown): Sample {
  const [time, value, ...more] = Array.isArray(sample) ? sample : [];
  const pair: Sample = [Number(time ?? Number.NaN), Number(value ?? Number.NaN)];
  if (more.length > 0 || !pair.every(Number.isFinite)) {
    throw new BotError("bad_sample", `a point is a time and a number, not ${JSON.stringify(sample)}`);
  }
  return pair;
}
