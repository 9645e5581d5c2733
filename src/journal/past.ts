import type { Worker } from "node:worker_threads";
import { journalFiles, systemFiles } from "./files.ts";
import { PAST_MODULE, PAST_WORK, type PastChunk, type PastQuery, type PastRequest } from "./past-worker.ts";
import { peekHeader } from "./source.ts";
import { startThread } from "./thread.ts";

/** An epoch that a journal has files of. */
interface PastEpoch {
  epoch: number;
  /** When its first file was opened, microseconds. */
  from: number;
}

/** The epochs that a journal has files of, oldest first. */
export function epochsOf(directory: string): PastEpoch[] {
  const epochs = new Map<number, number>();
  for (const file of journalFiles(systemFiles, directory)) {
    const header = peekHeader(systemFiles, file);
    if (header !== undefined && !epochs.has(header.epoch)) epochs.set(header.epoch, header.created);
  }
  return [...epochs].map(([epoch, from]) => ({ epoch, from }));
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
  /** The epochs before this one that it held when the server started. */
  readonly #earlier: readonly PastEpoch[];
  /** When this epoch began, microseconds: it may have gone on over several starts. */
  readonly beganAt: number;
  readonly #whole: number | undefined;
  readonly #readings = new Map<number, Reading>();
  #worker: Worker | undefined;
  #lastId = 0;

  /**
   * Opens what a journal has of the server's own epoch and of others; `startedAt` is when the server started, `whole` an
   * epoch of which nothing is missing.
   */
  constructor(directory: string, epoch: number, startedAt: number, whole: number | undefined) {
    this.#whole = whole;
    this.#directory = directory;
    const epochs = epochsOf(directory);
    this.#earlier = epochs.filter((each) => each.epoch !== epoch);
    this.beganAt = epochs.find((each) => each.epoch === epoch)?.from ?? startedAt;
  }

  /** True when the journal has all that there ever was of an epoch. */
  isWhole(epoch: number): boolean {
    return epoch === this.#whole;
  }

  /** The epochs before this one from one on; none when the journal never had that one. */
  epochsFrom(epoch: number): readonly number[] {
    const first = this.#earlier.findIndex((each) => each.epoch === epoch);
    return first < 0 ? [] : this.#earlier.slice(first).map((each) => each.epoch);
  }

  /** The epoch before this one that a time lies in, or the oldest; undefined when there is none, or it lies in this one. */
  epochAt(time: number): number | undefined {
    if (time >= this.beganAt) return undefined;
    return (this.#earlier.findLast(({ from }) => from <= time) ?? this.#earlier[0])?.epoch;
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
