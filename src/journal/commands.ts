import { parseArgs } from "node:util";
import type { ExportFormat } from "./export.ts";
import { exportJournal } from "./export.ts";
import { journalFiles, systemFiles } from "./files.ts";
import { MODES } from "./format.ts";
import { SegmentReader } from "./segment-reader.ts";
import { openSource } from "./source.ts";
import { verify } from "./verify.ts";

export const JOURNAL_USAGE = `usage: tickwire journal ls|verify|export DIR [flags]

  ls DIR        its files: epoch, mode, when opened, first position, bytes
  verify DIR    reads every record and reports all that is not as it was written; exit code 1 when there is anything
  export DIR    what it holds, on standard output: --format jsonl (the default) or csv (trades, quotes, bars)
                --from TIME --to TIME (ISO 8601 with its zone) --epoch N --micros`;

/** What a user got wrong. */
export class JournalUsageError extends Error {
  override readonly name = "JournalUsageError";
}

/** Runs `tickwire journal …`; returns the exit code. `out` takes what is asked for, `tell` what there is to say of it. */
export function journalCommand(
  args: readonly string[],
  out: (text: string) => void,
  tell: (text: string) => void,
): number {
  const [command, directory, ...flags] = args;
  if (command === undefined || !["ls", "verify", "export"].includes(command))
    throw new JournalUsageError(JOURNAL_USAGE);
  if (directory === undefined || directory.startsWith("-"))
    throw new JournalUsageError(`journal ${command}: name the folder`);
  if (command !== "export" && flags.length > 0) throw new JournalUsageError(`journal ${command}: takes no ${flags[0]}`);
  try {
    if (journalFiles(systemFiles, directory).length === 0) throw new Error("there is no journal in it");
  } catch (error) {
    throw new JournalUsageError(`${directory}: ${(error as Error).message}`);
  }
  if (command === "ls") return list(directory, out);
  return command === "verify" ? check(directory, out) : write(directory, flags, out, tell);
}

function list(directory: string, out: (text: string) => void): number {
  for (const file of journalFiles(systemFiles, directory)) {
    const source = openSource(systemFiles, file);
    const segment = source === undefined ? undefined : new SegmentReader(source);
    const { epoch = 0, mode = MODES[0], firstPosition = 0 } = segment?.header ?? {};
    segment?.close();
    const opened = new Date(file.opened / 1000).toISOString();
    const bytes = systemFiles.sizeOf(file.path);
    const what = segment?.header === undefined ? "its header cannot be read" : `${mode} from position ${firstPosition}`;
    out(`${file.path}  ${opened}  epoch ${epoch}  ${what}  ${bytes} bytes${file.compressed ? ", compressed" : ""}\n`);
  }
  return 0;
}

function check(directory: string, out: (text: string) => void): number {
  const { files, frames, problems, gaps } = verify(directory);
  for (const { name, epoch, frames: count, from, to, end } of files) {
    out(`${name}  epoch ${epoch}  ${count} frames, positions ${from} to ${to}, ${end}\n`);
  }
  for (const { file, from, to, cause } of gaps) out(`${file}  gap: positions ${from} to ${to}, ${cause}\n`);
  for (const { file, offset, length, kind, text } of problems) {
    out(`${file}  ${kind} at byte ${offset}, ${length} bytes: ${text}\n`);
  }
  out(`${frames} frames in ${files.length} files, ${gaps.length} gaps, ${problems.length} problems\n`);
  return problems.length === 0 ? 0 : 1;
}

function write(
  directory: string,
  flags: readonly string[],
  out: (text: string) => void,
  tell: (text: string) => void,
): number {
  const { format, from, to, epoch, micros } = readFlags(flags);
  const { rows, skipped, damages, gaps } = exportJournal(
    directory,
    format,
    {
      microseconds: micros,
      ...(from === undefined ? {} : { fromTime: from }),
      ...(to === undefined ? {} : { toTime: to }),
      ...(epoch === undefined ? {} : { epoch }),
    },
    out,
  );
  const left = skipped === 0 ? "" : `, ${skipped} frames have no row in it`;
  tell(`${rows} rows${left}, ${gaps.length} gaps, ${damages.length} damaged places\n`);
  return damages.length === 0 ? 0 : 1;
}

interface ExportFlags {
  format: ExportFormat;
  from: number | undefined;
  to: number | undefined;
  epoch: number | undefined;
  micros: boolean;
}

function readFlags(args: readonly string[]): ExportFlags {
  const options = { format: { type: "string" }, from: { type: "string" }, to: { type: "string" } } as const;
  const more = { epoch: { type: "string" }, micros: { type: "boolean" } } as const;
  try {
    const { values } = parseArgs({ args: [...args], options: { ...options, ...more } });
    const { format = "jsonl", epoch, micros = false } = values;
    if (format !== "jsonl" && format !== "csv") throw new JournalUsageError("--format is jsonl or csv");
    if (epoch !== undefined && !/^\d{1,16}$/.test(epoch))
      throw new JournalUsageError("--epoch is a number, as ls shows it");
    const of = epoch === undefined ? undefined : Number(epoch);
    return { format, from: timeOf("from", values.from), to: timeOf("to", values.to), epoch: of, micros };
  } catch (error) {
    throw error instanceof JournalUsageError ? error : new JournalUsageError((error as Error).message.split("\n")[0]);
  }
}

function timeOf(name: string, text: string | undefined): number | undefined {
  const micros = text === undefined ? undefined : isoMicros(text);
  if (text === undefined || micros !== undefined) return micros;
  throw new JournalUsageError(`--${name} is a time such as 2026-11-21T12:00:00Z, not "${text}"`);
}

/** A day, or a time with its zone, of ISO 8601 in microseconds; undefined for anything else. */
export function isoMicros(text: string): number | undefined {
  const ms = /^\d{4}-\d\d-\d\d(T.*(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms * 1000;
}
