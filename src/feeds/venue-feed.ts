import { setImmediate } from "node:timers/promises";
import type { Channel } from "../market/channel.ts";
import { slotOf, streamOf } from "../market/channel.ts";
import type { InstrumentListing } from "../market/instrument.ts";
import type { FeedControl, VenueRules } from "../market/sink.ts";
import { TS_EXCHANGE } from "../market/sink.ts";
import type { Feed, FeedOptions, FeedStatus } from "./feed.ts";
import { FeedCounters } from "./feed.ts";
import type { Fields } from "./fields.ts";
import type { HistoryRow } from "./history.ts";
import { packRows } from "./history.ts";
import { HistoryQueue } from "./history-queue.ts";
import { LimitedLog } from "./limited-log.ts";
import { ListingLoop } from "./listing-loop.ts";
import { RestClient } from "./rest.ts";
import { SessionPool } from "./session-pool.ts";
import type { SessionLimits, SessionProtocol } from "./session-protocol.ts";
import { openSocket } from "./socket.ts";
import { StartedStreams } from "./started-streams.ts";
import { SymbolTable } from "./symbol-table.ts";
import type { ParserOptions } from "./venue-parser.ts";
import { WeightBudget } from "./weight-budget.ts";

/** What is known of a venue before anything is asked of it. */
export interface VenueFacts {
  name: string;
  rules: VenueRules;
  limits: SessionLimits;
  restUrl: string;
  /** What REST requests may weigh at once, and in a minute. */
  restBurst: number;
  restPerMinute: number;
  /** The venue's names of what can be streamed, by slot. */
  streamNames: Readonly<Record<number, string>>;
}

/** A long list is taken in parts: some 2 ms each, garbage aside. */
const LISTINGS_PER_TURN = 128;

/** A venue's own list of instruments, and its time with it. */
export interface VenueListings {
  listings: InstrumentListing[];
  /** Microseconds, 0 unknown. */
  serverTime: number;
}

/**
 * A venue with a socket for its streams and REST for the rest: all that such venues have in common. A venue itself is
 * the protocol that its sessions speak.
 */
export abstract class VenueFeed implements Feed, SessionProtocol {
  readonly name: string;
  readonly rules: VenueRules;
  readonly limits: SessionLimits;
  readonly url: string;
  readonly counters = new FeedCounters();
  readonly control: FeedControl;
  protected readonly options: FeedOptions;
  protected readonly parserOptions: ParserOptions;
  protected readonly rest: RestClient;
  protected readonly pool: SessionPool;
  protected readonly symbols = new SymbolTable();
  readonly #streamNames: VenueFacts["streamNames"];
  readonly #started = new StartedStreams();
  readonly #listing: ListingLoop;
  readonly #history = new HistoryQueue((instrument, timeframe, bars) => this.#loadHistory(instrument, timeframe, bars));
  readonly #historyFailures: LimitedLog;
  /** The venue's clock less ours, microseconds. */
  #aheadMicros = 0;
  #stopped = false;

  /** `url` is where sockets are opened. Asks nothing of the venue's own file, which is not constructed yet. */
  constructor(facts: VenueFacts, options: FeedOptions, url: string) {
    const { sink, venue, clock, timers, random, log } = options;
    const { counters, symbols } = this;
    const { name } = facts;
    this.name = name;
    this.rules = facts.rules;
    this.limits = facts.limits;
    this.url = url;
    this.options = options;
    this.#streamNames = facts.streamNames;
    const malformed = new LimitedLog(log, clock, "message ignored");
    this.#historyFailures = new LimitedLog(log, clock, "history not fetched");
    this.parserOptions = {
      sink,
      venue,
      symbols,
      started: this.#started,
      counters,
      onControl: (message) => this.onControl(message),
      onMalformed: (text) => malformed.warn(name, text),
    };
    const budget = new WeightBudget(facts.restBurst, facts.restPerMinute);
    this.rest = new RestClient({ baseUrl: options.restUrl ?? facts.restUrl, clock, timers, budget, counters });
    this.pool = new SessionPool({
      name,
      protocol: this,
      connect: options.connect ?? openSocket,
      clock,
      timers,
      random,
      log,
      counters,
      onState: (state, reason) => sink.connection(venue, state, reason),
    });
    this.#listing = new ListingLoop({ venue: name, load: () => this.#loadInstruments(), timers, random, log });
    this.control = {
      subscribe: (instrument, channel) => this.#subscribe(instrument, channel),
      unsubscribe: (instrument, channel) => this.#unsubscribe(instrument, channel),
      resyncBook: (instrument) => this.resyncBook(instrument),
      fetchHistory: (instrument, timeframe, bars) => this.#history.add(instrument, timeframe, bars),
    };
  }

