import { Book } from "../src/engine/book.ts";
import { LevelList, Slot } from "../src/market/sink.ts";
import { assert } from "../src/std/assert.ts";
import { Random } from "../src/std/random.ts";
import type { Contest } from "./peers-contest.ts";

/** Levels of the side, before the changes take some of them out. */
const LEVELS = 1000;
/** Changes in one run, after which the side has the levels that it began with. */
const CHANGES = 512;
/** At most so many levels are out at a time, so that a level's place stays within these of its place at the start. */
const MOST_OUT = 3;
const TOP = 10;
const DEEP = 500 + MOST_OUT;

/** Level changes of the bids, one a message: size 0 removes. */
interface Changes {
  prices: Float64Array;
  sizes: Float64Array;
}

const priceOf = (level: number) => (268_000 - 3 * level) / 100;

/**
 * Half of the changes give a level another size, a quarter remove one, a quarter bring one back: in the recorded deltas
 * it is 49, 25 and 26 of 100 that change something. All are among the levels [first, end).
 */
function changesAmong(first: number, end: number, seed: number): Changes {
  const random = new Random(seed);
  const changes = { prices: new Float64Array(CHANGES), sizes: new Float64Array(CHANGES) };
  const out: number[] = [];
  for (let index = 0; index < CHANGES; index += 1) {
    const left = CHANGES - index;
    const moves = left <= out.length || random.chance(0.5);
    // What is out must come back before the end; with none out, or as many as may be, there is no choice.
    const returns =
      moves && out.length > 0 && (out.length === MOST_OUT || left <= out.length + 1 || random.chance(0.5));
    const removes = moves && !returns && left > out.length + 1;
    let level = returns ? (out.shift() as number) : random.integer(first, end - 1);
    while (!returns && out.includes(level)) level = random.integer(first, end - 1);
    if (removes) out.push(level);
    changes.prices[index] = priceOf(level);
    changes.sizes[index] = removes ? 0 : random.integer(1, 100_000) / 10_000;
  }
  assert(out.length === 0, "a run ends with the levels that it began with");
  return changes;
}

/** The shipped book, with one ask that its bids are checked against. */
class ShippedBook {
  readonly #book = new Book("guaranteed");
  readonly #bids = new LevelList();
  readonly #asks = new LevelList();
  readonly #numbers = new Slot().numbers;
  readonly best = new Float64Array(2);

  constructor() {
    for (let level = 0; level < LEVELS; level += 1) this.#bids.push(priceOf(level), 1);
    this.#asks.push(priceOf(-1), 1);
    this.#book.snapshot(this.#numbers, this.#bids, this.#asks);
    this.#bids.count = 1;
    this.#asks.count = 0;
  }

  set(changes: Changes, index: number): void {
    this.#bids.values[0] = changes.prices[index];
    this.#bids.values[1] = changes.sizes[index];
    this.#book.delta(this.#numbers, this.#bids, this.#asks);
    const { bids } = this.#book;
    this.best[0] = bids.prices[bids.count - 1];
    this.best[1] = bids.sizes[bids.count - 1];
  }

  levels(): number[] {
    const { bids } = this.#book;
    const pairs = new Float64Array(2 * bids.count);
    bids.copyTop(pairs, bids.count);
    return [...pairs];
  }
}

/** An array of levels, best first, found by halves and spliced. */
class SortedArrayBook {
  readonly #bids = Array.from({ length: LEVELS }, (_, level) => ({ price: priceOf(level), size: 1 }));
  readonly best = new Float64Array(2);

  set(changes: Changes, index: number): void {
    const bids = this.#bids;
    const price = changes.prices[index];
    const size = changes.sizes[index];
    let low = 0;
    let high = bids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bids[middle].price > price) low = middle + 1;
      else high = middle;
    }
    const found = low < bids.length && bids[low].price === price;
    if (found && size !== 0) bids[low].size = size;
    else if (found) bids.splice(low, 1);
    else if (size !== 0) bids.splice(low, 0, { price, size });
    this.best[0] = bids[0].price;
    this.best[1] = bids[0].size;
  }

  levels(): number[] {
    return this.#bids.flatMap(({ price, size }) => [price, size]);
  }
}

/** A Map from price to size, whose prices are sorted when the best is asked for. */
class MapBook {
  readonly #bids = new Map(Array.from({ length: LEVELS }, (_, level) => [priceOf(level), 1]));
  readonly best = new Float64Array(2);

  set(changes: Changes, index: number): void {
    const price = changes.prices[index];
    const size = changes.sizes[index];
    if (size === 0) this.#bids.delete(price);
    else this.#bids.set(price, size);
    const [best] = this.#sorted();
    this.best[0] = best;
    this.best[1] = this.#bids.get(best) as number;
  }

  #sorted(): number[] {
    return [...this.#bids.keys()].sort((a, b) => b - a);
  }

  levels(): number[] {
    return this.#sorted().flatMap((price) => [price, this.#bids.get(price) as number]);
  }
}

/** The best after each change, and all levels while some of them are out, and in the end. */
function answersOf(
  book: { set(changes: Changes, index: number): void; levels(): number[]; best: Float64Array },
  changes: Changes,
): number[] {
  const answers: number[] = [];
  for (let index = 0; index < CHANGES; index += 1) {
    book.set(changes, index);
    answers.push(...book.best);
    if (index % 100 === 99 || index === CHANGES - 1) answers.push(...book.levels());
  }
  return answers;
}

function bookContest(part: string, changes: Changes): Contest {
  const shipped = new ShippedBook();
  const sorted = new SortedArrayBook();
  const mapped = new MapBook();
  return {
    part,
    count: CHANGES,
    ours: {
      name: "book",
      run(from, to) {
        for (let index = from; index < to; index += 1) shipped.set(changes, index);
      },
      answers: () => answersOf(new ShippedBook(), changes),
    },
    peers: [
      {
        name: "sorted array, splice",
        run(from, to) {
          for (let index = from; index < to; index += 1) sorted.set(changes, index);
        },
        answers: () => answersOf(new SortedArrayBook(), changes),
      },
      {
        name: "Map, sorted when read",
        run(from, to) {
          for (let index = from; index < to; index += 1) mapped.set(changes, index);
        },
        answers: () => answersOf(new MapBook(), changes),
      },
    ],
  };
}

/** A change of one level of a side of 1,000, after which the best is read. */
export function bookContests(): Contest[] {
  return [
    bookContest("a book level changed among the first 10", changesAmong(0, TOP, 1)),
    bookContest("a book level changed beyond level 500", changesAmong(DEEP, LEVELS, 2)),
  ];
}
