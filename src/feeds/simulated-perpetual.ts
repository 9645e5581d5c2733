import { FUNDING_RATE, INDEX, MARK, NEXT_FUNDING, OPEN_INTEREST } from "../market/sink.ts";
import { Liquidity } from "./simulated-liquidity.ts";
import type { Profile } from "./simulated-profiles.ts";
import { PROFILES, Scale } from "./simulated-profiles.ts";

const FUNDING_MICROS = 8 * 3600e6;
/** What a perpetual pays with no premium at all, and how much of a premium comes on top, in eight hours. */
const BASE_RATE = 1e-4;
const PREMIUM_SHARE = 0.1;
const OPEN_INTEREST_LOTS = 4.2e9;

/** What a perpetual has beside a spot instrument: mark, index, funding, open interest. */
export class Perpetual {
  readonly #liquidity: Liquidity;
  readonly #index: Liquidity;
  readonly #scale: Scale;

  constructor(profile: Profile, liquidity: Liquidity, seed: number) {
    const spot = PROFILES.find(
      ({ base, quote, settle }) => base === profile.base && quote === profile.quote && !settle,
    );
    this.#liquidity = liquidity;
    // A venue of its own, as an index is: near all venues' prices and equal to none.
    this.#index = new Liquidity(spot ?? profile, seed, "index");
    this.#scale = new Scale(profile);
  }

  static clear(numbers: Float64Array): void {
    numbers[MARK] = Number.NaN;
    numbers[INDEX] = Number.NaN;
    numbers[OPEN_INTEREST] = Number.NaN;
  }

  load(time: number, numbers: Float64Array): void {
    const mark = Math.round(this.#liquidity.price(time));
    const index = Math.round(this.#index.price(time));
    numbers[MARK] = this.#scale.price(mark);
    numbers[INDEX] = this.#scale.price(index);
    numbers[FUNDING_RATE] = Math.round((BASE_RATE + PREMIUM_SHARE * (mark / index - 1)) * 1e8) / 1e8;
    numbers[NEXT_FUNDING] = (Math.floor(time / FUNDING_MICROS) + 1) * FUNDING_MICROS;
    const swing = 0.03 * Math.sin(time / FUNDING_MICROS);
    numbers[OPEN_INTEREST] = this.#scale.size(Math.round(OPEN_INTEREST_LOTS * (1 + swing)));
  }
}
