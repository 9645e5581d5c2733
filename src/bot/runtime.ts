import { EventEmitter } from "node:events";
import { setImmediate as endOfTurn } from "node:timers/promises";
import type { TimerHandle } from "../std/timers.ts";
import type { Bot, BotEvent, StopReason } from "./bot-base.ts";
import { stopOrderOf } from "./command-contract.ts";
import type { BotContext, Logger } from "./context.ts";
import { ControlInbox } from "./control-inbox.ts";
import { BotError, messageOf } from "./errors.ts";
import { type Feed, FetchFeed, feedOf } from "./feed.ts";
import { EMPTY_SNAPSHOT, type MarketSnapshot } from "./market-data.ts";
import type { OrderIntent } from "./order-contract.ts";
import { type HeartbeatReport, Pulse } from "./pulse.ts";
import { type RuntimeConfig, type RuntimeSettings, readSettings } from "./runtime-config.ts";
import { emptyStats, type RuntimeStats } from "./runtime-stats.ts";
import { Shutdown } from "./shutdown.ts";
import { Ticker, type TickReport } from "./ticker.ts";

/** Where a bot is in its life. `error`: it did not start. */
export type BotPhase = "created" | "starting" | "running" | "stopping" | "stopped" | "error";

export interface RunResult {
  /** What the bot was stopped by: the first reason that was given. */
  readonly reason: StopReason;
  /** Something was still running when its time was over: a tick, or `onStop`. */
  readonly forcedStop: boolean;
  readonly stats: RuntimeStats;
}

/** What a runtime tells: listeners are called at once, and what they throw is logged. */
export interface RuntimeEvents {
  phase: [phase: BotPhase];
  tick: [report: TickReport];
  /** An order is out. */
  order: [order: OrderIntent];
  heartbeat: [report: HeartbeatReport];
  /** After each tick and each heartbeat. */
  stats: [stats: RuntimeStats];
}

/**
 * Drives a bot through its life, once. One hook is called at a time, ticks in the order of the market; control messages
 * that have come are worked off before each tick, and while the next one is waited for; heartbeats have their own timer.
 */
export class BotRuntime extends EventEmitter<RuntimeEvents> {
  readonly #bot: Bot;
  readonly #ctx: BotContext;
  readonly #settings: RuntimeSettings;
  readonly #log: Logger;
  readonly #stats = emptyStats();
  readonly #ticker: Ticker;
  readonly #shutdown: Shutdown;
  #phase: BotPhase = "created";
  #inbox: ControlInbox | undefined;
  /** Ends the wait that is under way. */
  #interrupt: () => void = () => {};

