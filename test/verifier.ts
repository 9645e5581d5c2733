/**
 * Verifies the bytes of a frame against the schema's model: every read that a reader of today's schema could make lies
 * within the bytes and is aligned. Says yes and no exactly where FlatBuffers' C++ Verifier does (verifier.test.ts
 * proves it). `thorough` asks for more than that Verifier does; the project's own frames must pass it too.
 */
import type { Field, Schema } from "../schema/parse.ts";

const SCALAR_BYTES: Readonly<Record<string, number>> = {
  ubyte: 1,
  byte: 1,
  bool: 1,
  ushort: 2,
  short: 2,
  uint: 4,
  int: 4,
  float: 4,
  ulong: 8,
  long: 8,
  double: 8,
};
/** Root offset, a table's offset to its vtable, the vtable's two lengths. */
const SMALLEST_BUFFER = 12;
const MAX_DEPTH = 64;
const MAX_TABLES = 1_000_000;

/** A violation; thrown within, never out of this file. */
class Violation extends Error {}

export class FrameVerifier {
  readonly #schema: Schema;
  readonly #identifier: string;
  readonly #thorough: boolean;
  #bytes: Uint8Array = new Uint8Array();
  #view: DataView = new DataView(new ArrayBuffer(0));
  #depth = 0;
  #tables = 0;

  constructor(schema: Schema, options: { identifier?: string; thorough?: boolean } = {}) {
    this.#schema = schema;
    this.#identifier = options.identifier ?? "TWF1";
    this.#thorough = options.thorough ?? false;
  }

  /** What is wrong with the bytes, or undefined. */
  check(bytes: Uint8Array): string | undefined {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#depth = 0;
    this.#tables = 0;
    try {
      this.#buffer();
      return undefined;
    } catch (error) {
      if (error instanceof Violation) return error.message;
      throw error;
    }
  }

  #buffer(): void {
    const bytes = this.#bytes;
    this.#require(bytes.length >= SMALLEST_BUFFER, "the buffer is too short to hold a table");
    const identifier = String.fromCharCode(...bytes.subarray(4, 8));
    this.#require(identifier === this.#identifier, `the file identifier is not ${this.#identifier}`);
    if (this.#thorough) this.#require(bytes.length % 8 === 0, "the length is not a multiple of 8");
    this.#table("Frame", this.#offset(0, "root"));
  }

