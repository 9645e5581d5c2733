import type { FileHeader } from "./format.ts";

/** A span of a file that holds no whole record. */
export interface Damage {
  file: string;
  /** Bytes, of the file before it was compressed. No bytes: the positions are missing without a trace. */
  offset: number;
  length: number;
  /**
   * Positions that are missing between the neighbours. None when `from` is above `to`; `to` is Infinity when nothing of
   * the epoch follows, so that nobody can say how many there were.
   */
  from: number;
  to: number;
  /** True when it reaches the end of the file: a write that was cut short, or that is under way. */
  atEnd: boolean;
}

/**
 * How far a reader has come in the positions, over the files: what a damaged span has cost shows only when the next
 * whole record is found, it may be in the next file.
 */
export class Progress {
  epoch = -1;
  /** The last position told of, by a frame, a gap or an end; -1 when that is not known. */
  reached = -1;
  readonly #tell: (damage: Damage) => void;
  #pending: Damage[] = [];

  constructor(tell: (damage: Damage) => void) {
    this.#tell = tell;
  }

  /** A file begins; `skipped` when it is not read from its start. */
  begin(file: string, header: FileHeader | undefined, skipped: boolean): void {
    if (header !== undefined && !skipped)
      this.reach(file, 0, header.epoch, header.firstPosition, header.firstPosition - 1);
    if (!skipped) return;
    this.end();
    this.epoch = header?.epoch ?? -1;
    this.reached = -1;
  }

  damaged(damage: Damage): void {
    this.#pending.push(damage);
  }

  /** What lies at `offset` begins with position `from` and brings us to `to`. */
  reach(file: string, offset: number, epoch: number, from: number, to: number): void {
    if (epoch !== this.epoch) {
      this.end();
      this.epoch = epoch;
      this.reached = -1;
    }
    const isHole = this.reached >= 0 && from > this.reached + 1;
    if (isHole && this.#pending.length === 0) this.damaged({ file, offset, length: 0, from: 1, to: 0, atEnd: false });
    this.#settle(from - 1);
    this.reached = Math.max(this.reached, to);
  }

  /** Nothing of the epoch follows. */
  end(): void {
    this.#settle(Number.POSITIVE_INFINITY);
  }

  #settle(to: number): void {
    for (const damage of this.#pending) this.#tell({ ...damage, from: this.reached < 0 ? 1 : this.reached + 1, to });
    this.#pending = [];
  }
}
