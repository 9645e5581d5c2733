import { SIDE_BUY } from "../market/sink.ts";
import { OrderFlow } from "./simulated-flow.ts";
import { ASK, BID, BOOK_CYCLE_MICROS, Liquidity } from "./simulated-liquidity.ts";
import { mix, mixText } from "./simulated-noise.ts";
import type { Profile } from "./simulated-profiles.ts";

/** Levels that one order trades with at most; the rest of it is cancelled. */
const MAX_FILLS = 8;

/**
 * What one instrument trades on one venue, in order of time: orders meeting the book. It is a function of the seed and
 * of time alone; it can be entered anywhere, and history is what would have been seen live.
 */
export class Tape {
  /** The trade that `next` came to; its price in ticks. */
  tick = 0;
  lots = 0;
  /** The aggressor's. */
  side = 0;
  liquidation = false;
  readonly #time = new Float64Array(1);
  readonly liquidity: Liquidity;
  readonly #flow: OrderFlow;
  /** What the order at hand still wants, and how often it traded. */
  #left = 0;
  #fills = 0;

  constructor(profile: Profile, seed: number, venue: string) {
    this.liquidity = new Liquidity(profile, seed, venue);
    this.#flow = new OrderFlow(mix(mixText(mixText(seed, venue), profile.symbol), 5), profile);
  }

  /** Time of the trade, microseconds. */
  get time(): number {
    return this.#time[0];
  }

  /** When the next order comes. */
  get nextTime(): number {
    return this.#left > 0 ? this.#time[0] : this.#flow.time;
  }

  /** Goes to a time: what was taken from the book in its cycle so far is found by trading it again. */
  seek(time: number): void {
    this.#left = 0;
    this.#flow.seek(Math.floor(time / BOOK_CYCLE_MICROS) * BOOK_CYCLE_MICROS);
    while (this.next(time));
    this.liquidity.moveTo(time);
  }

  /** Goes to the next trade before a time; false when there is none. */
  next(until: number): boolean {
    const flow = this.#flow;
    if (this.#left === 0) {
      if (flow.time >= until) return false;
      this.#time[0] = flow.time;
      this.side = flow.side;
      this.liquidation = flow.liquidation;
      this.#left = flow.lots;
      this.#fills = 0;
      flow.advance();
      this.liquidity.moveTo(this.#time[0]);
    }
    this.#fill();
    return true;
  }

  #fill(): void {
    const side = this.side === SIDE_BUY ? ASK : BID;
    const best = this.liquidity.best(side);
    // An eaten-up side still trades, with an order that the book did not show: no instrument falls silent.
    this.tick = best === 0 ? this.liquidity.touch[side] : best;
    this.lots = best === 0 ? this.#left : Math.min(this.#left, this.liquidity.lots(side, best));
    if (best !== 0) this.liquidity.take(best, this.lots);
    this.#fills += 1;
    this.#left = this.#fills === MAX_FILLS ? 0 : this.#left - this.lots;
  }
}
