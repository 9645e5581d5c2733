/**
 * A client behind a proxy that cuts, stalls, half-opens and throttles at random, and that comes back each time with
 * `resume`: what it has in the end is what the ring had, frame for frame, or a gap names it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { Random } from "../src/std/random.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import { FrameReference } from "./client-record.ts";
import { FAULT_KINDS, FaultProxy } from "./fault-proxy.ts";
import { eventually } from "./gateway.ts";
import { ReturningClient } from "./returning-client.ts";
import { type Served, serve, spot, type Venue } from "./serve.ts";

/** The whole run, as its figures are reported, is `TICKWIRE_FAULT_FRAMES=1000000 TICKWIRE_FAULTS=200`. */
const FRAMES = Number(process.env.TICKWIRE_FAULT_FRAMES ?? 100_000);
const FAULTS = Number(process.env.TICKWIRE_FAULTS ?? 40);
const MIB = 2 ** 20;
const SYMBOLS = 16;
const CHANNELS = ["trades", "orderbook", "quotes", "funding", "liquidations"];

/** Follows the ring into a reference, which outlives it. */
class Follower {
  readonly reference = new FrameReference();
  frames = 0;
  readonly #cursor: LogCursor;

  constructor({ engine }: Served) {
    this.#cursor = new LogCursor(engine.frames.log);
    this.#cursor.seek(0);
  }

  read(): void {
    while (this.#cursor.next()) {
      const { ring, record } = this.#cursor;
      const at = ring.placeOf(record);
      this.reference.add(ring.memory.u8.subarray(at, at + ring.lengthOf(record)));
      this.frames += 1;
    }
    assert.equal(this.#cursor.lost, 0, "the reference has everything");
  }
}

/** Runs until there were so many frames and faults, then heals, and compares. */
async function run(seed: number, encoding: "flatbuffers" | "json", ringBytes: number, frames: number, faults: number) {
  const random = new Random(seed);
  const served = await serve({ graceMs: 600_000, ringBytes, limits: { queueBytes: MIB / 2 } });
  const [venue] = served.venues as [Venue, Venue];
  const ids = venue.list([...spot(SYMBOLS), ...spot(["P/USDT:USDT"])]);
  venue.up();
  const proxy = await FaultProxy.start({ target: served.port, random });
  const request = { channels: CHANNELS, symbols: ["*"], depth: "full", max_lag_ms: 600_000 };
  const keeper = new WebSocket(`${served.url}/stream`);
  await new Promise((resolve) => keeper.once("open", resolve));
  const symbols = [...ids.slice(0, SYMBOLS).map((_, index) => `A${index}/USDT`), "P/USDT:USDT"];
  keeper.send(JSON.stringify({ type: "subscribe", ...request, symbols, conflate_ms: undefined }));
  keeper.on("message", () => {});
  const client = new ReturningClient(`ws://127.0.0.1:${proxy.port}`, encoding, request);
  const follower = new Follower(served);
  const { record } = client;
  await eventually(() => record.streams.length >= 3 * SYMBOLS + 2, "the client to have its streams");
  const stop = proxy.disturbEvery([5, 60], FAULT_KINDS, 300);
  for (let event = 1; follower.frames < frames || proxy.deeds.length < faults; event += 1) {
    venue.everything(ids[random.integer(0, ids.length - 1)] as number, event);
    if (event % 50 !== 0) continue;
    served.turn.now();
    served.turn.end();
    follower.read();
    await new Promise(setImmediate);
  }
  stop();
  proxy.heal();
  served.turn.now();
  served.turn.end();
  follower.read();
  await eventually(() => record.isLevelWith(follower.reference), "the client to be level");
  client.stop();
  keeper.terminate();
  const findings = [...record.findings, ...record.compareWith(follower.reference)];
  const gaps = record.streams.flatMap((stream) => stream.gaps);
  const { counters, publisher } = served.server.services;
  await proxy.close();
  await eventually(() => counters.connectionsClosed === counters.connectionsOpened, "all connections to be closed");
  await eventually(() => served.server.services.backlog.size === 0, "everything to be given back");
  assert.equal(publisher.topics.memberships, 0);
  await served.stop();
  const received = record.streams.reduce((sum, stream) => sum + stream.received.count, 0);
  return { client, record, findings, gaps, counters, received, frames: follower.frames, faults: proxy.deeds.length };
}

for (const encoding of ["flatbuffers", "json"] as const) {
  test(`${encoding}: whatever the network did, every frame came once, and none was missed`, async (t) => {
    const seed = 20261122;
    const done = await run(seed, encoding, 640 * MIB, FRAMES, FAULTS);
    const { record, client, received, frames, faults } = done;
    t.diagnostic(
      `seed ${seed}: ${frames} frames on ${record.streams.length} streams, ${received} received, ${faults} faults`,
    );
    t.diagnostic(
      `${client.connections} connections, ${client.resumed} resumes, ${done.counters.fellBehind} times behind`,
    );
    assert.deepEqual(done.findings, []);
    assert.deepEqual(done.gaps, []);
    assert.equal(record.duplicates, 0);
    assert.ok(record.streams.length >= 50);
    assert.ok(client.resumed > FAULTS / 10);
  });
}

test("with a window too small for it, gaps name exactly what is missing", async (t) => {
  const seed = 20261123;
  const done = await run(seed, "flatbuffers", 6 * MIB, FRAMES, FAULTS);
  const { record, client, received, frames, faults, gaps } = done;
  t.diagnostic(
    `seed ${seed}: ${frames} frames, ${received} received, ${faults} faults, ${client.connections} connections`,
  );
  t.diagnostic(`${gaps.length} gaps: ${JSON.stringify(Object.fromEntries(done.counters.gaps))}`);
  assert.deepEqual(done.findings, []);
  assert.equal(record.duplicates, 0);
  assert.ok(gaps.length > 0);
});
