import { randomInt } from "node:crypto";
import type { Logger } from "pino";
import type { Config, ReplaySettings } from "./config.ts";
import { Demand } from "./engine/demand.ts";
import { Engine } from "./engine/engine.ts";
import { Playback } from "./engine/playback.ts";
import { SilentFrameWriter } from "./engine/silent-frame-writer.ts";
import { RecordedTime } from "./feeds/recording-time.ts";
import { IndicatorSet } from "./indicators/registry.ts";
import { JournalPlayer } from "./journal/player.ts";
import { type JournalFrame, JournalReader } from "./journal/reader.ts";
import { Catalog } from "./market/instrument.ts";
import { newEpoch } from "./restart.ts";
import { Server } from "./server/server.ts";
import { SystemClock } from "./std/clock.ts";
import { Random } from "./std/random.ts";
import { systemTimers } from "./std/timers.ts";
import { Turn } from "./std/turn.ts";
import { FrameLog } from "./wire/frame-log.ts";

/** How often time alone moves an engine that recomputes. */
const TICK_MS = 25;
const SWEEP_MS = 250;
const LOOK_MS = 10;

/**
 * A server whose source is one epoch of a journal. Its ring holds the stored frames byte for byte, under the epoch that
 * they have, and the engine follows; or, with `recompute`, the engine is given the venues' events and writes anew.
 *
 *   journal ─> player ─> playback ─> engine: books, bars, states     (silent, or writing anew)
 *                  └──── stored frames ──> ring ─> publisher
 */
export class Replay {
  readonly server: Server;
  readonly #config: Config;
  readonly #settings: ReplaySettings;
  readonly #epoch: number;
  readonly engine: Engine;
  readonly #time = new RecordedTime();
  readonly #turn = new Turn(this.#time);
  readonly #player: JournalPlayer;
  readonly #playback: Playback;
  readonly #recompute: boolean;
  #began = false;
  #stopped = false;

  /** `mayPlay`: false until the program that this is for has asked for what it wants. */
  constructor(
    config: Config,
    settings: ReplaySettings,
    epoch: number,
    log: Logger,
    version: string,
    mayPlay: () => boolean,
  ) {
    this.#config = config;
    this.#settings = settings;
    this.#epoch = epoch;
    this.#recompute = settings.recompute;
    const catalog = new Catalog();
    const indicators = new IndicatorSet(undefined, !settings.recompute);
    const random = new Random(randomInt(2 ** 32));
    const frames = new FrameLog(config.ringBytes, settings.recompute ? newEpoch() : epoch);
    this.engine = new Engine({
      catalog,
      log: frames,
      clock: this.#turn,
      indicators,
      bars: { timeframes: config.timeframes, historyBars: config.historyBars, latenessMicros: config.lateMicros },
      freshness: { quietMicros: config.quietMicros, staleMicros: config.staleMicros },
      ...(settings.recompute ? {} : { frames: new SilentFrameWriter(frames, this.#turn) }),
    });
    this.#playback = new Playback(this.engine, settings.recompute);
    this.server = new Server({
      engine: this.engine,
      // The journal brings what it has, whoever asks.
      demand: new Demand({
        graceMs: config.graceMs,
        after: () => () => {},
        open: () => {},
        close: () => {},
        quotesFromBook: () => false,
      }),
      indicators,
      turn: this.#turn,
      wall: new SystemClock(),
      log: log.child({ part: "server" }),
      limits: config.limits,
      mode: "replay",
      version,
      random: () => random.next(),
      origins: config.origins,
      anyHost: config.anyHost,
      requiredVenues: [],
      metricsSymbols: config.metricsSymbols,
      journal: () => undefined,
      past: undefined,
      feeds: () => [],
    });
    const { directory, fromTime, toTime, speed, paced } = settings;
    this.#player = new JournalPlayer({
      directory,
      epoch,
      fromTime,
      toTime,
      speed,
      play: (frame, shown) => this.#play(frame, shown),
      endTurn: () => this.#turn.end(),
      mayPlay: () => mayPlay() && (!paced || (this.server.subscriptionCount > 0 && !this.server.isBusy)),
      onDamage: (damage) => log.warn(damage, "the journal is damaged"),
      onGap: (gap) => log.warn(gap, "the journal has not got these positions"),
      clock: new SystemClock(),
      timers: systemTimers,
    });
  }

  #play(frame: JournalFrame, shown: boolean): void {
    const { memory, at, length, copy, position, stream, sequence, time } = frame;
    const { frames } = this.engine;
    if (!copy) this.#time.advance(time);
    this.#playback.take(memory, at);
    if (copy || this.#recompute) return;
    if (!shown) return frames.pass(stream, sequence);
    if (!this.#began) frames.log.begin(position - 1);
    this.#began = true;
    frames.load(memory, at, length);
  }

  /** Lists what the epoch's last file knows, which is all that came before it, too. */
  #foresee(): void {
    const { directory, toTime } = this.#settings;
    const reader = new JournalReader(directory);
    this.#time.advance(this.#player.firstTime);
    for (const file of reader.files().reverse()) {
      let isOfEpoch = false;
      for (const { memory, at } of reader.frames({ files: [file], epoch: this.#epoch, toTime, copies: true })) {
        isOfEpoch = true;
        this.#playback.foresee(memory, at);
      }
      if (isOfEpoch) break;
    }
    this.#turn.end();
  }

  /** Resolves when what is shown may begin. */
  get ready(): Promise<void> {
    return this.#player.ready;
  }

  /** Listens and begins to play; resolves to the port, or to what is wrong. */
  async start(port = this.#config.port): Promise<{ port: number } | { error: string }> {
    this.#foresee();
    const listening = await this.server.listen(this.#config.host, port);
    if ("error" in listening) return listening;
    if (this.#recompute) {
      this.#every(TICK_MS, () => this.engine.tick());
      this.#every(SWEEP_MS, () => this.engine.sweep());
    }
    this.#player.start();
    return listening;
  }

  #every(ms: number, action: () => void): void {
    this.#time.setTimeout(() => {
      if (this.engine.venues.length > 0) action();
      // The frame that comes next is of a later time.
      this.#turn.end();
      this.#every(ms, action);
    }, ms);
  }

  /** Resolves, once the last frame was played, to how many were shown. */
  get ended(): Promise<number> {
    return this.#player.ended.then(() => this.#player.shown);
  }

  /** Resolves once every client has all that was played. */
  async drained(): Promise<void> {
    while (!this.#stopped && this.server.isBusy) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#player.stop();
    this.#turn.end();
    await this.server.stop();
  }
}
