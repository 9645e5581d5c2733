import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Report } from "./receiver-counts.ts";
import type { Program } from "./receiver-programs.ts";
import { nativeMissing, nativeProgram, nodeProgram } from "./receiver-programs.ts";
import type { ReceiverForm } from "./receiver-settings.ts";

export type { Latency } from "./receiver-latency.ts";
export type { ReceiverForm, Report };

export interface ReceiverOptions {
  /** ws://HOST:PORT/PATH?QUERY; only plain WebSocket. */
  url: string;
  clients: number;
  /**
   * flatbuffers: binary messages are frames. json: text messages with `seq` are (connect with `?time_unit=us`).
   * relay: text messages are a venue's own trades, their ids the sequence, T in microseconds.
   */
  form: ReceiverForm;
  /** Texts that each client sends once it is open. */
  send?: readonly string[];
  /** The subprotocol. */
  protocol?: string;
  /** Answers `"status":"subscribed"` that make a client ready; by default one for each text that it sends. */
  readyAcks?: number;
  /** Connections begun a second; without it as many as 256 handshakes at a time allow. */
  rampPerSecond?: number;
  /**
   * A client that comes back after a `drop` goes on where the dropped one stood: its subscribes say `resume`, it is ready
   * with `replay_end`, and its sequences and frames go on. Without it it is a new one.
   */
  resume?: boolean;
  /** What the system may receive ahead of each client, bytes, in segments as on Ethernet: so that a pace is felt soon. Only
   * the native form heeds it. */
  receiveBufferBytes?: number;
  /** How long all clients may take to be ready; 60 s. */
  readyTimeoutMs?: number;
}

const READY_TIMEOUT_MS = 60_000;
const REPORT_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 5_000;
/** Of what a receiver says on stderr, the end is kept for the error. */
const KEPT_STDERR = 2_000;

const fallback = { isTold: false };

/** The native receiver where it can be built, else the Node form, saying so once. */
async function chooseProgram(): Promise<Program> {
  if (process.env.TICKWIRE_RECEIVER === "node") return nodeProgram();
  const missing = await nativeMissing();
  if (missing === undefined) return nativeProgram("receiver");
  if (!fallback.isTold) process.stderr.write(`receiver: the slower Node form is used: ${missing}\n`);
  fallback.isTold = true;
  return nodeProgram();
}

function argumentsOf(options: ReceiverOptions): string[] {
  const { url, clients, form, send = [], protocol, readyAcks, rampPerSecond, resume, receiveBufferBytes } = options;
  const args = ["--url", url, "--clients", String(clients), "--form", form];
  for (const text of send) args.push("--send", text);
  if (protocol !== undefined) args.push("--protocol", protocol);
  if (readyAcks !== undefined) args.push("--ready-acks", String(readyAcks));
  if (rampPerSecond !== undefined) args.push("--ramp", String(rampPerSecond));
  if (resume === true) args.push("--resume", "1");
  if (receiveBufferBytes !== undefined) args.push("--receive-buffer", String(receiveBufferBytes));
  return args;
}

/** Somebody who waits for an event of the process. */
interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/**
 * A process with many WebSocket clients, native or Node, that counts what they get. It ends with `stop`, and with the
 * process that started it.
 */
export class Receiver {
  readonly kind: Program["kind"];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #readyTimeoutMs: number;
  #readyWaiter: Waiter<void> | undefined;
  readonly #reportWaiters: Waiter<Report>[] = [];
  readonly #exited: Promise<void>;
  #stderr = "";
  #death: string | undefined;
  #isStopping = false;

