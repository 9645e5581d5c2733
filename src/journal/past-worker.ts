import { isMainThread, type MessagePort, parentPort, workerData } from "node:worker_threads";
import { DIRECTORY_STREAM, instrumentOf } from "../market/channel.ts";
import { Payload } from "../wire/generated/tickwire.ts";
import { FrameView, InstrumentView } from "../wire/generated/views.ts";
import { type JournalFrame, JournalReader, type ReadOptions } from "./reader.ts";

/** The module that the thread runs: see worker.ts. */
export const PAST_MODULE = import.meta.url;
/** Says whose thread it is. */
export const PAST_WORK = "tickwire-past";

/** A chunk ends when it has so many bytes, or has taken so long: others ask too. */
const CHUNK_BYTES = 256 * 1024;
const CHUNK_MS = 20;
/** Frames between two looks at the clock. */
const LOOK_FRAMES = 256;

/** Numbers of each frame in a chunk's index. */
export const INDEX_NUMBERS = 6;
export const INDEX_AT = 0;
export const INDEX_LENGTH = 1;
export const INDEX_STREAM = 2;
export const INDEX_SEQUENCE = 3;
export const INDEX_POSITION = 4;
export const INDEX_EPOCH = 5;

/** What is asked of the journal: frames of some streams, from a position of the first epoch on, and all of the others. */
export interface PastQuery {
  epochs: readonly number[];
  fromPosition: number;
  /** Of the first epoch, microseconds; 0 does not narrow. */
  fromTime: number;
  /** Undefined for all. */
  streams: readonly number[] | undefined;
  /** What the streams' instruments are called now, `exchange symbol` by id: frames of other instruments are left out. */
  names: readonly (readonly [instrument: number, name: string])[];
}

export type PastRequest = { id: number; open: PastQuery } | { id: number; more: true } | { id: number; close: true };

/** A piece of an answer: frames one after the other in `bytes`, and where each lies in `index`. */
export interface PastChunk {
  id: number;
  bytes: Uint8Array<ArrayBuffer>;
  index: Float64Array;
  count: number;
  /** The first and the last position that were looked at, and the epoch of the last; 0 before the first. */
  first: number;
  position: number;
  epoch: number;
  /** Something between what was looked at is not in the journal. */
  lossy: boolean;
  done: boolean;
  error?: string;
}

function* framesOf(
  reader: JournalReader,
  epochs: readonly number[],
  first: ReadOptions,
  options: ReadOptions,
): IterableIterator<JournalFrame> {
  for (const [index, epoch] of epochs.entries()) {
    yield* reader.frames({ ...options, ...(index === 0 ? first : {}), epoch });
  }
}

/** One answer under way. */
class Answer {
  readonly #frames: IterableIterator<JournalFrame>;
  readonly #streams: ReadonlySet<number> | undefined;
  readonly #names: ReadonlyMap<number, string>;
  /** Instruments of the epoch that are not those of today. */
  readonly #others = new Set<number>();
  readonly #frame = new FrameView();
  readonly #instrument = new InstrumentView();
  #lossy = false;
  #first = 0;
  #position = 0;
  #epoch = 0;

  constructor(directory: string, { epochs, fromPosition, fromTime, streams, names }: PastQuery) {
    const lose = () => {
      this.#lossy = true;
    };
    const options = { copies: true, onDamage: lose, onGap: lose };
    this.#frames = framesOf(new JournalReader(directory), epochs, { fromPosition, fromTime }, options);
    this.#streams = streams && new Set(streams);
    this.#names = new Map(names);
  }

  chunk(id: number): PastChunk {
    const bytes = new Uint8Array(CHUNK_BYTES + 64 * 1024);
    const index: number[] = [];
    const until = performance.now() + CHUNK_MS;
    let end = 0;
    let done = false;
    for (let looked = 0; end < CHUNK_BYTES; looked += 1) {
      if (looked % LOOK_FRAMES === LOOK_FRAMES - 1 && performance.now() > until) break;
      const next = this.#frames.next();
      if (next.done === true) {
        done = true;
        break;
      }
      const frame = next.value;
      if (frame.stream === DIRECTORY_STREAM) this.#learn(frame);
      if (frame.copy) continue;
      this.#first ||= frame.position;
      this.#position = frame.position;
      this.#epoch = frame.epoch;
      if (this.#streams?.has(frame.stream) === false || this.#others.has(instrumentOf(frame.stream))) continue;
      bytes.set(frame.bytes, end);
      index.push(end, frame.length, frame.stream, frame.sequence, frame.position, frame.epoch);
      end += frame.length;
    }
    const lossy = this.#lossy;
    this.#lossy = false;
    const count = index.length / INDEX_NUMBERS;
    const reached = { first: this.#first, position: this.#position, epoch: this.#epoch };
    return { id, bytes: bytes.slice(0, end), index: Float64Array.from(index), count, ...reached, lossy, done };
  }

  /** Ids are given anew at each start: an instrument of the epoch may be another today. */
  #learn({ memory, at }: JournalFrame): void {
    const frame = this.#frame;
    frame.attach(memory, at + memory.i32[at >> 2]);
    if (frame.payloadType !== Payload.Instrument || !this.#instrument.attach(memory, frame.payloadAt)) return;
    const { id, exchange, symbol } = this.#instrument;
    const name = this.#names.get(id);
    if (name === undefined || name === `${exchange} ${symbol}`) this.#others.delete(id);
    else this.#others.add(id);
  }
}

function run(directory: string, port: MessagePort): void {
  const answers = new Map<number, Answer>();
  port.on("message", (request: PastRequest) => {
    const { id } = request;
    if ("open" in request) answers.set(id, new Answer(directory, request.open));
    const answer = answers.get(id);
    if ("close" in request) answers.delete(id);
    else if (answer !== undefined) send(port, answer, id);
  });
}

function send(port: MessagePort, answer: Answer, id: number): void {
  try {
    const chunk = answer.chunk(id);
    port.postMessage(chunk, [chunk.bytes.buffer, chunk.index.buffer as ArrayBuffer]);
  } catch (error) {
    const none = { bytes: new Uint8Array(0), index: new Float64Array(0), count: 0, first: 0, position: 0, epoch: 0 };
    port.postMessage({ id, ...none, lossy: true, done: true, error: (error as Error).message });
  }
}

const work = workerData as { work?: string; directory?: string } | null;
// Later, so that all of the bundle has been evaluated.
if (!isMainThread && parentPort && work?.work === PAST_WORK) setImmediate(run, work.directory as string, parentPort);
