import { hashText, SeededSequence } from "./seed.ts";
import type { FirstTrade, Frame, Level, Tape, VenueEvent } from "./tape.ts";

/** Levels a side, without holes: a level that leaves the best end comes back at the far end. */
const LEVELS = 200;
/** How deep below the best a change may strike. */
const BUSY_LEVELS = 25;
const WIDEST_SPREAD = 8;

type Side = "bid" | "ask";

/** One simulated symbol: a ladder of whole ticks around a wandering price, and its own counters of ids. */
class Ladder {
  updateId = 10_000_000;
  tradeId = 1_000;
  sentId = this.updateId;
  readonly sizes = { bid: new Map<number, number>(), ask: new Map<number, number>() };
  /** What has changed since the last depth event. */
  readonly changed = { bid: new Set<number>(), ask: new Set<number>() };
  best: Record<Side, number>;

  constructor(
    readonly symbol: string,
    readonly decimals: number,
    readonly printedDecimals: number,
    readonly random: SeededSequence,
  ) {
    const middle = 20_000 + random.below(2_000_000);
    this.best = { bid: middle, ask: middle + 1 };
    for (let depth = 0; depth < LEVELS; depth++) {
      this.sizes.bid.set(this.best.bid - depth, this.#size());
      this.sizes.ask.set(this.best.ask + depth, this.#size());
    }
  }

  /** Moves, or resizes, one level; each change takes the next update id. */
  change(): void {
    const side: Side = this.random.below(2) === 0 ? "bid" : "ask";
    const inward = side === "bid" ? 1 : -1;
    const spread = this.best.ask - this.best.bid;
    const roll = this.random.below(10);
    this.updateId++;
    if (spread > 1 && (roll < 2 || spread >= WIDEST_SPREAD)) {
      this.#put(side, this.best[side] + inward, this.#size());
      this.#put(side, this.best[side] - inward * (LEVELS - 1), 0);
      this.best[side] += inward;
    } else if (roll < 4 && spread < WIDEST_SPREAD && this.best.bid > LEVELS * 2) {
      this.#put(side, this.best[side], 0);
      this.#put(side, this.best[side] - inward * LEVELS, this.#size());
      this.best[side] -= inward;
    } else {
      this.#put(side, this.best[side] - inward * this.random.below(BUSY_LEVELS), this.#size());
    }
  }

  trade(timeMs: number): VenueEvent {
    const buyerIsMaker = this.random.below(2) === 0;
    const price = this.price(buyerIsMaker ? this.best.bid : this.best.ask);
    const size = lots(1 + this.random.below(50_000));
    const best = { bid: this.#best("bid"), ask: this.#best("ask") };
    return { type: "trade", symbol: this.symbol, id: ++this.tradeId, timeMs, price, size, buyerIsMaker, best };
  }

  quote(timeMs: number): VenueEvent {
    this.change();
    const [bid, ask] = [this.#best("bid"), this.#best("ask")];
    return { type: "quote", symbol: this.symbol, id: this.updateId, timeMs, bid, ask };
  }

  /** Ends at the id of the last quote wherever nothing changed since: there the two must show the same best prices. */
  depth(timeMs: number): VenueEvent {
    if (this.sentId === this.updateId) this.change();
    const firstId = this.sentId + 1;
    this.sentId = this.updateId;
    const [bids, asks] = [this.#takeChanged("bid"), this.#takeChanged("ask")];
    return { type: "depth", symbol: this.symbol, firstId, lastId: this.updateId, timeMs, bids, asks };
  }

  snapshot(): VenueEvent {
    const levels = (side: Side): Level[] => [...this.sizes[side]].map(([tick, size]) => [this.price(tick), lots(size)]);
    return { type: "snapshot", symbol: this.symbol, lastId: this.updateId, bids: levels("bid"), asks: levels("ask") };
  }

  price(tick: number): string {
    return (tick / 10 ** this.decimals).toFixed(this.printedDecimals);
  }

  #best(side: Side): Level {
    const tick = this.best[side];
    return [this.price(tick), lots(this.sizes[side].get(tick)!)];
  }

  #takeChanged(side: Side): Level[] {
    const levels = [...this.changed[side]].map(
      (tick): Level => [this.price(tick), lots(this.sizes[side].get(tick) ?? 0)],
    );
    this.changed[side].clear();
    return levels;
  }

  #put(side: Side, tick: number, size: number): void {
    if (size === 0) this.sizes[side].delete(tick);
    else this.sizes[side].set(tick, size);
    this.changed[side].add(tick);
  }

  #size(): number {
    return 1 + this.random.below(500_000);
  }
}

function lots(size: number): string {
  return (size / 1e4).toFixed(8);
}

export interface MarketOptions {
  symbols: { symbol: string; decimals: number; printedDecimals: number }[];
  seed: number;
  /** Messages a second over all symbols. */
  rate: number;
  messages: number;
  startMs: number | undefined;
  mix: { trade: number; bookTicker: number; depth: number };
  encode(event: VenueEvent, atMs: number): Frame[];
}

/**
 * A market made up from a seed, as a tape: the same seed and start give the same bytes. Frame i is due i / rate
 * seconds after the start and carries that due time as its event time, so that a receiver's delay is counted from
 * the moment at which it should have been sent.
 */
export class SimulatedMarket implements Tape {
  readonly length: number;
  readonly symbols: string[];
  readonly firstTrades: Map<string, FirstTrade>;
  firstTimeMs: number;
  readonly #ladders: Ladder[];
  readonly #random: SeededSequence;
  readonly #wheel: ("trade" | "bookTicker" | "depth")[];
  #due: Frame[] = [];
  #index = 0;

  constructor(readonly options: MarketOptions) {
    const { symbols, seed, messages, startMs, mix } = options;
    this.length = messages;
    this.symbols = symbols.map(({ symbol }) => symbol);
    this.firstTimeMs = startMs ?? Date.now();
    this.#random = new SeededSequence(seed);
    this.#wheel = (["trade", "bookTicker", "depth"] as const).flatMap((kind) => Array(mix[kind]).fill(kind));
    if (this.#wheel.length === 0) throw new Error("the mix needs at least one share of trade, bookTicker or depth");
    this.#ladders = symbols.map(({ symbol, decimals, printedDecimals }) => {
      return new Ladder(symbol, decimals, printedDecimals, new SeededSequence(hashText(seed, symbol)));
    });
    const { firstTimeMs: timeMs } = this;
    this.firstTrades = new Map(
      this.#ladders.map((each) => [each.symbol, { timeMs, price: each.price(each.best.bid) }]),
    );
    this.#due = this.#ladders.flatMap((ladder) => options.encode(ladder.snapshot(), timeMs));
  }

  begin(wallMs: number): void {
    if (this.options.startMs === undefined) this.firstTimeMs = wallMs;
    for (const frame of this.#due) frame.atMs = this.firstTimeMs;
  }

  next(): Frame | undefined {
    while (this.#due.length === 0) {
      if (this.#index >= this.length) return undefined;
      const atMs = this.firstTimeMs + (this.#index++ * 1000) / this.options.rate;
      const ladder = this.#ladders[this.#random.below(this.#ladders.length)]!;
      this.#due = this.options.encode(this.#event(ladder, Math.floor(atMs)), atMs);
    }
    return this.#due.shift();
  }

  #event(ladder: Ladder, timeMs: number): VenueEvent {
    const kind = this.#wheel[this.#random.below(this.#wheel.length)]!;
    if (kind === "trade") return ladder.trade(timeMs);
    return kind === "depth" ? ladder.depth(timeMs) : ladder.quote(timeMs);
  }
}
