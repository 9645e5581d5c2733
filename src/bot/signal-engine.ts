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
  /** Bars that were not the newest any more when it was their turn, or when they were told: those that were missed. */
  skipped: number;
}

/** What is looked at when a bar closes; what comes later changes none of it. */
interface Seen {
  readonly bar: MarketBar;
  readonly features: Readonly<Record<string, number>>;
  readonly inexact: boolean;
}

const UNDECIDED = 0.5;
/** Bars of a series that wait for their prediction: the market does not, a replay has each predicted. */
const MAX_WAITING = 1;
const MAX_WAITING_OF_REPLAY = 65_536;

/**
 * From bars to features, a prediction, a signal, and to the executor. One bar of a series at a time, in order; who is
 * slower than bars close gets the newest, but in a replay, whose time is not the program's, every one. Predictions and
 * signals are events of the stream. An engine is stopped with its stream.
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
  /** Series that are being predicted, and the bars that are next. */
  readonly #waiting = new Map<string, Seen[]>();
  readonly #off: () => void;
  #isStopped = false;

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
    if (minBars > stream.historySize)
      throw new BotError("bad_config", `minBars: the stream keeps ${stream.historySize} bars, not ${minBars}`);
    this.#bars = Math.max(bars, minBars);
    this.#minBars = minBars;
    this.#rule = options.signal ?? thresholdSignal(threshold);
    this.#off = stream.on("bar", (bar) => this.#take(bar));
    void stream.ended.then(() => this.stop());
  }

  #take(bar: MarketBar): void {
    if (this.#timeframes?.includes(bar.timeframe) === false) return;
    const seen = this.#look(bar);
    if (seen === undefined) return;
    const key = keyOf(bar);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      this.#waiting.set(key, []);
      void this.#work(key, seen);
      return;
    }
    const most = this.#stream.client?.mode === "replay" ? MAX_WAITING_OF_REPLAY : MAX_WAITING;
    for (; waiting.length >= most; waiting.shift()) this.stats.skipped += 1;
    waiting.push(seen);
  }

  /** Undefined while there are too few bars, and for a bar after which others have closed already. */
  #look(bar: MarketBar): Seen | undefined {
    const { exchange, symbol, timeframe } = bar;
    try {
      const bars = this.#stream.bars(symbol, timeframe, { exchange, limit: this.#bars });
      if (bars.length < this.#minBars) return undefined;
      if (bars.at(-1)?.openTime !== bar.openTime) {
        this.stats.skipped += 1;
        return undefined;
      }
      return { bar, features: featuresOf(bars, this.#features), inexact: bars.inexact };
    } catch (cause) {
      this.#failed(new BotError("bad_prediction", `${symbol}: ${messageOf(cause)}`, { cause }));
      return undefined;
    }
  }

  /** Works off the bars of a series, as long as there is one. */
  async #work(key: string, first: Seen): Promise<void> {
    const waiting = this.#waiting.get(key) as Seen[];
    for (let seen: Seen | undefined = first; seen !== undefined; seen = waiting.shift()) {
      try {
        await this.#judge(key, seen);
      } catch (error) {
        this.#failed(error instanceof BotError ? error : new BotError("bad_prediction", messageOf(error)));
      }
    }
    this.#waiting.delete(key);
  }

  async #judge(key: string, { bar, features, inexact }: Seen): Promise<void> {
    const { exchange, symbol, timeframe } = bar;
    const series = { exchange, symbol, timeframe };
    const probability = await this.#predict(series, features);
    if (this.#isStopped) return;
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

  /** Looks at no more bars; nothing comes of what is being predicted, nor of what waits. */
  stop(): void {
    this.#isStopped = true;
    this.#off();
    for (const waiting of this.#waiting.values()) waiting.length = 0;
  }
}

function keyOf({ exchange, symbol, timeframe }: SeriesName): string {
  return `${exchange} ${symbol} ${timeframe}`;
}

/** Makes an engine that works on a stream; throws `bad_config`. */
export function createSignalEngine(options: SignalEngineOptions): SignalEngine {
  return new SignalEngine(options);
}