  /** Throws `bad_config`. */
  constructor(bot: Bot, ctx: BotContext, config: RuntimeConfig = {}) {
    super();
    if (typeof bot?.onTick !== "function") throw new BotError("bad_config", "bot: has no onTick");
    this.#bot = bot;
    this.#ctx = ctx;
    this.#settings = readSettings(config);
    this.#log = ctx.logger.child({ part: "runtime" });
    const { gracefulShutdownTimeoutMs, timers } = this.#settings;
    this.#shutdown = new Shutdown(gracefulShutdownTimeoutMs, timers, this.#log);
    this.#ticker = new Ticker({
      bot,
      ctx,
      stats: this.#stats,
      clock: this.#settings.clock,
      log: this.#log,
      stopping: this.#shutdown.stopping,
      overdue: this.#shutdown.overdue,
      onEvent: (event) => this.#event(event),
      onOrder: (order) => this.#tell("order", order),
      onFenced: () => this.stop("fenced"),
    });
  }

  /** Lives on: what it shows changes. */
  get stats(): RuntimeStats {
    return this.#stats;
  }

  get phase(): BotPhase {
    return this.#phase;
  }

  /**
   * Stops the bot; the first reason counts. What is running is given `timeoutMs`, else the usual time. `run` resolves when
   * the bot has stopped.
   */
  stop(reason: StopReason = "external-request", timeoutMs?: number): void {
    if (timeoutMs !== undefined) this.#shutdown.hurry(timeoutMs);
    this.#shutdown.request(reason);
    this.#interrupt();
  }

  /**
   * Starts the bot and drives it until it is stopped. Rejects with `start_failed` when `onStart` threw, after `onStop`
   * was called, and with `already_run` the second time. Who stops it before it runs gets `onStart` and `onStop` all the
   * same.
   */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<RunResult> {
    if (this.#phase !== "created") throw new BotError("already_run", "a runtime runs once: make another");
    const unlisten = this.#listen(signal);
    try {
      return await this.#live();
    } finally {
      unlisten();
      this.#shutdown.close();
    }
  }

  #listen(signal: AbortSignal | undefined): () => void {
    const { handleSignals, signals } = this.#settings;
    const onTerm = () => this.stop("signal-sigterm");
    const onInt = () => this.stop("signal-sigint");
    const onAbort = () => this.stop("aborted");
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    if (handleSignals) signals.on("SIGTERM", onTerm);
    if (handleSignals) signals.on("SIGINT", onInt);
    return () => {
      signal?.removeEventListener("abort", onAbort);
      if (handleSignals) signals.off("SIGTERM", onTerm);
      if (handleSignals) signals.off("SIGINT", onInt);
    };
  }

  async #live(): Promise<RunResult> {
    this.#enter("starting");
    this.#log.info("bot_runtime_starting");
    let failure: BotError | undefined;
    await this.#shutdown.finish(
      (async () => this.#bot.onStart?.())().catch((cause: unknown) => {
        failure = new BotError("start_failed", `onStart: ${messageOf(cause)}`, { cause });
        this.#stats.lastError = messageOf(cause);
      }),
    );
    if (failure === undefined && !this.#shutdown.stopping.aborted) await this.#drive();
    this.stop(failure === undefined ? "runtime_shutdown" : "start-failed");
    this.#enter("stopping");
    const reason = this.#shutdown.reason as StopReason;
    await this.#shutdown.finishLast(this.#callOnStop(reason));
    if (failure === undefined && !this.#shutdown.isForced) await this.#shutdown.finishLast(this.#ticker.close());
    this.#log.info({ reason }, "bot_runtime_stopped");
    this.#enter(failure === undefined ? "stopped" : "error");
    if (failure !== undefined) throw failure;
    return { reason, forcedStop: this.#shutdown.isForced, stats: { ...this.#stats } };
  }

  async #drive(): Promise<void> {
    const { source, maxQueuedSnapshots, timers, clock, heartbeatIntervalMs: intervalMs } = this.#settings;
    this.#enter("running");
    const { control, heartbeat: publisher, marketData } = this.#ctx;
    const inbox = control && new ControlInbox(control, timers, this.#inboxEvents());
    this.#inbox = inbox;
    void inbox?.run();
    const onBeat = (report: HeartbeatReport) => {
      this.#tell("heartbeat", report);
      this.#tell("stats", this.#stats);
    };
    const parts = { bot: this.#bot, ctx: this.#ctx, stats: this.#stats, intervalMs, clock, timers, onBeat };
    const pulse = publisher && new Pulse({ ...parts, publisher });
    pulse?.start();
    let feed: Feed | undefined;
    try {
      feed = source === undefined ? new FetchFeed(marketData) : feedOf(source, maxQueuedSnapshots);
      await this.#loop(feed);
    } catch (error) {
      this.#stats.lastError = messageOf(error);
      this.#log.error({ error: messageOf(error) }, "bot_runtime_failed");
    } finally {
      pulse?.stop();
      inbox?.stop();
      feed?.close();
    }
  }

  async #loop(feed: Feed): Promise<void> {
    const { pollIntervalMs, source, tickOnEmpty, clock } = this.#settings;
    const { stopping } = this.#shutdown;
    while (!stopping.aborted) {
      // A source that always has something must not keep timers and sockets from their turn.
      await endOfTurn();
      await this.#drain();
      if (stopping.aborted) return;
      const startedAt = clock.now();
      const isReady = await this.#isSettled();
      const market = isReady ? await this.#next(feed) : undefined;
      this.#stats.snapshotsDropped = feed.dropped;
      if (stopping.aborted) return;
      if (isReady && market === undefined && feed.ended) this.stop("market-data-ended");
      else if (isReady && market !== "failed" && (market !== undefined || (tickOnEmpty && source === undefined))) {
        await this.#tick(market ?? EMPTY_SNAPSHOT);
      }
      // What failed is not tried again at once, and what has nothing is not asked again at once.
      const isIdle = !isReady || market === "failed" || market === undefined;
      if (source === undefined || isIdle) await this.#sleep(pollIntervalMs - (clock.now() - startedAt) / 1000);
    }
  }

  /** True when the next tick may come: a publisher that is transactional loses none of its orders. */
  async #isSettled(): Promise<boolean> {
    if (this.#ticker.isSettled) return true;
    await this.#shutdown.finish(this.#ticker.settle());
    this.#checkBudget();
    return this.#ticker.isSettled && !this.#shutdown.stopping.aborted;
  }

  /** The next snapshot; undefined when there is none, or the bot stops. Serves control messages meanwhile. */
  async #next(feed: Feed): Promise<MarketSnapshot | "failed" | undefined> {
    const fetched = (async () => feed.next(this.#shutdown.stopping))().then(
      (market) => ({ market }),
      (error: unknown) => ({ market: "failed" as const, error }),
    );
    for (;;) {
      const outcome = await this.#unlessInterrupted(fetched);
      if (this.#shutdown.stopping.aborted) return undefined;
      if (outcome !== undefined) {
        if ("error" in outcome) this.#ticker.failed(outcome.error);
        this.#checkBudget();
        return outcome.market;
      }
      await this.#drain();
    }
  }

  async #tick(market: MarketSnapshot): Promise<void> {
    let report: TickReport | undefined;
    await this.#shutdown.finish(
      this.#ticker.tick(market).then((done) => {
        report = done;
      }),
    );
    if (report !== undefined) this.#tell("tick", report);
    this.#tell("stats", this.#stats);
    this.#checkBudget();
  }

  #checkBudget(): void {
    const { maxConsecutiveErrors } = this.#settings;
    if (maxConsecutiveErrors === 0 || this.#stats.consecutiveErrors < maxConsecutiveErrors) return;
    this.#log.error({ errors: this.#stats.consecutiveErrors }, "bot_max_consecutive_errors_reached");
    this.stop("max-errors");
  }

  async #sleep(delayMs: number): Promise<void> {
    const { timers, clock } = this.#settings;
    const until = clock.now() + Math.max(0, delayMs) * 1000;
    while (!this.#shutdown.stopping.aborted) {
      let timer: TimerHandle;
      const elapsed = new Promise<true>((resolve) => {
        timer = timers.setTimeout(() => resolve(true), Math.max(0, until - clock.now()) / 1000);
      });
      const isOver = await this.#unlessInterrupted(elapsed);
      timers.clearTimeout(timer);
      if (isOver) return;
      await this.#drain();
    }
  }

  /** What `promise` resolves to; undefined as soon as there is something else to be done. */
  #unlessInterrupted<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#shutdown.stopping.aborted || (this.#inbox?.size ?? 0) > 0) resolve(undefined);
      this.#interrupt = () => resolve(undefined);
      promise.then(resolve, reject);
    });
  }

  /** Works off the control messages that have come, up to one that stops the bot. */
  async #drain(): Promise<void> {
    while (!this.#shutdown.stopping.aborted) {
      const message = this.#inbox?.take();
      if (message === undefined) return;
      await this.#shutdown.finish(this.#event(message));
      const order = stopOrderOf(message);
      if (order !== undefined) this.stop(order.reason);
    }
  }

  #inboxEvents() {
    return {
      onArrival: () => this.#interrupt(),
      onStopMessage: (timeoutMs: number | undefined) => this.#shutdown.hurry(timeoutMs),
      onError: (error: unknown) => {
        this.#stats.controlErrors += 1;
        this.#log.warn({ error: messageOf(error) }, "bot_control_failed");
      },
    };
  }

  async #event(event: BotEvent): Promise<void> {
    try {
      await this.#bot.onEvent?.(event);
    } catch (error) {
      this.#stats.eventErrors += 1;
      this.#log.error({ error: messageOf(error), type: event.type }, "bot_event_failed");
    }
  }

  async #callOnStop(reason: StopReason): Promise<void> {
    try {
      await this.#bot.onStop?.(reason);
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, "bot_on_stop_failed");
    }
  }

  #enter(phase: BotPhase): void {
    this.#phase = phase;
    this.#tell("phase", phase);
  }

  #tell<Name extends keyof RuntimeEvents>(name: Name, ...values: RuntimeEvents[Name]): void {
    try {
      (this as EventEmitter).emit(name, ...values);
    } catch (error) {
      this.#log.error({ error: messageOf(error), event: name }, "bot_listener_failed");
    }
  }
}
