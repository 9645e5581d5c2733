import { RING, stateSource, VARIANTS } from "../engine/derived.ts";
import {
  instrumentOf,
  SLOT_BARS,
  SLOT_LIQUIDATIONS,
  SLOT_TRADES,
  slotIn,
  streamOf,
  timeframeOfSlot,
} from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { PIECE_COST } from "./backlog.ts";
import type { MaxLag } from "./catch-up.ts";
import { beginsAnew, CatchUp, isReplayable } from "./catch-up.ts";
import type { Client } from "./client.ts";
import { ClientTopics, JOIN_COST, MOVE_COST } from "./client-topics.ts";
import type { Subscription, WideTopic } from "./coverage.ts";
import type { Replay } from "./replay.ts";
import type { RequestId } from "./request.ts";
import type { Services } from "./services.ts";

/** Instruments looked at together, and what such a look is worth beside the bytes that are sent. */
const INSTRUMENTS_PER_LOOK = 64;
const LOOK_COST = 1024;

/** More than there are states of a stream. */
const STATES = 8;

/** What most memberships have nothing in, shared, because thousands of idle ones are mostly such. Never changed. */
const NO_STREAMS = new Map<number, number>();
const NONE_KEPT = new Set<number>();
const NONE_BROKEN: ReadonlyMap<number, WideTopic> = new Map();
const NO_NUMBERS: number[] = [];
const NOT_WIDENING: WideTopic[] = [];
const NO_REPLAYS = new Map<RequestId, Replay>();

/** Whose membership it is. */
export interface Joiner extends Client {
  readonly subscriptions: ReadonlyMap<RequestId, Subscription>;
  /** Tells the client of a stream that no ack has listed; before the stream's first frame. */
  announce(stream: number, variant: number, subscription: RequestId): void;
}

/**
 * Which topics one connection is in, so that it gets each stream that its subscriptions cover once. A stream is joined
 * in the turn in which its snapshot is sent, so the first live frame is snapshot + 1; leaving is done at once, joining
 * in pieces. When all streams of a wildcard are joined, one wide topic replaces theirs.
 */
export class Membership {
  readonly #client: Joiner;
  readonly #services: Services;
  /** Streams that this client gets now, by their own topic or a wide one, and in which variant. */
  readonly #joined = new Map<number, number>();
  /** Streams that an ack has listed and that are not joined yet: the variant that it said, times STATES, and the state. */
  #listed = NO_STREAMS;
  /** Streams that are left only to be joined in another form: their timeframe goes on being computed. */
  #kept = NONE_KEPT;
  /** Streams that were left, each times VARIANTS plus its variant: what the engine did for them is to be taken back. */
  #left = NO_NUMBERS;
  readonly #topics: ClientTopics;
  /** Instruments whose streams are still to be joined: those from `#next` on. */
  #instruments = NO_NUMBERS;
  #next = 0;
  /** Those that the last `apply` looked at, until `list`. */
  #applied = NO_NUMBERS;
  /** Wide topics to change to when all is joined; undefined when that is to be worked out. */
  #widening: WideTopic[] | undefined = NOT_WIDENING;
  #closing = false;
  /** Reads the ring for this client while it is behind; undefined while it is live. */
  #behind: CatchUp | undefined;
  /** Subscriptions whose streams begin in the past, until they are level. */
  #replays = NO_REPLAYS;

  constructor(client: Joiner, services: Services) {
    this.#client = client;
    this.#services = services;
    this.#topics = new ClientTopics(client, services, this.#joined);
  }