  abstract subscribeMessage(streams: readonly number[], id: number): string;
  abstract unsubscribeMessage(streams: readonly number[], id: number): string;
  /** Hot path: each venue's own, so that its parser's kind is known where it is called. */
  abstract receive(bytes: Buffer): void;

  /** Whatever is no market data. */
  protected abstract onControl(message: Fields): void;
  protected abstract resyncBook(instrument: number): void;
  protected abstract fetchListings(): Promise<VenueListings>;
  /** The last bars, oldest first; undefined where there is nothing to say. */
  protected abstract fetchHistory(
    symbol: string,
    timeframe: number,
    bars: number,
  ): Promise<readonly HistoryRow[] | undefined>;

  /** Asks for a stream; false when the venue can take no more. */
  protected addStream(instrument: number, slot: number): boolean {
    return this.pool.add(streamOf(instrument, slot));
  }

  protected removeStream(instrument: number, slot: number): void {
    this.pool.remove(streamOf(instrument, slot));
  }

  get status(): FeedStatus {
    const { state, reason, connections, streams } = this.pool;
    return { state, reason, connections, streams, instruments: this.symbols.size };
  }

  /** The venue's time, as its last answer told it, microseconds. */
  protected get venueTime(): number {
    return this.options.clock.now() + this.#aheadMicros;
  }

  start(): Promise<void> {
    void this.#listing.run();
    return this.#listing.loaded;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#listing.stop();
    this.#history.close();
    this.pool.close();
    await this.rest.close();
  }

  hasStarted(stream: number): boolean {
    return this.#started.has(stream);
  }

  clearStarted(stream: number): void {
    this.#started.clear(stream);
  }

  #subscribe(instrument: number, channel: Channel): void {
    const slot = slotOf(channel);
    if (this.#streamNames[slot] === undefined || this.symbols.name(instrument) === undefined) return;
    if (this.addStream(instrument, slot)) return;
    this.options.log.error({ venue: this.name, instrument, channel }, "the venue can take no more streams");
  }

  #unsubscribe(instrument: number, channel: Channel): void {
    const slot = slotOf(channel);
    if (this.#streamNames[slot] !== undefined) this.removeStream(instrument, slot);
  }

  async #loadInstruments(): Promise<void> {
    const { sink, venue, clock } = this.options;
    const { listings, serverTime } = await this.fetchListings();
    for (let from = 0; from === 0 || from < listings.length; from += LISTINGS_PER_TURN) {
      if (this.#stopped) return;
      const part = listings.slice(from, from + LISTINGS_PER_TURN);
      const ids = sink.instruments(venue, part, from + part.length < listings.length);
      for (const [index, { venueSymbol }] of part.entries()) this.symbols.add(venueSymbol, ids[index]);
      await setImmediate();
    }
    if (this.#stopped || serverTime === 0) return;
    this.#aheadMicros = serverTime - clock.now();
    sink.slot.numbers[TS_EXCHANGE] = serverTime;
    sink.begin(venue);
    sink.heartbeat(venue);
  }

  async #loadHistory(instrument: number, timeframe: number, bars: number): Promise<void> {
    const symbol = this.symbols.name(instrument);
    if (symbol === undefined) return;
    try {
      const rows = await this.fetchHistory(symbol, timeframe, bars);
      if (!this.#stopped && rows !== undefined) this.options.sink.history(instrument, timeframe, packRows(rows, bars));
    } catch (error) {
      if (!this.#stopped) this.#historyFailures.warn(this.name, `${symbol}: ${(error as Error).message}`);
    }
  }
}
