import { BAR_COLUMNS } from "../client/bar-table.ts";
import type { BarFields, LiveBars } from "../client/index.ts";
import { TIMEFRAME_MICROS, TIMEFRAMES, type Timeframe } from "../market/timeframe.ts";

/** What stands for an interval in which nothing was traded. */
export type FillGaps =
  /** Nothing: the next bar follows. */
  | "none"
  /** A bar at the last close, without volume. */
  | "flat"
  /** A bar of which every price is NaN, without volume. */
  | "null";

const COLUMNS = [...BAR_COLUMNS, "unknownVolume"] as const;

export type ColumnName = (typeof COLUMNS)[number];
const PRICES: ReadonlySet<string> = new Set(["open", "high", "low", "close"]);

/** A bar of the columns, one number a column. */
export type ColumnRow = Readonly<Record<ColumnName, number>>;

/**
 * Closed bars of one series as columns, oldest first: copies, which stay as they are. Times are microseconds, `closeTime`
 * exclusive; volumes are in base units, `unknownVolume` of trades whose aggressor nobody knows; `vwap` is NaN without
 * volume.
 */
export class BarColumns implements Readonly<Record<ColumnName, Float64Array>> {
  readonly exchange: string;
  readonly symbol: string;
  readonly timeframe: Timeframe;
  readonly length: number;
  readonly openTime: Float64Array;
  readonly closeTime: Float64Array;
  readonly open: Float64Array;
  readonly high: Float64Array;
  readonly low: Float64Array;
  readonly close: Float64Array;
  readonly volume: Float64Array;
  readonly quoteVolume: Float64Array;
  readonly vwap: Float64Array;
  readonly buyVolume: Float64Array;
  readonly sellVolume: Float64Array;
  readonly unknownVolume: Float64Array;
  readonly tradeCount: Float64Array;
  /** The venue lost trades in one of the bars, or one was not seen whole. */
  readonly inexact: boolean;

  /** The newest `limit` bars of a series, those that stand for silent intervals included. */
  constructor(bars: LiveBars, timeframe: Timeframe, limit: number, fill: FillGaps) {
    const width = TIMEFRAME_MICROS[TIMEFRAMES.indexOf(timeframe)] as number;
    const rows = rowsOf(bars, width, limit, fill);
    const column = (name: ColumnName) => Float64Array.from(rows, ({ values }) => values[name]);
    this.exchange = bars.exchange;
    this.symbol = bars.symbol;
    this.timeframe = timeframe;
    this.length = rows.length;
    this.inexact = rows.some(({ inexact }) => inexact);
    this.openTime = column("openTime");
    this.closeTime = column("closeTime");
    this.open = column("open");
    this.high = column("high");
    this.low = column("low");
    this.close = column("close");
    this.volume = column("volume");
    this.quoteVolume = column("quoteVolume");
    this.vwap = column("vwap");
    this.buyVolume = column("buyVolume");
    this.sellVolume = column("sellVolume");
    this.unknownVolume = column("unknownVolume");
    this.tradeCount = column("tradeCount");
  }

  /** A row; a negative index counts from the newest. Undefined when there is none. */
  at(index: number): ColumnRow | undefined {
    const row = index < 0 ? this.length + index : index;
    if (!(row >= 0 && row < this.length)) return undefined;
    return Object.fromEntries(COLUMNS.map((name) => [name, this[name][row]])) as ColumnRow;
  }

  rows(): ColumnRow[] {
    return Array.from({ length: this.length }, (_, row) => this.at(row) as ColumnRow);
  }

  /** The arrays alone, by name. */
  toColumns(): Readonly<Record<ColumnName, Float64Array>> {
    return Object.fromEntries(COLUMNS.map((name) => [name, this[name]])) as Record<ColumnName, Float64Array>;
  }
}

interface Row {
  readonly values: ColumnRow;
  readonly inexact: boolean;
}

function rowsOf(bars: LiveBars, width: number, limit: number, fill: FillGaps): Row[] {
  const rows: Row[] = [];
  // From the newest back, so that no more is made than is wanted.
  let next = Number.NaN;
  for (let index = bars.count - 1; index >= 0 && rows.length < limit; index -= 1) {
    const bar = bars.at(index) as BarFields;
    if (fill !== "none") {
      for (let at = next - width; at > bar.openTime && rows.length < limit; at -= width)
        rows.push({ values: silent(at, width, fill === "flat" ? bar.close : Number.NaN), inexact: false });
    }
    if (rows.length < limit) rows.push(traded(bar));
    next = bar.openTime;
  }
  return rows.reverse();
}

function traded(bar: BarFields): Row {
  const unknownVolume = Math.max(0, bar.volume - bar.buyVolume - bar.sellVolume);
  const values = Object.fromEntries(
    COLUMNS.map((name) => [name, name === "unknownVolume" ? unknownVolume : bar[name]]),
  ) as ColumnRow;
  return { values, inexact: bar.partial || bar.acrossGap };
}

function silent(openTime: number, width: number, price: number): ColumnRow {
  const row = Object.fromEntries(COLUMNS.map((name) => [name, PRICES.has(name) ? price : 0])) as ColumnRow;
  return { ...row, openTime, closeTime: openTime + width, vwap: Number.NaN };
}
