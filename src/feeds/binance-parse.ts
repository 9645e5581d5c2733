import { SLOT_ORDERBOOK, SLOT_QUOTES, SLOT_TRADES } from "../market/channel.ts";
import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
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
  SCANNED_BUY,
  SCANNED_DEPTH,
  SCANNED_NOTHING,
  SCANNED_QUOTE,
  SCANNED_SELL,
  scanBinance,
} from "./binance-scan.ts";
import type { Fields } from "./fields.ts";
import { areKnown, fieldsOf, integerOf, textOf } from "./fields.ts";
import { inexact, load } from "./scan.ts";
import type { EventReader, ParserOptions } from "./venue-parser.ts";
import { VenueParser } from "./venue-parser.ts";

export interface BinanceParserOptions extends ParserOptions {
  /** The connection was opened with timeUnit=MICROSECOND; milliseconds otherwise. */
  microseconds: boolean;
}

/** Binance spot's messages, handed to the sink. Hot path down to `read`. */
export class BinanceParser extends VenueParser {
  readonly #microsPerUnit: number;

  constructor(options: BinanceParserOptions) {
    super(options);
    this.#microsPerUnit = options.microseconds ? 1 : 1000;
  }

  override parse(message: Buffer): void {
    if (load(message)) {
      const kind = scanBinance(message.length, this.target, this.symbols);
      if (kind !== SCANNED_NOTHING && this.#emit(kind, this.symbols.found, inexact[0] === 1)) return;
    }
    this.parseSlowly(message);
  }

  /** The slot is filled, but for what is the same in the scanner and in JSON; false when the time is impossible. */
  #emit(kind: number, instrument: number, isInexact: boolean): boolean {
    const numbers = this.numbers;
    if (kind === SCANNED_QUOTE) {
      numbers[TS_EXCHANGE] = 0;
    } else {
      numbers[TS_EXCHANGE] = (numbers[TS_EXCHANGE] as number) * this.#microsPerUnit;
      if ((numbers[TS_EXCHANGE] as number) > Number.MAX_SAFE_INTEGER) return false;
    }
    let flags = 0;
    if (isInexact) {
      flags = FLAG_INEXACT;
      this.counters.inexact += 1;
    }
    this.sink.begin(this.venue);
    if (kind === SCANNED_QUOTE) {
      this.#quote(instrument, flags);
    } else if (kind === SCANNED_DEPTH) {
      numbers[PREVIOUS_SEQUENCE] = 0;
      this.started.mark(instrument, SLOT_ORDERBOOK);
      this.sink.bookDelta(instrument, flags);
    } else {
      this.started.mark(instrument, SLOT_TRADES);
      this.sink.trade(instrument, kind === SCANNED_BUY ? SIDE_BUY : SIDE_SELL, flags);
    }
    return true;
  }

  /** Price zero is how Binance says that a side of the book is empty. */
  #quote(instrument: number, flags: number): void {
    const numbers = this.numbers;
    if (numbers[BID_PRICE] === 0) {
      numbers[BID_PRICE] = Number.NaN;
      numbers[BID_SIZE] = Number.NaN;
    }
    if (numbers[ASK_PRICE] === 0) {
      numbers[ASK_PRICE] = Number.NaN;
      numbers[ASK_SIZE] = Number.NaN;
    }
    this.started.mark(instrument, SLOT_QUOTES);
    this.sink.quote(instrument, flags);
  }

  protected override read(outer: Fields, text: string): void {
    const data = "stream" in outer ? fieldsOf(outer.data) : outer;
    if (data === undefined) this.malformed(text);
    else if (isControl(data)) this.onControl(data);
    else this.readEvent(this.#reader(data.e), textOf(data.s), data, text);
  }

  #reader(type: unknown): EventReader | undefined {
    if (type === undefined) return this.#readQuote;
    if (type === "trade") return this.#readTrade;
    if (type === "depthUpdate") return this.#readDepth;
    if (type === "24hrTicker") return this.#readTicker;
    return undefined;
  }

  #readTrade(data: Fields, instrument: number): boolean {
    const numbers = this.numbers;
    numbers[TRADE_NUMBER] = integerOf(data.t);
    numbers[TS_EXCHANGE] = integerOf(data.T);
    numbers[PRICE] = this.decimals.positive(data.p);
    numbers[SIZE] = this.decimals.positive(data.q);
    const makerBought = data.m;
    if (typeof makerBought !== "boolean") return false;
    if (!areKnown(numbers, TRADE_NUMBER, TS_EXCHANGE, PRICE, SIZE)) return false;
    this.setTradeId();
    return this.#emit(makerBought ? SCANNED_SELL : SCANNED_BUY, instrument, this.decimals.inexact);
  }

  #readDepth(data: Fields, instrument: number): boolean {
    const numbers = this.numbers;
    numbers[TS_EXCHANGE] = integerOf(data.E);
    numbers[FIRST_SEQUENCE] = integerOf(data.U);
    numbers[LAST_SEQUENCE] = integerOf(data.u);
    if (!areKnown(numbers, TS_EXCHANGE, FIRST_SEQUENCE, LAST_SEQUENCE)) return false;
    if ((numbers[FIRST_SEQUENCE] as number) > (numbers[LAST_SEQUENCE] as number)) return false;
    if (!this.decimals.levels(data.b, this.slot.bids)) return false;
    if (!this.decimals.levels(data.a, this.slot.asks)) return false;
    return this.#emit(SCANNED_DEPTH, instrument, this.decimals.inexact);
  }

  #readQuote(data: Fields, instrument: number): boolean {
    const numbers = this.numbers;
    numbers[LAST_SEQUENCE] = integerOf(data.u);
    numbers[BID_PRICE] = this.decimals.decimal(data.b);
    numbers[BID_SIZE] = this.decimals.decimal(data.B);
    numbers[ASK_PRICE] = this.decimals.decimal(data.a);
    numbers[ASK_SIZE] = this.decimals.decimal(data.A);
    if (!areKnown(numbers, LAST_SEQUENCE, BID_PRICE, BID_SIZE, ASK_PRICE, ASK_SIZE)) return false;
    return this.#emit(SCANNED_QUOTE, instrument, this.decimals.inexact);
  }

  #readTicker(data: Fields, instrument: number): boolean {
    const numbers = this.numbers;
    numbers[TS_EXCHANGE] = integerOf(data.E) * this.#microsPerUnit;
    numbers[LAST] = this.decimals.decimal(data.c);
    numbers[HIGH_24H] = this.decimals.decimal(data.h);
    numbers[LOW_24H] = this.decimals.decimal(data.l);
    numbers[VOLUME_24H] = this.decimals.decimal(data.v);
    if (!areKnown(numbers, TS_EXCHANGE, LAST, HIGH_24H, LOW_24H, VOLUME_24H)) return false;
    if ((numbers[TS_EXCHANGE] as number) > Number.MAX_SAFE_INTEGER) return false;
    this.emitTicker(instrument);
    return true;
  }
}

/** Best bid and ask are the only market data without a type: they are known by their shape. */
function isControl(data: Fields): boolean {
  return data.e === "serverShutdown" || (data.e === undefined && !("u" in data && "b" in data));
}
