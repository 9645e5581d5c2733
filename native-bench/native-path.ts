/**
 * The hot path's native reference: builds the C++ program of native/hot-path, proves that it does the same work as ours
 * by comparing all that comes of it, frame by frame and byte by byte, and measures it. `npx tsx native-bench/native-path.ts`
 * prints the figures as one JSON line.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeInput } from "./native-input.ts";
import { layoutHeader } from "./native-layout.ts";
import { compareState } from "./native-state.ts";
import { Pipeline, RING_MEMORY } from "./pipeline.ts";
import type { Scale } from "./scale.ts";
import type { Workload } from "./workload.ts";
import { recordedTrades, syntheticTrades } from "./workload.ts";

const root = join(fileURLToPath(new URL(".", import.meta.url)), "..");
const SOURCES = join(root, "native-bench/native");
const OUT = join(root, "build/native");
export const PROGRAM = join(OUT, "hot-path");

export type Mode = "parsed" | "unparsed";

/** Why the reference cannot be built here; undefined where it can. */
export function whyNotNative(): string | undefined {
  for (const tool of [process.env.CXX ?? "g++", "make"]) {
    try {
      execFileSync(tool, ["--version"], { stdio: "ignore" });
    } catch {
      return `there is no ${tool} here, which the native reference is built with`;
    }
  }
  return undefined;
}

/** Builds the program from the layout of today's frames; what the compiler says of an error is in the error's message. */
export function buildNativePath(): void {
  const missing = whyNotNative();
  if (missing !== undefined) throw new Error(missing);
  mkdirSync(OUT, { recursive: true });
  const header = join(OUT, "hot-path-layout.hpp");
  const text = layoutHeader();
  // Written only when it changes, so that make has nothing to do; put in place whole, because tests may build at once.
  if (!existsSync(header) || readFileSync(header, "utf8") !== text) {
    writeFileSync(`${header}.${process.pid}`, text);
    renameSync(`${header}.${process.pid}`, header);
  }
  run("make", ["-s", "-C", SOURCES, "hot-path"]);
}

/** Runs a program to its end: what it printed, or an error with what it said on stderr. */
function run(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(stderr?.trim() || message);
  }
}

/** Gives a folder of its own to what runs, and takes it away again. */
function withFolder<R>(use: (folder: string) => R): R {
  const folder = mkdtempSync(join(tmpdir(), "tickwire-native-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Memory of the rings where their contents are compared: some 80,000 frames, so that they come round. */
export const COMPARED_RING_MEMORY = 16 * 2 ** 20;

/** Runs so many passes over a workload, here and natively; returns our pipeline and the native program's state. */
export function replay(
  workload: Workload,
  mode: Mode,
  passes: number,
  ringMemory: number = COMPARED_RING_MEMORY,
): { pipeline: Pipeline; state: Buffer } {
  const pipeline = new Pipeline(workload, ringMemory);
  const runs = passes * Math.round(workload.messages.length / pipeline.runTrades);
  return withFolder((folder) => {
    const [input, output] = [join(folder, "input"), join(folder, "state")];
    writeInput(input, pipeline, ringMemory);
    run(PROGRAM, ["replay", input, mode, String(runs), output]);
    for (let count = 0; count < runs; count += 1) {
      pipeline.next();
      pipeline[mode]();
    }
    return { pipeline, state: readFileSync(output) };
  });
}

/** Builds the program and proves that it does what ours does; throws at the first difference. */
export function compareNativePath(workload: Workload, mode: Mode, passes: number): void {
  buildNativePath();
  const { pipeline, state } = replay(workload, mode, passes);
  compareState(pipeline, state);
}

export interface NativePath {
  workload: string;
  /** Passes over the workload after which everything was compared, and trades in them. */
  passes: number;
  trades: number;
  equal: true;
  parsedNs: number;
  unparsedNs: number;
  compiler: string;
}

/** Passes over the recorded trades, eleven minutes each: bars of an hour close, and the rings come round. */
export const PASSES = 12;
const RECORDED_TRADES = 14_515;

/** The recorded trades, or as many synthetic ones where the recordings are not there. */
export const workloadToCompare = () =>
  recordedTrades() ?? syntheticTrades(1, "uniform", RECORDED_TRADES, RECORDED_TRADES / 650);

/** The native counterpart of bench.ts's recorded trade: its equality first, then nanoseconds a trade. */
export function nativePath(): NativePath {
  for (const mode of ["parsed", "unparsed"] as const) compareNativePath(workloadToCompare(), mode, PASSES);
  const workload = workloadToCompare();
  const ns = (mode: Mode): number =>
    withFolder((folder) => {
      const input = join(folder, "input");
      writeInput(input, new Pipeline(workload), RING_MEMORY);
      return (JSON.parse(run(PROGRAM, ["time", input, mode])) as { ns: number }).ns;
    });
  return {
    workload: workload.name,
    passes: PASSES,
    trades: PASSES * workload.messages.length,
    equal: true,
    parsedNs: ns("parsed"),
    unparsedNs: ns("unparsed"),
    compiler: run(process.env.CXX ?? "g++", ["--version"]).split("\n")[0] as string,
  };
}

const SCALE_TRADES = 100_000;

/** The native counterpart of scale.ts's `compare`: 10 and 10,000 instruments side by side, nanoseconds a trade. */
export function nativeScale(spread: "zipf" | "uniform", mode: Mode, perSecond: number): Scale {
  buildNativePath();
  return withFolder((folder) => {
    const inputs = [10, 10_000].map((instruments) => {
      const input = join(folder, String(instruments));
      const workload = syntheticTrades(instruments, spread, SCALE_TRADES, perSecond);
      writeInput(input, new Pipeline(workload), RING_MEMORY);
      return input;
    });
    return JSON.parse(run(PROGRAM, ["scale", ...inputs, mode])) as Scale;
  });
}

// As a script, but not as a part of a bundle.
if (process.argv[1]?.endsWith("native-path.ts")) {
  const missing = whyNotNative();
  if (missing !== undefined) {
    process.stderr.write(`${missing}\n`);
    process.exit(2);
  }
  const scales = (["parsed", "unparsed"] as const).map((mode) => ({ mode, ...nativeScale("zipf", mode, 20_000) }));
  console.log(JSON.stringify({ ...nativePath(), scales }));
}
