import {
  CHANNELS,
  type Channel,
  instrumentOf,
  SLOT_LIQUIDATIONS,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_STATE,
  SLOT_TRADES,
  slotIn,
  streamOf,
  timeframeOfSlot,
} from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import type { FeedControl, VenueRules } from "../market/sink.ts";
import { STATE_DOWN, STATE_RESYNCING, STATE_STALE } from "../market/sink.ts";
import { FLAG_LAST_OF_EVENT, FLAG_SNAPSHOT } from "../wire/frame.ts";
import * as V from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import type { UpstreamChannel } from "./demand.ts";
import type { Engine } from "./engine.ts";
import { StoredBar, takeStoredBar } from "./stored-bars.ts";
import { inexactOf, StoredEvents } from "./stored-events.ts";
import { storedListing } from "./stored-instrument.ts";

/** What was stored has been checked by its venue's own rule, and losses are told by frames of their own. */
const RULES: VenueRules = {
  integrity: "guaranteed",
  contiguousTradeIds: false,
  ownQuotes: true,
  quotesShareBookSequence: false,
};
/** A venue that is not there cannot be asked for anything. */
const NOBODY: FeedControl = {
  subscribe: () => {},
  unsubscribe: () => {},
  resyncBook: () => {},
  fetchHistory: () => {},
};
const LOST_STATES: ReadonlySet<number> = new Set([STATE_STALE, STATE_RESYNCING, STATE_DOWN]);

/**
 * Hands an engine the frames of an earlier one, in order. It either follows, made with a SilentFrameWriter: its books,
 * quotes, bars and states become what the frames say, so that who joins gets a beginning, and the frames themselves are
 * for whoever calls to load. Or it recomputes: only the venues' own events are handed over, and what the engine makes of
 * them is written anew.
 */
export class Playback {
  readonly #engine: Engine;
  readonly #recompute: boolean;
  readonly #events: StoredEvents;
  readonly #bar = new StoredBar();
  readonly #frame = new V.FrameView();
  readonly #instrument = new V.InstrumentView();
  readonly #stream = new V.StreamView();
  readonly #state = new V.StreamStateView();
  /** Ids by stored id: of instruments and of venues. */
  readonly #ids = new Map<number, number>();
  readonly #wanted = new Set<number>();
  /** The last sequence by stored stream. */
  readonly #sequences = new Map<number, number>();
  /** The instrument whose book's event is not whole yet; 0 for none. */
  #unfinished = 0;

  constructor(engine: Engine, recompute: boolean) {
    this.#engine = engine;
    this.#recompute = recompute;
    this.#events = new StoredEvents(engine.slot);
  }

  /**
   * Takes a directory frame of what is to come: whoever names an instrument before its first frame is not told that there
   * is none. Other frames are passed over.
   */
  foresee(memory: Memory, at: number): void {
    const frame = this.#frame;
    if (!frame.attach(memory, at + memory.i32[at >> 2])) return;
    if (frame.payloadType === V.PAYLOAD_INSTRUMENT) this.#list(frame);
    if (frame.payloadType === V.PAYLOAD_STREAM) this.#channelOf(frame);
  }

  /** Takes the frame at `at`; the engine's clock stands at its time. */
  take(memory: Memory, at: number): void {
    const frame = this.#frame;
    if (!frame.attach(memory, at + memory.i32[at >> 2])) return;
    if (frame.payloadType === V.PAYLOAD_INSTRUMENT) {
      const listed = this.#list(frame);
      if (listed !== undefined) this.#engine.catalog.activate(listed);
      return;
    }
    if (frame.payloadType === V.PAYLOAD_STREAM) return this.#open(frame);
    const instrument = this.#engine.catalog.get(this.#ids.get(instrumentOf(frame.stream)) ?? 0);
    if (instrument === undefined) return;
    this.#engine.begin(instrument.venue);
    this.#follow(frame, instrument.id);
    this.#event(frame, instrument);
  }

