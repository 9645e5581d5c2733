import type { Instrument } from "../market/instrument.ts";
import { Catalog, emptyListing, MARKET_TYPES } from "../market/instrument.ts";
import * as V from "../wire/generated/views.ts";
import { type IndicatorDescription, JsonTwin } from "../wire/json.ts";
import { csvHeader, csvRow, isCsvPayload } from "./csv.ts";
import type { Damage } from "./progress.ts";
import { type JournalFrame, JournalReader, type ReadOptions, type StatedGap } from "./reader.ts";

/** `jsonl`: the JSON form of each frame, one a line. `csv`: the rows of csv.ts, a line of column names first. */
export type ExportFormat = "jsonl" | "csv";

export interface ExportOptions extends Pick<ReadOptions, Exclude<keyof ReadOptions, "copies" | "onDamage" | "onGap">> {
  /** Times in microseconds rather than milliseconds. */
  microseconds?: boolean;
  /** Names of indicators, whose frames carry numbers only; without it they are called by their numbers. */
  describe?: (indicator: number) => IndicatorDescription | undefined;
}

export interface ExportReport {
  /** Lines written, column names not counted. */
  rows: number;
  /** Frames that the format has no row for. */
  skipped: number;
  damages: Damage[];
  gaps: StatedGap[];
}

/** Texts are handed over in pieces of about so many characters. */
const PIECE_LENGTH = 64 * 1024;

/** Writes what a journal holds as text, in order, and reports what it could not read. */
export function exportJournal(
  directory: string,
  format: ExportFormat,
  options: ExportOptions,
  write: (text: string) => void,
): ExportReport {
  const report: ExportReport = { rows: 0, skipped: 0, damages: [], gaps: [] };
  const { microseconds = false, describe = () => undefined, ...narrowed } = options;
  const view = new V.FrameView();
  let catalog = new ReadCatalog();
  let twin = new JsonTwin(catalog, describe);
  let epoch = -1;
  let text = format === "csv" ? csvHeader() : "";
  const frames = new JournalReader(directory).frames({
    ...narrowed,
    copies: true,
    onDamage: (damage) => report.damages.push(damage),
    onGap: (gap) => report.gaps.push(gap),
  });
  for (const frame of frames) {
    if (frame.epoch !== epoch) {
      // Another run of the server: its numbers stand for other instruments.
      epoch = frame.epoch;
      catalog = new ReadCatalog();
      twin = new JsonTwin(catalog, describe);
    }
    view.attach(frame.memory, frame.at + frame.memory.i32[frame.at >> 2]);
    if (view.payloadType === V.PAYLOAD_INSTRUMENT) catalog.learn(frame, view.payloadAt);
    if (frame.copy) continue;
    if (format === "csv" && !isCsvPayload(view.payloadType)) {
      report.skipped += 1;
      continue;
    }
    const json = twin.encode(frame.memory, frame.at, microseconds);
    text += format === "csv" ? csvRow(json) : `${json}\n`;
    report.rows += 1;
    if (text.length < PIECE_LENGTH) continue;
    write(text);
    text = "";
  }
  if (text !== "") write(text);
  return report;
}

/** The instruments that the journal has told of so far, under the numbers that they have there. */
class ReadCatalog extends Catalog {
  readonly #read = new Map<number, Instrument>();
  readonly #view = new V.InstrumentView();

  override get(id: number): Instrument | undefined {
    return this.#read.get(id);
  }

  learn({ memory }: JournalFrame, payloadAt: number): void {
    const view = this.#view;
    view.attach(memory, payloadAt);
    const { id, exchange, symbol, venueSymbol } = view;
    const marketType = MARKET_TYPES[view.marketType] ?? "unknown";
    const listing = { ...emptyListing(), symbol, venueSymbol, marketType };
    this.#read.set(id, { ...listing, id, exchange, venue: 0, active: true });
  }
}
