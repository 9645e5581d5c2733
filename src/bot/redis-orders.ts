import { createHash, randomUUID } from "node:crypto";
import { type Clock, SystemClock } from "../std/clock.ts";
import { BotError } from "./errors.ts";
import { keys } from "./keys.ts";
import { type OrderIntent, orderText } from "./order-contract.ts";
import type { OrderPublisher, Progress } from "./orders.ts";
import { checkRedis, type RedisClient } from "./redis-client.ts";
import { PendingState } from "./redis-pending-state.ts";
import type { StateStore } from "./state.ts";

/**
 * Says that this instance goes on with the bot, so that whatever another one still sends is refused.
 * KEYS: the hash of the progress. ARGV: this instance's mark. Answers the last sequence and the position.
 */
const CLAIM = `
redis.call('HSET', KEYS[1], 'commit', ARGV[1])
return redis.call('HMGET', KEYS[1], 'sequence', 'position')
`;

/**
 * Commits a tick, all of it or nothing: the orders, the bot's state, how far it came.
 *
 * KEYS: the stream of the orders, the hash of the progress, the hash of the state. ARGV: the mark of this commit and of
 * the one before, the last order's sequence, the position, how many orders, then sequence and text of each, then key and
 * text of each change of the state, where an empty text deletes. Answers "done", "again" (it was in already), or
 * "fenced" (another instance has gone on from there). The first order whose number is taken ends it before any change.
 */
const COMMIT = `
local at = redis.call('HGET', KEYS[2], 'commit')
if at == ARGV[1] then return 'again' end
if at ~= ARGV[2] then return 'fenced' end
local last = 5 + 2 * tonumber(ARGV[5])
for i = 6, last, 2 do
  redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'payload', ARGV[i + 1])
end
for i = last + 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[3], ARGV[i])
  else
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[2], 'commit', ARGV[1], 'sequence', ARGV[3], 'position', ARGV[4])
return 'done'
`;

export interface RedisOrdersOptions {
  client: RedisClient;
  botId: string;
  accountId: string;
  /** Stream of the orders; `keys.orderIntents`. In a cluster all keys must lie in one slot: give names with one tag. */
  stream?: string;
  /** Hash of the bot's progress, its state beside it; `bot.progress.<accountId>.<botId>`. */
  progressKey?: string;
  /** After so many ticks without orders and without changed state the position is saved all the same; 100. */
  idleTicks?: number;
  /** Tells this instance from all others; drawn at random. */
  instance?: string;
  clock?: Clock;
}

/** Orders of one tick, at most: a script's arguments are bounded. */
const MAX_ORDERS = 1000;

/**
 * Orders to a Redis stream, each once, also when the bot is killed and started again. A tick's orders, the position in
 * the market that it was at, and what it changed in `state` go in together; a bot that starts again at `position` does
 * what was not committed over again and gets to the same numbers. An order's entry has the id `<sequence>-0`.
 *
 *   const orders = new RedisStreamOrderPublisher({ client, botId, accountId });
 *   const { position = "0-0" } = await orders.open();
 *   const source = new RedisStreamMarketDataClient({ client, stream, lastId: position });
 *   const ctx = createBotContext({ botId, accountId, orders, state: orders.state });
 *   await new BotRuntime(bot, ctx, { source }).run();
 *
 * What it does over again is the same when the bot decides by the market and by `state`, not by its own memory, the
 * clock or chance.
 */
export class RedisStreamOrderPublisher implements OrderPublisher {
  readonly #client: RedisClient;
  readonly #stream: string;
  readonly #progressKey: string;
  readonly #idleTicks: number;
  readonly #instance: string;
  readonly #state: PendingState;
  readonly #orders: OrderIntent[] = [];
  /** The values of the commit that is on its way. */
  #batch: (string | number)[] | undefined;
  #commits = 0;
  #idle = 0;
  #opened: Promise<Progress> | undefined;

