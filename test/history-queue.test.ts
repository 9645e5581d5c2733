/** History that waits: few requests at once, each series once, in order, with the most bars that were asked for. */
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { test } from "node:test";
import { HistoryQueue } from "../src/feeds/history-queue.ts";

/** A queue whose requests the test ends. */
function bench() {
  const asked: [instrument: number, timeframe: number, bars: number][] = [];
  const ends: (() => void)[] = [];
  const queue = new HistoryQueue((...request) => {
    asked.push(request);
    return new Promise((resolve) => ends.push(resolve));
  });
  const end = async () => {
    ends.shift()?.();
    await new Promise(setImmediate);
  };
  return { queue, asked, end };
}

test("a few are under way at once, the rest in order", async () => {
  const { queue, asked, end } = bench();
  for (let instrument = 1; instrument <= 10; instrument += 1) queue.add(instrument, 4, 500);
  const first = asked.length;
  ok(first >= 1 && first <= 4);
  strictEqual(queue.size, 10);
  for (let left = 10; left > 0; left -= 1) {
    await end();
    ok(asked.length - (10 - left + 1) <= first, "never more");
  }
  deepStrictEqual(
    asked.map(([instrument]) => instrument),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  strictEqual(queue.size, 0);
});

test("a series that waits is fetched once, with the most bars; one under way is not asked for again", async () => {
  const { queue, asked, end } = bench();
  for (let instrument = 1; instrument <= 4; instrument += 1) queue.add(instrument, 0, 3);
  queue.add(1, 0, 500);
  queue.add(9, 10, 3);
  queue.add(9, 10, 500);
  queue.add(9, 10, 20);
  queue.add(9, 10, 0);
  for (let round = 0; round < 6; round += 1) await end();
  deepStrictEqual(asked.slice(4), [[9, 10, 500]]);
  queue.add(1, 0, 7);
  deepStrictEqual(asked.at(-1), [1, 0, 7], "when it has ended it can be asked for again");
});

test("closed, it asks for nothing more", async () => {
  const { queue, asked, end } = bench();
  for (let instrument = 1; instrument <= 10; instrument += 1) queue.add(instrument, 0, 3);
  queue.close();
  const before = asked.length;
  for (let round = 0; round < 10; round += 1) await end();
  queue.add(11, 0, 3);
  strictEqual(asked.length, before);
});
