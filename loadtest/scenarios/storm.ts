import { setTimeout as sleep } from "node:timers/promises";
import { GatewayProcess } from "../gateway-process.ts";
import { requireOpenFiles } from "../open-files.ts";
import { MachineTime, ProcessorTime } from "../processor-time.ts";
import { Receiver } from "../receiver.ts";
import { count, type Load, median, micros, percent } from "../report.ts";
import { fresh, lossesOf, Rig, type Source, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { type SourceRun, unifiedSymbol } from "../source.ts";

const CLIENTS = 3000;
const RATE = 50;
const ROUNDS = 3;
/** Clients that stay connected throughout, and show what the storm costs those who have nothing to do with it. */
const BYSTANDERS = 10;
/** Load before the first storm, and after each. */
const CALM_SECONDS = 2;
const DROP_DEADLINE_MS = 30_000;
const LOOK_MS = 10;
/** What was sent last has come by then. */
const UNDER_WAY_MS = 500;
/** Far longer than a storm: the source is told to stop. */
const LONGEST_SECONDS = 600;

interface Storm {
  dropMs: number;
  wholeMs: number;
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
  const server = new ProcessorTime(gateway.pid);
  const receiver = new ProcessorTime(crowd.pid);
  const machine = new MachineTime();
  await crowd.connect(clients);
  const wholeMs = performance.now() - begun - dropMs;
  const shares = { server: server.share, receiver: receiver.share, machine: machine.share };
  await sleep(calmSeconds * 1000);
  await source.call("stop");
  const { sent, late } = await running;
  const load = { label, ...shares, source: { share: sourceTime.share, lateP99Us: late.p99 } };
  await sleep(UNDER_WAY_MS);
  const after = await bystanders.report();
  const { p99: p99Us, max: maxUs } = after.latencyUs;
  const losses = [
    ...lossesOf(after, sent).map((loss) => `${label}, bystanders: ${loss}`),
    ...lossesOf(await crowd.report(), 0).map((loss) => `${label}, crowd: ${loss}`),
  ];
  return { dropMs, wholeMs, sent, bystanders: { calmP99Us: calm.latencyUs.p99, p99Us, maxUs }, load, losses };
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
  const crowd = keep(await Receiver.start({ ...client, clients }));
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
  const losses: string[] = [];
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
        columns: ["storm", "all gone after", "all whole again after", "clients/s", "server cpu", "receiver cpu"],
        rows: storms.map(({ dropMs, wholeMs, load }, index) => [
          index + 1,
          `${dropMs.toFixed(0)} ms`,
          `${wholeMs.toFixed(0)} ms`,
          count(clients / (wholeMs / 1000)),
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
      storms: storms.map(({ load: _load, losses: _losses, ...figure }) => figure),
    },
    loads: storms.map(({ load }) => load),
    losses,
  };
}

export const reconnectStorm: Scenario = {
  summary: "thousands of clients dropped at once and coming back: time until all are whole again",
  takes: ["clients", "rate", "seconds", "rounds", "seed"],
  run,
};
