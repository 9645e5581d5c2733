/**
 * The SDK behind a network that cuts, stalls, half-opens, throttles and delays at random: what a user's handlers saw in
 * the end is what the ring had, frame for frame and once, or a gap event names exactly the rest.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connect } from "../src/client/index.ts";
import type { EventView } from "../src/client/views.ts";
import { Random } from "../src/std/random.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import { FAULT_KINDS, FaultProxy } from "./fault-proxy.ts";
import { eventually } from "./gateway.ts";
import { type Served, serve, spot, type Venue } from "./serve.ts";

/** The whole run, as its figures are reported, is `TICKWIRE_FAULT_FRAMES=1000000 TICKWIRE_FAULTS=200`. */
const FRAMES = Number(process.env.TICKWIRE_FAULT_FRAMES ?? 60_000);
const FAULTS = Number(process.env.TICKWIRE_FAULTS ?? 25);
const MIB = 2 ** 20;
const SYMBOLS = 16;
const DERIVED = 1;

/** What a stream's handlers saw: ring frames one by one, and up to where snapshots and gaps brought it. */
class Seen {
  /** One past the last sequence that is accounted for. */
  next = 1;
  events = 0;
  gaps = 0;
  readonly wrong: string[] = [];
  /** Sums of the sequences that were seen and that are missing, to be compared with all there were. */
  seen = 0;
  missing = 0;

  event(view: EventView): void {
    this.events += 1;
    const { sequence, fromSequence, flags } = view;
    if ((flags & DERIVED) !== 0) {
      if (fromSequence > this.next) this.wrong.push(`derived from ${fromSequence}, expected ${this.next}`);
      // What it stands for was not seen one by one.
      this.missing += Math.max(0, sequence + 1 - this.next);
      this.next = Math.max(this.next, sequence + 1);
      return;
    }
    if (sequence !== this.next) this.wrong.push(`${sequence}, expected ${this.next}`);
    this.seen += 1;
    this.next = sequence + 1;
  }

  gap(from: number | undefined, to: number | undefined): void {
    this.gaps += 1;
    if (from === undefined || to === undefined) this.wrong.push(`a gap from ${from} to ${to} in one epoch`);
    else if (from !== this.next) this.wrong.push(`a gap from ${from}, expected ${this.next}`);
    else {
      this.missing += to - from + 1;
      this.next = to + 1;
    }
  }
}

/** How many frames each stream has had. */
function countOf(served: Served, streams: Iterable<number>): Map<number, number> {
  return new Map([...streams].map((stream) => [stream, served.engine.frames.sequence(stream)]));
}

/**
 * `mostBehind`: frames that the client may lack before the source waits for it. `outageEvents`: events that happen, after
 * half of the frames, while no server can be reached.
 */
