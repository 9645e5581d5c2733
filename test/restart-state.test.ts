/** What a server has again after a restart on its journal: its window, its bars, its past by time; and what replays it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { JournalReader } from "../src/journal/reader.ts";
import { eventually } from "./gateway.ts";
import { type Any, Probe } from "./serve.ts";
import { freePort, ServerProcess } from "./server-process.ts";

const PROGRAM = fileURLToPath(new URL("../src/tickwire.mjs", import.meta.url));
const run = promisify(execFile);

interface Bar {
  partial: boolean;
  open_time: number;
  source: string;
  trade_count: number;
  indicators: Record<string, Record<string, number>>;
}

async function barsOf(port: number): Promise<Bar[]> {
  const query = "symbol=BTC/USDT&exchange=sim-a&timeframe=1s&limit=60";
  return (await (await fetch(`http://127.0.0.1:${port}/bars?${query}`)).json()) as Bar[];
}

const request = { channels: ["trades"], symbols: ["BTC/USDT"], exchanges: ["sim-a"] };

/** Runs a server until it has closed bars of its own, ends it, and starts it again. */
async function restarted(t: TestContext, signal: "SIGKILL" | "SIGTERM") {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-state-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const port = freePort();
  const started = new ServerProcess(["serve", "--port", String(port), "--journal", directory]);
  await started.listening();
  const url = `ws://127.0.0.1:${port}`;
  let before: Bar[] = [];
  const own = () => before.filter(({ source, partial }) => source === "trades" && !partial);
  while (own().length < 3) {
    await sleep(200);
    before = await barsOf(port);
  }
  // What is published is written within 75 ms, and a crash of the process loses no more.
  await sleep(300);
  await started.end(signal);
  const server = new ServerProcess(["serve", "--port", String(port), "--journal", directory]);
  await server.listening();
  return { directory, server, port, url, before: own() };
}

/** Everything that a past brings, up to its end and 20 live frames. */
async function pastOf(url: string, path: string, subscribe: object | undefined): Promise<Any[]> {
  const probe = await Probe.open(`${url}${path}`);
  if (subscribe !== undefined) await probe.subscribe("past", subscribe);
  await probe.until(() => probe.messages("replay_end").length > 0, "the end of the replay");
  const { length } = probe.log;
  await probe.until(() => probe.log.length > length + 20, "live frames");
  await probe.close();
  return probe.log;
}

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`${signal}: bars, indicators and the past are there again`, async (t) => {
    const { server, port, url, before, directory } = await restarted(t, signal);
    const after = await barsOf(port);
    for (const { indicators, ...bar } of before) {
      const { indicators: again, ...values } = after.find(({ open_time }) => open_time === bar.open_time) as Bar;
      assert.deepEqual(values, bar);
      assert.ok(Object.keys(again).length > 0);
    }
    const stream = await pastOf(url, "/stream", { ...request, from: "now-1h" });
    const stored = Array.from(new JournalReader(directory).frames(), ({ epoch }) => epoch);
    const epochs = new Set(stored);
    assert.equal(epochs.size, signal === "SIGTERM" ? 1 : 2);

    const trades = stream.filter(({ type }) => type === "trade");
    const gaps = stream.filter(({ type }) => type === "gap");
    assert.deepEqual(new Set(trades.map(({ epoch }) => epoch)), epochs);
    let held = { epoch: trades[0]?.epoch, seq: 0 };
    for (const { epoch, seq } of trades as { epoch?: unknown; seq?: unknown }[]) {
      if (epoch !== held.epoch) held = { epoch, seq: 0 };
      // The states of the stream have sequences too.
      assert.ok((seq as number) > held.seq, "in order, none twice");
      held.seq = seq as number;
    }
    if (signal === "SIGTERM") assert.deepEqual(gaps, []);
    else {
      assert.deepEqual(
        gaps.map(({ reason, to, epoch }) => [reason, to, epoch]),
        [["restart", null, stored[0]]],
      );
      const last = trades.findLastIndex(({ epoch }) => epoch === stored[0]);
      assert.ok(
        stream.indexOf(gaps[0] as Any) > stream.indexOf(trades[last] as Any),
        "the gap follows what is durable",
      );
    }

    const raw = await pastOf(url, "/raw?from=now-1h&heartbeat_ms=60000", undefined);
    const begun = raw.findIndex(({ type }) => type === "replay_begin");
    const frames = raw.slice(begun).filter((frame) => "position" in frame && "seq" in frame && !isDerived(frame));
    let at = { epoch: stored[0], position: 0 };
    for (const { epoch, position } of frames as unknown as { epoch: number; position: number }[]) {
      if (epoch !== at.epoch) at = { epoch, position: 0 };
      assert.equal(position, at.position + 1, "every frame, in order");
      at.position = position;
    }
    assert.deepEqual(new Set(frames.map(({ epoch }) => epoch)), epochs);
    assert.equal(await server.end("SIGTERM"), 0);
  });
}

