/**
 * The parts of the hot path beside what a user would pick instead, in one run and over the same input: the recorded
 * trades, or synthetic ones where there are no recordings. Answers are compared before anything is measured.
 */
import { barsContest } from "./peers-bars.ts";
import { bookContests } from "./peers-book.ts";
import { type Comparison, type Contest, compete } from "./peers-contest.ts";
import { decodeContests } from "./peers-decode.ts";
import { encodeContest } from "./peers-encode.ts";
import { indicatorContests } from "./peers-indicators.ts";
import { ringContest } from "./peers-ring.ts";
import { scanContest } from "./peers-scan.ts";
import { tradeColumns } from "./peers-trades.ts";
import { twinContest } from "./peers-twin.ts";

export type { Comparison, Contest } from "./peers-contest.ts";
export { check } from "./peers-contest.ts";

/** Every part, in the order of a tick's path. */
export function contests(): Contest[] {
  const columns = tradeColumns();
  return [
    scanContest(columns),
    encodeContest(columns),
    ringContest(),
    ...decodeContests(columns),
    twinContest(columns),
    ...bookContests(),
    barsContest(columns),
    ...indicatorContests(columns),
  ];
}

/** Measures them all, one after the other, which takes a minute and a half. */
export async function peers(): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const contest of contests()) comparisons.push(await compete(contest));
  return comparisons;
}
