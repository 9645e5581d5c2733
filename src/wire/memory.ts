import { assert } from "../std/assert.ts";

assert(new Uint8Array(new Uint32Array([1]).buffer)[0] === 1, "frames are little-endian, and so must the machine be");

/**
 * Bytes with a typed array of each width over them. Frames start at multiples of 8 and FlatBuffers aligns every field
 * within them, so all reads and writes are plain aligned element accesses: no DataView, no BigInt.
 */
export class Memory {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;

  constructor(buffer: ArrayBufferLike) {
    assert(buffer.byteLength % 8 === 0, "memory is a whole number of 8-byte words");
    assert(buffer.byteLength <= 2 ** 31, "places are 32-bit integers: memory is at most 2 GiB");
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }
}

/** Memory of its own, for one frame at a time. */
export function scratchMemory(bytes: number): Memory {
  return new Memory(new ArrayBuffer(bytes));
}
