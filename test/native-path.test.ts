/**
 * The native reference does the same work as ours: after as many passes over the same messages both rings hold the same
 * bytes, and the same bars and values are kept. And the comparison that says so finds a single changed byte.
 */
import { equal, match, ok, throws } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { before, describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  buildNativePath,
  PASSES,
  PROGRAM,
  replay,
  whyNotNative,
  workloadToCompare,
} from "../native-bench/native-path.ts";
import { compareState } from "../native-bench/native-state.ts";
import type { TradeMessage, Workload } from "../native-bench/workload.ts";
import { syntheticTrades } from "../native-bench/workload.ts";
import { Random } from "../src/std/random.ts";
import { Ring } from "../src/wire/ring.ts";

/**
 * The smallest rings there are: the slow one, an eighth, has bytes for just four of the largest frames. It has a record
 * for every 128 of them, and no frame is that short, so its bytes decide what is given up, never its records.
 */
const SMALL_RINGS = 2.5 * 2 ** 20;

const HOUR_MS = 3_600_000;

/** Moves the number that ends before `end` by an amount that leaves its number of digits as it is. */
function move(bytes: Buffer, end: number, amount: number): void {
  const from = bytes.lastIndexOf(":", end - 1) + 1;
  bytes.write(String(Number(bytes.toString("latin1", from, end)) + amount), from);
}

/** Digits that make an id of ten one of fifteen, for every other instrument: frames of two lengths. */
const LONGER_ID = "12345";

/**
 * Trades as no good day brings them: lost ones, some that come twice, times out of order within the allowance, after
 * their bar's close, and older than what is kept, times that are not to be believed, decimals of other lengths. They
 * come each 25 ms, so that many share a time and the allowance of 250 ms ends at one.
 */
function roughTrades(): Workload {
  const workload = syntheticTrades(20, "zipf", 30_000, 40);
  const random = new Random(7);
  const messages: TradeMessage[] = [];
  for (const [index, shorter] of workload.messages.entries()) {
    const message = Number.parseInt(shorter.symbol.slice(3), 10) % 2 === 0 ? shorter : withLongerId(shorter);
    const { bytes, tradeTimeEnd } = message;
    if (random.chance(0.03)) continue;
    messages.push(message);
    if (random.chance(0.01)) messages.push({ ...message, bytes: Buffer.from(bytes) });
    if (random.chance(0.05)) move(bytes, tradeTimeEnd, -25 * random.integer(1, 10));
    if (random.chance(0.01)) move(bytes, tradeTimeEnd, -random.pick([300, 500, 1500, 90_000, 400_000, HOUR_MS]));
    else if (index % 1009 === 1008) move(bytes, tradeTimeEnd, random.pick([2 * HOUR_MS, -30 * HOUR_MS]));
    const price = bytes.indexOf('"p":"') + 5;
    const point = bytes.indexOf(".", price);
    if (random.chance(0.01)) bytes.copyWithin(point, point + 1, point + 2).write(".", point + 1);
  }
  return { ...workload, name: "rough", messages, spanMs: 750_000 };
}

function withLongerId(message: TradeMessage): TradeMessage {
  const bytes = Buffer.from(message.bytes.toString().replace('"t":', `"t":${LONGER_ID}`));
  const [idEnd, tradeTimeEnd] = [message.idEnd + LONGER_ID.length, message.tradeTimeEnd + LONGER_ID.length];
  return { ...message, bytes, idEnd, tradeTimeEnd };
}

/**
 * Four trades a second of which every second is lost: a second's bar and its indicators, 272 bytes each, lie in the slow
 * ring among two frames of 200 that tell of the losses. Where a lap ends with one of those, the next one may find no
 * room for 272 bytes before it: it stays behind in what the block leaves unused.
 */
function sparseTrades(): Workload {
  const workload = syntheticTrades(1, "uniform", 30_000, 4);
  return { ...workload, name: "sparse", messages: workload.messages.filter((_, index) => index % 2 === 0) };
}

/** Counts, from now to the end of the test, how often a ring wraps while its oldest frame lies in the unused end. */
function countUnusedEnds(context: TestContext): Map<Ring, number> {
  const counts = new Map<Ring, number>();
  const { claim } = Ring.prototype;
  context.after(() => {
    Ring.prototype.claim = claim;
  });
  // Not by mock.method, which keeps a record of each of some 300,000 calls.
  Ring.prototype.claim = function (this: Ring, length: number): number {
    const { tail, head } = this;
    const end = head === 0 ? 0 : this.placeOf(head - 1) + this.lengthOf(head - 1);
    const at = claim.call(this, length);
    if (at < end && this.placeOf(tail) >= end) counts.set(this, (counts.get(this) ?? 0) + 1);
    return at;
  };
  return counts;
}

