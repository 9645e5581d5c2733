/** Resume and replay of what the ring has not any more, from the journal. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { JournalReader } from "../src/journal/reader.ts";
import { Random } from "../src/std/random.ts";
import { eventually } from "./gateway.ts";
import type { Any, Served, Venue } from "./serve.ts";
import { leave, Probe, serve, settled, spot } from "./serve.ts";

const MIB = 2 ** 20;
const SELECTION = { channels: ["trades", "quotes", "orderbook"], depth: "full", symbols: ["A0/USDT", "A1/USDT"] };

async function market() {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-older-"));
  const served = await serve({ graceMs: 60_000, ringBytes: 3 * MIB, journal: directory });
  const [venue] = served.venues as [Venue, Venue];
  const ids = venue.list(spot(3));
  venue.up();
  return { directory, served, venue, ids };
}

/** Events until the ring has gone round, no faster than the journal can follow. */
async function lap(served: Served, venue: Venue, ids: readonly number[], random: Random): Promise<void> {
  const { ticks, slow } = served.engine.frames.log;
  const { head } = ticks;
  while (ticks.tail <= head) {
    for (let event = 0; event < 50; event += 1) {
      venue.everything(ids[random.integer(0, ids.length - 1)] as number, 1 + random.next());
    }
    served.turn.end();
    await new Promise(setImmediate);
    const lag = () => (served.server.services.journal()?.lag ?? 0) < (ticks.head - ticks.tail + slow.head) / 4;
    await eventually(lag, "the journal to follow");
  }
}

/** A client that resumes, or asks for the past, and all that it is sent until it is level. */
async function past(served: Served, request: object): Promise<Probe> {
  const probe = await Probe.open(`${served.url}/stream?time_unit=us`, { protocols: ["tickwire.v1.flatbuffers"] });
  await probe.subscribe("past", { ...SELECTION, ...request });
  await probe.until(() => probe.messages("replay_end").length === 1, "the end of the replay");
  return probe;
}

test("a client resumes from before the window, whole, and goes live", async (t) => {
  const seed = 31;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { directory, served, venue, ids } = await market();
  const keeper = await Probe.open(`${served.url}/stream`);
  await keeper.subscribe("all", SELECTION);
  await settled(served);
  const { log } = served.engine.frames;
  const position = log.position;
  for (let round = 0; round < 3; round += 1) await lap(served, venue, ids, random);
  assert.equal(log.ticks.covers(position), false);
  const resume = { epoch: log.epoch, position };
  const probe = await past(served, { resume });
  assert.equal((probe.messages("replay_begin")[0] as Any).truncated, false);
  await lap(served, venue, ids, random);
  await probe.level();
  assert.deepEqual(probe.messages("gap"), []);
  const frames = probe.frames.filter(({ flags }) => !flags.includes("derived"));
  const held = new Map<number, number>();
  for (const { stream, seq } of frames) {
    assert.equal(seq, (held.get(stream) ?? seq - 1) + 1, "none is missing, none comes twice");
    held.set(stream, seq);
  }
  assert.equal(held.size, 6);
  for (const [stream, seq] of held) assert.equal(seq, served.engine.frames.sequence(stream));
  await leave(served, probe, keeper);
  await served.stop();
  const expected = new Set<string>();
  for (const frame of new JournalReader(directory).frames({ epoch: log.epoch, fromPosition: position + 1 })) {
    if (held.has(frame.stream)) expected.add(`${frame.stream}:${frame.sequence}`);
  }
  const got = new Set(frames.map(({ stream, seq }) => `${stream}:${seq}`));
  assert.deepEqual(
    [...expected].filter((name) => !got.has(name)),
    [],
  );
  rmSync(directory, { recursive: true });
});

