/** What is copied out of a ring while its own thread writes over it, made to happen at the worst moments. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Follower } from "../src/journal/follower.ts";
import { LogView } from "../src/wire/frame-log.ts";
import type { ReadableRing } from "../src/wire/ring.ts";
import { hexOf, Tape } from "./journal-tape.ts";

const SEED = 20_260_106;

/** Follows a small log to its end; `hook` may strike while a frame is being copied. */
function follow(tape: Tape, view: LogView): { position: number; hex: string }[] {
  const follower = new Follower(view, 0);
  const copied: { position: number; hex: string }[] = [];
  while (follower.next()) {
    copied.push({ position: follower.position, hex: hexOf(follower.memory.u8.subarray(0, follower.length)) });
  }
  const all = new Map(tape.committed.map(({ position, hex }) => [position, hex]));
  for (const { position, hex } of copied) assert.equal(hex, all.get(position), `position ${position}`);
  return copied;
}

function overwrite(tape: Tape, rounds: number): void {
  for (let round = 0; round < rounds; round += 1) tape.commit(200);
}

const MOMENTS: Readonly<Record<string, (ring: ReadableRing, strike: () => void) => void>> = {
  "after its place was read": (ring, strike) => {
    const { lengthOf } = ring;
    ring.lengthOf = function (this: ReadableRing, record) {
      strike();
      return lengthOf.call(this, record);
    };
  },
  "before its bytes were copied": (ring, strike) => {
    const { subarray } = ring.memory.u8;
    ring.memory.u8.subarray = function (this: Uint8Array, from?: number, to?: number) {
      strike();
      return subarray.call(this, from, to);
    } as typeof subarray;
  },
};

for (const [moment, arm] of Object.entries(MOMENTS)) {
  test(`a frame that is overwritten ${moment} is thrown away`, (t) => {
    t.diagnostic(`seed ${SEED}`);
    const tape = new Tape(SEED, { ringBytes: 4 << 20 });
    tape.commit(500);
    tape.log.publish();
    const view = new LogView(tape.log.shared);
    view.refresh();
    let calls = 0;
    arm(view.ticks, () => {
      calls += 1;
      if (calls === 100) overwrite(tape, 200);
    });
    const copied = follow(tape, view);
    assert.ok(copied.length >= 99 && copied.length < 400, `${copied.length} were copied before the ring went round`);
  });
}

test("what is not published yet is not read", () => {
  const tape = new Tape(SEED);
  tape.commit(100);
  tape.log.publish();
  const { position } = tape.log;
  tape.commit(100);
  const view = new LogView(tape.log.shared);
  view.refresh();
  assert.equal(view.position, position);
  assert.equal(follow(tape, view).length, position);
});

test("heads above 32 bits cross whole", () => {
  const tape = new Tape(SEED);
  for (const position of [2 ** 31, 2 ** 32 - 2, 2 ** 32, 2 ** 40 + 5]) {
    tape.log.next[0] = position;
    tape.commit(1);
    tape.log.publish();
    const view = new LogView(tape.log.shared);
    const turn = view.refresh();
    assert.equal(turn % 2, 0);
    assert.equal(view.position, tape.log.position);
    assert.ok(view.position >= position);
  }
});
