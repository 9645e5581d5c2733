import { Memory } from "./memory.ts";

const NOTHING = new Memory(new ArrayBuffer(8));
/** A leading U+FEFF is part of the text, not a mark to be dropped. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A reusable view of one FlatBuffers table. Hot path: nothing is allocated per frame.
 *
 *   memory  ..│vtable: bytes, table bytes, place of field 0, of field 1, ..│..│table: i32 back to its vtable, fields│..
 *
 * A place is read from the frame's own vtable whenever it is asked for, which costs no more than reading it from a copy:
 * to compare each vtable with the one that was copied last took longer than all the rest of attaching. A newer schema's
 * vtable just has more places, an older one's has less.
 *
 * The generated views each hold one of these rather than extend it: methods inherited by a dozen classes see a dozen
 * shapes of `this`, which V8 gives up on (195 ns to read five fields of a trade, against 42).
 */
export class TableView {
  memory: Memory = NOTHING;
  /** Where the table starts. */
  table = 0;
  /** Where the fields' places start, in words of 16 bits, and how many there are. */
  #places = 0;
  #slots = 0;

  /** Points the view at the table that starts at `table`; false when it and its vtable do not lie before `end`. */
  attach(memory: Memory, table: number, end = memory.u8.length): boolean {
    this.memory = memory;
    this.table = table;
    this.#slots = 0;
    if (!(table > 0 && table + 4 <= end && (table & 3) === 0)) return false;
    const vtable = table - memory.i32[table >> 2];
    if (!(vtable > 0 && vtable + 4 <= end && (vtable & 1) === 0)) return false;
    const from = vtable >> 1;
    const bytes = memory.u16[from];
    // Two lengths at least.
    if (!(bytes >= 4 && vtable + bytes <= end && table + memory.u16[from + 1] <= end)) return false;
    this.#places = from + 2;
    this.#slots = (bytes >> 1) - 2;
    return true;
  }

  /** Where a field lies, or 0 when this frame does not have it. */
  place(slot: number): number {
    if (slot >= this.#slots) return 0;
    const offset = this.memory.u16[this.#places + slot];
    return offset === 0 ? 0 : this.table + offset;
  }

  /** Scalars by slot; `absent` where this frame does not have the field. 64-bit numbers are exact to 2^53. */
  u8(slot: number, absent = 0): number {
    const at = this.place(slot);
    return at === 0 ? absent : this.memory.u8[at];
  }

  bool(slot: number): boolean {
    const at = this.place(slot);
    return at !== 0 && this.memory.u8[at] !== 0;
  }

  u16(slot: number, absent = 0): number {
    const at = this.place(slot);
    return at === 0 ? absent : this.memory.u16[at >> 1];
  }

  i32(slot: number, absent = 0): number {
    const at = this.place(slot);
    return at === 0 ? absent : this.memory.i32[at >> 2];
  }

  u32(slot: number, absent = 0): number {
    const at = this.place(slot);
    return at === 0 ? absent : this.memory.i32[at >> 2] >>> 0;
  }

  i64(slot: number, absent = 0): number {
    const word = this.place(slot) >> 2;
    if (word === 0) return absent;
    const { i32 } = this.memory;
    return i32[word + 1] * 4294967296 + (i32[word] >>> 0);
  }

  u64(slot: number, absent = 0): number {
    const word = this.place(slot) >> 2;
    if (word === 0) return absent;
    const { i32 } = this.memory;
    return (i32[word + 1] >>> 0) * 4294967296 + (i32[word] >>> 0);
  }

  f64(slot: number, absent = Number.NaN): number {
    const at = this.place(slot);
    return at === 0 ? absent : this.memory.f64[at >> 3];
  }

  /**
   * Numbers of fields that follow each other, from `slot` on, as many as the array takes; 0 where this frame does not have
   * one. A double that a getter returns is a new object wherever V8 does not inline the call: what is read for every frame
   * is read so.
   */
  integers(slot: number, into: Float64Array): void {
    const { i32 } = this.memory;
    for (let index = 0; index < into.length; index += 1) {
      const word = this.place(slot + index) >> 2;
      into[index] = word === 0 ? 0 : i32[word + 1] * 4294967296 + (i32[word] >>> 0);
    }
  }

  /** The same for doubles; NaN where this frame does not have one. */
  doubles(slot: number, into: Float64Array): void {
    const { f64 } = this.memory;
    for (let index = 0; index < into.length; index += 1) {
      const at = this.place(slot + index);
      into[index] = at === 0 ? Number.NaN : f64[at >> 3];
    }
  }

  /** What an offset field points at, or 0. */
  target(slot: number): number {
    const at = this.place(slot);
    return at === 0 ? 0 : at + (this.memory.i32[at >> 2] >>> 0);
  }

  /** Elements of a vector, or bytes of a text. */
  lengthOf(slot: number): number {
    const at = this.target(slot);
    return at === 0 ? 0 : this.memory.i32[at >> 2] >>> 0;
  }

  element(slot: number, index: number, bytes: number): number {
    return this.target(slot) + 4 + index * bytes;
  }

  /** One of the doubles that a vector's elements are made of, counted over all of them. */
  double(slot: number, index: number): number {
    return this.memory.f64[((this.target(slot) + 4) >> 3) + index];
  }

  /** A text field; allocates, so the hot path reads the bytes instead. */
  text(slot: number): string {
    const at = this.target(slot);
    if (at === 0) return "";
    const length = this.memory.i32[at >> 2] >>> 0;
    // A copy, because TextDecoder refuses shared memory.
    return decoder.decode(this.memory.u8.slice(at + 4, at + 4 + length));
  }
}
