import {
  SLOT_FUNDING,
  SLOT_LIQUIDATIONS,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_TICKER,
  SLOT_TRADES,
} from "../market/channel.ts";
import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  FIRST_SEQUENCE,
  FLAG_LIQUIDATION,
  HIGH_24H,
  LAST,
  LAST_SEQUENCE,
  LOW_24H,
  PREVIOUS_SEQUENCE,
  PRICE,
  SIZE,
  TRADE_NUMBER,
  TS_EXCHANGE,
  VOLUME_24H,
} from "../market/sink.ts";
import { SentSide } from "./simulated-book.ts";
import { SimulatedDay } from "./simulated-day.ts";
import { ASK, BID } from "./simulated-liquidity.ts";
import type { SimulatedOutput } from "./simulated-output.ts";
import { Perpetual } from "./simulated-perpetual.ts";
import type { Profile } from "./simulated-profiles.ts";
import { Scale } from "./simulated-profiles.ts";
import { Tape } from "./simulated-tape.ts";

/** The market advances by this much at a time, however late a timer comes. Divides every book's step. */
export const TICK_MICROS = 20e3;
const TICKS_PER_SECOND = 50;
/** Updates that a step of the book counts as: numbers of changes are ranges, as at real venues. */
const UPDATES_PER_STEP = 16;
/** Counts begin where the seconds since this moment put them, so that they never go back, not even over restarts. */
const ORIGIN_MICROS = 1_577_836_800e6;
const UPDATES_PER_SECOND = 4096;
const TRADES_PER_SECOND = 64;

const BIT_TRADES = 1 << SLOT_TRADES;
const BIT_ORDERBOOK = 1 << SLOT_ORDERBOOK;
const BIT_QUOTES = 1 << SLOT_QUOTES;
const BIT_TICKER = 1 << SLOT_TICKER;
const BIT_FUNDING = 1 << SLOT_FUNDING;
const BIT_LIQUIDATIONS = 1 << SLOT_LIQUIDATIONS;
const BIT_TOP = BIT_ORDERBOOK | BIT_QUOTES;
const BIT_SECONDLY = BIT_TICKER | BIT_FUNDING;

/** One instrument on one simulated venue: runs its tape and sends what is subscribed to. */
export class SimulatedMarket {
  /** Where it stands among the active markets, -1 when it does not. */
  activeAt = -1;
  readonly #id: number;
  readonly #out: SimulatedOutput;
  readonly #scale: Scale;
  readonly #tape: Tape;
  /** The book as last sent; nothing until it is first asked for. */
  #sent: { bids: SentSide; asks: SentSide } | undefined;
  readonly #day: SimulatedDay;
  readonly #perpetual: Perpetual | undefined;
  readonly #tradesPerSecond: number;
  /** Channels that are subscribed to, one bit per slot. */
  #wanted = 0;
  /** [last update of the book, the last one that a message covered, last trade's number, last trade's tick] */
  readonly #counts = new Float64Array(4);
  readonly #quoted = new Float64Array(4);
  /** Messages to come that a gap takes away: bits of channels. */
  #losing = 0;

  constructor(id: number, profile: Profile, seed: number, venue: string, out: SimulatedOutput) {
    this.#id = id;
    this.#out = out;
    this.#scale = new Scale(profile);
    this.#tape = new Tape(profile, seed, venue);
    const { liquidity } = this.#tape;
    this.#day = new SimulatedDay(profile, liquidity, seed);
    this.#perpetual = profile.marketType === "perp" ? new Perpetual(profile, liquidity, seed) : undefined;
    this.#tradesPerSecond = Math.max(TRADES_PER_SECOND, 8 * profile.tradesPerSecond);
  }

  get active(): boolean {
    return this.#wanted !== 0;
  }

