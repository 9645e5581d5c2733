/** Clients that read too slowly: what they are owed, by the kind of stream, and how it adds up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../src/std/random.ts";
import type { BookFrame, Frame } from "./gateway.ts";
import { eventually, HeldBook } from "./gateway.ts";
import type { Any, Served, ServeOptions, Venue } from "./serve.ts";
import { leave, Probe, serve, settled, spot } from "./serve.ts";

const KIB = 1024;
const FLATBUFFERS = { protocols: ["tickwire.v1.flatbuffers"] };
/** Every form that there is. */
const LOSSLESS = { channels: ["trades", "orderbook"], depth: "full" };
const CONFLATED = { channels: ["quotes", "ticker", "bars", "indicators"], timeframes: ["1s"] };

interface Gap {
  stream: number;
  from: number | null;
  to: number;
  reason: string;
}

const gapsOf = (probe: Probe) => probe.messages("gap") as unknown as Gap[];
const endOfTurn = () => new Promise((resolve) => setImmediate(resolve));

async function market(options: ServeOptions = {}, symbols = 2) {
  const served = await serve({ graceMs: 60_000, ...options });
  const [venue] = served.venues as [Venue, Venue];
  const ids = venue.list(spot(symbols));
  venue.up();
  return { served, venue, ids };
}

/** Events of all channels, some each turn, until something holds. */
async function flood(served: Served, venue: Venue, ids: readonly number[], random: Random, holds: () => boolean) {
  for (let turn = 0; !holds(); turn += 1) {
    assert.ok(turn < 20_000, "what is waited for comes to hold");
    for (let event = 0; event < 100; event += 1) {
      venue.everything(ids[random.integer(0, ids.length - 1)] as number, 1 + turn * 100 + event + random.next());
    }
    served.turn.end();
    await endOfTurn();
  }
}

/** Until a client that reads again is live. */
async function caughtUp(served: Served, probe: Probe): Promise<void> {
  await eventually(() => served.server.services.backlog.size === 0, "the client to be level");
  await settled(served);
  await probe.level();
}

/** Judges a client's frames as design has it: frames and gaps leave no hole, and no ring frame comes twice. */
function account(
  probe: Probe,
  stream: number,
  from: number,
): { received: number; missing: number; covered: number; held: number } {
  let held = from;
  let received = 0;
  let missing = 0;
  let covered = 0;
  for (const each of probe.log) {
    if (each.stream !== stream) continue;
    if (each.type === "gap") {
      const gap = each as unknown as Gap;
      assert.equal(gap.from, held + 1, "a gap begins where the client stands");
      missing += gap.to - held;
      held = gap.to;
    } else if ("seq" in each) {
      const frame = each as unknown as Frame;
      const isDerived = frame.flags.includes("derived");
      assert.ok(frame.from_seq <= held + 1, `a hole before ${frame.seq}: ${held} is held`);
      assert.ok(isDerived || frame.seq === held + 1, `${frame.seq} after ${held}`);
      if (isDerived) covered += Math.max(0, frame.seq - held);
      else received += 1;
      held = Math.max(held, frame.seq);
    }
  }
  return { received, missing, covered, held };
}

const startOf = (ack: Any, stream: number) =>
  (ack.streams as Any[]).find((each) => each.stream === stream)?.seq as number;

