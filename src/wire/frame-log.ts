import { Ring } from "./ring.ts";

/** A slow stream's frames must outlive a storm of the fast ones: they get this share of the memory to themselves. */
const SLOW_SHARE = 1 / 8;

/**
 * The window of finished frames: one ring for ticks, one for slow streams (closed bars, funding, liquidations, state,
 * the directory), one position counted over both. Position n is the n-th frame since the start of the epoch, from 1.
 */
export class FrameLog {
  readonly ticks: Ring;
  readonly slow: Ring;
  /** A random whole number of at most 53 bits, new at every start. */
  readonly epoch: number;
  readonly #position = new Float64Array(1);
  /** The position of the frame to be committed next, in [0]; the header takes it from here. */
  readonly next = Float64Array.of(1);

  constructor(budget: number, epoch: number) {
    this.ticks = new Ring(budget * (1 - SLOW_SHARE));
    this.slow = new Ring(budget * SLOW_SHARE);
    this.epoch = epoch;
  }

  /** The position of the newest frame; 0 before the first. */
  get position(): number {
    return this.#position[0];
  }

  /** Commits what was claimed in `ring`, under the next position and the sequence `sequences[sequenceAt]`. */
  commit(ring: Ring, length: number, stream: number, sequences: Float64Array, sequenceAt: number): void {
    ring.commit(length, stream, sequences, sequenceAt, this.next, 0);
    this.#position[0] = this.next[0];
    this.next[0] += 1;
  }
}

/** Follows the log in order of position, over both rings. The one reader's place: keep one per reader. */
export class LogCursor {
  readonly #log: FrameLog;
  /** Next record of the tick ring and of the slow ring. */
  readonly #next = new Float64Array(2);
  /** The ring and the record that `next` found. */
  ring: Ring;
  record = 0;
  /** Frames that were overwritten before they were read. */
  lost = 0;

  /** Starts behind the newest frame. */
  constructor(log: FrameLog) {
    this.#log = log;
    this.ring = log.ticks;
    this.toHead();
  }

  toHead(): void {
    this.#next[0] = this.#log.ticks.head;
    this.#next[1] = this.#log.slow.head;
  }

  /** Goes to the first frame above a position, or to the oldest that is still there. */
  seek(position: number): void {
    this.#next[0] = this.#log.ticks.after(position);
    this.#next[1] = this.#log.slow.after(position);
  }

  /** True while there is a frame to go to. */
  get behind(): boolean {
    return this.#next[0] < this.#log.ticks.head || this.#next[1] < this.#log.slow.head;
  }

  /** Goes to the next frame; false at the head. */
  next(): boolean {
    const { ticks, slow } = this.#log;
    this.#skipLost(ticks, 0);
    this.#skipLost(slow, 1);
    const tick = this.#next[0];
    const slower = this.#next[1];
    const hasTick = tick < ticks.head;
    const hasSlow = slower < slow.head;
    if (!hasTick && !hasSlow) return false;
    if (hasTick && (!hasSlow || ticks.positionOf(tick) < slow.positionOf(slower))) {
      this.ring = ticks;
      this.record = tick;
      this.#next[0] = tick + 1;
    } else {
      this.ring = slow;
      this.record = slower;
      this.#next[1] = slower + 1;
    }
    return true;
  }

  #skipLost(ring: Ring, index: number): void {
    const missed = ring.tail - this.#next[index];
    if (missed <= 0) return;
    this.lost += missed;
    this.#next[index] = ring.tail;
  }
}
