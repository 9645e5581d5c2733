import { BinanceParser } from "../src/feeds/binance-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { PRICE, SIDE_BUY, SIDE_SELL, SIZE, type Sink, Slot, TRADE_NUMBER, TS_EXCHANGE } from "../src/market/sink.ts";
import type { Contest } from "./peers-contest.ts";
import type { TradeColumns } from "./peers-trades.ts";

const VENUE = 1;
const INSTRUMENT = 2;

/** Counts trades, and has the last one in its slot. */
class CountingSink implements Sink {
  readonly slot = new Slot();
  readonly sum = new Float64Array(1);
  trades = 0;
  instrument = 0;
  side = 0;

  trade(instrument: number, side: number, _flags: number): void {
    const { numbers } = this.slot;
    this.trades += 1;
    this.instrument = instrument;
    this.side = side;
    this.sum[0] += numbers[PRICE] + numbers[SIZE] + numbers[TS_EXCHANGE] + numbers[TRADE_NUMBER];
  }

  begin(): void {}
  prefetch(): void {}
  quote(): void {}
  bookDelta(): void {}
  bookSnapshot(): void {}
  ticker(): void {}
  funding(): void {}
  liquidation(): void {}
  heartbeat(): void {}
  lastTrade(): void {}
  instruments(): number[] {
    return [];
  }
  history(): void {}
  connection(): void {}
  bookFailed(): void {}
}

/** What a handler without a slot gets: the trade as arguments. */
class TradeCounter {
  readonly sum = new Float64Array(1);
  trades = 0;
  instrument = 0;
  side = 0;
  price = 0;
  size = 0;
  time = 0;
  id = 0;

  trade(instrument: number, side: number, price: number, size: number, time: number, id: number): void {
    this.trades += 1;
    this.instrument = instrument;
    this.side = side;
    this.price = price;
    this.size = size;
    this.time = time;
    this.id = id;
    this.sum[0] += price + size + time + id;
  }
}

interface TradeMessage {
  data: { s: string; t: number; p: string; q: string; T: number; m: boolean };
}

function readTrade(message: Buffer, instruments: ReadonlyMap<string, number>, counter: TradeCounter): void {
  const { data } = JSON.parse(message.toString()) as TradeMessage;
  const side = data.m ? SIDE_SELL : SIDE_BUY;
  counter.trade(instruments.get(data.s) ?? 0, side, Number(data.p), Number(data.q), data.T * 1000, data.t);
}

/** The scanner on the venue's bytes, as a socket hands them over, against JSON.parse of them and Number() of the fields. */
export function scanContest({ messages, symbol }: TradeColumns): Contest {
  const sink = new CountingSink();
  const symbols = new SymbolTable();
  symbols.add(symbol, INSTRUMENT);
  const parser = new BinanceParser({
    sink,
    venue: VENUE,
    symbols,
    started: new StartedStreams(),
    counters: new FeedCounters(),
    microseconds: false,
    onControl: () => {},
    onMalformed: () => {},
  });
  const counter = new TradeCounter();
  const instruments = new Map([[symbol, INSTRUMENT]]);
  return {
    part: "a recorded trade, from the venue's bytes to numbers",
    count: messages.length,
    ours: {
      name: "scanner",
      run(from, to) {
        for (let index = from; index < to; index += 1) parser.parse(messages[index]);
      },
      answers() {
        sink.trades = 0;
        return messages.flatMap((message) => {
          parser.parse(message);
          const { numbers, tradeId, tradeIdLength } = sink.slot;
          const id = Buffer.from(tradeId.subarray(0, tradeIdLength)).toString();
          const { trades, instrument, side } = sink;
          return [trades, instrument, side, numbers[PRICE], numbers[SIZE], numbers[TS_EXCHANGE], id];
        });
      },
    },
    peers: [
      {
        name: "JSON.parse and Number()",
        run(from, to) {
          for (let index = from; index < to; index += 1) readTrade(messages[index], instruments, counter);
        },
        answers() {
          counter.trades = 0;
          return messages.flatMap((message) => {
            readTrade(message, instruments, counter);
            const { trades, instrument, side, price, size, time, id } = counter;
            return [trades, instrument, side, price, size, time, String(id)];
          });
        },
      },
    ],
  };
}
