import { describe } from "../indicators/describe.ts";
import { BAR_COLUMNS, type BarColumn, type BarTable } from "./bar-table.ts";
import type { BarStateName } from "./views.ts";

/** An indicator's values in a row: its lanes by name, and what a chart draws them in. */
export interface IndicatorRow {
  readonly ready: boolean;
  readonly direction?: string;
  readonly color?: string;
  readonly [lane: string]: number | boolean | string | undefined;
}

/**
 * One bar with its indicators. Times are microseconds, `closeTime` exclusive; volumes in base units; NaN is not known.
 * Beside these fields it has the indicators under the program's own names.
 */
export interface BarFields {
  readonly openTime: number;
  readonly closeTime: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
  readonly quoteVolume: number;
  readonly vwap: number;
  readonly buyVolume: number;
  readonly sellVolume: number;
  readonly tradeCount: number;
  readonly state: BarStateName;
  readonly source: "trades" | "venue";
  readonly partial: boolean;
  readonly acrossGap: boolean;
  /** Every indicator has seen enough bars. */
  readonly ready: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: which indicators there are, and under which names, is the program's choice
  readonly [indicator: string]: any;
}

/** A bar with the one before it. */
export interface BarRow extends BarFields {
  /** The bar before, without one of its own; before the oldest one of which nothing is known, and that is not ready. */
  readonly prev: BarFields;
}

/** An indicator that a program asked for, and the name that its rows have it under. */
export interface RowIndicator {
  readonly key: string;
  /** The server's name for it, "macd(12,26,9)", and the names of its lanes. */
  readonly name: string;
  readonly lanes: readonly string[];
}

/** What a bar says besides its indicators. */
export type BareBar = Record<BarColumn, number> & Pick<BarFields, "state" | "source" | "partial" | "acrossGap">;

/** Puts a row together; `values` are, by indicator, its lanes and then 1 when it is ready. */
export function barFields(
  bar: BareBar,
  indicators: readonly RowIndicator[],
  values: readonly (readonly number[])[],
): BarFields {
  const { state, source, partial, acrossGap } = bar;
  const named = indicators.map((each, index): [string, IndicatorRow] => [each.key, rowOf(each, values[index] ?? [])]);
  const ready = named.every(([, row]) => row.ready);
  return {
    ...columns((column) => bar[column]),
    state,
    source,
    partial,
    acrossGap,
    ready,
    ...Object.fromEntries(named),
  };
}

/** A closed bar of the table; one that is not there is unknown in every field. */
export function tableFields(table: BarTable, row: number, indicators: readonly RowIndicator[]): BarFields {
  const isThere = row >= 0 && row < table.count;
  const { corrected, ...flags } = isThere ? table.flagsOf(row) : NOTHING;
  const bar: BareBar = {
    ...columns((column) => (isThere ? table.get(column, row) : Number.NaN)),
    state: corrected ? "corrected" : "closed",
    ...flags,
  };
  const values = indicators.map(({ lanes }, index) =>
    Array.from({ length: lanes.length + 1 }, (_, lane) =>
      isThere ? (table.lane(index, lane)[row] as number) : Number.NaN,
    ),
  );
  return barFields(bar, indicators, values);
}

/** A bar's numbers, in the order of the columns. */
export function columns(numberOf: (column: BarColumn) => number): Record<BarColumn, number> {
  return Object.fromEntries(BAR_COLUMNS.map((column) => [column, numberOf(column)])) as Record<BarColumn, number>;
}

const NOTHING = { partial: true, acrossGap: false, source: "trades" as const, corrected: false };

/** An indicator's row: its lanes by name, and how a chart draws it. */
function rowOf(indicator: RowIndicator, values: readonly number[]): IndicatorRow {
  const { lanes } = indicator;
  const row: Record<string, number | boolean | string> = {};
  for (const [lane, name] of lanes.entries()) row[name] = values[lane] ?? Number.NaN;
  return { ...row, ...describe(indicator).style(values.slice(0, lanes.length)), ready: values[lanes.length] === 1 };
}
