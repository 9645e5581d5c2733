import { EventEmitter } from "node:events";
import { isDeepStrictEqual } from "node:util";
import { Backoff, type BackoffOptions } from "../std/backoff.ts";
import { type Clock, SystemClock } from "../std/clock.ts";
import { createLogger } from "../std/log.ts";
import { systemTimers, type TimerHandle, type Timers } from "../std/timers.ts";
import type { Awaitable, StopReason } from "./bot-base.ts";
import { type BotCommand, parseBotCommand } from "./command-contract.ts";
import type { Logger } from "./context.ts";
import { type ControlChannel, type ControlMessage, QueueControlChannel } from "./control.ts";
import { BotError, messageOf } from "./errors.ts";
import { pause } from "./pending-read.ts";
import type { BotRuntime } from "./runtime.ts";
import { snakeNames } from "./wire-names.ts";

/** What is to run. */
export interface Launch {
  readonly image: string;
  readonly configRevision: string | number;
  readonly overrides: Readonly<Record<string, unknown>>;
  /** For the bot's context: what comes that is no command of the supervisor's. */
  readonly control: ControlChannel;
}

/** Where a bot is. Times are epoch milliseconds. */
export interface BotStatus {
  readonly botId: string;
  readonly phase: "starting" | "running" | "stopping" | "stopped" | "error";
  /** What runs, or ran last; undefined before the first start. */
  readonly image: string | undefined;
  readonly configRev: string | number | undefined;
  /** The last stop had to leave something unfinished. */
  readonly forcedStop: boolean;
  /** Why it stopped. */
  readonly reason: StopReason | undefined;
  readonly error: string | undefined;
  /** Starts after a failure since the last command. */
  readonly restarts: number;
  readonly at: number;
}

export interface SupervisorOptions {
  botId: string;
  /** Where commands come from: start, stop, rollout. Other messages are the bot's. */
  control: ControlChannel;
  /** Makes the bot that is to run, and its runtime, which is not to handle signals. */
  launch(launch: Launch): Awaitable<BotRuntime>;
  /** How long a bot that failed is left alone; 1 s, at most 60 s, from the base again after a good minute. */
  restart?: BackoffOptions;
  logger?: Logger;
  clock?: Clock;
  timers?: Timers;
  random?: () => number;
}

const RESTART: BackoffOptions = { baseMs: 1000, maxMs: 60_000, healthyAfterMs: 60_000 };
/** Ids of commands that came, to know those that come twice. */
const MAX_KNOWN_COMMANDS = 1000;
/** A channel that answers with nothing, or fails, is asked again after so many milliseconds. */
const IDLE_MS = 50;
const FAILED_MS = 1000;
/** The longest delay that a timer of Node knows. */
const LONGEST_MS = 2 ** 31 - 1;
/** Failures: it is started again. Whatever else a bot ends by is its own will, or somebody's. */
const FAILURES: ReadonlySet<StopReason> = new Set(["max-errors", "start-failed"]);

type Wanted = Omit<Launch, "control">;

/**
 * Runs a bot as it is told to: the last command says what is wanted, and the supervisor brings it about, one step at a
 * time. A command that comes twice counts once; a bot that fails is started again, later each time; one that ends by
 * itself stays stopped.
 */
export class BotSupervisor extends EventEmitter<{ status: [status: BotStatus] }> {
  readonly #options: SupervisorOptions;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #known = new Set<string>();
  #status: BotStatus;
  #wanted: Wanted | undefined;
  #stopBy: { reason: StopReason; timeoutMs: number | undefined } = { reason: "runtime_shutdown", timeoutMs: undefined };
  #running: { wanted: Wanted; runtime: BotRuntime; ended: Promise<void> } | undefined;
  /** Of the bot that runs, or is being made. */
  #control: QueueControlChannel | undefined;
  #timer: TimerHandle;
  /** One step at a time. */
  #work: Promise<void> = Promise.resolve();

