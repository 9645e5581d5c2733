import { BotError } from "./errors.ts";
import { checkRedis, type RedisClient } from "./redis-client.ts";
import { checkTtl, type SetOptions, type StateStore } from "./state.ts";

export interface RedisStateOptions {
  client: RedisClient;
  /** Goes before every key; `bot.state.<botId>.` keeps bots apart. */
  prefix: string;
}

/** A bot's state in Redis, as JSON; a time to live is kept by the server. */
export class RedisStateStore implements StateStore {
  readonly #client: RedisClient;
  readonly #prefix: string;

  constructor({ client, prefix }: RedisStateOptions) {
    checkRedis(client);
    this.#client = client;
    this.#prefix = prefix;
  }

  async get<T>(key: string, fallback?: T): Promise<T> {
    const text = await this.#client.call("GET", this.#prefix + key);
    return text === null ? (fallback as T) : (readValue(key, text) as T);
  }

  async set(key: string, value: unknown, { ttlMs }: SetOptions = {}): Promise<void> {
    checkTtl(ttlMs);
    const expiry = ttlMs === undefined ? [] : ["PX", ttlMs];
    await this.#client.call("SET", this.#prefix + key, valueText(key, value), ...expiry);
  }

  async delete(key: string): Promise<void> {
    await this.#client.call("DEL", this.#prefix + key);
  }
}

/** Throws `bad_config` for what JSON cannot hold. */
export function valueText(key: string, value: unknown): string {
  const text = JSON.stringify(value);
  if (text === undefined) throw new BotError("bad_config", `${key}: a value that JSON can hold`);
  return text;
}

/** Throws `bad_reply` for what was not written as a value. */
export function readValue(key: string, text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch (cause) {
    throw new BotError("bad_reply", `${key}: what is stored is not JSON`, { cause });
  }
}
