import { BotError } from "./errors.ts";
import type { Signal } from "./market-stream-events.ts";
import { completeOrder, type OrderDraft } from "./order-contract.ts";
import type { OrderPublisher } from "./orders.ts";

/** Acts on a signal: the engine waits for it, and tells when it fails. */
export interface Executor {
  submit(signal: Signal): unknown;
}

export interface SignalOrderOptions {
  orders: OrderPublisher;
  botId: string;
  accountId: string;
  /** How much is ordered, or a function of the signal; 0 is nothing. */
  quantity: number | ((signal: Signal) => number);
  /** The rest of the order: without it a market order. */
  draft?: (signal: Signal) => Partial<OrderDraft>;
}

/**
 * An executor that orders: long buys, short sells. What a bot's orders go through, a risk gate or a stream of Redis, is
 * what these go through. Orders are numbered on from what the publisher remembers; one of a bar that closed before has the
 * same `intentId` again.
 */
export function signalOrders({ orders, botId, accountId, quantity, draft }: SignalOrderOptions): Executor {
  let last: number | undefined;
  // One at a time: what a transactional publisher commits is all that it has collected.
  let work: Promise<unknown> = Promise.resolve();
  const open = async () => (await orders.open?.())?.sequence ?? 0;
  const send = async (signal: Signal) => {
    last ??= await open();
    const qty = typeof quantity === "function" ? quantity(signal) : quantity;
    if (!(qty >= 0)) throw new BotError("bad_order", `quantity: a number from 0 on, not ${String(qty)}`);
    if (qty === 0) return;
    const { exchange, symbol, timeframe, time, direction } = signal;
    const side = direction === "long" ? ("buy" as const) : ("sell" as const);
    const intentId = `${botId}-${accountId}-${exchange}-${symbol}-${timeframe}-${time}`;
    const order = completeOrder({ intentId, symbol, side, qty, ...draft?.(signal) }, botId, accountId, last + 1);
    await orders.publish(order);
    last = order.sequence;
    await orders.commit?.({ sequence: last, position: undefined });
  };
  return {
    submit(signal) {
      const done = work.then(() => send(signal));
      work = done.catch(() => {});
      return done;
    },
  };
}
