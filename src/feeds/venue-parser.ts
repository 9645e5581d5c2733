import { SLOT_TICKER } from "../market/channel.ts";
import type { Sink, Slot } from "../market/sink.ts";
import { FLAG_INEXACT, INDEX, MARK, OPEN_INTEREST, TRADE_NUMBER } from "../market/sink.ts";
import type { FeedCounters } from "./feed.ts";
import type { Fields } from "./fields.ts";
import { DecimalFields, parseFields } from "./fields.ts";
import { ScanTarget } from "./scan-target.ts";
import type { StartedStreams } from "./started-streams.ts";
import type { SymbolTable } from "./symbol-table.ts";

export interface ParserOptions {
  sink: Sink;
  venue: number;
  symbols: SymbolTable;
  started: StartedStreams;
  counters: FeedCounters;
  /** Answers, errors and announcements: whatever is no market data. */
  onControl: (message: Fields) => void;
  onMalformed: (text: string) => void;
}

/** Fills the slot from the fields of one kind of event and hands it to the sink; false when a field is impossible. */
export type EventReader = (data: Fields, instrument: number) => boolean;

/**
 * What the venues' parsers share: the bookkeeping of the slow path. The hot path, from `parse` to the sink, is each
 * venue's own, because code that two venues run knows neither's shape and costs both.
 */
export abstract class VenueParser {
  protected readonly sink: Sink;
  protected readonly slot: Slot;
  protected readonly target: ScanTarget;
  protected readonly numbers: Float64Array;
  protected readonly symbols: SymbolTable;
  protected readonly started: StartedStreams;
  protected readonly counters: FeedCounters;
  protected readonly venue: number;
  protected readonly decimals = new DecimalFields();
  protected readonly onControl: (message: Fields) => void;
  readonly #onMalformed: (text: string) => void;

  constructor(options: ParserOptions) {
    this.sink = options.sink;
    this.slot = options.sink.slot;
    this.target = new ScanTarget(options.sink);
    this.numbers = options.sink.slot.numbers;
    this.symbols = options.symbols;
    this.started = options.started;
    this.counters = options.counters;
    this.venue = options.venue;
    this.onControl = options.onControl;
    this.#onMalformed = options.onMalformed;
  }

  /** Hot path. Any message: by the scanner where it takes it, else slowly. */
  abstract parse(message: Buffer): void;

  /** Any message, by JSON.parse and with every field checked. Public: it is what the scanner is compared with. */
  parseSlowly(message: Buffer): void {
    this.counters.slowMessages += 1;
    const text = message.toString("utf8");
    const data = parseFields(text);
    if (data !== undefined) {
      this.read(data, text);
      return;
    }
    this.counters.parseErrors += 1;
    this.#onMalformed(text);
    this.unparsed(text);
  }

  /** A message that is an object. */
  protected abstract read(data: Fields, text: string): void;

  /** A message that is not. */
  protected unparsed(_text: string): void {}

  /** Reads an event; false when it is malformed. One of a kind or an instrument that we do not know is ignored. */
  protected readEvent(reader: EventReader | undefined, symbol: string, data: Fields, text: string): boolean {
    const instrument = this.symbols.instrument(symbol);
    if (reader === undefined || (symbol !== "" && instrument === 0)) {
      this.counters.ignored += 1;
      return true;
    }
    this.decimals.reset();
    if (symbol !== "" && reader.call(this, data, instrument)) return true;
    this.malformed(text);
    return false;
  }

  protected malformed(text: string): void {
    this.counters.malformed += 1;
    this.#onMalformed(text);
  }

  /** The flags of an event whose decimals have been read. */
  protected countInexact(isInexact: boolean): number {
    if (!isInexact) return 0;
    this.counters.inexact += 1;
    return FLAG_INEXACT;
  }

  /** The trade's number, which is the slot's already, as its id. */
  protected setTradeId(): void {
    this.slot.tradeIdLength = Buffer.from(String(this.numbers[TRADE_NUMBER])).copy(this.slot.tradeId);
  }

  /** Hands on a ticker of a spot market: what derivatives have besides is unknown. */
  protected emitTicker(instrument: number): void {
    this.numbers[MARK] = Number.NaN;
    this.numbers[INDEX] = Number.NaN;
    this.numbers[OPEN_INTEREST] = Number.NaN;
    this.started.mark(instrument, SLOT_TICKER);
    this.sink.begin(this.venue);
    this.sink.ticker(instrument, this.countInexact(this.decimals.inexact));
  }
}
