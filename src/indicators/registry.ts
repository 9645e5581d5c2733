import { assert } from "../std/assert.ts";
import { hma } from "./hma.ts";
import type { Indicator, IndicatorKind } from "./indicator.ts";
import { MAX_LANES } from "./indicator.ts";
import { macd } from "./macd.ts";
import { IndicatorPlan } from "./plan.ts";
import { vwap } from "./vwap.ts";

/** Every kind of indicator: adding one is its file and its name here. */
export const INDICATOR_KINDS: readonly IndicatorKind[] = [macd, hma, vwap];

export const DEFAULT_INDICATORS: readonly string[] = ["macd(12,26,9)", "hma(20)", "vwap"];

/** How many definitions a process may have; each costs every series that uses it its state and its computation. */
export const MAX_INDICATORS = 32;
/** Doubles of the longest row of values: every definition, with all its lanes and its ready. */
export const MAX_INDICATOR_ROW = MAX_INDICATORS * (MAX_LANES + 1);

/** Combinations of indicators whose layout is kept to be shared; clients choose them, so there must be an end. */
const MAX_SHARED_PLANS = 256;
/** The longest definition that is looked at; what a client sends may be anything. */
const MAX_TEXT = 64;
const DEFINITION = /^\s*([a-z][a-z0-9_]*)\s*(?:\(([^()]*)\))?\s*$/i;

export type ParsedIndicator =
  | { readonly indicator: Indicator; readonly error?: undefined }
  | { readonly indicator?: undefined; readonly error: string };

export type RegisteredIndicator =
  | { readonly id: number; readonly error?: undefined }
  | { readonly id?: undefined; readonly error: string };

/** Parses "macd(12,26,9)", "MACD(8,21,5)", "hma" (defaults) or "vwap"; what is wrong with it is said, not thrown. */
export function parseIndicator(text: string): ParsedIndicator {
  const match = text.length <= MAX_TEXT ? DEFINITION.exec(text) : null;
  if (match === null) return { error: `"${text.slice(0, MAX_TEXT)}" is not an indicator: expected name or name(n,…)` };
  const name = (match[1] as string).toLowerCase();
  const kind = INDICATOR_KINDS.find((candidate) => candidate.name === name);
  if (kind === undefined) {
    return { error: `unknown indicator "${name}": known are ${INDICATOR_KINDS.map((known) => known.name).join(", ")}` };
  }
  const given = match[2] === undefined || match[2].trim() === "" ? [] : match[2].split(",");
  const parameters = given.length === 0 ? kind.parameters.map((rule) => rule.fallback) : parametersOf(kind, given);
  if (typeof parameters === "string") return { error: `${name}: ${parameters}` };
  const complaint = kind.check?.(parameters);
  if (complaint !== undefined) return { error: `${name}: ${complaint}` };
  return { indicator: kind.create(parameters) };
}

/** The parameters as numbers, or what is wrong with them. */
function parametersOf(kind: IndicatorKind, given: readonly string[]): number[] | string {
  if (given.length !== kind.parameters.length) {
    const names = kind.parameters.map((rule) => rule.name).join(", ");
    return `takes ${kind.parameters.length === 0 ? "no parameters" : `${kind.parameters.length} (${names}) or none`}`;
  }
  const parameters: number[] = [];
  for (const [index, rule] of kind.parameters.entries()) {
    const text = (given[index] as string).trim();
    const value = Number(text);
    if (!/^\d{1,9}$/.test(text) || value < rule.min || value > rule.max) {
      return `${rule.name} must be a whole number from ${rule.min} to ${rule.max}`;
    }
    parameters.push(value);
  }
  return parameters;
}

/** The definitions of a process, each with a small integer that frames carry; the same definition has one id. */
export class IndicatorSet {
  /** The ids of the definitions that every series computes. */
  readonly defaults: readonly number[];
  readonly #indicators: Indicator[] = [];
  readonly #ids = new Map<string, number>();
  readonly #isStored: boolean;
  readonly #plans = new Map<string, IndicatorPlan>();

  /** `isStored`: what comes was computed by another process, whose numbers for any but the default ones are not known. */
  constructor(defaults: readonly string[] = DEFAULT_INDICATORS, isStored = false) {
    this.defaults = defaults.map((text) => {
      const { id, error } = this.register(text);
      assert(id !== undefined, error ?? "");
      return id;
    });
    this.#isStored = isStored;
  }

  get size(): number {
    return this.#indicators.length;
  }

  /** The id of a definition, a new one where it is new; an error where it is none, or one too many. */
  register(text: string): RegisteredIndicator {
    const { indicator, error } = parseIndicator(text);
    if (indicator === undefined) return { error };
    const known = this.#ids.get(indicator.name);
    if (known !== undefined) return { id: known };
    if (this.#isStored)
      return { error: `a replay has only ${this.#names}, as they were stored: --recompute makes others` };
    if (this.#indicators.length === MAX_INDICATORS) return { error: `more than ${MAX_INDICATORS} indicators` };
    assert(indicator.lanes.length <= MAX_LANES, `${indicator.name} has at most ${MAX_LANES} lanes`);
    const id = this.#indicators.length;
    this.#indicators.push(indicator);
    this.#ids.set(indicator.name, id);
    return { id };
  }

  get #names(): string {
    return this.#indicators.map(({ name }) => name).join(", ");
  }

  get(id: number): Indicator | undefined {
    return this.#indicators[id];
  }

  /** The plan of some ids, shared by all who ask for the same ones. */
  plan(ids: readonly number[]): IndicatorPlan {
    const sorted = [...new Set(ids)].sort((a, b) => a - b);
    const key = sorted.join(",");
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const indicators = sorted.map((id) => {
      const indicator = this.#indicators[id];
      assert(indicator !== undefined, `indicator ${id} is registered`);
      return indicator;
    });
    const plan = new IndicatorPlan(sorted, indicators);
    if (this.#plans.size < MAX_SHARED_PLANS) this.#plans.set(key, plan);
    return plan;
  }
}
