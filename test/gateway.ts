/**
 * A whole gateway in the test's own process, and clients as a user would write them: they know the protocol only, so
 * their books and their counts are a second opinion on the engine's.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import WebSocket from "ws";
import { readCapture } from "../loadtest/venues/capture.ts";
import { readConfig } from "../src/config.ts";
import type { EngineOptions } from "../src/engine/engine.ts";
import { Engine } from "../src/engine/engine.ts";
import { BinanceParser } from "../src/feeds/binance-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { Gateway } from "../src/main.ts";
import type { Channel } from "../src/market/channel.ts";
import { channelOfSlot, slotIn } from "../src/market/channel.ts";
import type { Instrument, InstrumentListing } from "../src/market/instrument.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import type { Sink, VenueRules } from "../src/market/sink.ts";
import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  FIRST_SEQUENCE,
  LAST_SEQUENCE,
  PRICE,
  SIDE_BUY,
  SIZE,
  STATE_DOWN,
  STATE_LIVE,
  TRADE_NUMBER,
  TS_EXCHANGE,
} from "../src/market/sink.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { ManualClock } from "../src/std/clock.ts";
import { MAX_FRAME_BYTES } from "../src/wire/frame.ts";
import { FrameLog, LogCursor } from "../src/wire/frame-log.ts";
import * as V from "../src/wire/generated/views.ts";
import type { Memory } from "../src/wire/memory.ts";
import { scratchMemory } from "../src/wire/memory.ts";

const CAPTURES = process.env.TICKWIRE_CAPTURES ?? fileURLToPath(new URL("../../shared/captures", import.meta.url));
/** The reason why tests of recorded frames are skipped, or false. */
export const NO_CAPTURES: string | false = existsSync(CAPTURES) ? false : `no captures at ${CAPTURES}`;
export const BINANCE_RUN = ["spot-ethusdt-20240808.gz", "spot-ethusdt-20240809.gz"].map(
  (name) => `${CAPTURES}/binance/${name}`,
);
export const COINBASE_RUN = [`${CAPTURES}/coinbase/exchange-20210417.gz`];

/** How long anything is waited for; far more than it takes, and nothing is ever concluded from the time. */
const DEADLINE_MS = 40_000;
const LOOK_MS = 5;

