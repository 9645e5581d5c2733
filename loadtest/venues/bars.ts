import { hash32 } from "./seed.ts";
import type { FirstTrade, TradeEvent } from "./tape.ts";

/** Prices and volumes are whole numbers of 1e-8, so that bars of any interval add up exactly. */
export const UNITS = 1e8;

export interface Bar {
  openSecond: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  quoteVolume: number;
  trades: number;
  takerBuyVolume: number;
}

const MINUTE = 60;
const DAY = 86_400;
/** Invented history reaches back to here: bounds the work of the longest intervals to about 3 million minutes. */
const LISTED_SECOND = Date.UTC(2017, 7, 17) / 1000;

/** Value noise over minutes: period in minutes and share of the price. The long waves make the days differ. */
const WAVES: [periodMinutes: number, share: number][] = [
  [1, 0.0003],
  [17, 0.0015],
  [240, 0.006],
  [4_320, 0.03],
  [86_400, 0.2],
];
/** How far a second may stray from the line between its minute's open and close. */
const WOBBLE = 0.0001;

/**
 * One symbol's bars: what was traded in the tape so far, and before its first trade an invented history that ends at
 * that trade's price. The history is a function of time and seed alone, so every interval and every call agrees.
 */
export class BarSeries {
  readonly #firstSecond: number;
  readonly #firstPrice: number;
  readonly #tick: number;
  readonly #seed: number;
  readonly #level: number;
  /** Each wave remembers its cell: neighbouring minutes mostly share it, and a year of days asks for all of them. */
  readonly #waves: { period: number; share: number; seed: number; cell: number; from: number; to: number }[];
  readonly #seconds = new Map<number, Bar>();
  readonly #days = new Map<number, Bar>();

  constructor(first: FirstTrade, tick: number, seed: number) {
    this.#firstSecond = Math.floor(first.timeMs / 1000);
    this.#firstPrice = Math.round(Number(first.price) * UNITS);
    this.#tick = Math.max(1, Math.round(tick * UNITS));
    this.#seed = seed;
    this.#waves = WAVES.map(([period, share], i) => ({ period, share, seed: seed + i, cell: -1, from: 0, to: 0 }));
    this.#level = this.#noiseAt(this.#firstSecond);
  }

