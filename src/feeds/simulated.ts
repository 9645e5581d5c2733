import type { Channel } from "../market/channel.ts";
import { slotOf } from "../market/channel.ts";
import type { FeedControl, Sink, VenueRules } from "../market/sink.ts";
import { STATE_DOWN, STATE_LIVE, TS_EXCHANGE } from "../market/sink.ts";
import { assert } from "../std/assert.ts";
import type { TimerHandle } from "../std/timers.ts";
import type { Feed, FeedOptions, FeedStatus } from "./feed.ts";
import { FeedCounters } from "./feed.ts";
import { ActiveMarkets } from "./simulated-active.ts";
import type { SimulatedFaults } from "./simulated-faults.ts";
import { isDue, NO_FAULTS } from "./simulated-faults.ts";
import { SimulatedHistory } from "./simulated-history.ts";
import { SimulatedMarket, TICK_MICROS } from "./simulated-market.ts";
import { SimulatedOutput } from "./simulated-output.ts";
import type { Profile } from "./simulated-profiles.ts";
import { listingOf, PROFILES, syntheticProfile } from "./simulated-profiles.ts";

export interface SimulatedSettings {
  /** Another seed is another world; both venues must have the same. */
  seed?: number;
  /** Made-up instruments (SYM0001/USDT and so on) beside the usual ones; one costs next to nothing until subscribed. */
  instruments?: number;
  /** Mean trades a second of every instrument; below 4 the longest silence grows beyond 0.6 s. */
  tradesPerSecond?: number;
  /** Leaves fetchHistory unanswered: trading an hour again takes some 10 ms of an instrument's first subscription. */
  noHistory?: boolean;
  faults?: SimulatedFaults;
}

const DEFAULT_SEED = 1;

const RULES: VenueRules = Object.freeze({
  integrity: "range",
  contiguousTradeIds: true,
  ownQuotes: true,
  quotesShareBookSequence: true,
});

/** How long the answer to a request for a book takes. */
const ANSWER_TICKS = 3;
const HEARTBEAT_TICKS = 50;
/** After a longer stall (a laptop that slept) the market goes on from now, as after a halt. */
const MAX_CATCH_UP_TICKS = 250;

/**
 * A venue that needs no network. All venues of one seed look at the same world, which is a function of time: the same
 * seed at the same time is the same market, whoever looked at it before, and its history is what would have been seen.
 * It advances in ticks of the clock, however timers jitter, so the same steps of the clock give the same calls.
 */
export class SimulatedFeed implements Feed {
  readonly name: string;
  readonly rules = RULES;
  readonly counters = new FeedCounters();
  readonly control: FeedControl;
  readonly #options: FeedOptions;
  readonly #sink: Sink;
  readonly #settings: SimulatedSettings;
  readonly #faults: Required<SimulatedFaults>;
  readonly #seed: number;
  readonly #output: SimulatedOutput;
  /** What each instrument is like; made-up ones are made when first asked for. */
  readonly #profiles = new Map<number, () => Profile>();
  readonly #markets = new Map<number, SimulatedMarket>();
  readonly #active = new ActiveMarkets();
  /** Requests that wait for their answer: books by the tick they are due in, history by timeframe. */
  readonly #books = new Map<number, number>();
  readonly #history = new Map<number, Map<number, number>>();
  #timer: TimerHandle;
  #planned = false;
  #started = false;
  /** For good: what is asked of it then is remembered, and never done. */
  #stopped = false;
  /** The tick to be lived through next. */
  #tick = 0;
  #silentUntil = 0;
  #downUntil = 0;

  constructor(name: string, options: FeedOptions, settings: SimulatedSettings = {}) {
    this.name = name;
    this.#options = options;
    this.#sink = options.sink;
    this.#settings = settings;
    this.#faults = { ...NO_FAULTS, ...settings.faults };
    this.#seed = settings.seed ?? DEFAULT_SEED;
    this.#output = new SimulatedOutput(options.sink, options.venue, this.counters);
    this.control = {
      subscribe: (instrument, channel) => this.#subscribe(instrument, channel),
      unsubscribe: (instrument, channel) => this.#unsubscribe(instrument, channel),
      resyncBook: (instrument) => this.#resyncBook(instrument),
      fetchHistory: (instrument, timeframe, bars) => this.#fetchHistory(instrument, timeframe, bars),
    };
  }