test("a slow client reads the ring, gets every event once, in order, and goes live again", async (t) => {
  const seed = 5;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { served, venue, ids } = await market({ limits: { queueBytes: 256 * KIB }, ringBytes: 128 * KIB * KIB });
  const { counters } = served.server.services;
  const slow = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  const patient = { ...LOSSLESS, max_lag_ms: 600_000 };
  const ack = await slow.subscribe("all", { ...patient, symbols: ["A0/USDT", "A1/USDT"] });
  const raw = await Probe.open(`${served.url}/raw`, FLATBUFFERS);
  await settled(served);
  for (let stall = 1; stall <= 3; stall += 1) {
    slow.socket.pause();
    raw.socket.pause();
    await flood(served, venue, ids, random, () => counters.fellBehind === 2 * stall);
    await flood(served, venue, ids, random, () => random.chance(0.05));
    slow.socket.resume();
    raw.socket.resume();
    await flood(served, venue, ids, random, () => counters.caughtUp === 2 * stall);
    await caughtUp(served, slow);
  }
  assert.equal(counters.closedSlow + counters.laps, 0);
  assert.deepEqual(gapsOf(slow), []);
  for (const { stream } of ack.streams as Any[]) {
    const { received, held } = account(slow, stream as number, startOf(ack, stream as number));
    assert.equal(held, served.engine.frames.sequence(stream as number));
    assert.ok(received > 1000);
  }
  const positions = slow.frames.filter(({ flags }) => !flags.includes("derived")).map(({ position }) => position);
  assert.deepEqual(
    positions,
    [...positions].sort((a, b) => a - b),
  );
  const { position } = served.engine.frames.log;
  const all = () => raw.frames.filter(({ flags }) => !flags.includes("derived"));
  await eventually(() => all().at(-1)?.position === position, "the last frame on /raw");
  const first = all()[0]?.position as number;
  assert.deepEqual(
    all().map((frame) => frame.position),
    Array.from({ length: position - first + 1 }, (_, i) => first + i),
  );
  assert.equal(raw.messages("gap").length, 0);
  await leave(served, slow, raw);
  assert.equal(served.server.services.publisher.topics.memberships, 0);
  await served.stop();
});

test("past its max_lag_ms a client gets a gap that names what it lacks, and a book a fresh snapshot", async (t) => {
  const seed = 6;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { served, venue, ids } = await market({ limits: { queueBytes: 128 * KIB }, ringBytes: 128 * KIB * KIB });
  const { counters } = served.server.services;
  const slow = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  const keen = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  const ack = await slow.subscribe("all", { ...LOSSLESS, symbols: ["A0/USDT"], max_lag_ms: 100 });
  await keen.subscribe("all", { ...LOSSLESS, symbols: ["A0/USDT"] });
  await settled(served);
  for (let stall = 1; stall <= 3; stall += 1) {
    slow.socket.pause();
    await flood(served, venue, ids, random, () => counters.fellBehind === stall);
    const since = Date.now();
    await flood(served, venue, ids, random, () => Date.now() > since + 150);
    slow.socket.resume();
    await flood(served, venue, ids, random, () => counters.caughtUp === stall);
    await caughtUp(served, slow);
  }
  await keen.level();
  assert.ok(gapsOf(slow).length >= 6);
  assert.ok(gapsOf(slow).every(({ reason }) => reason === "lag"));
  const books = [new HeldBook(), new HeldBook()] as const;
  for (const [book, probe] of [
    [books[0], slow],
    [books[1], keen],
  ] as const) {
    for (const frame of probe.frames) if (frame.type === "orderbook") book.apply(frame as BookFrame);
  }
  assert.deepEqual(books[0].top(100), books[1].top(100));
  for (const { stream } of ack.streams as Any[]) {
    const from = startOf(ack, stream as number);
    const { received, missing, covered, held } = account(slow, stream as number, from);
    const last = served.engine.frames.sequence(stream as number);
    assert.equal(held, last);
    assert.ok(missing > 0);
    assert.equal(received + missing + covered, last - from);
    assert.ok(covered <= 2, "only the first snapshot stands for more than the gap before it");
  }
  await leave(served, slow, keen);
  await served.stop();
});

