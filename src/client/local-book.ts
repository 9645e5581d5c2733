import { BookSide } from "../market/book-side.ts";
import { LevelList } from "../market/sink.ts";
import { FLAG_LAST_OF_EVENT, FLAG_SNAPSHOT } from "../wire/frame-flags.ts";
import * as SLOT from "../wire/generated/slots.ts";
import { type FrameView, STATE_NAMES } from "../wire/generated/views.ts";
import { TableView } from "../wire/table-view.ts";
import type { InstrumentName } from "./receiver.ts";

const SEQUENCE = 0;
const VENUE_SEQUENCE = 1;
/** Of the newest event; and from then to when it came. Microseconds. */
const PUBLISHED_AT = 2;
const LAG_MICROS = 3;
const NUMBERS = 4;

/**
 * `live`: the levels are right, as far as anybody knows; so they are while it is `quiet`: it has been silent for longer
 * than usual. All others: the levels, if there are any, are of no use.
 */
export type BookState =
  | "syncing"
  | "live"
  | "quiet"
  | "stale"
  | "resyncing"
  | "down"
  | "unknown"
  | "gap"
  | "lagging"
  | "disconnected";

/** Now by the gateway's clock, microseconds. */
export type GatewayClock = () => number;

/**
 * One order book kept from its snapshot and its changes. It is never seen half changed: the frames of one event are
 * gathered and applied together. Hot path: nothing is allocated.
 */
export class LocalBook {
  readonly instrument: InstrumentName;
  /** Why it is not live, or is quiet; empty while it is live. */
  reason = "";
  /** Events applied. */
  events = 0;
  readonly #bids = new BookSide(true);
  readonly #asks = new BookSide(false);
  /** The event that is being gathered. */
  readonly #bidChanges = new LevelList();
  readonly #askChanges = new LevelList();
  #isGathering = false;
  #isSnapshot = false;
  #state: BookState = "syncing";
  /** What is known of the stream, and why; whether the connection is gone, and why. */
  #told: BookState = "syncing";
  #toldReason = "";
  #isAway = false;
  #awayReason = "";
  #hasSnapshot = false;
  readonly #maxLagMicros: number;
  readonly #now: GatewayClock;
  /** What outgrows small integers, by the places below: a field would be a new object each time. */
  readonly #numbers = new Float64Array(NUMBERS);
  readonly #levels = new TableView();
  readonly #stateTable = new TableView();

  /** `maxLagMs`: a book whose changes take longer from the gateway to here is not live; Infinity for any. */
  constructor(instrument: InstrumentName, maxLagMs: number, now: GatewayClock) {
    this.instrument = instrument;
    this.#maxLagMicros = maxLagMs * 1000;
    this.#now = now;
  }

  get exchange(): string {
    return this.instrument.exchange;
  }

  get symbol(): string {
    return this.instrument.symbol;
  }

  get state(): BookState {
    return this.#state;
  }

