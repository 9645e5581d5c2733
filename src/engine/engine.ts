import type { IndicatorSet } from "../indicators/registry.ts";
import type { Channel } from "../market/channel.ts";
import {
  CHANNELS,
  SLOT_FUNDING,
  SLOT_LIQUIDATIONS,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_STATE,
  SLOT_TICKER,
  SLOT_TRADES,
  slotIn,
  slotOf,
  streamOf,
} from "../market/channel.ts";
import type { Catalog, Instrument, InstrumentListing } from "../market/instrument.ts";
import type { FeedControl, Sink, VenueRules } from "../market/sink.ts";
import {
  FLAG_BLOCK,
  FLAG_INEXACT,
  FLAG_LIQUIDATION,
  FLAG_ODD_LOT,
  Slot,
  STATE_DOWN,
  STATE_LIVE,
  STATE_STALE,
  STATE_SYNCING,
  TRADE_NUMBER,
  TS_EXCHANGE,
} from "../market/sink.ts";
import { assert } from "../std/assert.ts";
import type { Clock } from "../std/clock.ts";
import { grown } from "../std/grow.ts";
import * as F from "../wire/frame.ts";
import type { FrameLog } from "../wire/frame-log.ts";
import { Window } from "../wire/window.ts";
import { BarFrames } from "./bar-frames.ts";
import type { BarsOptions } from "./bars.ts";
import { DEFAULT_HISTORY_BARS, DEFAULT_TIMEFRAMES } from "./bars.ts";
import { Books } from "./books.ts";
import { TRADE_AFTER_HOLE, TRADE_DUPLICATE, TradeDedupe } from "./dedupe.ts";
import type { UpstreamChannel } from "./demand.ts";
import { Derived } from "./derived.ts";
import { FrameWriter } from "./frame-writer.ts";
import type { FreshnessOptions } from "./freshness.ts";
import { Freshness } from "./freshness.ts";
import { LastValues } from "./last-values.ts";
import { Quotes } from "./quotes.ts";
import { StreamStates } from "./states.ts";
import { Venue } from "./venue.ts";
import { EVENT, NOW } from "./venue-clock.ts";

/** The incomplete bar, and one on either side: the venue's newest is still building and does not count. */
const BARS_TO_REPLACE = 3;
/** Incomplete bars that the venue is asked for together: thousands close at once in the first minute of as many instruments. */
const REPLACED_PER_TICK = 32;

const TRADE_WIRE_FLAGS = FLAG_BLOCK | FLAG_LIQUIDATION | FLAG_ODD_LOT;

export interface EngineOptions {
  catalog: Catalog;
  log: FrameLog;
  clock: Clock;
  indicators: IndicatorSet;
  /** Timeframes that are always computed, kept history, allowance for late trades. */
  bars?: Omit<BarsOptions, "indicators" | "out">;
  freshness?: FreshnessOptions;
  /** What numbers and commits frames, where it is not the one that writes what the engine makes. */
  frames?: FrameWriter;
}

/** Channels of an instrument that are open, one bit per slot below the bars. */
const OPEN_TRADES = 1 << SLOT_TRADES;

/**
 * The deterministic heart: takes what feeds hand over, keeps books, quotes, bars and indicators right, and writes every
 * event as a finished frame. No sockets, no timers, no clock of its own: `tick` is called from outside, and the same
 * calls at the same times give the same bytes. `trade`, `quote` and `bookDelta` are the hot path.
 */
export class Engine implements Sink {
  readonly slot = new Slot();
  readonly catalog: Catalog;
  readonly frames: FrameWriter;
  readonly window: Window;
  readonly states: StreamStates;
  readonly quotes: Quotes;
  readonly books: Books;
  readonly last: LastValues;
  readonly bars: BarFrames;
  readonly derived: Derived;
  readonly dedupe = new TradeDedupe();
  readonly freshness: Freshness;
  readonly #clock: Clock;
  readonly #historyTimeframes: readonly number[];
  readonly #historyBars: number;
  readonly #venues: (Venue | undefined)[] = [];
  /** The venue's id and the open channels, by instrument. */
  #venueOf = new Int32Array(64);
  #open = new Uint8Array(64);
  readonly #times = new Float64Array(2);
  /** The venue of the last message. */
  #lastVenue = 0;
  /** Events for channels that nobody has open. */
  unwanted = 0;

