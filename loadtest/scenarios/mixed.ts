import { BOOKS, type Group, groupsOf, optionsOf } from "../client-groups.ts";
import { namedInstruments } from "../flags.ts";
import { GatewayProcess } from "../gateway-process.ts";
import { Receiver, type Report } from "../receiver.ts";
import { count, micros, percent } from "../report.ts";
import { type Measurement, Rig, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import type { SourceRun } from "../source.ts";

const CLIENTS = 200;
const RATE = 5000;
const INSTRUMENTS = 20;
const SECONDS = 15;
const WARM_UP_SECONDS = 3;
const BOOKS_DEADLINE_MS = 60_000;
const LIVE_BOOKS = 'tickwire_books{exchange="binance",state="live"}';

/** A book is asked for at the venue, and goes live with the next change: load goes on until all are. */
async function booksLive(rig: Rig, gateway: GatewayProcess, rate: number, books: number): Promise<void> {
  const until = Date.now() + BOOKS_DEADLINE_MS;
  for (;;) {
    const live = (await gateway.metrics()).get(LIVE_BOOKS) ?? 0;
    if (live === books) return;
    if (Date.now() > until) throw new Error(`${live} of ${books} books went live in time`);
    await rig.measure({ label: "warm-up", rate, seconds: 0.5, least: () => rig.receivers.map(() => 0) });
  }
}

async function run(context: Context) {
  const { flags, progress, keep } = context;
  const { clients = CLIENTS, rate = RATE, seconds = SECONDS } = flags;
  const instruments = namedInstruments(flags, INSTRUMENTS);
  const source = keep(await startSource({ instruments, spread: "zipf", seed: flags.seed, mixed: true }));
  const gateway = keep(await GatewayProcess.start(source.info, ["--grace-ms", "86400000"]));
  const groups = groupsOf(instruments);
  const options = groups.map((group) => optionsOf(gateway.url, group, clients));
  const receivers: Receiver[] = [];
  for (const each of options) receivers.push(keep(await Receiver.start(each)));
  const books = Math.min(BOOKS, instruments);
  await subscribed(source, 2 * instruments + books);
  const rig = new Rig(
    source,
    gateway,
    receivers,
    groups.map(({ name }) => name),
  );
  const leastOf = (run: SourceRun) => groups.map(({ least }) => least?.(run) ?? 0);
  progress("warm-up");
  const warmUp = Math.min(seconds, WARM_UP_SECONDS);
  const losses = [
    ...(await rig.measure({ label: "warm-up", rate, seconds: warmUp, least: () => groups.map(() => 0) })).losses,
  ];
  await booksLive(rig, gateway, rate, books);
  progress("measuring");
  const measurement = await rig.measure({ label: "mixed", rate, seconds, least: leastOf });
  losses.push(...measurement.losses, ...(await rig.serverLosses()));
  for (const [index, { name }] of groups.entries()) {
    // A group that got nothing has a defect that no sequence shows.
    if (measurement.reports[index]?.leastFrames === 0) losses.push(`${name}: a client got no frame`);
  }
  return outcomeOf({ clients, rate, seconds, instruments, groups, measurement, losses });
}

interface Found {
  clients: number;
  rate: number;
  seconds: number;
  instruments: number;
  groups: readonly Group[];
  measurement: Measurement;
  losses: readonly string[];
}

function outcomeOf({ clients, rate, seconds, instruments, groups, measurement, losses }: Found) {
  const { load, run: sourceRun, reports } = measurement;
  const rows = groups.map((group, index) => ({ group, report: reports[index] as Report }));
  return {
    tables: [
      {
        title: `${count(rate)} events/s (trades 5, quotes 4, depth 1), ${instruments} instruments, ${count(clients)} clients`,
        columns: ["clients with", "encoding", "clients", "frames/s", "MiB/s", "p50", "p99", "max"],
        rows: rows.map(({ group, report }) => [
          group.name,
          group.json ? "JSON" : "FlatBuffers",
          report.clients,
          count(report.frames / seconds),
          (report.bytes / seconds / 2 ** 20).toFixed(2),
          ...latencyCells(report),
        ]),
      },
      {
        title: "processor time",
        columns: ["of a core", "source", "server", "busiest receiver", "source late p99", "max"],
        rows: [
          [
            "",
            percent(load.source?.share ?? 0),
            percent(load.server),
            percent(load.receiver),
            micros(sourceRun.late.p99),
            micros(sourceRun.late.max),
          ],
        ],
      },
    ],
    figures: {
      rate,
      seconds,
      instruments,
      groups: rows.map(({ group, report }) => ({ name: group.name, json: group.json, ...report })),
    },
    loads: [load],
    losses,
    notes: [
      "latency is that of ring frames; a quote carries no time of the venue's own, and a closed bar its own end",
      "frames/s counts all clients of a group together",
    ],
  };
}

function latencyCells({ latencyUs }: Report): string[] {
  if (latencyUs.count === 0) return ["-", "-", "-"];
  return [latencyUs.p50, latencyUs.p99, latencyUs.max].map(micros);
}

export const mixed: Scenario = {
  summary: "trades, books, quotes, bars, wildcards, JSON and FlatBuffers together, 200 clients",
  takes: ["instruments", "clients", "rate", "seconds", "seed"],
  run,
};
