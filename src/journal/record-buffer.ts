import { assert } from "../std/assert.ts";
import { type Memory, scratchMemory } from "../wire/memory.ts";
import { MAX_RECORD_BYTES, RECORD_BYTES, sealRecord } from "./format.ts";

/** Records on their way to the file. One record more always fits after `full` was found false. */
export class RecordBuffer {
  /** Written into every record; the file's own. */
  mark = 0;
  bytes = 0;
  readonly #memory: Memory;

  /** Is full once it holds `flushBytes`. */
  constructor(flushBytes: number) {
    this.#memory = scratchMemory(flushBytes + MAX_RECORD_BYTES);
  }

  get full(): boolean {
    return this.bytes + MAX_RECORD_BYTES > this.#memory.u8.length;
  }

  /** What has gathered, in place. */
  get contents(): Uint8Array {
    return this.#memory.u8.subarray(0, this.bytes);
  }

  clear(): void {
    this.bytes = 0;
  }

  /** Adds the whole frame `bytes`. */
  frame(kind: number, bytes: Uint8Array): void {
    assert(!this.full, "a full buffer is flushed first");
    this.#memory.u8.set(bytes, this.bytes + RECORD_BYTES);
    this.bytes += sealRecord(this.#memory, this.bytes, bytes.length, kind, this.mark);
  }

  numbers(kind: number, values: readonly number[]): void {
    assert(!this.full, "a full buffer is flushed first");
    this.#memory.f64.set(values, (this.bytes + RECORD_BYTES) >> 3);
    this.bytes += sealRecord(this.#memory, this.bytes, 8 * values.length, kind, this.mark);
  }
}
