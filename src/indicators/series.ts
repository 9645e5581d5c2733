import {
  BAR_BUY_VOLUME,
  BAR_CLOSE,
  BAR_CLOSE_TIME,
  BAR_FLAGS,
  BAR_HIGH,
  BAR_LOW,
  BAR_OPEN,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_QUOTE_VOLUME,
  BAR_SELL_VOLUME,
  BAR_SIZE,
  BAR_TRADE_COUNT,
  BAR_VOLUME,
  BAR_VWAP,
} from "./bar.ts";
import type { Direction } from "./colour.ts";
import { describe } from "./describe.ts";
import type { Indicator } from "./indicator.ts";

/** An indicator of which the compiler knows the lanes. */
export interface NamedIndicator<Lane extends string> extends Indicator {
  readonly lanes: readonly Lane[];
}

/** A bar as a program has it; what an indicator does not look at may be left out. Times are microseconds. */
export interface PlainBar {
  readonly openTime: number;
  readonly closeTime?: number;
  readonly open?: number;
  readonly high?: number;
  readonly low?: number;
  readonly close: number;
  readonly volume?: number;
  readonly quoteVolume?: number;
  readonly vwap?: number;
  readonly buyVolume?: number;
  readonly sellVolume?: number;
  readonly tradeCount?: number;
  /** Not all of its trades were seen; default false. */
  readonly partial?: boolean;
}

/** An indicator's values of one bar: its lanes by name, and what a chart draws them in. */
export type IndicatorValues<Lane extends string = string> = {
  readonly ready: boolean;
  readonly direction?: Direction;
  readonly color?: string;
} & (string extends Lane ? UnnamedLanes : { readonly [Name in Lane]: number });

/** Of an indicator that was parsed from a text, which lanes there are is known when it runs. */
interface UnnamedLanes {
  readonly [lane: string]: number | boolean | string | undefined;
}

/**
 * One indicator over the closed bars of one series, oldest first: the same arithmetic as in the server, for a program that
 * has bars of its own.
 */
export class IndicatorSeries<Lane extends string = string> {
  readonly indicator: NamedIndicator<Lane>;
  readonly #state: Float64Array;
  readonly #bar = new Float64Array(BAR_SIZE);
  readonly #peeked: Float64Array;

  /** `seed` is the close before the first bar; without it the first close is taken. */
  constructor(indicator: NamedIndicator<Lane>, seed = Number.NaN) {
    this.indicator = indicator;
    this.#state = new Float64Array(indicator.size);
    this.#peeked = new Float64Array(indicator.lanes.length + 1);
    indicator.init(this.#state, 0, seed);
  }

  /** Takes a closed bar; returns the values after it. */
  update(bar: PlainBar): IndicatorValues<Lane> {
    this.#take(bar);
    this.indicator.update(this.#state, 0, this.#bar, 0);
    return this.#values(this.#state, this.indicator.ready(this.#state, 0));
  }

  /** The values as if a building bar closed now; nothing is kept. */
  peek(bar: PlainBar): IndicatorValues<Lane> {
    this.#take(bar);
    this.indicator.peek(this.#state, 0, this.#bar, 0, this.#peeked, 0);
    return this.#values(this.#peeked, this.#peeked[this.indicator.lanes.length] === 1);
  }

  #take(plain: PlainBar): void {
    const bar = this.#bar;
    const { openTime, close, volume = 0, quoteVolume = close * volume } = plain;
    bar.fill(Number.NaN);
    bar[BAR_OPEN_TIME] = openTime;
    bar[BAR_CLOSE_TIME] = plain.closeTime ?? Number.NaN;
    bar[BAR_OPEN] = plain.open ?? close;
    bar[BAR_HIGH] = plain.high ?? close;
    bar[BAR_LOW] = plain.low ?? close;
    bar[BAR_CLOSE] = close;
    bar[BAR_VOLUME] = volume;
    bar[BAR_QUOTE_VOLUME] = quoteVolume;
    bar[BAR_VWAP] = plain.vwap ?? (volume === 0 ? Number.NaN : quoteVolume / volume);
    bar[BAR_BUY_VOLUME] = plain.buyVolume ?? Number.NaN;
    bar[BAR_SELL_VOLUME] = plain.sellVolume ?? Number.NaN;
    bar[BAR_TRADE_COUNT] = plain.tradeCount ?? Number.NaN;
    bar[BAR_FLAGS] = plain.partial === true ? BAR_PARTIAL : 0;
  }

  #values(lanes: Float64Array, ready: boolean): IndicatorValues<Lane> {
    const values = Array.from(lanes.subarray(0, this.indicator.lanes.length));
    const named = Object.fromEntries(this.indicator.lanes.map((lane, index) => [lane, values[index] as number]));
    return { ...named, ...describe(this.indicator).style(values), ready } as IndicatorValues<Lane>;
  }
}
