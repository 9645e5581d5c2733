import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import type { LogView } from "../wire/frame-log.ts";
import { FrameView } from "../wire/generated/views.ts";
import { type Memory, scratchMemory } from "../wire/memory.ts";
import type { ReadableRing } from "../wire/ring.ts";

/**
 * Records that close to the tail are taken for gone, or an eighth of all where that is fewer. The writer gives up a frame
 * before it writes over it; where a processor shows stores to another one out of order, that may be seen some
 * nanoseconds late, and this many records are microseconds.
 */
const MARGIN_RECORDS = 64;

/**
 * Follows the log of another thread in order of position and copies one frame after the other out of it. A copy that
 * the ring overtook while it was made is thrown away; the hole shows in the positions.
 */
export class Follower {
  /** The frame that `next` copied lies here, at 0. */
  readonly memory: Memory = scratchMemory(MAX_FRAME_BYTES);
  length = 0;
  stream = 0;
  sequence = 0;
  position = 0;
  readonly frame = new FrameView();
  /** Frames of the slow ring that were overtaken; for whoever asks to set to 0. */
  slowLost = 0;
  readonly #view: LogView;
  #nextTick = 0;
  #nextSlow = 0;

  constructor(view: LogView, afterPosition: number) {
    this.#view = view;
    this.seek(afterPosition);
  }

  /** Goes to the first frame above a position, or to the oldest that is still there. */
  seek(afterPosition: number): void {
    this.#nextTick = this.#view.ticks.after(afterPosition);
    this.#nextSlow = this.#view.slow.after(afterPosition);
  }

  /** Copies the next frame that was published; false when there is none. */
  next(): boolean {
    const { ticks, slow, ticksHead, slowHead } = this.#view;
    for (;;) {
      this.#nextTick = Math.max(this.#nextTick, oldest(ticks));
      const oldestSlow = oldest(slow);
      if (oldestSlow > this.#nextSlow) {
        this.slowLost += oldestSlow - this.#nextSlow;
        this.#nextSlow = oldestSlow;
      }
      const hasTick = this.#nextTick < ticksHead;
      const hasSlow = this.#nextSlow < slowHead;
      if (!hasTick && !hasSlow) return false;
      if (hasTick && (!hasSlow || ticks.positionOf(this.#nextTick) < slow.positionOf(this.#nextSlow))) {
        if (this.#copy(ticks, this.#nextTick++)) return true;
      } else if (this.#copy(slow, this.#nextSlow++)) return true;
      else this.slowLost += 1;
    }
  }

  #copy(ring: ReadableRing, record: number): boolean {
    const place = ring.placeOf(record);
    const length = ring.lengthOf(record);
    this.stream = ring.streamOf(record);
    this.sequence = ring.sequenceOf(record);
    this.position = ring.positionOf(record);
    // What was read may be of two records by now; at worst it is too many bytes, which are still no more than a frame's.
    this.memory.u8.set(ring.memory.u8.subarray(place, place + length));
    this.length = length;
    if (oldest(ring) > record) return false;
    this.frame.attach(this.memory, this.memory.i32[0]);
    return true;
  }
}

/** The oldest record that can safely be copied. */
function oldest(ring: ReadableRing): number {
  const { tail, head } = ring;
  return tail === 0 ? 0 : tail + Math.min(MARGIN_RECORDS, Math.floor((head - tail) / 8));
}
