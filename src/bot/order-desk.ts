import type { BotContext } from "./context.ts";
import { BotError } from "./errors.ts";
import { completeOrder, type OrderIntent } from "./order-contract.ts";
import type { Progress } from "./orders.ts";

/** What came of an intent. `order` is undefined when the intent broke its contract. */
export interface Unpublished {
  readonly order: OrderIntent | undefined;
  /** Of the order, also of one that could not be made. */
  readonly intentId: string;
  readonly error: unknown;
}

/**
 * Numbers a bot's orders and gives them to the publisher. The numbers go on where they ended before: with a publisher
 * that is transactional at what it committed, else at what the bot's state holds, where a number is noted before it is
 * used, so that no number ever names two orders.
 */
export class OrderDesk {
  readonly #ctx: BotContext;
  readonly #key: string;
  #sequence: number | undefined;
  /** The last that a snapshot told; one that tells none does not make it forgotten. */
  #position: string | undefined;
  /** Collected by a transactional publisher, not yet out. */
  readonly #collected: OrderIntent[] = [];
  #uncommitted: Progress | undefined;

  constructor(ctx: BotContext) {
    this.#ctx = ctx;
    this.#key = `orders.sequence.${ctx.accountId}.${ctx.botId}`;
  }

  get isTransactional(): boolean {
    return this.#ctx.orders.commit !== undefined;
  }

  /** True when the next tick may come: a transactional publisher is open, and the tick before is out. */
  get isSettled(): boolean {
    return !this.isTransactional || (this.#sequence !== undefined && this.#uncommitted === undefined);
  }

  /** Brings an intent out. Resolves to the order, or to what went wrong; never rejects. */
  async publish(draft: unknown): Promise<OrderIntent | Unpublished> {
    const { botId, accountId, orders } = this.#ctx;
    let order: OrderIntent | undefined;
    let sequence = 0;
    try {
      sequence = (await this.#open()) + 1;
      order = completeOrder(draft, botId, accountId, sequence);
      if (!this.isTransactional) await this.#ctx.state.set(this.#key, sequence);
      this.#sequence = sequence;
      await orders.publish(order);
      if (this.isTransactional) this.#collected.push(order);
      return order;
    } catch (error) {
      return { order, intentId: order?.intentId ?? `${botId}-${accountId}-${sequence}`, error };
    }
  }

  /** Ends a tick that was at `position`; resolves to the orders that are out by it, none when not transactional. */
  async commit(position: string | undefined): Promise<readonly OrderIntent[]> {
    if (!this.isTransactional) return [];
    const sequence = await this.#open();
    this.#position = position ?? this.#position;
    this.#uncommitted = { sequence, position: this.#position };
    return this.settle();
  }

  /** Brings out what came after the last tick; nothing where there was none, or it is not out. */
  async close(): Promise<readonly OrderIntent[]> {
    const hasTicked = this.isTransactional && this.#sequence !== undefined && this.isSettled;
    return hasTicked ? this.commit(undefined) : [];
  }

  /** Does what is missing for the next tick to come; resolves to the orders that are out by it. */
  async settle(): Promise<readonly OrderIntent[]> {
    await this.#open();
    if (this.#uncommitted === undefined) return [];
    await this.#ctx.orders.commit?.(this.#uncommitted);
    this.#uncommitted = undefined;
    return this.#collected.splice(0);
  }

  async #open(): Promise<number> {
    if (this.#sequence !== undefined) return this.#sequence;
    const { orders, state } = this.#ctx;
    const { sequence, position } =
      orders.open === undefined
        ? { sequence: await state.get(this.#key, 0), position: undefined }
        : await orders.open();
    if (!Number.isSafeInteger(sequence) || sequence < 0) {
      throw new BotError("bad_reply", `the last order's number is a whole number, not ${String(sequence)}`);
    }
    this.#sequence = sequence;
    this.#position = position;
    return sequence;
  }
}
