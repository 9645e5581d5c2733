import type { Slot } from "../market/sink.ts";
import * as S from "../market/sink.ts";
import { FLAG_INEXACT } from "../wire/frame.ts";
import * as V from "../wire/generated/views.ts";

const utf8 = new TextEncoder();

/** Fills a slot from a frame's payload, as a feed fills it from a venue's message. Cold path, may allocate. */
export class StoredEvents {
  readonly #slot: Slot;
  readonly #trade = new V.TradeView();
  readonly #book = new V.BookLevelsView();
  readonly #quote = new V.QuoteView();
  readonly #ticker = new V.TickerView();
  readonly #funding = new V.FundingView();
  readonly #liquidation = new V.LiquidationView();

  constructor(slot: Slot) {
    this.#slot = slot;
  }

  #begin(frame: V.FrameView): void {
    this.#slot.numbers.fill(0);
    this.#slot.numbers[S.TS_EXCHANGE] = frame.tsExchange;
  }

  /** Returns the aggressor's side, and the trade's flags. Ids are text here: they were compared when they came. */
  trade(frame: V.FrameView): [side: number, flags: number] {
    this.#begin(frame);
    const view = this.#trade;
    view.attach(frame.table.memory, frame.payloadAt);
    const slot = this.#slot;
    slot.numbers[S.PRICE] = view.price;
    slot.numbers[S.SIZE] = view.size;
    slot.tradeIdLength = utf8.encodeInto(view.tradeId, slot.tradeId).written;
    return [view.side, view.flags | inexactOf(frame)];
  }

  /** Adds levels to those of the event's frames before it; `first` begins the event. */
  levels(frame: V.FrameView, first: boolean): void {
    const { bids, asks, numbers } = this.#slot;
    if (first) {
      this.#begin(frame);
      bids.count = 0;
      asks.count = 0;
    }
    const view = this.#book;
    view.attach(frame.table.memory, frame.payloadAt);
    numbers[S.LAST_SEQUENCE] = view.venueSeq;
    numbers[S.PREVIOUS_SEQUENCE] = view.venuePrevSeq;
    numbers[S.CHECKSUM] = view.checksum;
    for (let index = 0; index < view.bidCount; index += 1) bids.push(view.bidPrice(index), view.bidSize(index));
    for (let index = 0; index < view.askCount; index += 1) asks.push(view.askPrice(index), view.askSize(index));
  }

  /** Returns 1 for a live quote. */
  quote(frame: V.FrameView): number {
    this.#begin(frame);
    const view = this.#quote;
    view.attach(frame.table.memory, frame.payloadAt);
    const { numbers } = this.#slot;
    numbers[S.BID_PRICE] = view.bidPrice;
    numbers[S.BID_SIZE] = view.bidSize;
    numbers[S.ASK_PRICE] = view.askPrice;
    numbers[S.ASK_SIZE] = view.askSize;
    numbers[S.LAST_SEQUENCE] = view.venueSeq;
    return view.live ? 1 : 0;
  }

  ticker(frame: V.FrameView): void {
    this.#begin(frame);
    const view = this.#ticker;
    view.attach(frame.table.memory, frame.payloadAt);
    const { numbers } = this.#slot;
    numbers[S.LAST] = view.last;
    numbers[S.MARK] = view.mark;
    numbers[S.INDEX] = view.index;
    numbers[S.OPEN_INTEREST] = view.openInterest;
    numbers[S.VOLUME_24H] = view.volume24h;
    numbers[S.HIGH_24H] = view.high24h;
    numbers[S.LOW_24H] = view.low24h;
  }

  funding(frame: V.FrameView): void {
    this.#begin(frame);
    const view = this.#funding;
    view.attach(frame.table.memory, frame.payloadAt);
    const { numbers } = this.#slot;
    numbers[S.FUNDING_RATE] = view.rate;
    numbers[S.NEXT_FUNDING] = view.nextTime;
    numbers[S.MARK] = view.mark;
    numbers[S.INDEX] = view.index;
  }

  /** Returns the side. */
  liquidation(frame: V.FrameView): number {
    this.#begin(frame);
    const view = this.#liquidation;
    view.attach(frame.table.memory, frame.payloadAt);
    this.#slot.numbers[S.PRICE] = view.price;
    this.#slot.numbers[S.SIZE] = view.size;
    return view.side;
  }
}

/** What a slot's flags say of a frame's. */
export function inexactOf(frame: V.FrameView): number {
  return (frame.flags & FLAG_INEXACT) !== 0 ? S.FLAG_INEXACT : 0;
}
