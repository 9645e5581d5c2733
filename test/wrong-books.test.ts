/**
 * Books that are wrong in the ways in which books go wrong, each of which passes a naive check: the recorded runs are
 * played into the engine through a sink that makes the mistake, and the oracle of the run must see it. Where the
 * engine itself can see it while it runs, it must.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readCapture } from "../loadtest/venues/capture.ts";
import type { Engine } from "../src/engine/engine.ts";
import { CoinbaseParser } from "../src/feeds/coinbase-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import type { Instrument } from "../src/market/instrument.ts";
import type { LevelList, Sink, Slot } from "../src/market/sink.ts";
import {
  FIRST_SEQUENCE,
  LAST_SEQUENCE,
  SIDE_BUY,
  SIDE_SELL,
  STATE_DOWN,
  STATE_LIVE,
  STATE_RESYNCING,
} from "../src/market/sink.ts";
import {
  agrees,
  BINANCE_RULES,
  type BookFrame,
  COINBASE_RULES,
  COINBASE_RUN,
  EngineBench,
  HeldBook,
  HeldSide,
  NO_CAPTURES,
  playBinance,
  type QuoteFrame,
  type StateFrame,
  type Top,
  type TradeFrame,
} from "./gateway.ts";

const BINANCE_POINTS = 1056;
const COINBASE_POINTS = 97;

/** Hands everything on to the engine; a mistake is a subclass. */
class Honest implements Sink {
  readonly slot: Slot;
  protected readonly bench: EngineBench;
  protected readonly engine: Engine;

  constructor(bench: EngineBench) {
    this.bench = bench;
    this.engine = bench.engine;
    this.slot = bench.engine.slot;
  }

  begin(venue: number): void {
    this.engine.begin(venue);
  }
  trade(instrument: number, side: number, flags: number): void {
    this.engine.trade(instrument, side, flags);
  }
  quote(instrument: number, flags: number): void {
    this.engine.quote(instrument, flags);
  }
  bookDelta(instrument: number, flags: number): void {
    this.engine.bookDelta(instrument, flags);
  }
  bookSnapshot(instrument: number, flags: number): void {
    this.engine.bookSnapshot(instrument, flags);
  }
  ticker(instrument: number, flags: number): void {
    this.engine.ticker(instrument, flags);
  }
  funding(): void {}
  liquidation(): void {}
  heartbeat(venue: number): void {
    this.engine.heartbeat(venue);
  }
  lastTrade(instrument: number): void {
    this.engine.lastTrade(instrument);
  }
  instruments(): number[] {
    return [];
  }
  history(): void {}
  connection(): void {}
  bookFailed(instrument: number, reason: string): void {
    this.engine.bookFailed(instrument, reason);
  }
}

/** A level of size 0 stays in the book: it is given the least size that is not 0. */
class ZeroKept extends Honest {
  override bookDelta(instrument: number, flags: number): void {
    for (const { values, count } of [this.slot.bids, this.slot.asks]) {
      for (let level = 0; level < count; level += 1) values[2 * level + 1] ||= Number.MIN_VALUE;
    }
    super.bookDelta(instrument, flags);
  }
}

class SidesSwapped extends Honest {
  override bookDelta(instrument: number, flags: number): void {
    const { bids, asks } = this.slot;
    const [bidLevels, askLevels] = [levelsOf(bids), levelsOf(asks)];
    fill(bids, askLevels);
    fill(asks, bidLevels);
    super.bookDelta(instrument, flags);
  }
}

/** The book never holds more than its best levels: those that are pushed out are gone for good. */
class Truncated extends Honest {
  readonly #depth = 20;

  override bookDelta(instrument: number, flags: number): void {
    super.bookDelta(instrument, flags);
    const book = this.engine.books.get(instrument);
    for (const side of [book?.bids, book?.asks]) {
      if (side === undefined || side.count <= this.#depth) continue;
      const excess = side.count - this.#depth;
      side.prices.copyWithin(0, excess, side.count);
      side.sizes.copyWithin(0, excess, side.count);
      side.count = this.#depth;
    }
  }
}

/** Takes the first change that follows the snapshot for one that is in it, and goes on as if nothing were missing. */
class FirstSkipped extends Honest {
  #snapshot = Number.NaN;
  #skipped = Number.NaN;

