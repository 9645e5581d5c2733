import { BinanceFeed } from "./binance.ts";
import { CoinbaseFeed } from "./coinbase.ts";
import type { Feed, FeedOptions } from "./feed.ts";
import type { RecordingSettings } from "./recording.ts";
import { RecordingFeed } from "./recording.ts";
import { SimulatedFeed } from "./simulated.ts";

/** What can be set of a source beyond where it connects. */
export interface FeedSettings {
  /** Of the simulated market. */
  seed: number;
  recording: RecordingSettings;
}

/** All sources, and the only list of them. */
const FEEDS: Readonly<Record<string, (options: FeedOptions, settings: FeedSettings) => Feed>> = {
  "sim-a": (options, { seed }) => new SimulatedFeed("sim-a", options, { seed }),
  "sim-b": (options, { seed }) => new SimulatedFeed("sim-b", options, { seed }),
  binance: (options) => new BinanceFeed(options),
  coinbase: (options) => new CoinbaseFeed(options),
  recording: (options, { recording }) => new RecordingFeed(options, recording),
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
