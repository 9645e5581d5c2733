import { setTimeout as sleep } from "node:timers/promises";
import { GatewayProcess } from "../gateway-process.ts";
import { requireOpenFiles } from "../open-files.ts";
import { MachineTime, ProcessorTime } from "../processor-time.ts";
import { Receiver, type Report } from "../receiver.ts";
import { count, type Load, median, micros, percent } from "../report.ts";
import { fresh, lossesOf, Rig, type Source, settled, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { type SourceRun, unifiedSymbol } from "../source.ts";

const CLIENTS = 2000;
const RATE = 100;
const ROUNDS = 3;
/** Clients that stay connected throughout, and show what the storm costs those who have nothing to do with it. */
const BYSTANDERS = 10;
/** Trades that every client misses at least: it stays away so long. */
const MISSED = 300;
/** Load before the first storm, and after each. */
const CALM_SECONDS = 2;
const WARM_UP_SECONDS = 0.2;
const DROP_DEADLINE_MS = 30_000;
const LOOK_MS = 10;
/** Far longer than a storm: the source is told to stop. */
const LONGEST_SECONDS = 600;

interface Storm {
  dropMs: number;
  /** From when the first may come back until the last has had its `replay_end`. */
  wholeMs: number;
  /** Frames that all replays together had. */
  replayed: number;
  /** Trades sent meanwhile, and in the calm around it. */
  sent: number;
  bystanders: { calmP99Us: number; p99Us: number; maxUs: number };
  load: Load;
  losses: readonly string[];
}

interface Parts {
  source: Source;
  gateway: GatewayProcess;
  bystanders: Receiver;
  crowd: Receiver;
  clients: number;
}

/** Waits until the gateway counts nobody but the bystanders. */
async function gone({ gateway }: Parts): Promise<void> {
  const until = performance.now() + DROP_DEADLINE_MS;
  while ((await gateway.json()).connections > BYSTANDERS) {
    if (performance.now() > until) throw new Error("the gateway did not notice in time that clients went");
    await sleep(LOOK_MS);
  }
}

/** Waits until the source has sent so many trades since its run began. */
async function missed({ source }: Parts, trades: number, rate: number): Promise<void> {
  const until = performance.now() + DROP_DEADLINE_MS + (MISSED / rate) * 1000;
  while ((await source.call<{ sent: number }>("stats")).sent < trades) {
    if (performance.now() > until) throw new Error(`the source did not send ${trades} trades in time`);
    await sleep(LOOK_MS);
  }
}

/** Calm, a storm and calm again, under one load from beginning to end. */
async function storm(parts: Parts, label: string, rate: number, calmSeconds: number): Promise<Storm> {
  const { source, gateway, bystanders, crowd, clients } = parts;
  await Promise.all([bystanders, crowd].map(fresh));
  const sourceTime = new ProcessorTime(source.pid);
  const running = source.call<SourceRun>("run", { rate, seconds: LONGEST_SECONDS }, LONGEST_SECONDS * 1000);
  await sleep(calmSeconds * 1000);
  const calm = await bystanders.report();
  const begun = performance.now();
  crowd.drop(clients);
  await gone(parts);
  const dropMs = performance.now() - begun;
  const { sent } = await source.call<{ sent: number }>("stats");
  await missed(parts, sent + MISSED, rate);
  const server = new ProcessorTime(gateway.pid);
  const receiver = new ProcessorTime(crowd.pid);
  const machine = new MachineTime();
  const back = performance.now();
  await crowd.connect(clients);
  const wholeMs = performance.now() - back;
  const shares = { server: server.share, receiver: receiver.share, machine: machine.share };
  await sleep(calmSeconds * 1000);
  await source.call("stop");
  const run = await running;
  const load = { label, ...shares, source: { share: sourceTime.share, lateP99Us: run.late.p99 } };
  const [stayed, came] = (await settled([bystanders, crowd], [run.sent, run.sent])) as [Report, Report];
  const { p99: p99Us, max: maxUs } = stayed.latencyUs;
  return {
    dropMs,
    wholeMs,
    replayed: came.replayed,
    sent: run.sent,
    bystanders: { calmP99Us: calm.latencyUs.p99, p99Us, maxUs },
    load,
    losses: [
      ...lossesOf(stayed, run.sent).map((loss) => `${label}, bystanders: ${loss}`),
      ...lossesOfCrowd(came, run.sent, clients, stayed.mostFrames).map((loss) => `${label}, crowd: ${loss}`),
    ],
  };
}

/** Who came back must have every frame once, as those have who stayed: so many. */
export function lossesOfCrowd(report: Report, events: number, clients: number, frames: number): string[] {
  const losses = lossesOf(report, events);
  const { replays, leastFrames, mostFrames } = report;
  if (replays !== clients) losses.push(`${replays} of ${clients} clients had the end of their replay`);
  if (leastFrames !== frames || mostFrames !== frames) {
    losses.push(`the clients have ${leastFrames} to ${mostFrames} frames, who stayed has ${frames}`);
  }
  return losses;
}

async function start(context: Context, clients: number): Promise<Parts> {
  const { flags, progress, keep } = context;
  const source = keep(await startSource({ instruments: 1, spread: "one", seed: flags.seed, mixed: false }));
  const limit = String(2 * clients + BYSTANDERS);
  const limits = ["--max-connections", limit, "--max-per-address", limit, "--grace-ms", "86400000"];
  const gateway = keep(await GatewayProcess.start(source.info, limits));
  const client = {
    url: `${gateway.url}/stream?encoding=flatbuffers`,
    form: "flatbuffers" as const,
    send: [JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: [unifiedSymbol(0)] })],
  };
  const bystanders = keep(await Receiver.start({ ...client, clients: BYSTANDERS }));
  await subscribed(source, 1);
  progress(`connecting ${count(clients)} clients`);
  const crowd = keep(await Receiver.start({ ...client, clients, resume: true }));
  return { source, gateway, bystanders, crowd, clients };
}

