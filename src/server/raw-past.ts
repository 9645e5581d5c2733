import type { PastReading } from "../journal/past.ts";
import {
  INDEX_AT,
  INDEX_EPOCH,
  INDEX_LENGTH,
  INDEX_NUMBERS,
  INDEX_POSITION,
  INDEX_STREAM,
} from "../journal/past-worker.ts";
import { Memory } from "../wire/memory.ts";
import type { Past } from "./replay.ts";
import type { Services } from "./services.ts";

/** Takes a frame of an epoch; returns the bytes that it cost. */
export type TakeRawFrame = (
  memory: Memory,
  at: number,
  length: number,
  stream: number,
  position: number,
  epoch: number,
) => number;

/** All frames from a time on that the ring has not any more, of this epoch and of earlier ones, from the journal. */
export class RawPast {
  readonly #services: Services;
  readonly #fromTime: number;
  /** Those that are read, the last of which is this one. */
  readonly #epochs: readonly number[];
  #reading: PastReading | undefined;
  /** The last position of this epoch that was looked at. */
  #position = 0;

  constructor(services: Services, { fromTime, earlier }: Past) {
    this.#services = services;
    this.#fromTime = fromTime;
    const before = earlier === undefined ? [] : (services.past?.epochsFrom(earlier) ?? []);
    this.#epochs = [...before, services.engine.frames.log.epoch];
  }

  /** The epoch whose frames come first. */
  get firstEpoch(): number {
    return this.#epochs[0] as number;
  }

  /** True when the ring has all that follows, or the journal has no more. */
  get done(): boolean {
    if (this.#reading === undefined) return false;
    const { ticks, slow } = this.#services.engine.frames.log;
    return this.#reading.done || (this.#position > 0 && ticks.covers(this.#position) && slow.covers(this.#position));
  }

  /** Hands on the next piece; returns its cost, 0 while there is none yet. */
  read(take: TakeRawFrame): number {
    const { past, log } = this.#services;
    const query = { epochs: this.#epochs, fromPosition: 0, fromTime: this.#fromTime, streams: undefined, names: [] };
    this.#reading ??= past?.open(query);
    const chunk = this.#reading?.take();
    if (chunk === undefined) return 0;
    if (chunk.error !== undefined) log.error({ reason: chunk.error }, "the journal cannot be read");
    const { bytes, index, count } = chunk;
    const memory = new Memory(bytes.buffer);
    let cost = 1;
    for (let entry = 0; entry < count * INDEX_NUMBERS; entry += INDEX_NUMBERS) {
      const of = (number: number) => index[entry + number] as number;
      cost += take(memory, of(INDEX_AT), of(INDEX_LENGTH), of(INDEX_STREAM), of(INDEX_POSITION), of(INDEX_EPOCH));
    }
    if (chunk.epoch === this.#epochs.at(-1)) this.#position = Math.max(this.#position, chunk.position);
    return cost;
  }

  close(): void {
    this.#reading?.close();
  }
}