  private constructor(program: Program, options: ReceiverOptions) {
    this.kind = program.kind;
    this.#readyTimeoutMs = options.readyTimeoutMs ?? READY_TIMEOUT_MS;
    this.#child = spawn(program.command, [...program.args, ...argumentsOf(options)], { stdio: "pipe" });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#line(line));
    this.#child.stderr.on("data", (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-KEPT_STDERR);
    });
    // Writing to a process that is gone; its end is told by `close`.
    this.#child.stdin.on("error", () => {});
    this.#exited = new Promise((resolve) => {
      this.#child.on("error", (error) => this.#died(error.message, resolve));
      this.#child.on("close", (code, signal) => this.#died(`ended with ${signal ?? code}`, resolve));
    });
  }

  /** Resolves when all clients are ready; rejects after 60 s, when one is lost before, or when the process ends. */
  static async start(options: ReceiverOptions): Promise<Receiver> {
    const receiver = new Receiver(await chooseProgram(), options);
    try {
      await receiver.#nextReady();
    } catch (error) {
      await receiver.stop();
      throw error;
    }
    return receiver;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Forgets counts and latencies; what each client holds of its streams stays. */
  reset(): void {
    this.#command("reset");
  }

  async report(): Promise<Report> {
    const answer = new Promise<Report>((resolve, reject) => this.#reportWaiters.push({ resolve, reject }));
    this.#command("report");
    return within(answer, REPORT_TIMEOUT_MS, async () => `the receiver did not report in ${REPORT_TIMEOUT_MS} ms`);
  }

  /** Has each ready client read so many bytes a second from now on, headers included; 0 is as fast as they come. */
  pace(bytesPerSecond: number): void {
    this.#command(`pace ${bytesPerSecond}`);
  }

  /** Aborts so many ready clients at once. */
  drop(clients: number): void {
    this.#command(`drop ${clients}`);
  }

  /** So many more clients; resolves when all are ready. */
  async connect(clients: number): Promise<void> {
    const ready = this.#nextReady();
    this.#command(`connect ${clients}`);
    await ready;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#death === undefined) this.#child.stdin.end("quit\n");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  #command(command: string): void {
    if (this.#death === undefined) this.#child.stdin.write(`${command}\n`);
    else this.#fail();
  }

  #nextReady(): Promise<void> {
    if (this.#readyWaiter !== undefined) throw new Error("one connect at a time");
    const ready = new Promise<void>((resolve, reject) => {
      this.#readyWaiter = { resolve, reject };
    });
    if (this.#death !== undefined) this.#fail();
    return within(ready, this.#readyTimeoutMs, async () => {
      this.#readyWaiter = undefined;
      return this.#whyNotReady(`in ${this.#readyTimeoutMs} ms`);
    });
  }

  async #whyNotReady(how: string): Promise<string> {
    const { clients, errors, closed } = await this.report();
    return `not all clients became ready ${how}: ${clients} are, ${JSON.stringify({ errors, closed })}`;
  }

  /** A client was lost before it was ready, and none comes in its place. */
  #lost(): void {
    const waiter = this.#readyWaiter;
    if (waiter === undefined) return;
    this.#readyWaiter = undefined;
    this.#whyNotReady("and never will").then((why) => waiter.reject(new Error(why)), waiter.reject);
  }

  #line(line: string): void {
    const event = JSON.parse(line) as { event: string };
    if (event.event === "ready") {
      this.#readyWaiter?.resolve();
      this.#readyWaiter = undefined;
    } else if (event.event === "lost") this.#lost();
    else if (event.event === "report") {
      const { event: _name, ...report } = event as { event: string } & Report;
      this.#reportWaiters.shift()?.resolve(report);
    }
  }

  #died(how: string, resolve: () => void): void {
    const said = this.#stderr.trim();
    this.#death ??= said === "" ? `the receiver ${how}` : `the receiver ${how}: ${said}`;
    // A signal, or what it said for itself, is worth telling even where nobody waits.
    if (!this.#isStopping && this.#readyWaiter === undefined && this.#reportWaiters.length === 0) {
      process.stderr.write(`${this.#death}\n`);
    }
    this.#fail();
    resolve();
  }

  #fail(): void {
    const error = new Error(this.#death);
    this.#readyWaiter?.reject(error);
    this.#readyWaiter = undefined;
    for (const { reject } of this.#reportWaiters.splice(0)) reject(error);
  }
}

/** Rejects with what `why` says when the promise takes too long. */
async function within<T>(promise: Promise<T>, timeoutMs: number, why: () => Promise<string>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => why().then((text) => reject(new Error(text)), reject), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