  constructor(options: EngineOptions) {
    const { catalog, log, clock, indicators } = options;
    this.catalog = catalog;
    this.#clock = clock;
    this.#historyTimeframes = options.bars?.timeframes ?? DEFAULT_TIMEFRAMES;
    this.#historyBars = options.bars?.historyBars ?? DEFAULT_HISTORY_BARS;
    this.frames = options.frames ?? new FrameWriter(log, clock);
    this.window = new Window(log, clock);
    this.bars = new BarFrames(this.frames, indicators, options.bars ?? {});
    const touch = (stream: number) => this.derived.touch(stream);
    this.states = new StreamStates(this.frames, (stream) => this.derived.stateChanged(stream));
    this.quotes = new Quotes(this.frames, this.states);
    this.books = new Books(this.frames, this.states, this.quotes, clock, touch);
    this.last = new LastValues(this.frames);
    this.derived = new Derived(this);
    const stale = (stream: number, reason: string) => {
      if (slotIn(stream) === SLOT_ORDERBOOK) this.books.lose(stream >>> 5, reason);
    };
    this.freshness = new Freshness(this.frames, this.states, stale, options.freshness);
    catalog.onListed((instrument) => this.#register(instrument));
    catalog.onActive((instrument) => this.frames.describe(instrument));
  }

  #register(instrument: Instrument): void {
    const { id } = instrument;
    this.frames.register(instrument);
    this.states.register(id);
    this.quotes.register(id);
    this.dedupe.register(id);
    this.derived.register(id);
    this.#venueOf = grown(this.#venueOf, id + 1);
    this.#open = grown(this.#open, id + 1);
    this.#venueOf[id] = instrument.venue;
  }

  /** Registers a venue and how to reach its feed; its id is what the feed calls the sink with. */
  addVenue(name: string, rules: VenueRules, control: FeedControl): Venue {
    const instrument = this.catalog.addVenue(name);
    const venue = new Venue(instrument, rules, control);
    this.#venues[instrument.id] = venue;
    this.frames.describe(instrument);
    this.states.set(streamOf(instrument.id, SLOT_STATE), STATE_SYNCING, venue.reason);
    return venue;
  }

  venue(id: number): Venue | undefined {
    return this.#venues[id];
  }

  get venues(): readonly Venue[] {
    return this.#venues.filter((venue) => venue !== undefined);
  }