describe("the native hot path", { skip: whyNotNative() ?? false }, () => {
  before(() => buildNativePath());

  for (const mode of ["parsed", "unparsed"] as const) {
    test(`makes the same frames of ${PASSES} passes over the recorded trades, ${mode}`, () => {
      const workload = workloadToCompare();
      const { pipeline, state } = replay(workload, mode, PASSES);
      compareState(pipeline, state);
      const { ticks, slow } = pipeline.engine.frames.log;
      ok(ticks.tail > 0 && slow.tail > 0, "both rings came round");
      const [instrument] = [...pipeline.engine.catalog.all()];
      const hour = pipeline.engine.bars.bars.archive.read(instrument?.id ?? 0, 8, 10);
      ok(hour.count > 0, "a bar of an hour closed");
      equal(ticks.head, PASSES * workload.messages.length, "every trade is a frame");
    });
  }

  test("makes the same frames of 1,000 instruments", () => {
    const { pipeline, state } = replay(syntheticTrades(1000, "zipf", 50_000), "parsed", 3);
    compareState(pipeline, state);
    ok(pipeline.engine.bars.bars.closed > 1000, "bars closed");
  });

  test("makes the same frames of lost, repeated, late and wild trades", () => {
    const { pipeline, state } = replay(roughTrades(), "parsed", 5, SMALL_RINGS);
    compareState(pipeline, state);
    const { dedupe, bars, venues } = pipeline.engine;
    const { late, corrections } = bars.bars;
    const wild = venues[0]?.clock.wild ?? 0;
    for (const [name, count] of Object.entries({ ...corrections, late, wild, holes: dedupe.holes })) {
      if (typeof count === "number" && name !== "inVenueBar") ok(count > 10, `${name}: ${count}`);
    }
    ok(dedupe.duplicates > 10, "some came twice");
    equal(pipeline.counters.slowMessages, 0, "every message was scanned");
  });

  test("gives up the frames in the end of a block that stays unused", (context) => {
    const unusedEnds = countUnusedEnds(context);
    const { pipeline, state } = replay(sparseTrades(), "parsed", 5, SMALL_RINGS);
    compareState(pipeline, state);
    const count = unusedEnds.get(pipeline.engine.frames.log.slow) ?? 0;
    ok(count > 0, "the oldest frame lay there when the ring came round");
  });

  test("and the comparison finds what is changed", () => {
    const { pipeline, state } = replay(syntheticTrades(5, "zipf", 2000, 100), "parsed", 2, SMALL_RINGS);
    compareState(pipeline, state);
    const changedAt = (at: number) => {
      const changed = Buffer.from(state);
      changed[at] = (changed[at] as number) ^ 1;
      return () => compareState(pipeline, changed);
    };
    const { ticks, slow } = pipeline.engine.frames.log;
    const bytesOf = (ring: typeof ticks) => {
      let bytes = 0;
      for (let record = ring.tail; record < ring.head; record += 1) bytes += ring.lengthOf(record);
      return bytes;
    };
    let at = 8;
    throws(changedAt(at + 7 * 8), /native path: late trades|closed bars|corrected/);
    at += 10 * 8;
    for (const [name, ring] of Object.entries({ "tick ring": ticks, "slow ring": slow })) {
      throws(changedAt(at), new RegExp(`${name}: tail`));
      at += 2 * 8;
      const records = ring.head - ring.tail;
      for (const field of ["place", "length", "stream"].entries()) {
        throws(changedAt(at + 32 * (records - 1) + 4 * field[0]), new RegExp(`${name}: record \\d+: ${field[1]}`));
      }
      throws(changedAt(at + 16), new RegExp(`${name}: record ${ring.tail}: sequence`));
      throws(changedAt(at + 24), new RegExp(`${name}: record ${ring.tail}: position`));
      at += 32 * records;
      const random = new Random(3);
      for (let count = 0; count < 200; count += 1) {
        throws(changedAt(at + random.integer(0, bytesOf(ring) - 1)), new RegExp(`${name}: record \\d+: byte \\d+`));
      }
      at += bytesOf(ring);
    }
    // The first series' oldest bar, after three numbers that say whose it is: its open, and of its values the VWAP.
    const bar = at + 4 + 3 * 4;
    throws(changedAt(bar + 2 * 8 + 6), /bars of instrument 2, timeframe 0: bar 0, field 2/);
    throws(changedAt(bar + (15 + 6) * 8 + 6), /bar 0, value 6/);
    throws(() => compareState(pipeline, state.subarray(0, -1)), /cut short/);
    throws(() => compareState(pipeline, Buffer.concat([state, Buffer.alloc(1)])), /more than it should/);
    pipeline.next();
    pipeline.parsed();
    throws(() => compareState(pipeline, state), /native path: /);
  });

  test("and refuses what is no input with one line and exit code 2", () => {
    const thisFile = fileURLToPath(import.meta.url);
    for (const args of [
      [],
      ["time", thisFile, "parsed"],
      ["replay", thisFile, "parsed", "-1", "x"],
      ["time", "", "x"],
    ]) {
      const { status, stderr } = spawnSync(PROGRAM, args, { encoding: "utf8" });
      equal(status, 2);
      match(stderr, /^hot-path: [^\n]+\n$/);
    }
  });
});
