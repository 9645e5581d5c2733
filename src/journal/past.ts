import type { Worker } from "node:worker_threads";
import { DIRECTORY_STREAM } from "../market/channel.ts";
import { Payload } from "../wire/generated/tickwire.ts";
import { FrameView, InstrumentView } from "../wire/generated/views.ts";
import { journalFiles, systemFiles } from "./files.ts";
import { PAST_MODULE, PAST_WORK, type PastChunk, type PastQuery, type PastRequest } from "./past-worker.ts";
import { JournalReader } from "./reader.ts";
import { SegmentReader } from "./segment-reader.ts";
import { openSource } from "./source.ts";
import { startThread } from "./thread.ts";

/** The epochs that a journal has files of, oldest first. */
export function epochsOf(directory: string): number[] {
  const epochs = new Set<number>();
  for (const file of journalFiles(systemFiles, directory)) {
    const source = openSource(systemFiles, file);
    if (source === undefined) continue;
    const segment = new SegmentReader(source);
    if (segment.header !== undefined) epochs.add(segment.header.epoch);
    segment.close();
  }
  return [...epochs];
}

/** Tells the names of all instruments and venues (whose symbol is empty) that a journal's newest epoch knew, and their ids. */
export function namesOf(
  directory: string,
  epoch: number,
  tell: (exchange: string, symbol: string, id: number) => void,
) {
  const newest = journalFiles(systemFiles, directory).at(-1);
  const frame = new FrameView();
  const instrument = new InstrumentView();
  const where = { epoch, fromPosition: 0, fromTime: newest?.opened ?? 0, copies: true };
  for (const { memory, at, stream } of new JournalReader(directory).frames(where)) {
    if (stream !== DIRECTORY_STREAM) continue;
    frame.attach(memory, at + memory.i32[at >> 2]);
    if (frame.payloadType !== Payload.Instrument || !instrument.attach(memory, frame.payloadAt)) continue;
    tell(instrument.exchange, instrument.symbol, instrument.id);
  }
}

/** One answer that comes in pieces. One piece is on its way while the one before is used. */
export interface PastReading {
  /** The next piece; undefined while it has not come, or after the last. */
  take(): PastChunk | undefined;
  /** True once the last piece was taken. */
  readonly done: boolean;
  close(): void;
}

/** What is older than memory holds: reads the journal in a thread of its own, for whoever asks. */
export class JournalPast {
  readonly #directory: string;
  /** Epochs that it held when the server started, oldest first. */
  readonly #epochs: readonly number[];
  /** The last of them when it was closed as it should be: nothing of it is missing. */
  readonly #clean: number | undefined;
  readonly #readings = new Map<number, Reading>();
  #worker: Worker | undefined;
  #lastId = 0;

  constructor(directory: string, epochs: readonly number[], clean: number | undefined) {
    this.#directory = directory;
    this.#epochs = epochs;
    this.#clean = clean;
  }

  /** The epochs of earlier starts of the server from one on; none when the journal never had that one. */
  epochsFrom(epoch: number): readonly number[] {
    const first = this.#epochs.indexOf(epoch);
    return first < 0 ? [] : this.#epochs.slice(first);
  }

  /** True when the journal has all that there ever was of an epoch. */
  isWhole(epoch: number): boolean {
    return epoch === this.#clean;
  }

  /** When its oldest file was opened, microseconds; Infinity without files. */
  get firstTime(): number {
    return journalFiles(systemFiles, this.#directory)[0]?.opened ?? Number.POSITIVE_INFINITY;
  }

  open(query: PastQuery): PastReading {
    this.#lastId += 1;
    const id = this.#lastId;
    const reading = new Reading(id, (request) => this.#ask(request));
    this.#readings.set(id, reading);
    this.#ask({ id, open: query });
    return reading;
  }

  #ask(request: PastRequest): void {
    if ("close" in request) this.#readings.delete(request.id);
    this.#worker ??= this.#start();
    this.#worker.postMessage(request);
  }

  #start(): Worker {
    const worker = startThread(PAST_MODULE, { work: PAST_WORK, directory: this.#directory });
    worker.on("message", (chunk: PastChunk) => this.#readings.get(chunk.id)?.got(chunk));
    // Who waits for it is told that the journal has no more.
    worker.on("error", () => {
      for (const reading of this.#readings.values()) reading.fail();
      this.#worker = undefined;
    });
    worker.unref();
    return worker;
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }
}

class Reading implements PastReading {
  done = false;
  readonly #id: number;
  readonly #ask: (request: PastRequest) => void;
  #chunk: PastChunk | undefined;

  constructor(id: number, ask: (request: PastRequest) => void) {
    this.#id = id;
    this.#ask = ask;
  }

  got(chunk: PastChunk): void {
    this.#chunk = chunk;
  }

  fail(): void {
    const none = { bytes: new Uint8Array(0), index: new Float64Array(0), count: 0, first: 0, position: 0, epoch: 0 };
    this.#chunk = { id: this.#id, ...none, lossy: true, done: true };
  }

  take(): PastChunk | undefined {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    if (chunk === undefined) return undefined;
    if (chunk.done) this.close();
    else this.#ask({ id: this.#id, more: true });
    return chunk;
  }

  close(): void {
    if (this.done) return;
    this.done = true;
    this.#ask({ id: this.#id, close: true });
  }
}
