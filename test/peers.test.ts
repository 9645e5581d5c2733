/** What the benchmark puts side by side gives the same answers; nothing here is timed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Contest, check, contests } from "../native-bench/peers.ts";

const all = contests();

type Contender = Contest["ours"];

/** The contender with its answers, which are long in the making, kept. */
function answered(contender: Contender): Contender {
  const answers = contender.answers();
  return { ...contender, answers: () => answers };
}

/** The contender with one answer changed a little. */
function spoiled(contender: Contender, index: number): Contender {
  const answers = contender.answers().slice();
  const answer = answers[index];
  answers[index] = typeof answer === "number" ? answer * (1 + 1e-6) + 1e-6 : `${answer} `;
  return { ...contender, answers: () => answers };
}

for (const { ours, peers, ...contest } of all) {
  test(contest.part, () => {
    const known = { ...contest, ours: answered(ours), peers: peers.map(answered) };
    check(known);
    const expected = known.ours.answers();
    for (const [place, peer] of known.peers.entries()) {
      for (const index of [0, expected.length >> 1, expected.length - 1]) {
        const wrong = { ...known, peers: known.peers.with(place, spoiled(peer, index)) };
        assert.throws(() => check(wrong), { name: "AssertionError", message: new RegExp(`answer ${index}$`) });
      }
    }
    const fewer = { ...ours, answers: () => expected.slice(1) };
    assert.throws(() => check({ ...known, ours: fewer }), /gives as many answers/);
    assert.throws(() => check({ ...known, ours: { ...ours, answers: () => [] } }), /there are answers/);
    // Each time from a fresh start: the second answers are the first.
    check({ ...known, ours });
  });
}

test("each part and each contender has a name of its own", () => {
  assert.equal(new Set(all.map(({ part }) => part)).size, all.length);
  for (const { ours, peers } of all) {
    const names = [ours, ...peers].map(({ name }) => name);
    assert.ok(names.length > 1 && new Set(names).size === names.length, names.join(", "));
  }
});
