import { RING } from "../engine/derived.ts";
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
import type { Client } from "./client.ts";
import type { Subscription, WideTopic } from "./coverage.ts";
import { inTopic } from "./coverage.ts";
import type { RequestId } from "./request.ts";
import type { Services } from "./services.ts";

/** Instruments looked at together, and what such a look and a join are worth beside the bytes that are sent. */
const INSTRUMENTS_PER_LOOK = 64;
const LOOK_COST = 1024;
const JOIN_COST = 1024;
const MOVE_COST = 64;
/** A piece ends when it has cost so much: the other clients' turn. */
const PIECE_COST = 64 * 1024;

/** Tells the client of a stream that no ack has listed; before the stream's first frame. */
type Announce = (stream: number, variant: number, subscription: RequestId) => void;

/**
 * Which topics one connection is in, so that it gets each stream that its subscriptions cover once. A stream is joined
 * in the turn in which its snapshot is sent, so the first live frame is snapshot + 1; leaving is done at once, joining
 * in pieces. When all streams of a wildcard are joined, one wide topic replaces theirs.
 */
export class Membership {
  readonly #client: Client;
  readonly #services: Services;
  readonly #subscriptions: ReadonlyMap<RequestId, Subscription>;
  readonly #announce: Announce;
  /** Streams that this client gets now, by their own topic or a wide one, and in which variant. */
  readonly #joined = new Map<number, number>();
  /** Streams that an ack has listed and that are not joined yet, and the variant that it said. */
  readonly #listed = new Map<number, number>();
  /** Streams that are left only to be joined in another form: their timeframe goes on being computed. */
  readonly #kept = new Set<number>();
  #wide: WideTopic[] = [];
  /** Instruments whose streams are still to be joined: those from `#next` on. */
  #instruments: number[] = [];
  #next = 0;
  /** Wide topics to change to when all is joined; undefined when that is to be worked out. */
  #widening: WideTopic[] | undefined = [];

  constructor(
    client: Client,
    services: Services,
    subscriptions: ReadonlyMap<RequestId, Subscription>,
    announce: Announce,
  ) {
    this.#client = client;
    this.#services = services;
    this.#subscriptions = subscriptions;
    this.#announce = announce;
  }

  get pending(): boolean {
    return this.#next < this.#instruments.length || this.#widening?.length !== 0;
  }

  /** The variant in which a stream is joined; undefined while it is not. */
  variantOf(stream: number): number | undefined {
    return this.#joined.get(stream);
  }

