import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** The kernel counts in hundredths of a second, USER_HZ, on every Linux that Node runs on. */
const TICK_MS = 10;
const PAGE_BYTES = 4096;
/** Places in /proc/<pid>/stat, counted after the program's name, which may hold spaces. */
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;
const RESIDENT_PAGES = 21;

/** Fields of /proc/<pid>/stat behind the name; throws when the process is gone. */
function statOf(pid: number): string[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    throw new Error(`process ${pid} is gone, or this system has no /proc`);
  }
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** Processor time that a process has taken so far, all threads, user and system, milliseconds. */
export function processorMs(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])) * TICK_MS;
}

/** Memory of a process that is resident, bytes. */
export function residentBytes(pid: number): number {
  return Number(statOf(pid)[RESIDENT_PAGES]) * PAGE_BYTES;
}

/** Processor time of a process between two moments; 1 is one core, busy throughout. */
export class ProcessorTime {
  readonly #pid: number;
  readonly #begunMs = performance.now();
  readonly #usedMs: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.#usedMs = processorMs(pid);
  }

  /** Processor time since the start, milliseconds. */
  get ms(): number {
    return processorMs(this.#pid) - this.#usedMs;
  }

  /** The same per wall time since the start. */
  get share(): number {
    return this.ms / Math.max(performance.now() - this.#begunMs, 1);
  }
}

/** How busy the machine's processors were, all programs together, between two moments: 1 is all of them throughout. */
export class MachineTime {
  readonly #begun = timesOfAll();

  get share(): number {
    const now = timesOfAll();
    const all = now.all - this.#begun.all;
    return all > 0 ? 1 - (now.idle - this.#begun.idle) / all : 0;
  }
}

function timesOfAll(): { all: number; idle: number } {
  let all = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    for (const ms of Object.values(times)) all += ms;
    idle += times.idle;
  }
  return { all, idle };
}
