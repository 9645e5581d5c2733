/** The ring, the log of both rings and the cursor, against models that are too simple to be wrong. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { getHeapStatistics } from "node:v8";
import { PRICE, SIDE_BUY, SIZE } from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import {
  FrameHeader,
  H_FROM_SEQ,
  H_POSITION,
  H_SEQ,
  LARGEST_TRADE_BYTES,
  MAX_FRAME_BYTES,
  writeHeader,
  writeTrade,
} from "../src/wire/frame.ts";
import { FrameLog, LogCursor } from "../src/wire/frame-log.ts";
import { Ring } from "../src/wire/ring.ts";

const SEED = 20_251_205;
/** About the smallest ring that may be: it wraps after a few hundred frames. */
const BUDGET = 400_000;
const RING_BYTES = BUDGET - 32 * recordsIn(BUDGET);
const SMALL_LOG = 8 * BUDGET;

/** The largest power of two of index entries of 32 bytes that leaves 128 bytes of ring to each. */
function recordsIn(budget: number): number {
  let records = 1;
  while (2 * records * 160 <= budget) records *= 2;
  return records;
}

/** What a frame of this test holds: words that depend on its record and their place. */
function word(record: number, index: number): number {
  return Math.imul(record + 1, 0x9e3779b1) ^ Math.imul(index, 0x85ebca6b);
}

function fill(ring: Ring, at: number, length: number, record: number): void {
  for (let index = 0; index < length >> 2; index += 1) ring.memory.i32[(at >> 2) + index] = word(record, index);
}

function assertIntact(ring: Ring, at: number, length: number, record: number): void {
  for (let index = 0; index < length >> 2; index += 1) {
    if (ring.memory.i32[(at >> 2) + index] !== word(record, index))
      assert.fail(`record ${record} is damaged at ${4 * index}`);
  }
}

/** Lets a ring begin at record `first`: its ends are the one shared block of 16 bytes that it makes. */
function ringFrom(first: number, budget = BUDGET): Ring {
  const made: SharedArrayBuffer[] = [];
  const Original = globalThis.SharedArrayBuffer;
  globalThis.SharedArrayBuffer = class extends Original {
    constructor(bytes: number) {
      super(bytes);
      made.push(this);
    }
  } as SharedArrayBufferConstructor;
  try {
    const ring = new Ring(budget);
    new Float64Array(made.find((buffer) => buffer.byteLength === 16) as SharedArrayBuffer).fill(first);
    assert.equal(ring.head, first);
    return ring;
  } finally {
    globalThis.SharedArrayBuffer = Original;
  }
}

interface Committed {
  place: number;
  length: number;
  stream: number;
  sequence: number;
  position: number;
}

/** Every record ever, and the oldest that can still be whole: found by looking at all of them. */
class RingModel {
  readonly all: Committed[] = [];
  readonly first: number;
  readonly bytes: number;
  readonly records: number;
  tail: number;
  writeAt = 0;
  wraps = 0;
  /** Claims that reach the last byte. */
  fullLaps = 0;

  constructor(ring: Ring, records: number) {
    this.first = ring.head;
    this.tail = ring.head;
    this.bytes = ring.bytes;
    this.records = records;
  }

  get head(): number {
    return this.first + this.all.length;
  }

  at(record: number): Committed {
    return this.all[record - this.first] as Committed;
  }

  claim(length: number): number {
    let from = this.writeAt;
    let to = from + length;
    if (to === this.bytes) this.fullLaps += 1;
    if (to > this.bytes) {
      this.#overwrite(from, this.bytes);
      from = 0;
      to = length;
      this.wraps += 1;
    }
    this.#overwrite(from, to);
    if (this.head - this.tail === this.records) this.tail += 1;
    this.writeAt = from;
    return from;
  }

  /** Gives up every record with a byte in [from, to), and all that are older than one of them. */
  #overwrite(from: number, to: number): void {
    let tail = this.tail;
    for (let record = this.tail; record < this.head; record += 1) {
      const { place, length } = this.at(record);
      if (place < to && place + length > from) tail = record + 1;
    }
    this.tail = tail;
  }
}

