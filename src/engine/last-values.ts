import { SLOT_TICKER, slotIn } from "../market/channel.ts";
import { FLAG_INEXACT, TS_EXCHANGE } from "../market/sink.ts";
import * as F from "../wire/frame.ts";
import type { Memory } from "../wire/memory.ts";
import type { DerivedOutput, FrameWriter } from "./frame-writer.ts";

/** Streams whose last value is all their state (ticker, funding): writes their frames and keeps the last numbers. */
export class LastValues {
  readonly #frames: FrameWriter;
  readonly #numbers = new Map<number, Float64Array>();

  constructor(frames: FrameWriter) {
    this.#frames = frames;
  }

  write(stream: number, numbers: Float64Array, flags: number): void {
    const known = this.#numbers.get(stream);
    if (known === undefined) this.#numbers.set(stream, numbers.slice());
    else known.set(numbers);
    this.#frames.introduce(stream);
    const ring = slotIn(stream) === SLOT_TICKER ? this.#frames.log.ticks : this.#frames.log.slow;
    const at = ring.claim(F.LARGEST_FIXED_BYTES);
    const length = encode(ring.memory, at, stream, numbers);
    const inexact = (flags & FLAG_INEXACT) !== 0 ? F.FLAG_INEXACT : 0;
    this.#frames.commit(ring, at, length, stream, F.FLAG_LAST_OF_EVENT | inexact, numbers);
  }

  /** The last value as a derived frame; nothing when there is none. */
  snapshot(stream: number, fromSequence: number, flags: number, out: DerivedOutput): void {
    const numbers = this.#numbers.get(stream);
    if (numbers === undefined) return;
    const length = encode(this.#frames.scratch, 0, stream, numbers);
    this.#frames.derived(length, stream, flags, fromSequence, numbers[TS_EXCHANGE], out);
  }
}

function encode(memory: Memory, at: number, stream: number, numbers: Float64Array): number {
  return slotIn(stream) === SLOT_TICKER ? F.writeTicker(memory, at, numbers) : F.writeFunding(memory, at, numbers);
}
