import { createInterface } from "node:readline";
import { SystemClock } from "../src/std/clock.ts";
import { NodeClient } from "./receiver-client.ts";
import { ReceiverCounts } from "./receiver-counts.ts";
import { ClientMemory } from "./receiver-memory.ts";
import type { ReceiverSettings } from "./receiver-settings.ts";
import { countOf, MAX_BYTES_PER_SECOND, readReceiverSettings, SettingsError } from "./receiver-settings.ts";

/** Handshakes at a time: fewer than the listen queue of a server holds (512 for uWebSockets.js, libuv and ws). */
const MAX_HANDSHAKES = 256;
const RAMP_STEP_MS = 5;
const PACE_STEP_MS = 10;
/** A client that did not read saves up so much, seconds. */
const SAVED_SECONDS = 0.1;

/** The receiver's Node form: many WebSocket clients in one thread. receiver.ts says what it is asked and answers. */
class NodeReceiver {
  readonly #settings: ReceiverSettings;
  readonly #counts = new ReceiverCounts();
  readonly #clock = new SystemClock();
  readonly #ready = new Set<NodeClient>();
  /** Of clients that were dropped, for those that come back. */
  readonly #kept: ClientMemory[] = [];
  #pacing: NodeJS.Timeout | undefined;
  /** Clients that are to be ready before the next `ready` is told, and are not gone. */
  #wanted: number;
  /** Clients still to be begun, and those that are not open yet. */
  #toBegin: number;
  #handshakes = 0;
  /** Clients that the ramp allows to begin; endless without one. */
  #allowed: number;
  #startedMs = performance.now();
  #isTold = false;
  #isLossTold = false;

  constructor(settings: ReceiverSettings) {
    this.#settings = settings;
    this.#wanted = settings.clients;
    this.#toBegin = settings.clients;
    this.#allowed = settings.rampPerSecond === 0 ? Number.POSITIVE_INFINITY : 0;
  }

  run(): void {
    if (this.#settings.rampPerSecond > 0) this.#ramp();
    const commands = createInterface({ input: process.stdin });
    commands.on("line", (line) => this.#command(line));
    commands.on("close", () => process.exit(0));
    this.#progress();
  }

  #ramp(): void {
    let lastMs = performance.now();
    setInterval(() => {
      const nowMs = performance.now();
      const grown = this.#allowed + (this.#settings.rampPerSecond * (nowMs - lastMs)) / 1000;
      // What was allowed while nobody was to begin is not saved up for later.
      this.#allowed = this.#toBegin === 0 ? 0 : grown;
      lastMs = nowMs;
      this.#progress();
    }, RAMP_STEP_MS);
  }

  /** Begins those clients that may begin, and tells when all are ready. */
  #progress(): void {
    while (this.#toBegin > 0 && this.#handshakes < MAX_HANDSHAKES && this.#allowed >= 1) {
      this.#toBegin -= 1;
      this.#allowed -= 1;
      this.#handshakes += 1;
      this.#begin();
    }
    if (this.#isTold || this.#ready.size !== this.#wanted) return;
    this.#isTold = true;
    const tookMs = Math.round(performance.now() - this.#startedMs);
    this.#tell({ event: "ready", clients: this.#ready.size, tookMs });
  }

  #begin(): void {
    let isOpen = false;
    const opened = () => {
      if (!isOpen) this.#handshakes -= 1;
      isOpen = true;
      this.#progress();
    };
    const memory = this.#kept.shift() ?? new ClientMemory(this.#counts);
    new NodeClient(this.#settings, this.#counts, this.#clock, memory, {
      opened,
      ready: (client) => {
        this.#ready.add(client);
        this.#progress();
      },
      gone: (client) => {
        // One that was ready is no longer waited for; one that never was is waited for in vain, which is told once.
        if (this.#ready.delete(client)) this.#wanted -= 1;
        else if (!client.isReady && !this.#isLossTold) {
          this.#isLossTold = true;
          this.#tell({ event: "lost" });
        }
        opened();
      },
    });
  }

  #command(line: string): void {
    const [word, argument, ...rest] = line.trim().split(/\s+/);
    const count = countOf(argument);
    const pace = countOf(argument, MAX_BYTES_PER_SECOND);
    if (word === "reset" && argument === undefined) this.#reset();
    else if (word === "report" && argument === undefined) this.#report();
    else if (word === "quit" && argument === undefined) process.exit(0);
    else if (word === "pace" && pace !== undefined && rest.length === 0) this.#pace(pace);
    else if (word === "drop" && count !== undefined && rest.length === 0) this.#drop(count);
    else if (word === "connect" && count !== undefined && rest.length === 0) this.#connect(count);
    else process.stderr.write(`receiver: unknown command: ${line}\n`);
  }

  #reset(): void {
    this.#counts.reset();
    for (const memory of [...this.#kept, ...this.#memories()]) {
      memory.frames = 0;
      memory.named = 0;
    }
  }

  #memories(): ClientMemory[] {
    return [...this.#ready].map(({ memory }) => memory);
  }

  #report(): void {
    this.#tell({ event: "report", ...this.#counts.report(this.#memories()) });
  }

  /** Has each client that is ready read so many bytes a second; 0 is as fast as they come. */
  #pace(bytesPerSecond: number): void {
    clearInterval(this.#pacing);
    for (const client of this.#ready) client.allow(bytesPerSecond === 0 ? undefined : 0);
    if (bytesPerSecond === 0) return;
    const most = Math.max(1, bytesPerSecond * SAVED_SECONDS);
    let lastMs = performance.now();
    this.#pacing = setInterval(() => {
      const nowMs = performance.now();
      const bytes = (bytesPerSecond * (nowMs - lastMs)) / 1000;
      lastMs = nowMs;
      for (const client of this.#ready) client.allow(bytes, most);
    }, PACE_STEP_MS);
  }

  #drop(count: number): void {
    for (const client of [...this.#ready].slice(0, count)) {
      this.#ready.delete(client);
      this.#wanted -= 1;
      client.drop();
      if (this.#settings.resume && client.memory.canResume) this.#kept.push(client.memory);
    }
  }

  #connect(count: number): void {
    this.#startedMs = performance.now();
    this.#isTold = false;
    this.#isLossTold = false;
    this.#wanted += count;
    this.#toBegin += count;
    this.#progress();
  }

  #tell(event: object): void {
    process.stdout.write(`${JSON.stringify(event)}\n`);
  }
}

/** Runs a receiver until it is told to quit, or its standard input ends. Exits with 2 on a wrong command line. */
export function runReceiver(args: readonly string[]): void {
  try {
    new NodeReceiver(readReceiverSettings(args)).run();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`receiver: ${error.message}\n`);
    process.exit(2);
  }
}
