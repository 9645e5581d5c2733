import { SIDE_BUY } from "../market/sink.ts";
import { TIMEFRAME_MICROS } from "../market/timeframe.ts";
import { mergeRows, packRows } from "./history.ts";
import type { Profile } from "./simulated-profiles.ts";
import { Scale } from "./simulated-profiles.ts";
import { Tape } from "./simulated-tape.ts";

const SECOND_MICROS = 1e6;
const HOUR_MICROS = 3600e6;
/** History begins on a whole quarter, so that its first bars of up to 15 minutes are whole. */
const QUARTER_MICROS = 900e6;

/** Fields of a row of history: see HISTORY_ROW. */
const OPEN = 1;
const HIGH = 2;
const LOW = 3;
const CLOSE = 4;
const VOLUME = 5;
const QUOTE_VOLUME = 6;
const BUY_VOLUME = 7;
const COUNT = 8;

/**
 * Bars of the last hour up to a time, in all timeframes, made of the very trades that would have been seen live. A
 * wider bar is the sum of the narrower ones; one that began before the hour is not whole and is left out.
 */
export class SimulatedHistory {
  readonly #scale: Scale;
  readonly #seconds: number[][];

  /** `until` in microseconds; a trade at that time is live already. */
  constructor(profile: Profile, seed: number, venue: string, until: number) {
    this.#scale = new Scale(profile);
    const from = Math.floor((until - HOUR_MICROS) / QUARTER_MICROS) * QUARTER_MICROS;
    this.#seconds = secondsOf(new Tape(profile, seed, venue), from, until);
  }

  /** The last bars of a timeframe, as the sink takes them. */
  bars(timeframe: number, count: number): Float64Array {
    const rows = mergeRows(this.#seconds, TIMEFRAME_MICROS[timeframe]);
    return packRows(
      rows.slice(-count).map((row) => this.#priced(row)),
      count,
    );
  }

  /** Added up in ticks and lots, which is exact, and turned into prices and sizes at the end. */
  #priced(row: readonly number[]): number[] {
    const scale = this.#scale;
    return [
      row[0],
      scale.price(row[OPEN]),
      scale.price(row[HIGH]),
      scale.price(row[LOW]),
      scale.price(row[CLOSE]),
      scale.size(row[VOLUME]),
      scale.price(scale.size(row[QUOTE_VOLUME])),
      scale.size(row[BUY_VOLUME]),
      row[COUNT],
    ];
  }
}

function secondsOf(tape: Tape, from: number, until: number): number[][] {
  const rows: number[][] = [];
  let row: number[] = [];
  tape.seek(from);
  while (tape.next(until)) {
    const { tick, lots, time } = tape;
    const opened = time - (time % SECOND_MICROS);
    if (row[0] !== opened) {
      row = [opened, tick, tick, tick, tick, 0, 0, 0, 0];
      rows.push(row);
    }
    if (tick > row[HIGH]) row[HIGH] = tick;
    if (tick < row[LOW]) row[LOW] = tick;
    row[CLOSE] = tick;
    row[VOLUME] += lots;
    row[QUOTE_VOLUME] += tick * lots;
    if (tape.side === SIDE_BUY) row[BUY_VOLUME] += lots;
    row[COUNT] += 1;
  }
  return rows;
}
