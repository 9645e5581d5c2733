/**
 * `npm run bench`: the hot path as it is shipped, from scanner to finished frame and part by part; its garbage; its
 * cost with 10 and with 10,000 instruments, and what these mean for memory and for the event loop. Answers are checked.
 * `--json` prints the figures as one last line.
 */
import { cpus } from "node:os";
import { isMainThread } from "node:worker_threads";
import { inlineMore } from "../src/std/compiler.ts";
import { APART_FLAG, apart } from "./apart.ts";
import { type ClientDecode, clientDecode } from "./client-decode.ts";
import { garbageOf } from "./garbage.ts";
import { FOLLOW, follow, type Join, joinAll } from "./join.ts";
import { type JournalCost, journalCost } from "./journal-cost.ts";
import { type Measuring, measuring } from "./measuring.ts";
import { parts } from "./parts.ts";
import { Pipeline } from "./pipeline.ts";
import { recordedOrSynthetic, recordedTrade } from "./recorded-trade.ts";
import { COME_BACK, comeBack, type ResumeCost, resumeCost } from "./resume.ts";
import { closeCost, compare, type Memory, memoryOf, type Scale } from "./scale.ts";
import { throughSocket } from "./socket-garbage.ts";
import { beVenue, type Start, startWith, VENUE } from "./start.ts";
import { recordedTrades } from "./workload.ts";

const GARBAGE_TICKS = 10_000_000;
const SOCKET_TICKS = 1_000_000;
const MANY = 10_000;
/** Trades a second: as many as a core can take, so that a tick is measured and not the clock; and as a market has. */
const FULL_RATE = 1_000_000;
const MARKET_RATE = 20_000;

/** What is measured in a process of its own. */
const APART: Record<string, (...args: string[]) => unknown> = {
  path: (mode) => recordedTrade(mode as "parsed"),
  scale: (spread, mode, rate) => compare(spread as "zipf", mode as "parsed", Number(rate)),
  close: (instruments) => closeCost(Number(instruments)),
  memory: () => memoryOf(MANY),
  join: () => joinAll(MANY),
  resume: () => resumeCost(),
  client: () => clientDecode(),
  journal: (pauseMs) => journalCost(Number(pauseMs)),
  start: () => startWith(MANY),
  measuring: () => measuring(),
};

function print(name: string, value: string): void {
  console.log(`${name.padEnd(62)} ${value}`);
}

const ns = (value: number) => `${value.toFixed(1).padStart(8)} ns`;

async function garbage() {
  const pipeline = new Pipeline(recordedOrSynthetic());
  pipeline.warmUp(() => pipeline.parsed());
  const figures = await garbageOf(
    GARBAGE_TICKS,
    pipeline.runTrades,
    () => pipeline.parsed(),
    () => pipeline.next(),
  );
  pipeline.check();
  return figures;
}

function scale(name: string, spread: string, rate: number) {
  const parsed = apart<Scale>("scale", spread, "parsed", rate);
  const unparsed = apart<Scale>("scale", spread, "unparsed", rate);
  const text = ({ few, many, ratio }: Scale) => `${ns(few)} -> ${ns(many)}, x ${ratio.toFixed(2)}`;
  print(`a trade with 10 -> ${MANY} instruments, ${name}`, text(parsed));
  print("  the same without parsing", text(unparsed));
  return { name, spread, rate, parsed, unparsed };
}

