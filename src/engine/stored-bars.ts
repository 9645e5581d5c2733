import {
  BAR_ACROSS_GAP,
  BAR_BUY_VOLUME,
  BAR_CLOSE,
  BAR_CLOSE_TIME,
  BAR_FIRST_TIME,
  BAR_FLAGS,
  BAR_FROM_VENUE,
  BAR_HIGH,
  BAR_LAST_TIME,
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
} from "../indicators/bar.ts";
import { instrumentOf, slotIn, timeframeOfSlot } from "../market/channel.ts";
import { PRICE, SIZE } from "../market/sink.ts";
import { BarSource } from "../wire/generated/tickwire.ts";
import {
  BarView,
  FrameView,
  InstrumentView,
  PAYLOAD_BAR,
  PAYLOAD_INSTRUMENT,
  PAYLOAD_TRADE,
  TradeView,
} from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import type { Bars } from "./bars.ts";
import type { Engine } from "./engine.ts";

/** Reads a closed bar out of a frame. */
export class StoredBar {
  /** What `read` read; good until the next call. */
  readonly bar = new Float64Array(BAR_SIZE);
  readonly #view = new BarView();

  read(frame: FrameView): Float64Array {
    const { bar } = this;
    const view = this.#view;
    view.attach(frame.table.memory, frame.payloadAt);
    bar[BAR_OPEN_TIME] = view.openTime;
    bar[BAR_CLOSE_TIME] = view.closeTime;
    bar[BAR_OPEN] = view.open;
    bar[BAR_HIGH] = view.high;
    bar[BAR_LOW] = view.low;
    bar[BAR_CLOSE] = view.close;
    bar[BAR_VOLUME] = view.volume;
    bar[BAR_QUOTE_VOLUME] = view.quoteVolume;
    bar[BAR_VWAP] = view.vwap;
    bar[BAR_BUY_VOLUME] = view.buyVolume;
    bar[BAR_SELL_VOLUME] = view.sellVolume;
    bar[BAR_TRADE_COUNT] = view.tradeCount;
    // A frame does not say when its first trade was: no later one can come before the bar's beginning.
    bar[BAR_FIRST_TIME] = view.openTime;
    bar[BAR_LAST_TIME] = frame.tsExchange || view.closeTime - 1;
    bar[BAR_FLAGS] =
      (view.partial ? BAR_PARTIAL : 0) |
      (view.acrossGap ? BAR_ACROSS_GAP : 0) |
      (view.source === BarSource.Venue ? BAR_FROM_VENUE : 0);
    return bar;
  }
}

/**
 * Makes bars, and so indicators, what they were when an earlier process ended, from its frames: closed ones as they were
 * told, unclosed ones from the trades since. Nothing of it goes out again. Instruments need not be registered yet: they
 * will have the ids that they had.
 */
export class StoredBars {
  trades = 0;
  bars = 0;
  readonly #engine: Engine;
  readonly #frame = new FrameView();
  readonly #trade = new TradeView();
  readonly #instrument = new InstrumentView();
  readonly #stored = new StoredBar();
  /** The venue's id by exchange, and by instrument. */
  readonly #exchanges = new Map<string, number>();
  readonly #venues = new Map<number, number>();
  readonly #numbers = new Float64Array(2);
  readonly #time = new Float64Array(1);

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Takes a frame, which must be newer than those before it. */
  take(memory: Memory, at: number): void {
    const frame = this.#frame;
    if (!frame.attach(memory, at + memory.i32[at >> 2])) return;
    const { bars } = this.#engine;
    bars.muted = true;
    if (frame.payloadType === PAYLOAD_TRADE) this.#takeTrade(frame);
    else if (frame.payloadType === PAYLOAD_BAR) this.#takeBar(frame);
    else if (frame.payloadType === PAYLOAD_INSTRUMENT) this.#takeInstrument(frame);
    bars.muted = false;
  }

  #takeInstrument(frame: FrameView): void {
    const view = this.#instrument;
    view.attach(frame.table.memory, frame.payloadAt);
    if (view.symbol === "") this.#exchanges.set(view.exchange, view.id);
    const venue = this.#exchanges.get(view.exchange);
    if (view.symbol === "" || venue === undefined || this.#venues.has(view.id)) return;
    this.#venues.set(view.id, venue);
    this.#engine.bars.bars.open(view.id, venue);
  }

  #takeTrade(frame: FrameView): void {
    const instrument = instrumentOf(frame.stream);
    const time = frame.tsExchange;
    if (time === 0 || !this.#venues.has(instrument)) return;
    const trade = this.#trade;
    trade.attach(frame.table.memory, frame.payloadAt);
    this.#numbers[PRICE] = trade.price;
    this.#numbers[SIZE] = trade.size;
    this.#time[0] = time;
    this.trades += 1;
    this.#engine.bars.bars.trade(instrument, trade.side, this.#numbers, this.#time, 0);
    this.#engine.dedupe.wasLast(instrument, Number(trade.tradeId));
  }

  #takeBar(frame: FrameView): void {
    const instrument = instrumentOf(frame.stream);
    const venue = this.#venues.get(instrument);
    const timeframe = timeframeOfSlot(slotIn(frame.stream));
    if (venue === undefined) return;
    this.bars += takeStoredBar(this.#engine.bars.bars, { id: instrument, venue }, timeframe, this.#stored.read(frame));
  }
}

const time = new Float64Array(1);

/** Has a series end with a closed bar as it was told; returns 0 where the timeframe is not computed, else 1. */
export function takeStoredBar(
  bars: Bars,
  { id, venue }: { id: number; venue: number },
  timeframe: number,
  bar: Float64Array,
): number {
  if (!bars.isActive(id, timeframe)) return 0;
  // Whatever of it is still building closes first.
  time[0] = bar[BAR_CLOSE_TIME] + bars.latenessMicros;
  bars.closeDue(venue, time, 0);
  bars.archive.put(id, timeframe, bar);
  return 1;
}
