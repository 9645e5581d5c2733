import { BotError } from "./errors.ts";
import { type Heartbeat, type HeartbeatPublisher, heartbeatText } from "./heartbeat.ts";
import { keys } from "./keys.ts";
import { checkRedis, type RedisClient } from "./redis-client.ts";

export interface RedisHeartbeatOptions {
  client: RedisClient;
  /** Key that the last heartbeat lies under; `keys.heartbeat(botId)`. */
  key?: string;
  /** The key is gone so long after the last heartbeat, milliseconds; 30,000, which is when a bot counts as gone. */
  expiresAfterMs?: number;
  /** Channel that each heartbeat is told on; the name of the key. */
  channel?: string;
  /** A stream that each heartbeat is added to, in the field `payload`; none when not given. */
  stream?: string;
  /** Entries that the stream keeps, about; 1,000. */
  maxEntries?: number;
}

/** Brings heartbeats to Redis: a key that is there as long as the bot lives, a channel, and a stream if wanted. */
export class RedisHeartbeatPublisher implements HeartbeatPublisher {
  readonly #options: RedisHeartbeatOptions;

  constructor(options: RedisHeartbeatOptions) {
    checkRedis(options.client, ["pipeline"]);
    const { expiresAfterMs = 1, maxEntries = 1 } = options;
    for (const [name, value] of Object.entries({ expiresAfterMs, maxEntries })) {
      if (!(Number.isSafeInteger(value) && value >= 1)) {
        throw new BotError("bad_config", `${name}: a whole number from 1 on, not ${value}`);
      }
    }
    this.#options = options;
  }

  /** Rejects when any of it fails. */
  async publish(heartbeat: Heartbeat): Promise<void> {
    const { client, expiresAfterMs = 30_000, stream, maxEntries = 1000 } = this.#options;
    const key = this.#options.key ?? keys.heartbeat(heartbeat.botId);
    const text = heartbeatText(heartbeat);
    const pipeline = client.pipeline().call("SET", key, text, "PX", expiresAfterMs);
    pipeline.call("PUBLISH", this.#options.channel ?? key, text);
    if (stream !== undefined) pipeline.call("XADD", stream, "MAXLEN", "~", maxEntries, "*", "payload", text);
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
  }
}