/** Waits until something holds; fails with what was waited for. */
export async function eventually(
  holds: () => boolean,
  what: string | (() => string),
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const until = Date.now() + deadlineMs;
  while (!holds()) {
    if (Date.now() > until) throw new Error(`waited in vain for ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export interface Running {
  gateway: Gateway;
  url: string;
  stop(): Promise<void>;
}

/** Starts a gateway on a free port of the loopback; `urls` are the doubles' by venue. */
export async function startGateway(
  args: readonly string[],
  urls: Readonly<Record<string, { wsUrl: string; restUrl: string }>>,
): Promise<Running> {
  const env: Record<string, string> = {};
  for (const [venue, { wsUrl, restUrl }] of Object.entries(urls)) {
    env[`${venue.toUpperCase()}_WS_URL`] = wsUrl;
    env[`${venue.toUpperCase()}_REST_URL`] = restUrl;
  }
  const feeds = Object.keys(urls).join(",");
  // Clients of the same process read only when the loop lets them: their queues may grow, and nothing may be lost.
  const config = readConfig(["--port=0", "--ring-memory=64", "--max-queue=65536", `--feeds=${feeds}`, ...args], env);
  const gateway = new Gateway(config, pino({ level: "silent" }), "0.0.0");
  const started = await gateway.start();
  if ("error" in started) throw new Error(started.error);
  return { gateway, url: `ws://127.0.0.1:${started.port}`, stop: () => gateway.stop() };
}

/** Waits until a venue's instruments are known. */
export async function listed(running: Running, symbol: string): Promise<void> {
  const { catalog } = running.gateway.engine;
  await eventually(() => catalog.withSymbol(symbol).length > 0, `${symbol} to be listed`);
}

/** A frame in either encoding, in the words of the JSON form; times are microseconds. */
export interface Frame {
  type: string;
  stream: number;
  channel: string;
  epoch: number;
  position: number;
  seq: number;
  from_seq: number;
  ts_exchange: number | null;
  ts_receive: number;
  ts_publish: number;
  flags: string[];
}

export interface TradeFrame extends Frame {
  price: number;
  size: number;
  side: string | null;
  trade_id: string;
}

export interface BookFrame extends Frame {
  update_type: "snapshot" | "delta";
  sequence: number | null;
  prev_sequence: number | null;
  bids: [price: number, size: number][];
  asks: [price: number, size: number][];
}

export interface QuoteFrame extends Frame {
  bid_price: number | null;
  bid_size: number | null;
  ask_price: number | null;
  ask_size: number | null;
  sequence: number | null;
  live: boolean;
}

export interface TickerFrame extends Frame {
  last: number | null;
}

export interface BarFrame extends Frame {
  timeframe: string;
  open_time: number;
  close_time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  quote_volume: number | null;
  vwap: number | null;
  buy_volume: number | null;
  sell_volume: number | null;
  trade_count: number;
  state: string;
  source: string;
  partial: boolean;
  across_gap: boolean;
}

export interface IndicatorFrame extends Frame {
  timeframe: string;
  bar_time: number;
  state: string;
  /** By indicator, then by lane; `ready` too. Texts made from the values are left out. */
  values: Record<string, Record<string, number | boolean | null>>;
}

export interface StateFrame extends Frame {
  state: string;
  reason: string | null;
  gap: { from_id: number | null; to_id: number | null } | null;
}

/** Everything that is no frame: hello, acks, errors, heartbeats. */
export interface Message {
  type: string;
  status?: string;
  id?: unknown;
  code?: string;
  streams?: StreamInfo[];
  stream?: StreamInfo;
  indicators?: { id: number; name: string; lanes: string[] }[];
}

export interface StreamInfo {
  stream: number;
  channel: string;
  symbol: string;
  exchange: string;
  timeframe?: string;
  depth?: number | "full";
  seq: number;
  state: string;
  resumable: boolean;
}

const FLAG_NAMES = ["derived", "snapshot", "last_of_event", "correction", "backfilled", "inexact"];
const FRAME_TYPES = new Set("trade orderbook quote ticker funding liquidation bar indicators state".split(" "));

/** Decodes FlatBuffers frames with the generated views. */
export class FrameDecoder {
  readonly memory = scratchMemory(MAX_FRAME_BYTES);
  readonly #frame = new V.FrameView();
  readonly #trade = new V.TradeView();
  readonly #book = new V.BookLevelsView();
  readonly #quote = new V.QuoteView();
  readonly #ticker = new V.TickerView();
  readonly #bar = new V.BarView();
  readonly #indicators = new V.IndicatorsView();
  readonly #state = new V.StreamStateView();
  /** What the numbers in indicator frames mean, as the ack says. */
  readonly indicators = new Map<number, { name: string; lanes: string[] }>();

  decode(bytes: Uint8Array): Frame {
    this.memory.u8.set(bytes);
    return this.decodeAt(this.memory, 0);
  }

  decodeAt(memory: Memory, at: number): Frame {
    const frame = this.#frame;
    frame.attach(memory, at + memory.i32[at >> 2]);
    return {
      stream: frame.stream,
      channel: channelOfSlot(slotIn(frame.stream)) ?? "",
      epoch: frame.epoch,
      position: frame.position,
      seq: frame.seq,
      from_seq: frame.fromSeq,
      ts_exchange: frame.tsExchange || null,
      ts_receive: frame.tsReceive,
      ts_publish: frame.tsPublish,
      flags: FLAG_NAMES.filter((_name, bit) => (frame.flags & (1 << bit)) !== 0),
      ...this.#payload(memory, frame),
    };
  }

  #payload(
    memory: Memory,
    { payloadType, payloadAt: at, flags }: V.FrameView,
  ): { type: string; [field: string]: unknown } {
    switch (payloadType) {
      case V.PAYLOAD_TRADE: {
        const trade = this.#trade;
        trade.attach(memory, at);
        const { price, size, side, tradeId } = trade;
        return { type: "trade", price, size, side: nameOf(V.SIDE_NAMES, side), trade_id: tradeId };
      }
      case V.PAYLOAD_BOOK_LEVELS:
        return {
          type: "orderbook",
          update_type: (flags & 2) === 0 ? "delta" : "snapshot",
          ...this.#levels(memory, at),
        };
      case V.PAYLOAD_QUOTE: {
        const quote = this.#quote;
        quote.attach(memory, at);
        return {
          type: "quote",
          bid_price: known(quote.bidPrice),
          bid_size: known(quote.bidSize),
          ask_price: known(quote.askPrice),
          ask_size: known(quote.askSize),
          sequence: quote.venueSeq || null,
          live: quote.live,
        };
      }
      case V.PAYLOAD_TICKER:
        this.#ticker.attach(memory, at);
        return { type: "ticker", last: known(this.#ticker.last) };
      case V.PAYLOAD_BAR:
        return { type: "bar", ...this.#barFields(memory, at) };
      case V.PAYLOAD_INDICATORS:
        return { type: "indicators", ...this.#indicatorFields(memory, at) };
      case V.PAYLOAD_STREAM_STATE: {
        const state = this.#state;
        state.attach(memory, at);
        const gap = state.gap ? { from_id: state.gapFromId || null, to_id: state.gapToId || null } : null;
        return { type: "state", state: V.STATE_NAMES[state.state], reason: state.reason || null, gap };
      }
      default:
        return { type: `payload ${payloadType}` };
    }
  }

  #levels(memory: Memory, at: number): object {
    const book = this.#book;
    book.attach(memory, at);
    const bids = Array.from({ length: book.bidCount }, (_, i) => [book.bidPrice(i), book.bidSize(i)]);
    const asks = Array.from({ length: book.askCount }, (_, i) => [book.askPrice(i), book.askSize(i)]);
    return { sequence: book.venueSeq || null, prev_sequence: book.venuePrevSeq || null, bids, asks };
  }

  #barFields(memory: Memory, at: number): object {
    const bar = this.#bar;
    bar.attach(memory, at);
    return {
      timeframe: TIMEFRAMES[bar.timeframe],
      open_time: bar.openTime,
      close_time: bar.closeTime,
      open: known(bar.open),
      high: known(bar.high),
      low: known(bar.low),
      close: known(bar.close),
      volume: known(bar.volume),
      quote_volume: known(bar.quoteVolume),
      vwap: known(bar.vwap),
      buy_volume: known(bar.buyVolume),
      sell_volume: known(bar.sellVolume),
      trade_count: bar.tradeCount,
      state: nameOf(V.BAR_STATE_NAMES, bar.state),
      source: nameOf(V.BAR_SOURCE_NAMES, bar.source),
      partial: bar.partial,
      across_gap: bar.acrossGap,
    };
  }

  #indicatorFields(memory: Memory, at: number): object {
    const view = this.#indicators;
    view.attach(memory, at);
    const values: IndicatorFrame["values"] = {};
    for (let index = 0; index < view.valueCount; index += 1) {
      const id = view.valueIndicator(index);
      const { name, lanes } = this.indicators.get(id) ?? { name: `indicator ${id}`, lanes: [] };
      values[name] ??= {};
      values[name][lanes[view.valueLane(index)] ?? "?"] = known(view.valueValue(index));
      values[name].ready = view.valueReady(index) !== 0;
    }
    const state = nameOf(V.BAR_STATE_NAMES, view.state);
    return { timeframe: TIMEFRAMES[view.timeframe], bar_time: view.barTime, state, values };
  }
}

function known(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function nameOf(names: readonly string[], value: number): string | null {
  return value === 0 ? null : (names[value] ?? null);
}

/** Fields that the binary form does not carry, or that are made from others. */
const JSON_ONLY = ["exchange", "symbol", "market_type", "checksum", "is_block", "is_liquidation", "is_odd_lot"];
const TEXTS = ["color", "direction"];
const TICKER_ONLY = ["mark", "index", "open_interest", "volume_24h", "high_24h", "low_24h"];

/** A JSON frame, reduced to what a binary one is decoded to. */
function readJsonFrame(frame: Frame): Frame {
  const fields = frame as unknown as Record<string, unknown>;
  for (const name of JSON_ONLY) delete fields[name];
  if (frame.type === "ticker") for (const name of TICKER_ONLY) delete fields[name];
  if (frame.type === "indicators") {
    for (const values of Object.values((frame as IndicatorFrame).values)) for (const text of TEXTS) delete values[text];
  }
  if (frame.type === "state") {
    const { gap } = frame as StateFrame;
    if (gap !== null) fields.gap = { from_id: gap.from_id, to_id: gap.to_id };
  }
  return frame;
}

export type Encoding = "flatbuffers" | "json";

/** A client of `/stream` or `/raw` that keeps every frame and message, and checks the rule of completeness. */
export class Client {
  readonly frames: Frame[] = [];
  readonly messages: Message[] = [];
  /** Frames that left a hole, and ring frames that came twice. */
  readonly holes: Frame[] = [];
  readonly duplicates: Frame[] = [];
  /** The last sequence held, by stream. */
  readonly held = new Map<number, number>();
  readonly streams = new Map<number, StreamInfo>();
  closed: { code: number; reason: string } | undefined;
  /** Called with each frame, after the client's own account of it. */
  onFrame: (frame: Frame) => void = () => {};
  readonly #socket: WebSocket;
  readonly #decoder = new FrameDecoder();
  /** `/raw` begins with whatever is there, so its first frame of a stream sets the count. */
  readonly #anyStart: boolean;

  private constructor(url: string, encoding: Encoding) {
    this.#anyStart = url.includes("/raw");
    this.#socket = new WebSocket(`${url}?time_unit=us`, `tickwire.v1.${encoding}`, { perMessageDeflate: false });
    this.#socket.on("message", (data: Buffer, binary) => {
      if (binary) this.#take(this.#decoder.decode(data));
      else this.#text(data.toString());
    });
    this.#socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
  }

  static async open(url: string, encoding: Encoding): Promise<Client> {
    const client = new Client(url, encoding);
    await new Promise((resolve, reject) => client.#socket.once("open", resolve).once("error", reject));
    return client;
  }

  #text(text: string): void {
    const value = JSON.parse(text) as Frame | Message;
    if (FRAME_TYPES.has(value.type) && "seq" in value) this.#take(readJsonFrame(value as Frame));
    else this.#message(value as Message);
  }

  #message(message: Message): void {
    this.messages.push(message);
    for (const { id, name, lanes } of message.indicators ?? []) this.#decoder.indicators.set(id, { name, lanes });
    for (const info of [...(message.streams ?? []), ...(message.stream === undefined ? [] : [message.stream])]) {
      if (!this.streams.has(info.stream)) this.held.set(info.stream, info.seq);
      this.streams.set(info.stream, info);
    }
  }

  #take(frame: Frame): void {
    const { stream, seq, from_seq } = frame;
    const held = this.held.get(stream) ?? (this.#anyStart ? from_seq - 1 : 0);
    if (from_seq > held + 1) this.holes.push(frame);
    if (!frame.flags.includes("derived") && seq <= held) this.duplicates.push(frame);
    this.held.set(stream, Math.max(held, seq));
    this.frames.push(frame);
    this.onFrame(frame);
  }

  send(message: object): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** Subscribes and resolves to the ack; an error is thrown. */
  async subscribe(id: string, request: object): Promise<Message> {
    this.send({ type: "subscribe", id, ...request });
    const answer = () =>
      this.messages.find((each) => each.id === id && (each.type === "error" || each.status === "subscribed"));
    await this.until(() => answer() !== undefined, `the answer to ${id}`);
    const ack = answer() as Message;
    if (ack.type === "error") throw new Error(JSON.stringify(ack));
    return ack;
  }

  until(holds: () => boolean, what: string | (() => string)): Promise<void> {
    return eventually(() => {
      if (this.closed !== undefined) throw new Error(`closed with ${this.closed.code} ${this.closed.reason}`);
      return holds();
    }, what);
  }

  of<F extends Frame>(type: string): F[] {
    return this.frames.filter((frame) => frame.type === type) as F[];
  }

  /** The stream of a channel, as the acks name it. */
  stream(channel: string, symbol?: string, timeframe?: string): number {
    const infos = [...this.streams.values()];
    const found = infos.find(
      (info) =>
        info.channel === channel &&
        (symbol === undefined || info.symbol === symbol) &&
        (timeframe === undefined || info.timeframe === timeframe),
    );
    if (found === undefined) throw new Error(`no stream of ${channel} ${symbol ?? ""} ${timeframe ?? ""}`);
    return found.stream;
  }

  async close(): Promise<void> {
    if (this.closed !== undefined) return;
    this.#socket.close();
    await eventually(() => this.closed !== undefined, "the client to be closed");
  }
}