  add(trade: TradeEvent): void {
    const second = Math.floor(trade.timeMs / 1000);
    if (second < this.#firstSecond) return;
    const price = Math.round(Number(trade.price) * UNITS);
    const size = Math.round(Number(trade.size) * UNITS);
    const part = flat(second, price);
    part.volume = size;
    part.quoteVolume = (size / UNITS) * (price / UNITS);
    part.trades = 1;
    part.takerBuyVolume = trade.buyerIsMaker ? 0 : size;
    const bar = this.#seconds.get(second);
    if (bar === undefined) this.#seconds.set(second, part);
    else extend(bar, part);
  }

  /** The bar that opens at `from` and ends before `to`, out of everything known up to and including `nowSecond`. */
  bar(from: number, to: number, nowSecond: number): Bar | undefined {
    const end = Math.min(to, nowSecond + 1);
    if (from < LISTED_SECOND || from >= end) return undefined;
    let bar: Bar | undefined;
    for (let at = from; at < end; ) {
      const [part, length] = this.#part(at, end);
      at += length;
      if (part === undefined) continue;
      if (bar === undefined) bar = { ...part, openSecond: from };
      else extend(bar, part);
    }
    return bar ?? flat(from, this.#closeBefore(from));
  }

  #part(at: number, end: number): [Bar | undefined, number] {
    if (at >= this.#firstSecond) return [this.#seconds.get(at), 1];
    const known = Math.min(end, this.#firstSecond);
    if (at % DAY === 0 && at + DAY <= known) return [this.#day(at), DAY];
    if (at % MINUTE === 0 && at + MINUTE <= known) return [this.#minute(at), MINUTE];
    return [this.#second(at), 1];
  }

  #closeBefore(second: number): number {
    for (let at = second - 1; at >= this.#firstSecond; at--) {
      const bar = this.#seconds.get(at);
      if (bar !== undefined) return bar.close;
    }
    return this.#priceAt(Math.min(second, this.#firstSecond));
  }

  #day(start: number): Bar {
    let day = this.#days.get(start);
    if (day === undefined) {
      day = this.#minute(start);
      for (let at = start + MINUTE; at < start + DAY; at += MINUTE) extend(day, this.#minute(at));
      this.#days.set(start, day);
    }
    return day;
  }

  #minute(start: number): Bar {
    const [from, to] = [this.#noiseAt(start), this.#noiseAt(start + MINUTE)];
    const close = this.#price(to);
    const volume = this.#secondVolume(start) * MINUTE;
    return {
      openSecond: start,
      open: this.#price(from),
      high: this.#price(Math.max(from, to) + WOBBLE),
      low: this.#price(Math.min(from, to) - WOBBLE),
      close,
      volume,
      quoteVolume: (volume / UNITS) * (close / UNITS),
      trades: MINUTE,
      takerBuyVolume: volume / 2,
    };
  }

  /** One second of each minute touches the minute's high and one its low, so that the extremes of both agree. */
  #second(second: number): Bar {
    const start = second - (second % MINUTE);
    const minute = this.#minute(start);
    const bar = flat(second, this.#priceAt(second));
    const mark = hash32(this.#seed, start);
    bar.close = this.#priceAt(second + 1);
    bar.high = start + (mark % MINUTE) === second ? minute.high : Math.max(bar.open, bar.close);
    bar.low = start + ((mark >>> 8) % MINUTE) === second ? minute.low : Math.min(bar.open, bar.close);
    bar.volume = minute.volume / MINUTE;
    bar.quoteVolume = minute.quoteVolume / MINUTE;
    bar.trades = 1;
    bar.takerBuyVolume = bar.volume / 2;
    return bar;
  }

  #secondVolume(minuteStart: number): number {
    return (1 + (hash32(this.#seed ^ 0x5bd1e995, minuteStart) % 5_000)) * 20_000;
  }

  #priceAt(second: number): number {
    return this.#price(this.#noiseAt(second));
  }

  #price(noise: number): number {
    const price = this.#firstPrice * Math.exp(noise - this.#level);
    return noise === this.#level ? this.#firstPrice : Math.max(1, Math.round(price / this.#tick)) * this.#tick;
  }

  #noiseAt(second: number): number {
    const minute = Math.floor(second / MINUTE);
    const within = (second % MINUTE) / MINUTE;
    if (within === 0) return this.#minuteNoise(minute);
    const line = this.#minuteNoise(minute) * (1 - within) + this.#minuteNoise(minute + 1) * within;
    return line + (hash32(this.#seed ^ 0x27d4eb2f, second) / 0x8000_0000 - 1) * WOBBLE;
  }

  #minuteNoise(minute: number): number {
    let sum = 0;
    for (const wave of this.#waves) {
      const cell = Math.floor(minute / wave.period);
      if (cell !== wave.cell) {
        wave.cell = cell;
        wave.from = hash32(wave.seed, cell);
        wave.to = hash32(wave.seed, cell + 1);
      }
      const within = minute / wave.period - cell;
      sum += ((wave.from + (wave.to - wave.from) * within) / 0x8000_0000 - 1) * wave.share;
    }
    return sum;
  }
}

function flat(openSecond: number, price: number): Bar {
  return {
    openSecond,
    open: price,
    high: price,
    low: price,
    close: price,
    volume: 0,
    quoteVolume: 0,
    trades: 0,
    takerBuyVolume: 0,
  };
}

function extend(bar: Bar, later: Bar): void {
  bar.high = Math.max(bar.high, later.high);
  bar.low = Math.min(bar.low, later.low);
  bar.close = later.close;
  bar.volume += later.volume;
  bar.quoteVolume += later.quoteVolume;
  bar.trades += later.trades;
  bar.takerBuyVolume += later.takerBuyVolume;
}
