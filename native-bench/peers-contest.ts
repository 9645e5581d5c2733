import { fail, notStrictEqual, strictEqual } from "node:assert";
import { garbageOf, settle } from "./garbage.ts";
import { measure } from "./parts.ts";

/** One way to do a part of the work. */
export interface Contender {
  name: string;
  /** Does the operations from `from` up to `to`; what they give is added up, so that none can be left out. */
  run(from: number, to: number): void;
  /** What each operation gives, from a fresh start and by the code that `run` runs. */
  answers(): (number | string)[];
}

/** A part of the hot path beside what a user would pick instead, over the same input. */
export interface Contest {
  part: string;
  /** Operations in one run. */
  count: number;
  ours: Contender;
  peers: readonly Contender[];
  /** By how much numbers may differ; without it they are the same to the last bit. */
  tolerance?: Tolerance;
  /** The bytes that an operation allocates are measured as well; then `run` may start anywhere. */
  countsBytes?: true;
}

/** Share of the value, and what rounding alone may make of a value near zero. */
export interface Tolerance {
  relative: number;
  absolute: number;
}

export interface Entry {
  name: string;
  /** Nanoseconds of one operation. */
  ns: number;
  /** Bytes that one operation allocates. */
  bytes?: number;
}

export interface Comparison {
  part: string;
  ours: Entry;
  peers: Entry[];
  /** Time of the fastest peer over ours: above 1 ours is faster than every one of them. */
  ratio: number;
}

const EXACTLY: Tolerance = { relative: 0, absolute: 0 };

/** Throws where a peer gives other answers than ours does. */
export function check({ part, ours, peers, tolerance = EXACTLY }: Contest): void {
  const expected = ours.answers();
  notStrictEqual(expected.length, 0, `${part}: there are answers`);
  for (const peer of peers) {
    const answers = peer.answers();
    strictEqual(answers.length, expected.length, `${part}: ${peer.name} gives as many answers`);
    for (const [index, answer] of answers.entries()) {
      if (isNear(answer, expected[index], tolerance)) continue;
      fail(`${part}: ${peer.name} gives ${answer} instead of ${expected[index]}, answer ${index}`);
    }
  }
}

/** A NaN is near nothing, not even another: nobody may be at a loss for an answer. */
function isNear(actual: number | string, expected: number | string, { relative, absolute }: Tolerance): boolean {
  if (typeof actual === "string" || typeof expected === "string") return actual === expected;
  return Math.abs(actual - expected) <= relative * Math.max(Math.abs(actual), Math.abs(expected)) + absolute;
}

/** Contenders are measured in turn so often, and the least median counts: what else runs on the machine only adds. */
const ROUNDS = 3;

/** Operations of one pass while bytes are counted: 64 passes stay well below a young generation's 16 MB. */
const BYTE_PASS = 16;
const BYTE_READS = 200_000;

/** Checks the answers, then measures. */
export async function compete(contest: Contest): Promise<Comparison> {
  check(contest);
  const { part, count, ours, peers } = contest;
  const contenders = [ours, ...peers];
  const tasks = contenders.map((contender) => ({ name: contender.name, count, run: () => contender.run(0, count) }));
  const times = contenders.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round += 1) {
    settle();
    const figures = await measure(tasks);
    for (const [index, { median }] of figures.entries()) times[index] = Math.min(times[index], median);
  }
  const entries: Entry[] = [];
  for (const [index, contender] of contenders.entries()) {
    const entry = { name: contender.name, ns: times[index] };
    entries.push(contest.countsBytes === true ? { ...entry, bytes: await bytesOf(contender) } : entry);
  }
  const [own, ...others] = entries;
  return { part, ours: own, peers: others, ratio: Math.min(...others.map(({ ns }) => ns)) / own.ns };
}

/** A little less than the truth where there is garbage: a stretch with a collection in it counts for less. */
async function bytesOf(contender: Contender): Promise<number> {
  const pass = () => contender.run(0, BYTE_PASS);
  const { bytesPerTick } = await garbageOf(BYTE_READS, BYTE_PASS, pass, () => {});
  return bytesPerTick;
}
