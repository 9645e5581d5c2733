import { SLOT_QUOTES, streamOf } from "../market/channel.ts";
import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  FLAG_INEXACT,
  LAST_SEQUENCE,
  SLOT_NUMBERS,
  STATE_LIVE,
  TS_EXCHANGE,
} from "../market/sink.ts";
import { grown } from "../std/grow.ts";
import * as F from "../wire/frame.ts";
import type { Book } from "./book.ts";
import type { DerivedOutput, FrameWriter } from "./frame-writer.ts";
import type { StreamStates } from "./states.ts";

/** Kept per instrument: bid price, bid size, ask price, ask size, venue sequence, venue time, known, live. */
const WIDTH = 8;
const SEQUENCE = 4;
const TIME = 5;
const KNOWN = 6;
const LIVE = 7;

/** The last best bid and ask of every instrument, and the frames that say so. Hot path. */
export class Quotes {
  readonly #frames: FrameWriter;
  readonly #states: StreamStates;
  #last = new Float64Array(64 * WIDTH);
  /** Numbers of a quote that does not come from the slot. */
  readonly #numbers = new Float64Array(SLOT_NUMBERS);

  constructor(frames: FrameWriter, states: StreamStates) {
    this.#frames = frames;
    this.#states = states;
  }

  register(instrument: number): void {
    this.#last = grown(this.#last, (instrument + 1) * WIDTH);
  }

  /** A quote of the venue's own stream, in the slot's numbers. `live` is 0 while the instrument's book is not right. */
  venue(instrument: number, numbers: Float64Array, live: number, flags: number): void {
    const at = instrument * WIDTH;
    const last = this.#last;
    last[at] = numbers[BID_PRICE];
    last[at + 1] = numbers[BID_SIZE];
    last[at + 2] = numbers[ASK_PRICE];
    last[at + 3] = numbers[ASK_SIZE];
    last[at + SEQUENCE] = numbers[LAST_SEQUENCE];
    last[at + TIME] = numbers[TS_EXCHANGE];
    last[at + KNOWN] = 1;
    last[at + LIVE] = live;
    this.#write(instrument, numbers, live, flags);
  }

  /** The top of a live book; a frame only when it changed. An empty side is unknown. */
  fromBook(instrument: number, book: Book, numbers: Float64Array, flags: number): void {
    const at = instrument * WIDTH;
    const last = this.#last;
    const { bids, asks } = book;
    const bidPrice = bids.count === 0 ? Number.NaN : bids.prices[bids.count - 1];
    const bidSize = bids.count === 0 ? Number.NaN : bids.sizes[bids.count - 1];
    const askPrice = asks.count === 0 ? Number.NaN : asks.prices[asks.count - 1];
    const askSize = asks.count === 0 ? Number.NaN : asks.sizes[asks.count - 1];
    const same =
      last[at + LIVE] === 1 &&
      same64(last[at], bidPrice) &&
      same64(last[at + 1], bidSize) &&
      same64(last[at + 2], askPrice) &&
      same64(last[at + 3], askSize);
    if (same) return;
    numbers[BID_PRICE] = bidPrice;
    numbers[BID_SIZE] = bidSize;
    numbers[ASK_PRICE] = askPrice;
    numbers[ASK_SIZE] = askSize;
    numbers[LAST_SEQUENCE] = book.sequence;
    this.venue(instrument, numbers, 1, flags);
  }

  /** The quotes of an instrument are no longer known to be right: the last one goes out again, not live. */
  lose(instrument: number): void {
    const at = instrument * WIDTH;
    if (this.#last[at + KNOWN] === 0 || this.#last[at + LIVE] === 0) return;
    this.#last[at + LIVE] = 0;
    this.#load(instrument);
    this.#write(instrument, this.#numbers, 0, 0);
  }

  /** True for a quote no newer than the last one; after a loss the venue may count anew, and any will do. */
  isOld(instrument: number, numbers: Float64Array): boolean {
    const at = instrument * WIDTH;
    return this.#last[at + LIVE] === 1 && numbers[LAST_SEQUENCE] <= this.#last[at + SEQUENCE];
  }

  forget(instrument: number): void {
    this.#last.fill(0, instrument * WIDTH, (instrument + 1) * WIDTH);
  }

  /** True when the venue's own quote of this very update says otherwise than the book's top. */
  contradicts(instrument: number, book: Book): boolean {
    const at = instrument * WIDTH;
    const last = this.#last;
    if (last[at + KNOWN] === 0 || last[at + SEQUENCE] !== book.sequence) return false;
    const { bids, asks } = book;
    if (bids.count === 0 || asks.count === 0) return false;
    return (
      last[at] !== bids.prices[bids.count - 1] ||
      last[at + 1] !== bids.sizes[bids.count - 1] ||
      last[at + 2] !== asks.prices[asks.count - 1] ||
      last[at + 3] !== asks.sizes[asks.count - 1]
    );
  }

  /** Best bid and ask as [bid, size, ask, size], or undefined when none is known. */
  last(instrument: number): Float64Array | undefined {
    const at = instrument * WIDTH;
    return this.#last[at + KNOWN] === 1 ? this.#last.slice(at, at + 4) : undefined;
  }

  /** The last quote as a derived frame. */
  snapshot(instrument: number, fromSequence: number, flags: number, out: DerivedOutput): void {
    const at = instrument * WIDTH;
    if (!(this.#last[at + KNOWN] === 1)) return;
    this.#load(instrument);
    const length = F.writeQuote(this.#frames.scratch, 0, this.#numbers, this.#last[at + LIVE]);
    const stream = streamOf(instrument, SLOT_QUOTES);
    this.#frames.derived(length, stream, flags, fromSequence, this.#numbers[TS_EXCHANGE], out);
  }

  #load(instrument: number): void {
    const at = instrument * WIDTH;
    const numbers = this.#numbers;
    numbers[BID_PRICE] = this.#last[at];
    numbers[BID_SIZE] = this.#last[at + 1];
    numbers[ASK_PRICE] = this.#last[at + 2];
    numbers[ASK_SIZE] = this.#last[at + 3];
    numbers[LAST_SEQUENCE] = this.#last[at + SEQUENCE];
    numbers[TS_EXCHANGE] = this.#last[at + TIME];
  }

  #write(instrument: number, numbers: Float64Array, live: number, flags: number): void {
    const stream = streamOf(instrument, SLOT_QUOTES);
    if (live === 1 && this.#states.of(stream) !== STATE_LIVE) this.#states.alive(stream);
    this.#frames.introduce(stream);
    const ring = this.#frames.log.ticks;
    const at = ring.claim(F.LARGEST_FIXED_BYTES);
    const length = F.writeQuote(ring.memory, at, numbers, live);
    const inexact = (flags & FLAG_INEXACT) !== 0 ? F.FLAG_INEXACT : 0;
    this.#frames.commit(ring, at, length, stream, F.FLAG_LAST_OF_EVENT | inexact, numbers);
  }
}

/** Equal, or both unknown. */
function same64(a: number, b: number): boolean {
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}
