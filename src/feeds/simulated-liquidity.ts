import { mix, mixText, NORMALS, Path, unit } from "./simulated-noise.ts";
import type { Profile } from "./simulated-profiles.ts";
import { OTHER_SIGMA, SIGMAS } from "./simulated-profiles.ts";

/** What orders took from the book comes back at the latest when a cycle ends: every step divides it. */
export const BOOK_CYCLE_MICROS = 400e3;
/** How far a venue's prices stray from the world's, as a standard deviation over a second. */
const VENUE_SIGMA = 1e-6;
/** Levels that can be eaten into at once; what is taken beyond them was hidden and leaves no trace. */
const MAX_EATEN = 64;
/** No level is further from the touch than this share of the price. */
const WIDEST = 0.3;
const FAR_SPACING = 10;
const REMOTE_SPACING = 100;

/** Sides of a book. */
export const BID = 0;
export const ASK = 1;

/** Sizes of levels, as multiples of their median, by rank. */
const SIZES = NORMALS.map((normal) => Math.exp(normal));

/**
 * One instrument's book on one venue as a function of time: the touch follows the price in steps, each level's size is
 * a hash of its price and of the period it is in, less what orders took since the cycle began.
 */
export class Liquidity {
  /** The best prices, in ticks, before anything was taken. */
  readonly touch = new Int32Array(2);
  /** How far from the touch the sides reach, in ticks. */
  readonly #reach = new Int32Array(2);
  readonly #profile: Profile;
  readonly #paths: Path[];
  readonly #ticks: number;
  readonly #spreadKey: number;
  readonly #sideKeys: readonly [number, number];
  #step = -1;
  #cycle = -1;
  readonly #eatenTicks = new Float64Array(MAX_EATEN);
  readonly #eatenLots = new Float64Array(MAX_EATEN);
  #eaten = 0;

  constructor(profile: Profile, seed: number, venue: string) {
    const key = mixText(mixText(seed, venue), profile.symbol);
    this.#profile = profile;
    // The named paths are the world's: the same on every venue.
    this.#paths = profile.factors.map(([name, weight]) => {
      return new Path(mixText(seed, name), (SIGMAS[name] ?? OTHER_SIGMA) * weight);
    });
    this.#paths.push(new Path(mix(key, 1), VENUE_SIGMA));
    this.#ticks = (profile.price * 10 ** profile.priceDecimals) / profile.tickUnits;
    this.#spreadKey = mix(key, 2);
    this.#sideKeys = [mix(key, 3), mix(key, 4)];
  }

  /** The price at a time, in ticks, not rounded. */
  price(time: number): number {
    let height = 0;
    for (const path of this.#paths) height += path.at(time);
    return this.#ticks * Math.exp(height);
  }

  /** The book becomes that of a time; false when that changes nothing. */
  moveTo(time: number): boolean {
    const step = Math.floor(time / this.#profile.stepMicros);
    if (step === this.#step) return false;
    this.#step = step;
    const cycle = Math.floor(time / BOOK_CYCLE_MICROS);
    if (cycle !== this.#cycle) this.#eaten = 0;
    this.#cycle = cycle;
    const price = this.price(step * this.#profile.stepMicros);
    const spread = 1 + Math.floor(unit(mix(this.#spreadKey, Math.floor(step / 7))) * this.#profile.spreadTicks);
    this.touch[BID] = Math.max(1, Math.floor(price - spread / 2));
    this.touch[ASK] = this.touch[BID] + spread;
    const remote = this.#profile.zones[2];
    this.#reach[BID] = Math.min(remote, Math.floor(this.touch[BID] * WIDEST));
    this.#reach[ASK] = Math.min(remote, Math.floor(this.touch[ASK] * WIDEST));
    return true;
  }

  /** The next price away from the touch that may have a level; 0 where the book ends. */
  outward(side: number, tick: number): number {
    const [near, far] = this.#profile.zones;
    const distance = Math.abs(tick - this.touch[side]);
    const spacing = distance < near ? 1 : distance < far ? FAR_SPACING : REMOTE_SPACING;
    const over = tick % spacing;
    const next = side === ASK ? tick - over + spacing : over === 0 ? tick - spacing : tick - over;
    return Math.abs(next - this.touch[side]) > this.#reach[side] ? 0 : next;
  }

  /** What is left at a price, in lots. */
  lots(side: number, tick: number): number {
    return Math.max(0, this.#offered(side, tick) - this.#taken(tick));
  }

  #offered(side: number, tick: number): number {
    const [near, far] = this.#profile.zones;
    const distance = Math.abs(tick - this.touch[side]);
    const hash = mix(this.#sideKeys[side], tick);
    let period = 4 + (hash & 15);
    let scale = distance === 0 ? 1 : 0.6;
    if (distance >= far) {
      period = 200 + (hash & 511);
      scale = 12;
    } else if (distance >= near) {
      period = 40 + (hash & 127);
      scale = 4;
    }
    const drawn = mix(hash, Math.floor((this.#step + (hash >>> 16)) / period));
    if ((drawn & 15) === 0 && distance > 0 && distance < far) return 0;
    const round = tick % 100 === 0 && distance < far ? 2 : 1;
    return Math.max(1, Math.round(SIZES[(drawn >>> 8) & 1023] * this.#profile.levelLots * scale * round));
  }

  #taken(tick: number): number {
    for (let at = 0; at < this.#eaten; at += 1) if (this.#eatenTicks[at] === tick) return this.#eatenLots[at];
    return 0;
  }

  take(tick: number, lots: number): void {
    let at = 0;
    while (at < this.#eaten && this.#eatenTicks[at] !== tick) at += 1;
    if (at === MAX_EATEN) return;
    if (at === this.#eaten) {
      this.#eaten += 1;
      this.#eatenTicks[at] = tick;
      this.#eatenLots[at] = 0;
    }
    this.#eatenLots[at] += lots;
  }

  /** The best price that has anything left; 0 when the side is empty. */
  best(side: number): number {
    let tick = this.touch[side];
    while (tick !== 0 && this.lots(side, tick) === 0) tick = this.outward(side, tick);
    return tick;
  }
}
