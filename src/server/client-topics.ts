import { instrumentOf, slotIn, streamOf } from "../market/channel.ts";
import type { Subscription, WideTopic } from "./coverage.ts";
import type { RequestId } from "./request.ts";
import type { Services } from "./services.ts";
import type { Member } from "./topics.ts";
import { partOf, wideScope } from "./topics.ts";

/** What entering a topic, and changing from one to another, are worth beside the bytes that are sent. */
export const JOIN_COST = 1024;
export const MOVE_COST = 64;

/** What most clients have none of, shared, because thousands of idle ones are mostly such. Never changed. */
const NO_TOPICS: ReadonlyMap<number, WideTopic> = new Map();

/** Whose topics they are. */
interface Subscriber extends Member {
  readonly subscriptions: ReadonlyMap<RequestId, Subscription>;
}

/**
 * The topics that one client is in: for each stream that it has joined the stream's own, or a wide one that stands for
 * many. While it reads the ring it is in none, but what is kept here goes on, so that it finds its way back.
 */
export class ClientTopics {
  readonly #member: Subscriber;
  readonly #services: Services;
  /** The streams that are joined, and in which variant. */
  readonly #joined: ReadonlyMap<number, number>;
  /** Wide topics, by scope. */
  #wide = NO_TOPICS as Map<number, WideTopic>;
  #isLive = true;

  constructor(member: Subscriber, services: Services, joined: ReadonlyMap<number, number>) {
    this.#member = member;
    this.#services = services;
    this.#joined = joined;
  }

  get #subscriptions(): Subscription[] {
    return [...this.#member.subscriptions.values()];
  }

  get hasWide(): boolean {
    return this.#wide.size > 0;
  }

  /** Enters a stream's own topic. */
  enter(stream: number, variant: number): void {
    this.#enter(stream, variant, stream);
  }

  exit(stream: number, variant: number): void {
    this.#exit(stream, variant, stream);
  }

  #enter(stream: number, variant: number, scope: number): void {
    if (this.#isLive) this.#services.publisher.topics.join(this.#member, stream, variant, scope);
  }

  #exit(stream: number, variant: number, scope: number): void {
    if (this.#isLive) this.#services.publisher.topics.leave(this.#member, stream, variant, scope);
  }

  #forget(stream: number, variant: number, scope: number): void {
    if (this.#isLive) this.#services.publisher.topics.forget(this.#member, stream, variant, scope);
  }

  /** Leaves all of them, until `resume`. */
  suspend(): void {
    this.#each((stream, variant, scope) => this.#exit(stream, variant, scope));
    this.#isLive = false;
  }

  resume(): void {
    this.#isLive = true;
    this.#each((stream, variant, scope) => this.#enter(stream, variant, scope));
  }

  #each(act: (stream: number, variant: number, scope: number) => void): void {
    for (const { slot, variant, scope } of this.#wide.values()) act(slot, variant, scope);
    for (const [stream, variant] of this.#joined) if (this.wideOf(stream) === undefined) act(stream, variant, stream);
  }

  /** The wide topic that a stream comes by; undefined when it comes by its own. */
  wideOf(stream: number): WideTopic | undefined {
    return this.wideIn(this.#wide, stream);
  }

  wideIn(topics: ReadonlyMap<number, WideTopic>, stream: number): WideTopic | undefined {
    if (topics.size === 0) return undefined;
    const slot = slotIn(stream);
    const part = partOf(stream);
    const everywhere = topics.get(wideScope(0, slot, part));
    if (everywhere !== undefined) return everywhere;
    const venue = this.#services.catalog.get(instrumentOf(stream))?.venue ?? 0;
    return topics.get(wideScope(venue, slot, part));
  }

  /** Leaves the wide topics that are not among `still`, and returns them: their streams are in no topic now. */
  break(still: readonly WideTopic[]): ReadonlyMap<number, WideTopic> {
    const broken = new Map(this.#wide);
    for (const { scope, variant } of still) if (broken.get(scope)?.variant === variant) broken.delete(scope);
    for (const { slot, variant, scope } of broken.values()) {
      this.#exit(slot, variant, scope);
      this.#wide.delete(scope);
    }
    return broken;
  }

  /** Wide topics that could stand for what is joined, and do not yet. */
  wider(): WideTopic[] {
    const { coverage } = this.#services;
    const subscriptions = this.#subscriptions;
    const instruments = coverage.instruments(subscriptions);
    coverage.fill(subscriptions, instruments, 0, instruments.length);
    return coverage.wideTopics(instruments).filter(({ scope }) => !this.#wide.has(scope));
  }

  /** The joined streams that a wide topic stands for. */
  *#streamsOf({ slot, part, venue }: WideTopic): IterableIterator<[stream: number, variant: number]> {
    const { catalog, coverage } = this.#services;
    for (const id of coverage.instruments(this.#subscriptions)) {
      const stream = streamOf(id, slot);
      const variant = partOf(stream) === part ? this.#joined.get(stream) : undefined;
      if (variant !== undefined && (venue === 0 || catalog.get(id)?.venue === venue)) yield [stream, variant];
    }
  }

  /** Replaces the topics of single streams by the wide one that covers them; returns its cost. */
  widen(topic: WideTopic): number {
    let moved = 0;
    for (const [stream, variant] of this.#streamsOf(topic)) {
      if (this.wideOf(stream) !== undefined) continue;
      this.#exit(stream, variant, stream);
      moved += 1;
    }
    for (const { scope, slot, part, variant } of this.#wide.values()) {
      if (topic.venue !== 0 || slot !== topic.slot || part !== topic.part) continue;
      this.#exit(slot, variant, scope);
      this.#wide.delete(scope);
    }
    this.#enter(topic.slot, topic.variant, topic.scope);
    if (this.#wide === NO_TOPICS) this.#wide = new Map();
    this.#wide.set(topic.scope, topic);
    return JOIN_COST + MOVE_COST * moved;
  }

  /** Takes a wide topic apart into the topics of its streams. */
  narrow(topic: WideTopic): void {
    this.#wide.delete(topic.scope);
    this.#exit(topic.slot, topic.variant, topic.scope);
    for (const [stream, variant] of this.#streamsOf(topic)) this.#enter(stream, variant, stream);
  }

  /** The socket is gone, and has left all of its topics: what counts its wide ones is put right. */
  forgetWide(): void {
    for (const { slot, variant, scope } of this.#wide.values()) this.#forget(slot, variant, scope);
  }

  /** The same for a stream's own topic, where it came by that. */
  forget(stream: number, variant: number): void {
    if (this.wideOf(stream) === undefined) this.#forget(stream, variant, stream);
  }
}
