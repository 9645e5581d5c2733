/*
 * Reads what a receiver needs of a FlatBuffers frame, through the vtable and within bounds. Written from the schema
 * alone and apart from src/wire, so that it is a second opinion on the gateway's bytes.
 */

/** Root offset, identifier, and the root table's offset to its vtable. */
const SMALLEST_BYTES = 12;
/** `TWF1`, little-endian. */
const IDENTIFIER = 0x31465754;
/** The place of a field in the vtable, behind its two lengths: fields in the schema's order from 0. */
const STREAM = 4;
const POSITION = 4 + 2 * 3;
const SEQ = 4 + 2 * 4;
const FROM_SEQ = 4 + 2 * 5;
const TS_EXCHANGE = 4 + 2 * 6;
const FLAGS = 4 + 2 * 9;

const FLAG_DERIVED = 1;

/** The header of the frame that was read last. */
export class FrameHeader {
  stream = 0;
  /** The place in the ring; that of a derived frame says nothing. */
  position = 0;
  seq = 0;
  fromSeq = 0;
  /** Microseconds since 1970; 0 unknown. */
  tsExchange = 0;
  derived = false;
  #bytes: Buffer = Buffer.alloc(0);
  #table = 0;
  #vtable = 0;
  #vtableBytes = 0;
  #tableBytes = 0;

  /** Reads a frame; false when the bytes are not one. */
  read(bytes: Buffer): boolean {
    if (!this.#attach(bytes)) return false;
    const stream = this.#place(STREAM, 4);
    const position = this.#place(POSITION, 8);
    const seq = this.#place(SEQ, 8);
    const fromSeq = this.#place(FROM_SEQ, 8);
    const tsExchange = this.#place(TS_EXCHANGE, 8);
    const flags = this.#place(FLAGS, 4);
    if (stream < 0 || position < 0 || seq < 0 || fromSeq < 0 || tsExchange < 0 || flags < 0) return false;
    this.stream = stream === 0 ? 0 : bytes.readUInt32LE(stream);
    this.position = this.#long(position);
    this.seq = this.#long(seq);
    this.fromSeq = this.#long(fromSeq);
    this.tsExchange = this.#long(tsExchange);
    this.derived = flags !== 0 && (bytes.readUInt32LE(flags) & FLAG_DERIVED) !== 0;
    return true;
  }

  #attach(bytes: Buffer): boolean {
    const { length } = bytes;
    if (length < SMALLEST_BYTES || bytes.readUInt32LE(4) !== IDENTIFIER) return false;
    const table = bytes.readUInt32LE(0);
    if (table > length - 4) return false;
    const vtable = table - bytes.readInt32LE(table);
    if (vtable < 0 || vtable > length - 4) return false;
    const vtableBytes = bytes.readUInt16LE(vtable);
    const tableBytes = bytes.readUInt16LE(vtable + 2);
    if (vtableBytes < 4 || (vtableBytes & 1) !== 0 || vtable + vtableBytes > length) return false;
    if (tableBytes < 4 || table + tableBytes > length) return false;
    this.#bytes = bytes;
    this.#table = table;
    this.#vtable = vtable;
    this.#vtableBytes = vtableBytes;
    this.#tableBytes = tableBytes;
    return true;
  }

  /** Where a field lies, 0 when the frame does not have it, -1 when it lies outside of its table. */
  #place(entry: number, bytes: number): number {
    if (entry >= this.#vtableBytes) return 0;
    const offset = this.#bytes.readUInt16LE(this.#vtable + entry);
    if (offset === 0) return 0;
    return offset >= 4 && offset + bytes <= this.#tableBytes ? this.#table + offset : -1;
  }

  #long(at: number): number {
    return at === 0 ? 0 : this.#bytes.readInt32LE(at + 4) * 4294967296 + this.#bytes.readUInt32LE(at);
  }
}