test("a time before the window is served from the journal; before the journal, it is said where it begins", async (t) => {
  const seed = 32;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { directory, served, venue, ids } = await market();
  const keeper = await Probe.open(`${served.url}/stream?time_unit=us`);
  await keeper.subscribe("all", SELECTION);
  await settled(served);
  await lap(served, venue, ids, random);
  await keeper.level();
  const [early] = keeper.frames.filter(({ type }) => type === "trade").slice(500) as unknown as [
    { ts_publish: number; position: number },
  ];
  await lap(served, venue, ids, random);
  assert.equal(served.engine.frames.log.ticks.covers(early.position), false);
  const at = new Date(Math.ceil(early.ts_publish / 1000)).toISOString();
  const probe = await past(served, { from: at, channels: ["trades", "quotes"] });
  const begin = probe.messages("replay_begin")[0] as Any;
  assert.equal(begin.truncated, false);
  const since = Date.parse(at) * 1000;
  await leave(served, keeper);
  const frames = probe.frames.filter(({ flags }) => !flags.includes("derived"));
  assert.ok(frames.every(({ ts_publish }) => ts_publish >= since));
  assert.deepEqual(probe.messages("gap"), []);
  const whole = await past(served, { from: "now-1d", channels: ["trades"] });
  assert.equal((whole.messages("replay_begin")[0] as Any).truncated, true);
  const trades = whole.frames.filter(({ type }) => type === "trade");
  const streams = new Set(trades.map(({ stream }) => stream));
  const sum = [...streams].reduce((all, stream) => all + served.engine.frames.sequence(stream), 0);
  // Two changes of state, which are frames too, begin each stream.
  assert.equal(trades.length, sum - 2 * streams.size);
  const counted = frames.filter(({ stream }) => streams.has(stream)).length;
  assert.equal(counted, trades.filter(({ ts_publish }) => ts_publish >= since).length);
  await leave(served, probe, whole);
  await served.stop();
  rmSync(directory, { recursive: true });
});

test("replays that are asked for while the journal is read wait for each other, and none loses anything", async (t) => {
  const seed = 34;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { directory, served, venue, ids } = await market();
  const keeper = await Probe.open(`${served.url}/stream`);
  await keeper.subscribe("all", SELECTION);
  await settled(served);
  const { log } = served.engine.frames;
  const { position, epoch } = log;
  for (let round = 0; round < 2; round += 1) await lap(served, venue, ids, random);
  const probe = await Probe.open(`${served.url}/stream`, { protocols: ["tickwire.v1.flatbuffers"] });
  const ask = (id: string, channel: string, symbol: string, past: object) =>
    probe.send({ type: "subscribe", id, channels: [channel], depth: "full", symbols: [symbol], ...past });
  const resume = { resume: { epoch, position } };
  ask("a", "trades", "A0/USDT", { from: "now-1h" });
  ask("b", "trades", "A1/USDT", resume);
  ask("c", "quotes", "A0/USDT", resume);
  await new Promise((resolve) => setTimeout(resolve, 20));
  ask("d", "quotes", "A1/USDT", resume);
  ask("e", "orderbook", "A1/USDT", resume);
  await probe.until(() => probe.messages("replay_end").length === 5, "all replays to end");
  await lap(served, venue, ids, random);
  await probe.level();
  assert.deepEqual(probe.messages("gap"), []);
  const held = new Map<number, number>();
  for (const { stream, seq, flags } of probe.frames) {
    if (flags.includes("derived")) continue;
    assert.equal(seq, (held.get(stream) ?? seq - 1) + 1, "none is missing, none comes twice");
    held.set(stream, seq);
  }
  assert.equal(held.size, 5);
  for (const [stream, seq] of held) assert.equal(seq, served.engine.frames.sequence(stream));
  for (const frame of new JournalReader(directory).frames({ epoch, fromPosition: position + 1 })) {
    if (!held.has(frame.stream)) continue;
    const [first] = probe.frames.filter(({ stream }) => stream === frame.stream);
    assert.ok((first?.seq as number) <= frame.sequence, "from the beginning on");
    held.delete(frame.stream);
  }
  await leave(served, probe, keeper);
  await served.stop();
  rmSync(directory, { recursive: true });
});

test("what the journal has lost as well is a gap", async (t) => {
  const seed = 33;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { directory, served, venue, ids } = await market();
  const keeper = await Probe.open(`${served.url}/stream`);
  await keeper.subscribe("all", SELECTION);
  await settled(served);
  const { log } = served.engine.frames;
  const { position } = log;
  const held = Object.fromEntries(
    ids
      .slice(0, 2)
      .flatMap((id) => [1, 2, 3].map((slot) => [id * 32 + slot, served.engine.frames.sequence(id * 32 + slot)])),
  );
  for (let round = 0; round < 2; round += 1) await lap(served, venue, ids, random);
  for (const name of readdirSync(directory)) if (name.endsWith(".twj")) writeFileSync(join(directory, name), "");
  for (const known of [undefined, held]) {
    const resume = { epoch: log.epoch, position, ...(known === undefined ? {} : { held: known }) };
    const probe = await past(served, { resume });
    const gaps = probe.messages("gap");
    assert.equal(gaps.length, 6);
    for (const { stream, from, reason } of gaps) {
      assert.equal(reason, "window");
      assert.equal(from, known === undefined ? null : (held[stream as number] as number) + 1);
    }
    await leave(served, probe);
  }
  await leave(served, keeper);
  await served.stop();
  rmSync(directory, { recursive: true });
});
