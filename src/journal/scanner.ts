import { type Memory, scratchMemory } from "../wire/memory.ts";
import { MAX_RECORD_BYTES, RECORD_BYTES, recordBytes } from "./format.ts";
import type { Source } from "./source.ts";

/** What `RecordScanner.next` says when no record follows. */
export const SCAN_END = 0;
/** What it says of a span that holds no whole record. */
export const SCAN_DAMAGE = -1;

const BUFFER_BYTES = 1 << 20;

/**
 * Reads one file record by record. What is not a whole record is skipped to the next one, and reported: nothing is ever
 * taken for a record whose CRC does not hold. The record's payload lies in place, at `at` in `memory`, until `next` is
 * called again.
 */
export class RecordScanner {
  readonly memory: Memory = scratchMemory(BUFFER_BYTES);
  /** Where in the file the record, or the damaged span, starts, and its bytes. */
  offset = 0;
  bytes = 0;
  kind = 0;
  /** Where the payload starts in `memory`, and its bytes. */
  at = 0;
  length = 0;
  readonly #source: Source;
  #mark = 0;
  #markKnown = false;
  /** The file's bytes from `#base` on lie at the buffer's start, `#filled` of them. */
  #base = 0;
  #filled = 0;
  #next = 0;
  #silent = false;

  constructor(source: Source) {
    this.#source = source;
    this.#learnMark();
  }

  /**
   * The file's mark is in its first record. Where that is damaged it is taken from the first place that makes a whole
   * record with whatever mark stands there.
   */
  #learnMark(): void {
    for (let offset = 0; offset + RECORD_BYTES <= this.#source.size && !this.#markKnown; offset += 8) {
      const from = this.#load(offset);
      const mark = this.memory.i32[(from + 12) >> 2];
      this.#markKnown = recordBytes(this.memory, from, this.#filled, mark) > 0;
      this.#mark = mark;
    }
  }

  /** What every record of the file carries; 0 when no record is whole. */
  get mark(): number {
    return this.#mark;
  }

  get size(): number {
    return this.#source.size;
  }

  /** Goes to a place where a record starts. */
  seek(offset: number): void {
    this.#next = offset;
    this.#silent = false;
  }

  /** Goes to the first whole record at or behind any place; what lies before it is not reported as damage. */
  seekNear(offset: number): void {
    this.#next = Math.ceil(offset / 8) * 8;
    this.#silent = true;
  }

  /** The kind of the next record, SCAN_DAMAGE, or SCAN_END. */
  next(): number {
    const from = this.#next;
    const end = this.#source.size;
    let offset = from;
    let bytes = 0;
    while (offset < end && this.#markKnown) {
      const at = this.#load(offset);
      bytes = recordBytes(this.memory, at, this.#filled, this.#mark);
      if (bytes > 0) break;
      offset += 8;
    }
    if (bytes === 0) offset = end;
    if (offset > from && !this.#silent) {
      this.offset = from;
      this.bytes = offset - from;
      this.#next = offset;
      return SCAN_DAMAGE;
    }
    this.#silent = false;
    this.#next = offset + bytes;
    if (bytes === 0) return SCAN_END;
    const at = offset - this.#base;
    this.offset = offset;
    this.bytes = bytes;
    this.kind = this.memory.i32[(at + 8) >> 2];
    this.at = at + RECORD_BYTES;
    this.length = bytes - RECORD_BYTES;
    return this.kind;
  }

  /** Has at least a whole record from `offset` on in the buffer, as far as the file goes; returns where it lies there. */
  #load(offset: number): number {
    const from = offset - this.#base;
    const missing =
      offset + MAX_RECORD_BYTES > this.#base + this.#filled && this.#base + this.#filled < this.#source.size;
    if (from >= 0 && from <= this.#filled && !missing) return from;
    this.#base = offset;
    this.#filled = this.#source.read(offset, this.memory.u8);
    return 0;
  }
}
