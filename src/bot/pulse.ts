import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { Bot } from "./bot-base.ts";
import type { BotContext } from "./context.ts";
import { messageOf } from "./errors.ts";
import type { BotHealth, Heartbeat, HeartbeatPublisher } from "./heartbeat.ts";
import type { MutableStats } from "./runtime-stats.ts";

/** How a heartbeat went. */
export interface HeartbeatReport {
  readonly status: BotHealth;
  /** It was brought out. */
  readonly published: boolean;
}

export interface PulseOptions {
  bot: Bot;
  ctx: BotContext;
  publisher: HeartbeatPublisher;
  stats: MutableStats;
  intervalMs: number;
  clock: Clock;
  timers: Timers;
  onBeat(report: HeartbeatReport): void;
}

/**
 * Sends heartbeats, on a timer of its own: they come also while the bot waits for the market. A `health` that hangs
 * holds them back, because a bot that cannot say how it is is not well; one that throws makes a heartbeat that is not ok.
 */
export class Pulse {
  readonly #options: PulseOptions;
  #timer: TimerHandle;
  #isUnderWay = false;
  #isStopped = false;

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  /** Sends the first heartbeat at once. */
  start(): void {
    this.#due();
  }

  #due(): void {
    const { timers, intervalMs, stats } = this.#options;
    if (this.#isUnderWay) stats.heartbeatsSkipped += 1;
    else void this.#beat();
    this.#timer = timers.setTimeout(() => this.#due(), intervalMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#options.timers.clearTimeout(this.#timer);
  }

  async #beat(): Promise<void> {
    const { publisher, stats, clock, ctx, onBeat } = this.#options;
    this.#isUnderWay = true;
    const status = await this.#health();
    const sentAt = Math.floor(clock.now() / 1000);
    const { ticks, ordersPublished, lastError } = stats;
    const { botId, accountId } = ctx;
    const heartbeat: Heartbeat = { botId, accountId, sentAt, status, stats: { ticks, ordersPublished, lastError } };
    let published = false;
    try {
      await publisher.publish(heartbeat);
      stats.lastHeartbeatAt = sentAt;
      published = true;
    } catch (error) {
      this.#failed("bot_heartbeat_failed", error);
    }
    this.#isUnderWay = false;
    if (!this.#isStopped) onBeat({ status, published });
  }

  async #health(): Promise<BotHealth> {
    try {
      return (await this.#options.bot.health?.()) ?? { ok: true };
    } catch (error) {
      this.#failed("bot_health_failed", error);
      return { ok: false, error: messageOf(error) };
    }
  }

  #failed(message: string, error: unknown): void {
    this.#options.stats.heartbeatErrors += 1;
    this.#options.ctx.logger.warn({ error: messageOf(error) }, message);
  }
}
