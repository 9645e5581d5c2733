import { assert } from "../std/assert.ts";
import { MAX_FRAME_BYTES } from "./frame.ts";
import { Memory } from "./memory.ts";

/*
 * Hot path. Finished frames, one after the other, in one block of shared memory:
 *
 *            tail                                head
 *   |........[frame][frame][frame]...[frame][frame]~~~~~~free~~~~~~|       bytes; a frame never wraps
 *              7      8      9        ...     n                            records, counted for ever
 *
 * Record n has its place, length, stream, sequence and position in side arrays at n & mask. There is one writer: it
 * claims room at the head, which pushes the tail over the oldest frames, writes the frame in place and commits it.
 * A committed frame is never touched again until it is overwritten; a reader holds a record number and knows by
 * comparing it with `tail` whether its frame still lies there.
 */

/**
 * Bytes of ring per index entry, at least. Frames are 160 bytes and more, trades 176 to 184; the number of entries is
 * rounded down to a power of two, so there may be up to 288 bytes an entry: where the frames are smaller than that on
 * average, the index is full before the bytes are, and the oldest record gives way to that.
 */
const BYTES_PER_RECORD = 128;
/** Place, length, stream (4 bytes each, and 4 spare), sequence and position (8 each). */
const INDEX_BYTES_PER_RECORD = 32;

export class Ring {
  readonly memory: Memory;
  readonly #bytes: number;
  readonly #mask: number;
  readonly #places: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #streams: Uint32Array;
  readonly #sequences: Float64Array;
  readonly #positions: Float64Array;
  /** [tail record, head record] */
  readonly #ends: Float64Array;
  #writeAt = 0;
  #claimed = 0;

  /** Takes about `budget` bytes, side arrays included. */
  constructor(budget: number) {
    const records = 2 ** Math.floor(Math.log2(budget / (BYTES_PER_RECORD + INDEX_BYTES_PER_RECORD)));
    this.#bytes = Math.floor((budget - records * INDEX_BYTES_PER_RECORD) / 8) * 8;
    assert(this.#bytes >= 4 * MAX_FRAME_BYTES, "a ring holds several of the largest frames");
    assert((records & (records - 1)) === 0, "the number of records is a power of two");
    this.#mask = records - 1;
    this.memory = new Memory(new SharedArrayBuffer(this.#bytes));
    this.#places = new Uint32Array(new SharedArrayBuffer(records * 4));
    this.#lengths = new Uint32Array(new SharedArrayBuffer(records * 4));
    this.#streams = new Uint32Array(new SharedArrayBuffer(records * 4));
    this.#sequences = new Float64Array(new SharedArrayBuffer(records * 8));
    this.#positions = new Float64Array(new SharedArrayBuffer(records * 8));
    this.#ends = new Float64Array(new SharedArrayBuffer(16));
  }

  /** The oldest record that is still there. */
  get tail(): number {
    return this.#ends[0];
  }

  /** One past the newest record. */
  get head(): number {
    return this.#ends[1];
  }

  /** Bytes of room for frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Room for a frame of at most `length` bytes: where it starts in `memory`. The oldest frames give way. */
  claim(length: number): number {
    assert(length <= MAX_FRAME_BYTES, "a frame is at most 64 KiB");
    let at = this.#writeAt;
    if (at + length > this.#bytes) {
      // The rest of the block stays unused this time round: every record in it is older than those at its start.
      this.#evict(at, this.#bytes);
      at = 0;
      this.#writeAt = 0;
    }
    this.#evict(at, at + length);
    this.#claimed = length;
    return at;
  }

  /** Gives up every record whose bytes lie in [from, to), and one more when the index is full. */
  #evict(from: number, to: number): void {
    let tail = this.#ends[0];
    const head = this.#ends[1];
    while (tail < head) {
      const index = tail & this.#mask;
      const place = this.#places[index];
      const overlaps = place < to && place + this.#lengths[index] > from;
      if (!overlaps && head - tail <= this.#mask) break;
      tail += 1;
    }
    this.#ends[0] = tail;
  }

  /** Makes the claimed frame a record, with `sequences[sequenceAt]` and `positions[positionAt]` as its numbers. */
  commit(
    length: number,
    stream: number,
    sequences: Float64Array,
    sequenceAt: number,
    positions: Float64Array,
    positionAt: number,
  ): void {
    assert(length > 0 && length <= this.#claimed && (length & 7) === 0, "a commit fits its claim");
    const head = this.#ends[1];
    const index = head & this.#mask;
    this.#places[index] = this.#writeAt;
    this.#lengths[index] = length;
    this.#streams[index] = stream;
    this.#sequences[index] = sequences[sequenceAt];
    this.#positions[index] = positions[positionAt];
    this.#writeAt += length;
    this.#claimed = 0;
    this.#ends[1] = head + 1;
  }

  placeOf(record: number): number {
    return this.#places[record & this.#mask];
  }

  lengthOf(record: number): number {
    return this.#lengths[record & this.#mask];
  }

  streamOf(record: number): number {
    return this.#streams[record & this.#mask];
  }

  sequenceOf(record: number): number {
    return this.#sequences[record & this.#mask];
  }

  positionOf(record: number): number {
    return this.#positions[record & this.#mask];
  }
}
