import type { BarMerge, Wanted } from "./bar-merge.ts";
import { type BarFields, type BarRow, barFields, tableFields } from "./bar-rows.ts";
import type { BarTable } from "./bar-table.ts";
import { TickwireError } from "./errors.ts";

/** The bars of one series as a program reads them: columns over the closed ones, and rows. */
export class BarSeries {
  protected merge!: BarMerge;
  /** The indicators that were asked for. */
  protected wanted: readonly Wanted[] = [];

  get #table(): BarTable {
    return this.merge.table;
  }

  /** Closed bars. */
  get count(): number {
    return this.#table.count;
  }

  get openTime(): Float64Array {
    return this.#table.column("openTime");
  }

  get closeTime(): Float64Array {
    return this.#table.column("closeTime");
  }

  get open(): Float64Array {
    return this.#table.column("open");
  }

  get high(): Float64Array {
    return this.#table.column("high");
  }

  get low(): Float64Array {
    return this.#table.column("low");
  }

  get close(): Float64Array {
    return this.#table.column("close");
  }

  get volume(): Float64Array {
    return this.#table.column("volume");
  }

  get quoteVolume(): Float64Array {
    return this.#table.column("quoteVolume");
  }

  get vwap(): Float64Array {
    return this.#table.column("vwap");
  }

  get buyVolume(): Float64Array {
    return this.#table.column("buyVolume");
  }

  get sellVolume(): Float64Array {
    return this.#table.column("sellVolume");
  }

  get tradeCount(): Float64Array {
    return this.#table.column("tradeCount");
  }

  /** A lane of an indicator over the closed bars, "macd" and "histogram"; throws a TickwireError when there is none. */
  lane(key: string, lane: string): Float64Array {
    const index = this.wanted.findIndex((wanted) => wanted.key === key);
    const at = this.wanted[index]?.lanes.indexOf(lane) ?? -1;
    if (at < 0) throw new TickwireError("bad_option", `there is no lane ${lane} of ${key}`);
    return this.#table.lane(index, at);
  }

  /** The building bar; undefined before its first trade. */
  get current(): BarRow | undefined {
    const { building, buildingValues } = this.merge;
    if (building === undefined) return undefined;
    return this.#withPrevious(barFields(building, this.wanted, buildingValues), this.count - 1);
  }

  #withPrevious(fields: BarFields, previous: number): BarRow {
    return { ...fields, prev: tableFields(this.#table, previous, this.wanted) };
  }

  /** A closed bar: 0 is the oldest, -1 the newest. */
  at(index: number): BarRow | undefined {
    const row = index < 0 ? this.count + index : index;
    if (row < 0 || row >= this.count) return undefined;
    return this.#withPrevious(tableFields(this.#table, row, this.wanted), row - 1);
  }

  /** The newest bars, oldest first, the building one the last. */
  last(count: number): BarRow[] {
    const { current } = this;
    const closed = current === undefined ? count : count - 1;
    const rows: BarRow[] = [];
    for (let row = Math.max(0, this.count - closed); row < this.count; row += 1) rows.push(this.at(row) as BarRow);
    return current === undefined ? rows : [...rows, current];
  }

  /** The closed bar that opened at a time. */
  protected rowAt(openTime: number): BarRow | undefined {
    const row = this.#table.rowOf(openTime);
    return row < 0 ? undefined : this.at(row);
  }
}