type Lengths = (random: Random) => [claimed: number, used: number];

const LENGTHS: Readonly<Record<string, Lengths>> = {
  "frames of all sizes": (random) => {
    const claimed = random.chance(0.02) ? MAX_FRAME_BYTES : 8 * random.integer(20, random.pick([30, 100, 2000]));
    return [claimed, random.chance(0.5) ? claimed : 8 * random.integer(1, claimed / 8)];
  },
  "the largest frames only": () => [MAX_FRAME_BYTES, MAX_FRAME_BYTES],
  "frames so small that the index is full before the bytes are": (random) => {
    const used = 8 * random.integer(1, 8);
    return [used, used];
  },
  "frames that end where the ring does": (random) => {
    const used = RING_BYTES / random.pick([6, 12]);
    return [used, used];
  },
};

function runRing(random: Random, ring: Ring, lengths: Lengths, commits: number): RingModel {
  const model = new RingModel(ring, recordsIn(BUDGET));
  const numbers = new Float64Array(8);
  const positions = new Float64Array(8);
  for (let count = 0; count < commits; count += 1) {
    const [claimed, used] = lengths(random);
    const at = ring.claim(claimed);
    assert.equal(at, model.claim(claimed));
    assert.equal(at % 8, 0);
    assert.equal(ring.tail, model.tail, "neither more nor less has given way than must");
    assert.equal(ring.head, model.head, "a claim is no record");
    const record = ring.head;
    // The whole claim is written over, whether it is used or not.
    fill(ring, at, claimed, record);
    // Now and then nothing comes of a claim.
    if (random.chance(0.05)) continue;
    const committed = {
      place: at,
      length: used,
      stream: random.integer(0, 2 ** 32 - 1),
      sequence: record + 2 ** 40,
      position: 2 * record,
    };
    numbers[3] = committed.sequence;
    positions[6] = committed.position;
    ring.commit(used, committed.stream, numbers, 3, positions, 6);
    model.all.push(committed);
    model.writeAt = at + used;
    assert.equal(ring.head, model.head);
    assertRecord(ring, model, ring.tail);
    assertRecord(ring, model, ring.head - 1);
    if (count % 997 === 0) for (let each = ring.tail; each < ring.head; each += 1) assertRecord(ring, model, each);
  }
  for (let each = ring.tail; each < ring.head; each += 1) assertRecord(ring, model, each);
  return model;
}

function assertRecord(ring: Ring, model: RingModel, record: number): void {
  const { place, length, stream, sequence, position } = model.at(record);
  assert.equal(ring.placeOf(record), place);
  assert.equal(ring.lengthOf(record), length);
  assert.equal(ring.streamOf(record), stream);
  assert.equal(ring.sequenceOf(record), sequence);
  assert.equal(ring.positionOf(record), position);
  assertIntact(ring, place, length, record);
}

