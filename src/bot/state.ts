import { type Clock, SystemClock } from "../std/clock.ts";
import { BotError } from "./errors.ts";

export interface SetOptions {
  /** After so many milliseconds the value is gone, at least 1; for ever when not given. */
  ttlMs?: number | undefined;
}

/** What a bot remembers beyond one tick, by key. Values are what JSON can hold. */
export interface StateStore {
  /** The value of a key, else `fallback`. */
  get<T = unknown>(key: string, fallback: T): Promise<T>;
  get<T = unknown>(key: string): Promise<T | undefined>;
  set(key: string, value: unknown, options?: SetOptions): Promise<void>;
  delete(key: string): Promise<void>;
}

/** A store that lasts as long as the process. Values are kept as they are, not copied. */
export class InMemoryStateStore implements StateStore {
  readonly #clock: Clock;
  readonly #values = new Map<string, { value: unknown; expiresAt: number }>();

  constructor(clock: Clock = new SystemClock()) {
    this.#clock = clock;
  }

  /** Keys that are held, those included that have expired and were not asked for since. */
  get size(): number {
    return this.#values.size;
  }

  async get<T>(key: string, fallback?: T): Promise<T> {
    const entry = this.#values.get(key);
    if (entry === undefined) return fallback as T;
    if (this.#clock.now() < entry.expiresAt) return entry.value as T;
    this.#values.delete(key);
    return fallback as T;
  }

  async set(key: string, value: unknown, { ttlMs }: SetOptions = {}): Promise<void> {
    checkTtl(ttlMs);
    const expiresAt = ttlMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + ttlMs * 1000;
    this.#values.set(key, { value, expiresAt });
  }

  async delete(key: string): Promise<void> {
    this.#values.delete(key);
  }
}

/** Throws `bad_config` for a time to live that is no whole number of milliseconds from 1 on. */
export function checkTtl(ttlMs: number | undefined): void {
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs >= 1)) {
    throw new BotError("bad_config", `ttlMs: a whole number from 1 on, not ${ttlMs}`);
  }
}
