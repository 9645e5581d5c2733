import { CHANNELS, SLOTS_PER_INSTRUMENT, streamOf } from "../market/channel.ts";
import type { Catalog, Instrument, MarketType } from "../market/instrument.ts";
import { MARKET_TYPES } from "../market/instrument.ts";
import type { RequestId, SubscribeRequest } from "./request.ts";
import type { Selection, Wildcard } from "./selection.ts";
import { WIDE_PARTS, wideScope } from "./topics.ts";

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
  /** Which part of the instruments. */
  part: number;
  /** The venue's id; 0 is every venue. */
  venue: number;
  variant: number;
}

/** A wildcard as it is compared with an instrument: bits of channels and of market types. */
interface Mask {
  channel: number;
  marketTypes: number;
  venue: number;
  slots: readonly number[];
  variant: number;
  owner: number;
}

/** Instruments in one fill above which everything is cleared at once. */
const MANY = 256;
const EVERY_TYPE = (1 << MARKET_TYPES.length) - 1;

/**
 * Which streams subscriptions cover, each in one variant: the last subscription that names it wins. It is worked out
 * anew for a range of instruments each time that somebody asks, in memory that all connections share: kept for each, a
 * wildcard over 10,000 instruments would be megabytes a connection. What `fill` found is good until the next `fill`.
 */
