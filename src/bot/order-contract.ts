import { z } from "zod";
import { BotError } from "./errors.ts";
import { camelNames, isRecord, snakeNames } from "./wire-names.ts";

const name = z.string().min(1).max(256);
const positive = z.number().positive();
const time = z.number().int().min(0);

const intentShape = z
  .object({
    /** The same for the same order, however often it is sent. */
    intentId: name,
    botId: name,
    accountId: name,
    symbol: name,
    side: z.enum(["buy", "sell"]),
    quantity: positive,
    /** The price of a limit order, the trigger of a stop order. */
    limitPrice: positive.optional(),
    type: z.enum(["market", "limit", "stop"]),
    timeInForce: z.enum(["day", "gtc", "ioc", "fok"]),
    /** Epoch milliseconds. */
    expiresAt: time.optional(),
    /** Counts a bot's orders on an account from 1 on: with both, the key that makes sending twice harmless. */
    sequence: z.number().int().min(1),
    annotations: z.record(z.string(), z.unknown()).optional(),
  })
  .refine(({ type, limitPrice }) => type === "market" || limitPrice !== undefined, {
    path: ["limitPrice"],
    message: "limit and stop orders have one",
  });

/** An order as it goes out. */
export type OrderIntent = Readonly<z.infer<typeof intentShape>>;

const of = { intentId: name, botId: name, accountId: name, correlationId: name.optional(), publishedAt: time };

const eventShape = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ack"), ...of, orderId: name }),
  z.object({
    type: z.literal("fill"),
    ...of,
    orderId: name,
    filled: positive,
    remaining: z.number().min(0),
    price: positive,
    fee: z.number().optional(),
  }),
  z.object({
    type: z.literal("rejection"),
    ...of,
    category: z.enum(["risk_limit", "instrument_halted", "broker_reject", "timeout", "system_error"]),
    reason: z.string(),
  }),
  z.object({
    type: z.literal("cancel"),
    ...of,
    orderId: name,
    initiator: z.enum(["bot", "risk", "broker", "system"]),
    reason: z.string().optional(),
  }),
]);

/** What became of an order. Times are epoch milliseconds. */
export type OrderEvent = Readonly<z.infer<typeof eventShape>>;

/**
 * What a bot asks for: the rest of an OrderIntent is filled in. `qty` and `price` are short for `quantity` and
 * `limitPrice`. With a price it is a limit order, without one a market order, unless `type` says otherwise.
 */
export interface OrderDraft {
  readonly symbol: string;
  readonly side: "buy" | "sell";
  readonly qty?: number;
  readonly quantity?: number;
  readonly price?: number;
  readonly limitPrice?: number;
  readonly type?: OrderIntent["type"];
  /** `gtc` when not given. */
  readonly timeInForce?: OrderIntent["timeInForce"];
  readonly expiresAt?: number;
  /** Made of bot, account and sequence when not given. */
  readonly intentId?: string;
  readonly annotations?: Readonly<Record<string, unknown>>;
}

/** Makes the order of a draft; throws `bad_order`. */
export function completeOrder(draft: unknown, botId: string, accountId: string, sequence: number): OrderIntent {
  if (!isRecord(draft)) throw new BotError("bad_order", "an intent is an object");
  const { qty, price, ...rest } = draft;
  const limitPrice = rest.limitPrice ?? price;
  const type = rest.type ?? (limitPrice === undefined ? "market" : "limit");
  const intentId = rest.intentId ?? `${botId}-${accountId}-${sequence}`;
  const given = { ...rest, quantity: rest.quantity ?? qty, type, timeInForce: rest.timeInForce ?? "gtc" };
  const priced = limitPrice === undefined ? given : { ...given, limitPrice };
  return checked(intentShape, { ...priced, intentId, botId, accountId, sequence });
}

/** Reads an intent, with the names of the wire or of TypeScript; throws `bad_order`. */
export function parseOrderIntent(value: unknown): OrderIntent {
  return checked(intentShape, isRecord(value) ? camelNames(value) : value);
}

/** Reads an event of an order, with the names of the wire or of TypeScript; throws `bad_order`. */
export function parseOrderEvent(value: unknown): OrderEvent {
  return checked(eventShape, isRecord(value) ? camelNames(value) : value);
}

/** True for what tells of an order, among all that `onEvent` is given. */
export function isOrderEvent(event: object): event is OrderEvent {
  return eventShape.safeParse(event).success;
}

/** The JSON of an intent or of an event, as it goes over the wire: snake_case; annotations are as they were given. */
export function orderText(order: OrderIntent | OrderEvent): string {
  return JSON.stringify(snakeNames(order));
}

function checked<T>(shape: z.ZodType<T>, value: unknown): T {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new BotError("bad_order", `${issue?.path.join(".") || "order"}: ${issue?.message ?? "cannot be read"}`);
}
