/** Which place a subscription gets of those that the program's earlier starts left. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cursor } from "../src/client/cursor.ts";
import { type Place, Places, type Standing } from "../src/client/cursor-places.ts";
import type { SubscribeSpec } from "../src/client/request.ts";

const A: SubscribeSpec = { channels: "trades", symbols: ["BTC/USDT", "ETH/USDT"] };
const B: SubscribeSpec = { channels: ["trades"], symbols: "ETH/USDT", conflateMs: 100 };

function at(position: number, held: Record<string, number> = {}, epoch = 1): Cursor {
  return { epoch, position, held };
}

function standing(
  spec: SubscribeSpec,
  waiting: [stream: number, position: number, sequence: number, epoch?: number][] = [],
): Standing {
  const places = waiting.map(([stream, position, sequence, epoch = 1]) => ({ epoch, stream, position, sequence }));
  return { spec, isHolding: false, places: () => places };
}

/** Begins subscriptions that stand at these places; returns what each began from. */
function begin(places: Places, ...each: (readonly [SubscribeSpec, Cursor])[]): (Cursor | undefined)[] {
  return each.map(([spec, cursor]) => {
    const { begins, end } = places.claim(standing(spec));
    end(() => cursor);
    return begins;
  });
}

/** What an earlier start left. */
function left(...each: (readonly [SubscribeSpec, Cursor])[]): Place[] {
  const places = new Places([]);
  begin(places, ...each);
  return places.now();
}

function positions(places: readonly Cursor[]): number[] {
  return places.map(({ position }) => position);
}

test("each goes on from its own place, in whichever order they are made, and however it is written", () => {
  const earlier = left([A, at(10, { 33: 5 })], [B, at(20, { 33: 9 })]);
  const again: SubscribeSpec = { symbols: ["ETH/USDT", "BTC/USDT"], channels: ["trades"], from: "now-5m" };
  assert.deepEqual(begin(new Places(earlier), [again, at(0)], [B, at(0)]), [at(10, { 33: 5 }), at(20, { 33: 9 })]);
  assert.deepEqual(begin(new Places(earlier), [B, at(0)], [A, at(0)]), [at(20, { 33: 9 }), at(10, { 33: 5 })]);
});

test("of several that ask for the same the first gets the first's, also when they are answered in another order", () => {
  const places = new Places([]);
  const [first, second] = [places.claim(standing(A)), places.claim(standing(A))];
  second.end(() => at(2));
  first.end(() => at(1));
  const earlier = places.now();
  assert.deepEqual(positions(begin(new Places(earlier), [A, at(0)], [A, at(0)]) as Cursor[]), [1, 2]);
});

test("one that asks for something else misses nothing of those that were not made again", () => {
  const earlier = left([A, at(10, { 33: 5, 65: 3 })], [B, at(8, { 33: 9 })]);
  const other = { ...A, symbols: ["BTC/USDT", "SOL/USDT"] };
  assert.deepEqual(begin(new Places(earlier), [other, at(0)]), [at(8, { 33: 5, 65: 3 })]);
  assert.deepEqual(begin(new Places(earlier), [B, at(0)], [other, at(0)])[1], at(10, { 33: 5, 65: 3 }));
  const [, , fresh] = begin(new Places(earlier), [B, at(0)], [A, at(0)], [other, at(0)]);
  assert.equal(fresh, undefined, "all that were there are there again: this one is new");
});

test("of several epochs the one that came first is gone on from, whatever its number", () => {
  for (const [before, after] of [
    [2, 1],
    [1, 2],
  ] as const) {
    const places = new Places([]);
    const [first, second] = [places.claim(standing(A)), places.claim(standing(B))];
    let stands = at(10, { 33: 5 }, before);
    first.end(() => stands);
    second.end(() => at(800, { 33: 900 }, before));
    places.now();
    // Of the two connections only one has come to the server that was started anew.
    stands = at(3, { 33: 1 }, after);
    const earlier = places.now();
    assert.deepEqual(places.epochsOf(earlier), [before, after]);
    const again = new Places(earlier, places.epochsOf(earlier));
    assert.deepEqual(begin(again, [{ symbols: "*" }, at(0)]), [at(800, { 33: 900 }, before)]);
  }
});

test("what waits from before the server was started anew is gone on from there", () => {
  const places = new Places([]);
  const waiting = standing(A, [
    [33, 90, 7, 5],
    [65, 95, 8, 5],
    [33, 2, 1, 4],
  ]);
  places.claim(waiting).end(() => at(3, { 33: 2 }, 4));
  assert.deepEqual(
    places.now().map(({ epoch, position, held }) => ({ epoch, position, held })),
    [at(89, {}, 5)],
  );
});

test("what is not made again is kept over the next crashes, for ten minutes of the program's", () => {
  const places = new Places(left([A, at(10)], [B, at(20)]));
  begin(places, [B, at(21)]);
  assert.deepEqual(positions(places.now()), [10, 21]);
  for (let save = 1; save < 2399; save += 1) places.now();
  assert.deepEqual(positions(places.now()), [21]);
});

test("one that is refused leaves its place to whoever asks again, and nothing else behind", () => {
  const places = new Places(left([A, at(10)]));
  places.claim(standing(A)).end(undefined);
  assert.deepEqual(positions(places.now()), [10]);
  const { begins, end } = places.claim(standing(A));
  assert.equal(begins?.position, 10);
  assert.deepEqual(positions(places.now()), [10], "while it is not answered it stands where it began");
  end(() => at(11));
  places.claim(standing(B)).end(undefined);
  assert.deepEqual(positions(places.now()), [11]);
});

test("one that was closed goes on from there after a restart, not in this program", () => {
  const places = new Places([]);
  const closed = standing(A, [[33, 7, 4]]);
  places.claim(closed).end(() => at(10, { 33: 5 }));
  places.close(closed);
  assert.deepEqual(places.claim(standing(B)).begins, undefined);
  assert.deepEqual(begin(new Places(places.now()), [A, at(0)]), [at(6, { 33: 3 })], "before what is not iterated yet");
  assert.deepEqual(begin(places, [A, at(20)]), [undefined]);
  assert.deepEqual(positions(places.now()), [20]);
});

test("no more than 256 are kept of those that are not there", () => {
  const many = Array.from({ length: 300 }, (_, index) => [{ symbols: `A${index}/USDT` }, at(index)] as const);
  const kept = positions(new Places(left(...many)).now());
  assert.deepEqual([kept.length, kept[0], kept.at(-1)], [256, 44, 299]);
});

test("one that was refused leaves nothing that another could begin from", () => {
  for (const earlier of [[], left([B, at(8)])]) {
    const places = new Places(earlier);
    places.claim(standing({ symbols: "NO/PE" })).end(undefined);
    assert.deepEqual(places.claim(standing(A)).begins, earlier.length === 0 ? undefined : at(8));
  }
});
