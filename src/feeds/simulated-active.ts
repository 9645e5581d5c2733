import type { SimulatedMarket } from "./simulated-market.ts";

/**
 * The markets that are subscribed to. When each has something to do next is kept side by side, because looking into
 * ten thousand markets fifty times a second to find nothing took an eighth of a core.
 */
export class ActiveMarkets {
  #markets: SimulatedMarket[] = [];
  #due = new Float64Array(16);
  #leaving = false;

  get any(): boolean {
    return this.#markets.some((market) => market.active);
  }

  get all(): readonly SimulatedMarket[] {
    return this.#markets;
  }

  /** Adds a market, or notes that it may have something to do sooner than it had. */
  touch(market: SimulatedMarket): void {
    let at = market.activeAt;
    if (at < 0) {
      at = this.#markets.length;
      market.activeAt = at;
      this.#markets.push(market);
      if (at === this.#due.length) {
        const larger = new Float64Array(2 * at);
        larger.set(this.#due);
        this.#due = larger;
      }
    }
    this.#due[at] = 0;
  }

  /** A market has nothing subscribed any more; it leaves at the next tick, with all others that do. */
  remove(market: SimulatedMarket): void {
    if (market.activeAt >= 0 && !market.active) this.#leaving = true;
  }

  /** Lives through one tick. */
  tick(from: number, until: number): void {
    if (this.#leaving) this.#leave();
    for (let at = 0; at < this.#markets.length; at += 1) {
      if (this.#due[at] >= until) continue;
      const market = this.#markets[at];
      market.tick(from, until);
      this.#due[at] = market.dueTime;
    }
  }

  /** The others keep their order, so that the same calls give the same order of messages. */
  #leave(): void {
    this.#leaving = false;
    for (const market of this.#markets) market.activeAt = -1;
    this.#markets = this.#markets.filter((market) => market.active);
    for (const [at, market] of this.#markets.entries()) market.activeAt = at;
    this.#due.fill(0);
  }

  /** Goes to a time without living through what lies between. */
  skipTo(time: number): void {
    for (const market of this.#markets) market.skipTo(time);
    this.#due.fill(0);
  }

  rejoin(): void {
    for (const market of this.#markets) market.rejoin();
  }
}
