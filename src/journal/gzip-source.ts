import { deflateRawSync, inflateRawSync } from "node:zlib";
import { crc32 } from "../std/crc.ts";
import { type Files, readWhatCan } from "./files.ts";
import type { Source } from "./source.ts";

/*
 * A compressed file is gzip members, one after the other, each of MEMBER_BYTES of the file but for the first and the
 * last, so that any place of it can be read without what comes before it, and damage costs one member. `zcat` reads it
 * as it is.
 *
 *    0  1f 8b 08 04  00 00 00 00  00 ff   gzip, with an extra field, no time, no system
 *   10  1c 00  54 4a 18 00                28 bytes of it: field `TJ`, 24 bytes
 *   16  u32 bytes of the deflated data, u32 their CRC-32, u32 bytes before compression,
 *       u32 CRC-32 of these 40 bytes with its own four taken as 0, f64 where in the file they belong
 *   40  deflated data, then gzip's own u32 CRC-32 and u32 length of the bytes before compression
 *
 * The heads are the index. They are read when the file is opened, by hopping from one to the next; where a hop does not
 * land on a head that is right, the next one is searched for.
 */

/** Bytes of the file in a member, and in the first one, so that a file's header is quickly read. */
export const MEMBER_BYTES = 256 * 1024;
export const FIRST_MEMBER_BYTES = 4096;
const HEAD_BYTES = 40;
const TAIL_BYTES = 8;
/** Deflate never makes bytes that it cannot shorten longer than this. */
const MAX_DEFLATED = MEMBER_BYTES + 1024;
const SIGNATURE = Buffer.from("1f8b080400000000" + "00ff" + "1c00" + "544a1800", "hex");
const SEARCH_BYTES = 1 << 20;

/** Compresses up to MEMBER_BYTES of a file, which lie in it from `offset` on. */
export function gzipMember(bytes: Uint8Array, offset: number, level: number): Buffer {
  const data = deflateRawSync(bytes, { level });
  const member = Buffer.alloc(HEAD_BYTES + data.length + TAIL_BYTES);
  SIGNATURE.copy(member);
  member.writeUInt32LE(data.length, 16);
  member.writeUInt32LE(crc32(data), 20);
  member.writeUInt32LE(bytes.length, 24);
  member.writeDoubleLE(offset, 32);
  member.writeUInt32LE(crc32(member.subarray(0, HEAD_BYTES)), 28);
  data.copy(member, HEAD_BYTES);
  member.writeUInt32LE(crc32(bytes), HEAD_BYTES + data.length);
  member.writeUInt32LE(bytes.length, HEAD_BYTES + data.length + 4);
  return member;
}

interface Member {
  /** Where its bytes belong, and how many they are. */
  offset: number;
  bytes: number;
  /** Where the member lies in the compressed file. */
  at: number;
  deflated: number;
  crc: number;
}

/** Reads a compressed file at any place. A member that is damaged reads as zeros, which are no records. */
export class GzipSource implements Source {
  readonly size: number;
  error: Error | undefined;
  readonly #files: Files;
  readonly #file: number;
  readonly #members: Member[] = [];
  #cached = -1;
  #bytes: Uint8Array = new Uint8Array(0);

  /** `onlyFirst` leaves it at the first member: enough for a file's header, however large the file is. */
  constructor(files: Files, path: string, onlyFirst = false) {
    this.#files = files;
    this.#file = files.open(path, "r");
    this.size = this.#readHeads(files.bytesOf(this.#file), onlyFirst);
  }

  #read(into: Uint8Array, at: number): number {
    return readWhatCan(this.#files, this.#file, into, at, (error) => {
      this.error = error;
    });
  }

  /** Finds every member; returns the bytes of the file before it was compressed. */
  #readHeads(compressedBytes: number, onlyFirst: boolean): number {
    let size = 0;
    let lost = false;
    for (let at = 0; at < compressedBytes; ) {
      const member = this.#headAt(at);
      // One that overlaps what is known cannot be right, whatever its CRC says.
      if (member === undefined || member.offset < size) {
        lost = true;
        at = this.#search(at + 1, compressedBytes);
        continue;
      }
      lost = false;
      this.#members.push(member);
      size = member.offset + member.bytes;
      if (onlyFirst) return size;
      at += HEAD_BYTES + member.deflated + TAIL_BYTES;
    }
    // How much was in what could not be read is unknown: at most a member, or it would have shown in the offsets.
    return lost || compressedBytes === 0 ? size + MEMBER_BYTES : size;
  }

  #headAt(at: number): Member | undefined {
    const head = Buffer.alloc(HEAD_BYTES);
    if (this.#read(head, at) < HEAD_BYTES) return undefined;
    if (head.compare(SIGNATURE, 0, SIGNATURE.length, 0, SIGNATURE.length) !== 0) return undefined;
    const stored = head.readUInt32LE(28);
    head.writeUInt32LE(0, 28);
    if (crc32(head) !== stored) return undefined;
    const member = {
      offset: head.readDoubleLE(32),
      bytes: head.readUInt32LE(24),
      at,
      deflated: head.readUInt32LE(16),
      crc: head.readUInt32LE(20),
    };
    return member.bytes <= MEMBER_BYTES && member.deflated <= MAX_DEFLATED ? member : undefined;
  }

  /** Where the next head may be, from `at` on; the end when there is none. */
  #search(at: number, end: number): number {
    const piece = Buffer.alloc(SEARCH_BYTES);
    for (let from = at; from < end; from += SEARCH_BYTES - SIGNATURE.length) {
      const bytes = this.#read(piece, from);
      const found = piece.subarray(0, bytes).indexOf(SIGNATURE);
      if (found >= 0) return from + found;
    }
    return end;
  }

  read(at: number, into: Uint8Array): number {
    const length = Math.max(0, Math.min(into.length, this.size - at));
    into.fill(0, 0, length);
    for (let index = this.#memberAt(at); index < this.#members.length; index += 1) {
      const { offset } = this.#members[index] as Member;
      if (offset >= at + length) break;
      const bytes = this.#inflate(index);
      const from = Math.max(0, at - offset);
      const to = Math.min(bytes.length, at + length - offset);
      if (to > from) into.set(bytes.subarray(from, to), offset + from - at);
    }
    return length;
  }

  /** The first member that ends behind `at`. */
  #memberAt(at: number): number {
    let low = 0;
    let high = this.#members.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const { offset, bytes } = this.#members[middle] as Member;
      if (offset + bytes > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** A member's bytes; none when it is damaged. */
  #inflate(index: number): Uint8Array {
    if (this.#cached === index) return this.#bytes;
    this.#cached = index;
    this.#bytes = new Uint8Array(0);
    const { at, deflated, crc, bytes } = this.#members[index] as Member;
    const data = Buffer.alloc(deflated + TAIL_BYTES);
    if (this.#read(data, at + HEAD_BYTES) < data.length) return this.#bytes;
    const body = data.subarray(0, deflated);
    if (crc32(body) !== crc || data.readUInt32LE(deflated + 4) !== bytes) return this.#bytes;
    const inflated = inflateOrNothing(body);
    if (inflated.length === bytes && crc32(inflated) === data.readUInt32LE(deflated)) this.#bytes = inflated;
    return this.#bytes;
  }

  close(): void {
    this.#files.close(this.#file);
  }
}

function inflateOrNothing(data: Buffer): Uint8Array {
  try {
    return inflateRawSync(data, { maxOutputLength: MEMBER_BYTES });
  } catch {
    return new Uint8Array(0);
  }
}
