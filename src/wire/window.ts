import type { Clock } from "../std/clock.ts";
import type { FrameLog } from "./frame-log.ts";
import { FrameView } from "./generated/views.ts";
import type { Ring } from "./ring.ts";

/** What of a log is still there, by the time at which it was published. Times in microseconds, by the clock of its frames. */
export class Window {
  /** When the first frame could be written. */
  readonly startedAt: number;
  readonly #log: FrameLog;
  readonly #clock: Clock;
  readonly #frame = new FrameView();

  constructor(log: FrameLog, clock: Clock) {
    this.startedAt = clock.now();
    this.#log = log;
    this.#clock = clock;
  }

  get now(): number {
    return this.#clock.now();
  }

  /** Seconds between the oldest tick and now; what can be looked back at. */
  get seconds(): number {
    const { ticks } = this.#log;
    return ticks.tail === ticks.head ? 0 : Math.max(0, (this.now - this.#timeOf(ticks, ticks.tail)) / 1e6);
  }

  /** Since when all frames are there, or all of the slow ring: since the first one where none is gone. */
  start(slowOnly: boolean): number {
    const { ticks, slow } = this.#log;
    const slowStart = slow.tail === slow.head ? this.now : this.#timeOf(slow, slow.tail);
    if (slowOnly || ticks.isWhole) return slowStart;
    return Math.max(slowStart, ticks.tail === ticks.head ? this.now : this.#timeOf(ticks, ticks.tail));
  }

  /** The time of the first frame after a position that is still there; now when there is none. */
  timeAfter(position: number): number {
    let time = this.now;
    for (const ring of [this.#log.ticks, this.#log.slow]) {
      const record = ring.after(position);
      if (record < ring.head) time = Math.min(time, this.#timeOf(ring, record));
    }
    return time;
  }

  /** The position of the last frame that was published before a time. */
  positionBefore(time: number): number {
    let { position } = this.#log;
    for (const ring of [this.#log.ticks, this.#log.slow]) {
      const record = ring.first((each) => this.#timeOf(ring, each) >= time);
      if (record < ring.head) position = Math.min(position, ring.positionOf(record) - 1);
    }
    return position;
  }

  #timeOf(ring: Ring, record: number): number {
    const at = ring.placeOf(record);
    this.#frame.attach(ring.memory, at + ring.memory.i32[at >> 2]);
    return this.#frame.tsPublish;
  }
}
