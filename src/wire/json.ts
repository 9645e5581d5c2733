import { channelOfSlot, slotIn } from "../market/channel.ts";
import type { Catalog } from "../market/instrument.ts";
import { STATES } from "../market/sink.ts";
import { TIMEFRAMES } from "../market/timeframe.ts";
import {
  FLAG_BACKFILLED,
  FLAG_CORRECTION,
  FLAG_DERIVED,
  FLAG_INEXACT,
  FLAG_LAST_OF_EVENT,
  FLAG_SNAPSHOT,
} from "./frame.ts";
import * as V from "./generated/views.ts";
import type { Memory } from "./memory.ts";

/** What the JSON form needs to know of an indicator, whose frames carry only its number. */
export interface IndicatorDescription {
  /** Canonical name with parameters: `macd(12,26,9)`. */
  name: string;
  lanes: readonly string[];
  /** Texts derived from the lanes (a colour, a direction), by key. */
  style(lanes: readonly number[]): Record<string, string>;
}

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [FLAG_DERIVED, '"derived"'],
  [FLAG_SNAPSHOT, '"snapshot"'],
  [FLAG_LAST_OF_EVENT, '"last_of_event"'],
  [FLAG_CORRECTION, '"correction"'],
  [FLAG_BACKFILLED, '"backfilled"'],
  [FLAG_INEXACT, '"inexact"'],
];

/**
 * The JSON twin of a frame: the same fields in snake_case, every key present, null when unknown, times as whole
 * milliseconds (or microseconds, by `microseconds`). Read from the frame's own bytes, so that the two encodings of a
 * stream cannot differ. Made once per frame, and only while somebody wants JSON: it is not on the hot path.
 */
export class JsonTwin {
  readonly #catalog: Catalog;
  readonly #describe: (indicator: number) => IndicatorDescription | undefined;
  readonly #frame = new V.FrameView();
  readonly #trade = new V.TradeView();
  readonly #book = new V.BookLevelsView();
  readonly #quote = new V.QuoteView();
  readonly #ticker = new V.TickerView();
  readonly #funding = new V.FundingView();
  readonly #liquidation = new V.LiquidationView();
  readonly #bar = new V.BarView();
  readonly #indicators = new V.IndicatorsView();
  readonly #state = new V.StreamStateView();
  readonly #stream = new V.StreamView();
  readonly #instrument = new V.InstrumentView();
  /** What every frame of a stream says of itself, by stream, and the market type that it was made with. */
  readonly #identity = new Map<number, { marketType: string; json: string }>();
  #microseconds = false;

  constructor(catalog: Catalog, describe: (indicator: number) => IndicatorDescription | undefined) {
    this.#catalog = catalog;
    this.#describe = describe;
  }

  /** The frame that starts at `at`, as one JSON object. */
  encode(memory: Memory, at: number, microseconds = false): string {
    this.#microseconds = microseconds;
    const frame = this.#frame;
    frame.attach(memory, at + memory.i32[at >> 2]);
    return `{"type":"${this.#typeOf(frame.payloadType)}",${this.#identityOf(frame.stream, frame.instrument)},"epoch":${frame.epoch},"position":${frame.position},"seq":${frame.seq},"from_seq":${frame.fromSeq},"ts_exchange":${this.#time(frame.tsExchange)},"ts_receive":${this.#time(frame.tsReceive)},"ts_publish":${this.#time(frame.tsPublish)},"flags":[${flagsOf(frame.flags)}],${this.#payload(memory, frame)}}`;
  }

