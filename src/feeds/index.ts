import { BinanceFeed } from "./binance.ts";
import { CoinbaseFeed } from "./coinbase.ts";
import type { Feed, FeedOptions } from "./feed.ts";
import { SimulatedFeed } from "./simulated.ts";

/** What a user can set of a feed beyond where it connects; the simulated market alone has any of it so far. */
export interface FeedSettings {
  seed: number;
}

/** All sources, and the only list of them. */
const FEEDS: Readonly<Record<string, (options: FeedOptions, settings: FeedSettings) => Feed>> = {
  "sim-a": (options, { seed }) => new SimulatedFeed("sim-a", options, { seed }),
  "sim-b": (options, { seed }) => new SimulatedFeed("sim-b", options, { seed }),
  binance: (options) => new BinanceFeed(options),
  coinbase: (options) => new CoinbaseFeed(options),
};

export const FEED_NAMES: readonly string[] = Object.keys(FEEDS);

/** Simulated venues are told apart by name, so that their data can never be taken for a real venue's. */
export function isSimulated(name: string): boolean {
  return name.startsWith("sim-");
}

export function createFeed(name: string, options: FeedOptions, settings: FeedSettings): Feed {
  const create = FEEDS[name];
  if (create === undefined) throw new Error(`no feed ${name}`);
  return create(options, settings);
}
