import { assert } from "../std/assert.ts";
import type { Channel } from "./channel.ts";
import { MAX_INSTRUMENTS } from "./channel.ts";

export const MARKET_TYPES = ["unknown", "spot", "perp", "future", "option", "stock"] as const;
export type MarketType = (typeof MARKET_TYPES)[number];

export const SIZE_UNITS = ["unknown", "base", "quote", "contracts"] as const;
export type SizeUnit = (typeof SIZE_UNITS)[number];

export const INSTRUMENT_STATUSES = ["unknown", "trading", "halted", "closed"] as const;
export type InstrumentStatus = (typeof INSTRUMENT_STATUSES)[number];

/** What a venue's own list says of one instrument. Unknown is NaN for a number, 0 for a time, "" for a text. */
export interface InstrumentListing {
  /** ccxt's unified name: `BTC/USDT` spot, `BTC/USDT:USDT` linear swap; "" is the venue itself. */
  symbol: string;
  /** The venue's own name, as it stands in its messages. */
  venueSymbol: string;
  marketType: MarketType;
  base: string;
  quote: string;
  settle: string;
  /** Expiry, microseconds; 0 where there is none. */
  expiry: number;
  contractSize: number;
  /** What the venue's sizes count. */
  sizeUnit: SizeUnit;
  priceDecimals: number;
  sizeDecimals: number;
  tick: number;
  lot: number;
  minSize: number;
  minNotional: number;
  status: InstrumentStatus;
  /** How many levels a side the venue's book feed keeps; 0 is the whole book. */
  bookDepth: number;
  /** The channels that the venue has for it. */
  channels: readonly Channel[];
}

export interface Instrument extends InstrumentListing {
  /** The small integer that everything in the process uses. */
  readonly id: number;
  readonly exchange: string;
  /** The id of the venue's pseudo-instrument. */
  readonly venue: number;
  /** Configured, or named by a client: what `*` covers. */
  active: boolean;
}

/** A listing with everything unknown, to be filled in. */
export function emptyListing(): InstrumentListing {
  return {
    symbol: "",
    venueSymbol: "",
    marketType: "unknown",
    base: "",
    quote: "",
    settle: "",
    expiry: 0,
    contractSize: Number.NaN,
    sizeUnit: "unknown",
    priceDecimals: 0,
    sizeDecimals: 0,
    tick: Number.NaN,
    lot: Number.NaN,
    minSize: Number.NaN,
    minNotional: Number.NaN,
    status: "unknown",
    bookDepth: 0,
    channels: [],
  };
}

/**
 * All known instruments, by small integer and by name. Ids are given in order of registration, which is the order of
 * the venue's own list, and never change or get used again while the process lives.
 */
export class Catalog {
  readonly #instruments: (Instrument | undefined)[] = [undefined];
  readonly #byName = new Map<string, Instrument>();
  readonly #bySymbol = new Map<string, Instrument[]>();
  readonly #venues = new Map<string, Instrument>();
  readonly #loaded = new Set<number>();
  /** Grows when a known instrument is brought up to date. */
  revision = 0;
  /** Ids that names had before this process, and will have again. */
  readonly #reserved = new Map<string, number>();
  readonly #onActive: ((instrument: Instrument) => void)[] = [];
  readonly #onListed: ((instrument: Instrument) => void)[] = [];
  readonly #onChannels: ((instrument: Instrument) => void)[] = [];

  /** Keeps an id for a name: what was journalled under it stays true. Before the first is registered; `""` is the venue. */
  reserve(exchange: string, symbol: string, id: number): void {
    assert(id > 0 && id < MAX_INSTRUMENTS, "an id that exists");
    this.#reserved.set(nameKey(exchange, symbol), id);
    while (this.#instruments.length <= id) this.#instruments.push(undefined);
  }

  #nextId(exchange: string, symbol: string): number {
    return this.#reserved.get(nameKey(exchange, symbol)) ?? this.#instruments.length;
  }

  /** Registers a venue: a pseudo-instrument without a symbol, whose id names the venue. */
  addVenue(exchange: string): Instrument {
    const known = this.#venues.get(exchange);
    if (known) return known;
    const id = this.#nextId(exchange, "");
    const venue: Instrument = { ...emptyListing(), id, exchange, venue: id, active: true };
    this.#venues.set(exchange, venue);
    this.#add(venue);
    return venue;
  }

