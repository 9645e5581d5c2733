/**
 * `npm run native-bench`: the hot path and the fan-out beside their native references, the parts beside what a user would
 * pick instead, in one run and one table, which goes to native-bench/results.md too. What is compared is proved to do the
 * same work first. `--json` prints the figures as one last line.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert } from "../src/std/assert.ts";
import { inlineMore } from "../src/std/compiler.ts";
import { APART_FLAG, apart } from "./apart.ts";
import { type NativePath, nativePath, nativeScale, whyNotNative } from "./native-path.ts";
import { type Comparison, peers } from "./peers.ts";
import { recordedOrSynthetic, recordedTrade } from "./recorded-trade.ts";
import { compare, type Scale } from "./scale.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** Ours and the native program take turns so often, and the least of each counts. */
const ROUNDS = 3;
const FULL_RATE = 1_000_000;
const FANOUT_CLIENTS = 100;
const MODES = ["parsed", "unparsed"] as const;

/** What is measured in a process of its own. */
const APART: Record<string, (...args: string[]) => unknown> = {
  path: (mode) => recordedTrade(mode as "parsed"),
  scale: (mode) => compare("zipf", mode as "parsed", FULL_RATE),
  native: () => nativePath(),
  "native-scale": (mode) => nativeScale("zipf", mode as "parsed", FULL_RATE),
  peers: () => peers(),
};

/** One line of the table; times in nanoseconds, rates in frames a second. */
interface Row {
  what: string;
  ours: number;
  native: number | undefined;
  peers: { name: string; value: number }[];
  /** How many times the time of the native one ours takes; for rates, how many times its rate ours reaches. */
  toNative: number | undefined;
  /** How many times faster ours is than the best of the peers. */
  toPeers: number | undefined;
}

function pathRows(hasNative: boolean): Row[] {
  const ours: Record<string, number[]> = { parsed: [], unparsed: [] };
  const native: Record<string, number[]> = { parsed: [], unparsed: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    const reference = hasNative ? apart<NativePath>("native") : undefined;
    for (const mode of MODES) {
      ours[mode]?.push(apart<number>("path", mode));
      if (reference !== undefined) native[mode]?.push(reference[`${mode}Ns`]);
    }
  }
  const { name } = recordedOrSynthetic();
  return MODES.map((mode) => {
    const what = `trade (${name}), ${mode === "parsed" ? "the venue's bytes" : "numbers"} to finished frame, ns`;
    return beside(what, Math.min(...(ours[mode] as number[])), least(native[mode] as number[]));
  });
}

function scaleRows(hasNative: boolean): Row[] {
  return MODES.flatMap((mode) => {
    const ours = apart<Scale>("scale", mode);
    const native = hasNative ? apart<Scale>("native-scale", mode) : undefined;
    const how = mode === "parsed" ? "parsed" : "not parsed";
    return [
      beside(`trade of 10 instruments (Zipf), ${how}, ns`, ours.few, native?.few),
      beside(`trade of 10,000 instruments (Zipf), ${how}, ns`, ours.many, native?.many),
    ];
  });
}

function beside(what: string, ours: number, native: number | undefined): Row {
  return {
    what,
    ours,
    native,
    peers: [],
    toNative: native === undefined ? undefined : ours / native,
    toPeers: undefined,
  };
}

function least(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.min(...values);
}

function peerRow({ part, ours, peers: others, ratio }: Comparison): Row {
  return {
    what: `${part}, ns`,
    ours: ours.ns,
    native: undefined,
    peers: others.map(({ name, ns }) => ({ name, value: ns })),
    toNative: undefined,
    toPeers: ratio,
  };
}

/** The load test's figures of one hot instrument: the gateway first. */
function fanoutRow(): Row {
  const args = ["run", "-s", "loadtest", "--", "--scenario", "fanout", "--clients", String(FANOUT_CLIENTS), "--json"];
  const output = execFileSync("npm", args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] }).toString();
  const { figures } = JSON.parse(output.trim().split("\n").at(-1) as string) as {
    figures: { fanout: { kind: string; framesPerSecond: number }[] };
  };
  const [gateway, ...others] = figures.fanout;
  assert(gateway !== undefined, "the load test has figures");
  const native = others.find(({ kind }) => kind.includes("C++"))?.framesPerSecond;
  const rest = others.filter(({ kind }) => !kind.includes("C++"));
  return {
    what: `fan-out to ${FANOUT_CLIENTS} clients, full pipeline, frames/s`,
    ours: gateway.framesPerSecond,
    native,
    peers: rest.map(({ kind, framesPerSecond }) => ({ name: kind, value: framesPerSecond })),
    toNative: native === undefined ? undefined : gateway.framesPerSecond / native,
    toPeers: gateway.framesPerSecond / Math.max(...rest.map(({ framesPerSecond }) => framesPerSecond)),
  };
}

const COLUMNS = ["what", "ours", "native", "ours / native", "peers", "ours better by"];

function cellsOf({ what, ours, native, peers: others, toNative, toPeers }: Row): string[] {
  const number = (value: number) => (value >= 1000 ? Math.round(value).toLocaleString("en-US") : value.toFixed(1));
  const times = (value: number | undefined) => (value === undefined ? "" : `x ${value.toFixed(2)}`);
  const list = others.map(({ name, value }) => `${name} ${number(value)}`).join("; ");
  return [what, number(ours), native === undefined ? "" : number(native), times(toNative), list, times(toPeers)];
}

function printTable(rows: readonly Row[]): void {
  const lines = [COLUMNS, ...rows.map(cellsOf)];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => (line[column] as string).length)));
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join("  ")
        .trimEnd(),
    );
}

function writeResults(head: string, rows: readonly Row[], notes: readonly string[]): void {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const table = [line(COLUMNS), line(COLUMNS.map(() => "---")), ...rows.map((row) => line(cellsOf(row)))];
  const text = ["# Results", "", `\`npm run native-bench\` on ${head}.`, "", ...notes, "", ...table, ""].join("\n");
  writeFileSync(join(root, "native-bench", "results.md"), text);
}

const NOTES = [
  "The native hot path is the C++ of `native-bench/native/hot-path`: its rings, frames, bars and indicators equal ours",
  "byte for byte before anything is measured. The native fan-out server writes finished frames, one write per client and",
  "batch; ours parses the venue's messages and keeps bars and indicators meanwhile. Answers of peers are checked, too.",
];

async function main(): Promise<void> {
  const missing = whyNotNative();
  if (missing !== undefined) process.stderr.write(`${missing}: ours stands alone\n`);
  const hasNative = missing === undefined;
  const progress = (text: string) => process.stderr.write(`${text}\n`);
  progress("the hot path, in turn");
  const rows = pathRows(hasNative);
  progress("10 and 10,000 instruments");
  rows.push(...scaleRows(hasNative));
  progress("the parts beside their peers, a minute or two");
  rows.push(...apart<Comparison[]>("peers").map(peerRow));
  progress("fan-out");
  rows.push(fanoutRow());
  const date = new Date().toISOString().slice(0, 10);
  const head = `${cpus()[0]?.model.trim()} x ${cpus().length}, Node ${process.versions.node}, ${date}`;
  console.log(`${head}\n`);
  printTable(rows);
  writeResults(head, rows, NOTES);
  if (process.argv.includes("--json")) console.log(JSON.stringify({ machine: head, rows }));
}

// As the gateway does.
inlineMore();
const [mode, name, ...args] = process.argv.slice(2);
if (mode === APART_FLAG) {
  console.log(JSON.stringify(await APART[name as string]?.(...args)));
  process.exit(0);
} else await main();
