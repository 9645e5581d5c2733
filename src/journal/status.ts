/** What the writer's thread is doing. `full`: the disk has no room; `failed`: it refused otherwise, or the thread died. */
export const STATES = ["starting", "writing", "full", "failed", "closed"] as const;
export type JournalState = (typeof STATES)[number];

const STATE = 0;
const WRITTEN = 1;
const SYNCED = 2;
const BYTES = 3;
const FILES = 4;
const LOST = 5;
const GAPS = 6;
const ERRORS = 7;
const WORDS = 8;

/** The writer's figures, in memory that both threads see. One thread writes them; a double is read and written whole. */
export class SharedStatus {
  readonly words: Float64Array;

  constructor(buffer = new SharedArrayBuffer(8 * WORDS)) {
    this.words = new Float64Array(buffer);
  }

  get buffer(): SharedArrayBuffer {
    return this.words.buffer as SharedArrayBuffer;
  }

  get state(): JournalState {
    return STATES[this.words[STATE] as number] as JournalState;
  }

  set state(state: JournalState) {
    this.words[STATE] = STATES.indexOf(state);
  }

  /** The last position that the operating system has; a crash of the process does not lose it. */
  get written(): number {
    return this.words[WRITTEN] as number;
  }

  set written(position: number) {
    this.words[WRITTEN] = position;
  }

  /** The last position that is on the disk; a crash of the machine does not lose it. 0 when nothing is ever synced. */
  get synced(): number {
    return this.words[SYNCED] as number;
  }

  set synced(position: number) {
    this.words[SYNCED] = position;
  }

  /** Bytes of all the journal's files. */
  get bytes(): number {
    return this.words[BYTES] as number;
  }

  set bytes(bytes: number) {
    this.words[BYTES] = bytes;
  }

  get files(): number {
    return this.words[FILES] as number;
  }

  set files(files: number) {
    this.words[FILES] = files;
  }

  /** Frames that the ring overwrote before they were copied, all named in gap records. */
  get lost(): number {
    return this.words[LOST] as number;
  }

  set lost(frames: number) {
    this.words[LOST] = frames;
  }

  get gaps(): number {
    return this.words[GAPS] as number;
  }

  set gaps(gaps: number) {
    this.words[GAPS] = gaps;
  }

  /** Errors of the file system so far. */
  get errors(): number {
    return this.words[ERRORS] as number;
  }

  set errors(errors: number) {
    this.words[ERRORS] = errors;
  }
}
