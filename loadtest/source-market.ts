import { type Audience, DEPTH, KINDS, QUOTE, TRADE } from "./source-audience.ts";
import { SourceBooks } from "./source-books.ts";
import { TIME_DIGITS, TradeTemplates } from "./source-trades.ts";
import { Choices, type Spread } from "./spread.ts";

/** Five trades, four quotes and a depth message of each ten events, as the recorded runs have them, roughly. */
const MIXED = [TRADE, QUOTE, TRADE, QUOTE, TRADE, DEPTH, TRADE, QUOTE, TRADE, QUOTE];

export interface MarketOptions {
  symbols: readonly string[];
  spread: Spread;
  seed: number;
  /** Trades alone, or quotes and books too. */
  mixed: boolean;
}

/** Makes the events of a source and hands them to its audience. Hot path. */
export class SourceMarket {
  readonly #audience: Audience;
  readonly #choices: Choices;
  readonly #trades: TradeTemplates;
  readonly #mixed: boolean;
  readonly books: SourceBooks;
  readonly #time = new Uint8Array(TIME_DIGITS);
  /** Events handed to somebody, by kind. */
  readonly sent = new Float64Array(KINDS.length);
  #turn = 0;

  constructor(audience: Audience, { symbols, spread, seed, mixed }: MarketOptions) {
    this.#audience = audience;
    this.#choices = new Choices(symbols.length, spread, seed);
    this.#trades = new TradeTemplates(symbols, seed);
    this.books = new SourceBooks(symbols, seed);
    this.#mixed = mixed;
  }

  /** So many events that were due at one moment. */
  emit(count: number, dueMicros: number): void {
    Buffer.from(this.#time.buffer).write(String(dueMicros), "latin1");
    const audience = this.#audience;
    for (let event = 0; event < count; event += 1) {
      const instrument = this.#choices.next();
      const kind = this.#mixed ? (MIXED[this.#turn] as number) : TRADE;
      this.#turn = (this.#turn + 1) % MIXED.length;
      if (!audience.has(instrument, kind)) continue;
      this.sent[kind] += 1;
      audience.push(instrument, kind, this.#frame(instrument, kind, dueMicros));
    }
    audience.flush();
  }

  #frame(instrument: number, kind: number, dueMicros: number): Buffer {
    if (kind === TRADE) return this.#trades.next(instrument, this.#time);
    return kind === QUOTE ? this.books.quote(instrument) : this.books.depth(instrument, dueMicros);
  }
}
