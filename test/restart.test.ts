/** The server is killed at random points and started again on its journal: what a client has in the end, and what it knows it lacks. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { JournalReader } from "../src/journal/reader.ts";
import { verify } from "../src/journal/verify.ts";
import { Random } from "../src/std/random.ts";
import { FrameReference } from "./client-record.ts";
import { eventually } from "./gateway.ts";
import { ReturningClient } from "./returning-client.ts";

const PROGRAM = fileURLToPath(new URL("../src/tickwire.mjs", import.meta.url));
const KILLS = 10;

/** A server in a process of its own, on a simulated market and a journal. */
class Server {
  readonly process: ChildProcess;
  #said = "";

  constructor(directory: string, port: number) {
    const flags = ["--port", String(port), "--journal", directory, "--log-level", "warn"];
    this.process = spawn(process.execPath, [PROGRAM, "serve", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
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
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`${signal}: a client that resumes has every durable frame, and a gap names the rest`, async (t) => {
    const seed = 20261124;
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const directory = mkdtempSync(join(tmpdir(), "tickwire-restart-"));
    // Below the ports that the system gives out: a client that tries one of those again and again meets itself there.
    const port = 20_000 + (process.pid % 5_000) + (signal === "SIGKILL" ? 0 : 5_000);
    let server = new Server(directory, port);
    await server.listening();
    const request = {
      channels: ["trades", "orderbook", "quotes", "bars"],
      timeframes: ["1s"],
      bars: "closed",
      depth: "full",
    };
    const client = new ReturningClient(`ws://127.0.0.1:${port}`, "flatbuffers", { ...request, symbols: ["BTC/USDT"] });
    const { record } = client;
    const epochs = new Set<number>();
    for (let kill = 0; kill < (signal === "SIGKILL" ? KILLS : 3); kill += 1) {
      const { frames } = record;
      await eventually(() => record.frames > frames + 20, "frames of this start");
      await sleep(random.integer(0, 800));
      epochs.add(client.epoch);
      const code = await server.end(signal);
      if (signal === "SIGTERM") assert.equal(code, 0);
      server = new Server(directory, port);
      await server.listening();
    }
    const { frames } = record;
    await eventually(() => record.frames > frames + 20, "frames of the last start");
    epochs.add(client.epoch);
    assert.equal(await server.end("SIGTERM"), 0);
    await sleep(50);
    client.stop();

    const reference = new FrameReference();
    for (const { bytes } of new JournalReader(directory).frames()) reference.add(bytes);
    const report = verify(directory);
    const received = record.streams.reduce((sum, stream) => sum + stream.received.count, 0);
    const gaps = record.streams.flatMap((stream) => stream.gaps);
    t.diagnostic(
      `${client.connections} connections, ${epochs.size} epochs, ${received} frames received, ${gaps.length} gaps`,
    );
    t.diagnostic(`journal: ${report.files.length} files, ${report.problems.length} problems`);
    // What was sent and died before it was written, the client has and the journal has not.
    const findings = [...record.findings, ...record.compareWith(reference)].filter(
      ({ kind, epoch, stream, from }) =>
        !(kind === "invented" && from > reference.last(epoch as number, stream as number)),
    );
    // The connection that ended with the last start was not resumed.
    const last = findings.filter(({ kind, epoch }) => kind === "missing" && epoch === client.epoch);
    assert.deepEqual(
      findings.filter((finding) => !last.includes(finding)),
      [],
    );
    assert.equal(record.duplicates, 0);
    if (signal === "SIGKILL") assert.ok(gaps.length > 0 && gaps.every(({ reason }) => reason === "restart"));
    else assert.deepEqual(gaps, []);
    // After a clean stop the epoch goes on.
    assert.equal(epochs.size, signal === "SIGKILL" ? KILLS + 1 : 1);
    rmSync(directory, { recursive: true });
  });
}
