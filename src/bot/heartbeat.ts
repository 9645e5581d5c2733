import { snakeNames } from "./wire-names.ts";

/** How a bot says it is. `ok` false takes it out of readiness; further fields go out as they are. */
export interface BotHealth {
  readonly ok: boolean;
  /** Profit and loss, in the account's currency: served as metrics. */
  readonly pnl?: { readonly realized?: number; readonly unrealized?: number };
  readonly [field: string]: unknown;
}

export interface Heartbeat {
  readonly botId: string;
  readonly accountId: string;
  /** Epoch milliseconds. */
  readonly sentAt: number;
  readonly status: BotHealth;
  readonly stats: {
    readonly ticks: number;
    readonly ordersPublished: number;
    readonly lastError: string | undefined;
  };
}

/** Where heartbeats go. */
export interface HeartbeatPublisher {
  publish(heartbeat: Heartbeat): Promise<void>;
}

export class NullHeartbeatPublisher implements HeartbeatPublisher {
  async publish(): Promise<void> {}
}

const MAX_ITEMS = 1000;

/** Keeps the last 1,000 heartbeats: for tests, and for a page that shows them. */
export class BufferHeartbeatPublisher implements HeartbeatPublisher {
  readonly items: Heartbeat[] = [];

  async publish(heartbeat: Heartbeat): Promise<void> {
    this.items.push(heartbeat);
    if (this.items.length > MAX_ITEMS) this.items.shift();
  }
}

/** The JSON of a heartbeat: snake_case, `last_error` null when there is none. */
export function heartbeatText(heartbeat: Heartbeat): string {
  const { ticks, ordersPublished, lastError = null } = heartbeat.stats;
  return JSON.stringify({ ...snakeNames(heartbeat), stats: snakeNames({ ticks, ordersPublished, lastError }) });
}
