import { monitorEventLoopDelay } from "node:perf_hooks";
import { Engine } from "../src/engine/engine.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import { SystemClock } from "../src/std/clock.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import { settle } from "./garbage.ts";
import { Pipeline } from "./pipeline.ts";
import { syntheticTrades } from "./workload.ts";

/** Longest stretch, milliseconds, for which registering so many instruments keeps the event loop busy. */
export async function startUpBlock(instruments: number): Promise<number> {
  const catalog = new Catalog();
  const engine = new Engine({
    catalog,
    log: new FrameLog(16 * 2 ** 20, 1),
    clock: new SystemClock(),
    indicators: new IndicatorSet(),
  });
  const control = { subscribe() {}, unsubscribe() {}, resyncBook() {}, fetchHistory() {} };
  const rules = {
    integrity: "range",
    contiguousTradeIds: true,
    ownQuotes: true,
    quotesShareBookSequence: true,
  } as const;
  const venue = engine.addVenue("binance", rules, control).instrument.id;
  const listings = Array.from({ length: instruments }, (_, index) => ({
    ...emptyListing(),
    symbol: `SYM${index}/USDT`,
    venueSymbol: `SYM${index}USDT`,
    sizeUnit: "base" as const,
    channels: ["trades", "orderbook", "quotes"] as const,
  }));
  settle();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await new Promise((resolve) => setTimeout(resolve, 50));
  delay.reset();
  engine.instruments(venue, listings);
  await new Promise((resolve) => setTimeout(resolve, 50));
  delay.disable();
  return delay.max / 1e6;
}

/** MiB, beyond what an idle process takes. */
export interface Memory {
  rssMiB: number;
  heapMiB: number;
  arraysMiB: number;
}

/** Memory after some trades in every one of so many instruments; it grows with the history of bars, up to its limit. */
export function memoryOf(instruments: number): Memory {
  settle();
  const before = process.memoryUsage();
  const pipeline = new Pipeline(syntheticTrades(instruments, "uniform", Math.max(100_000, 10 * instruments)));
  const runs = (3 * pipeline.workload.messages.length) / pipeline.runTrades;
  for (let run = 0; run < runs; run += 1) {
    pipeline.next();
    pipeline.parsed();
  }
  settle();
  const after = process.memoryUsage();
  pipeline.check();
  return {
    rssMiB: (after.rss - before.rss) / 2 ** 20,
    heapMiB: (after.heapUsed - before.heapUsed) / 2 ** 20,
    arraysMiB: (after.arrayBuffers - before.arrayBuffers) / 2 ** 20,
  };
}
