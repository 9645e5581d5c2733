import type { Clock } from "../std/clock.ts";
import type { RedisClient } from "./redis-client.ts";
import { readValue, valueText } from "./redis-state.ts";
import { checkTtl, type SetOptions, type StateStore } from "./state.ts";

/** As it is stored: the value, and when it is gone, epoch milliseconds. */
interface Stored {
  value: unknown;
  expires_at?: number;
}

/** State in a hash whose changes wait until a tick is committed; the bot itself sees them at once. */
export class PendingState implements StateStore {
  readonly #client: RedisClient;
  readonly #key: string;
  readonly #clock: Clock;
  /** Texts by field, empty for what is deleted. */
  #changed = new Map<string, string>();
  /** Those that are on their way into the store. */
  #sent = new Map<string, string>();

  constructor(client: RedisClient, key: string, clock: Clock) {
    this.#client = client;
    this.#key = key;
    this.#clock = clock;
  }

  async get<T>(key: string, fallback?: T): Promise<T> {
    const text = this.#changed.get(key) ?? this.#sent.get(key) ?? (await this.#client.call("HGET", this.#key, key));
    if (text === null || text === "") return fallback as T;
    const { value, expires_at } = readValue(key, text) as Stored;
    const isGone = expires_at !== undefined && this.#clock.now() / 1000 >= expires_at;
    return (isGone ? fallback : value) as T;
  }

  async set(key: string, value: unknown, { ttlMs }: SetOptions = {}): Promise<void> {
    checkTtl(ttlMs);
    // Checked by itself: inside of an object what JSON cannot hold would only be left out.
    valueText(key, value);
    const stored: Stored = { value };
    if (ttlMs !== undefined) stored.expires_at = this.#clock.now() / 1000 + ttlMs;
    this.#changed.set(key, valueText(key, stored));
  }

  async delete(key: string): Promise<void> {
    this.#changed.set(key, "");
  }

  /** Takes what waits, to be sent: field and text in turn. It is seen until `committed`, whatever comes meanwhile. */
  take(): string[] {
    this.#sent = this.#changed;
    this.#changed = new Map();
    return [...this.#sent].flat();
  }

  /** What was taken is in the store. */
  committed(): void {
    this.#sent = new Map();
  }
}
