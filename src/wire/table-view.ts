import { Memory } from "./memory.ts";

const NOTHING = new Memory(new ArrayBuffer(8));
/** A leading U+FEFF is part of the text, not a mark to be dropped. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A reusable view of one FlatBuffers table. Hot path: nothing is allocated per frame.
 *
 *   memory  ..│vtable: bytes, table bytes, place of field 0, of field 1, ..│..│table: i32 back to its vtable, fields│..
 *
 * The places are copied out of the vtable, which the writer makes once per layout, and kept until a frame comes with
 * another layout; comparing the words of a vtable costs a few nanoseconds, and a newer schema just has more of them.
 *
 * The generated views each hold one of these rather than extend it: methods inherited by a dozen classes see a dozen
 * shapes of `this`, which V8 gives up on (195 ns to read five fields of a trade, against 42).
 */
export class TableView {
  memory: Memory = NOTHING;
  /** Where the table starts. */
  table = 0;
  /** The vtable of the last frame, whose fields' places begin with its third word (0: not there). */
  readonly #vtable = new Uint16Array(64);
  /** The same words two at a time: half the comparisons for every frame whose vtable is 4-aligned. */
  readonly #pairs = new Int32Array(this.#vtable.buffer);

  /** Points the view at the table that starts at `table`; false when it has no vtable that lies in the memory. */
  attach(memory: Memory, table: number): boolean {
    this.memory = memory;
    this.table = table;
    const vtable = table - memory.i32[table >> 2];
    if (!(vtable >= 0 && vtable + 4 <= memory.u8.length && (vtable & 1) === 0)) return false;
    const from = vtable >> 1;
    const words = Math.min(memory.u16[from] >> 1, 64);
    // A vtable holds two lengths at least; a shorter one would compare equal to whatever was learnt before.
    if (words < 2) return false;
    let word = 0;
    if ((from & 1) === 0) {
      const { i32 } = memory;
      const pairs = this.#pairs;
      const pair = from >> 1;
      while (word + 1 < words && pairs[word >> 1] === i32[pair + (word >> 1)]) word += 2;
    }
    while (word < words && this.#vtable[word] === memory.u16[from + word]) word += 1;
    if (word < words) this.#learn(memory, from, words);
    return true;
  }

  #learn(memory: Memory, from: number, words: number): void {
    this.#vtable.fill(0);
    for (let word = 0; word < words; word += 1) this.#vtable[word] = memory.u16[from + word];
  }

  /** Where a field lies, or 0 when this frame does not have it. */
  place(slot: number): number {
    const offset = this.#vtable[slot + 2];
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
