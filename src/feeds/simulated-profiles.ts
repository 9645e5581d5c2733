import type { Channel } from "../market/channel.ts";
import type { InstrumentListing, MarketType } from "../market/instrument.ts";
import { emptyListing } from "../market/instrument.ts";
import { mixText, unit } from "./simulated-noise.ts";

/** What a simulated instrument is like; prices are counted in ticks and sizes in lots, so that all is exact. */
export interface Profile {
  symbol: string;
  marketType: MarketType;
  base: string;
  quote: string;
  settle: string;
  /** Where the price wanders about. */
  price: number;
  /** A tick is `tickUnits` in the last of the price's decimals, a lot likewise. */
  tickUnits: number;
  priceDecimals: number;
  lotUnits: number;
  sizeDecimals: number;
  /** What moves the price: names of paths (see SIGMAS) and their weights in its logarithm. */
  factors: readonly (readonly [name: string, weight: number])[];
  /** Median size of an order, and of a level of the book near the touch, in lots. */
  orderLots: number;
  levelLots: number;
  /** Widest usual spread, ticks. */
  spreadTicks: number;
  tradesPerSecond: number;
  /** How often the book moves; divides BOOK_CYCLE_MICROS. */
  stepMicros: number;
  /** Levels of every tick up to the first distance from the touch, every 10th up to the second, 100th to the third. */
  zones: readonly [near: number, far: number, remote: number];
  /** Traded on this venue only. */
  only?: string;
}

/** Standard deviation of each path over a second, in the price's logarithm. BTC's makes 0.3 % an hour. */
export const SIGMAS: Readonly<Record<string, number>> = {
  BTC: 5e-5,
  ETH: 4e-5,
  SOL: 7e-5,
  XRP: 6e-5,
  DOGE: 8e-5,
  AAPL: 2.5e-5,
  USDT: 5e-7,
  perpetual: 1.5e-6,
};
export const OTHER_SIGMA = 6e-5;

const DEEP = [60, 1500, 20_000] as const;
const CHANNELS: readonly Channel[] = ["trades", "orderbook", "quotes", "ticker"];

function crypto(base: string, quote: string, price: number, tick: [number, number], lot: [number, number]) {
  return {
    symbol: `${base}/${quote}`,
    marketType: "spot" as MarketType,
    base,
    quote,
    settle: "",
    price,
    tickUnits: tick[0],
    priceDecimals: tick[1],
    lotUnits: lot[0],
    sizeDecimals: lot[1],
    zones: DEEP,
  };
}

const BTC = { ...crypto("BTC", "USDT", 67_250, [1, 1], [1, 5]), orderLots: 400, levelLots: 9000, spreadTicks: 4 };

