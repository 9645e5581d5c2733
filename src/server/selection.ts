import {
  CONFLATE_MS,
  DEFAULT_BUILDING_CONFLATE,
  RING,
  variantOf,
} from "../engine/derived.ts";
import { TIER_DEPTHS } from "../engine/tier.ts";
import type { Channel } from "../market/channel.ts";
import { hasTimeframes, slotOf, streamOf } from "../market/channel.ts";
import type { ErrorCode } from "../market/errors.ts";
import { RequestError } from "../market/errors.ts";
import type { Catalog, Instrument } from "../market/instrument.ts";
import { nearest } from "../std/nearest.ts";
import type { SubscribeRequest } from "./request.ts";

/** All active instruments of a slot, later ones included. */
export interface Wildcard {
  channel: Channel;
  slot: number;
  variant: number;
  /** The venue's id; 0 is every venue. */
  venue: number;
  marketTypes: ReadonlySet<string> | undefined;
}

/** One stream that was asked for by name. */
export interface NamedStream {
  instrument: Instrument;
  channel: Channel;
  stream: number;
  variant: number;
}

export interface Unavailable {
  exchange: string;
  symbol: string;
  channel?: Channel;
  code: ErrorCode;
  message: string;
}

/** What a subscribe means, resolved against the catalog. */
export interface Selection {
  wildcards: Wildcard[];
  streams: NamedStream[];
  unavailable: Unavailable[];
}

/** The form in which a channel's stream is wanted, after depth, conflation and `bars`. */
export function variantFor(request: SubscribeRequest, channel: Channel): number {
  const period = CONFLATE_MS.indexOf((request.conflateMs ?? 0) as (typeof CONFLATE_MS)[number]);
  if (channel === "orderbook") {
    const depth = TIER_DEPTHS.findIndex((tier) => tier >= request.depth);
    return depth < 0 ? RING : variantOf(depth, period);
  }
  if (channel === "bars" || channel === "indicators") {
    if (request.bars === "closed") return RING;
    return variantOf(0, request.conflateMs === undefined ? DEFAULT_BUILDING_CONFLATE : period);
  }
  if (period === 0 || channel === "trades" || channel === "liquidations") return RING;
  return variantOf(0, period);
}

/** Resolves a request; throws when it matches nothing at all. */
export function resolve(catalog: Catalog, request: SubscribeRequest): Selection {
  const selection: Selection = { wildcards: [], streams: [], unavailable: [] };
  const venues = readVenues(catalog, request.exchanges);
  if (request.symbols.includes("*")) addWildcards(selection, request, venues);
  for (const symbol of request.symbols) if (symbol !== "*") addNamed(selection, catalog, request, venues, symbol);
  if (selection.wildcards.length === 0 && selection.streams.length === 0) {
    const first = selection.unavailable[0];
    throw new RequestError(first?.code ?? "not_available", first?.message ?? "nothing matches the request");
  }
  return selection;
}

/** The venues that were named, or undefined for all. */
function readVenues(catalog: Catalog, exchanges: readonly string[]): Instrument[] | undefined {
  if (exchanges.includes("*")) return undefined;
  return exchanges.map((exchange) => {
    const venue = catalog.venue(exchange);
    if (venue !== undefined) return venue;
    const known = [...catalog.venues].map(({ exchange: name }) => name);
    const near = nearest(exchange, known);
    throw new RequestError(
      "unknown_exchange",
      `unknown exchange "${exchange}": ${near === undefined ? `one of ${known.join(", ")}` : `did you mean "${near}"?`}`,
    );
  });
}

function slotsFor(request: SubscribeRequest, channel: Channel): number[] {
  if (!hasTimeframes(channel)) return [slotOf(channel)];
  return request.timeframes.map((timeframe) => slotOf(channel, timeframe));
}

function addWildcards(selection: Selection, request: SubscribeRequest, venues: Instrument[] | undefined): void {
  const marketTypes = request.marketTypes.length === 0 ? undefined : new Set(request.marketTypes);
  for (const channel of request.channels) {
    for (const slot of slotsFor(request, channel)) {
      for (const venue of venues ?? [undefined]) {
        const variant = variantFor(request, channel);
        selection.wildcards.push({ channel, slot, variant, venue: venue?.id ?? 0, marketTypes });
      }
    }
  }
}

function addNamed(
  selection: Selection,
  catalog: Catalog,
  request: SubscribeRequest,
  venues: Instrument[] | undefined,
  symbol: string,
): void {
  const matching = catalog
    .withSymbol(symbol)
    .filter(({ marketType }) => request.marketTypes.length === 0 || request.marketTypes.includes(marketType));
  if (venues === undefined) {
    if (matching.length === 0) selection.unavailable.push(unknownSymbol(catalog, "*", symbol));
    for (const instrument of matching) addInstrument(selection, request, instrument);
    return;
  }
  for (const venue of venues) {
    const instrument = matching.find((candidate) => candidate.venue === venue.id);
    if (instrument === undefined) selection.unavailable.push(unknownSymbol(catalog, venue.exchange, symbol));
    else addInstrument(selection, request, instrument);
  }
}

function addInstrument(selection: Selection, request: SubscribeRequest, instrument: Instrument): void {
  for (const channel of request.channels) {
    if (!instrument.channels.includes(channel)) {
      const message = `${instrument.exchange} has no ${channel} for ${instrument.symbol}`;
      const { exchange, symbol } = instrument;
      selection.unavailable.push({ exchange, symbol, channel, code: "not_available", message });
      continue;
    }
    for (const slot of slotsFor(request, channel)) {
      const stream = streamOf(instrument.id, slot);
      selection.streams.push({ instrument, channel, stream, variant: variantFor(request, channel) });
    }
  }
}

function unknownSymbol(catalog: Catalog, exchange: string, symbol: string): Unavailable {
  const listed = [...catalog.venues].filter((venue) => exchange === "*" || venue.exchange === exchange);
  const loading = listed.filter((venue) => !catalog.isLoaded(venue));
  if (loading.length > 0) {
    const names = loading.map((venue) => venue.exchange).join(", ");
    return { exchange, symbol, code: "not_available", message: `the instruments of ${names} are not loaded yet` };
  }
  const suggestion = catalog.suggest(symbol);
  const hint = suggestion === undefined ? "" : `: did you mean "${suggestion}"?`;
  return { exchange, symbol, code: "unknown_symbol", message: `unknown symbol "${symbol}"${hint}` };
}