/** One side of a book as a client holds it, best first. */
export class HeldSide {
  readonly prices: number[] = [];
  readonly sizes: number[] = [];
  readonly #better: (a: number, b: number) => boolean;

  constructor(isBid: boolean) {
    this.#better = isBid ? (a, b) => a > b : (a, b) => a < b;
  }

  clear(): void {
    this.prices.length = 0;
    this.sizes.length = 0;
  }

  set(price: number, size: number): void {
    let low = 0;
    let high = this.prices.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#better(this.prices[middle] as number, price)) low = middle + 1;
      else high = middle;
    }
    const found = this.prices[low] === price;
    if (size === 0 && !found) return;
    if (size === 0) {
      this.prices.splice(low, 1);
      this.sizes.splice(low, 1);
    } else if (found) this.sizes[low] = size;
    else {
      this.prices.splice(low, 0, price);
      this.sizes.splice(low, 0, size);
    }
  }

  top(levels: number): [number, number][] {
    return this.prices.slice(0, levels).map((price, index) => [price, this.sizes[index] as number]);
  }
}

export interface Top {
  bid_price: number | null;
  bid_size: number | null;
  ask_price: number | null;
  ask_size: number | null;
}

/** A book as a client holds it: snapshots replace it, deltas change it; a level of size 0 is gone. */
export class HeldBook {
  readonly bids = new HeldSide(true);
  readonly asks = new HeldSide(false);
  /** The venue's number of the last update. */
  sequence = 0;
  /** The stream's sequence. */
  seq = 0;
  snapshots = 0;
  #unfinished = false;

