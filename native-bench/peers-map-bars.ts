import { SIDE_BUY, SIDE_SELL } from "../src/market/sink.ts";

/** Times in microseconds. */
export interface MapBar {
  timeframe: string;
  openTime: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  quoteVolume: number;
  buyVolume: number;
  sellVolume: number;
  count: number;
}

/** Bars as one writes them at first: an object for each symbol and timeframe, in a Map; a later trade closes it. */
export class MapBars {
  readonly #bars = new Map<string, MapBar>();
  readonly #widths: readonly (readonly [string, number])[];
  readonly #onClose: (bar: MapBar) => void;

  /** Names and widths, microseconds, of the timeframes. */
  constructor(widths: readonly (readonly [string, number])[], onClose: (bar: MapBar) => void) {
    this.#widths = widths;
    this.#onClose = onClose;
  }

  trade(symbol: string, side: number, price: number, size: number, time: number): void {
    for (const [timeframe, width] of this.#widths) {
      const key = `${symbol}:${timeframe}`;
      const openTime = Math.floor(time / width) * width;
      let bar = this.#bars.get(key);
      if (bar === undefined || bar.openTime !== openTime) {
        if (bar !== undefined) this.#onClose(bar);
        bar = {
          timeframe,
          openTime,
          open: price,
          high: price,
          low: price,
          close: price,
          volume: 0,
          quoteVolume: 0,
          buyVolume: 0,
          sellVolume: 0,
          count: 0,
        };
        this.#bars.set(key, bar);
      }
      bar.high = Math.max(bar.high, price);
      bar.low = Math.min(bar.low, price);
      bar.close = price;
      bar.volume += size;
      bar.quoteVolume += price * size;
      if (side === SIDE_BUY) bar.buyVolume += size;
      else if (side === SIDE_SELL) bar.sellVolume += size;
      bar.count += 1;
    }
  }

  /** Closes what is open. */
  end(): void {
    for (const bar of this.#bars.values()) this.#onClose(bar);
    this.#bars.clear();
  }
}
