import type { Frame, Tape } from "./tape.ts";

/** What the player needs of the venue around it. */
export interface Stage {
  deliver(frame: Frame): void;
  /** True while nothing may be played: a bootstrap is under way, silence was asked for, nobody listens. */
  holds(): boolean;
  /** True while a socket has more unsent than it should; only asked at full speed. */
  congested(): boolean;
  /** True when every socket has handed all to the kernel. */
  flushed(): boolean;
  /** Around each turn: lets the sockets write a turn's frames in one system call. */
  cork(): void;
  uncork(): void;
}

/** Frames a turn at most, then the event loop gets its turn: REST requests are answered while the tape runs. */
const TURN_FRAMES = 128;

/**
 * Plays a tape by due time, open loop: a late turn sends all that has come due, and a slow reader changes nothing.
 * Full speed is the exception: it has no due times, so it goes as fast as the sockets drain.
 */
export class Player {
  readonly finished: Promise<void>;
  played = 0;
  timeMs: number;
  #speed: number;
  #ended!: () => void;
  #playing = false;
  #began = false;
  #over = false;
  #next: Frame | undefined;
  #anchorWallMs = 0;
  #anchorAtMs = Number.NaN;
  #timer: NodeJS.Timeout | NodeJS.Immediate | undefined;

  constructor(
    readonly tape: Tape,
    readonly stage: Stage,
    speed: number,
  ) {
    this.#speed = speed;
    this.timeMs = tape.firstTimeMs;
    this.finished = new Promise((resolve) => {
      this.#ended = resolve;
    });
  }

  get speed(): number {
    return this.#speed;
  }

  setSpeed(speed: number): void {
    this.#speed = speed;
    this.#reanchor();
    if (this.#playing) this.#schedule(0);
  }

  get playing(): boolean {
    return this.#playing;
  }

  get over(): boolean {
    return this.#over;
  }

  play(): void {
    if (this.#playing || this.#over) return;
    if (!this.#began) this.tape.begin?.(Date.now());
    this.#began = true;
    this.#playing = true;
    this.#reanchor();
    this.#schedule(0);
  }

  pause(): void {
    this.#playing = false;
    this.#unschedule();
  }

  /** Ends for good; whoever waits for the end is let go. */
  stop(): void {
    this.pause();
    this.#over = true;
    this.#ended();
  }

  readonly #turn = (): void => {
    this.#timer = undefined;
    if (!this.#playing) return;
    this.stage.cork();
    const waitMs = this.#playDue();
    this.stage.uncork();
    if (this.#playing) this.#schedule(waitMs);
  };

  /** Plays what is due; returns how long to wait for more. */
  #playDue(): number {
    const paced = Number.isFinite(this.#speed);
    const nowMs = performance.now();
    for (let count = 0; count < TURN_FRAMES; count++) {
      if (this.stage.holds() || (!paced && count === 0 && this.stage.congested())) {
        this.#reanchor();
        return 1;
      }
      this.#next ??= this.tape.next();
      const frame = this.#next;
      if (frame === undefined) return this.#finish();
      if (paced) {
        if (Number.isNaN(this.#anchorAtMs)) {
          this.#anchorAtMs = frame.atMs;
          this.#anchorWallMs = nowMs;
        }
        const dueMs = this.#anchorWallMs + (frame.atMs - this.#anchorAtMs) / this.#speed;
        // A timer of under 1 ms fires after 1 ms anyway: frames this close go out in the turn that follows it.
        if (dueMs > nowMs) return Math.max(1, dueMs - nowMs);
      }
      this.#next = undefined;
      this.played++;
      if (frame.venueTimeMs > this.timeMs) this.timeMs = frame.venueTimeMs;
      this.stage.deliver(frame);
    }
    return 0;
  }

  #finish(): number {
    if (!this.stage.flushed()) return 1;
    this.stop();
    return 0;
  }

  /** After standing still, the next frame is due at once and the rest follow at their recorded distances. */
  #reanchor(): void {
    this.#anchorAtMs = Number.NaN;
  }

  #schedule(waitMs: number): void {
    this.#unschedule();
    this.#timer = waitMs === 0 ? setImmediate(this.#turn) : setTimeout(this.#turn, waitMs);
  }

  #unschedule(): void {
    clearTimeout(this.#timer as NodeJS.Timeout | undefined);
    clearImmediate(this.#timer as NodeJS.Immediate | undefined);
    this.#timer = undefined;
  }
}