  /** Applies a frame; true when it ended an event, so that the book is whole. */
  apply(frame: BookFrame): boolean {
    if (frame.update_type === "snapshot" && !this.#unfinished) {
      this.bids.clear();
      this.asks.clear();
      this.snapshots += 1;
    }
    for (const [price, size] of frame.bids) this.bids.set(price, size);
    for (const [price, size] of frame.asks) this.asks.set(price, size);
    this.#unfinished = !frame.flags.includes("last_of_event");
    this.sequence = frame.sequence ?? 0;
    this.seq = frame.seq;
    return !this.#unfinished;
  }

  get best(): Top {
    const [bid, ask] = [this.bids, this.asks].map(({ prices, sizes }) => [prices[0] ?? null, sizes[0] ?? null]);
    return {
      bid_price: bid?.[0] ?? null,
      bid_size: bid?.[1] ?? null,
      ask_price: ask?.[0] ?? null,
      ask_size: ask?.[1] ?? null,
    };
  }

  top(levels: number): { bids: [number, number][]; asks: [number, number][] } {
    return { bids: this.bids.top(levels), asks: this.asks.top(levels) };
  }
}

/** True when a quote says the very same as the top of a book. */
export function agrees(quote: Top, best: Top): boolean {
  return (
    quote.bid_price === best.bid_price &&
    quote.bid_size === best.bid_size &&
    quote.ask_price === best.ask_price &&
    quote.ask_size === best.ask_size
  );
}

