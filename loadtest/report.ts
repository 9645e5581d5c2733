/** A part under load ended or broke off: nothing more can be measured, and what was under way is lost. Exit code 3. */
export class LossError extends Error {
  override readonly name = "LossError";
}

/** What was measured of one stretch of load, for the line that names the limit. Shares of a core; 1 is all of it. */
export interface Load {
  /** Which of the measurements it was. */
  label: string;
  /** Undefined where the load is made inside the server. */
  source?: { share: number; lateP99Us: number };
  server: number;
  receiver: number;
  /** Of all processors, other programs' work included. */
  machine: number;
}

export type Cell = string | number;

export interface Table {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly Cell[])[];
}

/** What a scenario found. */
export interface Outcome {
  tables: readonly Table[];
  /** The same as numbers, for `--json`. */
  figures: object;
  loads: readonly Load[];
  /** What was lost, in words; nothing when all is well. */
  losses: readonly string[];
  /** What a reader should know beside the figures. */
  notes?: readonly string[];
}

const FULL = 0.9;
/** A source that is so late was held up itself, and what was measured behind it is no latency of the server. */
const LATE_US = 5000;
/** So many measurements are named where a limit was met. */
const NAMED_LABELS = 4;

/** Names what kept the load from being more, or from being served sooner. */
export function limitOf(loads: readonly Load[]): string {
  const found = [
    ...(["source", "server", "receiver"] as const).map((part) => {
      const share = (load: Load) => (part === "source" ? (load.source?.share ?? 0) : load[part]);
      const most = Math.max(...loads.map(share));
      return sentence(`${part} at up to ${percent(most)} of a core`, loads, (load) => share(load) > FULL);
    }),
    sentence(
      `the source was late, p99 up to ${micros(Math.max(...loads.map(({ source }) => source?.lateP99Us ?? 0)))}`,
      loads,
      ({ source }) => source !== undefined && source.lateP99Us > LATE_US,
    ),
    sentence(
      `the machine's processors at up to ${percent(Math.max(...loads.map(({ machine }) => machine)))}, all programs together`,
      loads,
      ({ machine }) => machine > FULL,
    ),
  ].filter((text) => text !== "");
  if (found.length > 0) return found.join("; ");
  const saturating = loads.some(({ source }) => source === undefined);
  return saturating ? "none at 90 % of a core: the processes waited for each other" : "none: open loop kept up";
}

/** What was found, and in which measurements; empty when in none. */
function sentence(what: string, loads: readonly Load[], holds: (load: Load) => boolean): string {
  const labels = [...new Set(loads.filter(holds).map(({ label }) => label))];
  const all = new Set(loads.map(({ label }) => label)).size;
  if (labels.length === 0) return "";
  if (labels.length === all) return `${what} (${all === 1 ? labels[0] : "in all measurements"})`;
  const more = labels.length > NAMED_LABELS ? ` and ${labels.length - NAMED_LABELS} more` : "";
  return `${what} (${labels.slice(0, NAMED_LABELS).join("; ")}${more})`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** Microseconds in the unit that fits. */
export function micros(us: number): string {
  if (us < 1000) return `${us.toFixed(us < 10 ? 1 : 0)} us`;
  return us < 1e6 ? `${(us / 1000).toFixed(us < 1e5 ? 1 : 0)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** Thousands apart, so that long counts can be read. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function ratio(value: number): string {
  return Number.isFinite(value) ? `x ${value.toFixed(2)}` : "-";
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** A table as text: names to the left, figures to the right. */
export function formatTable({ title, columns, rows }: Table): string {
  const lines = [columns, ...rows].map((row) => row.map(String));
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
      )
      .join("  ")
      .trimEnd(),
  );
  return [title, ...text.map((line) => `  ${line}`)].join("\n");
}

/** The whole report as people read it; the last line names the limit. */
export function formatOutcome(outcome: Outcome): string {
  const notes = (outcome.notes ?? []).map((note) => `note: ${note}`);
  const losses = outcome.losses.length === 0 ? ["losses: none"] : outcome.losses.map((loss) => `LOSS: ${loss}`);
  return [
    ...outcome.tables.flatMap((table) => [formatTable(table), ""]),
    ...notes,
    ...losses,
    `limit: ${limitOf(outcome.loads)}`,
  ].join("\n");
}
