import type { LevelList } from "../market/sink.ts";
import { decimalOf, isInexact } from "./decimal.ts";

/*
 * Fields of a message that JSON.parse has read. A field that is missing or impossible comes back as NaN (a number),
 * "" (a text) or false, and the message is malformed: it is counted and ignored.
 */

export type Fields = Record<string, unknown>;

/** The message as an object, undefined when it is not JSON or not an object. */
export function parseFields(text: string): Fields | undefined {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A whole number that a double holds exactly, from 0 up. */
export function integerOf(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : Number.NaN;
}

/** Notes in passing whether one of the decimals read since `reset` did not fit a double exactly. */
export class DecimalFields {
  inexact = false;

  reset(): void {
    this.inexact = false;
  }

  /** A decimal from 0 up, else NaN. */
  decimal(value: unknown): number {
    const number = decimalOf(value);
    if (!Number.isNaN(number) && isInexact(value as string, number)) this.inexact = true;
    return number;
  }

  /** A decimal above 0, else NaN. */
  positive(value: unknown): number {
    const number = this.decimal(value);
    return number > 0 ? number : Number.NaN;
  }

  /** Levels as [price, size] texts; false when one of them is not. */
  levels(value: unknown, levels: LevelList): boolean {
    levels.count = 0;
    if (!Array.isArray(value)) return false;
    for (const level of value) {
      if (!Array.isArray(level) || level.length !== 2) return false;
      const price = this.positive(level[0]);
      const size = this.decimal(level[1]);
      if (Number.isNaN(price) || Number.isNaN(size) || !levels.push(price, size)) return false;
    }
    return true;
  }
}

/** True when none of these fields of a slot is NaN. */
export function areKnown(numbers: Float64Array, ...fields: number[]): boolean {
  return fields.every((field) => !Number.isNaN(numbers[field]));
}
