import { parseArgs } from "node:util";
import { nearest } from "../src/std/nearest.ts";

/** What a user got wrong: one clear line, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a scenario is run with; undefined is the scenario's own choice. */
export interface Flags {
  clients: number | undefined;
  /** Events a second. */
  rate: number | undefined;
  seconds: number | undefined;
  rounds: number | undefined;
  instruments: number | undefined;
  seed: number;
  dropEvery: number;
}

/** Flags that are not for every scenario, as they are written. */
export type ScenarioFlag = "clients" | "rate" | "seconds" | "rounds" | "instruments" | "seed" | "drop-every";

/** What the command line needs to know of a scenario. */
export type Known = Readonly<Record<string, { summary: string; takes: readonly ScenarioFlag[] }>>;

const FOR_ALL = ["scenario", "json", "help"];

export interface Command {
  help: boolean;
  scenario: string;
  json: boolean;
  flags: Flags;
}

/** A gateway's request names at most 1,024 symbols. */
const MOST_NAMED = 1000;

/** The instruments that clients are to ask for by name; throws a UsageError when they are too many. */
export function namedInstruments({ instruments }: Flags, fallback: number): number {
  const count = instruments ?? fallback;
  if (count > MOST_NAMED) throw new UsageError(`--instruments is at most ${MOST_NAMED} here, not ${count}`);
  return count;
}

interface Option {
  value?: string;
  help: string;
}

const OPTIONS: Readonly<Record<string, Option>> = {
  scenario: { value: "NAME", help: "one of the scenarios below" },
  clients: { value: "N", help: "clients connected" },
  rate: { value: "R", help: "events a second" },
  seconds: { value: "S", help: "how long each measurement takes, from 0.2" },
  rounds: { value: "N", help: "how often what is compared is measured in turn; medians are shown" },
  instruments: { value: "N", help: "instruments of the source" },
  seed: { value: "N", help: "seed of the source, 1" },
  "drop-every": { value: "N", help: "the bare relay drops every N-th message: shows that a loss is found" },
  json: { help: "the figures as one last line" },
  help: { help: "this text" },
};

/** Reads the command line; throws a UsageError. */
export function readCommand(args: readonly string[], known: Known): Command {
  const given = parse(args);
  const help = given.help === true;
  const scenario = help ? "" : scenarioOf(given.scenario, Object.keys(known));
  const number = (name: string, low: number, high: number, whole = true): number | undefined => {
    const text = given[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^\d+(\.\d+)?$/.test(String(text)) && value >= low && value <= high && (!whole || Number.isInteger(value))) {
      return value;
    }
    throw new UsageError(`--${name} takes a ${whole ? "whole " : ""}number from ${low} to ${high}, not "${text}"`);
  };
  const flags: Flags = {
    clients: number("clients", 1, 100_000),
    rate: number("rate", 1, 1_000_000),
    seconds: number("seconds", 0.2, 86_400, false),
    rounds: number("rounds", 1, 99),
    instruments: number("instruments", 1, 20_000),
    seed: number("seed", 0, 2 ** 32 - 1) ?? 1,
    dropEvery: number("drop-every", 1, 1e9) ?? 0,
  };
  if (!help) refuseOthers(given, scenario, known[scenario]?.takes ?? []);
  return { help, scenario, json: given.json === true, flags };
}

function scenarioOf(given: string | boolean | undefined, scenarios: readonly string[]): string {
  if (typeof given !== "string") throw new UsageError(`--scenario names one of ${scenarios.join(", ")}`);
  if (scenarios.includes(given)) return given;
  const near = nearest(given, scenarios);
  const hint = near === undefined ? `one of ${scenarios.join(", ")}` : `did you mean "${near}"?`;
  throw new UsageError(`unknown scenario "${given}": ${hint}`);
}

/** A flag that a scenario does not look at would seem to have been heeded. */
function refuseOthers(given: Record<string, unknown>, scenario: string, takes: readonly string[]): void {
  const other = Object.keys(given).find((name) => !FOR_ALL.includes(name) && !takes.includes(name));
  if (other === undefined) return;
  const list = takes.map((name) => `--${name}`).join(", ");
  throw new UsageError(`--${other} means nothing to ${scenario}; it takes ${list}`);
}

function parse(args: readonly string[]): Record<string, string | boolean | undefined> {
  const known = Object.fromEntries(
    Object.entries(OPTIONS).map(([name, { value }]) => [
      name,
      { type: value === undefined ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  const unknown = args.find(
    (arg) => arg.startsWith("-") && !Object.hasOwn(known, arg.replace(/^--?/, "").split("=")[0] as string),
  );
  if (unknown !== undefined) {
    const near = nearest(unknown.replace(/^--?/, "").split("=")[0] as string, Object.keys(known));
    throw new UsageError(`unknown flag ${unknown}${near === undefined ? "; see --help" : `: did you mean --${near}?`}`);
  }
  try {
    return parseArgs({ args: [...args], options: known }).values;
  } catch (error) {
    throw new UsageError((error as Error).message.split("\n")[0]);
  }
}

/** The help; each scenario with what it shows and the flags that it takes. */
export function helpText(known: Known): string {
  const row = (left: string, right: string) => `  ${left.padEnd(18)} ${right}`;
  return [
    "usage: npm run loadtest -- --scenario NAME [flags]",
    "",
    "Measures the gateway under load, beside simpler servers. Latency counts from when an event was due.",
    "",
    ...Object.entries(OPTIONS).map(([name, { value, help }]) => row(`--${name} ${value ?? ""}`, help)),
    "",
    "scenarios:",
    ...Object.entries(known).flatMap(([name, { summary, takes }]) => [
      row(name, summary),
      row("", takes.map((flag) => `--${flag}`).join(" ")),
    ]),
    "",
    "Exit code 0: measured and nothing lost; 1: could not run; 2: wrong flags; 3: something was lost.",
  ].join("\n");
}