  get #subscriptions(): ReadonlyMap<RequestId, Subscription> {
    return this.#client.subscriptions;
  }

  get pending(): boolean {
    if (this.#left.length > 0) return true;
    if (this.#closing) return this.#joined.size > 0 || this.#kept.size > 0;
    return this.#behind !== undefined || this.#next < this.#instruments.length || this.#widening?.length !== 0;
  }

  /** True while nothing is joined, so that nothing comes. */
  get isEmpty(): boolean {
    return this.#joined.size === 0 && !this.#topics.hasWide;
  }

  /** The variant in which a stream is joined; undefined while it is not. */
  variantOf(stream: number): number | undefined {
    return this.#joined.get(stream);
  }

  /**
   * Some subscriptions came or went: leaves at once what is no longer covered; what is new is joined by `step`. Only
   * the instruments that those name are looked at, all of them for a wildcard.
   */
  apply(changed: readonly Subscription[]): void {
    const { coverage, publisher } = this.#services;
    publisher.drain();
    const subscriptions = [...this.#subscriptions.values()];
    const instruments = coverage.instruments(changed);
    coverage.fill(subscriptions, instruments, 0, instruments.length);
    if (changed.some(({ selection }) => selection.wildcards.length > 0)) this.#applyAll(instruments);
    else this.#applyNamed(instruments);
    for (const [stream, listed] of this.#listed) {
      const variant = Math.floor(listed / STATES);
      if (coverage.isFilled(stream) && coverage.variantOf(stream) !== variant) this.#listed.delete(stream);
    }
    for (const stream of this.#kept) {
      if (coverage.isFilled(stream) && coverage.variantOf(stream) < 0) this.#unwant(stream);
    }
    this.#instruments = [...this.#instruments.slice(this.#next), ...instruments];
    this.#next = 0;
    this.#applied = instruments;
  }

  #applyAll(instruments: readonly number[]): void {
    const { coverage } = this.#services;
    const topics = this.#topics;
    const broken = topics.hasWide ? topics.break(coverage.wideTopics(instruments)) : NONE_BROKEN;
    for (const [stream, variant] of this.#joined) {
      if (coverage.variantOf(stream) !== variant) this.#leave(stream, variant, broken);
      else if (topics.wideIn(broken, stream) !== undefined) topics.enter(stream, variant);
    }
    // All is looked at again, whatever was still to be.
    this.#instruments = NO_NUMBERS;
    this.#next = 0;
    this.#widening = undefined;
  }

  #applyNamed(instruments: readonly number[]): void {
    const { coverage } = this.#services;
    for (const id of instruments) {
      for (let stream = streamOf(id, 0); stream < streamOf(id + 1, 0); stream += 1) {
        const joined = this.#joined.get(stream);
        if (joined === undefined || joined === coverage.variantOf(stream)) continue;
        const topic = this.#topics.wideOf(stream);
        if (topic !== undefined) this.#topics.narrow(topic);
        this.#leave(stream, joined, NONE_BROKEN);
      }
    }
    // What has one form again may go back to a wide topic.
    if (this.#hasWildcards()) this.#widening = undefined;
  }

  #hasWildcards(): boolean {
    for (const { selection } of this.#subscriptions.values()) if (selection.wildcards.length > 0) return true;
    return false;
  }

  /**
   * The streams of the subscription that was applied last. Up to `most` of them are listed, the more are announced one
   * by one as they are joined.
   */
  list(subscription: Subscription, most: number): { count: number; streams: number[] } {
    const { coverage, publisher } = this.#services;
    // It may have been in an earlier turn, and others have asked the coverage since.
    publisher.drain();
    coverage.fill([...this.#subscriptions.values()], this.#applied, 0, this.#applied.length);
    const { count, streams } = coverage.owned(subscription, this.#applied, most);
    this.#applied = NO_NUMBERS;
    if (count <= most) {
      if (this.#listed === NO_STREAMS) this.#listed = new Map();
      const { states } = this.#services.engine;
      for (const stream of streams) {
        if (this.#joined.has(stream)) continue;
        this.#listed.set(stream, coverage.variantOf(stream) * STATES + states.of(stateSource(stream)));
      }
      return { count, streams };
    }
    for (const stream of this.#listed.keys()) {
      if (coverage.isFilled(stream) && coverage.ownerOf(stream) === subscription) this.#listed.delete(stream);
    }
    return { count, streams: [] };
  }

  /** Joins those that have no snapshot in the turn of their ack, so that what it says of their sequence stays true. */
  joinEvents(streams: readonly number[]): void {
    for (const stream of streams) {
      const slot = slotIn(stream);
      if (this.#joined.has(stream) || (slot !== SLOT_TRADES && slot !== SLOT_LIQUIDATIONS)) continue;
      this.#join(stream, RING);
    }
  }

  /** Joins some of what waits, or changes to a wide topic; once closed, gives back some of what was held. */
  step(): number {
    if (this.#left.length > 0) return this.#releaseSome();
    if (this.#closing) return this.#giveBack();
    if (this.#next < this.#instruments.length) return this.#joinSome();
    if (this.#behind !== undefined) return this.#catchUp(this.#behind);
    this.#widening ??= this.#topics.wider();
    const topic = this.#widening.pop();
    return topic === undefined ? LOOK_COST : this.#topics.widen(topic);
  }

  #joinSome(): number {
    const { coverage, publisher } = this.#services;
    publisher.drain();
    const end = Math.min(this.#next + INSTRUMENTS_PER_LOOK, this.#instruments.length);
    coverage.fill([...this.#subscriptions.values()], this.#instruments, this.#next, end);
    let cost = LOOK_COST;
    while (this.#next < end && cost < PIECE_COST) {
      const first = streamOf(this.#instruments[this.#next] as number, 0);
      this.#next += 1;
      for (let stream = first; stream < first + streamOf(1, 0); stream += 1) {
        const variant = coverage.variantOf(stream);
        if (variant >= 0 && !this.#joined.has(stream)) cost += this.#join(stream, variant);
      }
    }
    if (this.#next === this.#instruments.length) {
      this.#instruments = NO_NUMBERS;
      this.#next = 0;
      if (this.#behind === undefined) this.#replays = NO_REPLAYS;
    }
    return cost;
  }

  /** Joins a stream and sends what a new subscriber of it gets first. */
  #join(stream: number, variant: number): number {
    const { coverage, engine, publisher } = this.#services;
    const client = this.#client;
    if (variant !== RING) publisher.levelTier(stream, variant);
    this.#hold(stream, variant);
    if (this.#topics.wideOf(stream) === undefined) this.#topics.enter(stream, variant);
    this.#joined.set(stream, variant);
    const listed = this.#listed.get(stream);
    if (listed === undefined) this.#client.announce(stream, variant, coverage.ownerOf(stream).id);
    this.#listed.delete(stream);
    if (this.#listed.size === 0) this.#listed = NO_STREAMS;
    const replay = this.#replays.get(coverage.ownerOf(stream).id);
    if (replay !== undefined && isReplayable(stream, variant) && !beginsAnew(stream, replay)) {
      if (replay.isKnown || replay.earlier !== undefined) {
        this.#behind?.replay(stream, variant, replay);
        return JOIN_COST;
      }
      const last = engine.frames.sequence(stream);
      if (last > 0) client.gap(stream, 1, last, "epoch");
    }
    let cost = JOIN_COST;
    engine.frames.asOf(this.#behind?.position ?? 0, () => {
      engine.derived.bootstrap(stream, variant, (memory, length) => {
        cost += client.frame(memory, length, stream);
      });
      // The bootstrap of a stream that has a state of its own has said it.
      if (listed === undefined || variant === RING || slotIn(stream) < SLOT_BARS) return;
      engine.derived.stateSince(stream, listed % STATES, (memory, length) => {
        cost += client.frame(memory, length, stream);
      });
    });
    this.#behind?.add(stream, variant);
    return cost;
  }

  /** Up to where this client has been sent all that it is to get; undefined when that is everything. */
  get position(): number | undefined {
    return this.#behind?.position;
  }

  /** True while another replay has to wait. */
  get isReadingJournal(): boolean {
    return this.#behind?.isReadingJournal === true;
  }

  /** The last sequence of a stream that this client was sent, or begins after. */
  sequenceOf(stream: number): number {
    return this.#behind?.heldOf(stream) ?? this.#services.engine.frames.sequence(stream);
  }

  /** Takes the client off all its topics: it reads the ring from here on, until it is level. */
  fallBehind(maxLag?: MaxLag): CatchUp {
    if (this.#behind !== undefined) return this.#behind;
    this.#services.publisher.drain();
    this.#topics.suspend();
    const behind = new CatchUp(this.#client, this.#services, maxLag);
    for (const [stream, variant] of this.#joined) behind.add(stream, variant);
    this.#behind = behind;
    return behind;
  }

  /** The streams of a subscription that are joined from now on begin in the past. */
  replay(subscription: RequestId, replay: Replay): void {
    if (this.#replays === NO_REPLAYS) this.#replays = new Map();
    this.#replays.set(subscription, replay);
    if (replay.isKnown || replay.earlier !== undefined) this.fallBehind().begin(replay);
  }

  /** Sends the next piece to a client that is behind; one that is level enters its topics in the same turn. */
  #catchUp(behind: CatchUp): number {
    this.#services.publisher.drain();
    const cost = behind.read();
    if (!behind.level || this.#client.closed) return cost;
    behind.finish();
    this.#behind = undefined;
    this.#replays = NO_REPLAYS;
    this.#topics.resume();
    this.#services.counters.caughtUp += 1;
    return cost;
  }

  /** Leaves a stream that was in its own topic or in a wide one; `broken` are those that were left already. */
  #leave(stream: number, variant: number, broken: ReadonlyMap<number, WideTopic>): void {
    const { coverage, engine } = this.#services;
    const wasWide = (this.#topics.wideIn(broken, stream) ?? this.#topics.wideOf(stream)) !== undefined;
    if (!wasWide) this.#topics.exit(stream, variant);
    this.#joined.delete(stream);
    this.#behind?.remove(stream);
    if (coverage.variantOf(stream) < 0) {
      if (this.#left === NO_NUMBERS) this.#left = [];
      this.#left.push(stream * VARIANTS + variant);
      return;
    }
    if (variant !== RING) engine.derived.close(stream, variant);
    if (slotIn(stream) < SLOT_BARS) return;
    if (this.#kept === NONE_KEPT) this.#kept = new Set();
    this.#kept.add(stream);
  }

  /** Has the engine compute what this client wants beside the ring's own frames. */
  #hold(stream: number, variant: number): void {
    const { engine } = this.#services;
    if (variant !== RING) engine.derived.open(stream, variant);
    if (slotIn(stream) < SLOT_BARS || this.#kept.delete(stream)) return;
    engine.bars.want(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
  }

  /** Takes back what `#hold` did. */
  #release(stream: number, variant: number): void {
    const { engine } = this.#services;
    if (variant !== RING) engine.derived.close(stream, variant);
    if (slotIn(stream) >= SLOT_BARS) engine.bars.unwant(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
  }

  #unwant(stream: number): void {
    this.#kept.delete(stream);
    this.#services.engine.bars.unwant(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
  }

  /**
   * An instrument became active: the wildcards that cover it get its streams, announced before their first frame; later,
   * while an ack that must come before is on its way.
   */
  activated(instrument: Instrument, later: boolean): void {
    const { coverage } = this.#services;
    if (!this.#hasWildcards()) return;
    if (later) {
      this.#instruments = [...this.#instruments, instrument.id];
      this.#widening = undefined;
      return;
    }
    coverage.fill([...this.#subscriptions.values()], [instrument.id], 0, 1);
    let waits = false;
    for (let stream = streamOf(instrument.id, 0); stream < streamOf(instrument.id + 1, 0); stream += 1) {
      const variant = coverage.variantOf(stream);
      if (variant < 0 || this.#joined.has(stream)) continue;
      const topic = this.#topics.wideOf(stream);
      if (topic?.variant === variant) {
        // It has had no frame yet, so there is nothing to send first.
        this.#hold(stream, variant);
        this.#joined.set(stream, variant);
        this.#behind?.add(stream, variant);
        this.#client.announce(stream, variant, coverage.ownerOf(stream).id);
        continue;
      }
      // Another subscription wants it in another form than the wide topic has.
      if (topic !== undefined) this.#topics.narrow(topic);
      waits = true;
    }
    if (!waits) return;
    this.#instruments = [...this.#instruments, instrument.id];
    this.#widening = undefined;
  }

  /** The socket is gone, and has left all its topics: what it held is given back in pieces, by `step`. */
  close(): void {
    this.#behind?.close();
    this.#topics.forgetWide();
    this.#instruments = NO_NUMBERS;
    this.#next = 0;
    this.#widening = NOT_WIDENING;
    this.#closing = true;
  }

  #giveBack(): number {
    let cost = LOOK_COST;
    for (const [stream, variant] of this.#joined) {
      if (cost >= PIECE_COST) return cost;
      cost += MOVE_COST;
      this.#joined.delete(stream);
      this.#topics.forget(stream, variant);
      this.#release(stream, variant);
    }
    for (const stream of this.#kept) this.#unwant(stream);
    return cost;
  }

  #releaseSome(): number {
    let cost = LOOK_COST;
    for (; cost < PIECE_COST && this.#left.length > 0; cost += MOVE_COST) {
      const each = this.#left.pop() as number;
      this.#release(Math.floor(each / VARIANTS), each % VARIANTS);
    }
    return cost;
  }
}
