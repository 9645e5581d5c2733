import { randomInt } from "node:crypto";
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import { Demand } from "./engine/demand.ts";
import { Engine } from "./engine/engine.ts";
import { Opening } from "./engine/opening.ts";
import type { Feed } from "./feeds/feed.ts";
import { createFeed } from "./feeds/index.ts";
import { RecordedTime } from "./feeds/recording-time.ts";
import { IndicatorSet } from "./indicators/registry.ts";
import type { OpenedJournal } from "./journal/open.ts";
import { openJournal } from "./journal/open.ts";
import { JournalPast } from "./journal/past.ts";
import { JournalWriter } from "./journal/writer.ts";
import type { Instrument } from "./market/instrument.ts";
import { Catalog } from "./market/instrument.ts";
import type { Restored } from "./restart.ts";
import { epochOf, newEpoch, restore } from "./restart.ts";
import { Server } from "./server/server.ts";
import { SystemClock } from "./std/clock.ts";
import { Random } from "./std/random.ts";
import type { TimerHandle, Timers } from "./std/timers.ts";
import { systemTimers } from "./std/timers.ts";
import { Turn } from "./std/turn.ts";
import { FrameLog } from "./wire/frame-log.ts";

/** How often time alone moves the engine: bars close, books are asked for again, conflated frames go out. */
const TICK_MS = 25;
const SWEEP_MS = 250;

/**
 * The whole gateway, wired in the order in which a tick flows: feeds -> engine -> ring -> publisher. No logic.
 */
export class Gateway {
  readonly engine: Engine;
  readonly server: Server;
  readonly feeds: Feed[] = [];
  readonly #config: Config;
  readonly #log: Logger;
  /** A recording brings its own time, so that it makes the same frames at any speed. */
  readonly #recorded = new RecordedTime();
  readonly turn: Turn;
  readonly #opening: Opening;
  readonly #demand: Demand;
  readonly #timers: Timers;
  readonly #stopTimers: (() => void)[] = [];
  #opened: OpenedJournal | undefined;
  #journal: JournalWriter | undefined;
  #past: JournalPast | undefined;
  #restored: Restored | undefined;
  /** Why it cannot start. */
  #error: string | undefined;

