import { SLOT_ORDERBOOK, SLOT_QUOTES, streamOf } from "../market/channel.ts";
import type { Slot } from "../market/sink.ts";
import {
  FLAG_INEXACT,
  LAST_SEQUENCE,
  PREVIOUS_SEQUENCE,
  STATE_LIVE,
  STATE_RESYNCING,
  STATE_STALE,
  STATE_SYNCING,
} from "../market/sink.ts";
import type { Clock } from "../std/clock.ts";
import * as F from "../wire/frame.ts";
import { BOOK_APPLIED, BOOK_BREACH, BOOK_IGNORED, BOOK_SNAPSHOT_OLD, Book } from "./book.ts";
import { BookRecovery } from "./book-recovery.ts";
import type { DerivedOutput, FrameWriter } from "./frame-writer.ts";
import type { Quotes } from "./quotes.ts";
import type { StreamStates } from "./states.ts";
import type { Venue } from "./venue.ts";

/**
 * All books: applies what the venue sends, writes it on, and when a book is no longer right says so, on the book's own
 * stream and on all that is derived from it, in the same turn; then asks for a new one.
 */
export class Books {
  readonly #frames: FrameWriter;
  readonly #states: StreamStates;
  readonly #quotes: Quotes;
  readonly #changed: (stream: number) => void;
  readonly #books: (Book | undefined)[] = [];
  readonly #venues: (Venue | undefined)[] = [];
  readonly recovery: BookRecovery;
  /** (price, size) pairs of a whole book, best first. */
  #levels: [bids: Float64Array, asks: Float64Array] = [new Float64Array(2048), new Float64Array(2048)];
  breaches = 0;
  ignored = 0;
  contradictions = 0;

  constructor(
    frames: FrameWriter,
    states: StreamStates,
    quotes: Quotes,
    clock: Clock,
    changed: (stream: number) => void,
  ) {
    this.#frames = frames;
    this.#states = states;
    this.#quotes = quotes;
    this.#changed = changed;
    this.recovery = new BookRecovery((instrument) => this.#ask(instrument), clock);
  }

  get(instrument: number): Book | undefined {
    return this.#books[instrument];
  }

  /** Starts a book: deltas are kept from now on, and the snapshot is asked for once the connection is up. */
  open(instrument: number, venue: Venue): void {
    if (this.#books[instrument] !== undefined) return;
    this.#books[instrument] = new Book(venue.rules.integrity);
    this.#venues[instrument] = venue;
    this.#states.set(streamOf(instrument, SLOT_ORDERBOOK), STATE_SYNCING, "");
    // A book that comes with the subscription itself is not asked for.
    if (venue.state === STATE_LIVE && venue.rules.integrity === "range") this.recovery.now(instrument);
  }

  close(instrument: number): void {
    this.#books[instrument] = undefined;
    this.recovery.forget(instrument);
    this.#states.forget(streamOf(instrument, SLOT_ORDERBOOK));
  }

  /** Hot path. */
  delta(instrument: number, slot: Slot, flags: number): void {
    const book = this.#books[instrument];
    if (book === undefined) return;
    const previous = book.sequence;
    const result = book.delta(slot.numbers, slot.bids, slot.asks);
    if (result === BOOK_APPLIED) {
      slot.numbers[PREVIOUS_SEQUENCE] = previous;
      this.#applied(instrument, book, slot, flags);
    } else if (result === BOOK_BREACH) this.lose(instrument, book.reason);
    else if (result === BOOK_IGNORED) this.ignored += 1;
  }

  #applied(instrument: number, book: Book, slot: Slot, flags: number): void {
    const venue = this.#venues[instrument] as Venue;
    const { bids, asks, numbers } = slot;
    if (venue.rules.quotesShareBookSequence && this.#quotes.contradicts(instrument, book)) {
      this.contradictions += 1;
      this.lose(instrument, "the venue's own quote differs");
      return;
    }
    this.#states.alive(streamOf(instrument, SLOT_ORDERBOOK));
    this.#writeLevels(instrument, numbers, bids.values, bids.count, asks.values, asks.count, flagsOf(flags));
    if (!venue.rules.ownQuotes) this.#quote(instrument, book, numbers, flags);
    this.#changed(streamOf(instrument, SLOT_ORDERBOOK));
  }

  /** The quote that a book's top is, where the venue has none of its own. */
  #quote(instrument: number, book: Book, numbers: Float64Array, flags: number): void {
    this.#quotes.fromBook(instrument, book, numbers, flags);
    this.#changed(streamOf(instrument, SLOT_QUOTES));
  }

