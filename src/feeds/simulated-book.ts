import type { LevelList } from "../market/sink.ts";
import type { Liquidity } from "./simulated-liquidity.ts";
import { BID } from "./simulated-liquidity.ts";
import type { Scale } from "./simulated-profiles.ts";

/** One side of a book as it was last sent, best first, so that the next message can say what changed. */
export class SentSide {
  readonly #side: number;
  readonly #liquidity: Liquidity;
  readonly #scale: Scale;
  /** Prices in ticks away from zero in the direction of worse: negative for bids, so both sides ascend. */
  #places = new Float64Array(128);
  #lots = new Float64Array(128);
  #count = 0;
  #nextPlaces = new Float64Array(128);
  #nextLots = new Float64Array(128);

  constructor(side: number, liquidity: Liquidity, scale: Scale) {
    this.#side = side;
    this.#liquidity = liquidity;
    this.#scale = scale;
  }

  /** Takes the book as it is now; what changed since last time is left in the list. */
  update(changes: LevelList): void {
    const count = this.#read();
    changes.count = 0;
    let old = 0;
    let now = 0;
    while (old < this.#count || now < count) {
      const gone = old < this.#count ? this.#places[old] : Number.POSITIVE_INFINITY;
      const here = now < count ? this.#nextPlaces[now] : Number.POSITIVE_INFINITY;
      if (gone < here) {
        this.#push(changes, gone, 0);
        old += 1;
        continue;
      }
      if (gone > here || this.#lots[old] !== this.#nextLots[now]) this.#push(changes, here, this.#nextLots[now]);
      if (gone === here) old += 1;
      now += 1;
    }
    [this.#places, this.#nextPlaces] = [this.#nextPlaces, this.#places];
    [this.#lots, this.#nextLots] = [this.#nextLots, this.#lots];
    this.#count = count;
  }

  /** The whole side as it was last sent. */
  copyTo(levels: LevelList): void {
    levels.count = 0;
    for (let at = 0; at < this.#count; at += 1) this.#push(levels, this.#places[at], this.#lots[at]);
  }

  #push(levels: LevelList, place: number, lots: number): void {
    levels.push(this.#scale.price(Math.abs(place)), this.#scale.size(lots));
  }

  /** Reads the side's levels into the next arrays; returns how many there are. */
  #read(): number {
    const side = this.#side;
    const liquidity = this.#liquidity;
    const direction = side === BID ? -1 : 1;
    let count = 0;
    for (let tick = liquidity.touch[side]; tick !== 0; tick = liquidity.outward(side, tick)) {
      const lots = liquidity.lots(side, tick);
      if (lots === 0) continue;
      if (count === this.#nextPlaces.length) this.#grow();
      this.#nextPlaces[count] = tick * direction;
      this.#nextLots[count] = lots;
      count += 1;
    }
    return count;
  }

  #grow(): void {
    const places = new Float64Array(2 * this.#nextPlaces.length);
    const lots = new Float64Array(places.length);
    places.set(this.#nextPlaces);
    lots.set(this.#nextLots);
    this.#nextPlaces = places;
    this.#nextLots = lots;
  }
}
