import type { Liquidity } from "./simulated-liquidity.ts";
import { mixText, unit } from "./simulated-noise.ts";
import type { Profile } from "./simulated-profiles.ts";

const HOUR_MICROS = 3600e6;
const DAY_MICROS = 24 * HOUR_MICROS;
const SAMPLE_MICROS = 600e6;
/** Mean of the sizes that orders draw, over their median. */
const MEAN_OVER_MEDIAN = 2;

/**
 * What the ticker says of the last 24 hours. Trading a whole day again would take seconds, so high and low come from
 * the price at every tenth minute, widened by what was traded since, and the volume is what the rates come to.
 */
export class SimulatedDay {
  high = 0;
  low = Number.POSITIVE_INFINITY;
  readonly #liquidity: Liquidity;
  readonly #lotsPerDay: number;
  readonly #phase: number;
  #sampledAt = -1;

  constructor(profile: Profile, liquidity: Liquidity, seed: number) {
    this.#liquidity = liquidity;
    this.#lotsPerDay = profile.orderLots * MEAN_OVER_MEDIAN * profile.tradesPerSecond * 86_400;
    this.#phase = unit(mixText(seed, profile.symbol));
  }

  /** Widens the day's range by a trade. */
  note(tick: number): void {
    if (tick > this.high) this.high = tick;
    if (tick < this.low) this.low = tick;
  }

  /** Samples the day anew where an hour has passed; `last` is the last trade's price in ticks. */
  refresh(time: number, last: number): void {
    const hour = Math.floor(time / HOUR_MICROS);
    if (hour !== this.#sampledAt) {
      this.#sampledAt = hour;
      this.high = 0;
      this.low = Number.POSITIVE_INFINITY;
      const newest = Math.floor(time / SAMPLE_MICROS) * SAMPLE_MICROS;
      for (let at = newest; at > time - DAY_MICROS; at -= SAMPLE_MICROS) {
        this.note(Math.round(this.#liquidity.price(at)));
      }
    }
    this.note(last);
  }

  volumeLots(time: number): number {
    const swing = 0.2 * Math.sin(2 * Math.PI * (time / DAY_MICROS + this.#phase));
    return Math.round(this.#lotsPerDay * (1 + swing));
  }
}
