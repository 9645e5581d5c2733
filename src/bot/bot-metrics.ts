import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { OrderIntent } from "./order-contract.ts";
import type { BotRuntime } from "./runtime.ts";

/** Upper bounds, milliseconds; 300 is where an alarm on the slowest ticks is usually set. */
const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 25, 50, 100, 200, 300, 500, 1000, 2500, 5000];
/** Symbols that have a series of their own; those after them are counted as `other`. */
const MAX_SYMBOLS = 1000;

/** What a runtime tells, as Prometheus metrics in a registry of their own. */
export class BotMetrics {
  readonly registry = new Registry();
  readonly #symbols = new Set<string>();
  #isHeartbeatOk = false;

  constructor(runtime: BotRuntime) {
    const registers = [this.registry];
    const latency = new Histogram({
      name: "bot_tick_latency_ms",
      help: "From the call of onTick until its orders are out, milliseconds",
      buckets: LATENCY_BOUNDS_MS,
      registers,
    });
    const exceptions = new Counter({
      name: "bot_on_tick_exceptions_total",
      help: "Calls of onTick that threw",
      registers,
    });
    const orders = new Counter({
      name: "bot_order_intents_total",
      help: "Orders that went out",
      labelNames: ["side", "symbol"],
      registers,
    });
    const heartbeat = new Gauge({
      name: "bot_heartbeat_ok",
      help: "1 when the last heartbeat went out and said that the bot is well",
      registers,
    });
    const pnl = {
      realized: new Gauge({ name: "bot_pnl_realized", help: "Realized profit and loss, as health tells", registers }),
      unrealized: new Gauge({
        name: "bot_pnl_unrealized",
        help: "Unrealized profit and loss, as health tells",
        registers,
      }),
    };
    runtime.on("tick", ({ latencyMs, threw }) => {
      latency.observe(latencyMs);
      if (threw) exceptions.inc();
    });
    runtime.on("order", (order) => orders.inc({ side: order.side, symbol: this.#symbolOf(order) }));
    runtime.on("heartbeat", ({ status, published }) => {
      this.#isHeartbeatOk = published && status.ok;
      heartbeat.set(this.#isHeartbeatOk ? 1 : 0);
      for (const kind of ["realized", "unrealized"] as const) {
        const value = status.pnl?.[kind];
        if (typeof value === "number") pnl[kind].set(value);
      }
    });
  }

  /** The last heartbeat went out and said that the bot is well. */
  get isHeartbeatOk(): boolean {
    return this.#isHeartbeatOk;
  }

  #symbolOf({ symbol }: OrderIntent): string {
    if (this.#symbols.size < MAX_SYMBOLS) this.#symbols.add(symbol);
    return this.#symbols.has(symbol) ? symbol : "other";
  }
}