describe("the ring keeps what lies between its ends", () => {
  for (const [name, lengths] of Object.entries(LENGTHS)) {
    test(name, (t) => {
      const random = new Random(SEED);
      const commits = name === "the largest frames only" ? 2000 : 20_000;
      const model = runRing(random, new Ring(BUDGET), lengths, commits);
      t.diagnostic(
        `seed ${SEED}; ${model.all.length} records, ${model.wraps} times round, ${model.head - model.tail} kept`,
      );
      assert.ok(model.wraps > 1, "the ring goes round");
      assert.equal(model.bytes, RING_BYTES);
      if (name.includes("end")) assert.ok(model.fullLaps > 100, "frames reach the last byte");
      if (name.includes("index")) assert.ok(model.head - model.tail >= model.records - 1, "the index is full");
    });
  }

  for (const first of [2 ** 31 - 5000, 2 ** 32 - 5000, 2 ** 52]) {
    test(`from record ${first} on`, (t) => {
      t.diagnostic(`seed ${SEED}`);
      runRing(new Random(SEED), ringFrom(first), LENGTHS["frames of all sizes"] as Lengths, 10_000);
    });
  }

  test("what does not fit is refused", () => {
    const ring = new Ring(BUDGET);
    const numbers = new Float64Array(2);
    assert.throws(() => ring.claim(MAX_FRAME_BYTES + 8), /at most 64 KiB/);
    assert.throws(() => ring.commit(8, 0, numbers, 0, numbers, 1), /fits its claim/);
    ring.claim(64);
    assert.throws(() => ring.commit(72, 0, numbers, 0, numbers, 1), /fits its claim/);
    assert.throws(() => ring.commit(60, 0, numbers, 0, numbers, 1), /fits its claim/);
    assert.throws(() => ring.commit(0, 0, numbers, 0, numbers, 1), /fits its claim/);
    ring.commit(64, 0, numbers, 0, numbers, 1);
    assert.throws(() => ring.commit(64, 0, numbers, 0, numbers, 1), /fits its claim/);
    assert.throws(() => new Ring(4 * MAX_FRAME_BYTES), /several of the largest/);
  });
});

/** A writer of both rings whose frames are as long as asked and hold the test's words. */
class LogDriver {
  readonly log = new FrameLog(SMALL_LOG, 1);
  /** By stream: 1 is a fast one, 2 a slow one. */
  readonly sequences = new Float64Array(3);
  /** Positions of the records of the tick ring and of the slow ring. */
  readonly positions: [number[], number[]] = [[], []];

  commit(slow: boolean, length: number): void {
    const { log, sequences } = this;
    const ring = slow ? log.slow : log.ticks;
    const stream = slow ? 2 : 1;
    const at = ring.claim(length);
    const position = log.next[0] as number;
    assert.equal(position, log.position + 1, "positions have no holes");
    sequences[stream] = ring.head + 1;
    fill(ring, at, length, position);
    log.commit(ring, length, stream, sequences, stream);
    assert.equal(log.position, position);
    this.positions[slow ? 1 : 0].push(position);
  }
}

