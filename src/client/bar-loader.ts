import type { TimerHandle } from "../std/timers.ts";
import type { BarHistory } from "./bar-history.ts";
import type { BarMerge } from "./bar-merge.ts";
import { TickwireError } from "./errors.ts";
import type { ClientParts } from "./tickwire.ts";

/** The first wait for a bar, each one twice as long; and when the rest of a history that is short is asked for again, milliseconds. */
const WARMING_MS = 100;
const REFRESH_MS = [2_000, 10_000];

/** Has the history of a series fetched: at its beginning, after a gap, and again when it did not come. */
export class BarLoader {
  isEnded = false;
  readonly #parts: ClientParts;
  /** What the history goes into: another one once the meaning of indicators is known. */
  readonly #merge: () => BarMerge;
  readonly #read: () => Promise<BarHistory>;
  readonly #loaded: (changed: number) => void;
  /** Servers so far: an answer of an earlier one is of no use. */
  #generation = 0;
  /** A history that did not come; true when it is to take the place of all that is there. */
  #owed: boolean | undefined;
  /** What is done after a while, or at once when the series ends before. */
  readonly #waiting = new Map<TimerHandle, () => void>();

  /** `loaded` is told how many bars are new, or other than what was there. */
  constructor(
    parts: ClientParts,
    merge: () => BarMerge,
    read: () => Promise<BarHistory>,
    loaded: (changed: number) => void,
  ) {
    this.#parts = parts;
    this.#merge = merge;
    this.#read = read;
    this.#loaded = loaded;
  }

  /** Fetches the history; what has come meanwhile is newer, and stays. */
  async #load(isWhole = false): Promise<void> {
    const merge = this.#merge();
    const fetch = merge.begin();
    const generation = this.#generation;
    try {
      const history = await this.#read();
      if (generation !== this.#generation) return;
      const changed = merge.end(fetch, history, isWhole);
      if (changed > 0) this.#loaded(changed);
    } finally {
      merge.abandon(fetch);
    }
  }

  /**
   * Waits for a first bar: a series that nobody had asked for is fetched from its venue by the server just now. What of
   * its history comes later still is asked for again.
   */
  async warm(waitMs: number, limit: number): Promise<void> {
    const merge = this.#merge();
    const { table } = merge;
    await this.#load();
    const mostMs = this.#parts.isJournal ? 0 : waitMs;
    for (let waited = 0, delayMs = WARMING_MS; table.count === 0 && waited < mostMs; delayMs *= 2) {
      await new Promise<void>((resolve) => this.#after(delayMs, resolve));
      if (this.isEnded) throw new TickwireError("closed", "the client was closed");
      waited += delayMs;
      await this.#load();
    }
    merge.warm();
    if (table.count === limit || this.#parts.isJournal) return;
    for (const afterMs of REFRESH_MS) {
      this.#after(afterMs, () => {
        if (!this.isEnded && table.count < limit) this.refresh();
      });
    }
  }

  #after(delayMs: number, act: () => void): void {
    const timer = this.#parts.timers.setTimeout(() => {
      this.#waiting.delete(timer);
      act();
    }, delayMs);
    this.#waiting.set(timer, act);
  }

  /** What does not come is asked for again when the next bar closes, or the connection is there again. */
  refresh(isWhole = false): void {
    // What is fetched of a journal is what the program is yet to see.
    if (this.#parts.isJournal) return;
    const whole = isWhole || this.#owed === true;
    this.#owed = undefined;
    this.#load(whole).catch((cause: unknown) => {
      if (this.isEnded) return;
      this.#owed = whole || this.#owed === true;
      const isTold = cause instanceof TickwireError;
      this.#parts.failed(isTold ? cause : new TickwireError("unavailable", `no history: ${String(cause)}`, { cause }));
    });
  }

  get isOwed(): boolean {
    return this.#owed !== undefined;
  }

  /** The server is another one: all is fetched from it. */
  begin(): void {
    this.#generation += 1;
    this.refresh(true);
  }

  /** What has not come yet comes too late. */
  end(): void {
    this.isEnded = true;
    this.#generation += 1;
    for (const [timer, act] of this.#waiting) {
      this.#parts.timers.clearTimeout(timer);
      act();
    }
    this.#waiting.clear();
  }
}