  begin(venue: number): void {
    const now = this.#clock.now();
    const times = this.#times;
    // Within a turn time stands still, and what an event brings is closed by its own time.
    if (now === times[NOW] && venue === this.#lastVenue) return;
    times[NOW] = now;
    this.#lastVenue = venue;
    this.#close(venue, this.#venues[venue] as Venue);
  }

  /** Closes the bars that are due by the venue's clock. */
  #close(id: number, venue: Venue): void {
    if (!venue.clock.known) return;
    this.#times[EVENT] = venue.clock.at(this.#times);
    this.bars.bars.closeDue(id, this.#times, EVENT);
  }

  /** Takes the slot's time: the credible one is left in the times, and a wild one becomes unknown in the frame. */
  #observe(id: number): boolean {
    const venue = this.#venues[id] as Venue;
    const numbers = this.slot.numbers;
    this.#times[EVENT] = numbers[TS_EXCHANGE];
    const wentBack = venue.clock.observe(this.#times);
    if (wentBack) this.bars.bars.rewind(id, this.#times, EVENT);
    if (venue.clock.doubtful) {
      numbers[TS_EXCHANGE] = 0;
      return false;
    }
    if (this.#times[EVENT] !== 0) this.bars.bars.closeDue(id, this.#times, EVENT);
    return true;
  }

  prefetch(instrument: number): void {
    this.bars.bars.prefetch(instrument);
  }

  trade(instrument: number, side: number, flags: number): void {
    if ((this.#open[instrument] & OPEN_TRADES) === 0) {
      this.unwanted += 1;
      return;
    }
    const id = this.#venueOf[instrument];
    const slot = this.slot;
    const credible = this.#observe(id);
    const rules = (this.#venues[id] as Venue).rules;
    const verdict = this.dedupe.check(
      instrument,
      slot.numbers,
      slot.tradeId,
      slot.tradeIdLength,
      rules.contiguousTradeIds,
    );
    if (verdict === TRADE_DUPLICATE) return;
    if (verdict === TRADE_AFTER_HOLE) {
      this.upstreamGap(instrument, this.dedupe.missingFrom[0], slot.numbers[TRADE_NUMBER] - 1);
    }
    const stream = streamOf(instrument, SLOT_TRADES);
    // A live stream has had a frame, that of its state, so it needs no introduction.
    if (this.states.of(stream) !== STATE_LIVE) this.states.alive(stream);
    const ring = this.frames.log.ticks;
    const at = ring.claim(F.LARGEST_TRADE_BYTES);
    const length = F.writeTrade(
      ring.memory,
      at,
      slot.numbers,
      side,
      flags & TRADE_WIRE_FLAGS,
      slot.tradeIdWords,
      slot.tradeIdLength,
    );
    const inexact = (flags & FLAG_INEXACT) !== 0 || !credible ? F.FLAG_INEXACT : 0;
    this.frames.commit(ring, at, length, stream, F.FLAG_LAST_OF_EVENT | inexact, slot.numbers);
    if (this.#times[EVENT] !== 0) this.bars.bars.trade(instrument, side, slot.numbers, this.#times, EVENT);
    this.derived.touchBars(instrument);
  }

  /** The venue, or the way from it, lost trades: their first and last number. */
  upstreamGap(instrument: number, fromId: number, toId: number): void {
    const stream = streamOf(instrument, SLOT_TRADES);
    const time = this.#times[EVENT];
    this.frames.state(stream, STATE_LIVE, "upstream gap", { fromId, toId, fromTime: 0, toTime: time });
    this.bars.bars.gap(instrument);
  }

  lastTrade(instrument: number): void {
    if ((this.#open[instrument] & OPEN_TRADES) === 0) return;
    this.#observe(this.#venueOf[instrument]);
    const last = this.dedupe.last(instrument);
    const said = this.slot.numbers[TRADE_NUMBER];
    // The first message of a subscription only says where the count stands.
    if (last === 0) this.dedupe.setLast(instrument, said);
    else if (said > last) {
      this.dedupe.holes += 1;
      this.dedupe.setLast(instrument, said);
      this.upstreamGap(instrument, last + 1, said);
    }
  }

  quote(instrument: number, flags: number): void {
    if ((this.#open[instrument] & (1 << SLOT_QUOTES)) === 0) {
      this.unwanted += 1;
      return;
    }
    const id = this.#venueOf[instrument];
    this.#observe(id);
    // While one connection takes over from another, both deliver.
    const ordered = (this.#venues[id] as Venue).rules.quotesShareBookSequence;
    if (ordered && this.quotes.isOld(instrument, this.slot.numbers)) return;
    const book = this.books.get(instrument);
    this.quotes.venue(instrument, this.slot.numbers, book === undefined || book.usable ? 1 : 0, flags);
    this.derived.touch(streamOf(instrument, SLOT_QUOTES));
  }

  bookDelta(instrument: number, flags: number): void {
    if (this.books.get(instrument) === undefined) {
      this.unwanted += 1;
      return;
    }
    this.#observe(this.#venueOf[instrument]);
    this.books.delta(instrument, this.slot, flags);
  }

  bookSnapshot(instrument: number, flags: number): void {
    this.#observe(this.#venueOf[instrument]);
    this.books.snapshot(instrument, this.slot, flags);
  }

  bookFailed(instrument: number, reason: string): void {
    this.books.failed(instrument, reason);
  }

  ticker(instrument: number, flags: number): void {
    this.#value(instrument, SLOT_TICKER, flags);
  }

  funding(instrument: number, flags: number): void {
    this.#value(instrument, SLOT_FUNDING, flags);
  }

  /** A channel whose last value is its state. */
  #value(instrument: number, slot: number, flags: number): void {
    if ((this.#open[instrument] & (1 << slot)) === 0) {
      this.unwanted += 1;
      return;
    }
    this.#observe(this.#venueOf[instrument]);
    const stream = streamOf(instrument, slot);
    this.states.alive(stream);
    this.last.write(stream, this.slot.numbers, flags);
    this.derived.touch(stream);
  }

  liquidation(instrument: number, side: number, flags: number): void {
    if ((this.#open[instrument] & (1 << SLOT_LIQUIDATIONS)) === 0) {
      this.unwanted += 1;
      return;
    }
    this.#observe(this.#venueOf[instrument]);
    const stream = streamOf(instrument, SLOT_LIQUIDATIONS);
    this.states.alive(stream);
    this.frames.introduce(stream);
    const ring = this.frames.log.slow;
    const at = ring.claim(F.LARGEST_FIXED_BYTES);
    const length = F.writeLiquidation(ring.memory, at, this.slot.numbers, side);
    const inexact = (flags & FLAG_INEXACT) !== 0 ? F.FLAG_INEXACT : 0;
    this.frames.commit(ring, at, length, stream, F.FLAG_LAST_OF_EVENT | inexact, this.slot.numbers);
  }

  heartbeat(venue: number): void {
    this.#observe(venue);
  }

  instruments(venue: number, listings: readonly InstrumentListing[], more = false): number[] {
    const { instrument } = this.#venues[venue] as Venue;
    const ids = listings.map((listing) => {
      const channels = channelsOffered(listing);
      return this.catalog.list(instrument.exchange, { ...listing, channels }).id;
    });
    if (!more) this.catalog.markLoaded(instrument);
    return ids;
  }

  history(instrument: number, timeframe: number, rows: Float64Array): void {
    this.bars.bars.history(instrument, timeframe, rows);
  }

  connection(id: number, state: number, reason: string): void {
    const venue = this.#venues[id] as Venue;
    if (venue.state === state) return;
    venue.state = state;
    venue.reason = reason;
    this.states.set(streamOf(id, SLOT_STATE), state, reason);
    if (state === STATE_LIVE) this.books.reconnected(venue);
    if (state !== STATE_DOWN && state !== STATE_STALE) return;
    this.books.disconnected(venue, reason);
    for (const instrument of this.catalog.all()) {
      if (instrument.venue !== id) continue;
      for (let slot = SLOT_TRADES; slot <= SLOT_LIQUIDATIONS; slot += 1) {
        const stream = streamOf(instrument.id, slot);
        if (slot !== SLOT_ORDERBOOK && this.states.of(stream) !== 0) this.states.set(stream, state, reason);
        if (slot === SLOT_QUOTES) this.quotes.lose(instrument.id);
      }
    }
  }

  /** An upstream channel is wanted: its streams exist from now on, and the venue is asked for it. */
  open(instrument: Instrument, channel: UpstreamChannel): void {
    const venue = this.#venues[instrument.venue] as Venue;
    this.catalog.activate(instrument);
    const { id } = instrument;
    const slot = slotOf(channel);
    this.#open[id] |= 1 << slot;
    const stream = streamOf(id, slot);
    if (channel === "orderbook") this.books.open(id, venue);
    else this.states.set(stream, STATE_SYNCING, venue.state === STATE_LIVE ? "" : venue.reason);
    if (channel === "orderbook" && !venue.rules.ownQuotes) {
      this.states.set(streamOf(id, SLOT_QUOTES), STATE_SYNCING, "");
    }
    this.freshness.watch(stream);
    if (channel === "trades") this.#openBars(id, venue);
    venue.control.subscribe(id, channel);
  }

  /** Starts the bars, which are whole from now on, and asks for those before. */
  #openBars(id: number, venue: Venue): void {
    this.#times[NOW] = this.#clock.now();
    this.#times[EVENT] = venue.clock.at(this.#times);
    if (venue.clock.known) this.bars.bars.open(id, venue.instrument.id, this.#times, EVENT);
    else this.bars.bars.open(id, venue.instrument.id);
    for (const timeframe of this.#historyTimeframes) venue.control.fetchHistory(id, timeframe, this.#historyBars);
  }

  /** Nobody wants the channel any more. */
  close(instrument: Instrument, channel: UpstreamChannel): void {
    const venue = this.#venues[instrument.venue] as Venue;
    const { id } = instrument;
    const slot = slotOf(channel);
    this.#open[id] &= ~(1 << slot);
    venue.control.unsubscribe(id, channel);
    this.freshness.forget(streamOf(id, slot));
    this.states.forget(streamOf(id, slot));
    if (channel === "orderbook") {
      this.books.close(id);
      if (!venue.rules.ownQuotes) this.#closeQuotes(id);
    } else if (channel === "quotes") this.#closeQuotes(id);
    else if (channel === "trades") {
      this.dedupe.forget(id);
      this.bars.bars.leave(id);
    }
  }

  #closeQuotes(id: number): void {
    this.states.forget(streamOf(id, SLOT_QUOTES));
    this.quotes.forget(id);
  }

  /** True while the venue is subscribed to an upstream channel of the instrument. */
  isOpen(instrument: number, slot: number): boolean {
    return (this.#open[instrument] & (1 << slot)) !== 0;
  }

  /** Does what time alone brings: closes bars, notices silence, asks again for books. To be called every 25 ms or so. */
  tick(): void {
    const now = this.#clock.now();
    this.#times[NOW] = now;
    for (const venue of this.#venues) if (venue !== undefined) this.#close(venue.instrument.id, venue);
    this.books.recovery.tick(now);
    for (const { instrument, timeframe } of this.bars.takeIncomplete(REPLACED_PER_TICK)) {
      const venue = this.#venues[this.#venueOf[instrument]];
      if (this.isOpen(instrument, SLOT_TRADES)) venue?.control.fetchHistory(instrument, timeframe, BARS_TO_REPLACE);
    }
  }

  /** Looks for streams that fell silent. To be called a few times a second. */
  sweep(): void {
    assert(this.#clock.now() > 0, "the clock runs");
    this.freshness.sweep(this.#clock.now());
  }
}

/** What the venue has, and what is made of it here: quotes of a book, bars of trades whose size is in base units. */
function channelsOffered(listing: InstrumentListing): readonly Channel[] {
  const offered = new Set(listing.channels);
  if (offered.has("orderbook")) offered.add("quotes");
  if (offered.has("trades") && listing.sizeUnit === "base") offered.add("bars").add("indicators");
  return CHANNELS.filter((channel) => offered.has(channel));
}
