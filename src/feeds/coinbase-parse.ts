import { SLOT_ORDERBOOK, SLOT_STATE, SLOT_TRADES } from "../market/channel.ts";
import type { LevelList } from "../market/sink.ts";
import {
  FIRST_SEQUENCE,
  FLAG_INEXACT,
  HIGH_24H,
  LAST,
  LAST_SEQUENCE,
  LOW_24H,
  PREVIOUS_SEQUENCE,
  PRICE,
  SIDE_BUY,
  SIDE_SELL,
  SIZE,
  TRADE_NUMBER,
  TS_EXCHANGE,
  VOLUME_24H,
} from "../market/sink.ts";
import {
  SCANNED_MAKER_BUY,
  SCANNED_MAKER_SELL,
  SCANNED_NOTHING,
  SCANNED_UPDATE,
  scanCoinbase,
} from "./coinbase-scan.ts";
import type { Fields } from "./fields.ts";
import { areKnown, integerOf, textOf } from "./fields.ts";
import { timeOf } from "./rfc3339.ts";
import { inexact, load } from "./scan.ts";
import type { EventReader } from "./venue-parser.ts";
import { VenueParser } from "./venue-parser.ts";

/** A size below zero has been seen ("0.-10000", a printing error of the venue): nothing rests at that price. */
const BELOW_ZERO = /^(?:-\d+(?:\.\d+)?|\d+\.-\d+)$/;
/** Where a message that is broken says whose it is. */
const PRODUCT_IN_TEXT = /"product_id"\s*:\s*"([^"\\]{1,40})"/;
const BOOK_IN_TEXT = /"type"\s*:\s*"(?:l2update|snapshot)"/;

/** Coinbase Exchange's messages, handed to the sink. Hot path down to `unparsed`. */
export class CoinbaseParser extends VenueParser {
  override parse(message: Buffer): void {
    if (load(message)) {
      const kind = scanCoinbase(message.length, this.target, this.symbols);
      if (kind !== SCANNED_NOTHING) {
        this.#emit(kind, this.symbols.found, inexact[0] === 1);
        return;
      }
    }
    this.parseSlowly(message);
  }

