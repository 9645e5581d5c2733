import assert from "node:assert/strict";
import { test } from "node:test";
import { FeedCounters } from "../src/feeds/feed.ts";
import { Session } from "../src/feeds/session.ts";
import { SessionPool } from "../src/feeds/session-pool.ts";
import type { SessionLimits } from "../src/feeds/session-protocol.ts";
import { STATE_DOWN, STATE_LIVE, STATE_QUIET, STATE_STALE, STATE_SYNCING } from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import { FakeSockets, FakeTime, quietLog } from "./contracts/feed.ts";

const HOUR_MS = 3_600_000;

const LIMITS: SessionLimits = {
  pacingMs: 300,
  streamsPerMessage: 100,
  streamsPerConnection: 1_000,
  openTimeoutMs: 10_000,
  livenessMs: 20_000,
  startTimeoutMs: 30_000,
  renewUnstarted: false,
  acknowledged: true,
  rotateAfterMs: 23 * HOUR_MS,
  overlapMs: 2_000,
};

class Bench {
  readonly time = new FakeTime();
  readonly sockets = new FakeSockets(this.time);
  readonly counters = new FeedCounters();
  readonly states: number[] = [];
  readonly reasons: string[] = [];
  readonly started = new Set<number>();
  readonly received: string[] = [];
  readonly options: ConstructorParameters<typeof SessionPool>[0];

  constructor(limits: Partial<SessionLimits> = {}) {
    const random = new Random(1);
    this.options = {
      name: "test",
      protocol: {
        url: "ws://test/",
        limits: { ...LIMITS, ...limits },
        subscribeMessage: (streams, id) => JSON.stringify({ subscribe: streams, id }),
        unsubscribeMessage: (streams, id) => JSON.stringify({ unsubscribe: streams, id }),
        receive: (bytes) => this.received.push(bytes.toString()),
        hasStarted: (stream) => this.started.has(stream),
        clearStarted: (stream) => this.started.delete(stream),
      },
      connect: this.sockets.connect,
      clock: this.time,
      timers: this.time,
      random: () => random.next(),
      log: quietLog,
      counters: this.counters,
      onState: (state, reason) => {
        this.states.push(state);
        this.reasons.push(reason);
      },
    };
  }

  session(): Session {
    let lastId = 0;
    return new Session({ ...this.options, nextId: () => ++lastId });
  }

  /** Lets time pass on connections that are alive. */
  live(ms: number): void {
    for (let left = ms; left > 0; left -= 10_000) {
      for (const socket of this.sockets.all) if (!socket.closed) socket.ping();
      this.time.advance(Math.min(left, 10_000));
    }
  }
}

test("a thousand wishes become ten messages, paced", () => {
  const bench = new Bench();
  const session = bench.session();
  for (let stream = 1; stream <= 1_000; stream += 1) session.add(stream);
  assert.equal(bench.sockets.all.length, 1);
  bench.sockets.last.open();
  assert.equal(bench.sockets.last.sent.length, 0, "nothing before the turn ends");
  bench.time.advance(5_000);
  const { sent } = bench.sockets.last;
  assert.equal(sent.length, 10);
  for (let index = 1; index < sent.length; index += 1) {
    assert.ok(sent[index]!.atMs - sent[index - 1]!.atMs >= 300);
  }
  const streams = bench.sockets.last.messages.flatMap(({ subscribe }) => subscribe as number[]);
  assert.deepEqual(
    streams,
    Array.from({ length: 1_000 }, (_, index) => index + 1),
  );
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_LIVE], "live once all has been asked for");
  session.close();
  assert.equal(bench.time.pending, 0);
});

test("wishes that are taken back before they went out are never sent", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  session.add(2);
  session.remove(1);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  session.remove(2);
  session.add(3);
  session.remove(3);
  bench.time.advance(1_000);
  const sent = bench.sockets.last.messages.map(({ subscribe, unsubscribe }) => ({ subscribe, unsubscribe }));
  assert.deepEqual(sent, [
    { subscribe: [2], unsubscribe: undefined },
    { subscribe: undefined, unsubscribe: [2] },
  ]);
});

test("a renewal ends the stream, then starts it", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  session.renew(1);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  assert.equal(bench.sockets.last.sent.length, 1, "what was never started needs no renewal");
  session.renew(1);
  assert.equal(session.isSent(1), false);
  bench.time.advance(1_000);
  assert.equal(session.isSent(1), true);
  const [, ending, starting] = bench.sockets.last.messages;
  assert.deepEqual([ending?.unsubscribe, starting?.subscribe], [[1], [1]]);
});