  constructor(options: SupervisorOptions) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? new SystemClock();
    this.#timers = options.timers ?? systemTimers;
    this.#log = options.logger ?? createLogger("info").child({ supervisor: options.botId });
    this.#backoff = new Backoff(options.restart ?? RESTART, options.random ?? Math.random);
    const nothing = { image: undefined, configRev: undefined, reason: undefined, error: undefined };
    const { botId } = options;
    this.#status = { botId, phase: "stopped", ...nothing, forcedStop: false, restarts: 0, at: this.#now() };
  }

  get status(): BotStatus {
    return this.#status;
  }

  #now(): number {
    return Math.floor(this.#clock.now() / 1000);
  }

  /** Obeys until `signal` is aborted; then the bot is stopped, and this resolves. */
  async run({ signal }: { signal: AbortSignal }): Promise<void> {
    while (!signal.aborted) {
      const idleMs = await this.#receive(signal);
      if (idleMs > 0) await pause(idleMs, signal, this.#timers);
    }
    await this.stop("external-request");
  }

  /** Takes the next message; returns how long the channel is left alone then. */
  async #receive(signal: AbortSignal): Promise<number> {
    try {
      const message = await this.#options.control.receive({ signal });
      if (message === undefined) return IDLE_MS;
      this.take(message);
      return 0;
    } catch (error) {
      if (signal.aborted) return 0;
      this.#log.warn({ error: messageOf(error) }, "supervisor_control_failed");
      // The channel is well where a message cannot be read, or is one too many for the bot.
      return error instanceof BotError && ["bad_message", "queue_full"].includes(error.code) ? 0 : FAILED_MS;
    }
  }

  /** Takes a message: a command, or one for the bot. */
  take(message: ControlMessage): void {
    const type = message.type.toLowerCase().replace(/^bot\./, "");
    if (type === "start" || type === "stop" || type === "rollout") {
      try {
        this.apply(parseBotCommand(message));
      } catch (error) {
        this.#log.warn({ error: messageOf(error) }, "supervisor_command_refused");
      }
    } else this.#control?.put(message);
  }

  /** Takes a command; what it wants is brought about in the background, and told by `status`. */
  apply(command: BotCommand): void {
    if (this.#known.has(command.commandId)) return;
    this.#known.add(command.commandId);
    if (this.#known.size > MAX_KNOWN_COMMANDS) this.#known.delete(this.#known.values().next().value as string);
    if (command.type === "stop") {
      const { mode, timeoutMs, reason } = command;
      void this.stop(reason || "stop-command", mode === "force" ? 0 : timeoutMs);
      return;
    }
    if (command.type === "rollout" && this.#wanted === undefined) {
      this.#log.warn({ command: command.commandId }, "supervisor_rollout_of_a_stopped_bot");
      return;
    }
    const { image, configRevision, overrides = {} } = command;
    if (command.type === "start" && this.#running?.wanted === this.#wanted && this.#isWanted(command)) return;
    this.#wanted = { image, configRevision, overrides };
    this.#stopBy = { reason: "rollout", timeoutMs: undefined };
    this.#status = { ...this.#status, restarts: 0 };
    const effectiveAt = command.type === "start" ? (command.effectiveAt ?? 0) : 0;
    this.#later(Math.max(0, effectiveAt - this.#now()));
  }

  /** True when what a command asks for is what runs. */
  #isWanted({ image, configRevision, overrides = {} }: Extract<BotCommand, { type: "start" }>): boolean {
    const wanted = this.#wanted;
    if (wanted?.image !== image || wanted.configRevision !== configRevision) return false;
    return isDeepStrictEqual(wanted.overrides, overrides);
  }

  /** Stops the bot; resolves when it has stopped. What is running is given `timeoutMs`, else what its runtime was told. */
  stop(reason: StopReason, timeoutMs?: number): Promise<void> {
    this.#wanted = undefined;
    this.#stopBy = { reason, timeoutMs };
    this.#timers.clearTimeout(this.#timer);
    return this.#step();
  }

  #later(delayMs: number): void {
    this.#timers.clearTimeout(this.#timer);
    if (delayMs === 0) void this.#step();
    else if (delayMs > LONGEST_MS)
      this.#timer = this.#timers.setTimeout(() => this.#later(delayMs - LONGEST_MS), LONGEST_MS);
    else this.#timer = this.#timers.setTimeout(() => void this.#step(), delayMs);
  }

  /** Brings about what is wanted by the time that it is this step's turn. */
  #step(): Promise<void> {
    // Whoever is being started is told to stop at once, not only when it has begun.
    this.#stopOther();
    this.#work = this.#work.then(async () => {
      while (this.#running !== undefined && this.#stopOther()) await this.#running.ended;
      if (this.#wanted !== undefined && this.#running === undefined) await this.#launch(this.#wanted);
      // A bot that had failed was told to stop: it is not started again.
      const { reason } = this.#stopBy;
      if (this.#wanted === undefined && this.#status.phase === "error") this.#tell({ phase: "stopped", reason });
    });
    return this.#work;
  }

  /** True when what runs is not what is wanted, and is being stopped. */
  #stopOther(): boolean {
    if (this.#running === undefined || this.#running.wanted === this.#wanted) return false;
    this.#running.runtime.stop(this.#stopBy.reason, this.#stopBy.timeoutMs);
    return true;
  }

  async #launch(wanted: Wanted): Promise<void> {
    const { image, configRevision: configRev } = wanted;
    this.#tell({ phase: "starting", image, configRev, forcedStop: false, reason: undefined, error: undefined });
    const control = new QueueControlChannel(this.#timers);
    this.#control = control;
    const startedAt = this.#now();
    let runtime: BotRuntime;
    try {
      runtime = await this.#options.launch({ ...wanted, control });
    } catch (error) {
      return this.#failed(wanted, messageOf(error), startedAt);
    }
    runtime.on("phase", (phase) => {
      if (phase === "running" || phase === "stopping") this.#tell({ phase });
    });
    const ended = runtime.run().then(
      ({ reason, forcedStop }) => this.#ended(wanted, reason, forcedStop, startedAt),
      (error: unknown) => {
        this.#running = undefined;
        this.#failed(wanted, messageOf(error), startedAt);
      },
    );
    this.#running = { wanted, runtime, ended };
  }

  #ended(wanted: Wanted, reason: StopReason, forcedStop: boolean, startedAt: number): void {
    const error = this.#running?.runtime.stats.lastError;
    this.#running = undefined;
    this.#control = undefined;
    if (FAILURES.has(reason)) return this.#failed(wanted, error ?? reason, startedAt, { reason, forcedStop });
    if (this.#wanted === wanted) this.#wanted = undefined;
    const isFenced = reason === "fenced";
    this.#tell({ phase: isFenced ? "error" : "stopped", reason, forcedStop, error: isFenced ? reason : undefined });
  }

  #failed(wanted: Wanted, error: string, startedAt: number, more: Partial<BotStatus> = {}): void {
    this.#control = undefined;
    this.#tell({ phase: "error", error, ...more });
    this.#backoff.wasGoodFor(this.#now() - startedAt);
    if (this.#wanted !== wanted) return;
    this.#status = { ...this.#status, restarts: this.#status.restarts + 1 };
    this.#later(this.#backoff.next());
  }

  #tell(change: Partial<BotStatus>): void {
    this.#status = { ...this.#status, ...change, at: this.#now() };
    this.#log.info({ phase: this.#status.phase }, "supervisor_status");
    try {
      this.emit("status", this.#status);
    } catch (error) {
      // What a listener throws must not keep the bot from being stopped.
      this.#log.warn({ error: messageOf(error) }, "supervisor_listener_failed");
    }
  }
}

/** The JSON text of a status, as it goes over the wire: `bot.status`, snake_case. */
export function statusText(status: BotStatus): string {
  return JSON.stringify({ type: "bot.status", ...snakeNames(status) });
}