  /** True while the levels are right. */
  get live(): boolean {
    return isRight(this.#state);
  }

  /** The stream's number of the newest event, and the venue's own; 0 unknown. */
  get sequence(): number {
    return this.#numbers[SEQUENCE];
  }

  get venueSequence(): number {
    return this.#numbers[VENUE_SEQUENCE];
  }

  /** Levels a side. */
  get bidCount(): number {
    return this.#bids.count;
  }

  get askCount(): number {
    return this.#asks.count;
  }

  /** The price of a level, 0 the best; NaN where there is none. */
  bid(level = 0): number {
    return fromBest(this.#bids.prices, this.#bids.count, level);
  }

  ask(level = 0): number {
    return fromBest(this.#asks.prices, this.#asks.count, level);
  }

  bidSize(level = 0): number {
    return fromBest(this.#bids.sizes, this.#bids.count, level);
  }

  askSize(level = 0): number {
    return fromBest(this.#asks.sizes, this.#asks.count, level);
  }

  /** The best levels of both sides as [price, size], best first. */
  top(levels = 10): { bids: [price: number, size: number][]; asks: [price: number, size: number][] } {
    const side = ({ count, prices, sizes }: BookSide) =>
      Array.from({ length: Math.min(levels, count) }, (_, level): [price: number, size: number] => [
        fromBest(prices, count, level),
        fromBest(sizes, count, level),
      ]);
    return { bids: side(this.#bids), asks: side(this.#asks) };
  }

  /** How long ago the gateway published the newest change, milliseconds; NaN before the first. */
  get ageMs(): number {
    const at = this.#numbers[PUBLISHED_AT];
    return at === 0 ? Number.NaN : (this.#now() - at) / 1000;
  }

  /** Takes a frame of levels; true when it ended an event, which is applied now. */
  takeLevels(frame: FrameView): boolean {
    const { flags } = frame;
    const isSnapshot = (flags & FLAG_SNAPSHOT) !== 0;
    // Changes of a book that one has not got are of no use.
    if (!isSnapshot && !this.#hasSnapshot) return false;
    const bids = this.#bidChanges;
    const asks = this.#askChanges;
    // A snapshot never ends what was begun as changes, nor the other way round.
    if (!this.#isGathering || isSnapshot !== this.#isSnapshot) {
      bids.count = 0;
      asks.count = 0;
    }
    this.#isSnapshot = isSnapshot;
    this.#gather(frame);
    this.#isGathering = (flags & FLAG_LAST_OF_EVENT) === 0;
    if (this.#isGathering) return false;
    this.#apply(isSnapshot);
    this.#note(frame);
    this.events += 1;
    this.#judge();
    return true;
  }

  #gather(frame: FrameView): void {
    const table = this.#levels;
    table.attach(frame.table.memory, frame.payloadAt);
    gatherLevels(table, SLOT.BOOK_LEVELS_BIDS, this.#bidChanges);
    gatherLevels(table, SLOT.BOOK_LEVELS_ASKS, this.#askChanges);
  }

  /** In a function of its own, so that the readers are compiled into it: a double that is returned is a new object. */
  #note(frame: FrameView): void {
    const numbers = this.#numbers;
    numbers[SEQUENCE] = frame.seq;
    numbers[VENUE_SEQUENCE] = this.#levels.u64(SLOT.BOOK_LEVELS_VENUE_SEQ);
    numbers[PUBLISHED_AT] = frame.tsPublish;
  }

  #apply(isSnapshot: boolean): void {
    const bids = this.#bidChanges;
    const asks = this.#askChanges;
    if (isSnapshot) {
      this.#bids.clear();
      this.#asks.clear();
      this.#hasSnapshot = true;
      // Whatever was lost, this is the whole book.
      if (!isRight(this.#told)) this.#tell("live", "");
    }
    this.#bids.applyAll(bids.values, bids.count);
    this.#asks.applyAll(asks.values, asks.count);
  }

  /** What the newest event makes of the book. */
  #judge(): void {
    if (this.bidCount > 0 && this.askCount > 0 && this.bid() > this.ask()) {
      this.lose("stale", "bid above ask");
      return;
    }
    const numbers = this.#numbers;
    // Reading the clock costs more than the rest, for what most do not ask for.
    if (this.#maxLagMicros !== Number.POSITIVE_INFINITY && !this.#isAway) {
      numbers[LAG_MICROS] = this.#now() - numbers[PUBLISHED_AT];
    }
    this.#settle();
  }

  #tell(state: BookState, reason: string): void {
    this.#told = state;
    this.#toldReason = reason;
  }

  /** What is worst is what the book says it is. */
  #settle(): void {
    if (this.#isAway) this.#become("disconnected", this.#awayReason);
    else if (!isRight(this.#told)) this.#become(this.#told, this.#toldReason);
    else if (this.#numbers[LAG_MICROS] > this.#maxLagMicros) {
      this.#become("lagging", `${Math.round(this.#numbers[LAG_MICROS] / 1000)} ms behind`);
    } else this.#become(this.#told, this.#told === "live" ? "" : this.#toldReason);
  }

  #become(state: BookState, reason: string): void {
    this.#state = state;
    this.reason = reason;
  }

  /** Takes what the stream says of itself; true when that changes the book's state. */
  takeState(frame: FrameView): boolean {
    const table = this.#stateTable;
    table.attach(frame.table.memory, frame.payloadAt);
    const before = this.#state;
    const state = STATE_NAMES[table.u8(SLOT.STREAM_STATE_STATE)] as BookState;
    const reason = table.text(SLOT.STREAM_STATE_REASON);
    if (!isRight(state)) this.lose(state, reason);
    else if (this.#hasSnapshot) {
      this.#tell(state, reason);
      this.#settle();
    }
    return this.#state !== before;
  }

  /** The levels are not known to be right any more, until the next snapshot. */
  lose(state: BookState, reason: string): void {
    this.#hasSnapshot = false;
    this.#isGathering = false;
    this.#tell(state, reason);
    this.#settle();
  }

  /** The connection is gone; what the book has may still be gone on from. */
  disconnect(reason: string): void {
    this.#isAway = true;
    this.#awayReason = reason;
    this.#settle();
  }

  /** The connection is there again, and all that was missed has come. */
  level(): void {
    this.#isAway = false;
    this.#numbers[LAG_MICROS] = 0;
    this.#settle();
  }
}

function isRight(state: BookState): boolean {
  return state === "live" || state === "quiet";
}

/** A level's number, 0 the best, which is the last; NaN where there is none. */
function fromBest(values: Float64Array, count: number, level: number): number {
  return level < count ? values[count - 1 - level] : Number.NaN;
}

/** Appends the levels of one side: each is a price and a size. */
function gatherLevels(table: TableView, slot: number, into: LevelList): void {
  const { f64 } = table.memory;
  const from = table.element(slot, 0, 0) >> 3;
  const end = from + 2 * table.lengthOf(slot);
  for (let at = from; at < end; at += 2) into.push(f64[at], f64[at + 1]);
}