  constructor(config: Config, log: Logger, version: string) {
    this.#config = config;
    this.#log = log;
    const isReplay = config.mode === "replay";
    this.turn = new Turn(isReplay ? this.#recorded : new SystemClock());
    this.#timers = isReplay ? this.#recorded : systemTimers;
    const catalog = new Catalog();
    this.#openJournal();
    const goesOn = this.#opened && epochOf(this.#opened, config.mode);
    const indicators = new IndicatorSet();
    const random = new Random(randomInt(2 ** 32));
    this.engine = new Engine({
      catalog,
      log: new FrameLog(config.ringBytes, goesOn ?? newEpoch()),
      clock: this.turn,
      indicators,
      bars: {
        timeframes: config.timeframes,
        historyBars: config.historyBars,
        latenessMicros: config.lateMicros,
      },
      freshness: { quietMicros: config.quietMicros, staleMicros: config.staleMicros },
    });
    if (this.#opened !== undefined) this.#goOn(this.#opened);
    this.#opening = new Opening({
      open: (instrument, channel) => this.engine.open(instrument, channel),
      close: (instrument, channel) => this.engine.close(instrument, channel),
      later: setImmediate,
    });
    this.#demand = new Demand({
      graceMs: config.graceMs,
      after: (ms, action) => {
        const timer = setTimeout(action, ms);
        return () => clearTimeout(timer);
      },
      open: (instrument, channel) => this.#opening.open(instrument, channel),
      close: (instrument, channel) => this.#opening.close(instrument, channel),
      quotesFromBook: (instrument) => this.engine.venue(instrument.venue)?.rules.ownQuotes === false,
    });
    for (const name of config.feeds) this.#addFeed(name, random);
    this.server = new Server({
      engine: this.engine,
      demand: this.#demand,
      indicators,
      turn: this.turn,
      wall: new SystemClock(),
      log: log.child({ part: "server" }),
      limits: config.limits,
      mode: config.mode,
      version,
      random: () => random.next(),
      origins: config.origins,
      anyHost: config.anyHost,
      requiredVenues: config.require,
      metricsSymbols: config.metricsSymbols,
      journal: () => this.#journal?.figures,
      past: this.#past,
      feeds: () => this.feeds.map(({ name, counters }) => ({ exchange: name, counters: { ...counters } })),
    });
    catalog.onListed((instrument) => this.#keepConfigured(instrument));
  }

  #addFeed(name: string, random: Random): void {
    const { urls, seed, recording } = this.#config;
    const exchange = name === "recording" ? recording.venue : name;
    const feed = createFeed(
      name,
      {
        sink: this.engine,
        venue: this.engine.catalog.addVenue(exchange).id,
        clock: this.turn,
        random: () => random.next(),
        timers: systemTimers,
        log: this.#log.child({ feed: name }),
        wsUrl: urls[name]?.ws,
        restUrl: urls[name]?.rest,
      },
      { seed, recording: { ...recording, time: this.#recorded, onMessageEnd: () => this.turn.end() } },
    );
    this.engine.addVenue(exchange, feed.rules, feed.control);
    this.feeds.push(feed);
  }

  /** Configured instruments are subscribed from the start and stay so. */
  #keepConfigured(instrument: Instrument): void {
    const { symbols } = this.#config;
    if (instrument.symbol === "" || !(symbols.includes("*") || symbols.includes(instrument.symbol.toUpperCase())))
      return;
    // The feed knows the instrument's id only once the list has been taken.
    setImmediate(() => {
      for (const channel of instrument.channels) this.#demand.add(instrument, channel);
    });
  }

  #openJournal(): void {
    const { journal } = this.#config;
    if (journal === undefined) return;
    try {
      const opened = openJournal(journal.directory);
      this.#opened = opened;
      if (opened.cut !== undefined) this.#log.warn(opened.cut, "the journal's last record was torn, and is cut off");
    } catch (error) {
      this.#error = `--journal ${journal.directory}: ${(error as Error).message}`;
    }
  }

  /** Opens what is older than memory holds, and takes over what the server had when it ended. */
  #goOn(opened: OpenedJournal): void {
    const { engine } = this;
    const { epoch } = engine.frames.log;
    const startedAt = performance.now();
    const whole = opened.last?.clean === true ? opened.last.epoch : undefined;
    try {
      this.#past = new JournalPast(opened.directory, epoch, engine.window.startedAt, whole);
      this.#restored = restore(engine, opened);
    } catch (error) {
      opened.lock.release();
      this.#error = `--journal ${opened.directory}: ${(error as Error).message}`;
      return;
    }
    const { frames, trades, bars } = this.#restored;
    const ms = Math.round(performance.now() - startedAt);
    const goesOn = opened.last?.epoch === epoch;
    if (opened.last !== undefined) this.#log.info({ goesOn, frames, trades, bars, ms }, "taken over from the journal");
  }

  /** Has another thread write the journal from now on. */
  #keepJournal(): void {
    const { journal, mode } = this.#config;
    const opened = this.#opened;
    if (journal === undefined || opened === undefined) return;
    const { sync, maxBytes, maxAgeMs } = journal;
    const { log } = this.engine.frames;
    const directory = (out: (bytes: Uint8Array) => void) => this.#directory(out);
    const now = this.turn.now();
    this.#journal = new JournalWriter({ opened, log, mode, now, sync, maxBytes, maxAgeMs, directory });
    this.turn.onEnd(() => this.#journal?.publish());
  }

  /** The directory's frames of all venues and active instruments. */
  #directory(out: (bytes: Uint8Array) => void): void {
    const { catalog, frames } = this.engine;
    for (const bytes of this.#restored?.directory() ?? []) out(bytes);
    for (const instrument of [...catalog.venues, ...catalog.all()]) {
      if (instrument.active) frames.directory(instrument, (memory, length) => out(memory.u8.subarray(0, length)));
    }
  }

  /** Listens, unless it serves nobody, and connects; resolves to the port, or to what is wrong. */
  async start({ serving = true } = {}): Promise<{ port: number } | { error: string }> {
    if (this.#error !== undefined) return { error: this.#error };
    const { host, port } = this.#config;
    const listening = serving ? await this.server.listen(host, port) : { port: 0 };
    if ("error" in listening) {
      this.#opened?.lock.release();
      return listening;
    }
    // Whatever was committed until now is still in the ring.
    this.#keepJournal();
    this.#every(TICK_MS, () => this.engine.tick());
    this.#every(SWEEP_MS, () => this.engine.sweep());
    for (const feed of this.feeds) {
      feed.start().catch((error: Error) => {
        this.#log.error({ feed: feed.name, err: error }, "the feed could not start");
      });
    }
    return listening;
  }

  /** Runs an action again and again, by the time that the engine lives in. */
  #every(ms: number, action: () => void): void {
    let handle: TimerHandle;
    const again = () => {
      action();
      // A recording's next message is of a later time, and comes in the same turn of the event loop.
      if (this.#config.mode === "replay") this.turn.end();
      handle = this.#timers.setTimeout(again, ms);
    };
    handle = this.#timers.setTimeout(again, ms);
    this.#stopTimers.push(() => this.#timers.clearTimeout(handle));
  }

  /** The other way round: no more input, then what is on its way goes out, then the connections close. */
  async stop(): Promise<void> {
    this.#opening.stop();
    for (const stop of this.#stopTimers) stop();
    await Promise.all(this.feeds.map((feed) => feed.stop()));
    this.turn.end();
    await this.server.stop();
    this.#demand.stop();
    await this.#past?.stop();
    await this.#journal?.close();
  }
}
