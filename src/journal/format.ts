import { crc32OfWords } from "../std/crc.ts";
import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import type { Memory } from "../wire/memory.ts";

/*
 * The ring on disk: one directory, one file an hour of server time (ts_publish). A file is records, one after the other,
 * each starting at a multiple of 8, everything little-endian:
 *
 *   record  │ length u32 │ CRC-32 u32 │ kind u32 │ mark u32 │ payload: `length` bytes, whole 8-byte words │
 *
 *   file    │ header │ directory … │ sequences … │ frame  frame  gap  frame  …  frame │ end │
 *             └─────────── the opening ─────────┘                                      └ missing after a crash
 *
 * The CRC is that of the whole record with its own four bytes taken as 0, so a flipped length is found as well. The
 * mark is a random number of the file: neither bytes of a deleted file that a lost power brings back, nor bytes that a
 * venue chose, can be taken for a record. A frame is whole words, as everything else is: there is no padding, and a
 * length that is no multiple of 8 is damage.
 *
 *   header     format version, epoch, created (µs), first position, mode
 *   directory  an Instrument or Stream frame known before the file was opened: a copy, no event, so that the file can
 *              be read alone
 *   sequences  how many more entries follow in later records, then (stream, last sequence) of every stream
 *   frame      the very bytes of the ring, which carry epoch, position, sequence, stream and times themselves
 *   gap        first and last position that the journal could not get, and why
 *   end        last position, time (µs), 1 when the journal was closed, 0 when the next file goes on
 *
 * What is not a frame is doubles, whole and below 2^53. There is no index: records can be found from any place by mark
 * and CRC, so a position or a time is found by bisection, in a compressed file too (see gzip-source.ts).
 */

export const FORMAT_VERSION = 1;

/** The header's kind reads `TWJ1`, so that a file can be told by its first bytes. */
export const KIND_HEADER = 0x314a5754;
export const KIND_DIRECTORY = 2;
export const KIND_SEQUENCES = 3;
export const KIND_FRAME = 4;
export const KIND_GAP = 5;
export const KIND_END = 6;

export const MODES = ["live", "simulated", "replay"] as const;
export type Mode = (typeof MODES)[number];

/** Why frames are not in the journal: the ring went round before the writer came by, or while the disk refused. */
export const GAP_CAUSES = ["lapped", "disk"] as const;
export type GapCause = (typeof GAP_CAUSES)[number];

/** Bytes of a record before its payload. */
export const RECORD_BYTES = 16;
export const MAX_RECORD_BYTES = RECORD_BYTES + MAX_FRAME_BYTES;
/** Entries of a `sequences` record. */
export const MAX_SEQUENCES = 4095;
/** Doubles of a header. */
export const HEADER_NUMBERS = 5;

export interface FileHeader {
  epoch: number;
  /** When the file was opened, microseconds on the server's clock; no frame of the file is older. */
  created: number;
  /** The first position that can be in the file. */
  firstPosition: number;
  mode: Mode;
}

/** Turns the payload that lies behind `at + RECORD_BYTES` into a record; returns the record's bytes. */
export function sealRecord(memory: Memory, at: number, length: number, kind: number, mark: number): number {
  const { i32 } = memory;
  const word = at >> 2;
  i32[word] = length;
  i32[word + 1] = 0;
  i32[word + 2] = kind;
  i32[word + 3] = mark;
  i32[word + 1] = crc32OfWords(i32, word, (at + RECORD_BYTES + length) >> 2);
  return RECORD_BYTES + length;
}

/**
 * Bytes of the whole record that starts at `at`, or 0 when none does that ends by `end` and has the mark. The CRC's place
 * is zeroed for the moment of the check, so the memory must be the caller's own.
 */
export function recordBytes(memory: Memory, at: number, end: number, mark: number): number {
  const { i32 } = memory;
  const word = at >> 2;
  if (at + RECORD_BYTES > end || i32[word + 3] !== mark) return 0;
  const length = i32[word] >>> 0;
  const bytes = RECORD_BYTES + length;
  if (length === 0 || (length & 7) !== 0 || length > MAX_FRAME_BYTES || at + bytes > end) return 0;
  const stored = i32[word + 1];
  i32[word + 1] = 0;
  const crc = crc32OfWords(i32, word, (at + bytes) >> 2);
  i32[word + 1] = stored;
  return (crc | 0) === stored ? bytes : 0;
}

/** The header whose payload starts at `at`, or undefined when it is of another version, or makes no sense. */
export function readHeader(memory: Memory, at: number, length: number): FileHeader | undefined {
  const [version, epoch, created, firstPosition, mode] = memory.f64.subarray(at >> 3, (at + length) >> 3);
  if (length < 8 * HEADER_NUMBERS || version !== FORMAT_VERSION) return undefined;
  const name = MODES[mode as number];
  return (
    name && { epoch: epoch as number, created: created as number, firstPosition: firstPosition as number, mode: name }
  );
}

const NAME = /^(\d{16})-(\d{16})\.twj(\.gz)?$/;

/** A file's name: when it was opened (µs) and its first position, so that names sort as files were opened. */
export function fileName(created: number, firstPosition: number): string {
  return `${digits(created)}-${digits(firstPosition)}.twj`;
}

function digits(value: number): string {
  return String(value).padStart(16, "0");
}

/** What a name says, or undefined when it is no journal file's. `name` is that of the file before it was compressed. */
export function parseName(file: string): { name: string; opened: number; compressed: boolean } | undefined {
  const match = NAME.exec(file);
  if (match === null) return undefined;
  return { name: file.replace(/\.gz$/, ""), opened: Number(match[1]), compressed: match[3] !== undefined };
}