async function main(): Promise<void> {
  if (recordedTrades() === undefined) console.log("no recordings: synthetic trades stand in for them");
  console.log(
    `${cpus()[0]?.model.trim()} x ${cpus().length}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}\n`,
  );
  const path = {
    workload: recordedOrSynthetic().name,
    parsedNs: apart<number>("path", "parsed"),
    unparsedNs: apart<number>("path", "unparsed"),
  };
  print(`trade, scanner to finished frame (${path.workload})`, ns(path.parsedNs));
  print("the same without parsing", ns(path.unparsedNs));
  console.log();
  const partFigures = await parts();
  for (const { name, median } of partFigures) print(name, ns(median));

  console.log();
  const heap = await garbage();
  print(`bytes allocated per tick, over ${Math.round(heap.ticks)} ticks`, heap.bytesPerTick.toFixed(3));
  print("collections meanwhile", String(heap.collections));
  const socket = await throughSocket(SOCKET_TICKS);
  print(
    `with the WebSocket library before it, ${SOCKET_TICKS} ticks`,
    `${socket.collections} collections, ${socket.pauseMs.toFixed(0)} ms in all`,
  );

  console.log();
  const latency = apart<Measuring[]>("measuring");
  for (const { trades, plainNs, measuredNs } of latency) {
    print(`a turn of ${trades} trades, without -> with measuring its latency`, `${ns(plainNs)} -> ${ns(measuredNs)}`);
  }

  console.log();
  const scales = [
    scale("zipf", "zipf", FULL_RATE),
    scale("uniform", "uniform", FULL_RATE),
    scale(`zipf, ${MARKET_RATE} a second, bars closing`, "zipf", MARKET_RATE),
  ];
  const close = apart<number>("close", MANY);
  const share = (close * MANY) / 1e7;
  print(
    `closing a 1s bar, ${MANY} at once`,
    `${ns(close)}: ${share.toFixed(1)} % of a core when each does each second`,
  );
  const start = apart<Start>("start");
  const turns = (longestMs: number, totalMs: number) =>
    `at most ${longestMs.toFixed(1)} ms a turn, ${totalMs.toFixed(0)} ms in all`;
  print(`start on a venue with ${MANY} instruments`, turns(start.longestMs, start.totalMs));
  const joins = apart<Join[]>("join");
  for (const { step, longestMs, totalMs } of joins) {
    print(`${step}, ${MANY} instruments`, turns(longestMs, totalMs));
  }
  const resume = apart<ResumeCost>("resume");
  print(
    `resuming ${resume.frames} frames missed among a million`,
    `${resume.totalMs.toFixed(1)} ms, at most ${resume.longestMs.toFixed(1)} ms a turn`,
  );
  const { mapMs, bitmapMs, linksMs } = resume;
  print(
    "  looking through the million: map, bitmap; following links",
    `${mapMs.toFixed(1)} ms, ${bitmapMs.toFixed(1)} ms; ${linksMs.toFixed(2)} ms`,
  );
  const journal = [0, 5].map((pauseMs) => apart<JournalCost>("journal", pauseMs));
  for (const [index, name] of ["as fast as it can", "some 100,000 a second"].entries()) {
    const { plainNs, journaledNs, ratio } = journal[index] as JournalCost;
    print(`a trade without -> with a journal, ${name}`, `${ns(plainNs)} -> ${ns(journaledNs)}, x ${ratio.toFixed(3)}`);
  }
  const client = apart<ClientDecode>("client");
  const millions = (perSecond: number) => `${(perSecond / 1e6).toFixed(2)} M frames/s`;
  print(
    "a client's handlers, from a message's bytes on",
    `${millions(client.perSecond)}, ${client.bytesPerFrame.toFixed(2)} bytes a frame, ${client.collections} collections`,
  );
  print("  through the WebSocket library on loopback", millions(client.socketPerSecond));
  print("  JSON.parse of the twins, the same fields", millions(client.jsonPerSecond));
  const memory = apart<Memory>("memory");
  print(`memory that ${MANY} instruments with trades take`, `${memory.rssMiB.toFixed(0)} MiB resident`);
  if (process.argv.includes("--json")) {
    const figures = {
      path,
      parts: partFigures,
      garbage: heap,
      socket,
      latency,
      scales,
      close,
      start,
      joins,
      resume,
      journal,
      client,
      memory,
    };
    console.log(JSON.stringify(figures));
  }
  process.exit(0);
}

// As the gateway does.
inlineMore();
const [mode, name, ...args] = process.argv.slice(2);
if (mode === FOLLOW) follow(name as string);
else if (mode === COME_BACK) comeBack(name as string);
else if (mode === VENUE) await beVenue(Number(name));
else if (mode === APART_FLAG) {
  console.log(JSON.stringify(await APART[name as string]?.(...args)));
  process.exit(0);
} else if (isMainThread) await main();
