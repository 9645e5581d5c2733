/** The server is killed at random points and started again on its journal: what a client has in the end, and what it knows it lacks. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { JournalReader } from "../src/journal/reader.ts";
import { verify } from "../src/journal/verify.ts";
import { Random } from "../src/std/random.ts";
import { FrameReference } from "./client-record.ts";
import { eventually } from "./gateway.ts";
import { ReturningClient } from "./returning-client.ts";
import { freePort, ServerProcess } from "./server-process.ts";

const KILLS = 10;

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`${signal}: a client that resumes has every durable frame, and a gap names the rest`, async (t) => {
    const seed = 20261124;
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const directory = mkdtempSync(join(tmpdir(), "tickwire-restart-"));
    const port = freePort();
    let server = new ServerProcess(["serve", "--port", String(port), "--journal", directory]);
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
      server = new ServerProcess(["serve", "--port", String(port), "--journal", directory]);
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
