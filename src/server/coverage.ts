import { RING } from "../engine/derived.ts";
import { slotIn, streamOf } from "../market/channel.ts";
import type { Catalog, Instrument } from "../market/instrument.ts";
import type { RequestId, SubscribeRequest } from "./request.ts";
import type { Selection, Wildcard } from "./selection.ts";

/** One subscription of a connection. */
export interface Subscription {
  id: RequestId;
  request: SubscribeRequest;
  selection: Selection;
}

/** True when a wildcard covers an instrument. */
export function covers(wildcard: Wildcard, instrument: Instrument): boolean {
  return (
    instrument.symbol !== "" &&
    instrument.active &&
    (wildcard.venue === 0 || wildcard.venue === instrument.venue) &&
    (wildcard.marketTypes === undefined || wildcard.marketTypes.has(instrument.marketType)) &&
    instrument.channels.includes(wildcard.channel)
  );
}

/** The streams that subscriptions cover, each in one variant: the last subscription that names it wins. */
export function streamsCovered(catalog: Catalog, subscriptions: Iterable<Subscription>): Map<number, number> {
  const covered = new Map<number, number>();
  for (const { selection } of subscriptions) {
    for (const wildcard of selection.wildcards) {
      for (const instrument of catalog.all()) {
        if (covers(wildcard, instrument)) covered.set(streamOf(instrument.id, wildcard.slot), wildcard.variant);
      }
    }
    for (const { stream, variant } of selection.streams) covered.set(stream, variant);
  }
  return covered;
}

/** A topic that stands for many streams: the scope's number, and the variant in which all of them are wanted. */
export interface WideTopic {
  scope: number;
  slot: number;
  venue: number;
  variant: number;
}

/**
 * Wide topics that can replace the topics of single streams, because a wildcard without a filter covers them and no
 * other subscription wants any of them in another form. The widest first; one inside another is left out.
 */
export function wideTopics(catalog: Catalog, subscriptions: Iterable<Subscription>, covered: Map<number, number>): WideTopic[] {
  const candidates = new Map<number, WideTopic>();
  for (const { selection } of subscriptions) {
    for (const { slot, venue, variant, marketTypes } of selection.wildcards) {
      if (marketTypes !== undefined) continue;
      const scope = streamOf(venue, slot);
      candidates.set(scope, { scope, slot, venue, variant });
    }
  }
  const mixed = new Set<number>();
  for (const [stream, variant] of covered) {
    const instrument = catalog.get(stream >>> 5);
    if (instrument === undefined) continue;
    for (const scope of [slotIn(stream), streamOf(instrument.venue, slotIn(stream))]) {
      const candidate = candidates.get(scope);
      if (candidate !== undefined && candidate.variant !== variant) mixed.add(scope);
    }
  }
  return [...candidates.values()].filter(
    ({ scope, slot, venue }) => !mixed.has(scope) && (venue === 0 || !isWhole(candidates.get(slot), mixed)),
  );
}

function isWhole(candidate: WideTopic | undefined, mixed: Set<number>): boolean {
  return candidate !== undefined && !mixed.has(candidate.scope);
}

/** The ring's own frames belong to every form of a bar or indicator stream: building bars come beside the closed ones. */
export function variantsOf(stream: number, variant: number, firstBarSlot: number): readonly number[] {
  return variant !== RING && slotIn(stream) >= firstBarSlot ? [RING, variant] : [variant];
}