test("all is asked for again after a loss, changes made meanwhile included", () => {
  const bench = new Bench();
  const session = bench.session();
  for (const stream of [1, 2, 3]) session.add(stream);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  bench.sockets.last.lose();
  session.remove(2);
  session.add(4);
  bench.time.advance(1_000);
  assert.equal(bench.sockets.all.length, 2);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  assert.deepEqual(bench.sockets.last.messages[0]?.subscribe, [1, 3, 4]);
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_LIVE, STATE_DOWN, STATE_SYNCING, STATE_LIVE]);
  assert.equal(bench.counters.connects, 2);
  assert.equal(bench.counters.reconnects, 1);
});

test("the read loop lives on after a reconnect", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  const lost = bench.sockets.last;
  lost.lose();
  lost.receive("late");
  bench.time.advance(1_000);
  bench.sockets.last.open();
  bench.sockets.last.receive("again");
  assert.deepEqual(bench.received, ["again"], "the lost connection is heard no more, the new one is");
});

test("the first connect is tried for ever, ever more rarely, never in step", () => {
  const bench = new Bench();
  bench.session().add(1);
  const delays: number[] = [];
  for (let attempt = 0; attempt < 40; attempt += 1) {
    const connections = bench.sockets.all.length;
    const from = bench.time.now();
    bench.sockets.last.lose("refused");
    while (bench.sockets.all.length === connections) bench.time.advance(10);
    delays.push((bench.time.now() - from) / 1000);
  }
  assert.equal(bench.counters.connectFailures, 40);
  assert.ok(delays[0]! >= 250 && delays[0]! <= 510, `${delays[0]}`);
  assert.ok(delays[3]! >= 2_000 && delays[3]! <= 4_010, `${delays[3]}`);
  for (const delay of delays.slice(8)) assert.ok(delay >= 15_000 && delay <= 30_010, `${delay}`);
  assert.ok(new Set(delays.slice(8)).size > 20, "jittered");
  bench.sockets.last.open();
  bench.live(70_000);
  bench.sockets.last.lose();
  const connections = bench.sockets.all.length;
  bench.time.advance(510);
  assert.equal(bench.sockets.all.length, connections + 1, "a connection that was good starts from the base again");
});

test("a connection that is lost at once does not reset the delays", () => {
  const bench = new Bench();
  bench.session().add(1);
  for (let attempt = 0; attempt < 8; attempt += 1) {
    bench.sockets.last.open();
    bench.sockets.last.lose();
    bench.time.advance(30_000);
  }
  const connections = bench.sockets.all.length;
  bench.sockets.last.open();
  bench.sockets.last.lose();
  bench.time.advance(10_000);
  assert.equal(bench.sockets.all.length, connections);
});

test("silence is stale, and a new connection; a ping or half a message is a sign of life", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  const first = bench.sockets.last;
  for (let round = 0; round < 10; round += 1) {
    bench.time.advance(15_000);
    if (round % 2 === 0) first.ping();
    else first.bytesReceived += 1;
  }
  assert.equal(bench.sockets.all.length, 1);
  bench.time.advance(26_000);
  assert.equal(first.closed, true);
  assert.deepEqual(bench.states.slice(-2), [STATE_STALE, STATE_SYNCING]);
  assert.match(bench.reasons.at(-2)!, /silent for \d+ ms/);
  assert.equal(bench.sockets.all.length, 2);
  assert.equal(bench.counters.pings, 5);
  assert.equal(bench.counters.bytes, 35);
});

test("a connection that does not open is given up", () => {
  const bench = new Bench();
  bench.session().add(1);
  bench.time.advance(16_000);
  assert.equal(bench.sockets.all[0]!.closed, true);
  assert.equal(bench.counters.connectFailures, 1);
  assert.equal(bench.sockets.all.length, 2);
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_DOWN, STATE_SYNCING]);
});

test("a stream on which nothing ever came is asked for again, ever more rarely", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  session.add(2);
  bench.sockets.last.open();
  bench.live(1_000);
  bench.started.add(1);
  bench.live(40_000);
  assert.equal(bench.counters.resubscribes, 1);
  assert.deepEqual(bench.sockets.last.messages[1]?.subscribe, [2]);
  bench.live(200_000);
  assert.equal(bench.counters.resubscribes, 3, "after 30, 90 and 210 seconds");
  bench.started.add(2);
  bench.live(HOUR_MS);
  assert.equal(bench.counters.resubscribes, 3);
});

test("where the venue needs it, a stream that never started is ended first", () => {
  const bench = new Bench({ renewUnstarted: true });
  bench.session().add(2);
  bench.sockets.last.open();
  bench.live(40_000);
  const [, ending, starting] = bench.sockets.last.messages;
  assert.deepEqual([ending?.unsubscribe, starting?.subscribe], [[2], [2]]);
});

