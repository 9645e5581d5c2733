import type { LiveBars, Tickwire } from "../client/index.ts";
import type { Timeframe } from "../market/timeframe.ts";
import { BotError } from "./errors.ts";
import type { Backfill, MarketBar } from "./market-stream-events.ts";
import type { MarketStreamSettings } from "./market-stream-options.ts";

/** What happens to bars. */
export interface SeriesNews {
  bar(bar: MarketBar): void;
  correction(bar: MarketBar): void;
  backfill(backfill: Backfill): void;
}

/** Series that are opened side by side. */
const OPENED_AT_ONCE = 64;
/** How long a start waits for the bars of a series that nobody had asked for; what comes later is a backfill. */
const WAIT_MS = 300;

/** The bars of everything that is subscribed. */
export class SeriesSet {
  readonly #settings: MarketStreamSettings;
  readonly #news: SeriesNews;
  readonly #series = new Map<string, LiveBars>();
  /** Nothing more is opened, and what is being opened is not kept. */
  #isClosed = false;

  constructor(settings: MarketStreamSettings, news: SeriesNews) {
    this.#settings = settings;
    this.#news = news;
  }

  /** Opens what is not open yet; rejects with the first error, after all were tried. */
  async open(
    client: Tickwire,
    exchange: string,
    symbols: readonly string[],
    timeframes: readonly Timeframe[],
  ): Promise<void> {
    const wanted = symbols.flatMap((symbol) => timeframes.map((timeframe) => ({ exchange, symbol, timeframe })));
    const missing = wanted.filter((name) => !this.#series.has(keyOf(name)));
    let failed: unknown;
    const worker = async () => {
      for (let next = missing.shift(); next !== undefined && !this.#isClosed; next = missing.shift()) {
        await this.#openOne(client, next).catch((error: unknown) => {
          failed ??= error;
        });
      }
    };
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, worker));
    if (failed !== undefined) throw failed;
  }

  async #openOne(client: Tickwire, name: Omit<Backfill, "bars">): Promise<void> {
    const { historySize: history, indicators } = this.#settings;
    const { exchange, symbol, timeframe } = name;
    const bars = await client.bars(symbol, timeframe, { exchange, history, indicators, waitMs: WAIT_MS });
    if (this.#isClosed) return bars.stop();
    this.#series.set(keyOf(name), bars);
    bars.on("closed", (row) => this.#news.bar({ ...row, ...name }));
    bars.on("corrected", (row) => this.#news.correction({ ...row, ...name }));
    bars.on("history", ({ changed }) => this.#news.backfill({ ...name, bars: changed }));
    if (bars.count > 0) this.#news.backfill({ ...name, bars: bars.count });
  }

  /** The series of a market; throws `not_subscribed`, and `bad_config` where several venues have it. */
  find(symbol: string, timeframe: Timeframe | undefined, exchange: string | undefined): LiveBars {
    const { defaultTimeframe } = this.#settings;
    const wanted = timeframe ?? defaultTimeframe;
    const found = [...this.#series.values()].filter(
      (bars) =>
        bars.symbol === symbol.toUpperCase() &&
        bars.timeframe === wanted &&
        (exchange === undefined || bars.exchange === exchange.toLowerCase()),
    );
    if (found.length > 1) {
      const venues = found.map((bars) => bars.exchange).join(", ");
      throw new BotError("bad_config", `several exchanges have ${symbol}, name one of them: ${venues}`);
    }
    const [bars] = found;
    if (bars !== undefined) return bars;
    const where = exchange === undefined ? "" : ` on ${exchange}`;
    throw new BotError("not_subscribed", `bars of ${symbol}${where} in ${wanted} are not subscribed`);
  }

  /** Drops all series of an instrument. */
  async close(exchange: string, symbol: string): Promise<void> {
    for (const [key, bars] of this.#series) {
      if (bars.exchange !== exchange || bars.symbol !== symbol) continue;
      this.#series.delete(key);
      await bars.stop();
    }
  }

  async closeAll(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#series.values()];
    this.#series.clear();
    for (const bars of all) await bars.stop();
  }
}

function keyOf({ exchange, symbol, timeframe }: Omit<Backfill, "bars">): string {
  return `${exchange} ${symbol} ${timeframe}`;
}
