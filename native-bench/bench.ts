/**
 * `npm run bench`: the hot path as it is shipped, from scanner to finished frame and part by part; its garbage; its
 * cost with 10 and with 10,000 instruments. Answers are checked. `--json` prints the figures as one last line.
 */
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { isMainThread } from "node:worker_threads";
import { garbageOf, settle } from "./garbage.ts";
import { measure, parts } from "./parts.ts";
import { Pipeline } from "./pipeline.ts";
import { type Memory, memoryOf, startUpBlock } from "./scale.ts";
import { throughSocket } from "./socket-garbage.ts";
import type { Workload } from "./workload.ts";
import { recordedTrades, syntheticTrades } from "./workload.ts";

const GARBAGE_TICKS = 10_000_000;
const SOCKET_TICKS = 1_000_000;
const SCALE_TRADES = 100_000;
const MEMORY_ONLY = "--memory-only";

interface PathFigures {
  workload: string;
  parsedNs: number;
  unparsedNs: number;
}

async function path(workload: () => Workload): Promise<PathFigures> {
  settle();
  const figures: number[] = [];
  for (const mode of ["parsed", "unparsed"] as const) {
    const pipeline = new Pipeline(workload());
    const run = () => pipeline[mode]();
    pipeline.warmUp(run);
    const [figure] = await measure([{ name: mode, count: pipeline.runTrades, run, before: () => pipeline.next() }]);
    pipeline.check();
    figures.push(figure?.median ?? Number.NaN);
  }
  const [parsedNs, unparsedNs] = figures as [number, number];
  return { workload: workload().name, parsedNs, unparsedNs };
}

function print(name: string, value: string): void {
  console.log(`${name.padEnd(58)} ${value}`);
}

const ns = (value: number) => `${value.toFixed(1).padStart(8)} ns`;

async function main(): Promise<void> {
  const recorded = recordedTrades();
  if (recorded === undefined) console.log("no recordings: synthetic trades stand in for them");
  const source = () => recordedTrades() ?? syntheticTrades(1, "uniform", 14_515);
  console.log(
    `${cpus()[0]?.model.trim()} x ${cpus().length}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}\n`,
  );

  const main = await path(source);
  print(`trade, scanner to finished frame (${main.workload})`, ns(main.parsedNs));
  print("the same without parsing", ns(main.unparsedNs));
  console.log();
  const partFigures = await parts();
  for (const { name, median } of partFigures) print(name, ns(median));

  console.log();
  const pipeline = new Pipeline(source());
  pipeline.warmUp(() => pipeline.parsed());
  const garbage = await garbageOf(
    GARBAGE_TICKS,
    pipeline.runTrades,
    () => pipeline.parsed(),
    () => pipeline.next(),
  );
  pipeline.check();
  print(`bytes allocated per tick, over ${Math.round(garbage.ticks)} ticks`, garbage.bytesPerTick.toFixed(3));
  print("collections meanwhile", String(garbage.collections));
  const socket = await throughSocket(SOCKET_TICKS);
  print(
    `with the WebSocket library before it, ${SOCKET_TICKS} ticks`,
    `${socket.collections} collections, ${socket.pauseMs.toFixed(0)} ms in all`,
  );

  console.log();
  const scale: PathFigures[] = [];
  for (const instruments of [10, 10_000]) {
    for (const spread of ["zipf", "uniform"] as const) {
      const figures = await path(() => syntheticTrades(instruments, spread, SCALE_TRADES));
      scale.push(figures);
      print(`${figures.workload} instruments`, `${ns(figures.parsedNs)}, without parsing ${ns(figures.unparsedNs)}`);
    }
  }
  const ratio = (scale[2] as PathFigures).parsedNs / (scale[0] as PathFigures).parsedNs;
  print("10,000 to 10, zipf", ratio.toFixed(2));
  const block = await startUpBlock(10_000);
  print("registering 10,000 instruments blocks the loop for", `${block.toFixed(1)} ms`);
  // In a process of its own, whose memory nothing else has grown.
  const memory = JSON.parse(
    execFileSync(process.execPath, [process.argv[1] as string, MEMORY_ONLY]).toString(),
  ) as Memory;
  print("memory that 10,000 instruments with trades take", `${memory.rssMiB.toFixed(0)} MiB resident`);
  if (process.argv.includes("--json")) {
    console.log(
      JSON.stringify({
        main,
        parts: partFigures,
        garbage,
        socket,
        scale,
        zipfRatio: ratio,
        startUpBlockMs: block,
        memory,
      }),
    );
  }
  process.exit(0);
}

if (process.argv.includes(MEMORY_ONLY)) console.log(JSON.stringify(memoryOf(10_000)));
else if (isMainThread) await main();
