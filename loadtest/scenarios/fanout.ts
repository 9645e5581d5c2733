import { setTimeout as sleep } from "node:timers/promises";
import { type FanoutKind, startKinds } from "../fanout-kinds.ts";
import { requireOpenFiles } from "../open-files.ts";
import { MachineTime, ProcessorTime } from "../processor-time.ts";
import { Receiver, type Report } from "../receiver.ts";
import { count, type Load, median, percent, ratio, type Table } from "../report.ts";
import { fresh, lossesOf } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";

const CLIENTS = [1, 10, 100, 1000];
const SECONDS = 2;
const ROUNDS = 3;
const WARM_UP_MS = 500;
const LOOK_MS = 50;
/** When no frame has come for so long, none will. */
const STILL_MS = 2000;

/** One kind with so many clients in one round. */
interface Sample {
  framesPerSecond: number;
  bytesPerSecond: number;
  load: Load;
  losses: readonly string[];
}

interface Figure {
  kind: string;
  clients: number;
  framesPerSecond: number;
  mebibytesPerSecond: number;
  server: number;
  receiver: number;
}

/** Frames that come while the server is saturated, then all that it published, to the last one. */
async function sample(kind: FanoutKind, receiver: Receiver, clients: number, seconds: number): Promise<Sample> {
  await fresh(receiver);
  await kind.start();
  await sleep(WARM_UP_MS);
  const server = new ProcessorTime(kind.pid);
  const reader = new ProcessorTime(receiver.pid);
  const machine = new MachineTime();
  const before = await receiver.report();
  await sleep(seconds * 1000);
  const after = await receiver.report();
  const load: Load = {
    label: `${kind.name}, ${clients} clients`,
    server: server.share,
    receiver: reader.share,
    machine: machine.share,
  };
  const events = await kind.stop();
  const all = await settled(receiver, events);
  const elapsed = after.seconds - before.seconds;
  return {
    framesPerSecond: (after.frames - before.frames) / elapsed,
    bytesPerSecond: (after.bytes - before.bytes) / elapsed,
    load,
    losses: lossesOf(all, events).map((loss) => `${load.label}: ${loss}`),
  };
}

async function settled(receiver: Receiver, events: number): Promise<Report> {
  let stillSince = performance.now();
  let last = -1;
  for (;;) {
    const report = await receiver.report();
    if (report.leastFrames >= events) return report;
    if (report.frames !== last) stillSince = performance.now();
    last = report.frames;
    if (performance.now() - stillSince > STILL_MS) return report;
    await sleep(LOOK_MS);
  }
}

function figureOf(kind: string, clients: number, samples: readonly Sample[]): Figure {
  const of = (pick: (each: Sample) => number) => median(samples.map(pick));
  return {
    kind,
    clients,
    framesPerSecond: of((each) => each.framesPerSecond),
    mebibytesPerSecond: of((each) => each.bytesPerSecond) / 2 ** 20,
    server: of(({ load }) => load.server),
    receiver: of(({ load }) => load.receiver),
  };
}

/** The full pipeline, the first of the figures, to each of the others. */
function tableOf(clients: number, figures: readonly Figure[]): Table {
  const [pipeline] = figures as [Figure];
  return {
    title: `one hot instrument, ${count(clients)} clients: frames delivered`,
    columns: ["server", "frames/s", "events/s", "MiB/s", "server cpu", "receiver cpu", "full pipeline to it"],
    rows: figures.map((figure) => [
      figure.kind,
      count(figure.framesPerSecond),
      count(figure.framesPerSecond / clients),
      figure.mebibytesPerSecond.toFixed(1),
      percent(figure.server),
      percent(figure.receiver),
      figure === pipeline ? "-" : ratio(pipeline.framesPerSecond / figure.framesPerSecond),
    ]),
  };
}

async function run(context: Context) {
  const { flags, progress } = context;
  const { seconds = SECONDS, rounds = ROUNDS } = flags;
  const counts = flags.clients === undefined ? CLIENTS : [flags.clients];
  requireOpenFiles(Math.max(...counts));
  const { kinds, notes } = await startKinds(context);
  const figures: Figure[] = [];
  const tables: Table[] = [];
  const loads: Load[] = [];
  const losses: string[] = [];
  for (const clients of counts) {
    const receivers = new Map<FanoutKind, Receiver>();
    for (const kind of kinds) {
      receivers.set(kind, context.keep(await Receiver.start({ ...kind.client, clients })));
    }
    const samples = new Map<FanoutKind, Sample[]>(kinds.map((kind) => [kind, []]));
    for (let round = 1; round <= rounds; round += 1) {
      progress(`${count(clients)} clients, round ${round} of ${rounds}`);
      for (const [kind, receiver] of receivers) samples.get(kind)?.push(await sample(kind, receiver, clients, seconds));
    }
    for (const receiver of receivers.values()) await receiver.stop();
    const found = kinds.map((kind) => figureOf(kind.name, clients, samples.get(kind) as Sample[]));
    figures.push(...found);
    tables.push(tableOf(clients, found));
    for (const each of [...samples.values()].flat()) {
      loads.push(each.load);
      losses.push(...each.losses);
    }
  }
  for (const kind of kinds) losses.push(...(await kind.losses()));
  return {
    tables,
    figures: { seconds, rounds, fanout: figures },
    loads,
    losses,
    notes: [
      ...notes,
      "the full pipeline parses a venue's message, keeps bars and indicators, and writes a frame for each event; the others send a finished one",
      "its trades run thousands of times faster than they were recorded, so bars close that much more often; moving their ids and times on is in its cost",
    ],
  };
}

export const fanout: Scenario = {
  summary: "one hot instrument to 1, 10, 100, 1,000 clients as fast as they read, beside bare servers",
  takes: ["clients", "seconds", "rounds"],
  run,
};