export const START_MICROS = 1_700_000_000_000_000;

export const BINANCE_RULES: VenueRules = {
  integrity: "range",
  contiguousTradeIds: true,
  ownQuotes: true,
  quotesShareBookSequence: true,
};

export const COINBASE_RULES: VenueRules = {
  integrity: "guaranteed",
  contiguousTradeIds: true,
  ownQuotes: false,
  quotesShareBookSequence: false,
};

export type Levels = readonly (readonly [price: number, size: number])[];

/** An engine alone: a feed's calls go in, at times that the test sets, and the frames of its ring come out. */
export class EngineBench {
  readonly clock = new ManualClock(START_MICROS);
  readonly log: FrameLog;
  readonly engine: Engine;
  readonly venue: number;
  /** What was asked of the feed, in words. */
  readonly asked: string[] = [];
  readonly #decoder = new FrameDecoder();
  readonly #cursor: LogCursor;
  #tradeId = 0;

  constructor(rules: VenueRules, options: Partial<EngineOptions> = {}, ringBytes = 16 * 2 ** 20) {
    this.log = new FrameLog(ringBytes, 7);
    this.#cursor = new LogCursor(this.log);
    const catalog = new Catalog();
    const indicators = new IndicatorSet();
    this.engine = new Engine({ catalog, log: this.log, clock: this.clock, indicators, ...options });
    const { asked } = this;
    this.venue = this.engine.addVenue("venue", rules, {
      subscribe: (_instrument, channel) => asked.push(`subscribe ${channel}`),
      unsubscribe: (_instrument, channel) => asked.push(`unsubscribe ${channel}`),
      resyncBook: () => asked.push("resync"),
      fetchHistory: () => {},
    }).instrument.id;
  }

