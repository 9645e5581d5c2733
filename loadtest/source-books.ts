import { Random } from "../src/std/random.ts";
import { textFrame } from "./text-frame.ts";
import type { Level } from "./venues/tape.ts";

const LEVELS = 50;
const CHANGED_LEVELS = 3;
const FIRST_SEQUENCE = 5_000_000_000;

/** One instrument's book: prices stand still, sizes change; so every update is small and every book is right. */
interface Book {
  sequence: number;
  /** The first update that the next depth message tells of. */
  from: number;
  bids: Level[];
  asks: Level[];
  changedBids: Set<number>;
  changedAsks: Set<number>;
}

/**
 * Quotes and depth updates that agree with each other and with the REST snapshot, as a venue's do: each change has a
 * number, a quote shows the top after its change, a depth message brings all levels changed since the last one.
 */
export class SourceBooks {
  readonly #symbols: readonly string[];
  readonly #books: (Book | undefined)[] = [];
  readonly #random: Random;

  constructor(symbols: readonly string[], seed: number) {
    this.#symbols = symbols;
    this.#random = new Random(seed);
  }

  /** A change of the best levels, as a bookTicker frame. */
  quote(instrument: number): Buffer {
    const book = this.#book(instrument);
    book.sequence += 1;
    this.#change(book.bids, book.changedBids, 0);
    this.#change(book.asks, book.changedAsks, 0);
    const symbol = this.#symbols[instrument] as string;
    const [bid, bidSize] = book.bids[0] as Level;
    const [ask, askSize] = book.asks[0] as Level;
    const data = `{"u":${book.sequence},"s":"${symbol}","b":"${bid}","B":"${bidSize}","a":"${ask}","A":"${askSize}"}`;
    return textFrame(`{"stream":"${symbol.toLowerCase()}@bookTicker","data":${data}}`).bytes;
  }

  /** Some deeper changes, and with them all since the last depth message. */
  depth(instrument: number, dueMicros: number): Buffer {
    const book = this.#book(instrument);
    for (let change = 0; change < CHANGED_LEVELS; change += 1) {
      book.sequence += 1;
      this.#change(book.bids, book.changedBids, this.#random.integer(1, LEVELS - 1));
      this.#change(book.asks, book.changedAsks, this.#random.integer(1, LEVELS - 1));
    }
    const symbol = this.#symbols[instrument] as string;
    const bids = JSON.stringify([...book.changedBids].map((level) => book.bids[level]));
    const asks = JSON.stringify([...book.changedAsks].map((level) => book.asks[level]));
    const head = `"e":"depthUpdate","E":${dueMicros},"s":"${symbol}","U":${book.from},"u":${book.sequence}`;
    book.from = book.sequence + 1;
    book.changedBids.clear();
    book.changedAsks.clear();
    return textFrame(`{"stream":"${symbol.toLowerCase()}@depth@100ms","data":{${head},"b":${bids},"a":${asks}}}`).bytes;
  }

  /** What REST answers: the whole book after its last change. */
  snapshot(instrument: number): object {
    const { sequence, bids, asks } = this.#book(instrument);
    return { lastUpdateId: sequence, bids, asks };
  }

  #book(instrument: number): Book {
    let book = this.#books[instrument];
    if (book === undefined) {
      const middle = this.#random.integer(1_000_000, 9_000_000);
      const side = (step: number): Level[] =>
        Array.from({ length: LEVELS }, (_, level) => [((middle + step * (level + 1)) / 100).toFixed(8), this.#size()]);
      book = {
        sequence: FIRST_SEQUENCE,
        from: FIRST_SEQUENCE + 1,
        bids: side(-1),
        asks: side(1),
        changedBids: new Set(),
        changedAsks: new Set(),
      };
      this.#books[instrument] = book;
    }
    return book;
  }

  #change(side: Level[], changed: Set<number>, level: number): void {
    (side[level] as Level)[1] = this.#size();
    changed.add(level);
  }

  #size(): string {
    return (this.#random.integer(1, 99_999) / 10_000).toFixed(8);
  }
}