  get status(): FeedStatus {
    const down = this.#output.muted;
    let streams = 0;
    for (const market of this.#active.all) streams += market.channels;
    return {
      state: !this.#started ? 0 : down ? STATE_DOWN : STATE_LIVE,
      reason: down ? "simulated loss of the connection" : "",
      connections: this.#started && !down ? 1 : 0,
      streams,
      instruments: this.#profiles.size,
    };
  }

  async start(): Promise<void> {
    const { venue, clock } = this.#options;
    const usual = PROFILES.filter(({ only }) => only === undefined || only === this.name);
    const profiles = usual.map((profile) => () => this.#scaled(profile));
    for (let number = 1; number <= (this.#settings.instruments ?? 0); number += 1) {
      profiles.push(() => this.#scaled(syntheticProfile(number)));
    }
    const ids = this.#sink.instruments(
      venue,
      profiles.map((profile) => listingOf(profile())),
    );
    for (let index = 0; index < ids.length; index += 1) this.#profiles.set(ids[index], profiles[index]);
    this.#started = true;
    this.#tick = Math.floor(clock.now() / TICK_MICROS);
    this.counters.connects += 1;
    this.#sink.connection(venue, STATE_LIVE, "");
    this.#heartbeat(this.#tick * TICK_MICROS);
    this.#plan();
  }

  async stop(): Promise<void> {
    this.#started = false;
    this.#stopped = true;
    this.#options.timers.clearTimeout(this.#timer);
    this.#planned = false;
  }

  /** Fault: the instrument loses its next change of the book and its next trade. */
  gap(instrument: number): void {
    this.#markets.get(instrument)?.lose();
  }

  /** Fault: the venue stands still, with its connection up. */
  silence(ms: number): void {
    this.#awake();
    this.#silentUntil = Math.max(this.#silentUntil, this.#tick * TICK_MICROS + ms * 1000);
    this.#plan();
  }

  /** Fault: the connection is lost, and comes back after a while. */
  disconnect(ms: number): void {
    this.#awake();
    this.#downUntil = Math.max(this.#downUntil, this.#tick * TICK_MICROS + ms * 1000);
    this.#plan();
    if (this.#output.muted) return;
    this.#output.muted = true;
    for (const instrument of this.#books.keys()) this.#sink.bookFailed(instrument, "the connection was lost");
    this.#books.clear();
    this.#sink.connection(this.#options.venue, STATE_DOWN, this.status.reason);
  }

  #scaled(profile: Profile): Profile {
    const { tradesPerSecond } = this.#settings;
    return tradesPerSecond === undefined ? profile : { ...profile, tradesPerSecond };
  }

  #market(instrument: number): SimulatedMarket | undefined {
    let market = this.#markets.get(instrument);
    const profile = this.#profiles.get(instrument);
    if (market === undefined && profile !== undefined) {
      market = new SimulatedMarket(instrument, profile(), this.#seed, this.name, this.#output);
      this.#markets.set(instrument, market);
    }
    return market;
  }

  #subscribe(instrument: number, channel: Channel): void {
    const market = this.#market(instrument);
    if (market === undefined || channel === "bars" || channel === "indicators") return;
    this.#awake();
    market.subscribe(slotOf(channel), this.#tick * TICK_MICROS);
    this.#active.touch(market);
    this.#plan();
  }

  #unsubscribe(instrument: number, channel: Channel): void {
    const market = this.#markets.get(instrument);
    if (market === undefined || channel === "bars" || channel === "indicators") return;
    market.unsubscribe(slotOf(channel));
    if (channel === "orderbook") this.#books.delete(instrument);
    this.#active.remove(market);
  }

  #resyncBook(instrument: number): void {
    if (!this.#profiles.has(instrument)) return;
    this.counters.requests += 1;
    if (this.#output.muted) {
      this.counters.requestFailures += 1;
      this.#sink.bookFailed(instrument, "the connection is down");
      return;
    }
    this.#awake();
    if (!this.#books.has(instrument)) this.#books.set(instrument, this.#tick + ANSWER_TICKS);
    this.#plan();
  }

  #fetchHistory(instrument: number, timeframe: number, bars: number): void {
    if (this.#settings.noHistory || !this.#profiles.has(instrument) || bars <= 0) return;
    this.counters.requests += 1;
    this.#awake();
    const wanted = this.#history.get(instrument) ?? new Map<number, number>();
    this.#history.set(instrument, wanted.set(timeframe, Math.max(bars, wanted.get(timeframe) ?? 0)));
    this.#plan();
  }

  get #idle(): boolean {
    return this.#books.size + this.#history.size === 0 && !this.#output.muted && !this.#active.any;
  }

  /** Comes back to the present when nothing was asked for in a while. */
  #awake(): void {
    assert(this.#started || this.#stopped, "the simulated venue has been started");
    if (!this.#planned) this.#tick = Math.floor(this.#options.clock.now() / TICK_MICROS);
  }

  #plan(): void {
    const everies = this.#faults.silenceEveryMs + this.#faults.disconnectEveryMs;
    if (this.#planned || !this.#started || (this.#idle && everies === 0)) return;
    this.#planned = true;
    const leftMicros = (this.#tick + 1) * TICK_MICROS - this.#options.clock.now();
    this.#timer = this.#options.timers.setTimeout(this.#run, Math.max(1, Math.ceil(leftMicros / 1000)));
  }

  /** Lives through the ticks that are over. */
  readonly #run = () => {
    const end = Math.floor(this.#options.clock.now() / TICK_MICROS);
    if (end - this.#tick > MAX_CATCH_UP_TICKS) {
      this.#tick = end - 1;
      this.#active.skipTo(this.#tick * TICK_MICROS);
    }
    for (; this.#tick < end && this.#started; this.#tick += 1) this.#live(this.#tick * TICK_MICROS);
    this.#planned = false;
    this.#plan();
  };

  #live(time: number): void {
    this.#fail(time);
    if (this.#output.muted && time >= this.#downUntil) this.#reconnect();
    if (this.#silentUntil !== 0) {
      if (time < this.#silentUntil) return;
      this.#silentUntil = 0;
      this.#active.skipTo(time);
    }
    if (this.#tick % HEARTBEAT_TICKS === 0) this.#heartbeat(time);
    if (!this.#output.muted) this.#answer(time);
    this.#active.tick(time, time + TICK_MICROS);
  }

  #fail(time: number): void {
    const { gapEveryMs, silenceEveryMs, silenceMs, disconnectEveryMs, disconnectMs } = this.#faults;
    if (isDue(silenceEveryMs, time, TICK_MICROS)) this.silence(silenceMs);
    if (isDue(disconnectEveryMs, time, TICK_MICROS)) this.disconnect(disconnectMs);
    if (!isDue(gapEveryMs, time, TICK_MICROS)) return;
    const markets = this.#active.all;
    if (markets.length > 0) markets[Math.floor(time / (gapEveryMs * 1000)) % markets.length].lose();
  }

  #reconnect(): void {
    this.#output.muted = false;
    this.counters.connects += 1;
    this.counters.reconnects += 1;
    this.#active.rejoin();
    this.#sink.connection(this.#options.venue, STATE_LIVE, "");
  }

  #heartbeat(time: number): void {
    if (!this.#output.begin()) return;
    this.#sink.slot.numbers[TS_EXCHANGE] = time;
    this.#sink.heartbeat(this.#options.venue);
  }

  /** Answers requests that are due; history of one instrument a tick, because an hour takes a while to trade again. */
  #answer(time: number): void {
    for (const [instrument, wanted] of this.#history) {
      this.#history.delete(instrument);
      const profile = (this.#profiles.get(instrument) as () => Profile)();
      const history = new SimulatedHistory(profile, this.#seed, this.name, time);
      for (const [timeframe, bars] of wanted) {
        const rows = history.bars(timeframe, bars);
        if (rows.length > 0 && this.#output.begin()) this.#sink.history(instrument, timeframe, rows);
      }
      break;
    }
    for (const [instrument, due] of this.#books) {
      if (due > this.#tick) continue;
      this.#books.delete(instrument);
      this.#market(instrument)?.snapshot(time);
    }
  }
}
