import { strictEqual } from "node:assert";
import { Engine } from "../src/engine/engine.ts";
import { BinanceParser } from "../src/feeds/binance-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { BINANCE_RULES } from "../src/feeds/venue-rules.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import type { FeedControl } from "../src/market/sink.ts";
import { PRICE, SIZE, TRADE_NUMBER, TS_EXCHANGE } from "../src/market/sink.ts";
import { timeframeIndex } from "../src/market/timeframe.ts";
import type { Clock } from "../src/std/clock.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import type { TradeMessage, Workload } from "./workload.ts";
import { advance } from "./workload.ts";

/** Messages of one run: some 100 KB, what a socket hands over in a few reads. */
const CHUNK = 512;

const NO_CONTROL: FeedControl = { subscribe() {}, unsubscribe() {}, resyncBook() {}, fetchHistory() {} };
export const TIMEFRAMES: readonly number[] = ["1s", "1m", "5m", "1h"].map(timeframeIndex);
/** Bytes of both rings together, as the gateway has them when nothing else is said. */
export const RING_MEMORY = 256 * 2 ** 20;

/** A clock that is read as a turn's is, without the event loop: one load. */
class StillClock implements Clock {
  readonly micros = Float64Array.of(1_723_161_255_000_000);

  now(): number {
    return this.micros[0] as number;
  }
}

/** The shipped code from scanner to finished frame, with four timeframes and the default indicators; no sockets. */
export class Pipeline {
  readonly engine: Engine;
  readonly parser: BinanceParser;
  readonly counters = new FeedCounters();
  readonly workload: Workload;
  readonly #venue: number;
  /** The workload's trades as numbers, for runs without parsing: instrument, side; price, size, time, id. */
  readonly #instruments: Int32Array;
  readonly #sides: Uint8Array;
  readonly #numbers: Float64Array;
  readonly #ids: Int32Array;
  readonly #passTrades: Float64Array;
  #expected = 0;

  constructor(workload: Workload, ringMemory: number = RING_MEMORY) {
    this.workload = workload;
    const catalog = new Catalog();
    this.engine = new Engine({
      catalog,
      log: new FrameLog(ringMemory, 1),
      clock: new StillClock(),
      indicators: new IndicatorSet(),
      bars: { timeframes: TIMEFRAMES },
    });
    const venue = this.engine.addVenue("binance", BINANCE_RULES, NO_CONTROL);
    this.#venue = venue.instrument.id;
    const listings = workload.symbols.map((venueSymbol) => ({
      ...emptyListing(),
      symbol: venueSymbol.replace(/USDT$/, "/USDT"),
      venueSymbol,
      sizeUnit: "base" as const,
      channels: ["trades"] as const,
    }));
    const symbols = new SymbolTable();
    for (const [index, id] of this.engine.instruments(this.#venue, listings).entries()) {
      symbols.add(workload.symbols[index] as string, id);
    }
    this.parser = new BinanceParser({
      sink: this.engine,
      venue: this.#venue,
      symbols,
      started: new StartedStreams(),
      counters: this.counters,
      microseconds: false,
      onControl: () => {},
      onMalformed: () => {},
    });
    for (const instrument of catalog.all()) this.engine.open(instrument, "trades");
    const count = workload.messages.length;
    this.#instruments = new Int32Array(count);
    this.#sides = new Uint8Array(count);
    this.#numbers = new Float64Array(count * 4);
    this.#ids = new Int32Array(count * 4);
    this.#passTrades = new Float64Array(count);
    this.#load(symbols);
  }

  #load(symbols: SymbolTable): void {
    this.workload.messages.forEach((message, index) => {
      const { data } = JSON.parse(message.bytes.toString()) as {
        data: { t: number; p: string; q: string; T: number; m: boolean };
      };
      this.#instruments[index] = symbols.instrument(message.symbol);
      this.#sides[index] = data.m ? 2 : 1;
      this.#numbers.set([Number(data.p), Number(data.q), data.T * 1000, data.t], index * 4);
      Buffer.from(this.#ids.buffer).write(String(data.t), index * 16);
      this.#passTrades[index] = this.workload.tradesOf.get(message.symbol) as number;
    });
  }

  /** The messages that the next run takes: some hundred, then the next some hundred, round and round. */
  #from = 0;
  #to = 0;

  /** Goes to the next messages and moves them on by one pass, which also brings their bytes into the cache, as reading
   * them from a socket does. */
  next(): void {
    const { length } = this.workload.messages;
    this.#from = this.#to === length ? 0 : this.#to;
    this.#to = Math.min(this.#from + CHUNK, length);
    advance(this.workload, this.#from, this.#to);
    const numbers = this.#numbers;
    for (let index = this.#from; index < this.#to; index += 1) {
      numbers[4 * index + 2] = (numbers[4 * index + 2] as number) + this.workload.spanMs * 1000;
      numbers[4 * index + 3] = (numbers[4 * index + 3] as number) + (this.#passTrades[index] as number);
    }
    this.#expected += this.#to - this.#from;
  }

  /** The messages of the next run. */
  get current(): readonly TradeMessage[] {
    return this.workload.messages.slice(this.#from, this.#to);
  }

  /** Trades in one run, on average. */
  get runTrades(): number {
    const { length } = this.workload.messages;
    return length / Math.ceil(length / CHUNK);
  }

  /** Runs until the ring has come round once: only then does no frame touch memory for the first time. */
  warmUp(run: () => void): void {
    const { ticks } = this.engine.frames.log;
    while (ticks.tail === 0) {
      this.next();
      run();
    }
  }

  /** One run from the venue's bytes. */
  parsed(): void {
    const { messages } = this.workload;
    for (let index = this.#from; index < this.#to; index += 1) {
      this.parser.parse((messages[index] as { bytes: Buffer }).bytes);
    }
  }

  /** One run from numbers, as a feed would leave them in the slot. */
  unparsed(): void {
    const { engine } = this;
    const { numbers, tradeIdWords } = engine.slot;
    const source = this.#numbers;
    for (let index = this.#from; index < this.#to; index += 1) {
      numbers[PRICE] = source[4 * index] as number;
      numbers[SIZE] = source[4 * index + 1] as number;
      numbers[TS_EXCHANGE] = source[4 * index + 2] as number;
      numbers[TRADE_NUMBER] = source[4 * index + 3] as number;
      for (let word = 0; word < 3; word += 1) tradeIdWords[word] = this.#ids[4 * index + word] as number;
      engine.slot.tradeIdLength = 10;
      engine.begin(this.#venue);
      engine.trade(this.#instruments[index] as number, this.#sides[index] as number, 0);
    }
  }

  /** Every trade that went in is a frame, none was taken for a duplicate, none followed a hole. */
  check(): void {
    let frames = 0;
    for (const { id } of this.engine.catalog.all()) {
      const stream = streamOf(id, SLOT_TRADES);
      const sequence = this.engine.frames.sequence(stream);
      // The two state frames of a stream, syncing and live, are no trades.
      frames += sequence > 2 ? sequence - 2 : 0;
    }
    strictEqual(frames, this.#expected, "every trade is a frame");
    strictEqual(this.engine.dedupe.duplicates + this.engine.dedupe.holes, 0, "ids follow each other");
    strictEqual(this.counters.slowMessages, 0, "every message was scanned");
  }
}
