import type { PastReading } from "../journal/past.ts";
import {
  INDEX_AT,
  INDEX_LENGTH,
  INDEX_NUMBERS,
  INDEX_POSITION,
  INDEX_SEQUENCE,
  INDEX_STREAM,
} from "../journal/past-worker.ts";
import { Memory } from "../wire/memory.ts";
import type { Services } from "./services.ts";

/** Takes a frame that lies in `memory`; returns the bytes that it cost. */
export type TakeFrame = (
  memory: Memory,
  at: number,
  length: number,
  stream: number,
  sequence: number,
  position: number,
) => number;

/** The frames of this epoch that the ring has not any more, from the journal, until the ring has the rest. */
export class OlderFrames {
  /** The last position that was looked at. */
  position = 0;
  readonly #services: Services;
  /** Frames before it are not wanted, microseconds. */
  readonly #fromTime: number;
  #reading: PastReading | undefined;

  constructor(services: Services, fromTime: number) {
    this.#services = services;
    this.#fromTime = fromTime;
  }

  /** True when whoever has all up to a position can go on with the ring: it has the rest, or the journal has no more. */
  reaches(position: number): boolean {
    return this.#reading?.done === true || this.#isCovered(position);
  }

  #isCovered(position: number): boolean {
    const { ticks, slow } = this.#services.engine.frames.log;
    return ticks.covers(position) && slow.covers(position);
  }

  /**
   * Hands on the next piece; returns its cost, 0 while there is none yet. `lose` is called before the frames of a piece
   * that may lack some, and when the journal ends before the ring begins.
   */
  read(position: number, streams: readonly number[], take: TakeFrame, lose: () => void): number {
    const isFirst = this.position === 0;
    const reading = this.#open(position, streams);
    const chunk = reading?.take();
    if (chunk === undefined) return reading === undefined ? 1 : 0;
    const { bytes, index, count, first, lossy, error } = chunk;
    if (error !== undefined) this.#services.log.error({ reason: error }, "the journal cannot be read");
    if (lossy || (isFirst && this.#fromTime === 0 && first > position + 1)) lose();
    const memory = new Memory(bytes.buffer);
    let cost = 1;
    for (let entry = 0; entry < count * INDEX_NUMBERS; entry += INDEX_NUMBERS) {
      const of = (number: number) => index[entry + number] as number;
      cost += take(memory, of(INDEX_AT), of(INDEX_LENGTH), of(INDEX_STREAM), of(INDEX_SEQUENCE), of(INDEX_POSITION));
    }
    this.position = Math.max(this.position, chunk.position);
    if (chunk.done && !this.#isCovered(this.position)) lose();
    return cost;
  }

  #open(position: number, streams: readonly number[]): PastReading | undefined {
    const { past, engine } = this.#services;
    const epochs = [engine.frames.log.epoch];
    const query = { epochs, fromPosition: position + 1, fromTime: this.#fromTime, streams, names: [] };
    this.#reading ??= past?.open(query);
    return this.#reading;
  }

  close(): void {
    this.#reading?.close();
  }
}
