import { settle } from "./garbage.ts";
import { measure } from "./parts.ts";
import { Pipeline } from "./pipeline.ts";
import { recordedTrades, syntheticTrades, type Workload } from "./workload.ts";

/** Medians are taken so often, and the least counts: what else runs on a shared machine only ever adds. */
const ROUNDS = 7;

/** The recorded trades, or synthetic ones of one instrument where there are no recordings. */
export function recordedOrSynthetic(): Workload {
  return recordedTrades() ?? syntheticTrades(1, "uniform", 14_515);
}

/** Nanoseconds of a recorded trade, from the venue's bytes or from numbers to the finished frame. */
export async function recordedTrade(mode: "parsed" | "unparsed"): Promise<number> {
  settle();
  const pipeline = new Pipeline(recordedOrSynthetic());
  const run = () => pipeline[mode]();
  pipeline.warmUp(run);
  const medians: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const [figure] = await measure([{ name: mode, count: pipeline.runTrades, run, before: () => pipeline.next() }]);
    medians.push(figure?.median ?? Number.NaN);
  }
  pipeline.check();
  return Math.min(...medians);
}
