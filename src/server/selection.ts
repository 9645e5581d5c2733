import type { BarFrames } from "../engine/bar-frames.ts";
import { CONFLATE_MS, DEFAULT_BUILDING_CONFLATE, RING, variantOf } from "../engine/derived.ts";
import { TIER_DEPTHS } from "../engine/tier.ts";
import type { Channel } from "../market/channel.ts";
import { hasTimeframes, slotOf, streamOf } from "../market/channel.ts";
import type { ErrorCode } from "../market/errors.ts";
import { RequestError } from "../market/errors.ts";
import type { Catalog, Instrument } from "../market/instrument.ts";
import { nearest } from "../std/nearest.ts";
import type { SubscribeRequest } from "./request.ts";
import { suggestSymbol } from "./suggestion.ts";

/** All active instruments that have a channel, later ones included. */
export interface Wildcard {
  channel: Channel;
  /** The channel's slots: one, or one for each timeframe. */
  slots: readonly number[];
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
  /** Ids of the indicators that were asked for. */
  indicators: readonly number[];
}

/** The form in which a channel's stream is wanted, after depth, conflation and `bars`. */
function variantFor(request: SubscribeRequest, channel: Channel): number {
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

/** Resolves a request to at most `most` named streams; throws when it matches nothing at all. */
export function resolve(
  catalog: Catalog,
  bars: Pick<BarFrames, "resolveIndicators">,
  request: SubscribeRequest,
  most: number,
): Selection {
  const indicators = readIndicators(bars, request);
  const selection: Selection = { wildcards: [], streams: [], unavailable: [], indicators };
  const venues = readVenues(selection, catalog, request);
  if (request.symbols.includes("*")) addWildcards(selection, request, venues);
  for (const symbol of request.symbols) {
    if (symbol !== "*") addNamed(selection, catalog, request, venues, symbol);
    if (selection.streams.length > most) {
      throw new RequestError("too_many_subscriptions", `too many streams by name; "*" has no limit`);
    }
  }
  if (selection.wildcards.length === 0 && selection.streams.length === 0) {
    const first = selection.unavailable[0];
    throw new RequestError(first?.code ?? "not_available", first?.message ?? "nothing matches the request");
  }
  return compact(selection);
}

/** Without the room to grow in that an array is given at its first push: a connection keeps its selections. */
function compact({ wildcards, streams, unavailable, indicators }: Selection): Selection {
  return { wildcards: exact(wildcards), streams: exact(streams), unavailable: exact(unavailable), indicators };
}

const NOTHING: never[] = [];

function exact<T>(items: T[]): T[] {
  return items.length === 0 ? NOTHING : items.slice();
}

function readIndicators(bars: Pick<BarFrames, "resolveIndicators">, request: SubscribeRequest): readonly number[] {
  const resolved = bars.resolveIndicators(request.indicators);
  if ("error" in resolved) throw new RequestError("unknown_indicator", resolved.error);
  const standard = bars.resolveIndicators(undefined);
  const others = "ids" in standard && resolved.ids.some((id) => !standard.ids.includes(id));
  if (others && request.symbols.includes("*")) {
    const names = "indicators: beside the default ones they are computed for named symbols only";
    throw new RequestError("bad_request", names);
  }
  return resolved.ids;
}

/** The venues that were named, or undefined for all. Unknown ones are unavailable where others are known. */
function readVenues(
  selection: Selection,
  catalog: Catalog,
  { exchanges, symbols }: SubscribeRequest,
): Instrument[] | undefined {
  if (exchanges.includes("*")) return undefined;
  const venues: Instrument[] = [];
  for (const exchange of exchanges) {
    const venue = catalog.venue(exchange);
    if (venue !== undefined) {
      venues.push(venue);
      continue;
    }
    const message = unknownExchange(catalog, exchange);
    for (const symbol of symbols) selection.unavailable.push({ exchange, symbol, code: "unknown_exchange", message });
  }
  return venues;
}

export function unknownExchange(catalog: Catalog, exchange: string): string {
  const known = [...catalog.venues].map(({ exchange: name }) => name);
  const near = nearest(exchange, known);
  const hint = near === undefined ? `one of ${known.join(", ")}` : `did you mean "${near}"?`;
  return `unknown exchange "${exchange}": ${hint}`;
}

function slotsFor(request: SubscribeRequest, channel: Channel): number[] {
  if (!hasTimeframes(channel)) return [slotOf(channel)];
  return request.timeframes.map((timeframe) => slotOf(channel, timeframe));
}

function addWildcards(selection: Selection, request: SubscribeRequest, venues: Instrument[] | undefined): void {
  const marketTypes = request.marketTypes.length === 0 ? undefined : new Set(request.marketTypes);
  for (const channel of request.channels) {
    const slots = slotsFor(request, channel);
    const variant = variantFor(request, channel);
    for (const venue of venues ?? [undefined]) {
      selection.wildcards.push({ channel, slots, variant, venue: venue?.id ?? 0, marketTypes });
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
  const matching = catalog.withSymbol(symbol);
  if (venues === undefined && matching.length === 0) selection.unavailable.push(unknownSymbol(catalog, "*", symbol));
  const named = venues === undefined ? matching : matching.filter(({ venue }) => venues.some(({ id }) => id === venue));
  for (const venue of venues ?? []) {
    if (named.some((instrument) => instrument.venue === venue.id)) continue;
    selection.unavailable.push(unknownSymbol(catalog, venue.exchange, symbol));
  }
  for (const instrument of named) {
    const { exchange, marketType } = instrument;
    if (request.marketTypes.length === 0 || request.marketTypes.includes(marketType)) {
      addInstrument(selection, request, instrument);
      continue;
    }
    const message = `${instrument.symbol} at ${exchange} is ${marketType}, which market_types leaves out`;
    selection.unavailable.push({ exchange, symbol, code: "not_available", message });
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
  const elsewhere = catalog.withSymbol(symbol).map((instrument) => instrument.exchange);
  if (elsewhere.length > 0) {
    const message = `${exchange} has no "${symbol}"; ${elsewhere.join(" and ")} has`;
    return { exchange, symbol, code: "unknown_symbol", message };
  }
  const suggestion = suggestSymbol(catalog, symbol);
  const hint = suggestion === undefined ? "" : `: did you mean "${suggestion}"?`;
  return { exchange, symbol, code: "unknown_symbol", message: `unknown symbol "${symbol}"${hint}` };
}