  /** When it has something to do next; 0 is every tick. */
  get dueTime(): number {
    return (this.#wanted & (BIT_TOP | BIT_SECONDLY)) === 0 ? this.#tape.nextTime : 0;
  }

  /** How many channels are subscribed to. */
  get channels(): number {
    let count = 0;
    for (let bits = this.#wanted; bits !== 0; bits &= bits - 1) count += 1;
    return count;
  }

  /** Starts sending a channel from a time on. */
  subscribe(slot: number, time: number): void {
    if (this.#wanted === 0) this.#wake(time);
    const bit = 1 << slot;
    if ((this.#wanted & bit) !== 0) return;
    this.#wanted |= bit;
    if (bit === BIT_ORDERBOOK) this.#retake();
    if (bit === BIT_QUOTES) this.#quoted.fill(0);
  }

  unsubscribe(slot: number): void {
    this.#wanted &= ~(1 << slot);
  }

  /** Loses the next change of the book and the next trade on the way. */
  lose(): void {
    this.#losing = BIT_ORDERBOOK | BIT_TRADES;
  }

  /** Goes to a time without having traded in between: the venue stood still. */
  skipTo(time: number): void {
    this.#tape.seek(time);
  }

  /** The connection is back: nothing that was sent before it counts. */
  rejoin(): void {
    this.#quoted.fill(0);
    if (this.#sent !== undefined) this.#retake();
  }

  /** Counts go on from where the time puts them, as if the market had gone on unseen. */
  #wake(time: number): void {
    const counts = this.#counts;
    const seconds = Math.floor((time - ORIGIN_MICROS) / 1e6);
    counts[0] = Math.max(counts[0], seconds * UPDATES_PER_SECOND);
    counts[2] = Math.max(counts[2], seconds * this.#tradesPerSecond);
    this.#tape.seek(time);
    counts[3] = this.#tape.liquidity.touch[BID];
  }

  /** Takes the book for sent as it is. */
  #retake(): void {
    this.#change();
    this.#counts[1] = this.#counts[0];
  }

  /** Leaves in the slot what has changed in the book since it was last sent. */
  #change(): void {
    const { bids, asks } = this.#out.sink.slot;
    const { liquidity } = this.#tape;
    this.#sent ??= {
      bids: new SentSide(BID, liquidity, this.#scale),
      asks: new SentSide(ASK, liquidity, this.#scale),
    };
    this.#sent.bids.update(bids);
    this.#sent.asks.update(asks);
  }

  /** Lives through one tick. */
  tick(from: number, until: number): void {
    const tape = this.#tape;
    if ((this.#wanted & BIT_TOP) !== 0 && tape.liquidity.moveTo(from)) this.#step(from);
    if ((this.#wanted & BIT_SECONDLY) !== 0 && (from / TICK_MICROS + 7 * this.#id) % TICKS_PER_SECOND === 0) {
      this.#second(from);
    }
    while (tape.nextTime < until && tape.next(until)) this.#fill();
  }

  #step(time: number): void {
    const { sink } = this.#out;
    const counts = this.#counts;
    counts[0] += UPDATES_PER_STEP;
    // The quote first, as venues do: whoever keeps the book can check it against the quote of the same update.
    this.#quote(time);
    if ((this.#wanted & BIT_ORDERBOOK) === 0) return;
    const { numbers, bids, asks } = sink.slot;
    this.#change();
    if (bids.count + asks.count === 0) return;
    const covered = counts[1];
    counts[1] = counts[0];
    if (this.#loses(BIT_ORDERBOOK) || !this.#out.begin()) return;
    numbers[TS_EXCHANGE] = time;
    numbers[FIRST_SEQUENCE] = covered + 1;
    numbers[LAST_SEQUENCE] = counts[0];
    numbers[PREVIOUS_SEQUENCE] = covered;
    sink.bookDelta(this.#id, 0);
  }

  /** Sends the top of the book where it has changed. */
  #quote(time: number): void {
    if ((this.#wanted & BIT_QUOTES) === 0 || this.#out.muted) return;
    const { liquidity } = this.#tape;
    const quoted = this.#quoted;
    const bid = liquidity.best(BID);
    const ask = liquidity.best(ASK);
    const bidLots = bid === 0 ? 0 : liquidity.lots(BID, bid);
    const askLots = ask === 0 ? 0 : liquidity.lots(ASK, ask);
    if (quoted[0] === bid && quoted[1] === bidLots && quoted[2] === ask && quoted[3] === askLots) return;
    quoted[0] = bid;
    quoted[1] = bidLots;
    quoted[2] = ask;
    quoted[3] = askLots;
    if (!this.#out.begin()) return;
    const { numbers } = this.#out.sink.slot;
    numbers[BID_PRICE] = bid === 0 ? Number.NaN : this.#scale.price(bid);
    numbers[BID_SIZE] = bid === 0 ? Number.NaN : this.#scale.size(bidLots);
    numbers[ASK_PRICE] = ask === 0 ? Number.NaN : this.#scale.price(ask);
    numbers[ASK_SIZE] = ask === 0 ? Number.NaN : this.#scale.size(askLots);
    numbers[TS_EXCHANGE] = time;
    numbers[LAST_SEQUENCE] = this.#counts[0];
    this.#out.sink.quote(this.#id, 0);
  }

  /** The tape has come to a trade. */
  #fill(): void {
    const tape = this.#tape;
    const counts = this.#counts;
    counts[0] += 1;
    counts[2] += 1;
    counts[3] = tape.tick;
    this.#day.note(tape.tick);
    if (tape.liquidation && (this.#wanted & BIT_LIQUIDATIONS) !== 0 && this.#out.begin()) {
      this.#loadFill();
      this.#out.sink.liquidation(this.#id, tape.side, 0);
    }
    if ((this.#wanted & BIT_TRADES) !== 0 && !this.#loses(BIT_TRADES) && this.#out.begin()) {
      this.#loadFill();
      this.#out.sink.trade(this.#id, tape.side, tape.liquidation ? FLAG_LIQUIDATION : 0);
    }
    this.#quote(tape.time);
  }

  #loadFill(): void {
    const { slot } = this.#out.sink;
    const { numbers } = slot;
    numbers[PRICE] = this.#scale.price(this.#tape.tick);
    numbers[SIZE] = this.#scale.size(this.#tape.lots);
    numbers[TS_EXCHANGE] = this.#tape.time;
    numbers[TRADE_NUMBER] = this.#counts[2];
    slot.tradeIdLength = writeDigits(this.#counts[2], slot.tradeId);
  }

  #second(time: number): void {
    const { sink } = this.#out;
    const { numbers } = sink.slot;
    if ((this.#wanted & BIT_TICKER) !== 0 && this.#out.begin()) {
      const day = this.#day;
      day.refresh(time, this.#counts[3]);
      Perpetual.clear(numbers);
      this.#perpetual?.load(time, numbers);
      numbers[LAST] = this.#scale.price(this.#counts[3]);
      numbers[HIGH_24H] = this.#scale.price(day.high);
      numbers[LOW_24H] = this.#scale.price(day.low);
      numbers[VOLUME_24H] = this.#scale.size(day.volumeLots(time));
      numbers[TS_EXCHANGE] = time;
      sink.ticker(this.#id, 0);
    }
    if (this.#perpetual !== undefined && (this.#wanted & BIT_FUNDING) !== 0 && this.#out.begin()) {
      this.#perpetual.load(time, numbers);
      numbers[TS_EXCHANGE] = time;
      sink.funding(this.#id, 0);
    }
  }

  /** Sends the whole book as the last message left it; `time` is now. */
  snapshot(time: number): void {
    if (this.#wanted === 0) this.#wake(time);
    if ((this.#wanted & BIT_ORDERBOOK) === 0) this.#retake();
    if (!this.#out.begin()) return;
    const { sink } = this.#out;
    const { numbers, bids, asks } = sink.slot;
    this.#sent?.bids.copyTo(bids);
    this.#sent?.asks.copyTo(asks);
    numbers[TS_EXCHANGE] = time;
    numbers[FIRST_SEQUENCE] = 0;
    numbers[LAST_SEQUENCE] = this.#counts[1];
    numbers[PREVIOUS_SEQUENCE] = 0;
    sink.bookSnapshot(this.#id, 0);
  }

  #loses(bit: number): boolean {
    const lost = (this.#losing & bit) !== 0;
    this.#losing &= ~bit;
    return lost;
  }
}

/** Writes a whole number as ASCII digits; returns how many there are. */
function writeDigits(value: number, bytes: Uint8Array): number {
  let length = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) length += 1;
  let rest = value;
  for (let at = length - 1; at >= 0; at -= 1) {
    const shorter = Math.floor(rest / 10);
    bytes[at] = 0x30 + (rest - 10 * shorter);
    rest = shorter;
  }
  return length;
}