  /** Lists instruments; opens all channels of the first, and has the connection live. */
  start(symbols: readonly string[] = ["BTC/USDT"]): Instrument {
    const listings = symbols.map((symbol): InstrumentListing => {
      const channels: Channel[] = ["trades", "orderbook", "quotes", "ticker"];
      return { ...emptyListing(), symbol, venueSymbol: symbol.replace("/", ""), sizeUnit: "base", channels };
    });
    this.engine.tick();
    const ids = this.engine.instruments(this.venue, listings);
    this.connect();
    const instrument = this.engine.catalog.get(ids[0] as number) as Instrument;
    for (const channel of ["trades", "orderbook", "quotes"] as const) this.engine.open(instrument, channel);
    return instrument;
  }

  connect(): void {
    this.engine.connection(this.venue, STATE_LIVE, "");
  }

  disconnect(): void {
    this.engine.connection(this.venue, STATE_DOWN, "lost");
  }

  /** Times the `resync` was asked for. */
  get resyncs(): number {
    return this.asked.filter((what) => what === "resync").length;
  }

  /** Lets time go by, and the engine see it. */
  advance(micros: number): void {
    this.clock.advance(micros);
    this.engine.tick();
  }

  /** A message's fields by their place in the slot. */
  #fill(fields: Readonly<Record<number, number>>): void {
    const { numbers } = this.engine.slot;
    numbers.fill(0);
    for (const [field, value] of Object.entries(fields)) numbers[Number(field)] = value;
    this.engine.begin(this.venue);
  }

  trade(
    instrument: Instrument,
    price: number,
    options: { id?: number; text?: string; time?: number; size?: number } = {},
  ): void {
    const id = options.id ?? (options.text === undefined ? this.#tradeId + 1 : 0);
    if (id > 0) this.#tradeId = id;
    const { slot } = this.engine;
    this.#fill({
      [PRICE]: price,
      [SIZE]: options.size ?? 1,
      [TS_EXCHANGE]: options.time ?? this.clock.now(),
      [TRADE_NUMBER]: id,
    });
    const text = options.text ?? (id > 0 ? String(id) : "");
    slot.tradeIdLength = Buffer.from(text).copy(slot.tradeId);
    this.engine.trade(instrument.id, SIDE_BUY, 0);
  }

  #levels(bids: Levels, asks: Levels): void {
    const { slot } = this.engine;
    for (const [list, levels] of [
      [slot.bids, bids],
      [slot.asks, asks],
    ] as const) {
      list.count = 0;
      for (const [price, size] of levels) list.push(price, size);
    }
  }

  delta(instrument: Instrument, first: number, last: number, bids: Levels, asks: Levels): void {
    this.#levels(bids, asks);
    this.#fill({ [FIRST_SEQUENCE]: first, [LAST_SEQUENCE]: last, [TS_EXCHANGE]: this.clock.now() });
    this.engine.bookDelta(instrument.id, 0);
  }

  snapshot(instrument: Instrument, last: number, bids: Levels, asks: Levels): void {
    this.#levels(bids, asks);
    this.#fill({ [LAST_SEQUENCE]: last });
    this.engine.bookSnapshot(instrument.id, 0);
  }

  quote(
    instrument: Instrument,
    sequence: number,
    [bid, bidSize, ask, askSize]: readonly [number, number, number, number],
  ): void {
    this.#fill({
      [LAST_SEQUENCE]: sequence,
      [BID_PRICE]: bid,
      [BID_SIZE]: bidSize,
      [ASK_PRICE]: ask,
      [ASK_SIZE]: askSize,
    });
    this.engine.quote(instrument.id, 0);
  }

  lastTrade(instrument: Instrument, id: number): void {
    this.#fill({ [TRADE_NUMBER]: id, [TS_EXCHANGE]: this.clock.now() });
    this.engine.lastTrade(instrument.id);
  }

  /** The ring's frames since the last call, in their order; the directory's left out. */
  drain(): Frame[] {
    const frames: Frame[] = [];
    while (this.#cursor.next()) {
      const { ring, record } = this.#cursor;
      const frame = this.#decoder.decodeAt(ring.memory, ring.placeOf(record));
      if (frame.stream !== 0) frames.push(frame);
    }
    if (this.#cursor.lost > 0) throw new Error("the ring is too small for the test");
    return frames;
  }

  /** What `drain` gives, in a few words each: `orderbook stale sequence gap`. */
  story(): string[] {
    return this.drain().map((frame) => {
      const { channel, type } = frame;
      if (type === "state")
        return `${channel} ${(frame as StateFrame).state} ${(frame as StateFrame).reason ?? ""}`.trim();
      if (type === "orderbook")
        return `${channel} ${(frame as BookFrame).update_type} ${(frame as BookFrame).sequence}`;
      if (type === "quote") return `${channel} ${(frame as QuoteFrame).live ? "live" : "not live"}`;
      return type === "trade" ? `trade ${(frame as TradeFrame).trade_id}` : type;
    });
  }

  decode(memory: Memory): Frame {
    return this.#decoder.decodeAt(memory, 0);
  }
}