  /** What was stored may have holes: a book that lacks a change is wrong, and bars that lack a trade say so. */
  #follow(frame: V.FrameView, id: number): void {
    const { stream, seq } = frame;
    const last = this.#sequences.get(stream);
    this.#sequences.set(stream, seq);
    if (last === undefined || seq === last + 1) return;
    const slot = slotIn(stream);
    if (slot === SLOT_ORDERBOOK) this.#lose(id, "frames are missing");
    else if (slot === SLOT_TRADES) this.#engine.bars.bars.gap(id);
  }

  #lose(id: number, reason: string): void {
    this.#unfinished = 0;
    if (this.#recompute) this.#engine.bookFailed(id, reason);
    else this.#engine.books.lose(id, reason);
  }

  #event(frame: V.FrameView, instrument: Instrument): void {
    const engine = this.#engine;
    const events = this.#events;
    const { id } = instrument;
    switch (frame.payloadType) {
      case V.PAYLOAD_TRADE:
        engine.trade(id, ...events.trade(frame));
        break;
      case V.PAYLOAD_BOOK_LEVELS:
        this.#book(frame, id);
        break;
      case V.PAYLOAD_QUOTE:
        this.#quote(frame, id);
        break;
      case V.PAYLOAD_TICKER:
        events.ticker(frame);
        engine.ticker(id, inexactOf(frame));
        break;
      case V.PAYLOAD_FUNDING:
        events.funding(frame);
        engine.funding(id, inexactOf(frame));
        break;
      case V.PAYLOAD_LIQUIDATION:
        engine.liquidation(id, events.liquidation(frame), inexactOf(frame));
        break;
      case V.PAYLOAD_STREAM_STATE:
        this.#stateOf(frame, instrument);
        break;
      case V.PAYLOAD_BAR:
        if (this.#recompute) return;
        takeStoredBar(engine.bars.bars, instrument, timeframeOfSlot(slotIn(frame.stream)), this.#bar.read(frame));
    }
  }

  /** Returns the instrument; undefined for a venue. */
  #list(frame: V.FrameView): Instrument | undefined {
    const { catalog } = this.#engine;
    const view = this.#instrument;
    view.attach(frame.table.memory, frame.payloadAt);
    const { id, exchange } = view;
    if (!this.#ids.has(id)) catalog.reserve(exchange, view.symbol, id);
    if (view.symbol === "") {
      if (catalog.venue(exchange) === undefined) this.#engine.addVenue(exchange, RULES, NOBODY);
      const venue = catalog.addVenue(exchange);
      catalog.markLoaded(venue);
      this.#ids.set(id, venue.id);
      return undefined;
    }
    if (catalog.venue(exchange) === undefined) return undefined;
    const channels = catalog.find(exchange, view.symbol)?.channels ?? [];
    const instrument = catalog.list(exchange, { ...storedListing(view), channels });
    this.#ids.set(id, instrument.id);
    return instrument;
  }

  /** Notes that an instrument has a stream's channel; undefined for a stream of a venue. */
  #channelOf(frame: V.FrameView): { instrument: Instrument; channel: Channel } | undefined {
    const { catalog } = this.#engine;
    const view = this.#stream;
    view.attach(frame.table.memory, frame.payloadAt);
    const channel = CHANNELS[view.channel - 1];
    const instrument = catalog.get(this.#ids.get(view.instrument) ?? 0);
    if (channel === undefined || instrument === undefined || instrument.symbol === "") return undefined;
    if (!instrument.channels.includes(channel)) {
      const channels = CHANNELS.filter((each) => each === channel || instrument.channels.includes(each));
      catalog.list(instrument.exchange, { ...instrument, channels });
    }
    return { instrument, channel };
  }

  /** A stream's first frame follows: it is there from now on. */
  #open(frame: V.FrameView): void {
    const engine = this.#engine;
    const view = this.#stream;
    const opened = this.#channelOf(frame);
    if (opened === undefined) return;
    const { instrument, channel } = opened;
    const timeframe = timeframeOfSlot(slotIn(view.id));
    if (timeframe < 0) {
      if (!engine.isOpen(instrument.id, slotIn(view.id))) engine.open(instrument, channel as UpstreamChannel);
    } else if (!engine.bars.bars.isActive(instrument.id, timeframe) && !this.#wanted.has(view.id)) {
      this.#wanted.add(view.id);
      engine.bars.want(instrument.id, timeframe);
    }
  }

  #book(frame: V.FrameView, id: number): void {
    this.#events.levels(frame, this.#unfinished !== id);
    this.#unfinished = id;
    if ((frame.flags & FLAG_LAST_OF_EVENT) === 0) return;
    this.#unfinished = 0;
    if ((frame.flags & FLAG_SNAPSHOT) !== 0) this.#engine.bookSnapshot(id, inexactOf(frame));
    else this.#engine.bookDelta(id, inexactOf(frame));
  }

  #quote(frame: V.FrameView, id: number): void {
    const { quotes, derived } = this.#engine;
    const live = this.#events.quote(frame);
    if (this.#recompute) {
      if (live === 1) this.#engine.quote(id, inexactOf(frame));
      return;
    }
    quotes.venue(id, this.#engine.slot.numbers, live, 0);
    derived.touch(streamOf(id, SLOT_QUOTES));
  }

  #stateOf(frame: V.FrameView, instrument: Instrument): void {
    const engine = this.#engine;
    const view = this.#state;
    view.attach(frame.table.memory, frame.payloadAt);
    const { state, reason } = view;
    const slot = slotIn(frame.stream);
    if (instrument.symbol === "" && slot === SLOT_STATE) return engine.connection(instrument.id, state, reason);
    if (view.gap && slot === SLOT_TRADES) return engine.upstreamGap(instrument.id, view.gapFromId, view.gapToId);
    if (slot === SLOT_ORDERBOOK && LOST_STATES.has(state)) this.#lose(instrument.id, reason);
    if (!this.#recompute && slot <= SLOT_LIQUIDATIONS) engine.states.set(streamOf(instrument.id, slot), state, reason);
  }
}