/** The default market. Correlated: all coins move with BTC, and ETH/BTC is what the two make of each other. */
export const PROFILES: readonly Profile[] = [
  { ...BTC, factors: [["BTC", 1]], tradesPerSecond: 10, stepMicros: 80e3 },
  {
    ...crypto("ETH", "USDT", 3_480, [1, 2], [1, 4]),
    factors: [
      ["BTC", 0.9],
      ["ETH", 1],
    ],
    orderLots: 700,
    levelLots: 15_000,
    spreadTicks: 5,
    tradesPerSecond: 9,
    stepMicros: 80e3,
  },
  {
    ...crypto("SOL", "USDT", 162, [1, 2], [1, 3]),
    factors: [
      ["BTC", 1],
      ["SOL", 1],
    ],
    orderLots: 1500,
    levelLots: 40_000,
    spreadTicks: 2,
    tradesPerSecond: 7,
    stepMicros: 80e3,
  },
  {
    ...crypto("XRP", "USDT", 0.5925, [1, 4], [1, 0]),
    factors: [
      ["BTC", 0.7],
      ["XRP", 1],
    ],
    orderLots: 300,
    levelLots: 9000,
    spreadTicks: 2,
    tradesPerSecond: 5,
    stepMicros: 100e3,
  },
  {
    ...crypto("DOGE", "USDT", 0.12645, [1, 5], [1, 0]),
    factors: [
      ["BTC", 0.9],
      ["DOGE", 1],
    ],
    orderLots: 900,
    levelLots: 30_000,
    spreadTicks: 2,
    tradesPerSecond: 5,
    stepMicros: 100e3,
  },
  {
    ...BTC,
    ...crypto("BTC", "USD", 67_240, [1, 1], [1, 5]),
    factors: [
      ["BTC", 1],
      ["USDT", 1],
    ],
    tradesPerSecond: 5,
    stepMicros: 100e3,
  },
  {
    ...crypto("ETH", "BTC", 0.05175, [1, 5], [1, 4]),
    factors: [
      ["BTC", -0.1],
      ["ETH", 1],
    ],
    orderLots: 500,
    levelLots: 20_000,
    spreadTicks: 2,
    tradesPerSecond: 4,
    stepMicros: 100e3,
  },
  {
    ...crypto("AAPL", "USD", 227.4, [1, 2], [1, 0]),
    marketType: "stock",
    factors: [["AAPL", 1]],
    orderLots: 20,
    levelLots: 300,
    spreadTicks: 3,
    tradesPerSecond: 4,
    stepMicros: 100e3,
  },
  {
    ...BTC,
    symbol: "BTC/USDT:USDT",
    marketType: "perp",
    settle: "USDT",
    price: 67_265,
    factors: [
      ["BTC", 1],
      ["perpetual", 1],
    ],
    tradesPerSecond: 8,
    stepMicros: 80e3,
    only: "sim-a",
  },
];

/** One of any number of made-up instruments, `SYM0001/USDT` and so on: all different, all derived from their name. */
export function syntheticProfile(number: number): Profile {
  const base = `SYM${String(number).padStart(4, "0")}`;
  const drawn = unit(mixText(0, base));
  const priceDecimals = Math.floor(drawn * 5) + 1;
  const ticks = 20_000 + Math.floor(((drawn * 1e4) % 1) * 60_000);
  return {
    ...crypto(base, "USDT", ticks / 10 ** priceDecimals, [1, priceDecimals], [1, 6 - priceDecimals]),
    factors: [
      ["BTC", 0.8],
      [base, 1],
    ],
    orderLots: 200,
    levelLots: 4000,
    spreadTicks: 3,
    tradesPerSecond: 4,
    stepMicros: 100e3,
    zones: [20, 300, 300],
  };
}

/** Turns ticks and lots into the decimals that the instrument is quoted in; a whole number over a power of ten is exact. */
export class Scale {
  readonly #tickUnits: number;
  readonly #lotUnits: number;
  readonly #priceScale: number;
  readonly #sizeScale: number;

  constructor(profile: Profile) {
    this.#tickUnits = profile.tickUnits;
    this.#lotUnits = profile.lotUnits;
    this.#priceScale = 10 ** profile.priceDecimals;
    this.#sizeScale = 10 ** profile.sizeDecimals;
  }

  price(ticks: number): number {
    return (ticks * this.#tickUnits) / this.#priceScale;
  }

  size(lots: number): number {
    return (lots * this.#lotUnits) / this.#sizeScale;
  }
}

export function listingOf(profile: Profile): InstrumentListing {
  const { symbol, marketType, base, quote, settle, priceDecimals, sizeDecimals } = profile;
  const lot = profile.lotUnits / 10 ** sizeDecimals;
  const perpetual = marketType === "perp";
  return {
    ...emptyListing(),
    symbol,
    venueSymbol: symbol.replace(/[/:]/g, "-"),
    marketType,
    base,
    quote,
    settle,
    contractSize: 1,
    sizeUnit: "base",
    priceDecimals,
    sizeDecimals,
    tick: profile.tickUnits / 10 ** priceDecimals,
    lot,
    minSize: lot,
    status: "trading",
    channels: perpetual ? [...CHANNELS, "funding", "liquidations"] : CHANNELS,
  };
}