test("conflated: a slow client ends on the same last state as one that reads, on every stream", async (t) => {
  const seed = 7;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { served, venue, ids } = await market({ limits: { queueBytes: 128 * KIB }, ringBytes: 128 * KIB * KIB }, 3);
  const { counters } = served.server.services;
  const symbols = ["A0/USDT", "A1/USDT", "A2/USDT"];
  const slow = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  const keen = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  const acks: Any[] = [];
  for (const probe of [slow, keen]) {
    // Trades fill the queue.
    await probe.subscribe("trades", { channels: ["trades"], symbols, max_lag_ms: 200 });
    acks.push(await probe.subscribe("books", { channels: ["orderbook"], symbols, depth: 20 }));
    acks.push(
      await probe.subscribe("slow books", {
        channels: ["orderbook"],
        symbols: ["A2/USDT"],
        depth: 5,
        conflate_ms: 100,
      }),
    );
    acks.push(await probe.subscribe("values", { ...CONFLATED, symbols, conflate_ms: 50 }));
    acks.push(await probe.subscribe("quotes", { channels: ["quotes"], symbols: ["A1/USDT"] }));
  }
  await settled(served);
  for (let stall = 1; stall <= 3; stall += 1) {
    slow.socket.pause();
    await flood(served, venue, ids, random, () => counters.fellBehind === stall);
    if (stall === 2) {
      // The book is lost and comes back while the client does not look.
      served.engine.books.lose(ids[0] as number, "test");
      await flood(served, venue, ids, random, () => served.engine.books.get(ids[0] as number)?.live === true);
    }
    await flood(served, venue, ids, random, () => random.chance(0.02));
    slow.socket.resume();
    await flood(served, venue, ids, random, () => counters.caughtUp === stall);
    await flood(served, venue, ids, random, () => random.chance(0.1));
    await caughtUp(served, slow);
  }
  // One more event each, and the longest period of conflation after it.
  for (const id of ids) venue.everything(id, 77);
  served.turn.end();
  await new Promise((resolve) => setTimeout(resolve, 150));
  served.turn.now();
  served.turn.end();
  await slow.level();
  await keen.level();
  const streams = new Set(acks.flatMap((ack) => (ack.streams as Any[]).map(({ stream }) => stream as number)));
  assert.equal(streams.size, 15);
  const values = (frame: Frame | undefined) => {
    if (frame === undefined) return undefined;
    const { position, from_seq, flags, ts_publish, ts_receive, ...rest } = frame;
    return rest;
  };
  for (const stream of streams) {
    const frames = [slow, keen].map((probe) => probe.frames.filter((frame) => frame.stream === stream));
    assert.ok((frames[0]?.length ?? 0) > 3);
    for (const probe of [slow, keen]) account(probe, stream, 0);
    const channel = frames[0]?.[0]?.channel;
    if (channel === "orderbook") {
      const tops = frames.map((each) => {
        const book = new HeldBook();
        for (const frame of each) if (frame.type === "orderbook") book.apply(frame as BookFrame);
        return book.top(1000);
      });
      assert.deepEqual(tops[0], tops[1], `the book of stream ${stream}`);
      continue;
    }
    for (const type of new Set(frames[1]?.map((frame) => frame.type))) {
      const [ours, theirs] = frames.map((each) => values(each.filter((frame) => frame.type === type).at(-1)));
      // A state that came and went while the client was behind was conflated away.
      if (type === "state") assert.equal((ours as Any | undefined)?.state ?? "live", (theirs as unknown as Any).state);
      else assert.deepEqual(ours, theirs, `${type} of stream ${stream}`);
    }
  }
  const conflated = (probe: Probe) => probe.frames.filter(({ stream }) => streams.has(stream)).length;
  assert.ok(conflated(slow) < conflated(keen), "something was conflated");
  await leave(served, slow, keen);
  assert.equal(served.engine.derived.streams, 0);
  await served.stop();
});

