import { PRICE, SIDE_BUY, SIZE, TRADE_NUMBER, TS_EXCHANGE } from "../src/market/sink.ts";
import { settle } from "./garbage.ts";
import { Pipeline } from "./pipeline.ts";
import { syntheticTrades } from "./workload.ts";

/** Trades between two looks at the clock: at 20,000 a second, one second, with all that closes in it. */
const BLOCK_TRADES = 20_000;
const BLOCKS = 60;
const SCALE_TRADES = 100_000;

/** Nanoseconds of a trade with few and with many instruments, side by side, and what many cost in few. */
export interface Scale {
  few: number;
  many: number;
  ratio: number;
}

/**
 * Runs two workloads in turn, a block each, so that both meet the same weather on the machine: medians of the blocks,
 * and the median of the ratios of neighbours.
 */
export function compare(spread: "zipf" | "uniform", mode: "parsed" | "unparsed", perSecond: number): Scale {
  settle();
  const pipelines = [10, 10_000].map((instruments) => {
    const pipeline = new Pipeline(syntheticTrades(instruments, spread, SCALE_TRADES, perSecond));
    pipeline.warmUp(() => pipeline[mode]());
    return pipeline;
  });
  const figures = pipelines.map(() => [] as number[]);
  for (let block = 0; block < BLOCKS; block += 1) {
    for (const [index, pipeline] of pipelines.entries()) figures[index]?.push(blockOf(pipeline, mode));
  }
  for (const pipeline of pipelines) pipeline.check();
  const [few, many] = figures as [number[], number[]];
  return {
    few: median(few),
    many: median(many),
    ratio: median(many.map((each, index) => each / (few[index] as number))),
  };
}

/** Nanoseconds a trade of one block. The messages are made between the runs, outside of the time. */
function blockOf(pipeline: Pipeline, mode: "parsed" | "unparsed"): number {
  let trades = 0;
  let ms = 0;
  while (trades < BLOCK_TRADES) {
    pipeline.next();
    const begun = performance.now();
    pipeline[mode]();
    ms += performance.now() - begun;
    trades += pipeline.runTrades;
  }
  return (ms * 1e6) / trades;
}

function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[figures.length >> 1] as number;
}

/** Nanoseconds to close a 1s bar, with its indicators and the frames of both, when so many instruments' close at once. */
export function closeCost(instruments: number): number {
  settle();
  const pipeline = new Pipeline(syntheticTrades(instruments, "uniform", 1));
  const { engine } = pipeline;
  const { slot } = engine;
  const [venue] = engine.venues.map((each) => each.instrument.id) as [number];
  const ids = [...engine.catalog.all()].map(({ id }) => id).filter((id) => id !== venue);
  const figures: number[] = [];
  const seconds = Math.max(100, 2_000_000 / instruments);
  for (let second = 1; second <= seconds; second += 1) {
    const time = 1_723_161_300_000_000 + second * 1_000_000;
    for (const id of ids) {
      slot.numbers[PRICE] = 100 + ((id + 7 * second) % 13);
      slot.numbers[SIZE] = 1;
      slot.numbers[TS_EXCHANGE] = time;
      slot.numbers[TRADE_NUMBER] = second;
      engine.begin(venue);
      engine.trade(id, SIDE_BUY, 0);
    }
    const before = engine.bars.bars.closed;
    slot.numbers[TS_EXCHANGE] = time + 1_000_000 - 1;
    const begun = performance.now();
    engine.heartbeat(venue);
    figures.push(((performance.now() - begun) * 1e6) / (engine.bars.bars.closed - before));
  }
  return median(figures.slice(seconds >> 1));
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