  #emit(kind: number, instrument: number, isInexact: boolean): void {
    let flags = 0;
    if (isInexact) {
      flags = FLAG_INEXACT;
      this.counters.inexact += 1;
    }
    this.sink.begin(this.venue);
    if (kind === SCANNED_UPDATE) {
      this.#clearSequences();
      this.sink.bookDelta(instrument, flags);
    } else {
      this.started.mark(instrument, SLOT_TRADES);
      // The side of a match is the maker's: its opposite is the aggressor's.
      this.sink.trade(instrument, kind === SCANNED_MAKER_BUY ? SIDE_SELL : SIDE_BUY, flags);
    }
  }

  /** The venue counts nothing in its books. */
  #clearSequences(): void {
    this.numbers[FIRST_SEQUENCE] = 0;
    this.numbers[LAST_SEQUENCE] = 0;
    this.numbers[PREVIOUS_SEQUENCE] = 0;
  }

  protected override unparsed(text: string): void {
    if (BOOK_IN_TEXT.test(text)) this.#loseBook(PRODUCT_IN_TEXT.exec(text)?.[1] ?? "");
  }

  protected override read(data: Fields, text: string): void {
    const { type } = data;
    if (type === "subscriptions" || type === "error") {
      this.onControl(data);
      return;
    }
    const product = textOf(data.product_id);
    if (this.readEvent(this.#reader(type), product, data, text)) return;
    if (type === "l2update" || type === "snapshot") this.#loseBook(product);
  }

  /** A change that cannot be read is a change that is missing, and no sequence will tell: the book starts anew. */
  #loseBook(product: string): void {
    const instrument = this.symbols.instrument(product);
    if (instrument !== 0) this.sink.bookFailed(instrument, "a message of the book could not be read");
  }

  #reader(type: unknown): EventReader | undefined {
    if (type === "match") return this.#readMatch;
    if (type === "l2update") return this.#readUpdate;
    if (type === "snapshot") return this.#readSnapshot;
    if (type === "ticker") return this.#readTicker;
    if (type === "heartbeat") return this.#readHeartbeat;
    if (type === "last_match") return this.#readLastMatch;
    return undefined;
  }

  #readMatch(data: Fields, instrument: number): boolean {
    const numbers = this.numbers;
    const side = data.side;
    numbers[TRADE_NUMBER] = integerOf(data.trade_id);
    numbers[SIZE] = this.decimals.positive(data.size);
    numbers[PRICE] = this.decimals.positive(data.price);
    numbers[TS_EXCHANGE] = timeOf(data.time);
    if (side !== "buy" && side !== "sell") return false;
    if (!areKnown(numbers, TRADE_NUMBER, SIZE, PRICE, TS_EXCHANGE)) return false;
    this.setTradeId();
    const kind = side === "buy" ? SCANNED_MAKER_BUY : SCANNED_MAKER_SELL;
    this.#emit(kind, instrument, this.decimals.inexact);
    return true;
  }

  /** The trade before we came: state, not an event. */
  #readLastMatch(data: Fields, instrument: number): boolean {
    this.numbers[TRADE_NUMBER] = integerOf(data.trade_id);
    this.numbers[TS_EXCHANGE] = timeOf(data.time);
    if (!areKnown(this.numbers, TRADE_NUMBER, TS_EXCHANGE)) return false;
    this.started.mark(instrument, SLOT_TRADES);
    this.sink.begin(this.venue);
    this.sink.lastTrade(instrument);
    return true;
  }

  #readUpdate(data: Fields, instrument: number): boolean {
    const changes = data.changes;
    const { bids, asks } = this.slot;
    bids.count = 0;
    asks.count = 0;
    this.numbers[TS_EXCHANGE] = data.time === undefined ? 0 : timeOf(data.time);
    if (!Array.isArray(changes) || !areKnown(this.numbers, TS_EXCHANGE)) return false;
    for (const change of changes) {
      if (!Array.isArray(change) || change.length !== 3 || (change[0] !== "buy" && change[0] !== "sell")) return false;
      if (!this.#level(change[0] === "buy" ? bids : asks, change[1], change[2])) return false;
    }
    this.#emit(SCANNED_UPDATE, instrument, this.decimals.inexact);
    return true;
  }

  #readSnapshot(data: Fields, instrument: number): boolean {
    const { bids, asks } = this.slot;
    this.numbers[TS_EXCHANGE] = data.time === undefined ? 0 : timeOf(data.time);
    if (!areKnown(this.numbers, TS_EXCHANGE)) return false;
    if (!this.#levels(data.bids, bids) || !this.#levels(data.asks, asks)) return false;
    this.#clearSequences();
    this.started.mark(instrument, SLOT_ORDERBOOK);
    this.sink.begin(this.venue);
    this.sink.bookSnapshot(instrument, this.countInexact(this.decimals.inexact));
    return true;
  }

  /** The levels of a snapshot's side; one that is empty is left out. */
  #levels(value: unknown, levels: LevelList): boolean {
    levels.count = 0;
    if (!Array.isArray(value)) return false;
    for (const level of value) {
      if (!Array.isArray(level) || level.length !== 2 || !this.#level(levels, level[0], level[1])) return false;
      if (levels.values[2 * levels.count - 1] === 0) levels.count -= 1;
    }
    return true;
  }

  #level(levels: LevelList, priceText: unknown, sizeText: unknown): boolean {
    const price = this.decimals.positive(priceText);
    const belowZero = typeof sizeText === "string" && BELOW_ZERO.test(sizeText);
    const size = belowZero ? 0 : this.decimals.decimal(sizeText);
    return !Number.isNaN(price) && !Number.isNaN(size) && levels.push(price, size);
  }

  #readTicker(data: Fields, instrument: number): boolean {
    const numbers = this.numbers;
    numbers[TS_EXCHANGE] = data.time === undefined ? 0 : timeOf(data.time);
    numbers[LAST] = this.decimals.positive(data.price);
    numbers[VOLUME_24H] = this.decimals.decimal(data.volume_24h);
    numbers[HIGH_24H] = this.decimals.decimal(data.high_24h);
    numbers[LOW_24H] = this.decimals.decimal(data.low_24h);
    if (!areKnown(numbers, TS_EXCHANGE, LAST, VOLUME_24H, HIGH_24H, LOW_24H)) return false;
    this.emitTicker(instrument);
    return true;
  }

  /** Once a second and product: the venue's clock, and its word on which trade was the last. */
  #readHeartbeat(data: Fields, instrument: number): boolean {
    const lastTrade = integerOf(data.last_trade_id);
    this.numbers[TS_EXCHANGE] = timeOf(data.time);
    if (Number.isNaN(lastTrade) || !areKnown(this.numbers, TS_EXCHANGE)) return false;
    this.started.mark(instrument, SLOT_STATE);
    this.sink.begin(this.venue);
    this.sink.heartbeat(this.venue);
    if (lastTrade === 0) return true;
    this.numbers[TRADE_NUMBER] = lastTrade;
    this.sink.lastTrade(instrument);
    return true;
  }
}
