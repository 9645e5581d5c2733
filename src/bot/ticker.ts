import type { Clock } from "../std/clock.ts";
import type { Bot, BotEvent, Intents } from "./bot-base.ts";
import type { BotContext, Logger } from "./context.ts";
import { BotError, messageOf } from "./errors.ts";
import { type MarketSnapshot, POSITION } from "./market-data.ts";
import type { OrderEvent, OrderIntent } from "./order-contract.ts";
import { OrderDesk, type Unpublished } from "./order-desk.ts";
import type { MutableStats } from "./runtime-stats.ts";

/** How a tick went. */
export interface TickReport {
  /** From the call of `onTick` until its orders were out, milliseconds. */
  readonly latencyMs: number;
  /** `onTick` threw. */
  readonly threw: boolean;
}

export interface TickerOptions {
  bot: Bot;
  ctx: BotContext;
  stats: MutableStats;
  clock: Clock;
  log: Logger;
  stopping: AbortSignal;
  /** When it is aborted nobody waits for the tick any more: nothing more goes out. */
  overdue: AbortSignal;
  onEvent(event: BotEvent): Promise<void>;
  onOrder(order: OrderIntent): void;
  onFenced(): void;
}

/**
 * One tick: calls `onTick`, brings its orders out one after the other, counts. An order that fails does not keep the
 * next from going out, and the bot is told of it; a tick with one has failed all the same, unless the risk gate refused it.
 */
export class Ticker {
  readonly #options: TickerOptions;
  readonly #desk: OrderDesk;

  constructor(options: TickerOptions) {
    this.#options = options;
    this.#desk = new OrderDesk(options.ctx);
  }

  /** The next tick may come. */
  get isSettled(): boolean {
    return this.#desk.isSettled;
  }

  /** Never rejects: what goes wrong is counted. */
  async tick(market: MarketSnapshot): Promise<TickReport> {
    const { bot, stats, clock, stopping, overdue } = this.#options;
    const startedAt = clock.now();
    let threw = false;
    let error: unknown;
    try {
      error = await this.#publishAll(await bot.onTick(market, stopping));
      stats.ticks += 1;
    } catch (thrown) {
      threw = true;
      error = thrown;
    }
    // Nobody waits for a tick that is overdue, and what it came to is not known to be whole.
    const isOut = !overdue.aborted && (await this.#commit(() => this.#desk.commit(market[POSITION])));
    stats.lastTickAt = Math.floor(clock.now() / 1000);
    if (threw || error !== undefined) this.failed(error);
    else if (isOut) stats.consecutiveErrors = 0;
    return { latencyMs: (clock.now() - startedAt) / 1000, threw };
  }

  /** Opens the publisher, or tries once more to bring the tick before out; true when the next may come. */
  settle(): Promise<boolean> {
    return this.#commit(() => this.#desk.settle());
  }

  /** Brings out what the bot changed after its last tick. */
  async close(): Promise<void> {
    await this.#commit(() => this.#desk.close());
  }

  /** Counts a tick, or a fetch, that failed. */
  failed(error: unknown): void {
    const { stats, log } = this.#options;
    stats.consecutiveErrors += 1;
    stats.tickErrors += 1;
    stats.lastError = messageOf(error);
    log.error({ error: messageOf(error), errors: stats.consecutiveErrors }, "bot_tick_failed");
  }

  /** Resolves to the last error of an order, if there was one; rejects when the intents themselves do. */
  async #publishAll(intents: Intents): Promise<unknown> {
    if (intents === undefined || intents === null) return undefined;
    if (!isSequence(intents)) throw new BotError("bad_intents", "onTick returns nothing or a sequence of intents");
    let error: unknown;
    for await (const draft of intents) {
      if (draft === null || draft === undefined) continue;
      if (this.#options.overdue.aborted) break;
      const outcome = await this.#desk.publish(draft);
      if (!("error" in outcome)) {
        if (!this.#desk.isTransactional) this.#isOut(outcome);
      } else if (await this.#wasFault(outcome)) error = outcome.error;
    }
    return error;
  }

  #isOut(order: OrderIntent): void {
    this.#options.stats.ordersPublished += 1;
    this.#options.onOrder(order);
  }

  /** Tells the bot of an order that is not out; true when that is an error, false when it is the risk gate's answer. */
  async #wasFault({ intentId, error }: Unpublished): Promise<boolean> {
    const { stats, ctx, clock, log, onEvent } = this.#options;
    const isRejected = error instanceof BotError && error.code === "risk_rejected";
    if (isRejected) stats.ordersRejected += 1;
    else stats.ordersFailed += 1;
    const reason = messageOf(error);
    log.warn({ intent_id: intentId, reason }, isRejected ? "bot_order_rejected" : "bot_order_failed");
    const event: OrderEvent = {
      type: "rejection",
      intentId,
      botId: ctx.botId,
      accountId: ctx.accountId,
      publishedAt: Math.floor(clock.now() / 1000),
      category: isRejected ? "risk_limit" : "system_error",
      reason,
    };
    await onEvent(event);
    return !isRejected;
  }

  async #commit(commit: () => Promise<readonly OrderIntent[]>): Promise<boolean> {
    try {
      for (const order of await commit()) this.#isOut(order);
      return true;
    } catch (error) {
      this.failed(error);
      if (error instanceof BotError && error.code === "fenced") this.#options.onFenced();
      return false;
    }
  }
}

function isSequence(value: unknown): value is Exclude<Intents, null | undefined> {
  return typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
}