  override bookSnapshot(instrument: number, flags: number): void {
    this.#snapshot = this.slot.numbers[LAST_SEQUENCE] as number;
    super.bookSnapshot(instrument, flags);
  }

  override bookDelta(instrument: number, flags: number): void {
    const { numbers } = this.slot;
    const [first, last] = [numbers[FIRST_SEQUENCE] as number, numbers[LAST_SEQUENCE] as number];
    if (Number.isNaN(this.#skipped) && last > this.#snapshot) {
      this.#skipped = last;
      return;
    }
    if (first === this.#skipped + 1) numbers[FIRST_SEQUENCE] = this.#snapshot + 1;
    super.bookDelta(instrument, flags);
  }
}

interface Loss {
  instrument: number;
  /** Changes of the book before the loss, and how many are lost. */
  after: number;
  count: number;
}

/** Some changes are lost with the connection; the new subscription brings a snapshot, and all is well. */
class Resubscribed extends Honest {
  readonly book = { bids: new HeldSide(true), asks: new HeldSide(false) };
  sequence = 0;
  /** Updates of the venue's that fell into the loss. */
  readonly lost: number[] = [];
  #deltas = 0;
  readonly #loss: Loss;

  constructor(bench: EngineBench, loss: Loss) {
    super(bench);
    this.#loss = loss;
  }

  override bookSnapshot(instrument: number, flags: number): void {
    if (instrument === this.#loss.instrument) this.#keep();
    super.bookSnapshot(instrument, flags);
  }

  override bookDelta(instrument: number, flags: number): void {
    const { after, count } = this.#loss;
    if (instrument !== this.#loss.instrument) return super.bookDelta(instrument, flags);
    this.#keep();
    this.#deltas += 1;
    if (this.#deltas <= after) return super.bookDelta(instrument, flags);
    if (this.#deltas <= after + count) this.lost.push(this.sequence);
    if (this.#deltas === after + 1) this.lose(instrument);
    else if (this.#deltas === after + count) {
      fill(this.slot.bids, this.book.bids.top(100_000));
      fill(this.slot.asks, this.book.asks.top(100_000));
      this.slot.numbers[LAST_SEQUENCE] = this.sequence;
      this.resubscribe(instrument);
    } else if (this.#deltas > after + count) this.follow(instrument, flags);
  }

  #keep(): void {
    for (const [price, size] of levelsOf(this.slot.bids)) this.book.bids.set(price, size);
    for (const [price, size] of levelsOf(this.slot.asks)) this.book.asks.set(price, size);
    this.sequence = this.slot.numbers[LAST_SEQUENCE] as number;
  }

  protected lose(_instrument: number): void {
    this.engine.connection(this.bench.venue, STATE_DOWN, "lost");
    this.engine.connection(this.bench.venue, STATE_LIVE, "");
  }

  protected resubscribe(instrument: number): void {
    super.bookSnapshot(instrument, 0);
  }

  protected follow(instrument: number, flags: number): void {
    super.bookDelta(instrument, flags);
  }
}

/** The loss is seen, but the snapshot that follows is not used. */
class SnapshotIgnored extends Resubscribed {
  protected override resubscribe(): void {}
}

/** Neither is the loss seen, nor the snapshot used; the counts are made to fit. */
class LossIgnored extends SnapshotIgnored {
  #fitted = false;

  protected override lose(): void {}

  protected override follow(instrument: number, flags: number): void {
    const { numbers } = this.slot;
    if (!this.#fitted && numbers[FIRST_SEQUENCE] !== 0) {
      numbers[FIRST_SEQUENCE] = (this.engine.books.get(instrument)?.sequence ?? 0) + 1;
    }
    this.#fitted = true;
    super.follow(instrument, flags);
  }
}

/** Takes the side of a Coinbase match, which is the maker's, for the aggressor's. */
class MakerSide extends Honest {
  override trade(instrument: number, side: number, flags: number): void {
    super.trade(instrument, side === SIDE_BUY ? SIDE_SELL : SIDE_BUY, flags);
  }
}

function levelsOf({ values, count }: LevelList): [number, number][] {
  return Array.from({ length: count }, (_, level) => [values[2 * level] as number, values[2 * level + 1] as number]);
}

function fill(list: LevelList, levels: readonly (readonly [number, number])[]): void {
  list.count = 0;
  for (const [price, size] of levels) list.push(price, size);
}

interface Verdict {
  bench: EngineBench;
  instrument: Instrument;
  compared: number;
  wrong: number;
  /** States of the book, in order, with their reasons. */
  states: string[];
}

/** Wherever a change ends at a quote's update, the best prices and sizes of both must be equal. */
function binance(mistake: (bench: EngineBench, of: Instrument) => Sink, checked = true): Verdict {
  const bench = new EngineBench({ ...BINANCE_RULES, quotesShareBookSequence: checked }, {}, 64 * 2 ** 20);
  const instrument = bench.start(["ETH/USDT"]);
  playBinance(bench, instrument, mistake(bench, instrument));
  const verdict: Verdict = { bench, instrument, compared: 0, wrong: 0, states: [] };
  const quotes = new Map<number | null, Top>();
  const tops = new Map<number | null, Top>();
  const book = new HeldBook();
  const compare = (sequence: number | null) => {
    const [quote, top] = [quotes.get(sequence), tops.get(sequence)];
    if (quote === undefined || top === undefined) return;
    verdict.compared += 1;
    if (!agrees(quote, top)) verdict.wrong += 1;
  };
  for (const frame of bench.drain()) {
    if (frame.type === "quote") {
      const { sequence } = frame as QuoteFrame;
      // A quote that goes out again because the book is lost is none of the venue's.
      if (quotes.has(sequence)) continue;
      quotes.set(sequence, frame as QuoteFrame);
      compare(sequence);
    } else if (frame.type === "orderbook" && book.apply(frame as BookFrame)) {
      tops.set(book.sequence, book.best);
      compare(book.sequence);
    } else if (frame.type === "state" && frame.channel === "orderbook") {
      verdict.states.push(`${(frame as StateFrame).state} ${(frame as StateFrame).reason ?? ""}`.trim());
    }
  }
  return verdict;
}

const isRight = ({ compared, wrong }: Verdict, points: number) => compared === points && wrong === 0;

describe("Binance", { skip: NO_CAPTURES }, () => {
  test("the book as it is passes", () => {
    const verdict = binance((bench) => new Honest(bench));
    assert.ok(isRight(verdict, BINANCE_POINTS), JSON.stringify([verdict.compared, verdict.wrong]));
    assert.deepEqual(verdict.states, ["syncing", "live"]);
    assert.equal(verdict.bench.engine.books.breaches, 0);
  });

  for (const [what, Mistake, reasons] of [
    ["quantity 0 kept as a level", ZeroKept, ["stale bid above ask", "stale the venue's own quote differs"]],
    ["sides swapped", SidesSwapped, ["stale bid above ask", "stale the venue's own quote differs"]],
    ["truncated", Truncated, ["stale the venue's own quote differs"]],
    ["off by one at the first event", FirstSkipped, ["stale the venue's own quote differs"]],
  ] as const) {
    test(`${what}: the oracle fails it`, () => {
      const verdict = binance((bench) => new Mistake(bench), false);
      assert.ok(!isRight(verdict, BINANCE_POINTS), `${verdict.compared} compared, ${verdict.wrong} wrong`);
      assert.ok(!verdict.states.some((state) => state.includes("sequence")), "the venue's counts fit all along");
    });

    test(`${what}: the engine sees it while it runs, and nothing wrong goes out where it can be known`, () => {
      const { bench, wrong, states, compared } = binance((each) => new Mistake(each));
      assert.equal(wrong, 0, `of ${compared}`);
      assert.ok(bench.engine.books.breaches > 0);
      assert.ok(
        reasons.some((reason) => states.includes(reason)),
        states.join(", "),
      );
    });
  }

  const lossOf = (of: Instrument): Loss => ({ instrument: of.id, after: 2000, count: 300 });

  test("changes lost with the connection: the snapshot of the new subscription makes it right again", () => {
    let sink: Resubscribed | undefined;
    const verdict = binance((bench, of) => {
      sink = new Resubscribed(bench, lossOf(of));
      return sink;
    });
    assert.equal(verdict.wrong, 0);
    assert.ok(verdict.compared > 900 && verdict.compared < BINANCE_POINTS, `${verdict.compared} compared`);
    assert.equal(sink?.lost.length, 300);
    assert.deepEqual(verdict.states, ["syncing", "live", "stale lost", "resyncing lost", "live"]);
  });

  test("that snapshot ignored: the book is never called live again", () => {
    const verdict = binance((bench, of) => new SnapshotIgnored(bench, lossOf(of)));
    assert.ok(verdict.compared < 900, `${verdict.compared} compared`);
    assert.equal(verdict.bench.engine.books.get(verdict.instrument.id)?.live, false);
    assert.deepEqual(verdict.states.slice(0, 4), ["syncing", "live", "stale lost", "resyncing lost"]);
    assert.ok(!verdict.states.slice(4).includes("live"));
  });

  test("loss and snapshot ignored: the oracle fails it, and the engine sees it while it runs", () => {
    const mistake = (bench: EngineBench, of: Instrument) => new LossIgnored(bench, lossOf(of));
    const unchecked = binance(mistake, false);
    assert.ok(unchecked.wrong > 0 || unchecked.compared < 900, `${unchecked.compared} compared`);
    const checked = binance(mistake);
    assert.equal(checked.wrong, 0);
    assert.ok(
      checked.states.includes("stale the venue's own quote differs") || checked.states.includes("stale bid above ask"),
      checked.states.join(", "),
    );
  });
});

interface CoinbaseVerdict {
  bench: EngineBench;
  ids: Map<string, number>;
  /** Tickers with which a live book was compared, and where it was another. */
  compared: number;
  wrong: number;
  /** Trades whose side was compared, and where it was not the taker's. */
  sides: number;
  wrongSides: number;
}

interface Ticker {
  product_id: string;
  best_bid: string;
  best_ask: string;
  side: string;
  trade_id: number;
}

/** After a product's first ticker, each equals the book's best prices, and its side is that of its trade. */
function coinbase(mistake: (bench: EngineBench, ids: Map<string, number>) => Sink): CoinbaseVerdict {
  const lines = COINBASE_RUN.flatMap((path) => [...readCapture(path)]);
  const tickers = new Map<string, Ticker[]>();
  for (const { text } of lines) {
    if (!text.includes('"type":"ticker"')) continue;
    const ticker = JSON.parse(text.toString()) as Ticker;
    tickers.set(ticker.product_id, [...(tickers.get(ticker.product_id) ?? []), ticker]);
  }
  const bench = new EngineBench(COINBASE_RULES, {}, 64 * 2 ** 20);
  bench.start([...tickers.keys()].map((product) => product.replace("-", "/")));
  const symbols = new SymbolTable();
  const ids = new Map<string, number>();
  for (const instrument of bench.engine.catalog.all()) {
    const product = instrument.symbol.replace("/", "-");
    symbols.add(product, instrument.id);
    ids.set(product, instrument.id);
    for (const channel of ["trades", "orderbook", "ticker"] as const) bench.engine.open(instrument, channel);
  }
  const parser = new CoinbaseParser({
    sink: mistake(bench, ids),
    venue: bench.venue,
    symbols,
    started: new StartedStreams(),
    counters: new FeedCounters(),
    onControl: () => {},
    onMalformed: (text) => {
      throw new Error(`not understood: ${text.slice(0, 100)}`);
    },
  });
  for (const { atMs, text } of lines) {
    bench.clock.set(Math.floor(atMs * 1000));
    parser.parse(text);
    bench.engine.tick();
  }
  return compareWithTickers(bench, ids, tickers);
}

function compareWithTickers(
  bench: EngineBench,
  ids: Map<string, number>,
  tickers: Map<string, Ticker[]>,
): CoinbaseVerdict {
  const verdict: CoinbaseVerdict = { bench, ids, compared: 0, wrong: 0, sides: 0, wrongSides: 0 };
  const takers = new Map<string, string>();
  for (const [product, list] of tickers) {
    for (const { trade_id, side } of list.slice(1)) takers.set(`${ids.get(product)} ${trade_id}`, side);
  }
  const products = new Map([...ids].map(([product, id]) => [id, product]));
  const books = new Map<number, HeldBook>();
  const live = new Map<number, boolean>();
  const seen = new Map<number, number>();
  for (const frame of bench.drain()) {
    const id = frame.stream >>> 5;
    if (frame.type === "orderbook") {
      const book = books.get(id) ?? new HeldBook();
      books.set(id, book);
      book.apply(frame as BookFrame);
    } else if (frame.type === "state" && frame.channel === "orderbook")
      live.set(id, (frame as StateFrame).state === "live");
    else if (frame.type === "trade") {
      const taker = takers.get(`${id} ${(frame as TradeFrame).trade_id}`);
      if (taker === undefined) continue;
      verdict.sides += 1;
      if (taker !== (frame as TradeFrame).side) verdict.wrongSides += 1;
    } else if (frame.type === "ticker") {
      const index = seen.get(id) ?? 0;
      seen.set(id, index + 1);
      if (index === 0 || live.get(id) !== true) continue;
      const ticker = tickers.get(products.get(id) ?? "")?.[index];
      const best = books.get(id)?.best;
      verdict.compared += 1;
      if (best?.bid_price !== Number(ticker?.best_bid) || best.ask_price !== Number(ticker?.best_ask))
        verdict.wrong += 1;
    }
  }
  return verdict;
}

describe("Coinbase", { skip: NO_CAPTURES }, () => {
  test("the books and sides as they are pass", () => {
    const { compared, wrong, sides, wrongSides, bench } = coinbase((each) => new Honest(each));
    assert.deepEqual([compared, wrong, sides, wrongSides], [COINBASE_POINTS, 0, COINBASE_POINTS, 0]);
    assert.equal(bench.engine.books.breaches, 0);
  });

  for (const [what, Mistake] of [
    ["quantity 0 kept as a level", ZeroKept],
    ["sides swapped", SidesSwapped],
  ] as const) {
    test(`${what}: the oracle fails it, and the engine sees the crossed books while it runs`, () => {
      const { compared, wrong, bench } = coinbase((each) => new Mistake(each));
      assert.ok(wrong > 0 || compared < COINBASE_POINTS, `${compared} compared`);
      assert.ok(bench.engine.books.breaches > 0);
    });
  }

  test("the maker's side taken for the aggressor's: every side is wrong", () => {
    const { sides, wrongSides, wrong } = coinbase((bench) => new MakerSide(bench));
    assert.deepEqual([sides, wrongSides, wrong], [COINBASE_POINTS, COINBASE_POINTS, 0]);
  });

  const loss = (ids: Map<string, number>): Loss => ({ instrument: ids.get("SKL-USD") ?? 0, after: 200, count: 300 });

  test("changes lost: the snapshot of the new subscription makes the book right again", () => {
    /** One product is subscribed to anew; the others go on. */
    class Renewed extends Resubscribed {
      protected override lose(instrument: number): void {
        this.engine.bookFailed(instrument, "unreadable");
      }
    }
    const { compared, wrong } = coinbase((bench, ids) => new Renewed(bench, loss(ids)));
    assert.equal(wrong, 0);
    assert.ok(compared > 80 && compared < COINBASE_POINTS, `${compared} compared`);
  });

  test("that snapshot ignored: the book is never called live again", () => {
    class Ignored extends SnapshotIgnored {
      protected override lose(instrument: number): void {
        this.engine.bookFailed(instrument, "unreadable");
      }
    }
    const { wrong, bench, ids, compared } = coinbase((each, all) => new Ignored(each, loss(all)));
    assert.equal(wrong, 0);
    assert.ok(compared < COINBASE_POINTS);
    assert.equal(bench.engine.books.get(ids.get("SKL-USD") ?? 0)?.state, STATE_RESYNCING);
  });

  test("loss and snapshot ignored: the oracle fails it", () => {
    const { compared, wrong } = coinbase((bench, ids) => new LossIgnored(bench, loss(ids)));
    assert.ok(wrong > 0 || compared < COINBASE_POINTS, `${compared} compared, ${wrong} wrong`);
  });
});
