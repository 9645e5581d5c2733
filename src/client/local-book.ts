import { BookSide } from "../market/book-side.ts";
import { LevelList } from "../market/sink.ts";
import type { FrameView } from "../wire/generated/views.ts";
import { BookLevelsView, STATE_NAMES, StreamStateView } from "../wire/generated/views.ts";
import type { InstrumentName } from "./receiver.ts";

const FLAG_SNAPSHOT = 2;
const FLAG_LAST_OF_EVENT = 4;

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
  /** Why it is not live; empty while it is. */
  reason = "";
  /** Of the stream, and as the venue counts; 0 unknown. */
  sequence = 0;
  venueSequence = 0;
  /** Events applied. */
  events = 0;
  readonly #bids = new BookSide(true);
  readonly #asks = new BookSide(false);
  /** The event that is being gathered. */
  readonly #bidChanges = new LevelList();
  readonly #askChanges = new LevelList();
  #isGathering = false;
  #state: BookState = "syncing";
  /** What the stream says of itself. */
  #told: BookState = "live";
  #hasSnapshot = false;
  readonly #maxLagMicros: number;
  readonly #now: GatewayClock;
  /** When the newest event was published, microseconds. */
  readonly #publishedAt = new Float64Array(1);
  readonly #view = new BookLevelsView();
  readonly #stateView = new StreamStateView();

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
    return this.#state === "live" || this.#state === "quiet";
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
    const { count, prices } = this.#bids;
    return level < count ? prices[count - 1 - level] : Number.NaN;
  }

  ask(level = 0): number {
    const { count, prices } = this.#asks;
    return level < count ? prices[count - 1 - level] : Number.NaN;
  }

  bidSize(level = 0): number {
    const { count, sizes } = this.#bids;
    return level < count ? sizes[count - 1 - level] : Number.NaN;
  }

  askSize(level = 0): number {
    const { count, sizes } = this.#asks;
    return level < count ? sizes[count - 1 - level] : Number.NaN;
  }

  /** The best levels of both sides as [price, size], best first. */
  top(levels = 10): { bids: [price: number, size: number][]; asks: [price: number, size: number][] } {
    const side = (count: number, price: (level: number) => number, size: (level: number) => number) =>
      Array.from({ length: Math.min(levels, count) }, (_, level): [number, number] => [price(level), size(level)]);
    return {
      bids: side(
        this.bidCount,
        (level) => this.bid(level),
        (level) => this.bidSize(level),
      ),
      asks: side(
        this.askCount,
        (level) => this.ask(level),
        (level) => this.askSize(level),
      ),
    };
  }

  /** How long ago the gateway published the newest change, milliseconds; NaN before the first. */
  get ageMs(): number {
    const at = this.#publishedAt[0] as number;
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
    if (!this.#isGathering) {
      bids.count = 0;
      asks.count = 0;
    }
    const view = this.#view;
    view.attach(frame.table.memory, frame.payloadAt);
    for (let index = 0; index < view.bidCount; index += 1) bids.push(view.bidPrice(index), view.bidSize(index));
    for (let index = 0; index < view.askCount; index += 1) asks.push(view.askPrice(index), view.askSize(index));
    this.#isGathering = (flags & FLAG_LAST_OF_EVENT) === 0;
    if (this.#isGathering) return false;
    if (isSnapshot) {
      this.#bids.clear();
      this.#asks.clear();
      this.#hasSnapshot = true;
    }
    this.#bids.applyAll(bids.values, bids.count);
    this.#asks.applyAll(asks.values, asks.count);
    this.sequence = frame.seq;
    this.venueSequence = view.venueSeq;
    this.#publishedAt[0] = frame.tsPublish;
    this.events += 1;
    this.#settle();
    return true;
  }

  /** What it is after an event. */
  #settle(): void {
    if (this.bidCount > 0 && this.askCount > 0 && this.bid() > this.ask()) {
      this.lose("stale", "bid above ask");
      return;
    }
    // After a break the stream says itself when it is right again; a snapshot is.
    if (this.#state === "disconnected") return;
    if (this.#maxLagMicros !== Number.POSITIVE_INFINITY) {
      const lag = this.#now() - (this.#publishedAt[0] as number);
      if (lag > this.#maxLagMicros) return this.#become("lagging", `${Math.round(lag / 1000)} ms behind`);
    }
    this.#become(this.#told === "quiet" ? "live" : this.#told, this.#told === "live" ? "" : this.reason);
  }

  #become(state: BookState, reason: string): void {
    this.#state = state;
    this.reason = reason;
  }

  /** Takes what the stream says of itself; true when that changes the book's state. */
  takeState(frame: FrameView): boolean {
    const view = this.#stateView;
    view.attach(frame.table.memory, frame.payloadAt);
    const before = this.#state;
    this.#told = STATE_NAMES[view.state] as BookState;
    const isRight = this.#told === "live" || this.#told === "quiet";
    if (this.#state === "disconnected") {
      // What is missed is still coming: it is said at its end.
      if (!isRight) this.#hasSnapshot = false;
      return false;
    }
    if (!isRight) {
      this.lose(this.#told, view.reason);
      // What was told is kept: the snapshot that follows makes it live.
      if (this.#told !== "down") this.#told = "live";
    } else if (this.#hasSnapshot) this.#become(this.#told, view.reason);
    return this.#state !== before;
  }

  /** The levels are not known to be right any more, until the next snapshot. */
  lose(state: BookState, reason: string): void {
    this.#become(state, reason);
    this.#hasSnapshot = false;
    this.#isGathering = false;
  }

  /** The connection is gone; what the book has may still be gone on from. */
  disconnect(reason: string): void {
    this.#become("disconnected", reason);
  }

  /** The connection is there again, and all that was missed has come. */
  level(): void {
    if (this.#state !== "disconnected") return;
    if (this.#hasSnapshot) this.#become(this.#told, "");
    else this.#become(this.#told === "live" || this.#told === "quiet" ? "syncing" : this.#told, "");
  }
}