test("subscriptions come and go while a client is behind", async (t) => {
  const seed = 8;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { served, venue, ids } = await market({ limits: { queueBytes: 128 * KIB }, ringBytes: 128 * KIB * KIB }, 20);
  const { counters, publisher } = served.server.services;
  const keeper = await Probe.open(`${served.url}/stream`);
  await keeper.subscribe("names", {
    channels: ["trades", "orderbook"],
    symbols: ids.map((_, index) => `A${index}/USDT`),
  });
  const slow = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  await slow.subscribe("all", { channels: ["trades"], symbols: ["*"], max_lag_ms: 600_000 });
  await settled(served);
  let fell = 0;
  for (let round = 0; round < 6; round += 1) {
    slow.socket.pause();
    await flood(served, venue, ids, random, () => counters.fellBehind > fell);
    fell = counters.fellBehind;
    if (round % 3 === 0)
      slow.send({ type: "subscribe", id: "books", channels: ["orderbook"], symbols: ["A1/USDT", "A2/USDT"] });
    if (round % 3 === 1) slow.send({ type: "unsubscribe", id: "gone", subscription: "books" });
    if (round === 2) slow.send({ type: "unsubscribe", id: "no more", subscription: "all" });
    if (round === 2)
      slow.send({ type: "subscribe", id: "some", channels: ["trades"], symbols: ["A3/USDT", "A4/USDT"] });
    if (round === 4) slow.send({ type: "subscribe", id: "all", channels: ["trades"], symbols: ["*"] });
    await flood(served, venue, ids, random, () => random.chance(0.1));
    slow.socket.resume();
    await flood(served, venue, ids, random, () => !isBehind(served));
    await caughtUp(served, slow);
    if (round === 2) assert.ok(publisher.topics.memberships > 0);
  }
  assert.equal(gapsOf(slow).length, 0);
  // A stream that was left and joined again begins where its ack, or its announcement, says.
  const held = new Map<number, number>();
  for (const each of slow.log) {
    for (const info of [
      ...((each.streams as Any[] | undefined) ?? []),
      ...(each.type === "stream_added" ? [each.stream as Any] : []),
    ]) {
      const before = held.get(info.stream as number);
      if (before === undefined || (info.seq as number) > before) held.set(info.stream as number, info.seq as number);
    }
    if (!("from_seq" in each)) continue;
    const frame = each as unknown as Frame;
    assert.ok(frame.from_seq <= (held.get(frame.stream) ?? 0) + 1, `no hole in ${frame.stream}`);
    if (!frame.flags.includes("derived")) assert.ok(frame.seq > (held.get(frame.stream) ?? 0), "nothing twice");
    held.set(frame.stream, Math.max(frame.seq, held.get(frame.stream) ?? 0));
  }
  await leave(served, slow, keeper);
  assert.equal(publisher.topics.memberships, 0);
  await served.stop();
});

function isBehind({ server }: Served): boolean {
  return server.services.backlog.size > 0;
}

test("overtaken by the ring three times within a minute, a client is closed with 4008, and knew of each gap", async (t) => {
  const seed = 9;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const { served, venue, ids } = await market({ limits: { queueBytes: 64 * KIB }, ringBytes: 3 * KIB * KIB });
  const { counters } = served.server.services;
  const slow = await Probe.open(`${served.url}/stream`, FLATBUFFERS);
  const raw = await Probe.open(`${served.url}/raw`, FLATBUFFERS);
  const ack = await slow.subscribe("all", { channels: ["trades"], symbols: ["A0/USDT"], max_lag_ms: 600_000 });
  await settled(served);
  for (let lap = 1; counters.closedSlow < 2; lap += 1) {
    assert.ok(lap < 10, "it comes to an end");
    for (const probe of [slow, raw]) if (probe.closed === undefined) probe.socket.pause();
    const { fellBehind } = counters;
    await flood(served, venue, ids, random, () => counters.fellBehind > fellBehind);
    const { ticks } = served.engine.frames.log;
    const { head } = ticks;
    await flood(served, venue, ids, random, () => ticks.tail > head);
    slow.socket.resume();
    raw.socket.resume();
    await eventually(() => served.server.services.backlog.size === 0, "nobody to be behind");
  }
  assert.deepEqual([(await slow.gone()).code, (await raw.gone()).code], [4008, 4008]);
  assert.equal(counters.laps, 6);
  const [{ stream }] = ack.streams as [{ stream: number }];
  const { missing } = account(slow, stream, startOf(ack, stream));
  assert.ok(missing > 0);
  assert.ok(gapsOf(slow).every(({ reason }) => reason === "window"));
  assert.ok(raw.messages("gap").length >= 2);
  await served.stop();
});
