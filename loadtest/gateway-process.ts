import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LossError } from "./report.ts";
import type { SourceInfo } from "./source.ts";

/** From the sources in loadtest/ as well as from the bundle in build/. */
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const bundle = join(root, "build", "cli.mjs");
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 8_000;
const KEPT_STDERR = 2_000;
/** No stream is called quiet, so that every frame of a stream is an event of the source. */
const LOAD_FLAGS = ["--port", "0", "--log-level", "warn", "--quiet-ms", "3600000", "--stale-ms", "3600000"];

/** Builds the gateway where its bundle is missing or older than a source: a bundle in use is left alone. */
function build(): void {
  const files = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true });
  const newest = Math.max(
    ...files.filter((entry) => entry.isFile()).map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  );
  if (existsSync(bundle) && statSync(bundle).mtimeMs >= newest) return;
  execFileSync("npm", ["run", "-s", "build"], { cwd: root, stdio: "inherit" });
}

/** The gateway as it is shipped, in a process of its own, fed by a source. */
export class GatewayProcess {
  readonly #process: ChildProcess;
  #stderr = "";
  #ended: string | undefined;
  #port = 0;
  /** Without its parent nobody would ever end it. */
  readonly #orphaned: () => void;

  private constructor(process: ChildProcess) {
    this.#process = process;
    process.stderr?.on("data", (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-KEPT_STDERR);
    });
    this.#orphaned = () => process.kill("SIGKILL");
    globalThis.process.once("exit", this.#orphaned);
    process.once("exit", (code, signal) => {
      globalThis.process.removeListener("exit", this.#orphaned);
      const said = this.#stderr.trim();
      this.#ended = `the gateway ended with ${signal ?? code}${said === "" ? "" : `: ${said}`}`;
    });
  }

  /** Resolves when it listens; throws what it said when it could not. */
  static async start(source: SourceInfo, flags: readonly string[] = []): Promise<GatewayProcess> {
    build();
    const args = [join(root, "src", "tickwire.mjs"), "serve", "--feeds", "binance", ...LOAD_FLAGS, ...flags];
    const gateway = new GatewayProcess(
      spawn(process.execPath, args, {
        cwd: root,
        env: { ...process.env, BINANCE_WS_URL: source.ws, BINANCE_REST_URL: source.rest },
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
    await gateway.#listening();
    await gateway.#listed();
    return gateway;
  }

  #listening(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the gateway did not listen in time")), START_TIMEOUT_MS);
      const stdout = this.#process.stdout as NodeJS.ReadableStream;
      createInterface({ input: stdout }).on("line", (line) => {
        const port = / on ws:\/\/[^/]*:(\d+)\/stream$/.exec(line)?.[1];
        if (port === undefined) return;
        this.#port = Number(port);
        clearTimeout(timer);
        resolve();
      });
      this.#process.once("exit", () => {
        clearTimeout(timer);
        reject(new Error(this.#ended));
      });
    });
  }

  /** Waits until the source's instruments are known: before, a subscription by name is refused. */
  async #listed(): Promise<void> {
    const until = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const text = await this.#get("/ready?verbose");
      const { feeds } = JSON.parse(text) as { feeds: { instruments_loaded: boolean }[] };
      if (feeds.every(({ instruments_loaded }) => instruments_loaded)) return;
      if (Date.now() > until) throw new Error(`the gateway did not take the source's list in time: ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** How it ended, when it did so by itself. */
  get ended(): string | undefined {
    return this.#ended;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** ws://host:port, without a path. */
  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  async #get(path: string): Promise<string> {
    if (this.#ended !== undefined) throw new LossError(this.#ended);
    const answer = await fetch(`http://127.0.0.1:${this.#port}${path}`);
    return answer.text();
  }

  /** Every metric by its name, with its labels as they are written. */
  async metrics(): Promise<Map<string, number>> {
    const lines = (await this.#get("/metrics")).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => {
        const split = line.lastIndexOf(" ");
        return [line.slice(0, split), Number(line.slice(split + 1))];
      }),
    );
  }

  async json(): Promise<{ connections: number; latency_us: Record<string, number>; [name: string]: unknown }> {
    return JSON.parse(await this.#get("/metrics.json"));
  }

  /** What was lost inside or before the gateway, in words; nothing when all is well. */
  async losses(): Promise<string[]> {
    const metrics = await this.metrics();
    const names: Record<string, string> = {
      tickwire_publish_lost_total: "frames overwritten before they were published",
      tickwire_upstream_gaps_total: "holes in the source's trade ids",
      tickwire_trades_duplicate_total: "trades taken for duplicates",
      tickwire_book_breaches_total: "books found wrong",
    };
    return Object.entries(names).flatMap(([name, what]) => {
      const count = metrics.get(name);
      // A metric that has another name now would be a check that cannot fail.
      if (count === undefined) throw new Error(`the gateway has no metric ${name}`);
      return count === 0 ? [] : [`gateway: ${count} ${what}`];
    });
  }

  async stop(): Promise<void> {
    if (this.#ended !== undefined) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }
}
