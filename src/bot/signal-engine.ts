import type { Timeframe } from "../market/timeframe.ts";
import { BotError, messageOf } from "./errors.ts";
import { DEFAULT_FEATURES, type Feature, featuresOf } from "./features.ts";
import type { MarketStream } from "./market-stream.ts";
import type { MarketBar, Prediction, SeriesName, Signal } from "./market-stream-events.ts";
import { readTimeframes } from "./market-stream-options.ts";
import { momentumPredictor, type Predictor, type SignalRule, thresholdSignal } from "./predictor.ts";
import type { Executor } from "./signal-orders.ts";

export interface SignalEngineOptions {
  stream: MarketStream;
  /** `momentumPredictor()` when not given. */
  predictor?: Predictor;
  /** Acts on the signals; without one they are told only. */
  executor?: Executor;
  /** A probability above it is a signal, 0.5 to 1; 0.6. */
  threshold?: number;
  /** In the place of the threshold: what a probability says. */
  signal?: SignalRule;
  features?: readonly Feature[];
  /** The only timeframes whose bars are looked at; all of the stream. */
  timeframes?: readonly Timeframe[];
  /** Bars that features are made of, and the least of them, 1 to 1,000; 100 and 21. */
  bars?: number;
  minBars?: number;
  /** Signals are told, and not executed; false. */
  dryRun?: boolean;
}

/** The newest of a series. */
export interface Latest {
  readonly prediction: Prediction;
  /** Of that same prediction; undefined when it says nothing. */
  readonly signal: Signal | undefined;
}

/** Plain counts. */
export interface SignalStats {
  predictions: number;
  signals: number;
  executed: number;
  errors: number;
  /** Bars that closed while the one before was still being predicted, and were not the newest afterwards. */
  skipped: number;
}

const UNDECIDED = 0.5;

/**
 * From bars to features, a prediction, a signal, and to the executor. One bar of a series at a time, in order; who is
 * slower than bars close gets the newest. Predictions and signals are events of the stream. An engine is stopped with its
 * stream.
 */
export class SignalEngine {
  readonly stats: SignalStats = { predictions: 0, signals: 0, executed: 0, errors: 0, skipped: 0 };
  readonly #stream: MarketStream;
  readonly #predictor: Predictor;
  readonly #executor: Executor | undefined;
  readonly #rule: SignalRule;
  readonly #features: readonly Feature[];
  readonly #timeframes: readonly string[] | undefined;
  readonly #bars: number;
  readonly #minBars: number;
  readonly #dryRun: boolean;
  readonly #latest = new Map<string, Latest>();
  /** Series that are being predicted, and the bar that is next. */
  readonly #busy = new Map<string, MarketBar | undefined>();
  readonly #off: () => void;

  /** Throws `bad_config`. */
  constructor(options: SignalEngineOptions) {
    const { stream, threshold = 0.6, bars = 100, minBars = 21, timeframes } = options;
    this.#stream = stream;
    this.#predictor = options.predictor ?? momentumPredictor();
    this.#executor = options.executor;
    this.#features = options.features ?? DEFAULT_FEATURES;
    this.#timeframes = timeframes && readTimeframes(timeframes);
    this.#dryRun = options.dryRun ?? false;
    for (const [name, value] of Object.entries({ bars, minBars })) {
      if (!(Number.isInteger(value) && value >= 1 && value <= 1000))
        throw new BotError("bad_config", `${name}: a whole number from 1 to 1000, not ${String(value)}`);
    }
    this.#bars = Math.max(bars, minBars);
    this.#minBars = minBars;
    this.#rule = options.signal ?? thresholdSignal(threshold);
    this.#off = stream.on("bar", (bar) => this.#take(bar));
  }

  #take(bar: MarketBar): void {
    if (this.#timeframes?.includes(bar.timeframe) === false) return;
    const key = keyOf(bar);
    if (this.#busy.has(key)) {
      if (this.#busy.get(key) !== undefined) this.stats.skipped += 1;
      this.#busy.set(key, bar);
      return;
    }
    this.#busy.set(key, undefined);
    void this.#work(key, bar);
  }

  /** Works off the bars of a series, as long as there is one. */
  async #work(key: string, first: MarketBar): Promise<void> {
    for (let bar: MarketBar | undefined = first; bar !== undefined; bar = this.#busy.get(key)) {
      this.#busy.set(key, undefined);
      try {
        await this.#judge(key, bar);
      } catch (error) {
        this.#failed(error instanceof BotError ? error : new BotError("bad_prediction", messageOf(error)));
      }
    }
    this.#busy.delete(key);
  }

  async #judge(key: string, bar: MarketBar): Promise<void> {
    const { exchange, symbol, timeframe } = bar;
    const bars = this.#stream.bars(symbol, timeframe, { exchange, limit: this.#bars });
    if (bars.length < this.#minBars) return;
    const features = featuresOf(bars, this.#features);
    const series = { exchange, symbol, timeframe };
    const probability = await this.#predict(series, features);
    const { inexact } = bars;
    const judged = { ...series, time: bar.closeTime, price: bar.close, probability, inexact };
    const prediction: Prediction = { ...judged, features };
    const said = this.#rule(probability);
    const signal = said && { ...judged, ...said, dryRun: this.#dryRun || this.#executor === undefined };
    this.#latest.set(key, { prediction, signal });
    this.stats.predictions += 1;
    this.#stream.tell("prediction", prediction);
    if (signal === undefined) return;
    this.stats.signals += 1;
    this.#stream.tell("signal", signal);
    if (!signal.dryRun) await this.#execute(signal);
  }

  /** What the predictor says; undecided, and an error, when it fails. */
  async #predict(series: SeriesName, features: Readonly<Record<string, number>>): Promise<number> {
    try {
      const probability = await this.#predictor.predict(series.symbol, features, series);
      if (typeof probability === "number" && probability >= 0 && probability <= 1) return probability;
      throw new RangeError(`a probability is a number from 0 to 1, not ${String(probability)}`);
    } catch (cause) {
      this.#failed(new BotError("bad_prediction", `${series.symbol}: ${messageOf(cause)}`, { cause }));
      return UNDECIDED;
    }
  }

  async #execute(signal: Signal): Promise<void> {
    try {
      await this.#executor?.submit(signal);
      this.stats.executed += 1;
    } catch (cause) {
      this.#failed(new BotError("not_executed", `${signal.symbol}: ${messageOf(cause)}`, { cause }));
    }
  }

  #failed(error: BotError): void {
    this.stats.errors += 1;
    this.#stream.tell("error", error);
  }

  /** The newest prediction of a series and its signal; undefined before the first. */
  latest(symbol: string, timeframe: Timeframe, exchange?: string): Latest | undefined {
    const suffix = ` ${symbol.toUpperCase()} ${timeframe}`;
    if (exchange !== undefined) return this.#latest.get(`${exchange.toLowerCase()}${suffix}`);
    const keys = [...this.#latest.keys()].filter((key) => key.endsWith(suffix));
    if (keys.length > 1) throw new BotError("bad_config", `several exchanges have ${symbol}: name one of them`);
    return this.#latest.get(keys[0] ?? "");
  }

  /** Looks at no more bars; what is under way is finished. */
  stop(): void {
    this.#off();
  }
}

function keyOf({ exchange, symbol, timeframe }: SeriesName): string {
  return `${exchange} ${symbol} ${timeframe}`;
}

/** Makes an engine that works on a stream; throws `bad_config`. */
export function createSignalEngine(options: SignalEngineOptions): SignalEngine {
  return new SignalEngine(options);
}
