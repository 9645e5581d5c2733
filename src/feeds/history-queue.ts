import { TIMEFRAME_COUNT } from "../market/timeframe.ts";

/** Requests under way at once. Few: a book's snapshot stands in the same line, and must not wait behind thousands. */
const MAX_UNDER_WAY = 4;

/** Loads the last bars of a series; settles when that is done, or has failed, and never rejects. */
export type LoadHistory = (instrument: number, timeframe: number, bars: number) => Promise<void>;

/**
 * The history that is still to be fetched, in the order in which it was asked for; each series once, with the most bars
 * that anybody asked for. Opening thousands of instruments asks for five times as many, which take minutes.
 */
export class HistoryQueue {
  readonly #load: LoadHistory;
  /** Bars by series, instrument * TIMEFRAME_COUNT + timeframe. */
  readonly #wanted = new Map<number, number>();
  readonly #underWay = new Set<number>();
  #closed = false;

  constructor(load: LoadHistory) {
    this.#load = load;
  }

  /** Series that wait or are under way. */
  get size(): number {
    return this.#wanted.size + this.#underWay.size;
  }

  /** Asks for a series, unless it is being fetched already. */
  add(instrument: number, timeframe: number, bars: number): void {
    const series = instrument * TIMEFRAME_COUNT + timeframe;
    if (bars <= 0 || this.#closed || this.#underWay.has(series)) return;
    this.#wanted.set(series, Math.max(bars, this.#wanted.get(series) ?? 0));
    this.#pump();
  }

  #pump(): void {
    for (const [series, bars] of this.#wanted) {
      if (this.#underWay.size >= MAX_UNDER_WAY) return;
      this.#wanted.delete(series);
      this.#underWay.add(series);
      const instrument = Math.floor(series / TIMEFRAME_COUNT);
      void this.#load(instrument, series % TIMEFRAME_COUNT, bars).then(() => {
        this.#underWay.delete(series);
        this.#pump();
      });
    }
  }

  /** Fetches no more. */
  close(): void {
    this.#closed = true;
    this.#wanted.clear();
  }
}
