import { strictEqual } from "node:assert";
import type { BarOutput } from "../src/engine/bar-output.ts";
import { Bars } from "../src/engine/bars.ts";
import * as B from "../src/indicators/bar.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { PRICE, SIZE, Slot } from "../src/market/sink.ts";
import { TIMEFRAME_MICROS, TIMEFRAMES, timeframeIndex } from "../src/market/timeframe.ts";
import type { Contest } from "./peers-contest.ts";
import { type MapBar, MapBars } from "./peers-map-bars.ts";
import type { TradeColumns } from "./peers-trades.ts";

const FOUR = ["1s", "1m", "5m", "1h"] as const;
const FOUR_INDEXES = FOUR.map(timeframeIndex);
const WIDTHS = FOUR.map((name, index) => [name, TIMEFRAME_MICROS[FOUR_INDEXES[index]]] as const);
const VENUE = 1;
const INSTRUMENT = 2;
const DAY_MICROS = 86_400e6;

/** Sums are of the same trades in another order: a wide bar is added up from the narrow ones that closed. */
const TOLERANCE = { relative: 1e-9, absolute: 0 };

/** Counts what closes. */
class CountingOutput implements BarOutput {
  bars = 0;
  bar(): void {
    this.bars += 1;
  }
  indicators(): void {}
}

/** Keeps what closes. */
class KeepingOutput implements BarOutput {
  readonly kept: MapBar[] = [];
  bar(_instrument: number, timeframe: number, bars: Float64Array, at: number): void {
    this.kept.push({
      timeframe: TIMEFRAMES[timeframe],
      openTime: bars[at + B.BAR_OPEN_TIME],
      open: bars[at + B.BAR_OPEN],
      high: bars[at + B.BAR_HIGH],
      low: bars[at + B.BAR_LOW],
      close: bars[at + B.BAR_CLOSE],
      volume: bars[at + B.BAR_VOLUME],
      quoteVolume: bars[at + B.BAR_QUOTE_VOLUME],
      buyVolume: bars[at + B.BAR_BUY_VOLUME],
      sellVolume: bars[at + B.BAR_SELL_VOLUME],
      count: bars[at + B.BAR_TRADE_COUNT],
    });
  }
  indicators(): void {}
}

/** The shipped bars without indicators, fed from columns. Passes follow each other in time. */
class ShippedBars {
  readonly bars: Bars;
  readonly #columns: TradeColumns;
  readonly #numbers = new Slot().numbers;
  readonly #times = new Float64Array(1);
  readonly #shift = new Float64Array(1);

  constructor(columns: TradeColumns, out: BarOutput) {
    this.#columns = columns;
    this.bars = new Bars({ timeframes: FOUR_INDEXES, indicators: new IndicatorSet([]), out });
    this.bars.open(INSTRUMENT, VENUE);
  }

  pass(): void {
    const { count, prices, sizes, times, sides, spanMicros } = this.#columns;
    const numbers = this.#numbers;
    for (let index = 0; index < count; index += 1) {
      numbers[PRICE] = prices[index];
      numbers[SIZE] = sizes[index];
      this.#times[0] = times[index] + this.#shift[0];
      this.bars.trade(INSTRUMENT, sides[index], numbers, this.#times, 0);
    }
    this.#shift[0] += spanMicros;
  }

  end(): void {
    this.#times[0] += DAY_MICROS;
    this.bars.closeDue(VENUE, this.#times, 0);
  }
}

class MapBarsPasses {
  readonly bars: MapBars;
  readonly #columns: TradeColumns;
  #shift = 0;

  constructor(columns: TradeColumns, onClose: (bar: MapBar) => void) {
    this.#columns = columns;
    this.bars = new MapBars(WIDTHS, onClose);
  }

  pass(): void {
    const { symbol, count, prices, sizes, times, sides, spanMicros } = this.#columns;
    for (let index = 0; index < count; index += 1) {
      this.bars.trade(symbol, sides[index], prices[index], sizes[index], times[index] + this.#shift);
    }
    this.#shift += spanMicros;
  }
}

function valuesOf(bars: MapBar[]): (number | string)[] {
  const width = ({ timeframe }: MapBar) => FOUR_INDEXES[FOUR.indexOf(timeframe as "1s")];
  return bars.sort((a, b) => width(a) - width(b) || a.openTime - b.openTime).flatMap((bar) => Object.values(bar));
}

/** Passes whose bars are compared: the second begins in the middle of the bars of the first. */
const COMPARED_PASSES = 2;

/** A trade into bars of 1s, 1m, 5m and 1h. */
export function barsContest(columns: TradeColumns): Contest {
  const output = new CountingOutput();
  const shipped = new ShippedBars(columns, output);
  const closed = new Float64Array(1);
  const mapped = new MapBarsPasses(columns, () => {
    closed[0] += 1;
  });
  return {
    part: "a trade into bars of four timeframes",
    count: columns.count,
    tolerance: TOLERANCE,
    ours: {
      name: "bars",
      run: () => shipped.pass(),
      answers() {
        const keeping = new KeepingOutput();
        const fresh = new ShippedBars(columns, keeping);
        for (let pass = 0; pass < COMPARED_PASSES; pass += 1) fresh.pass();
        fresh.end();
        strictEqual(fresh.bars.late, 0, "no trade is late, which the obvious way could not handle");
        return valuesOf(keeping.kept);
      },
    },
    peers: [
      {
        name: "Map of objects",
        run: () => mapped.pass(),
        answers() {
          const kept: MapBar[] = [];
          const fresh = new MapBarsPasses(columns, (bar) => kept.push(bar));
          for (let pass = 0; pass < COMPARED_PASSES; pass += 1) fresh.pass();
          fresh.bars.end();
          return valuesOf(kept);
        },
      },
    ],
  };
}

/** The closed 1s bars of the trades. */
export function secondBars({ symbol, count, prices, sizes, times, sides }: TradeColumns): MapBar[] {
  const kept: MapBar[] = [];
  const bars = new MapBars(WIDTHS.slice(0, 1), (bar) => kept.push(bar));
  for (let index = 0; index < count; index += 1) {
    bars.trade(symbol, sides[index], prices[index], sizes[index], times[index]);
  }
  bars.end();
  return kept;
}
