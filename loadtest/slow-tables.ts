import type { GatewayMemory } from "./gateway-memory.ts";
import type { Report } from "./receiver.ts";
import { count, mebibytes, micros, percent, ratio, type Table } from "./report.ts";
import type { Measurement } from "./rig.ts";

/** One stretch of load: what the others got, and the slow ones. */
export interface Stretch {
  measurement: Measurement;
  others: Report;
  /** Undefined where there were none. */
  slow?: Report;
  /** The most that was seen of each. */
  most: GatewayMemory;
}

/** The two stretches of a round. */
export interface Round {
  calm: Stretch;
  withSlow: Stretch;
}

export function pairsOf(stretches: readonly Stretch[]): Round[] {
  const of = (isSlow: boolean) => stretches.filter((each) => (each.slow !== undefined) === isSlow);
  return of(false).map((calm, index) => ({ calm, withSlow: of(true)[index] as Stretch }));
}

export function p99RatioOf({ calm, withSlow }: Round): number {
  return withSlow.others.latencyUs.p99 / calm.others.latencyUs.p99;
}

export function othersTable(rounds: readonly Round[], clients: number, rate: number, p99Ratio: number): Table {
  const cells = ({ others, measurement: { run, load } }: Stretch) => [
    micros(others.latencyUs.p50),
    micros(others.latencyUs.p99),
    percent(load.server),
    micros(run.late.p99),
  ];
  return {
    title: `the others: ${count(clients)} clients, ${count(rate)} trades/s, due to read; p99 with slow clients to without ${ratio(p99Ratio)}, median`,
    columns: [
      "round",
      "without: p50",
      "p99",
      "server cpu",
      "source late p99",
      "with: p50",
      "p99",
      "server cpu",
      "source late p99",
      "p99 ratio",
    ],
    rows: rounds.map((round, index) => [
      index + 1,
      ...cells(round.calm),
      ...cells(round.withSlow),
      ratio(p99RatioOf(round)),
    ]),
  };
}

export function slowTable(stretches: readonly Stretch[], slowClients: number, pace: number): Table {
  const rows = stretches.flatMap(({ slow, measurement: { run } }) => (slow === undefined ? [] : [{ slow, run }]));
  return {
    title: `the slow: ${slowClients} clients, ${count(pace)} bytes/s each; all together`,
    columns: ["round", "sent", "received", "named by gaps", "gaps", "sum", "wanted"],
    rows: rows.map(({ slow, run }, index) => [
      index + 1,
      count(run.sent),
      count(slow.frames),
      count(slow.gapFrames),
      count(slow.gaps),
      count(slow.frames + slow.gapFrames),
      count(run.sent * slow.clients),
    ]),
  };
}

/** `limits` are those that hold: all queues and resident, and one queue above which its client falls behind. */
export function memoryTable(stretches: readonly Stretch[], limits: GatewayMemory): Table {
  const most = (isSlow: boolean, pick: (memory: GatewayMemory) => number) =>
    mebibytes(
      Math.max(...stretches.filter((each) => (each.slow !== undefined) === isSlow).map((each) => pick(each.most))),
    );
  const row = (name: string, pick: (memory: GatewayMemory) => number, limit: string) => [
    name,
    most(false, pick),
    most(true, pick),
    limit,
  ];
  return {
    title: "the gateway's memory by its own report, most",
    columns: ["of", "without", "with", "limit"],
    rows: [
      row("all queues", ({ queues }) => queues, mebibytes(limits.queues)),
      row(
        "longest queue",
        ({ longestQueue }) => longestQueue,
        `none: from ${mebibytes(limits.longestQueue)} on it reads the ring`,
      ),
      row("resident", ({ resident }) => resident, mebibytes(limits.resident)),
    ],
  };
}
