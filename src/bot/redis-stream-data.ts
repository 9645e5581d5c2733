import { epochMs } from "./depth-snapshot.ts";
import { BotError } from "./errors.ts";
import {
  type FetchOptions,
  type MarketDataClient,
  type MarketSnapshot,
  POSITION,
  type RangeOptions,
} from "./market-data.ts";
import { PendingRead } from "./pending-read.ts";
import { BlockingConnection, type RedisClient } from "./redis-client.ts";
import { checkId, readEntries, readReadEntries, type StreamEntry } from "./redis-entries.ts";
import { isRecord } from "./wire-names.ts";

export interface RedisStreamDataOptions {
  client: RedisClient;
  stream: string;
  /** The entry after which to begin: `0-0` for all that are there, `$`, the default, for those that come from now on. */
  lastId?: string;
  /** How long one read blocks, milliseconds; `fetch` waits over as many reads as it takes. 5,000. */
  blockMs?: number;
  /** Entries that one read takes, at most; they are handed out one by one. 100. */
  count?: number;
  /** Makes a snapshot's fields of an entry; what it throws is what `fetch` rejects with, and the entry is left out. */
  decode?: (entry: StreamEntry) => Readonly<Record<string, unknown>>;
}

/**
 * The market from a Redis stream. `fetch` waits for the next entry, on a connection of its own, and every entry after
 * the first position is given out once and in order: `$` is resolved once to the entry that is last then, and never
 * asked for again, so nothing slips through between two reads.
 */
export class RedisStreamMarketDataClient implements MarketDataClient {
  readonly #client: RedisClient;
  readonly #connection: BlockingConnection;
  readonly #stream: string;
  readonly #blockMs: number;
  readonly #count: number;
  readonly #decode: (entry: StreamEntry) => Readonly<Record<string, unknown>>;
  readonly #pending = new PendingRead(() => this.#read());
  #entries: StreamEntry[] = [];
  #lastId: string;
  #closed = false;

  constructor({ client, stream, lastId = "$", blockMs = 5000, count = 100, decode }: RedisStreamDataOptions) {
    this.#connection = new BlockingConnection(client);
    checkId(lastId);
    for (const [name, value] of Object.entries({ blockMs, count })) {
      if (!(Number.isSafeInteger(value) && value >= 1)) {
        throw new BotError("bad_config", `${name}: a whole number from 1 on, not ${value}`);
      }
    }
    this.#client = client;
    this.#stream = stream;
    this.#lastId = lastId;
    this.#blockMs = blockMs;
    this.#count = count;
    this.#decode = decode ?? decodeEntry;
  }

  /** The entry after which the next read begins; `$` until the first read. */
  get lastId(): string {
    return this.#lastId;
  }

  get ended(): boolean {
    return this.#closed;
  }

  /** Settles what `$` is: entries that are added after it resolves are given out. `fetch` does it when nobody has. */
  async open(): Promise<void> {
    if (this.#lastId !== "$") return;
    const [last] = readEntries(await this.#client.call("XREVRANGE", this.#stream, "+", "-", "COUNT", 1));
    this.#lastId = last?.id ?? "0-0";
  }

  /** The next entry; waits until there is one. Undefined when `signal` is aborted, or the client was closed. */
  async fetch({ signal }: FetchOptions = {}): Promise<MarketSnapshot | undefined> {
    while (!this.#closed && !signal?.aborted) {
      const entry = this.#entries.shift();
      if (entry !== undefined) return this.#snapshot(entry);
      try {
        this.#entries = (await this.#pending.take(signal)) ?? [];
      } catch (error) {
        if (this.#closed) return undefined;
        throw error;
      }
    }
    return undefined;
  }

  async #read(): Promise<StreamEntry[]> {
    await this.open();
    const how = ["COUNT", this.#count, "BLOCK", this.#blockMs] as const;
    const reply = await this.#connection.call("XREAD", ...how, "STREAMS", this.#stream, this.#lastId);
    const entries = readReadEntries(reply);
    this.#lastId = entries.at(-1)?.id ?? this.#lastId;
    return entries;
  }

  /** Entries by the time in their ids, which is when they were added. Moves nothing. */
  async fetchRange({ from, to, limit }: RangeOptions = {}): Promise<MarketSnapshot[]> {
    if (limit === 0) return [];
    const first = from === undefined ? "-" : String(Math.max(0, Math.ceil(from)));
    const last = to === undefined ? "+" : String(Math.max(0, Math.floor(to)));
    const count = limit === undefined ? [] : ["COUNT", limit];
    return readEntries(await this.#client.call("XRANGE", this.#stream, first, last, ...count)).map((entry) =>
      this.#snapshot(entry),
    );
  }

  #snapshot(entry: StreamEntry): MarketSnapshot {
    const at = { stream_id: entry.id, stream: this.#stream };
    return { ...at, ...this.#decode(entry), [POSITION]: entry.id };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MarketSnapshot> {
    while (!this.#closed) {
      const snapshot = await this.fetch();
      if (snapshot !== undefined) yield snapshot;
    }
  }

  /** Ends its connection; a `fetch` that waits resolves to undefined. */
  close(): void {
    this.#closed = true;
    this.#connection.close();
  }
}

/**
 * The fields of an entry: those of the JSON object in the field `payload` when there is one, else the entry's own; a
 * payload that is no JSON is left as text. A `timestamp` becomes epoch milliseconds where it can be read.
 */
export function decodeEntry({ fields }: StreamEntry): Record<string, unknown> {
  const decoded = fields.payload === undefined ? { ...fields } : payloadOf(fields.payload);
  return "timestamp" in decoded ? { ...decoded, timestamp: epochMs(decoded.timestamp) } : decoded;
}

function payloadOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : { payload: value };
  } catch {
    return { payload: text };
  }
}
