import { assert } from "../std/assert.ts";
import { type ReadableRing, Ring, type SharedRing } from "./ring.ts";

/** A slow stream's frames must outlive a storm of the fast ones: they get this share of the memory to themselves. */
const SLOW_SHARE = 1 / 8;

/*
 * Words of the published heads: a count that is odd while the rest is being written,
 * then the heads of both rings and the position, low half first, because a position outgrows 32 bits within a day.
 */
export const TURN_WORD = 0;
const TICKS_WORD = 1;
const SLOW_WORD = 3;
const POSITION_WORD = 5;
const HEADS_WORDS = 7;
const HIGH_WORD = 1 / 4294967296;

/** What another thread needs to follow a log. */
export interface SharedLog {
  readonly epoch: number;
  readonly ticks: SharedRing;
  readonly slow: SharedRing;
  readonly heads: SharedArrayBuffer;
}

/**
 * The window of finished frames: one ring for ticks, one for slow streams (closed bars, funding, liquidations, state,
 * the directory), one position counted over both. Position n is the n-th frame since the start of the epoch, from 1.
 */
export class FrameLog {
  readonly ticks: Ring;
  readonly slow: Ring;
  /** A random whole number of at most 53 bits, new at every start that does not go on where a journal ended cleanly. */
  readonly epoch: number;
  readonly #position = new Float64Array(1);
  /** The position of the frame to be committed next, in [0]; the header takes it from here. */
  readonly next = Float64Array.of(1);
  readonly #heads = new Int32Array(new SharedArrayBuffer(4 * HEADS_WORDS));
  #published = 0;

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

  /** Goes on with an epoch: the next frame is the one after `position`. Before the first. */
  begin(position: number): void {
    this.ticks.begin(position);
    this.slow.begin(position);
    this.skipTo(position);
  }

  /** Leaves out the positions up to one: frames that were lost. */
  skipTo(position: number): void {
    assert(position >= this.position, "positions do not go back");
    this.#position[0] = position;
    this.next[0] = position + 1;
  }

  /** What another thread opens with `LogView`. */
  get shared(): SharedLog {
    return {
      epoch: this.epoch,
      ticks: this.ticks.shared,
      slow: this.slow.shared,
      heads: this.#heads.buffer as SharedArrayBuffer,
    };
  }

  /**
   * Lets other threads have what was committed until now. Once a turn, not per frame; nobody is woken, which would cost
   * the turn more than its frames: who follows looks from time to time.
   */
  publish(): void {
    if (this.#published === this.position) return;
    this.#published = this.position;
    const words = this.#heads;
    Atomics.add(words, TURN_WORD, 1);
    storeHalves(words, TICKS_WORD, this.ticks.head);
    storeHalves(words, SLOW_WORD, this.slow.head);
    storeHalves(words, POSITION_WORD, this.position);
    Atomics.add(words, TURN_WORD, 1);
  }
}

function storeHalves(words: Int32Array, at: number, value: number): void {
  Atomics.store(words, at, value | 0);
  Atomics.store(words, at + 1, Math.floor(value * HIGH_WORD));
}

function loadHalves(words: Int32Array, at: number): number {
  return Atomics.load(words, at + 1) / HIGH_WORD + (Atomics.load(words, at) >>> 0);
}

/** The log of another thread, as far as it was published: everything below the heads is there, in both rings alike. */
export class LogView {
  readonly epoch: number;
  readonly ticks: ReadableRing;
  readonly slow: ReadableRing;
  /** The published count, at TURN_WORD: what `Atomics.wait` waits for. */
  readonly words: Int32Array;
  ticksHead = 0;
  slowHead = 0;
  position = 0;

  constructor(shared: SharedLog) {
    this.epoch = shared.epoch;
    this.ticks = Ring.over(shared.ticks);
    this.slow = Ring.over(shared.slow);
    this.words = new Int32Array(shared.heads);
  }

  /** Takes the heads that were published last; returns the count that they were published under. */
  refresh(): number {
    for (;;) {
      const turn = Atomics.load(this.words, TURN_WORD);
      const ticksHead = loadHalves(this.words, TICKS_WORD);
      const slowHead = loadHalves(this.words, SLOW_WORD);
      const position = loadHalves(this.words, POSITION_WORD);
      if ((turn & 1) !== 0 || Atomics.load(this.words, TURN_WORD) !== turn) continue;
      this.ticksHead = ticksHead;
      this.slowHead = slowHead;
      this.position = position;
      return turn;
    }
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
