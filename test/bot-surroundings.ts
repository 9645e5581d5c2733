/** What a bot under test lives in: time that moves only when told to, signals of its own, a log that is read. */
import type { Bot, ContextOptions, Logger, RuntimeConfig, SignalSource } from "../src/bot/index.ts";
import {
  BotRuntime,
  BufferHeartbeatPublisher,
  createBotContext,
  ListOrderPublisher,
  QueueControlChannel,
  QueueMarketDataClient,
} from "../src/bot/index.ts";
import type { Clock } from "../src/std/clock.ts";
import type { Timers } from "../src/std/timers.ts";
import { eventually } from "./gateway.ts";

interface Delay {
  at: number;
  callback: () => void;
}

/** A clock and its timers; `advance` lives through the time between. */
export class ManualTime implements Clock, Timers {
  #micros = 1_700_000_000_000_000;
  readonly #delays = new Set<Delay>();

  now(): number {
    return this.#micros;
  }

  /** Timers that are set. */
  get waiting(): number {
    return this.#delays.size;
  }

  setTimeout(callback: () => void, delayMs: number): Delay {
    const delay = { at: this.#micros + delayMs * 1000, callback };
    this.#delays.add(delay);
    return delay;
  }

  clearTimeout(handle: unknown): void {
    this.#delays.delete(handle as Delay);
  }

  /** Moves the time on, and calls what is due in order, each at its time. */
  advance(ms: number): void {
    const until = this.#micros + ms * 1000;
    for (;;) {
      const [next] = [...this.#delays].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#delays.delete(next);
      this.#micros = Math.max(this.#micros, next.at);
      next.callback();
    }
    this.#micros = until;
  }
}

/** Lets everything go on that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class Signals implements SignalSource {
  readonly listeners = new Map<string, () => void>();

  on(signal: string, listener: () => void): void {
    this.listeners.set(signal, listener);
  }

  off(signal: string, listener: () => void): void {
    if (this.listeners.get(signal) === listener) this.listeners.delete(signal);
  }

  send(signal: "SIGTERM" | "SIGINT"): void {
    this.listeners.get(signal)?.();
  }
}

/** A log whose messages can be looked at. */
export class Log implements Logger {
  readonly lines: string[] = [];
  debug = (fields: object, message: string) => this.#write(fields, message);
  info = (fields: object | string, message?: string) => this.#write(fields, message);
  warn = (fields: object, message: string) => this.#write(fields, message);
  error = (fields: object, message: string) => this.#write(fields, message);
  child = () => this;

  #write(fields: object | string, message: string | undefined): void {
    this.lines.push(message ?? String(fields));
  }
}

/** A bot in surroundings of which every part is at hand. */
export function surround(bot: Bot, config: RuntimeConfig = {}, context: Partial<ContextOptions> = {}) {
  const time = new ManualTime();
  const signals = new Signals();
  const log = new Log();
  const market = new QueueMarketDataClient();
  const orders = new ListOrderPublisher();
  const control = new QueueControlChannel(time);
  const heartbeats = new BufferHeartbeatPublisher();
  const ctx = createBotContext({
    botId: "bot-1",
    accountId: "acc-1",
    marketData: market,
    orders,
    control,
    heartbeat: heartbeats,
    logger: log,
    ...context,
  });
  const runtime = new BotRuntime(bot, ctx, { clock: time, timers: time, signals, ...config });
  return { runtime, ctx, time, signals, log, market, orders, control, heartbeats };
}

/** Lets the time of a runtime pass, interval by interval, until something holds. */
export async function passTime(time: ManualTime, stepMs: number, holds: () => boolean, what: string): Promise<void> {
  await eventually(() => {
    if (holds()) return true;
    time.advance(stepMs);
    return false;
  }, what);
}
