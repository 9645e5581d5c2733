import type { InstrumentListing } from "../market/instrument.ts";
import type { Sink, Slot } from "../market/sink.ts";
import { FIRST_SEQUENCE, LAST_SEQUENCE, PREVIOUS_SEQUENCE, TRADE_NUMBER, TS_EXCHANGE } from "../market/sink.ts";

/** Range of what a venue counts per instrument. */
class Spans {
  readonly #lowest: number[] = [];
  readonly #highest: number[] = [];

  /** Notes that a message covered what lies above `before`, up to `last`. */
  note(instrument: number, before: number, last: number): void {
    this.#lowest[instrument] = Math.min(before, this.#lowest[instrument] ?? before);
    this.#highest[instrument] = Math.max(last, this.#highest[instrument] ?? last);
  }

  /** How far one pass over the recording goes. */
  width(instrument: number): number {
    return (this.#highest[instrument] ?? 0) - (this.#lowest[instrument] ?? 0);
  }
}

/**
 * Passes a recording on to the sink; from the second pass on with all times, trade ids and sequences moved so that they
 * go on growing where the pass before ended. A new epoch for each pass would need the engine and its ring made anew,
 * and unmoved ids would be dropped as duplicates, rightly. The message's bytes stay as they were recorded.
 */
export class RepeatingSink implements Sink {
  readonly slot: Slot;
  readonly #sink: Sink;
  readonly #spanMicros: number;
  readonly #trades = new Spans();
  readonly #updates = new Spans();
  #pass = 0;
  #moved = false;

  constructor(sink: Sink, spanMicros: number) {
    this.slot = sink.slot;
    this.#sink = sink;
    this.#spanMicros = spanMicros;
  }

  /** Begins the next pass. */
  repeat(): void {
    this.#pass += 1;
  }

  /** Moves the message's time, once a message: one may make two events. */
  #time(): void {
    const { numbers } = this.slot;
    if (this.#moved || numbers[TS_EXCHANGE] === 0) return;
    this.#moved = true;
    numbers[TS_EXCHANGE] += this.#pass * this.#spanMicros;
  }

  /** Moves the sequences of a message that covers what lies above `before`. */
  #sequences(instrument: number, before: number): void {
    const { numbers } = this.slot;
    const last = numbers[LAST_SEQUENCE];
    if (last === 0) return;
    if (this.#pass === 0) this.#updates.note(instrument, before, last);
    else numbers[LAST_SEQUENCE] += this.#pass * this.#updates.width(instrument);
  }

  begin(venue: number): void {
    this.#moved = false;
    this.#sink.begin(venue);
  }

  prefetch(instrument: number): void {
    this.#sink.prefetch(instrument);
  }

  trade(instrument: number, side: number, flags: number): void {
    this.#time();
    const { slot } = this;
    const number = slot.numbers[TRADE_NUMBER];
    if (this.#pass === 0) this.#trades.note(instrument, number - 1, number);
    else if (number !== 0) {
      slot.numbers[TRADE_NUMBER] = number + this.#pass * this.#trades.width(instrument);
      slot.tradeIdLength = Buffer.from(String(slot.numbers[TRADE_NUMBER])).copy(slot.tradeId);
    }
    this.#sink.trade(instrument, side, flags);
  }

  /** The trade named came before what this connection saw, so the next pass's first trade follows the last of this. */
  lastTrade(instrument: number): void {
    this.#time();
    const { numbers } = this.slot;
    const number = numbers[TRADE_NUMBER];
    if (this.#pass === 0) this.#trades.note(instrument, number, number);
    else numbers[TRADE_NUMBER] = number + this.#pass * this.#trades.width(instrument);
    this.#sink.lastTrade(instrument);
  }

  quote(instrument: number, flags: number): void {
    this.#time();
    this.#sequences(instrument, this.slot.numbers[LAST_SEQUENCE] - 1);
    this.#sink.quote(instrument, flags);
  }

  bookDelta(instrument: number, flags: number): void {
    this.#time();
    const { numbers } = this.slot;
    const first = numbers[FIRST_SEQUENCE];
    this.#sequences(instrument, first - 1);
    const moved = this.#pass * this.#updates.width(instrument);
    if (first !== 0) numbers[FIRST_SEQUENCE] = first + moved;
    if (numbers[PREVIOUS_SEQUENCE] !== 0) numbers[PREVIOUS_SEQUENCE] += moved;
    this.#sink.bookDelta(instrument, flags);
  }

  bookSnapshot(instrument: number, flags: number): void {
    this.#time();
    this.#sequences(instrument, this.slot.numbers[LAST_SEQUENCE] - 1);
    this.#sink.bookSnapshot(instrument, flags);
  }

  ticker(instrument: number, flags: number): void {
    this.#time();
    this.#sink.ticker(instrument, flags);
  }

  funding(instrument: number, flags: number): void {
    this.#time();
    this.#sink.funding(instrument, flags);
  }

  liquidation(instrument: number, side: number, flags: number): void {
    this.#time();
    this.#sink.liquidation(instrument, side, flags);
  }

  heartbeat(venue: number): void {
    this.#time();
    this.#sink.heartbeat(venue);
  }

  instruments(venue: number, listings: readonly InstrumentListing[]): number[] {
    return this.#sink.instruments(venue, listings);
  }

  history(instrument: number, timeframe: number, rows: Float64Array): void {
    this.#sink.history(instrument, timeframe, rows);
  }

  connection(venue: number, state: number, reason: string): void {
    this.#sink.connection(venue, state, reason);
  }

  bookFailed(instrument: number, reason: string): void {
    this.#sink.bookFailed(instrument, reason);
  }
}
