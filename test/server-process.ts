import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { eventually } from "./gateway.ts";

const PROGRAM = fileURLToPath(new URL("../src/tickwire.mjs", import.meta.url));

const running = new Set<ChildProcess>();
// A test that fails leaves its server behind.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

let ports = 0;

/**
 * A port for a server that is stopped and started again. It is below those that the system gives out: a client that
 * tries one of those again and again meets itself there.
 */
export function freePort(): number {
  ports += 1;
  return 15_000 + ((process.pid * 8 + ports) % 15_000);
}

/** The command line in a process of its own, which serves. */
export class ServerProcess {
  readonly process: ChildProcess;
  #said = "";

  constructor(args: readonly string[]) {
    const [command, ...flags] = args;
    const all = [PROGRAM, command as string, ...flags, "--log-level", "warn"];
    this.process = spawn(process.execPath, all, { stdio: ["ignore", "pipe", "inherit"] });
    running.add(this.process);
    this.process.once("exit", () => running.delete(this.process));
    this.process.stdout?.on("data", (data: Buffer) => {
      this.#said += data.toString();
    });
  }

  async listening(): Promise<void> {
    await eventually(() => this.#said.includes("/stream") || this.process.exitCode !== null, "the server to listen");
    assert.equal(this.process.exitCode, null, "the server starts");
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    const exited = once(this.process, "exit");
    this.process.kill(signal);
    await exited;
    return this.process.exitCode;
  }

  /** Waits until it ends by itself. */
  async ended(): Promise<number | null> {
    await eventually(() => this.process.exitCode !== null, "the server to end");
    return this.process.exitCode;
  }
}
