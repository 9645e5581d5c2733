import { FrameView, PAYLOAD_INSTRUMENT, PAYLOAD_STREAM, StreamView } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";

/**
 * What a file opens with: the directory's newest frame of every instrument and stream, and the last sequence of every
 * stream.
 */
export class Known {
  readonly instruments = new Map<number, Uint8Array>();
  readonly streams = new Map<number, Uint8Array>();
  readonly sequences = new Map<number, number>();
  readonly #frame = new FrameView();
  readonly #stream = new StreamView();

  /** Keeps a copy of the directory's frame that starts at `at`; any other frame is left alone. */
  learn(memory: Memory, at: number, length: number): void {
    const frame = this.#frame;
    if (!frame.attach(memory, at + memory.i32[at >> 2])) return;
    const bytes = () => memory.u8.slice(at, at + length);
    if (frame.payloadType === PAYLOAD_INSTRUMENT) this.instruments.set(frame.instrument, bytes());
    if (frame.payloadType !== PAYLOAD_STREAM) return;
    this.#stream.attach(memory, frame.payloadAt);
    this.streams.set(this.#stream.id, bytes());
  }

  /** Instruments first, as a stream's frame refers to one. */
  *directory(): IterableIterator<Uint8Array> {
    yield* this.instruments.values();
    yield* this.streams.values();
  }
}