  /** The subscriptions changed: leaves at once what they no longer cover; what is new is joined by `step`. */
  apply(): void {
    const { coverage, publisher } = this.#services;
    publisher.drain();
    const subscriptions = [...this.#subscriptions.values()];
    const instruments = coverage.instruments(subscriptions);
    coverage.fill(subscriptions, instruments, 0, instruments.length);
    const still = coverage.wideTopics(instruments);
    const keeps = (stream: number, variant: number) => coverage.variantOf(stream) === variant;
    for (const topic of this.#wide) {
      if (!still.some(({ scope, variant }) => scope === topic.scope && variant === topic.variant)) {
        this.#narrow(topic, keeps);
      }
    }
    for (const [stream, variant] of this.#joined) {
      if (!keeps(stream, variant)) this.#leave(stream, variant);
    }
    for (const [stream, variant] of this.#listed) if (!keeps(stream, variant)) this.#listed.delete(stream);
    for (const stream of this.#kept) if (coverage.variantOf(stream) < 0) this.#unwant(stream);
    this.#instruments = instruments;
    this.#next = 0;
    this.#widening = still.length === 0 ? [] : undefined;
  }

  /**
   * The streams of a subscription that was just applied. Up to `most` of them are listed, the more are announced one by
   * one as they are joined.
   */
  list(subscription: Subscription, most: number): { count: number; streams: number[] } {
    const { coverage } = this.#services;
    const { count, streams } = coverage.owned(subscription, this.#instruments, most);
    if (count <= most) {
      for (const stream of streams) if (!this.#joined.has(stream)) this.#listed.set(stream, coverage.variantOf(stream));
      return { count, streams };
    }
    for (const stream of this.#listed.keys()) {
      if (coverage.ownerOf(stream) === subscription) this.#listed.delete(stream);
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

  /** Joins some of what waits, or changes to a wide topic; returns what it cost. */
  step(): number {
    if (this.#next < this.#instruments.length) return this.#joinSome();
    this.#widening ??= this.#findWide();
    const topic = this.#widening.pop();
    return topic === undefined ? LOOK_COST : this.#widen(topic);
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
      this.#instruments = [];
      this.#next = 0;
    }
    return cost;
  }

  /** Joins a stream and sends what a new subscriber of it gets first. */
  #join(stream: number, variant: number): number {
    const { coverage, engine, publisher } = this.#services;
    const client = this.#client;
    if (variant !== RING) publisher.levelTier(stream, variant);
    this.#hold(stream, variant);
    if (!this.#isWide(stream)) publisher.join(client, stream, variant, stream);
    this.#joined.set(stream, variant);
    if (!this.#listed.delete(stream)) this.#announce(stream, variant, coverage.ownerOf(stream).id);
    let cost = JOIN_COST;
    engine.derived.bootstrap(stream, variant, (memory, length) => {
      cost += client.frame(memory, length, stream);
    });
    return cost;
  }

  #leave(stream: number, variant: number): void {
    if (!this.#isWide(stream)) this.#services.publisher.leave(this.#client, stream, variant, stream);
    this.#joined.delete(stream);
    this.#release(stream, variant);
  }

  /** Has the engine compute what this client wants beside the ring's own frames. */
  #hold(stream: number, variant: number): void {
    const { engine } = this.#services;
    if (variant !== RING) engine.derived.open(stream, variant);
    if (slotIn(stream) < SLOT_BARS || this.#kept.delete(stream)) return;
    engine.bars.want(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
  }

  #release(stream: number, variant: number): void {
    const { coverage, engine } = this.#services;
    if (variant !== RING) engine.derived.close(stream, variant);
    if (slotIn(stream) < SLOT_BARS) return;
    this.#kept.add(stream);
    if (coverage.variantOf(stream) < 0) this.#unwant(stream);
  }

  #unwant(stream: number): void {
    this.#kept.delete(stream);
    this.#services.engine.bars.unwant(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
  }

  #wideTopicOf(stream: number): WideTopic | undefined {
    if (this.#wide.length === 0) return undefined;
    const instrument = this.#services.catalog.get(instrumentOf(stream));
    return this.#wide.find((topic) => inTopic(topic, stream, instrument));
  }

  #isWide(stream: number): boolean {
    return this.#wideTopicOf(stream) !== undefined;
  }

  #findWide(): WideTopic[] {
    const { coverage } = this.#services;
    const subscriptions = [...this.#subscriptions.values()];
    const instruments = coverage.instruments(subscriptions);
    coverage.fill(subscriptions, instruments, 0, instruments.length);
    return coverage.wideTopics(instruments).filter(({ scope }) => !this.#wide.some((topic) => topic.scope === scope));
  }

  /** Replaces the topics of single streams by the wide one that covers them. */
  #widen(topic: WideTopic): number {
    const { catalog, publisher } = this.#services;
    const client = this.#client;
    let moved = 0;
    for (const [stream, variant] of this.#joined) {
      if (!inTopic(topic, stream, catalog.get(instrumentOf(stream))) || this.#isWide(stream)) continue;
      publisher.leave(client, stream, variant, stream);
      moved += 1;
    }
    const inside = topic.venue === 0 ? this.#wide.filter(({ slot }) => slot === topic.slot) : [];
    for (const { slot, variant, scope } of inside) publisher.leave(client, slot, variant, scope);
    this.#wide = this.#wide.filter((other) => !inside.includes(other));
    publisher.join(client, topic.slot, topic.variant, topic.scope);
    this.#wide.push(topic);
    return JOIN_COST + MOVE_COST * moved;
  }

  /** Takes a wide topic apart: streams that are kept go back to their own topics, the rest is left. */
  #narrow(topic: WideTopic, keeps: (stream: number, variant: number) => boolean): void {
    const { catalog, publisher } = this.#services;
    this.#wide = this.#wide.filter((other) => other !== topic);
    publisher.leave(this.#client, topic.slot, topic.variant, topic.scope);
    for (const [stream, variant] of this.#joined) {
      if (!inTopic(topic, stream, catalog.get(instrumentOf(stream)))) continue;
      if (keeps(stream, variant)) publisher.join(this.#client, stream, variant, stream);
      else {
        this.#joined.delete(stream);
        this.#release(stream, variant);
      }
    }
    this.#widening = undefined;
  }

  /** An instrument became active: the wildcards that cover it get its streams, announced before their first frame. */
  activated(instrument: Instrument): void {
    const { coverage } = this.#services;
    const subscriptions = [...this.#subscriptions.values()];
    if (!subscriptions.some(({ selection }) => selection.wildcards.length > 0)) return;
    coverage.fill(subscriptions, [instrument.id], 0, 1);
    let waits = false;
    for (let stream = streamOf(instrument.id, 0); stream < streamOf(instrument.id + 1, 0); stream += 1) {
      const variant = coverage.variantOf(stream);
      if (variant < 0 || this.#joined.has(stream)) continue;
      const topic = this.#wideTopicOf(stream);
      if (topic?.variant === variant) {
        // It has had no frame yet, so there is nothing to send first.
        this.#hold(stream, variant);
        this.#joined.set(stream, variant);
        this.#announce(stream, variant, coverage.ownerOf(stream).id);
        continue;
      }
      // Another subscription wants it in another form than the wide topic has.
      if (topic !== undefined) this.#narrow(topic, () => true);
      waits = true;
    }
    if (!waits) return;
    this.#instruments.push(instrument.id);
    this.#widening = undefined;
  }

  /** The socket is gone, and has left all its topics: gives back what it held. */
  close(): void {
    const { engine, publisher } = this.#services;
    const client = this.#client;
    for (const [stream, variant] of this.#joined) {
      if (!this.#isWide(stream)) publisher.forget(client, stream, variant, stream);
      if (variant !== RING) engine.derived.close(stream, variant);
      if (slotIn(stream) >= SLOT_BARS) this.#unwant(stream);
    }
    for (const { slot, variant, scope } of this.#wide) publisher.forget(client, slot, variant, scope);
    for (const stream of this.#kept) this.#unwant(stream);
    this.#joined.clear();
    this.#wide = [];
    this.#instruments = [];
    this.#next = 0;
    this.#widening = [];
  }
}
