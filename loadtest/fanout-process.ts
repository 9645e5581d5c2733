import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { writeFrameFile } from "./frame-file.ts";
import { nativeProgram } from "./receiver-programs.ts";

const ANSWER_TIMEOUT_MS = 10_000;

interface Line {
  event: string;
  port?: number;
  /** Frames published since the process began. */
  frames?: number;
}

/** The native fan-out server, which plays finished frames of the shipped engine from a file, round and round. */
export class FanoutProcess {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #folder: string;
  #heard: ((line: Line) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  #framesAtStart = 0;
  port = 0;

  private constructor(process: ChildProcessWithoutNullStreams, folder: string) {
    this.#process = process;
    this.#folder = folder;
    createInterface({ input: process.stdout }).on("line", (line) => this.#heard?.(JSON.parse(line) as Line));
    process.stdin.on("error", () => {});
    process.once("close", (code) => this.#failed?.(new Error(`the native fan-out server ended with ${code}`)));
    process.once("error", (error) => this.#failed?.(error));
  }

  /** Builds it where needed; resolves when it listens. */
  static async start(): Promise<FanoutProcess> {
    const { command, args } = await nativeProgram("fanout");
    const folder = mkdtempSync(join(tmpdir(), "tickwire-frames-"));
    const file = join(folder, "trades.frames");
    writeFrameFile(file);
    const fanout = new FanoutProcess(spawn(command, [...args, "--frames", file], { stdio: "pipe" }), folder);
    fanout.port = (await fanout.#next()).port as number;
    return fanout;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  #next(): Promise<Line> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error("the native fan-out server did not answer in time")),
        ANSWER_TIMEOUT_MS,
      );
      this.#failed = (error) => {
        clearTimeout(timer);
        reject(error);
      };
      this.#heard = (line) => {
        clearTimeout(timer);
        this.#heard = undefined;
        this.#failed = undefined;
        resolve(line);
      };
    });
  }

  async #frames(): Promise<number> {
    const answer = this.#next();
    this.#process.stdin.write("stats\n");
    return (await answer).frames as number;
  }

  /** Publishes as fast as its clients read. */
  async publish(): Promise<void> {
    this.#framesAtStart = await this.#frames();
    this.#process.stdin.write("start\n");
  }

  /** Stops publishing; resolves to the frames published since `publish`. */
  async pause(): Promise<number> {
    this.#process.stdin.write("stop\n");
    return (await this.#frames()) - this.#framesAtStart;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = new Promise((resolve) => this.#process.once("close", resolve));
      this.#process.stdin.end("quit\n");
      const timer = setTimeout(() => this.#process.kill("SIGKILL"), 2000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