async function run(t: TestContext, seed: number, ringBytes: number, mostBehind: number, outageEvents = 0) {
  const [frames, faults] = [FRAMES, FAULTS];
  const random = new Random(seed);
  const served = await serve({ graceMs: 600_000, ringBytes, limits: { queueBytes: MIB / 2 } });
  const [venue] = served.venues as [Venue, Venue];
  const ids = venue.list([...spot(SYMBOLS), ...spot(["P/USDT:USDT"])]);
  venue.up();
  const symbols = [...ids.slice(0, SYMBOLS).map((_, index) => `A${index}/USDT`), "P/USDT:USDT"];
  const proxy = await FaultProxy.start({ target: served.port, random });
  // Keeps the venue's subscriptions while the client is away.
  const keeper = await connect(served.url);
  const spec = { channels: ["trades", "orderbook", "quotes", "funding", "liquidations"], depth: "full" as const };
  await keeper.subscribe({ ...spec, symbols });
  const client = await connect(`ws://127.0.0.1:${proxy.port}`, {
    heartbeatMs: 250,
    reconnect: { baseMs: 5, maxMs: 50 },
    random: () => random.next(),
  });
  t.after(async () => {
    await client.close();
    await keeper.close();
    await proxy.close();
    await served.stop();
  });
  const streams = new Map<number, Seen>();
  const of = (stream: number): Seen => {
    const seen = streams.get(stream) ?? new Seen();
    streams.set(stream, seen);
    return seen;
  };
  const subscription = await client.subscribe({ ...spec, symbols: "*", maxLagMs: 600_000 });
  let seenEvents = 0;
  const on = (view: EventView) => {
    seenEvents += 1;
    of(view.stream).event(view);
  };
  for (const name of ["trade", "book", "quote", "funding", "liquidation", "state"] as const) subscription.on(name, on);
  const streamOf = new Map(
    subscription.streams.map((info) => [`${info.instrument.symbol} ${info.channel}`, info.stream]),
  );
  let connections = 0;
  client.on("connect", () => {
    connections += 1;
  });
  const reasons = new Map<string, number>();
  subscription.on("gap", ({ symbol, channel, from, to, reason }) => {
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    of(streamOf.get(`${symbol} ${channel}`) as number).gap(from, to);
  });
  for (const { stream } of subscription.streams) of(stream).next = served.engine.frames.sequence(stream) + 1;
  const cursor = new LogCursor(served.engine.frames.log);
  let written = 0;
  const follow = () => {
    while (cursor.next()) written += 1;
  };
  const stop = proxy.disturbEvery([5, 60], FAULT_KINDS, 300);
  let outage = outageEvents;
  for (let event = 1; written < frames || proxy.deeds.length < faults; event += 1) {
    venue.everything(ids[random.integer(0, ids.length - 1)] as number, event);
    if (event % 50 !== 0) continue;
    served.turn.now();
    served.turn.end();
    follow();
    if (written > frames / 2 && outage > 0) {
      if (!proxy.isRefusing) proxy.fault("cut", { how: "reset" });
      outage -= 50;
      proxy.isRefusing = outage > 0;
      if (event % 5000 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    // Source, proxy and client share one event loop: the network gets its time, and the source does not run away.
    do await new Promise((resolve) => setTimeout(resolve, 1));
    while (written - seenEvents > mostBehind && proxy.deeds.length < faults);
  }
  stop();
  proxy.heal();
  served.turn.now();
  served.turn.end();
  const last = countOf(served, streams.keys());
  const behind = () => [...last].filter(([stream, sequence]) => of(stream).next <= sequence);
  await eventually(
    () => behind().length === 0,
    () => `the client to be level: ${JSON.stringify(behind().slice(0, 5))} ${JSON.stringify(client.stats)}`,
  );
  const wrong = [...streams].flatMap(([stream, seen]) => seen.wrong.map((each) => `${stream}: ${each}`));
  const events = [...streams.values()].reduce((sum, seen) => sum + seen.events, 0);
  const { reconnects, duplicates, gaps, malformed, errors } = client.stats;
  t.diagnostic(
    `seed ${seed}: ${written} frames on ${streams.size} streams, ${events} events, ${proxy.deeds.length} faults`,
  );
  t.diagnostic(
    `${reconnects} reconnects, ${duplicates} duplicates dropped, ${gaps} gaps ${JSON.stringify([...reasons])}, ${connections} connections`,
  );
  assert.deepEqual(wrong.slice(0, 10), []);
  assert.equal(malformed + errors, 0);
  assert.ok(streams.size >= 50);
  assert.ok(connections > faults / 10);
  assert.equal(
    [...reasons.values()].reduce((sum, count) => sum + count, 0),
    gaps,
    "every gap was told",
  );
  return { gaps, streams };
}

test("whatever the network does, handlers see every frame once, in order", async (t) => {
  const { gaps, streams } = await run(t, 20261128, 640 * MIB, 500_000);
  assert.equal(gaps, 0);
  for (const seen of streams.values()) assert.equal(seen.missing, 0, "nothing was replaced by a snapshot");
});

test("with a window too small for it, gap events name exactly what is missing", async (t) => {
  const { gaps } = await run(t, 20261129, 6 * MIB, 5_000_000, 60_000);
  assert.ok(gaps > 0);
});