  /** `length` bytes from `at`. The C++ Verifier holds a range that is the whole buffer for an error, so this does. */
  #range(at: number, length: number, what: string): void {
    const size = this.#bytes.length;
    this.#require(at >= 0 && length < size && at <= size - length, `${what}: out of bounds`);
  }

  #scalar(at: number, bytes: number, what: string): void {
    this.#require(at >= 0 && at % bytes === 0, `${what}: misaligned`);
    this.#range(at, bytes, what);
  }

  /** Follows the offset that lies at `at`. */
  #offset(at: number, what: string): number {
    this.#scalar(at, 4, what);
    const offset = this.#view.getInt32(at, true);
    this.#require(offset > 0, `${what}: the offset is not forward`);
    this.#range(at + offset, 1, what);
    return at + offset;
  }

  #table(name: string, at: number): void {
    this.#scalar(at, 4, name);
    const vtable = at - this.#view.getInt32(at, true);
    this.#depth += 1;
    this.#tables += 1;
    this.#require(this.#depth <= MAX_DEPTH && this.#tables <= MAX_TABLES, `${name}: too deep or too many tables`);
    this.#scalar(vtable, 2, `${name}: vtable`);
    const length = this.#view.getUint16(vtable, true);
    this.#require(length % 2 === 0, `${name}: the vtable's length is odd`);
    this.#range(vtable, length, `${name}: vtable`);
    const inline = this.#thorough ? this.#inlineBytes(name, at, vtable, length) : 0;
    let slot = 0;
    for (const field of this.#schema.tables.get(name) as Field[]) {
      if (field.type === this.#schema.union.name) {
        const typeAt = this.#place(at, vtable, length, slot);
        const valueAt = this.#place(at, vtable, length, slot + 1);
        slot += 2;
        this.#union(`${name}.${field.name}`, typeAt, valueAt);
        continue;
      }
      const place = this.#place(at, vtable, length, slot);
      slot += 1;
      if (place === 0) continue;
      const bytes = this.#field(`${name}.${field.name}`, field, place);
      if (this.#thorough) this.#require(place + bytes <= at + inline, `${name}.${field.name}: outside its table`);
    }
    this.#depth -= 1;
  }

  /** Where a field lies, or 0 when the table does not have it. */
  #place(table: number, vtable: number, length: number, slot: number): number {
    const entry = 4 + 2 * slot;
    if (entry >= length) return 0;
    const offset = this.#view.getUint16(vtable + entry, true);
    return offset === 0 ? 0 : table + offset;
  }

  /** Checks what lies at a field's place; returns the bytes that the field takes within the table. */
  #field(what: string, field: Field, place: number): number {
    if (field.vector) {
      this.#vector(what, this.#offset(place, what), this.#shapeOf(field.type));
      return 4;
    }
    if (field.type === "string") {
      const at = this.#offset(place, what);
      const end = this.#vector(what, at, { bytes: 1, alignment: 1 });
      this.#range(end, 1, `${what}: terminator`);
      this.#require(this.#bytes[end] === 0, `${what}: not terminated`);
      return 4;
    }
    if (this.#schema.tables.has(field.type)) {
      this.#table(field.type, this.#offset(place, what));
      return 4;
    }
    const { bytes, alignment } = this.#shapeOf(field.type);
    this.#require(place % alignment === 0, `${what}: misaligned`);
    this.#range(place, bytes, what);
    return bytes;
  }

  /** Returns the end of the elements. */
  #vector(what: string, at: number, element: { bytes: number; alignment: number }): number {
    this.#scalar(at, 4, `${what}: length`);
    const length = this.#view.getUint32(at, true);
    const bytes = 4 + length * element.bytes;
    this.#range(at, bytes, `${what}: elements`);
    // The C++ Verifier does not look at the elements' alignment, and a reader in C++ would trip over it.
    if (this.#thorough && length > 0) {
      this.#require((at + 4) % element.alignment === 0, `${what}: elements are misaligned`);
    }
    return at + bytes;
  }

  #union(what: string, typeAt: number, valueAt: number): void {
    if (typeAt !== 0) this.#range(typeAt, 1, `${what}: type`);
    const type = typeAt === 0 ? 0 : (this.#bytes[typeAt] as number);
    const value = valueAt === 0 ? 0 : this.#offset(valueAt, what);
    const member = this.#schema.union.members[type - 1];
    if (this.#thorough) {
      this.#require(member !== undefined, `${what}: type ${type} is none of the schema's`);
      this.#require(value !== 0, `${what}: a type without a value`);
    }
    // A type of a newer schema is none of a reader's business, and a type without a value reads as nothing.
    if (member !== undefined && value !== 0) this.#table(member, value);
  }

  /** The table's own length, for the fields to be checked against. */
  #inlineBytes(name: string, at: number, vtable: number, length: number): number {
    this.#require(length >= 4, `${name}: the vtable has no lengths`);
    const inline = this.#view.getUint16(vtable + 2, true);
    this.#require(inline >= 4, `${name}: the table has no room for its vtable's offset`);
    this.#range(at, inline, `${name}: table`);
    return inline;
  }

  #shapeOf(type: string): { bytes: number; alignment: number } {
    const members = this.#schema.structs.get(type);
    if (members === undefined) {
      const bytes = SCALAR_BYTES[this.#schema.enums.get(type)?.base ?? type];
      if (bytes === undefined) throw new Error(`the verifier does not know the type ${type}`);
      return { bytes, alignment: bytes };
    }
    let end = 0;
    let widest = 1;
    for (const member of members) {
      const { bytes, alignment } = this.#shapeOf(member.type);
      end = Math.ceil(end / alignment) * alignment + bytes;
      widest = Math.max(widest, alignment);
    }
    return { bytes: Math.ceil(end / widest) * widest, alignment: widest };
  }

  #require(condition: boolean, message: string): void {
    if (!condition) throw new Violation(message);
  }
}