/** Reads the recorded Binance run into a sink by the feed's own parser, at the recorder's times. */
export function playBinance(bench: EngineBench, instrument: Instrument, sink: Sink = bench.engine): void {
  const symbols = new SymbolTable();
  symbols.add("ETHUSDT", instrument.id);
  const parser = new BinanceParser({
    sink,
    venue: bench.venue,
    symbols,
    started: new StartedStreams(),
    counters: new FeedCounters(),
    microseconds: false,
    onControl: () => {},
    onMalformed: (text) => {
      throw new Error(`not understood: ${text.slice(0, 100)}`);
    },
  });
  for (const path of BINANCE_RUN) {
    for (const { atMs, text } of readCapture(path)) {
      bench.clock.set(Math.floor(atMs * 1000));
      if (text.includes("lastUpdateId")) playSnapshot(bench, instrument, sink, JSON.parse(text.toString()));
      else parser.parse(text);
      bench.engine.tick();
    }
  }
}

function playSnapshot(bench: EngineBench, instrument: Instrument, sink: Sink, message: Record<string, unknown>): void {
  const { lastUpdateId, bids, asks } = message as { lastUpdateId: number; bids: string[][]; asks: string[][] };
  const { slot } = sink;
  for (const [list, levels] of [
    [slot.bids, bids],
    [slot.asks, asks],
  ] as const) {
    list.count = 0;
    for (const [price, size] of levels) list.push(Number(price), Number(size));
  }
  slot.numbers.fill(0);
  slot.numbers[LAST_SEQUENCE] = lastUpdateId;
  sink.begin(bench.venue);
  sink.bookSnapshot(instrument.id, 0);
}
