import { setTimeout as sleep } from "node:timers/promises";
import { Child } from "./child.ts";
import { MachineTime, ProcessorTime } from "./processor-time.ts";
import type { Receiver, Report } from "./receiver.ts";
import { type Load, LossError } from "./report.ts";
import type { SourceInfo, SourceOptions, SourceRun } from "./source.ts";

const LOOK_MS = 50;
/** When no frame has come for so long, none will. */
const STILL_MS = 1500;

/** A server between the source and the receivers. */
export interface ServerProcess {
  readonly pid: number;
  /** How it ended, when it did so by itself. */
  readonly ended: string | undefined;
  stop(): Promise<void>;
  /** What it knows to be lost. */
  losses?(): Promise<string[]>;
}

/** One stretch of open-loop load, measured. */
export interface Measurement {
  run: SourceRun;
  seconds: number;
  reports: readonly Report[];
  /** Processor time of the server, milliseconds. */
  serverMs: number;
  load: Load;
  losses: readonly string[];
}

export interface Stretch {
  label: string;
  rate: number;
  seconds: number;
  /** Frames that each client of each receiver must get at least, receiver by receiver: by default every event. */
  least?: (run: SourceRun) => readonly number[];
}

export type Source = Child<SourceInfo>;

export function startSource(options: SourceOptions): Promise<Source> {
  return Child.start<SourceInfo>("source", options);
}

/** Waits until the source is asked for so many streams. */
export async function subscribed(source: Source, streams: number, deadlineMs = 60_000): Promise<void> {
  const until = Date.now() + deadlineMs;
  for (;;) {
    const stats = await source.call<{ streams: number }>("stats");
    if (stats.streams >= streams) return;
    if (Date.now() > until) throw new Error(`the source was asked for ${stats.streams} of ${streams} streams in time`);
    await sleep(LOOK_MS);
  }
}

/** Forgets what a receiver has counted; resolves once it has, so that nothing of what comes next is forgotten too. */
export async function fresh(receiver: Receiver): Promise<void> {
  receiver.reset();
  await receiver.report();
}

/** The reports once every client has what it must get and nothing more comes, or once nothing comes for long. */
export async function settled(receivers: readonly Receiver[], wanted: readonly number[]): Promise<Report[]> {
  // Where not all is counted, a short silence says that what was under way has come.
  const counted = wanted.every((least) => least > 0);
  let stillSince = performance.now();
  let last = -1;
  for (;;) {
    const reports = await Promise.all(receivers.map((receiver) => receiver.report()));
    const frames = reports.reduce((sum, report) => sum + report.frames, 0);
    const complete = reports.every(({ leastAccounted }, index) => leastAccounted >= (wanted[index] as number));
    // States are frames too, so as many as there were events may come before the last event does.
    if (complete && counted && frames === last) return reports;
    if (frames !== last) stillSince = performance.now();
    last = frames;
    if (performance.now() - stillSince > (complete ? STILL_MS / 5 : STILL_MS)) return reports;
    await sleep(LOOK_MS);
  }
}

/** A source, a server and receivers, each in a process of its own. */
export class Rig {
  readonly source: Source;
  readonly server: ServerProcess;
  readonly receivers: readonly Receiver[];
  /** What a loss is told by, receiver by receiver, where there are several. */
  readonly #names: readonly string[];

  constructor(source: Source, server: ServerProcess, receivers: readonly Receiver[], names: readonly string[] = []) {
    this.#names = names;
    this.source = source;
    this.server = server;
    this.receivers = receivers;
  }

  /** Runs a stretch of load, waits until what was sent has come, and says what did not. */
  async measure({ label, rate, seconds, least }: Stretch): Promise<Measurement> {
    await Promise.all(this.receivers.map(fresh));
    const machine = new MachineTime();
    const source = new ProcessorTime(this.source.pid);
    const server = new ProcessorTime(this.server.pid);
    const receivers = this.receivers.map(({ pid }) => new ProcessorTime(pid));
    const run = await this.source.call<SourceRun>("run", { rate, seconds }, seconds * 1000);
    if (this.server.ended !== undefined) throw new LossError(`${label}: ${this.server.ended}`);
    const shares = {
      server: server.share,
      receiver: Math.max(...receivers.map((each) => each.share)),
      machine: machine.share,
      source: { share: source.share, lateP99Us: run.late.p99 },
    };
    const wanted = least?.(run) ?? this.receivers.map(() => run.sent);
    const reports = await settled(this.receivers, wanted);
    return {
      run,
      seconds,
      reports,
      serverMs: server.ms,
      load: { label, ...shares },
      losses: reports.flatMap((report, index) => {
        const name = this.#names[index];
        const where = name === undefined ? label : `${label}, ${name}`;
        return lossesOf(report, wanted[index] as number).map((loss) => `${where}: ${loss}`);
      }),
    };
  }

  /** What the server itself knows to be lost. */
  async serverLosses(): Promise<string[]> {
    return (await this.server.losses?.()) ?? [];
  }

  async stop(): Promise<void> {
    await Promise.all(this.receivers.map((receiver) => receiver.stop()));
    await this.server.stop();
    await this.source.stop();
  }
}

/** What a report shows to be lost: so many frames at least must have reached each client. */
export function lossesOf(report: Report, least: number): string[] {
  const losses: string[] = [];
  if (report.gaps > 0) losses.push(`${report.gapFrames} frames missing that ${report.gaps} gaps named`);
  if (report.holes > 0) losses.push(`${report.holes} frames missing in the sequences`);
  if (report.duplicates > 0) losses.push(`${report.duplicates} frames came twice`);
  if (report.leastFrames < least) losses.push(`a client got ${report.leastFrames} of ${least} events`);
  for (const [code, connections] of Object.entries(report.closed)) {
    losses.push(`${connections} connections were closed with ${code}`);
  }
  for (const [text, times] of Object.entries(report.errors)) losses.push(`${times} times: ${text}`);
  return losses;
}