test("before the venue's limit the connection is replaced, the new one first", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  bench.live(22.5 * HOUR_MS);
  assert.equal(bench.sockets.all.length, 1);
  while (bench.sockets.all.length === 1 && bench.time.now() < 1_700_000_000_000_000 + 24 * HOUR_MS * 1000)
    bench.live(5_000);
  const [old, replacement] = bench.sockets.all;
  replacement!.open();
  bench.live(60_000);
  assert.equal(old!.closed, false, "the old one stays until the new one's subscription is answered");
  session.acknowledge(replacement!.messages[0]!.id as number);
  bench.live(20_000);
  assert.equal(old!.closed, true);
  assert.equal(replacement!.closed, false);
  assert.deepEqual(replacement!.messages[0]?.subscribe, [1]);
  session.add(2);
  bench.live(1_000);
  assert.deepEqual(replacement!.messages.at(-1)?.subscribe, [2]);
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_LIVE], "nobody noticed");
  assert.deepEqual([bench.counters.rotations, bench.counters.reconnects], [1, 0]);
  assert.equal(bench.sockets.all.length, 2);
});

test("a venue that shuts down is left before it does; when it is quicker, the streams are told", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  session.rotate("shutdown");
  session.rotate("shutdown");
  assert.equal(bench.sockets.all.length, 2);
  bench.sockets.all[0]!.lose("going away");
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_LIVE, STATE_DOWN, STATE_SYNCING]);
  bench.sockets.all[1]!.open();
  bench.time.advance(1_000);
  assert.deepEqual(bench.states.at(-1), STATE_LIVE);
  assert.equal(bench.sockets.all.length, 2);
});

test("an old connection that falls silent while it is replaced takes nothing with it", () => {
  const bench = new Bench({ livenessMs: 4_000 });
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  session.rotate("shutdown");
  const [, replacement] = bench.sockets.all;
  replacement!.open();
  bench.time.advance(1);
  session.acknowledge(replacement!.messages[0]!.id as number);
  for (let round = 0; round < 20; round += 1) {
    replacement!.ping();
    bench.time.advance(500);
  }
  assert.equal(bench.sockets.all.length, 2);
  assert.equal(replacement!.closed, false);
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_LIVE]);
});

test("a replacement that fails leaves the connection alone, and is tried again", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  session.rotate("shutdown");
  bench.sockets.all[1]!.lose("refused");
  assert.equal(bench.sockets.all[0]!.closed, false);
  bench.live(20_000);
  assert.equal(bench.sockets.all.length, 3);
  assert.equal(bench.states.at(-1), STATE_LIVE);
  bench.live(130_000);
  assert.equal(bench.sockets.all[2]!.closed, true, "not in place in time");
});

test("without a wish there is no connection, and losing an idle one is no outage", () => {
  const bench = new Bench();
  const session = bench.session();
  session.add(1);
  bench.sockets.last.open();
  bench.time.advance(1_000);
  session.remove(1);
  bench.time.advance(1_000);
  bench.sockets.last.lose("nothing subscribed");
  assert.equal(bench.states.at(-1), STATE_QUIET);
  bench.time.advance(HOUR_MS);
  assert.equal(bench.sockets.all.length, 1);
  session.add(2);
  assert.equal(bench.sockets.all.length, 2);
});

test("beyond the venue's limit of streams there is a further connection, which takes nothing down", () => {
  const bench = new Bench();
  const pool = new SessionPool(bench.options);
  for (let stream = 1; stream <= 1_000; stream += 1) pool.add(stream);
  bench.sockets.last.open();
  bench.time.advance(5_000);
  for (let stream = 1_001; stream <= 2_500; stream += 1) pool.add(stream);
  assert.equal(bench.sockets.all.length, 3);
  assert.deepEqual(bench.states, [STATE_SYNCING, STATE_LIVE]);
  for (const socket of bench.sockets.all.slice(1)) socket.open();
  bench.time.advance(5_000);
  assert.equal(pool.isSent(2_500), true);
  const ids = bench.sockets.all.flatMap((socket) => socket.messages.map(({ id }) => id));
  assert.equal(new Set(ids).size, ids.length);
  bench.sockets.all[1]!.lose();
  assert.equal(bench.states.at(-1), STATE_DOWN);
  bench.time.advance(600);
  bench.sockets.last.open();
  bench.live(5_000);
  assert.equal(bench.states.at(-1), STATE_LIVE);
  pool.close();
  assert.equal(bench.time.pending, 0);
});
