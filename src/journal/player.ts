import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { Damage } from "./progress.ts";
import { type JournalFrame, JournalReader, type StatedGap } from "./reader.ts";

/** Frames that are played before the event loop gets its turn. */
const MAX_FRAMES_A_TURN = 512;
/** Whoever is there from the start gets to subscribe before the first frame. */
const START_DELAY_MS = 100;
/** How long it waits for clients before it looks again. */
const LOOK_MS = 5;

export interface JournalPlayerOptions {
  directory: string;
  epoch: number;
  /** First and last time of commit that is shown, microseconds. */
  fromTime: number;
  toTime: number;
  /** 1 is the pace at which it was written, Infinity as fast as it can. */
  speed: number;
  /** Takes a frame; those from before `fromTime` come too, unpaced, because what is shown builds on them. */
  play(frame: JournalFrame, shown: boolean): void;
  /** Called before time moves on. */
  endTurn(): void;
  /** False while playing must wait. */
  mayPlay(): boolean;
  onDamage(damage: Damage): void;
  onGap(gap: StatedGap): void;
  /** What keeps the pace. */
  clock: Clock;
  timers: Timers;
}

/** Plays one epoch of a journal, in order, at a pace. */
export class JournalPlayer {
  /** Frames that were shown. */
  shown = 0;
  readonly #options: JournalPlayerOptions;
  readonly #frames: IterableIterator<JournalFrame>;
  #next: JournalFrame | undefined;
  #timer: TimerHandle;
  #stopped = false;
  /** When what is shown began, by the pace's clock and by the journal's; 0 before. */
  #startedAt = 0;
  #journalAt = 0;
  #waitedSince = 0;
  #isReady!: () => void;
  #end!: () => void;
  /** Resolves when everything that comes before what is shown was played. */
  readonly ready = new Promise<void>((resolve) => {
    this.#isReady = resolve;
  });
  /** Resolves when the last frame was played, or on stop. */
  readonly ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });

  constructor(options: JournalPlayerOptions) {
    const { directory, epoch, toTime, onDamage, onGap } = options;
    this.#options = options;
    this.#frames = new JournalReader(directory).frames({ epoch, toTime, copies: true, onDamage, onGap });
  }

  start(): void {
    if (this.#next === undefined) this.#read();
    this.#later(START_DELAY_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.timers.clearTimeout(this.#timer);
    this.#finish();
  }

  #finish(): void {
    this.#isReady();
    this.#end();
  }

  /** When the first frame was committed, microseconds; 0 when there is none. To be asked before the start. */
  get firstTime(): number {
    if (this.#next === undefined) this.#read();
    return this.#next?.time ?? 0;
  }

  #read(): void {
    this.#next = this.#frames.next().value as JournalFrame | undefined;
  }

  #later(ms: number): void {
    this.#timer = this.#options.timers.setTimeout(() => this.#play(), ms);
  }

  /** Plays what is due, then sleeps until more is. */
  #play(): void {
    const { speed, fromTime, clock, endTurn } = this.#options;
    if (this.#hasToWait()) return this.#later(LOOK_MS);
    const unpaced = speed === Number.POSITIVE_INFINITY;
    const due = this.#journalAt + (clock.now() - this.#startedAt) * speed;
    let time = 0;
    for (let count = 0; count < MAX_FRAMES_A_TURN && this.#next !== undefined; count += 1) {
      const frame = this.#next;
      const shown = !frame.copy && frame.time >= fromTime;
      if (shown && this.#startedAt === 0) return this.#begin(frame.time);
      if (shown && !unpaced && frame.time > due) break;
      if (frame.time !== time && time !== 0) endTurn();
      if (!frame.copy) time = frame.time;
      this.#options.play(frame, shown);
      if (shown) this.shown += 1;
      this.#read();
    }
    endTurn();
    if (this.#next === undefined) return this.#finish();
    const ahead = this.#startedAt === 0 || unpaced ? 0 : (this.#next.time - due) / speed / 1000;
    if (!this.#stopped) this.#later(Math.ceil(Math.max(0, ahead)));
  }

  #begin(time: number): void {
    this.#startedAt = this.#options.clock.now();
    this.#journalAt = time;
    this.#isReady();
    this.#later(0);
  }

  /** While clients are waited for, the pace's clock stands. */
  #hasToWait(): boolean {
    const { clock, mayPlay } = this.#options;
    const isWaiting = this.#startedAt !== 0 && !mayPlay();
    if (isWaiting) this.#waitedSince ||= clock.now();
    else if (this.#waitedSince !== 0) {
      this.#startedAt += clock.now() - this.#waitedSince;
      this.#waitedSince = 0;
    }
    return isWaiting;
  }
}