async function run(context: Context) {
  const { flags, progress } = context;
  const { clients = CLIENTS, rate = RATE, rounds = ROUNDS, seconds = CALM_SECONDS } = flags;
  // The server may still hold those that were dropped while the others come back.
  requireOpenFiles(2 * clients);
  const parts = await start(context, clients);
  const { source, gateway, bystanders, crowd } = parts;
  const rig = new Rig(source, gateway, [bystanders, crowd], ["bystanders", "crowd"]);
  const storms: Storm[] = [];
  // The first trade has the stream go live, which is a frame that nobody sent.
  const losses = [...(await rig.measure({ label: "warm-up", rate, seconds: WARM_UP_SECONDS })).losses];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`storm ${round} of ${rounds}`);
    const label = `storm ${round}`;
    const found = await storm(parts, label, rate, seconds);
    storms.push(found);
    losses.push(...found.losses);
    // Whole means that who came back gets everything again.
    losses.push(...(await rig.measure({ label: `after ${label}`, rate, seconds })).losses);
  }
  losses.push(...(await gateway.losses()));
  return outcomeOf(clients, rate, storms, losses);
}

function outcomeOf(clients: number, rate: number, storms: readonly Storm[], losses: readonly string[]) {
  const most = (pick: (each: Storm["bystanders"]) => number) =>
    Math.max(...storms.map((each) => pick(each.bystanders)));
  return {
    tables: [
      {
        title: `${count(clients)} clients dropped at once and coming back, ${count(rate)} trades/s meanwhile`,
        columns: [
          "storm",
          "all gone after",
          "all had replay_end after",
          "clients/s",
          "frames replayed",
          "each",
          "frames/s",
          "server cpu",
          "receiver cpu",
        ],
        rows: storms.map(({ dropMs, wholeMs, replayed, load }, index) => [
          index + 1,
          `${dropMs.toFixed(0)} ms`,
          `${wholeMs.toFixed(0)} ms`,
          count(clients / (wholeMs / 1000)),
          count(replayed),
          count(replayed / clients),
          count(replayed / (wholeMs / 1000)),
          percent(load.server),
          percent(load.receiver),
        ]),
      },
      {
        title: `${BYSTANDERS} bystanders, ${count(storms.reduce((sum, { sent }) => sum + sent, 0))} trades`,
        columns: ["worst of the storms", "calm p99", "with the storm p99", "max"],
        rows: [
          [
            "due to read",
            micros(most((each) => each.calmP99Us)),
            micros(most((each) => each.p99Us)),
            micros(most((each) => each.maxUs)),
          ],
        ],
      },
    ],
    figures: {
      clients,
      rate,
      wholeMs: median(storms.map(({ wholeMs }) => wholeMs)),
      replayed: median(storms.map(({ replayed }) => replayed)),
      storms: storms.map(({ load: _load, losses: _losses, ...figure }) => figure),
    },
    loads: storms.map(({ load }) => load),
    losses,
    notes: [
      `whole: a client came back by resume, at the position of its newest frame, and has had replay_end; all stay away for ${MISSED} trades`,
      "judged across the drop: every client has every frame once, and as many as a bystander",
    ],
  };
}

export const reconnectStorm: Scenario = {
  summary: "thousands of clients dropped at once and coming back by resume: time until all are whole",
  takes: ["clients", "rate", "seconds", "rounds", "seed"],
  run,
};