export class Coverage {
  readonly #catalog: Catalog;
  /** Ids of the active instruments; in order once `#sort` has run. */
  readonly #active: number[] = [];
  #sorted = true;
  /** By stream: 1 + variant, 0 is not covered; and the index of the subscription that decides. */
  #variants = new Uint8Array(64 * SLOTS_PER_INSTRUMENT);
  #owners = new Uint16Array(64 * SLOTS_PER_INSTRUMENT);
  /** By instrument: the last `fill` that it was in; its venue, market type and channels, and whether these were read. */
  #filled = new Uint32Array(64);
  #venues = new Uint32Array(64);
  #marketTypes = new Uint8Array(64);
  #channels = new Uint16Array(64);
  #isRead = new Uint8Array(64);
  /** The catalog's revision that they were read at. */
  #revision = 0;
  #fill = 0;
  #subscriptions: readonly Subscription[] = [];

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
    for (const instrument of catalog.all()) if (instrument.active) this.#active.push(instrument.id);
    catalog.onActive((instrument) => {
      const { id } = instrument;
      this.#sorted &&= id > (this.#active.at(-1) ?? 0);
      this.#active.push(id);
      this.#reserve();
      this.#read(instrument);
    });
  }

  /** How many instruments a wildcard is compared with. */
  get activeCount(): number {
    return this.#active.length;
  }

  /** The instruments that subscriptions can cover now, in order of id. */
  instruments(subscriptions: readonly Subscription[]): number[] {
    if (subscriptions.some(({ selection }) => selection.wildcards.length > 0)) {
      if (!this.#sorted) this.#active.sort((a, b) => a - b);
      this.#sorted = true;
      return this.#active.slice();
    }
    const ids = new Set<number>();
    for (const { selection } of subscriptions) for (const { instrument } of selection.streams) ids.add(instrument.id);
    return [...ids].sort((a, b) => a - b);
  }

  /** Works out the coverage of `ids[from]` to `ids[to - 1]`. */
  fill(subscriptions: readonly Subscription[], ids: readonly number[], from: number, to: number): void {
    this.#reserve();
    if (this.#revision !== this.#catalog.revision) this.#isRead.fill(0);
    this.#revision = this.#catalog.revision;
    this.#fill += 1;
    this.#subscriptions = subscriptions;
    if (to - from > MANY) this.#variants.fill(0);
    for (let index = from; index < to; index += 1) this.#begin(ids[index] as number, to - from > MANY);
    subscriptions.forEach(({ selection }, owner) => {
      for (const wildcard of selection.wildcards) this.#addWildcard(maskOf(wildcard, owner), ids, from, to);
      for (const { instrument, stream, variant } of selection.streams) {
        if (this.#filled[instrument.id] !== this.#fill) continue;
        this.#variants[stream] = 1 + variant;
        this.#owners[stream] = owner;
      }
    });
  }

  /** Opens an instrument for a fill. */
  #begin(id: number, isClear: boolean): void {
    this.#filled[id] = this.#fill;
    if (!isClear) this.#variants.fill(0, streamOf(id, 0), streamOf(id + 1, 0));
    if (this.#isRead[id] === 0) this.#read(this.#catalog.get(id) as Instrument);
  }

  #read({ id, channels, venue, marketType }: Instrument): void {
    this.#isRead[id] = 1;
    this.#venues[id] = venue;
    this.#marketTypes[id] = 1 << MARKET_TYPES.indexOf(marketType);
    this.#channels[id] = channels.reduce((bits, channel) => bits | (1 << CHANNELS.indexOf(channel)), 0);
  }

  #addWildcard(mask: Mask, ids: readonly number[], from: number, to: number): void {
    const { channel, marketTypes, venue, slots, variant, owner } = mask;
    for (let index = from; index < to; index += 1) {
      const id = ids[index] as number;
      if (((this.#channels[id] as number) & channel) === 0) continue;
      if (((this.#marketTypes[id] as number) & marketTypes) === 0) continue;
      if (venue !== 0 && this.#venues[id] !== venue) continue;
      for (let each = 0; each < slots.length; each += 1) {
        const stream = streamOf(id, slots[each] as number);
        this.#variants[stream] = 1 + variant;
        this.#owners[stream] = owner;
      }
    }
  }

  #reserve(): void {
    const instruments = this.#catalog.size;
    if (instruments <= this.#filled.length) return;
    // What was filled, and read, is worked out again by whoever needs it.
    this.#filled = new Uint32Array(2 * instruments);
    this.#venues = new Uint32Array(2 * instruments);
    this.#marketTypes = new Uint8Array(2 * instruments);
    this.#channels = new Uint16Array(2 * instruments);
    this.#variants = new Uint8Array(2 * instruments * SLOTS_PER_INSTRUMENT);
    this.#owners = new Uint16Array(2 * instruments * SLOTS_PER_INSTRUMENT);
    this.#isRead = new Uint8Array(2 * instruments);
  }

  /** True when the last `fill` was about a stream's instrument. */
  isFilled(stream: number): boolean {
    return this.#filled[stream >>> 5] === this.#fill;
  }

  /** The variant in which a stream is wanted; -1 when it is not covered. */
  variantOf(stream: number): number {
    return this.isFilled(stream) ? (this.#variants[stream] as number) - 1 : -1;
  }

  /** The subscription that decides the form of a covered stream. */
  ownerOf(stream: number): Subscription {
    return this.#subscriptions[this.#owners[stream] as number] as Subscription;
  }

  /** The streams of `ids` that a subscription decides: how many, and which, up to `most`. */
  owned(subscription: Subscription, ids: readonly number[], most: number): { count: number; streams: number[] } {
    const streams: number[] = [];
    const owner = this.#subscriptions.indexOf(subscription);
    let count = 0;
    const one = (stream: number) => {
      if (this.#variants[stream] === 0 || this.#owners[stream] !== owner) return;
      count += 1;
      if (count <= most) streams.push(stream);
    };
    if (ids.length > MANY) {
      // All that is not of `ids` was cleared. Eight bytes at a time: most of an instrument's slots are not covered.
      const words = new Float64Array(this.#variants.buffer);
      for (let word = 0; word < words.length; word += 1) {
        if (words[word] === 0) continue;
        for (let stream = 8 * word; stream < 8 * word + 8; stream += 1) one(stream);
      }
    } else {
      for (const id of ids) {
        for (let stream = streamOf(id, 0); stream < streamOf(id + 1, 0); stream += 1) one(stream);
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
          for (let part = 0; part < WIDE_PARTS; part += 1) {
            const scope = wideScope(venue, slot, part);
            candidates.set(scope, { scope, slot, part, venue, variant });
          }
        }
      }
    }
    const parts: number[][] = Array.from({ length: WIDE_PARTS }, () => []);
    for (const id of ids) (parts[id & (WIDE_PARTS - 1)] as number[]).push(id);
    const whole = [...candidates.values()].filter((topic) => this.#isWhole(topic, parts[topic.part] as number[]));
    const everywhere = new Set(whole.filter(({ venue }) => venue === 0).map(({ scope }) => scope));
    return whole.filter(({ slot, part, venue }) => venue === 0 || !everywhere.has(wideScope(0, slot, part)));
  }

  #isWhole({ slot, venue, variant }: WideTopic, ids: readonly number[]): boolean {
    for (const id of ids) {
      const wanted = this.#variants[streamOf(id, slot)];
      if (wanted === 0 || wanted === 1 + variant) continue;
      if (venue === 0 || this.#venues[id] === venue) return false;
    }
    return true;
  }
}

function maskOf({ channel, slots, variant, venue, marketTypes }: Wildcard, owner: number): Mask {
  const types = marketTypes === undefined ? EVERY_TYPE : 0;
  const bits = [...(marketTypes ?? [])].reduce(
    (sum, type) => sum | (1 << MARKET_TYPES.indexOf(type as MarketType)),
    types,
  );
  return { channel: 1 << CHANNELS.indexOf(channel), marketTypes: bits, venue, slots, variant, owner };
}
