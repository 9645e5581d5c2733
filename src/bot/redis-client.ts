import { BotError, messageOf } from "./errors.ts";

/** What is asked of a Redis client; ioredis fits. Connectors never close a client that they were given. */
export interface RedisClient {
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** Another connection to the same server: for reads that block, which would keep everything else waiting. */
  duplicate(options?: { maxRetriesPerRequest: null }): RedisClient;
  disconnect(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
  pipeline(): RedisPipeline;
}

/** Commands that go out in one piece. */
export interface RedisPipeline {
  call(command: string, ...args: (string | number)[]): RedisPipeline;
  exec(): Promise<[error: Error | null, reply: unknown][] | null>;
}

/** Throws `missing_client` or `bad_client` for what a connector cannot work with. */
export function checkRedis(client: unknown, methods: readonly (keyof RedisClient)[] = ["call"]): void {
  if (client === undefined || client === null) throw new BotError("missing_client", "client: a Redis client is needed");
  for (const method of methods) {
    if (typeof (client as Record<string, unknown>)[method] !== "function") {
      throw new BotError("bad_client", `client: has no ${method}()`);
    }
  }
}

interface RedisModule {
  readonly Redis: new (url: string) => RedisClient & { quit(): Promise<unknown> };
}

/** Held in a variable, so that no bundler looks for a package that is not there. */
const PACKAGE = "ioredis";

/**
 * A client of the Redis at `url`, by ioredis, which is loaded only now. Rejects with `missing_package` when it is not
 * installed.
 */
export async function connectRedis(
  url: string,
  load: () => Promise<unknown> = () => import(PACKAGE),
): Promise<RedisClient & { quit(): Promise<unknown> }> {
  let loaded: RedisModule;
  try {
    loaded = (await load()) as RedisModule;
  } catch (cause) {
    throw new BotError(
      "missing_package",
      `Redis needs the package ioredis: npm install ioredis (${messageOf(cause)})`,
      {
        cause,
      },
    );
  }
  return new loaded.Redis(url);
}

/**
 * A connection of its own for reads that block, made when first used. It is asked again by itself when the server was
 * away; that it was is told by the commands that fail, so its error event needs no listener but this one.
 */
export class BlockingConnection {
  readonly #client: RedisClient;
  #own: RedisClient | undefined;

  constructor(client: RedisClient) {
    checkRedis(client, ["call", "duplicate"]);
    this.#client = client;
  }

  call(command: string, ...args: (string | number)[]): Promise<unknown> {
    if (this.#own === undefined) {
      this.#own = this.#client.duplicate({ maxRetriesPerRequest: null });
      this.#own.on("error", () => {});
    }
    return this.#own.call(command, ...args);
  }

  /** Ends the connection; a read that is under way rejects. */
  close(): void {
    this.#own?.disconnect();
    this.#own = undefined;
  }
}