  /** Writes levels as ring frames; the last of them says that the event is whole. */
  #writeLevels(
    instrument: number,
    numbers: Float64Array,
    bids: Float64Array,
    bidCount: number,
    asks: Float64Array,
    askCount: number,
    flags: number,
  ): void {
    const stream = streamOf(instrument, SLOT_ORDERBOOK);
    this.#frames.introduce(stream);
    const ring = this.#frames.log.ticks;
    let bid = 0;
    let ask = 0;
    do {
      const bidsNow = Math.min(F.MAX_FRAME_LEVELS, bidCount - bid);
      const asksNow = Math.min(F.MAX_FRAME_LEVELS - bidsNow, askCount - ask);
      const at = ring.claim(F.bookBytes(bidsNow + asksNow));
      const length = F.writeBookLevels(ring.memory, at, numbers, bids, bid, bidsNow, asks, ask, asksNow);
      bid += bidsNow;
      ask += asksNow;
      const last = bid === bidCount && ask === askCount ? F.FLAG_LAST_OF_EVENT : 0;
      this.#frames.commit(ring, at, length, stream, flags | last, numbers);
    } while (bid < bidCount || ask < askCount);
  }

  snapshot(instrument: number, slot: Slot, flags: number): void {
    const book = this.#books[instrument];
    if (book === undefined) return;
    if (book.state === STATE_STALE && (this.#venues[instrument] as Venue).rules.integrity === "range") {
      // The answer to a question from before the book was lost: no change after it was kept.
      this.ignored += 1;
      return this.failed(instrument, book.reason);
    }
    const result = book.snapshot(slot.numbers, slot.bids, slot.asks);
    if (result === BOOK_SNAPSHOT_OLD) return this.recovery.failed(instrument);
    if (result === BOOK_BREACH) {
      this.recovery.failed(instrument);
      return this.lose(instrument, book.reason);
    }
    const stream = streamOf(instrument, SLOT_ORDERBOOK);
    this.recovery.succeeded(instrument);
    const { numbers } = slot;
    numbers[LAST_SEQUENCE] = book.sequence;
    numbers[PREVIOUS_SEQUENCE] = 0;
    const [bids, bidCount, asks, askCount] = this.#all(book);
    this.#writeLevels(instrument, numbers, bids, bidCount, asks, askCount, F.FLAG_SNAPSHOT | flagsOf(flags));
    this.#states.set(stream, STATE_LIVE, "");
    const venue = this.#venues[instrument] as Venue;
    if (!venue.rules.ownQuotes) this.#quote(instrument, book, numbers, flags);
    else if (this.#states.of(streamOf(instrument, SLOT_QUOTES)) === STATE_STALE) {
      this.#states.set(streamOf(instrument, SLOT_QUOTES), STATE_LIVE, "book live again");
    }
    this.#changed(stream);
  }

  /** The venue refused, or what it sent could not be read: a live book is wrong from here on. */
  failed(instrument: number, reason: string): void {
    const book = this.#books[instrument];
    // While the venue is away there is nobody to ask, and its return asks for every book.
    if (book === undefined || (this.#venues[instrument] as Venue).state !== STATE_LIVE) return;
    if (book.live) this.lose(instrument, reason);
    else this.recovery.failed(instrument);
  }

  /** The book is no longer right: everyone who has it, or what is made of it, is told now; then a new one is asked for. */
  lose(instrument: number, reason: string): void {
    const book = this.#books[instrument];
    if (book === undefined || book.state === STATE_STALE) return;
    const wasLive = book.live;
    this.breaches += 1;
    book.lose(reason);
    this.#states.set(streamOf(instrument, SLOT_ORDERBOOK), STATE_STALE, reason);
    const quotes = streamOf(instrument, SLOT_QUOTES);
    if (wasLive && this.#states.of(quotes) !== 0) {
      this.#states.set(quotes, STATE_STALE, `book: ${reason}`);
      this.#quotes.lose(instrument);
    }
    if ((this.#venues[instrument] as Venue).state === STATE_LIVE) this.recovery.now(instrument);
  }

  /** Asks the venue for the book, or waits for the one that a new subscription brings by itself. */
  #ask(instrument: number): void {
    const book = this.#books[instrument];
    const venue = this.#venues[instrument];
    if (book === undefined || venue === undefined || venue.state !== STATE_LIVE) return;
    book.resync();
    if (book.state === STATE_RESYNCING)
      this.#states.set(streamOf(instrument, SLOT_ORDERBOOK), STATE_RESYNCING, book.reason);
    venue.control.resyncBook(instrument);
  }

  /** A new connection is up, and its subscriptions bring or need new books. */
  reconnected(venue: Venue): void {
    this.#books.forEach((book, instrument) => {
      if (book === undefined || this.#venues[instrument] !== venue || book.live) return;
      if (venue.rules.integrity === "range") this.recovery.now(instrument);
      else {
        book.resync();
        if (book.state === STATE_RESYNCING) {
          this.#states.set(streamOf(instrument, SLOT_ORDERBOOK), STATE_RESYNCING, book.reason);
        }
      }
    });
  }

  disconnected(venue: Venue, reason: string): void {
    this.#books.forEach((book, instrument) => {
      if (book === undefined || this.#venues[instrument] !== venue) return;
      this.recovery.forget(instrument);
      this.lose(instrument, reason);
    });
  }

  /** The whole book as a client's first frames: they stand for everything up to the stream's last sequence. */
  bootstrap(instrument: number, out: DerivedOutput): void {
    const book = this.#books[instrument];
    if (book === undefined || !book.live) return;
    const stream = streamOf(instrument, SLOT_ORDERBOOK);
    const [bids, bidCount, asks, askCount] = this.#all(book);
    let bid = 0;
    let ask = 0;
    do {
      const bidsNow = Math.min(F.MAX_FRAME_LEVELS, bidCount - bid);
      const asksNow = Math.min(F.MAX_FRAME_LEVELS - bidsNow, askCount - ask);
      const length = F.writeBookLevels(this.#frames.scratch, 0, book.numbers, bids, bid, bidsNow, asks, ask, asksNow);
      bid += bidsNow;
      ask += asksNow;
      const last = bid === bidCount && ask === askCount ? F.FLAG_LAST_OF_EVENT : 0;
      this.#frames.derived(length, stream, F.FLAG_SNAPSHOT | last, 0, 0, out);
    } while (bid < bidCount || ask < askCount);
  }

  #all(book: Book): [Float64Array, number, Float64Array, number] {
    const needed = 2 * Math.max(book.bids.count, book.asks.count);
    if (needed > this.#levels[0].length) this.#levels = [new Float64Array(2 * needed), new Float64Array(2 * needed)];
    const [bids, asks] = this.#levels;
    const bidCount = book.bids.copyTop(bids, book.bids.count);
    const askCount = book.asks.copyTop(asks, book.asks.count);
    return [bids, bidCount, asks, askCount];
  }

  /** How many books are in each state, by venue id. */
  counts(): Map<number, Map<number, number>> {
    const counts = new Map<number, Map<number, number>>();
    this.#books.forEach((book, instrument) => {
      if (book === undefined) return;
      const venue = (this.#venues[instrument] as Venue).instrument.id;
      const states = counts.get(venue) ?? new Map<number, number>();
      counts.set(venue, states.set(book.state, (states.get(book.state) ?? 0) + 1));
    });
    return counts;
  }
}

function flagsOf(flags: number): number {
  return (flags & FLAG_INEXACT) !== 0 ? F.FLAG_INEXACT : 0;
}
