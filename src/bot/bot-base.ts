import type { BotContext } from "./context.ts";
import type { ControlMessage } from "./control.ts";
import type { BotHealth } from "./heartbeat.ts";
import type { MarketSnapshot } from "./market-data.ts";
import type { OrderDraft, OrderEvent } from "./order-contract.ts";

export type Awaitable<T> = T | PromiseLike<T>;

/** Why a bot stops; a stop message and a caller may give words of their own. */
export type StopReason =
  | "stop-command"
  | "max-errors"
  | "signal-sigterm"
  | "signal-sigint"
  | "external-request"
  | "runtime_shutdown"
  /** `onStart` threw. */
  | "start-failed"
  /** The signal that `run` was given is aborted. */
  | "aborted"
  /** The market data came to their end. */
  | "market-data-ended"
  /** Another instance of the bot has published on the same account. */
  | "fenced"
  | (string & {});

/** A control message, or what became of an order. */
export type BotEvent = ControlMessage | OrderEvent;

/** What `onTick` gives back: drafts in the order in which they go out; null ones are left out. */
export type Intents =
  | Iterable<OrderDraft | null | undefined>
  | AsyncIterable<OrderDraft | null | undefined>
  | null
  | undefined
  // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement is one that asks for nothing
  | void;

/**
 * What the runtime calls. Hooks may be asynchronous; the next is called when the one before is done, `health` excepted,
 * which is asked at any time.
 */
export interface Bot {
  /** Once, before everything else. */
  onStart?(): Awaitable<void>;
  /**
   * At each tick. The market may be empty. `signal` is aborted when the bot is to stop: what is returned soon after
   * still goes out.
   */
  onTick(market: MarketSnapshot, signal: AbortSignal): Awaitable<Intents>;
  /** A message of the control channel, before it acts; an order that could not go out. */
  onEvent?(event: BotEvent): Awaitable<void>;
  /** Once, at the end, also after a start that failed; must be quick. */
  onStop?(reason: StopReason): Awaitable<void>;
  health?(): Awaitable<BotHealth>;
}

/** What a bot is made of. */
export interface BotParts<Config extends object, Secrets extends object> {
  readonly config: Config;
  readonly secrets: Secrets;
  readonly ctx: BotContext;
}

/** A bot as a class: everything but `onTick` has a default that does nothing. */
export abstract class BotBase<Config extends object = object, Secrets extends object = object> implements Bot {
  /** A copy of what was given. */
  readonly config: Config;
  readonly ctx: BotContext;
  /** Private, so that a bot that is logged does not tell them. */
  readonly #secrets: Secrets;

  constructor(config: Config, secrets: Secrets, ctx: BotContext) {
    this.config = { ...config };
    this.#secrets = { ...secrets };
    this.ctx = ctx;
  }

  /** A copy of what was given. */
  protected get secrets(): Secrets {
    return this.#secrets;
  }

  onStart(): Awaitable<void> {}

  abstract onTick(market: MarketSnapshot, signal: AbortSignal): Awaitable<Intents>;

  onEvent(_event: BotEvent): Awaitable<void> {}

  onStop(_reason: StopReason): Awaitable<void> {}

  health(): Awaitable<BotHealth> {
    return { ok: true };
  }
}

/** A bot as an object of hooks: each is given what it is called with and, last, what the bot is made of. */
export interface BotDefinition<Config extends object, Secrets extends object> {
  onStart?(parts: BotParts<Config, Secrets>): Awaitable<void>;
  onTick(market: MarketSnapshot, parts: BotParts<Config, Secrets>, signal: AbortSignal): Awaitable<Intents>;
  onEvent?(event: BotEvent, parts: BotParts<Config, Secrets>): Awaitable<void>;
  onStop?(reason: StopReason, parts: BotParts<Config, Secrets>): Awaitable<void>;
  health?(parts: BotParts<Config, Secrets>): Awaitable<BotHealth>;
}

/** Makes a bot's constructor, as a function, of an object of hooks. */
export function defineBot<Config extends object = object, Secrets extends object = object>(
  definition: BotDefinition<Config, Secrets>,
): (config: Config, secrets: Secrets, ctx: BotContext) => Bot {
  return (config, secrets, ctx) => {
    const parts = { config: { ...config }, secrets: { ...secrets }, ctx };
    return {
      onStart: () => definition.onStart?.(parts),
      onTick: (market, signal) => definition.onTick(market, parts, signal),
      onEvent: (event) => definition.onEvent?.(event, parts),
      onStop: (reason) => definition.onStop?.(reason, parts),
      health: () => definition.health?.(parts) ?? { ok: true },
    };
  };
}