function isDerived({ flags }: Any): boolean {
  return (flags as string[]).includes("derived");
}

test("a journal of two starts is replayed as two: clients are sent away between them, and come back", async (t) => {
  const { server, directory } = await restarted(t, "SIGKILL");
  await sleep(500);
  await server.end("SIGTERM");
  const port = freePort();
  const flags = ["--port", String(port), "--speed", "max", "--paced"];
  const replay = new ServerProcess(["replay", directory, ...flags]);
  await replay.listening();
  const epochs: number[] = [];
  let frames = 0;
  const visit = async () => {
    const probe = await Probe.open(`ws://127.0.0.1:${port}/stream`);
    await probe.until(() => probe.messages("hello").length > 0, "the hello");
    epochs.push(probe.messages("hello")[0]?.epoch as number);
    assert.equal(probe.messages("hello")[0]?.mode, "replay");
    probe.send({ type: "subscribe", id: 1, channels: ["trades"], symbols: ["*"] });
    const closed = await probe.gone();
    assert.equal(closed.code, 1001);
    assert.ok(probe.messages("server_shutdown").length === 1);
    frames += probe.frames.filter(({ type }) => type === "trade").length;
  };
  await visit();
  await eventually(() => true, "the next epoch");
  for (let attempt = 0; epochs.length < 2 && attempt < 100; attempt += 1) await visit().catch(() => sleep(20));
  assert.equal(await replay.ended(), 0);
  const trades = Array.from(new JournalReader(directory).frames(), ({ epoch, stream }) => [epoch, stream & 31]);
  assert.deepEqual(epochs, [...new Set(trades.map(([epoch]) => epoch))]);
  t.diagnostic(`${frames} trades in ${epochs.length} epochs`);
  assert.ok(frames > 50);
});

test("dump writes what the window and the journal hold, and what is wrong is one line", async (t) => {
  const { server, port, directory } = await restarted(t, "SIGTERM");
  const url = `ws://127.0.0.1:${port}`;
  const { stdout, stderr } = await run(process.execPath, [PROGRAM, "dump", "--last", "1h", "--url", url], {
    maxBuffer: 2 ** 30,
  });
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Any);
  const positions = lines.filter((line) => "seq" in line && !isDerived(line)).map(({ position }) => position as number);
  assert.match(stderr, /^\d+ frames, 0 gaps/);
  assert.equal(lines[positions.length === 0 ? 0 : lines.length - 1]?.position, positions.at(-1));
  assert.deepEqual(
    positions,
    Array.from(positions, (_, index) => index + 1),
  );
  await server.end("SIGTERM");
  const wrong: [args: string[], says: RegExp][] = [
    [["dump", "--last", "soon"], /--last is a time such as 5m, not "soon"/],
    [["dump", "--url", "http://x"], /--url is a WebSocket's/],
    [["dump", "--url", url], /dump: .*ECONNREFUSED/],
    [["dump", "--all"], /dump: Unknown option '--all'/],
    [["replay"], /name the folder first/],
    [["replay", "/no/such/folder"], /replay \/no\/such\/folder: ENOENT/],
    [["replay", directory, "--from", "yesterday"], /--from is a time such as/],
    [["replay", directory, "--from", "2026-01-02", "--to", "2026-01-01"], /--to lies before --from/],
    [["replay", directory, "--to", "2001-01-01"], /it has nothing of what was asked for/],
    [["replay", directory, "--epoch", "7"], /it has nothing of what was asked for/],
    [["replay", directory, "--epoch", "x"], /--epoch is a number/],
    [["replay", directory, "--speed", "0"], /--speed/],
    [["serve", "--from", "2026-01-01"], /--from is for a replay/],
  ];
  for (const [args, says] of wrong) {
    const failed = await run(process.execPath, [PROGRAM, ...args]).then(
      () => ({ code: 0, stderr: "" }),
      (error: { code: number; stderr: string }) => error,
    );
    assert.equal(failed.code, 2, args.join(" "));
    assert.match(failed.stderr, says);
    assert.equal(failed.stderr.trim().split("\n").length, 1, failed.stderr);
  }
});
