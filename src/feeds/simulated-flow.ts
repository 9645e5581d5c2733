import { SIDE_BUY, SIDE_SELL } from "../market/sink.ts";
import { Draws, mix } from "./simulated-noise.ts";
import type { Profile } from "./simulated-profiles.ts";

/** Every slot has an order in its middle half, so two orders are never further apart than one and a half slots. */
const SLOT_MICROS = 400e3;
const SHORTEST_SLOT_MICROS = 20e3;
/** Orders that a slot is made for where there are many. */
const SLOT_ORDERS = 24;
/** An order draws this many others after it, on average, each drawing in turn, until the slot's length has passed. */
const BRANCHING = 0.3;
const FOLLOW_MICROS = 60e3;
const LARGEST_CLUSTER = 12;
/** How often a follower trades in the same direction. */
const SAME_SIDE = 0.85;
const SIZE_SIGMA = 1.2;
/** Share of a perpetual's orders that a liquidation sends. */
const LIQUIDATED = 0.008;

/** Fields of an order in the flow's list. */
const WIDTH = 4;
const TIME = 0;
const SIDE = 1;
const LOTS = 2;
const IS_LIQUIDATION = 3;

/**
 * The market orders of one instrument, by time: a Hawkes process in its form of clusters. Orders that come by
 * themselves fall into slots, each draws followers soon after it, most of them on its own side. What a slot holds is a
 * function of its number, so the flow can be entered anywhere.
 */
export class OrderFlow {
  readonly #key: number;
  readonly #orderLots: number;
  readonly #liquidations: boolean;
  readonly #slotMicros: number;
  readonly #followMicros: number;
  /** Orders by themselves in a slot, beside the one that is always there. */
  readonly #more: number;
  readonly #draws = new Draws();
  #orders = new Float64Array(16 * WIDTH);
  #count = 0;
  #next = 0;
  #slot = 0;

  constructor(key: number, profile: Profile) {
    this.#key = key;
    this.#orderLots = profile.orderLots;
    this.#liquidations = profile.marketType === "perp";
    // Orders that come by themselves: what is left after followers.
    const perSecond = profile.tradesPerSecond * (1 - BRANCHING);
    const longest = Math.max(SLOT_MICROS, 1e6 / perSecond);
    this.#slotMicros = Math.round(Math.max(SHORTEST_SLOT_MICROS, Math.min(longest, (SLOT_ORDERS * 1e6) / perSecond)));
    this.#followMicros = Math.min(FOLLOW_MICROS, this.#slotMicros / 6);
    this.#more = Math.max(0, (perSecond * this.#slotMicros) / 1e6 - 1);
  }

  get time(): number {
    return this.#orders[this.#next + TIME];
  }

  get side(): number {
    return this.#orders[this.#next + SIDE];
  }

  get lots(): number {
    return this.#orders[this.#next + LOTS];
  }

  get liquidation(): boolean {
    return this.#orders[this.#next + IS_LIQUIDATION] === 1;
  }

  /** Goes to the first order that is not before a time. */
  seek(time: number): void {
    this.#count = 0;
    this.#next = 0;
    this.#slot = Math.floor(time / this.#slotMicros) - 1;
    this.#draw();
    this.#enter();
    while (this.time < time) this.advance();
  }

  /** Goes to the next order; there always is one. */
  advance(): void {
    this.#next += WIDTH;
    if (this.#next >= this.#count || this.#orders[this.#next + TIME] >= (this.#slot + 1) * this.#slotMicros)
      this.#enter();
  }

  /** Goes to the next slot; followers that the last one sent into it are in the list already. */
  #enter(): void {
    this.#orders.copyWithin(0, this.#next, this.#count);
    this.#count -= Math.min(this.#next, this.#count);
    this.#next = 0;
    this.#slot += 1;
    this.#draw();
  }

  /** Adds the orders of the slot, and their followers. */
  #draw(): void {
    const draws = this.#draws;
    draws.start(mix(this.#key, this.#slot));
    const born = this.#slot * this.#slotMicros;
    const alone = 1 + draws.poisson(this.#more);
    for (let order = 0; order < alone; order += 1) {
      const along = order === 0 ? 0.25 + 0.5 * draws.next() : draws.next();
      let time = born + Math.floor(along * this.#slotMicros);
      const end = time + this.#slotMicros;
      let side = draws.next() < 0.5 ? SIDE_BUY : SIDE_SELL;
      for (let member = 0; member < LARGEST_CLUSTER && time < end; member += 1) {
        const lots = Math.max(1, Math.round(this.#orderLots * Math.exp(SIZE_SIGMA * draws.normal())));
        const liquidation = this.#liquidations && draws.next() < LIQUIDATED ? 1 : 0;
        this.#insert(time, side, lots, liquidation);
        if (draws.next() >= BRANCHING) break;
        time += Math.ceil(draws.exponential(this.#followMicros));
        if (draws.next() >= SAME_SIDE) side = side === SIDE_BUY ? SIDE_SELL : SIDE_BUY;
      }
    }
  }

  /** Keeps the list in order of time; it is short. */
  #insert(time: number, side: number, lots: number, liquidation: number): void {
    if (this.#count === this.#orders.length) {
      const larger = new Float64Array(2 * this.#orders.length);
      larger.set(this.#orders);
      this.#orders = larger;
    }
    const orders = this.#orders;
    let at = this.#count;
    for (; at > 0 && orders[at - WIDTH + TIME] > time; at -= WIDTH) orders.copyWithin(at, at - WIDTH, at);
    orders[at + TIME] = time;
    orders[at + SIDE] = side;
    orders[at + LOTS] = lots;
    orders[at + IS_LIQUIDATION] = liquidation;
    this.#count += WIDTH;
  }
}
