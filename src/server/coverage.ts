import { SLOTS_PER_INSTRUMENT, slotIn, streamOf } from "../market/channel.ts";
import type { Catalog, Instrument } from "../market/instrument.ts";
import type { RequestId, SubscribeRequest } from "./request.ts";
import type { Selection, Wildcard } from "./selection.ts";

/** One subscription of a connection. */
export interface Subscription {
  id: RequestId;
  request: SubscribeRequest;
  selection: Selection;
}

/** A topic that stands for many streams: the scope's number, and the variant in which all of them are wanted. */
export interface WideTopic {
  scope: number;
  slot: number;
  /** The venue's id; 0 is every venue. */
  venue: number;
  variant: number;
}

/** True when a wildcard covers an instrument. */
function covers(wildcard: Wildcard, instrument: Instrument): boolean {
  return (
    instrument.active &&
    (wildcard.venue === 0 || wildcard.venue === instrument.venue) &&
    (wildcard.marketTypes === undefined || wildcard.marketTypes.has(instrument.marketType)) &&
    instrument.channels.includes(wildcard.channel)
  );
}

/**
 * Which streams subscriptions cover, each in one variant: the last subscription that names it wins. It is worked out
 * anew for a range of instruments each time that somebody asks, in memory that all connections share: kept for each, a
 * wildcard over 10,000 instruments would be megabytes a connection. What `fill` found is good until the next `fill`.
 */
export class Coverage {
  readonly #catalog: Catalog;
  /** By stream: 1 + variant, 0 is not covered; and the index of the subscription that decides. */
  #variants = new Uint8Array(64 * SLOTS_PER_INSTRUMENT);
  #owners = new Uint16Array(64 * SLOTS_PER_INSTRUMENT);
  /** By instrument: the last `fill` that it was in. */
  #filled = new Uint32Array(64);
  #fill = 0;
  #subscriptions: readonly Subscription[] = [];

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** The instruments that subscriptions can cover now, in order of id. */
  instruments(subscriptions: readonly Subscription[]): number[] {
    const ids: number[] = [];
    if (subscriptions.some(({ selection }) => selection.wildcards.length > 0)) {
      for (const instrument of this.#catalog.all()) if (instrument.active) ids.push(instrument.id);
      return ids;
    }
    for (const { selection } of subscriptions) for (const { instrument } of selection.streams) ids.push(instrument.id);
    return [...new Set(ids)].sort((a, b) => a - b);
  }

  /** Works out the coverage of `ids[from]` to `ids[to - 1]`. */
  fill(subscriptions: readonly Subscription[], ids: readonly number[], from: number, to: number): void {
    this.#reserve();
    this.#fill += 1;
    this.#subscriptions = subscriptions;
    for (let index = from; index < to; index += 1) {
      const id = ids[index] as number;
      this.#filled[id] = this.#fill;
      this.#variants.fill(0, streamOf(id, 0), streamOf(id + 1, 0));
    }
    subscriptions.forEach(({ selection }, owner) => {
      for (const wildcard of selection.wildcards) this.#addWildcard(wildcard, owner, ids, from, to);
      for (const { instrument, stream, variant } of selection.streams) {
        if (this.#filled[instrument.id] !== this.#fill) continue;
        this.#variants[stream] = 1 + variant;
        this.#owners[stream] = owner;
      }
    });
  }

  #addWildcard(wildcard: Wildcard, owner: number, ids: readonly number[], from: number, to: number): void {
    for (let index = from; index < to; index += 1) {
      const id = ids[index] as number;
      if (!covers(wildcard, this.#catalog.get(id) as Instrument)) continue;
      for (const slot of wildcard.slots) {
        const stream = streamOf(id, slot);
        this.#variants[stream] = 1 + wildcard.variant;
        this.#owners[stream] = owner;
      }
    }
  }

  #reserve(): void {
    const instruments = this.#catalog.size;
    if (instruments <= this.#filled.length) return;
    // What was filled is worked out again by whoever needs it.
    this.#filled = new Uint32Array(2 * instruments);
    this.#variants = new Uint8Array(2 * instruments * SLOTS_PER_INSTRUMENT);
    this.#owners = new Uint16Array(2 * instruments * SLOTS_PER_INSTRUMENT);
  }

  /** The variant in which a stream is wanted; -1 when it is not covered. */
  variantOf(stream: number): number {
    return this.#filled[stream >>> 5] === this.#fill ? (this.#variants[stream] as number) - 1 : -1;
  }

  /** The subscription that decides the form of a covered stream. */
  ownerOf(stream: number): Subscription {
    return this.#subscriptions[this.#owners[stream] as number] as Subscription;
  }

  /** The streams of `ids` that a subscription decides: how many, and which, up to `most`. */
  owned(subscription: Subscription, ids: readonly number[], most: number): { count: number; streams: number[] } {
    const streams: number[] = [];
    let count = 0;
    for (const id of ids) {
      for (let stream = streamOf(id, 0); stream < streamOf(id + 1, 0); stream += 1) {
        if (this.#variants[stream] === 0 || this.ownerOf(stream) !== subscription) continue;
        count += 1;
        if (count <= most) streams.push(stream);
      }
    }
    return { count, streams };
  }

  /**
   * Wide topics that can replace the topics of single streams, because a wildcard without a filter covers them and no
   * other subscription wants any of them in another form. One inside another is left out.
   */
  wideTopics(ids: readonly number[]): WideTopic[] {
    const candidates = new Map<number, WideTopic>();
    for (const { selection } of this.#subscriptions) {
      for (const { slots, venue, variant, marketTypes } of selection.wildcards) {
        if (marketTypes !== undefined) continue;
        for (const slot of slots) {
          const scope = streamOf(venue, slot);
          candidates.set(scope, { scope, slot, venue, variant });
        }
      }
    }
    const whole = [...candidates.values()].filter((topic) => this.#isWhole(topic, ids));
    const everywhere = new Set(whole.filter(({ venue }) => venue === 0).map(({ slot }) => slot));
    return whole.filter(({ slot, venue }) => venue === 0 || !everywhere.has(slot));
  }

  #isWhole({ slot, venue, variant }: WideTopic, ids: readonly number[]): boolean {
    for (const id of ids) {
      const wanted = this.#variants[streamOf(id, slot)];
      if (wanted === 0 || wanted === 1 + variant) continue;
      if (venue === 0 || (this.#catalog.get(id) as Instrument).venue === venue) return false;
    }
    return true;
  }
}

export function inTopic({ slot, venue }: WideTopic, stream: number, instrument: Instrument | undefined): boolean {
  return slotIn(stream) === slot && (venue === 0 || instrument?.venue === venue);
}
