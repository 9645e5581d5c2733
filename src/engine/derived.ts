import {
  channelOfSlot,
  instrumentOf,
  SLOT_BARS,
  SLOT_FUNDING,
  SLOT_INDICATORS,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_TICKER,
  SLOT_TRADES,
  SLOTS_PER_INSTRUMENT,
  slotIn,
  streamOf,
  timeframeOfSlot,
} from "../market/channel.ts";
import { STATE_LIVE } from "../market/sink.ts";
import { TIMEFRAME_COUNT } from "../market/timeframe.ts";
import { assert } from "../std/assert.ts";
import { Columns } from "../std/columns.ts";
import { grown } from "../std/grow.ts";
import * as F from "../wire/frame.ts";
import type { Memory } from "../wire/memory.ts";
import type { Engine } from "./engine.ts";
import type { DerivedOutput } from "./frame-writer.ts";
import { TIER_DEPTHS, Tier, TierScratch } from "./tier.ts";

/** Periods of conflation, milliseconds; 0 is every change, at the end of its turn. */
export const CONFLATE_MS = [0, 50, 100, 250, 1000] as const;

/** How often a building bar goes out when the subscriber did not say. */
export const DEFAULT_BUILDING_CONFLATE = CONFLATE_MS.indexOf(100);

/*
 * A variant says in which form a stream is wanted; 0 is the ring's own frames. For a book it is a depth and a period,
 * for the rest a period:
 *
 *   variant = 1 + depth index * periods + period index
 */
export const RING = 0;
export const VARIANTS = 1 + TIER_DEPTHS.length * CONFLATE_MS.length;

export function variantOf(depthIndex: number, conflateIndex: number): number {
  return 1 + depthIndex * CONFLATE_MS.length + conflateIndex;
}

export function depthIndexOf(variant: number): number {
  return Math.floor((variant - 1) / CONFLATE_MS.length);
}

export function conflateIndexOf(variant: number): number {
  return (variant - 1) % CONFLATE_MS.length;
}

/** Takes a derived frame of a stream in one variant; it lies in `memory` at 0 and is overwritten by the next one. */
export type VariantOutput = (memory: Memory, length: number, stream: number, variant: number) => void;

/** One stream in one variant, for as long as somebody has it. */
interface Watch {
  stream: number;
  variant: number;
  users: number;
  dirty: boolean;
  tier: Tier | undefined;
  /** The stream's sequence that the holders have. */
  sent: number;
  /** Changes of state that the holders are still to be told, in order: none may be conflated away. */
  changes: { state: number; reason: string }[];
}

/**
 * Derived streams: depth tiers, conflated values, building bars with their peeked indicators. Computed only while
 * somebody has them, once for all who chose the same form, and never written to the ring.
 */
export class Derived {
  readonly #engine: Engine;
  readonly #watches = new Map<number, Watch[]>();
  /** Number of watches by stream, and of bar and indicator watches by instrument: what the hot path asks. */
  readonly #watched = new Columns(Uint8Array, SLOTS_PER_INSTRUMENT);
  #barsWatched = new Uint16Array(64);
  readonly #scratch = new TierScratch();
  readonly #dirty: Watch[][] = CONFLATE_MS.map(() => []);
  /** When each period was flushed last, microseconds. */
  readonly #flushedAt = new Float64Array(CONFLATE_MS.length);
  frames = 0;
  /** Changes that a later frame stands for, by period. */
  readonly conflated = new Float64Array(CONFLATE_MS.length);

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  register(instrument: number): void {
    this.#watched.reserve(instrument + 1);
    this.#barsWatched = grown(this.#barsWatched, instrument + 1);
  }