  #typeOf(payloadType: number): string {
    return TYPE_NAMES[payloadType] ?? "unknown";
  }

  #identityOf(stream: number, id: number): string {
    const instrument = this.#catalog.get(id);
    const known = this.#identity.get(stream);
    // The venue may list an instrument anew, under the same name.
    if (known !== undefined && known.marketType === instrument?.marketType) return known.json;
    const exchange = textOrNull(instrument?.exchange ?? "");
    const symbol = textOrNull(instrument?.symbol ?? "");
    const marketType = nameOrNull(instrument?.marketType);
    const channel = nameOrNull(channelOfSlot(slotIn(stream)));
    const json = `"exchange":${exchange},"symbol":${symbol},"market_type":${marketType},"stream":${stream},"channel":${channel}`;
    if (instrument !== undefined) this.#identity.set(stream, { marketType: instrument.marketType, json });
    return json;
  }

  #payload(memory: Memory, frame: V.FrameView): string {
    const at = frame.payloadAt;
    switch (frame.payloadType) {
      case V.PAYLOAD_TRADE:
        return this.#tradeFields(memory, at);
      case V.PAYLOAD_BOOK_LEVELS:
        return this.#bookFields(memory, at, frame.flags);
      case V.PAYLOAD_QUOTE:
        return this.#quoteFields(memory, at);
      case V.PAYLOAD_TICKER:
        return this.#tickerFields(memory, at);
      case V.PAYLOAD_FUNDING:
        return this.#fundingFields(memory, at);
      case V.PAYLOAD_LIQUIDATION:
        return this.#liquidationFields(memory, at);
      case V.PAYLOAD_BAR:
        return this.#barFields(memory, at);
      case V.PAYLOAD_INDICATORS:
        return this.#indicatorFields(memory, at);
      case V.PAYLOAD_STREAM_STATE:
        return this.#stateFields(memory, at);
      case V.PAYLOAD_STREAM:
        return this.#streamFields(memory, at);
      case V.PAYLOAD_INSTRUMENT:
        return this.#instrumentFields(memory, at);
      default:
        return `"payload_type":${frame.payloadType}`;
    }
  }

  #tradeFields(memory: Memory, at: number): string {
    const trade = this.#trade;
    trade.attach(memory, at);
    const flags = trade.flags;
    return `"price":${number(trade.price)},"size":${number(trade.size)},"side":${nameOrNull(V.SIDE_NAMES[trade.side])},"trade_id":${textOrNull(trade.tradeId)},"is_block":${(flags & 1) !== 0},"is_liquidation":${(flags & 2) !== 0},"is_odd_lot":${(flags & 4) !== 0}`;
  }

  #bookFields(memory: Memory, at: number, flags: number): string {
    const book = this.#book;
    book.attach(memory, at);
    let bids = "";
    for (let i = 0; i < book.bidCount; i += 1)
      bids += `${i === 0 ? "" : ","}[${number(book.bidPrice(i))},${number(book.bidSize(i))}]`;
    let asks = "";
    for (let i = 0; i < book.askCount; i += 1)
      asks += `${i === 0 ? "" : ","}[${number(book.askPrice(i))},${number(book.askSize(i))}]`;
    const updateType = (flags & FLAG_SNAPSHOT) !== 0 ? "snapshot" : "delta";
    return `"update_type":"${updateType}","sequence":${known(book.venueSeq)},"prev_sequence":${known(book.venuePrevSeq)},"checksum":${known(book.checksum)},"bids":[${bids}],"asks":[${asks}]`;
  }

  #quoteFields(memory: Memory, at: number): string {
    const quote = this.#quote;
    quote.attach(memory, at);
    return `"bid_price":${number(quote.bidPrice)},"bid_size":${number(quote.bidSize)},"ask_price":${number(quote.askPrice)},"ask_size":${number(quote.askSize)},"sequence":${known(quote.venueSeq)},"live":${quote.live}`;
  }

  #tickerFields(memory: Memory, at: number): string {
    const ticker = this.#ticker;
    ticker.attach(memory, at);
    return `"last":${number(ticker.last)},"mark":${number(ticker.mark)},"index":${number(ticker.index)},"open_interest":${number(ticker.openInterest)},"volume_24h":${number(ticker.volume24h)},"high_24h":${number(ticker.high24h)},"low_24h":${number(ticker.low24h)}`;
  }

  #fundingFields(memory: Memory, at: number): string {
    const funding = this.#funding;
    funding.attach(memory, at);
    return `"rate":${number(funding.rate)},"next_time":${this.#time(funding.nextTime)},"mark":${number(funding.mark)},"index":${number(funding.index)}`;
  }

  #liquidationFields(memory: Memory, at: number): string {
    const liquidation = this.#liquidation;
    liquidation.attach(memory, at);
    return `"price":${number(liquidation.price)},"size":${number(liquidation.size)},"side":${nameOrNull(V.SIDE_NAMES[liquidation.side])}`;
  }

  #barFields(memory: Memory, at: number): string {
    const bar = this.#bar;
    bar.attach(memory, at);
    return `"timeframe":${timeframe(bar.timeframe)},"open_time":${this.#time(bar.openTime)},"close_time":${this.#time(bar.closeTime)},"open":${number(bar.open)},"high":${number(bar.high)},"low":${number(bar.low)},"close":${number(bar.close)},"volume":${number(bar.volume)},"quote_volume":${number(bar.quoteVolume)},"vwap":${number(bar.vwap)},"buy_volume":${number(bar.buyVolume)},"sell_volume":${number(bar.sellVolume)},"trade_count":${bar.tradeCount},"state":${nameOrNull(V.BAR_STATE_NAMES[bar.state])},"source":${nameOrNull(V.BAR_SOURCE_NAMES[bar.source])},"partial":${bar.partial},"across_gap":${bar.acrossGap}`;
  }

  #indicatorFields(memory: Memory, at: number): string {
    const view = this.#indicators;
    view.attach(memory, at);
    let values = "";
    for (let first = 0; first < view.valueCount; ) {
      const id = view.valueIndicator(first);
      let last = first;
      const lanes: number[] = [];
      while (last < view.valueCount && view.valueIndicator(last) === id)
        lanes[view.valueLane(last)] = view.valueValue(last++);
      values += `${first === 0 ? "" : ","}${this.#indicatorValues(id, lanes, view.valueReady(first) !== 0)}`;
      first = last;
    }
    return `"timeframe":${timeframe(view.timeframe)},"bar_time":${this.#time(view.barTime)},"state":${nameOrNull(V.BAR_STATE_NAMES[view.state])},"values":{${values}}`;
  }

  #indicatorValues(id: number, lanes: readonly number[], ready: boolean): string {
    const description = this.#describe(id);
    let fields = "";
    const laneCount = Math.max(lanes.length, description?.lanes.length ?? 0);
    for (let lane = 0; lane < laneCount; lane += 1) {
      fields += `${text(description?.lanes[lane] ?? `lane_${lane}`)}:${number(lanes[lane])},`;
    }
    for (const [key, value] of Object.entries(description?.style(lanes) ?? {}))
      fields += `${text(key)}:${text(value)},`;
    return `${text(description?.name ?? `indicator_${id}`)}:{${fields}"ready":${ready}}`;
  }

  #stateFields(memory: Memory, at: number): string {
    const state = this.#state;
    state.attach(memory, at);
    const gap = state.gap
      ? `{"from_id":${known(state.gapFromId)},"to_id":${known(state.gapToId)},"from_time":${this.#time(state.gapFromTime)},"to_time":${this.#time(state.gapToTime)},"refilled":${state.gapRefilled}}`
      : "null";
    return `"state":${nameOrNull(STATES[state.state])},"reason":${textOrNull(state.reason)},"gap":${gap}`;
  }

  #streamFields(memory: Memory, at: number): string {
    const stream = this.#stream;
    stream.attach(memory, at);
    return `"id":${stream.id},"of_instrument":${stream.instrument},"of_channel":${nameOrNull(V.CHANNEL_NAMES[stream.channel])},"timeframe":${timeframe(stream.timeframe)}`;
  }

  #instrumentFields(memory: Memory, at: number): string {
    const view = this.#instrument;
    view.attach(memory, at);
    return `"id":${view.id},"of_symbol":${textOrNull(view.symbol)},"of_exchange":${textOrNull(view.exchange)},"venue_symbol":${textOrNull(view.venueSymbol)},"of_market_type":${nameOrNull(V.MARKET_TYPE_NAMES[view.marketType])},"base":${textOrNull(view.base)},"quote":${textOrNull(view.quote)},"settle":${textOrNull(view.settle)},"expiry":${this.#time(view.expiry)},"contract_size":${number(view.contractSize)},"size_unit":${nameOrNull(V.SIZE_UNIT_NAMES[view.sizeUnit])},"price_decimals":${view.priceDecimals},"size_decimals":${view.sizeDecimals},"tick":${number(view.tick)},"lot":${number(view.lot)},"min_size":${number(view.minSize)},"min_notional":${number(view.minNotional)},"status":${nameOrNull(V.INSTRUMENT_STATUS_NAMES[view.status])},"book_depth":${view.bookDepth}`;
  }

  /** A time of which 0 means unknown. */
  #time(micros: number): string {
    if (micros === 0) return "null";
    return String(this.#microseconds ? micros : Math.floor(micros / 1000));
  }
}

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [V.PAYLOAD_TRADE]: "trade",
  [V.PAYLOAD_BOOK_LEVELS]: "orderbook",
  [V.PAYLOAD_QUOTE]: "quote",
  [V.PAYLOAD_TICKER]: "ticker",
  [V.PAYLOAD_FUNDING]: "funding",
  [V.PAYLOAD_LIQUIDATION]: "liquidation",
  [V.PAYLOAD_BAR]: "bar",
  [V.PAYLOAD_INDICATORS]: "indicators",
  [V.PAYLOAD_STREAM_STATE]: "state",
  [V.PAYLOAD_STREAM]: "stream",
  [V.PAYLOAD_INSTRUMENT]: "instrument",
};

function number(value: number | undefined): string {
  return Number.isFinite(value) ? String(value) : "null";
}

/** A venue's sequence, of which 0 means unknown. */
function known(value: number): string {
  return value === 0 ? "null" : String(value);
}

function text(value: string): string {
  return JSON.stringify(value);
}

function textOrNull(value: string): string {
  return value === "" ? "null" : JSON.stringify(value);
}

/** An enum's name; both 0, where that means unknown, and a value of a newer schema are null. */
function nameOrNull(name: string | undefined): string {
  return name === undefined || name === "unknown" ? "null" : `"${name}"`;
}

function timeframe(index: number): string {
  return nameOrNull(TIMEFRAMES[index]);
}

function flagsOf(flags: number): string {
  let names = "";
  for (const [bit, name] of FLAG_NAMES) if ((flags & bit) !== 0) names += names === "" ? name : `,${name}`;
  return names;
}
