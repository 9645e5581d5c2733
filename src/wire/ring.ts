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

/** The shared blocks of a ring: whoever holds them can read it, in any thread. */
export interface SharedRing {
  readonly frames: SharedArrayBuffer;
  readonly index: SharedArrayBuffer;
  readonly numbers: SharedArrayBuffer;
  readonly ends: SharedArrayBuffer;
}

/** A ring of another thread: everything but what writes. */
export type ReadableRing = Omit<Ring, "begin" | "claim" | "commit" | "covers" | "isWhole" | "used">;

const NOBODY = () => {};

export class Ring {
  readonly memory: Memory;
  readonly #bytes: number;
  readonly #mask: number;
  /** [place, length, stream, unused] of each record: one line of the cache serves four of them. */
  readonly #index: Int32Array;
  /** [sequence, position] of each record. */
  readonly #numbers: Float64Array;
  /** [tail record, head record] */
  readonly #ends: Float64Array;
  #writeAt = 0;
  #claimed = 0;
  /** Whoever has not got all up to this position cannot have it from here: 0 unless an earlier process's epoch goes on. */
  #begin = 0;
  /**
   * Called before the block, or the index, is begun anew: whoever must not miss a frame reads all that there is now, and
   * misses none, however many come before it would have read again.
   */
  onRound: () => void = NOBODY;

  /** Takes about `budget` bytes, side arrays included; or lies over the blocks of another. */
  constructor(budget: number | SharedRing) {
    const blocks = typeof budget === "number" ? allocate(budget) : budget;
    this.#bytes = blocks.frames.byteLength;
    assert(this.#bytes >= 4 * MAX_FRAME_BYTES, "a ring holds several of the largest frames");
    const records = blocks.index.byteLength / 16;
    assert((records & (records - 1)) === 0, "the number of records is a power of two");
    this.#mask = records - 1;
    this.memory = new Memory(blocks.frames);
    this.#index = new Int32Array(blocks.index);
    this.#numbers = new Float64Array(blocks.numbers);
    this.#ends = new Float64Array(blocks.ends);
  }

  /** Opens the ring of another thread for reading. */
  static over(blocks: SharedRing): ReadableRing {
    return new Ring(blocks);
  }

  /** The blocks that another thread opens with `Ring.over`. */
  get shared(): SharedRing {
    return {
      frames: this.memory.u8.buffer as SharedArrayBuffer,
      index: this.#index.buffer as SharedArrayBuffer,
      numbers: this.#numbers.buffer as SharedArrayBuffer,
      ends: this.#ends.buffer as SharedArrayBuffer,
    };
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

  /** Bytes between the oldest frame and the newest, what was left unused at the end of the block included. */
  get used(): number {
    if (this.tail === this.head) return 0;
    const used = this.#writeAt - this.placeOf(this.tail);
    return used > 0 ? used : used + this.#bytes;
  }

  /** Says that what comes up to a position was never here; before the first frame. */
  begin(position: number): void {
    assert(this.head === 0, "a ring begins once");
    this.#begin = position;
  }

  /** Room for a frame of at most `length` bytes: where it starts in `memory`. The oldest frames give way. */
  claim(length: number): number {
    assert(length <= MAX_FRAME_BYTES, "a frame is at most 64 KiB");
    let at = this.#writeAt;
    if ((this.#ends[1] & this.#mask) === 0) this.onRound();
    if (at + length > this.#bytes) {
      this.onRound();
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
      const entry = (tail & this.#mask) << 2;
      const place = this.#index[entry];
      const overlaps = place < to && place + this.#index[entry + 1] > from;
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
    const record = head & this.#mask;
    const index = this.#index;
    index[record << 2] = this.#writeAt;
    index[(record << 2) + 1] = length;
    index[(record << 2) + 2] = stream;
    const numbers = this.#numbers;
    numbers[record << 1] = sequences[sequenceAt];
    numbers[(record << 1) + 1] = positions[positionAt];
    this.#writeAt += length;
    this.#claimed = 0;
    this.#ends[1] = head + 1;
  }

  /** The oldest record whose position is above `position`; the head when there is none. */
  after(position: number): number {
    return this.first((record) => this.positionOf(record) > position);
  }

  /** The oldest record for which something holds that holds for all after it; the head when there is none. */
  first(holds: (record: number) => boolean): number {
    let low = this.tail;
    let high = this.head;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if (holds(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** True when no record above `position` has given way: whoever has what came up to it can have all the rest. */
  covers(position: number): boolean {
    const { tail, head } = this;
    if (tail === 0) return position >= this.#begin;
    // The entry of the record that gave way last stands until the newest takes its place.
    const last = head - tail <= this.#mask ? this.positionOf(tail - 1) : this.positionOf(tail) - 1;
    return last <= position;
  }

  /** True when every frame that there ever was of the epoch is still here. */
  get isWhole(): boolean {
    return this.tail === 0 && this.#begin === 0;
  }

  placeOf(record: number): number {
    return this.#index[(record & this.#mask) << 2];
  }

  lengthOf(record: number): number {
    return this.#index[((record & this.#mask) << 2) + 1];
  }

  streamOf(record: number): number {
    return this.#index[((record & this.#mask) << 2) + 2] >>> 0;
  }

  sequenceOf(record: number): number {
    return this.#numbers[(record & this.#mask) << 1];
  }

  positionOf(record: number): number {
    return this.#numbers[((record & this.#mask) << 1) + 1];
  }
}

function allocate(budget: number): SharedRing {
  const records = 2 ** Math.floor(Math.log2(budget / (BYTES_PER_RECORD + INDEX_BYTES_PER_RECORD)));
  const bytes = Math.floor((budget - records * INDEX_BYTES_PER_RECORD) / 8) * 8;
  return {
    frames: new SharedArrayBuffer(bytes),
    index: new SharedArrayBuffer(records * 16),
    numbers: new SharedArrayBuffer(records * 16),
    ends: new SharedArrayBuffer(16),
  };
}