  /** Registers a listing, or brings a known one up to date under the same id. */
  list(exchange: string, listing: InstrumentListing): Instrument {
    assert(listing.symbol !== "", "a listing needs a symbol");
    const venue = this.#venues.get(exchange);
    assert(venue !== undefined, `venue ${exchange} is not registered`);
    const known = this.#byName.get(nameKey(exchange, listing.symbol));
    if (known) {
      this.revision += 1;
      const gains = listing.channels.some((channel) => !known.channels.includes(channel));
      Object.assign(known, listing);
      if (gains && known.active) for (const listener of this.#onChannels) listener(known);
      return known;
    }
    const instrument: Instrument = {
      ...listing,
      id: this.#nextId(exchange, listing.symbol),
      exchange,
      venue: venue.id,
      active: false,
    };
    this.#byName.set(nameKey(exchange, listing.symbol), instrument);
    const key = listing.symbol.toUpperCase();
    const same = this.#bySymbol.get(key);
    if (same) same.push(instrument);
    else this.#bySymbol.set(key, [instrument]);
    this.#add(instrument);
    return instrument;
  }

  #add(instrument: Instrument): void {
    assert(instrument.id < MAX_INSTRUMENTS, `more than ${MAX_INSTRUMENTS} instruments`);
    assert(this.#instruments[instrument.id] === undefined, "an id has one name");
    this.#instruments[instrument.id] = instrument;
    for (const listener of this.#onListed) listener(instrument);
  }

  /** Notes that a venue's list has been read whole. */
  markLoaded(venue: Instrument): void {
    this.#loaded.add(venue.id);
  }

  isLoaded(venue: Instrument): boolean {
    return this.#loaded.has(venue.id);
  }

  /** Called for every instrument or venue registered from now on. */
  onListed(listener: (instrument: Instrument) => void): void {
    this.#onListed.push(listener);
  }

  /** Called when an active instrument has channels that it had not before. */
  onChannels(listener: (instrument: Instrument) => void): void {
    this.#onChannels.push(listener);
  }

  /** Called when an instrument becomes active for the first time. */
  onActive(listener: (instrument: Instrument) => void): void {
    this.#onActive.push(listener);
  }

  /** Makes an instrument one that `*` covers. */
  activate(instrument: Instrument): void {
    if (instrument.active) return;
    instrument.active = true;
    for (const listener of this.#onActive) listener(instrument);
  }

  /** One more than the largest id. */
  get size(): number {
    return this.#instruments.length;
  }

  get(id: number): Instrument | undefined {
    return this.#instruments[id];
  }

  venue(exchange: string): Instrument | undefined {
    return this.#venues.get(exchange.toLowerCase());
  }

  get venues(): IterableIterator<Instrument> {
    return this.#venues.values();
  }

  /** An instrument by venue and symbol, in any case. */
  find(exchange: string, symbol: string): Instrument | undefined {
    return this.#byName.get(nameKey(exchange, symbol));
  }

  /** Every venue's instrument of a symbol, in order of registration. */
  withSymbol(symbol: string): readonly Instrument[] {
    return this.#bySymbol.get(symbol.toUpperCase()) ?? [];
  }

  /** All instruments in order of id, venues left out. */
  *all(): IterableIterator<Instrument> {
    for (const instrument of this.#instruments) if (instrument && instrument.symbol !== "") yield instrument;
  }

  /** The known symbol that a mistyped one most likely means: the same letters without separators, else undefined. */
  suggest(symbol: string): string | undefined {
    const bare = bareOf(symbol);
    for (const [key, instruments] of this.#bySymbol) if (bareOf(key) === bare) return instruments[0]?.symbol;
    return undefined;
  }
}

function nameKey(exchange: string, symbol: string): string {
  return `${exchange.toLowerCase()} ${symbol.toUpperCase()}`;
}

function bareOf(symbol: string): string {
  return symbol.toUpperCase().replace(/[-_/:.\s]/g, "");
}