  constructor({ client, botId, accountId, clock = new SystemClock(), ...options }: RedisOrdersOptions) {
    checkRedis(client);
    const { idleTicks = 100 } = options;
    if (!(Number.isSafeInteger(idleTicks) && idleTicks >= 1)) {
      throw new BotError("bad_config", `idleTicks: a whole number from 1 on, not ${idleTicks}`);
    }
    this.#client = client;
    this.#stream = options.stream ?? keys.orderIntents(accountId, botId);
    this.#progressKey = options.progressKey ?? `bot.progress.${accountId}.${botId}`;
    this.#idleTicks = idleTicks;
    this.#instance = options.instance ?? randomUUID();
    this.#state = new PendingState(client, this.#stateKey, clock);
  }

  get #stateKey(): string {
    return `${this.#progressKey}.state`;
  }

  /** The bot's state, committed with its orders. */
  get state(): StateStore {
    return this.#state;
  }

  /** How far the bot came; from then on no earlier instance of it can publish. Asked again it answers the same. */
  open(): Promise<Progress> {
    if (this.#opened === undefined) {
      this.#opened = this.#claim();
      this.#opened.catch(() => {
        this.#opened = undefined;
      });
    }
    return this.#opened;
  }

  async #claim(): Promise<Progress> {
    const reply = await this.#script(CLAIM, [this.#progressKey], [this.#mark(0)]);
    const [sequence, position] = Array.isArray(reply) ? (reply as (string | null)[]) : [];
    const number = Number(sequence ?? 0);
    if (sequence === undefined || !Number.isSafeInteger(number)) {
      throw new BotError("bad_reply", `${this.#progressKey}: holds no progress`);
    }
    return { sequence: number, position: position || undefined };
  }

  /** Collects an order: it goes out when its tick is committed. */
  async publish(intent: OrderIntent): Promise<void> {
    await this.open();
    if (this.#orders.length >= MAX_ORDERS) {
      throw new BotError("queue_full", `a tick has at most ${MAX_ORDERS} orders`);
    }
    // Sent again it is the same order.
    if (!this.#orders.some(({ sequence }) => sequence === intent.sequence)) this.#orders.push(intent);
  }

  /** Rejects with `fenced` when another instance of the bot was opened meanwhile. */
  async commit({ sequence, position }: Progress): Promise<void> {
    await this.open();
    // One that failed may be in all the same, so it is sent again as it was before anything else is.
    await this.#send();
    const changes = this.#state.take();
    const isIdle = this.#orders.length === 0 && changes.length === 0;
    this.#idle = isIdle ? this.#idle + 1 : 0;
    if (isIdle && (this.#idle < this.#idleTicks || position === undefined)) return;
    this.#idle = 0;
    const orders = this.#orders.flatMap((intent) => [intent.sequence, orderText(intent)]);
    const marks = [this.#mark(this.#commits + 1), this.#mark(this.#commits)];
    this.#batch = [...marks, sequence, position ?? "", this.#orders.length, ...orders, ...changes];
    this.#orders.length = 0;
    await this.#send();
  }

  async #send(): Promise<void> {
    if (this.#batch === undefined) return;
    const answer = await this.#script(COMMIT, [this.#stream, this.#progressKey, this.#stateKey], this.#batch);
    if (answer === "fenced") {
      throw new BotError("fenced", `${this.#progressKey}: another instance has gone on with this bot`);
    }
    if (answer !== "done" && answer !== "again") throw new BotError("bad_reply", `commit: ${String(answer)}`);
    this.#batch = undefined;
    this.#commits += 1;
    this.#state.committed();
  }

  #mark(commit: number): string {
    return `${this.#instance}:${commit}`;
  }

  async #script(script: string, names: readonly string[], values: readonly (string | number)[]): Promise<unknown> {
    const rest = [names.length, ...names, ...values];
    const digest = createHash("sha1").update(script).digest("hex");
    try {
      return await this.#client.call("EVALSHA", digest, ...rest);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return this.#client.call("EVAL", script, ...rest);
    }
  }
}
