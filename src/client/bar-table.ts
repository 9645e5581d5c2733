import type { BarStateName } from "./views.ts";

/** Columns of a bar, in the order of the table. */
export const BAR_COLUMNS = [
  "openTime",
  "closeTime",
  "open",
  "high",
  "low",
  "close",
  "volume",
  "quoteVolume",
  "vwap",
  "buyVolume",
  "sellVolume",
  "tradeCount",
] as const;

export type BarColumn = (typeof BAR_COLUMNS)[number];

/** Bits of a row's flags. */
const PARTIAL = 1;
const ACROSS_GAP = 2;
const FROM_VENUE = 4;
const CORRECTED = 8;

/** A bar as it comes. */
export type BarValues = Readonly<Record<BarColumn, number>> & {
  readonly state: BarStateName;
  readonly source: string;
  readonly partial: boolean;
  readonly acrossGap: boolean;
};

/** Numbers of an indicator in a row: its lanes, then 1 when it is ready. */
export interface IndicatorColumns {
  readonly lanes: readonly string[];
}

/**
 * The newest closed bars of one series, oldest first, a column a typed array, and the values of indicators beside them.
 * Twice as long as what is kept, so that a bar is appended without moving the others; once in a while all are moved back.
 *
 *   ├──── dropped ────┼──── kept, at most `limit` ────┤ free │
 */
export class BarTable {
  readonly limit: number;
  count = 0;
  #start = 0;
  readonly #columns: readonly Float64Array[];
  readonly #flags: Uint8Array;
  readonly #values: readonly Float64Array[];
  /** Where each indicator's lanes begin among the values; its ready follows them. */
  readonly #firsts: readonly number[];

  constructor(limit: number, indicators: readonly IndicatorColumns[]) {
    this.limit = limit;
    this.#columns = BAR_COLUMNS.map(() => new Float64Array(2 * limit));
    this.#flags = new Uint8Array(2 * limit);
    let width = 0;
    this.#firsts = indicators.map(({ lanes }) => {
      width += lanes.length + 1;
      return width - lanes.length - 1;
    });
    this.#values = Array.from({ length: width }, () => new Float64Array(2 * limit));
  }

  /** A column, as it lies: good until the table changes. */
  column(name: BarColumn): Float64Array {
    const column = this.#columns[BAR_COLUMNS.indexOf(name)] as Float64Array;
    return column.subarray(this.#start, this.#start + this.count);
  }

  /** A lane of an indicator, as it lies; `lane` one more than the last is 1 where it is ready. */
  lane(indicator: number, lane: number): Float64Array {
    const column = this.#values[(this.#firsts[indicator] as number) + lane] as Float64Array;
    return column.subarray(this.#start, this.#start + this.count);
  }

  get(name: BarColumn, row: number): number {
    return (this.#columns[BAR_COLUMNS.indexOf(name)] as Float64Array)[this.#start + row] as number;
  }

  flagsOf(row: number): { partial: boolean; acrossGap: boolean; source: "venue" | "trades"; corrected: boolean } {
    const flags = this.#flags[this.#start + row] as number;
    return {
      partial: (flags & PARTIAL) !== 0,
      acrossGap: (flags & ACROSS_GAP) !== 0,
      source: (flags & FROM_VENUE) !== 0 ? "venue" : "trades",
      corrected: (flags & CORRECTED) !== 0,
    };
  }

  /** The row of the bar that opened at a time, or -1. */
  rowOf(openTime: number): number {
    const row = this.#search(openTime);
    return row < this.count && this.get("openTime", row) === openTime ? row : -1;
  }

  /** How many bars opened before a time. */
  #search(openTime: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.get("openTime", middle) < openTime) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Puts a closed bar where it belongs, in the place of one that opened then; returns its row, -1 when it is too old. */
  put(bar: BarValues): number {
    let row = this.#search(bar.openTime);
    const isKnown = row < this.count && this.get("openTime", row) === bar.openTime;
    if (!isKnown) {
      if (this.count === this.limit) {
        if (row === 0) return -1;
        this.#start += 1;
        this.count -= 1;
        row -= 1;
      }
      this.#makeRoom(row);
    }
    const at = this.#start + row;
    for (let column = 0; column < BAR_COLUMNS.length; column += 1) {
      (this.#columns[column] as Float64Array)[at] = bar[BAR_COLUMNS[column] as BarColumn];
    }
    this.#flags[at] =
      (bar.partial ? PARTIAL : 0) |
      (bar.acrossGap ? ACROSS_GAP : 0) |
      (bar.source === "venue" ? FROM_VENUE : 0) |
      (bar.state === "corrected" ? CORRECTED : 0);
    return row;
  }

  #makeRoom(row: number): void {
    const all = [...this.#columns, this.#flags, ...this.#values];
    if (this.#start + this.count === 2 * this.limit) {
      for (const column of all) column.copyWithin(0, this.#start, this.#start + this.count);
      this.#start = 0;
    }
    const at = this.#start + row;
    for (const column of all) column.copyWithin(at + 1, at, this.#start + this.count);
    for (const column of this.#values) column[at] = Number.NaN;
    this.count += 1;
  }

  setLane(row: number, indicator: number, lane: number, value: number): void {
    (this.#values[(this.#firsts[indicator] as number) + lane] as Float64Array)[this.#start + row] = value;
  }

  /** Drops the bars whose open time is not to be kept. */
  keep(isKept: (openTime: number) => boolean): void {
    const all = [...this.#columns, this.#flags, ...this.#values];
    let kept = 0;
    for (let row = 0; row < this.count; row += 1) {
      if (!isKept(this.get("openTime", row))) continue;
      for (const column of all) column.copyWithin(this.#start + kept, this.#start + row, this.#start + row + 1);
      kept += 1;
    }
    this.count = kept;
  }
}