  #at(stream: number): number {
    return this.#watched.at(instrumentOf(stream), slotIn(stream));
  }

  /** How many streams somebody has in a form other than the ring's. */
  get streams(): number {
    return this.#watches.size;
  }

  /** Somebody wants a stream in a form other than the ring's. */
  open(stream: number, variant: number): void {
    assert(variant > RING && variant < VARIANTS, "a variant that exists");
    const watches = this.#watches.get(stream) ?? [];
    const known = watches.find((watch) => watch.variant === variant);
    if (known !== undefined) {
      known.users += 1;
      return;
    }
    const watch: Watch = {
      stream,
      variant,
      users: 1,
      dirty: false,
      tier:
        slotIn(stream) === SLOT_ORDERBOOK
          ? new Tier(TIER_DEPTHS[depthIndexOf(variant)] as number, this.#scratch)
          : undefined,
      sent: this.#engine.frames.sequence(stream),
      changes: [],
    };
    const book = this.#engine.books.get(instrumentOf(stream));
    if (watch.tier !== undefined && book?.live === true) watch.tier.update(book.bids, book.asks);
    this.#watches.set(stream, [...watches, watch]);
    this.#watched.values[this.#at(stream)] += 1;
    if (slotIn(stream) >= SLOT_BARS) this.#barsWatched[instrumentOf(stream)] += 1;
  }

  close(stream: number, variant: number): void {
    const watches = this.#watches.get(stream) ?? [];
    const watch = watches.find((candidate) => candidate.variant === variant);
    assert(watch !== undefined, "only what was opened is closed");
    watch.users -= 1;
    if (watch.users > 0) return;
    const left = watches.filter((candidate) => candidate !== watch);
    if (left.length === 0) this.#watches.delete(stream);
    else this.#watches.set(stream, left);
    this.#watched.values[this.#at(stream)] -= 1;
    if (slotIn(stream) >= SLOT_BARS) this.#barsWatched[instrumentOf(stream)] -= 1;
  }

  /** Something of the stream changed. Hot path: one load when nobody has it in another form. */
  touch(stream: number): void {
    if (this.#watched.values[this.#at(stream)] !== 0) this.#mark(stream);
  }

  /** The stream's state changed: its holders are told at the end of this turn, whatever their period. */
  stateChanged(stream: number): void {
    this.#tellState(stream, stream);
    if (slotIn(stream) !== SLOT_TRADES || this.#barsWatched[instrumentOf(stream)] === 0) return;
    const first = streamOf(instrumentOf(stream), SLOT_BARS);
    for (let bars = first; bars < first + 2 * TIMEFRAME_COUNT; bars += 1) this.#tellState(bars, stream);
  }

  /** Has the holders of a stream told of the state of the one that it is made of. */
  #tellState(stream: number, source: number): void {
    if (this.#watched.values[this.#at(stream)] === 0) return;
    const { states } = this.#engine;
    for (const watch of this.#watches.get(stream) as Watch[]) {
      watch.changes.push({ state: states.of(source), reason: states.reasonOf(source) });
      watch.dirty = true;
      (this.#dirty[0] as Watch[]).push(watch);
    }
  }

  /** A trade changed every building bar of the instrument. Hot path. */
  touchBars(instrument: number): void {
    if (this.#barsWatched[instrument] === 0) return;
    const first = streamOf(instrument, SLOT_BARS);
    for (let stream = first; stream < first + 2 * TIMEFRAME_COUNT; stream += 1) this.touch(stream);
  }

  #mark(stream: number): void {
    for (const watch of this.#watches.get(stream) as Watch[]) {
      const period = conflateIndexOf(watch.variant);
      if (watch.dirty) {
        this.conflated[period] += 1;
        continue;
      }
      watch.dirty = true;
      (this.#dirty[period] as Watch[]).push(watch);
    }
  }

  /** Brings the holders of a depth tier level, whether their period is over or not: somebody is about to join them. */
  levelTier(stream: number, variant: number, out: VariantOutput): void {
    if (this.#watched.values[this.#at(stream)] === 0) return;
    const watch = this.#watches.get(stream)?.find((candidate) => candidate.variant === variant);
    if (watch?.tier === undefined || !watch.dirty) return;
    watch.dirty = false;
    this.#send(watch, out);
  }

  /** Sends what is due at `now`, microseconds. */
  flush(now: number, out: VariantOutput): void {
    for (let period = 0; period < CONFLATE_MS.length; period += 1) {
      const dirty = this.#dirty[period] as Watch[];
      if (dirty.length === 0) continue;
      const due = this.#flushedAt[period] + (CONFLATE_MS[period] as number) * 1000;
      if (now < due) continue;
      this.#flushedAt[period] = now;
      for (const watch of dirty) {
        // It was brought level since it was put here.
        if (!watch.dirty) continue;
        watch.dirty = false;
        if (watch.users > 0) this.#send(watch, out);
      }
      dirty.length = 0;
    }
  }

  #send(watch: Watch, out: VariantOutput): void {
    const { stream, variant } = watch;
    const { frames, states } = this.#engine;
    const from = watch.sent + 1;
    // What changed nothing for the holders sends nothing: the next frame that they do get stands for it too.
    const emit = (memory: Memory, length: number) => {
      this.frames += 1;
      watch.sent = frames.sequence(stream);
      out(memory, length, stream, variant);
    };
    const changes = watch.changes.splice(0);
    for (const { state, reason } of changes) {
      // A book is whole again before it is said to be live.
      if (state === STATE_LIVE) this.#sendData(stream, watch.tier, from, true, emit);
      frames.derivedState(stream, state, reason, from, emit);
    }
    const isLive = states.of(stream) === STATE_LIVE;
    if (!isLive && slotIn(stream) < SLOT_BARS) return;
    if (!changes.some(({ state }) => state === STATE_LIVE)) this.#sendData(stream, watch.tier, from, false, emit);
  }

  /**
   * The latest of a stream for one client that was told nothing from sequence `from` on: the net change of a tier, whose
   * copy is the client's own; the whole, and the state, when that changed.
   */
  latest(stream: number, from: number, changed: boolean, tier: Tier | undefined, out: DerivedOutput): void {
    const { frames, states } = this.#engine;
    const source = stateSource(stream);
    const state = states.of(source);
    const isBars = source !== stream;
    if (state === STATE_LIVE || isBars) this.#sendData(stream, tier, from, changed, out, true);
    if (changed || (state !== STATE_LIVE && !isBars)) {
      frames.derivedState(stream, state, states.reasonOf(source), from, out);
    }
  }

  /**
   * What everybody who has a stream in a form other than the ring's was sent: up to which sequence, in which state (-1
   * when they are still to be told of a change), and a copy of a depth tier.
   */
  held(stream: number, variant: number): { sent: number; state: number; tier: Tier | undefined } {
    const watch = this.#watches.get(stream)?.find((candidate) => candidate.variant === variant);
    assert(watch !== undefined, "only what was opened is held");
    const state = watch.changes.length > 0 ? -1 : this.#engine.states.of(stateSource(stream));
    return { sent: watch.sent, state, tier: watch.tier?.copy(this.#scratch) };
  }

  #sendData(
    stream: number,
    tier: Tier | undefined,
    from: number,
    fresh: boolean,
    emit: DerivedOutput,
    always = false,
  ): void {
    if (tier !== undefined) this.#sendTier(stream, tier, from, fresh, emit, always);
    else this.#sendValue(stream, from, emit);
  }

  /**
   * A tier's change, even if it is none where its holder must hear that there was none; the whole tier when the book
   * became right again, because its holders' copy went stale.
   */
  #sendTier(stream: number, tier: Tier, from: number, fresh: boolean, emit: DerivedOutput, always: boolean): void {
    const book = this.#engine.books.get(instrumentOf(stream));
    if (book === undefined || !book.live) return;
    const changed = tier.update(book.bids, book.asks);
    if (fresh) this.#writeTier(stream, tier, from, emit);
    else if (changed || always) {
      const { frames } = this.#engine;
      const { bids, asks } = tier;
      const length = F.writeBookLevels(
        frames.scratch,
        0,
        book.numbers,
        bids.changes,
        0,
        bids.changeCount,
        asks.changes,
        0,
        asks.changeCount,
      );
      frames.derived(length, stream, F.FLAG_LAST_OF_EVENT, from, 0, emit);
    }
  }

  #writeTier(stream: number, tier: Tier, from: number, emit: DerivedOutput): void {
    const { frames } = this.#engine;
    const book = this.#engine.books.get(instrumentOf(stream));
    if (book === undefined) return;
    const { bids, asks } = tier;
    const length = F.writeBookLevels(
      frames.scratch,
      0,
      book.numbers,
      bids.held,
      bids.heldFrom,
      bids.heldCount,
      asks.held,
      asks.heldFrom,
      asks.heldCount,
    );
    frames.derived(length, stream, F.FLAG_SNAPSHOT | F.FLAG_LAST_OF_EVENT, from, 0, emit);
  }

  #sendValue(stream: number, from: number, emit: DerivedOutput): void {
    const slot = slotIn(stream);
    const { quotes, last, bars } = this.#engine;
    if (slot === SLOT_QUOTES) quotes.snapshot(instrumentOf(stream), from, F.FLAG_LAST_OF_EVENT, emit);
    else if (slot === SLOT_TICKER || slot === SLOT_FUNDING) last.snapshot(stream, from, F.FLAG_LAST_OF_EVENT, emit);
    else if (slot >= SLOT_INDICATORS) bars.buildingIndicators(instrumentOf(stream), timeframeOfSlot(slot), from, emit);
    else bars.building(instrumentOf(stream), timeframeOfSlot(slot), from, emit);
  }

  /**
   * What a new subscriber of a stream gets first, standing for everything up to the stream's last sequence: the book,
   * the last quote, ticker, funding or indicators, the last closed bar and the building one, and the state when the
   * stream is not live. Trades and liquidations have no past. What is due to others must have been flushed before.
   */
  bootstrap(stream: number, variant: number, out: VariantOutput): void {
    const { books, quotes, last, bars, states, frames } = this.#engine;
    const instrument = instrumentOf(stream);
    const channel = channelOfSlot(slotIn(stream));
    const emit = (memory: Memory, length: number) => out(memory, length, stream, variant);
    const whole = F.FLAG_SNAPSHOT | F.FLAG_LAST_OF_EVENT;
    if (channel === "orderbook" && variant === RING) books.bootstrap(instrument, emit);
    else if (channel === "orderbook") {
      const watch = this.#watches.get(stream)?.find((candidate) => candidate.variant === variant);
      assert(watch?.tier !== undefined, "a tier is opened before its bootstrap");
      if (books.get(instrument)?.live === true) this.#writeTier(stream, watch.tier, 0, emit);
    } else if (channel === "quotes") quotes.snapshot(instrument, 0, whole, emit);
    else if (channel === "ticker" || channel === "funding") last.snapshot(stream, 0, whole, emit);
    else if (channel === "bars") bars.bootstrap(instrument, timeframeOfSlot(slotIn(stream)), variant !== RING, emit);
    else if (channel === "indicators") {
      bars.bootstrapIndicators(instrument, timeframeOfSlot(slotIn(stream)), variant !== RING, emit);
    }
    // Bars have no state of their own. A stream that nobody feeds any more is unknown, which must be said too: what came
    // since the client last had it would else be a hole.
    const state = states.of(stream);
    if (state === STATE_LIVE || slotIn(stream) >= SLOT_BARS || frames.sequence(stream) === 0) return;
    frames.derivedState(stream, state, states.reasonOf(stream), 0, emit);
  }

  /** The state of a stream, for one client that was told another one before it joined. */
  stateSince(stream: number, told: number, out: DerivedOutput): void {
    const { states, frames } = this.#engine;
    const source = stateSource(stream);
    const state = states.of(source);
    if (state === told) return;
    frames.derivedState(stream, state, states.reasonOf(source), frames.sequence(stream) + 1, out);
  }
}

/** The stream whose state a stream shares: bars and their indicators are made of trades, and are as live as they. */
export function stateSource(stream: number): number {
  return slotIn(stream) >= SLOT_BARS ? streamOf(instrumentOf(stream), SLOT_TRADES) : stream;
}
