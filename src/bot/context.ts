import { createLogger } from "../std/log.ts";
import { type ControlChannel, NullControlChannel } from "./control.ts";
import { BotError } from "./errors.ts";
import { type HeartbeatPublisher, NullHeartbeatPublisher } from "./heartbeat.ts";
import type { MarketDataClient } from "./market-data.ts";
import { NullMarketDataClient } from "./memory-market-data.ts";
import { StdoutOrderPublisher } from "./memory-orders.ts";
import type { OrderPublisher } from "./orders.ts";
import { InMemoryStateStore, type StateStore } from "./state.ts";

/** Where a bot's log goes: pino fits. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  info(message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(bindings: Record<string, unknown>): Logger;
}

interface ContextParts {
  readonly botId: string;
  readonly accountId: string;
  readonly marketData: MarketDataClient;
  readonly orders: OrderPublisher;
  readonly state: StateStore;
  /** Undefined: nobody can tell the bot anything. */
  readonly control: ControlChannel | undefined;
  /** Undefined: no heartbeats. */
  readonly heartbeat: HeartbeatPublisher | undefined;
  readonly logger: Logger;
  /** Whatever else a bot needs, by name. */
  readonly extras: Map<string, unknown>;
}

/** What surrounds a bot. */
export interface BotContext extends ContextParts {
  /** A copy with some parts exchanged; the extras are copied too. */
  with(parts: Partial<ContextParts>): BotContext;
  /** An extra of that name, else `fallback`. */
  extra<T>(name: string, fallback: T): T;
}

/** A context's parts as they are given: names, and what differs from the defaults. */
export interface ContextOptions extends Partial<Omit<ContextParts, "extras">> {
  readonly botId: string;
  readonly accountId: string;
  readonly extras?: ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>;
}

/**
 * Makes a context. What is not given is safe: a market that says nothing, orders that are written to standard output
 * and go nowhere, a state in memory, no commands, no heartbeats, a log on standard error. Throws `bad_config`.
 */
export function createBotContext(options: ContextOptions): BotContext {
  for (const name of ["botId", "accountId"] as const) {
    if (typeof options[name] !== "string" || options[name] === "") {
      throw new BotError("bad_config", `${name}: a text that is not empty`);
    }
  }
  const { extras = {} } = options;
  return contextOf({
    botId: options.botId,
    accountId: options.accountId,
    marketData: options.marketData ?? new NullMarketDataClient(),
    orders: options.orders ?? new StdoutOrderPublisher(),
    state: options.state ?? new InMemoryStateStore(),
    control: "control" in options ? options.control : new NullControlChannel(),
    heartbeat: "heartbeat" in options ? options.heartbeat : new NullHeartbeatPublisher(),
    logger: options.logger ?? createLogger("info").child({ bot: options.botId }),
    extras: new Map(extras instanceof Map ? extras : Object.entries(extras)),
  });
}

function contextOf(parts: ContextParts): BotContext {
  return {
    ...parts,
    with: (changed) => contextOf({ ...parts, extras: new Map(parts.extras), ...changed }),
    extra: <T>(name: string, fallback: T) => (parts.extras.has(name) ? (parts.extras.get(name) as T) : fallback),
  };
}
