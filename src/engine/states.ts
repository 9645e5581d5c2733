import { instrumentOf, SLOTS_PER_INSTRUMENT, slotIn } from "../market/channel.ts";
import { STATE_LIVE } from "../market/sink.ts";
import { Columns } from "../std/columns.ts";
import type { FrameWriter } from "./frame-writer.ts";

/** The state of every stream, by its number; a change is a frame of the stream itself. */
export class StreamStates {
  readonly #frames: FrameWriter;
  readonly #changed: (stream: number) => void;
  readonly #states = new Columns(Uint8Array, SLOTS_PER_INSTRUMENT);
  readonly #reasons = new Map<number, string>();
  /** State frames written, by state. */
  readonly changes = new Float64Array(8);

  constructor(frames: FrameWriter, changed: (stream: number) => void) {
    this.#frames = frames;
    this.#changed = changed;
  }

  register(instrument: number): void {
    this.#states.reserve(instrument + 1);
  }

  /** 0 for a stream that nobody has asked for. */
  of(stream: number): number {
    return this.#states.values[this.#at(stream)];
  }

  #at(stream: number): number {
    return this.#states.at(instrumentOf(stream), slotIn(stream));
  }

  reasonOf(stream: number): string {
    return this.#reasons.get(stream) ?? "";
  }

  set(stream: number, state: number, reason: string): void {
    if (this.of(stream) === state) return;
    this.#states.values[this.#at(stream)] = state;
    if (reason === "") this.#reasons.delete(stream);
    else this.#reasons.set(stream, reason);
    this.changes[state] += 1;
    this.#frames.state(stream, state, reason);
    this.#changed(stream);
  }

  /** Nobody wants the stream any more: no state, no frame. */
  forget(stream: number): void {
    this.#states.values[this.#at(stream)] = 0;
    this.#reasons.delete(stream);
  }

  /** Hot path: an event came, so the stream lives. */
  alive(stream: number): void {
    if (this.of(stream) !== STATE_LIVE) this.set(stream, STATE_LIVE, "");
  }
}