describe("the log in order of position", () => {
  test("a cursor gets every frame that is still there, in order, and counts the others", (t) => {
    const random = new Random(SEED);
    const driver = new LogDriver();
    const { log, positions } = driver;
    const cursors: { cursor: LogCursor; next: [number, number]; lost: number; read: number; from: number }[] = [];
    for (let turn = 0; turn < 3000; turn += 1) {
      if (turn % 500 === 0) {
        const next: [number, number] = [positions[0].length, positions[1].length];
        cursors.push({ cursor: new LogCursor(log), next, lost: 0, read: 0, from: log.position });
      }
      // Storms of ticks, and at times of slow frames, between two reads.
      const slowShare = random.pick([0, 0.02, 0.5, 1]);
      for (let count = random.integer(0, random.pick([3, 50, 200])); count > 0; count -= 1) {
        driver.commit(random.chance(slowShare), random.chance(0.01) ? MAX_FRAME_BYTES : 8 * random.integer(20, 150));
      }
      for (const [index, reader] of cursors.entries()) {
        const { cursor, next } = reader;
        // The first reader keeps up, the others read a little, now and then.
        const reads = index === 0 ? 1e9 : random.chance(0.3) ? random.integer(0, 200) : 0;
        for (let count = 0; count < reads; count += 1) {
          const tails = [log.ticks.tail, log.slow.tail] as const;
          for (const ring of [0, 1] as const) {
            reader.lost += Math.max(0, tails[ring] - next[ring]);
            next[ring] = Math.max(next[ring], tails[ring]);
          }
          const tick = positions[0][next[0]] ?? Number.POSITIVE_INFINITY;
          const slow = positions[1][next[1]] ?? Number.POSITIVE_INFINITY;
          const position = Math.min(tick, slow);
          assert.equal(cursor.next(), position < Number.POSITIVE_INFINITY);
          assert.equal(cursor.lost, reader.lost);
          if (position === Number.POSITIVE_INFINITY) {
            assert.equal(reader.from + reader.read + reader.lost, log.position, "read and lost are all there were");
            break;
          }
          next[tick < slow ? 0 : 1] += 1;
          reader.read += 1;
          const { ring, record } = cursor;
          assert.equal(ring, tick < slow ? log.ticks : log.slow);
          assert.equal(ring.positionOf(record), position);
          assert.equal(ring.sequenceOf(record), record + 1);
          assert.equal(ring.streamOf(record), tick < slow ? 1 : 2);
          assertIntact(ring, ring.placeOf(record), ring.lengthOf(record), position);
        }
      }
    }
    t.diagnostic(
      `seed ${SEED}; ${log.position} frames; read and lost: ${cursors.map(({ read, lost }) => `${read} + ${lost}`).join(", ")}`,
    );
    assert.ok(
      cursors.some(({ lost }) => lost > 0),
      "some cursor is overtaken",
    );
    assert.ok(cursors[0]?.read && cursors[0].lost < (cursors[1]?.lost ?? 0), "the reader that keeps up loses least");
  });

  test("a storm of ticks does not push out a slow frame", () => {
    const driver = new LogDriver();
    const cursor = new LogCursor(driver.log);
    driver.commit(true, 272);
    for (let count = 0; count < 100_000; count += 1) driver.commit(false, 176);
    assert.equal(cursor.next(), true);
    assert.equal(cursor.ring, driver.log.slow);
    assert.equal(cursor.ring.positionOf(cursor.record), 1);
    assert.equal(cursor.lost, driver.log.ticks.tail);
    cursor.toHead();
    assert.equal(cursor.next(), false);
  });

  test("a cursor that is overtaken between two reads skips what is gone", () => {
    const driver = new LogDriver();
    const cursor = new LogCursor(driver.log);
    for (let count = 0; count < 10; count += 1) driver.commit(false, 176);
    assert.equal(cursor.next(), true);
    assert.equal(cursor.next(), true);
    const { ticks } = driver.log;
    while (ticks.tail < 5) driver.commit(false, MAX_FRAME_BYTES);
    assert.equal(cursor.next(), true);
    assert.equal(cursor.record, ticks.tail);
    assert.equal(cursor.lost, ticks.tail - 2);
  });
});

test("committing a trade allocates nothing", (t) => {
  const log = new FrameLog(16 << 20, 1);
  const header = new FrameHeader();
  const stream = 33;
  const sequences = new Float64Array(64).fill(2 ** 45);
  const numbers = new Float64Array(24);
  const id = new Int32Array(11);
  new Uint8Array(id.buffer).set(Buffer.from("4611686018427387904"));
  const commits = (count: number) => {
    for (let index = 0; index < count; index += 1) {
      numbers[PRICE] = 50_000 + index / 7;
      numbers[SIZE] = index / 3;
      const at = log.ticks.claim(LARGEST_TRADE_BYTES);
      const length = writeTrade(log.ticks.memory, at, numbers, SIDE_BUY, 0, id, 19);
      sequences[stream] = (sequences[stream] as number) + 1;
      header.set(H_POSITION, log.next, 0);
      header.set(H_SEQ, sequences, stream);
      header.set(H_FROM_SEQ, sequences, stream);
      writeHeader(log.ticks.memory, at, header.words, stream, 1, 0);
      log.commit(log.ticks, length, stream, sequences, 0);
    }
  };
  commits(500_000);
  // The heap's growth over 50 rounds; their median, so that a collection or the compiler at work spoils a round, not the test.
  const round = 20_000;
  const grown: number[] = [];
  for (let count = 0; count < 50; count += 1) {
    const before = getHeapStatistics().used_heap_size;
    commits(round);
    grown.push(getHeapStatistics().used_heap_size - before);
  }
  const median = grown.sort((one, other) => one - other)[grown.length / 2] as number;
  t.diagnostic(`${median} bytes per ${round} commits`);
  assert.ok(median < round, `${median / round} bytes a commit`);
  assert.equal(log.position, 500_000 + 50 * round);
});
