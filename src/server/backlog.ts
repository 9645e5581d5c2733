import type { Clock } from "../std/clock.ts";

/** Work of one client that is too long for one turn of the event loop. */
export interface Task {
  /** True while something is left to do. */
  readonly pending: boolean;
  /** Does a piece and returns what it cost, in bytes sent or their worth; 0 when it must wait for the client's queue. */
  step(): number;
  /** A step threw. */
  failed(error: unknown): void;
}

/** A piece ends when it has cost so many bytes, or their worth: the other clients' turn. */
export const PIECE_COST = 64 * 1024;
/** What all clients together may cost in one turn: bytes, and time, because what runs first runs slowest. */
const TURN_COST = 256 * 1024;
const TURN_MICROS = 3000;
/** How long clients with full queues are left alone, milliseconds. */
const PAUSE_MS = 10;

/** Shares turns of the event loop out among the clients that have much to join or to be sent: each gets a piece in turn. */
export class Backlog {
  readonly #clock: Clock;
  readonly #tasks = new Set<Task>();
  #scheduled = false;
  readonly #run = () => this.#turn();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#tasks.size;
  }

  add(task: Task): void {
    if (!task.pending) return;
    this.#tasks.add(task);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#run);
  }

  #turn(): void {
    this.#scheduled = false;
    let cost = 0;
    let waiting = 0;
    const end = this.#clock.now() + TURN_MICROS;
    while (cost < TURN_COST && waiting < this.#tasks.size && this.#clock.now() < end) {
      const task = this.#tasks.values().next().value as Task;
      this.#tasks.delete(task);
      const spent = this.#step(task);
      cost += Math.max(spent, 1);
      waiting = spent === 0 ? waiting + 1 : 0;
      // A task that failed is not tried again.
      if (spent >= 0 && task.pending) this.#tasks.add(task);
    }
    if (this.#tasks.size === 0 || this.#scheduled) return;
    this.#scheduled = true;
    if (waiting > 0) setTimeout(this.#run, PAUSE_MS);
    else setImmediate(this.#run);
  }

  #step(task: Task): number {
    try {
      return task.pending ? task.step() : 0;
    } catch (error) {
      task.failed(error);
      return -1;
    }
  }
}
