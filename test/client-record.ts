/**
 * The exact record of one logical client: every ring frame that it got, over all its connections and in either
 * encoding, judged by the rule of design.md section 3 as it comes, and at the end against what there was to get.
 */
import { createHash } from "node:crypto";
import {
  channelOfSlot,
  instrumentOf,
  SLOT_FUNDING,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_TICKER,
  slotIn,
} from "../src/market/channel.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { FLAG_DERIVED, FLAG_SNAPSHOT, MAX_FRAME_BYTES } from "../src/wire/frame.ts";
import * as V from "../src/wire/generated/views.ts";
import type { Memory } from "../src/wire/memory.ts";
import { scratchMemory } from "../src/wire/memory.ts";

export type FindingKind =
  /** Sequences were passed over, and nothing named them before. */
  | "hole"
  /** A ring frame came again. */
  | "duplicate"
  /** A ring frame came after a later one of its stream, or after a frame that stands for it. */
  | "late"
  /** A frame's content is not what the reference has, or not what came the first time. */
  | "changed"
  /** A gap names what came, what the client holds, what never was, or nothing. */
  | "wrong_gap"
  /** A book's changes came after a gap with no whole book since, or the whole book was older than the gap's end. */
  | "no_snapshot"
  /** A frame or a gap of a stream that no ack and no stream_added named. */
  | "unannounced"
  /** A frame of an epoch that is neither the connection's nor an open replay's. */
  | "wrong_epoch"
  /** A replay that began twice, ended without a begin, or brought what lies before its own start. */
  | "bracket"
  /** Neither a frame nor a message. */
  | "malformed"
  /** The reference has ring frames that the client neither got nor was told of. */
  | "missing"
  /** The client has a ring frame that the reference lacks. */
  | "invented";

export interface Finding {
  kind: FindingKind;
  epoch: number;
  stream: number;
  /** First and last sequence that it is about. */
  from: number;
  to: number;
  /** What else there is to say. */
  text: string;
}

/** Whole numbers as ranges, both ends included. */
export class Ranges {
  readonly #ranges: { from: number; to: number }[] = [];

  /** Adds `from` to `to`; nothing when `to` is less. */
  add(from: number, to: number): void {
    if (to < from) return;
    const first = this.#place(from - 1);
    let last = first;
    const merged = { from, to };
    for (let range = this.#ranges[last]; range !== undefined && range.from <= to + 1; range = this.#ranges[last]) {
      merged.from = Math.min(merged.from, range.from);
      merged.to = Math.max(merged.to, range.to);
      last += 1;
    }
    this.#ranges.splice(first, last - first, merged);
  }

  has(value: number): boolean {
    const range = this.#ranges[this.#place(value)];
    return range !== undefined && range.from <= value;
  }

  /** The first range that does not end before `value`. */
  #place(value: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ranges[middle] as { to: number }).to < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The parts of `from` to `to` that are not in it. */
  without(from: number, to: number): [from: number, to: number][] {
    const left: [number, number][] = [];
    let next = from;
    for (let index = this.#place(from); index < this.#ranges.length && next <= to; index += 1) {
      const range = this.#ranges[index] as { from: number; to: number };
      if (range.from > next) left.push([next, Math.min(to, range.from - 1)]);
      next = Math.max(next, range.to + 1);
    }
    if (next <= to) left.push([next, to]);
    return left;
  }
}

const CHUNK = 256;

/** A hash by sequence, 8 bytes each: above 0 of a frame's bytes, below 0 of its fields, 0 where there is none. */
class Hashes {
  count = 0;
  last = 0;
  readonly #chunks = new Map<number, Float64Array>();

  get(seq: number): number {
    return this.#chunks.get(Math.floor(seq / CHUNK))?.[seq % CHUNK] ?? 0;
  }

  set(seq: number, hash: number): void {
    const place = Math.floor(seq / CHUNK);
    let chunk = this.#chunks.get(place);
    if (chunk === undefined) {
      chunk = new Float64Array(CHUNK);
      this.#chunks.set(place, chunk);
    }
    if (chunk[seq % CHUNK] === 0) this.count += 1;
    chunk[seq % CHUNK] = hash;
    this.last = Math.max(this.last, seq);
  }

  /** Sequences of `from` to `to` that have one, ascending. */
  *within(from: number, to: number): Generator<number> {
    const places = [...this.#chunks.keys()].sort((a, b) => a - b);
    for (const place of places) {
      if (place * CHUNK > to || (place + 1) * CHUNK <= from) continue;
      const chunk = this.#chunks.get(place) as Float64Array;
      for (let index = 0; index < CHUNK; index += 1) {
        const seq = place * CHUNK + index;
        if (chunk[index] !== 0 && seq >= from && seq <= to) yield seq;
      }
    }
  }
}

/** 48 bits of SHA-1, and never 0. */
function hashOf(content: Uint8Array | string): number {
  return createHash("sha1").update(content).digest().readUIntBE(0, 6) + 1;
}

/** The header of a frame in either encoding. */
interface Header {
  stream: number;
  epoch: number;
  position: number;
  seq: number;
  fromSeq: number;
  isDerived: boolean;
  /** Of a book: its changes, or the whole of it. */
  book: "delta" | "snapshot" | undefined;
}

/** What JSON says of every frame, in the order of their fields' hash; what an ack says of the stream is left out. */
const HEADER_NAMES = "type stream channel epoch position seq from_seq ts_exchange ts_receive ts_publish flags".split(
  " ",
);
const FLAG_NAMES = ["derived", "snapshot", "last_of_event", "correction", "backfilled", "inexact"];
/** In the order of the union's members, whose numbers begin at 1. */
const FIELD_NAMES = new Map(
  Object.entries({
    trade: "price size side trade_id is_block is_liquidation is_odd_lot",
    orderbook: "update_type sequence prev_sequence checksum bids asks",
    quote: "bid_price bid_size ask_price ask_size sequence live",
    ticker: "last mark index open_interest volume_24h high_24h low_24h",
    funding: "rate next_time mark index",
    liquidation: "price size side",
    bar: "timeframe open_time close_time open high low close volume quote_volume vwap buy_volume sell_volume trade_count state source partial across_gap",
    indicators: "timeframe bar_time state values",
    state: "state reason gap",
    stream: "id of_instrument of_channel timeframe",
    instrument:
      "id of_symbol of_exchange venue_symbol of_market_type base quote settle expiry contract_size size_unit price_decimals size_decimals tick lot min_size min_notional status book_depth",
  }).map(([type, names]) => [type, names.split(" ")]),
);
const TYPES = [...FIELD_NAMES.keys()];

/** Reads a frame's fields from its bytes, in the words and the order of the JSON form. Not a finite number is null. */
class FieldReader {
  readonly frame = new V.FrameView();
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

  /** The fields of the frame that `frame` is attached to, as one text. */
  text(memory: Memory): string {
    const { stream, epoch, position, seq, fromSeq, tsExchange, tsReceive, tsPublish, flags, payloadType, payloadAt } =
      this.frame;
    const names = FLAG_NAMES.filter((_name, bit) => (flags & (1 << bit)) !== 0);
    const channel = channelOfSlot(slotIn(stream)) ?? null;
    const type = TYPES[payloadType - 1];
    const times = [tsExchange, tsReceive, tsPublish].map((time) => time || null);
    const header = [type, stream, channel, epoch, position, seq, fromSeq, ...times, names];
    return JSON.stringify([...header, ...this.#payload(memory, payloadAt, payloadType, flags)]);
  }

  #payload(memory: Memory, at: number, payloadType: number, flags: number): unknown[] {
    switch (payloadType) {
      case V.PAYLOAD_TRADE: {
        const v = this.#trade;
        v.attach(memory, at);
        const bits = [1, 2, 4].map((bit) => (v.flags & bit) !== 0);
        return [v.price, v.size, nameOf(V.SIDE_NAMES, v.side), v.tradeId || null, ...bits];
      }
      case V.PAYLOAD_BOOK_LEVELS: {
        const v = this.#book;
        v.attach(memory, at);
        const bids = Array.from({ length: v.bidCount }, (_, i) => [v.bidPrice(i), v.bidSize(i)]);
        const asks = Array.from({ length: v.askCount }, (_, i) => [v.askPrice(i), v.askSize(i)]);
        const update = (flags & FLAG_SNAPSHOT) === 0 ? "delta" : "snapshot";
        return [update, v.venueSeq || null, v.venuePrevSeq || null, v.checksum || null, bids, asks];
      }
      case V.PAYLOAD_QUOTE: {
        const v = this.#quote;
        v.attach(memory, at);
        return [v.bidPrice, v.bidSize, v.askPrice, v.askSize, v.venueSeq || null, v.live];
      }
      case V.PAYLOAD_TICKER: {
        const v = this.#ticker;
        v.attach(memory, at);
        return [v.last, v.mark, v.index, v.openInterest, v.volume24h, v.high24h, v.low24h];
      }
      case V.PAYLOAD_FUNDING: {
        const v = this.#funding;
        v.attach(memory, at);
        return [v.rate, v.nextTime || null, v.mark, v.index];
      }
      case V.PAYLOAD_LIQUIDATION: {
        const v = this.#liquidation;
        v.attach(memory, at);
        return [v.price, v.size, nameOf(V.SIDE_NAMES, v.side)];
      }
      case V.PAYLOAD_BAR:
        return this.#barFields(memory, at);
      case V.PAYLOAD_INDICATORS:
        return this.#indicatorFields(memory, at);
      default:
        return this.#rareFields(memory, at, payloadType);
    }
  }

  #barFields(memory: Memory, at: number): unknown[] {
    const v = this.#bar;
    v.attach(memory, at);
    const times = [v.openTime || null, v.closeTime || null];
    const volumes = [v.volume, v.quoteVolume, v.vwap, v.buyVolume, v.sellVolume, v.tradeCount];
    const names = [nameOf(V.BAR_STATE_NAMES, v.state), nameOf(V.BAR_SOURCE_NAMES, v.source)];
    const prices = [v.open, v.high, v.low, v.close];
    return [TIMEFRAMES[v.timeframe] ?? null, ...times, ...prices, ...volumes, ...names, v.partial, v.acrossGap];
  }

  /** Of each indicator its number, whether it is ready, and the lanes that are known. */
  #indicatorFields(memory: Memory, at: number): unknown[] {
    const v = this.#indicators;
    v.attach(memory, at);
    const values = new Map<number, [id: number, ready: boolean, lanes: [number, number][]]>();
    for (let index = 0; index < v.valueCount; index += 1) {
      const id = v.valueIndicator(index);
      const entry = values.get(id) ?? [id, v.valueReady(index) !== 0, []];
      if (Number.isFinite(v.valueValue(index))) entry[2].push([v.valueLane(index), v.valueValue(index)]);
      values.set(id, entry);
    }
    const state = nameOf(V.BAR_STATE_NAMES, v.state);
    return [TIMEFRAMES[v.timeframe] ?? null, v.barTime || null, state, [...values.values()].sort(byNumber)];
  }

  #rareFields(memory: Memory, at: number, payloadType: number): unknown[] {
    if (payloadType === V.PAYLOAD_STREAM_STATE) {
      const v = this.#state;
      v.attach(memory, at);
      const ends = [v.gapFromId, v.gapToId, v.gapFromTime, v.gapToTime].map((end) => end || null);
      return [nameOf(V.STATE_NAMES, v.state), v.reason || null, v.gap ? [...ends, v.gapRefilled] : null];
    }
    if (payloadType === V.PAYLOAD_STREAM) {
      const v = this.#stream;
      v.attach(memory, at);
      // Channel 0 is the state's, not an unknown one.
      return [v.id, v.instrument, V.CHANNEL_NAMES[v.channel] ?? null, TIMEFRAMES[v.timeframe] ?? null];
    }
    if (payloadType !== V.PAYLOAD_INSTRUMENT) return [];
    const v = this.#instrument;
    v.attach(memory, at);
    const type = nameOf(V.MARKET_TYPE_NAMES, v.marketType);
    const names = [v.symbol, v.exchange, v.venueSymbol, type, v.base, v.quote, v.settle].map((name) => name || null);
    const unit = [v.contractSize, nameOf(V.SIZE_UNIT_NAMES, v.sizeUnit), v.priceDecimals, v.sizeDecimals];
    const limits = [v.tick, v.lot, v.minSize, v.minNotional, nameOf(V.INSTRUMENT_STATUS_NAMES, v.status), v.bookDepth];
    return [v.id, ...names, v.expiry || null, ...unit, ...limits];
  }
}

function nameOf(names: readonly string[], value: number): string | null {
  return value === 0 ? null : (names[value] ?? null);
}

function byNumber(a: readonly [number, ...unknown[]], b: readonly [number, ...unknown[]]): number {
  return a[0] - b[0];
}

/** `TWF1`, little-endian. */
const IDENTIFIER = 0x31465754;

/** Every ring frame that there was to get: filled by the test, from the ring or a journal. */
export class FrameReference {
  readonly #streams = new Map<string, { bytes: Hashes; fields: Hashes }>();
  readonly #memory = scratchMemory(MAX_FRAME_BYTES);
  readonly #reader = new FieldReader();

  /** A finished ring frame's bytes, of any epoch. */
  add(bytes: Uint8Array): void {
    const memory = this.#memory;
    const { frame } = this.#reader;
    memory.u8.set(bytes);
    frame.attach(memory, memory.i32[0]);
    const key = `${frame.epoch} ${frame.stream}`;
    const stream = this.#streams.get(key) ?? { bytes: new Hashes(), fields: new Hashes() };
    this.#streams.set(key, stream);
    stream.bytes.set(frame.seq, hashOf(bytes));
    stream.fields.set(frame.seq, -hashOf(this.#reader.text(memory)));
  }

  /** A stream's last sequence; 0 when it has none. */
  last(epoch: number, stream: number): number {
    return this.#streams.get(`${epoch} ${stream}`)?.bytes.last ?? 0;
  }

  /** The hash to compare with one of the same sign; 0 when there is no such frame. */
  hash(epoch: number, stream: number, seq: number, sign: number): number {
    return this.#streams.get(`${epoch} ${stream}`)?.[sign > 0 ? "bytes" : "fields"].get(seq) ?? 0;
  }

  /** The sequences there are of `from` to `to`, ascending. */
  within(epoch: number, stream: number, from: number, to: number): Iterable<number> {
    return this.#streams.get(`${epoch} ${stream}`)?.bytes.within(from, to) ?? [];
  }
}

/** What an ack or a stream_added says of a stream. */
export interface AnnouncedStream {
  stream: number;
  seq: number;
  channel?: string;
  symbol?: string;
  exchange?: string;
  timeframe?: string;
  depth?: number | "full";
}

/** What a finding is about. */
interface About {
  epoch?: number | undefined;
  stream?: number;
}

/** A gap as it was taken: `to` is infinite where it was told without an end, or for an epoch that is over. */
export interface ToldGap {
  from: number;
  to: number;
  reason: string;
}

function unnamed(stream: number): string {
  return `stream ${stream}`;
}

/** One stream of one epoch. */
export class StreamRecord {
  readonly epoch: number;
  readonly stream: number;
  info: AnnouncedStream | undefined;
  /** Sequences up to this one were never owed. */
  start: number;
  held: number;
  readonly received = new Hashes();
  /** What derived frames stood for; and only those of state, which may be conflated. */
  readonly covered = new Ranges();
  readonly conflated = new Ranges();
  readonly gaps: ToldGap[] = [];
  readonly named = new Ranges();
  /** Not owed: between an unsubscription and the next subscription. */
  readonly released = new Ranges();
  isEnded = false;
  duplicates = 0;
  derivedFrames = 0;
  /** Ring frames that came after the last gap. */
  sinceGap = 0;
  /** Of a book after a gap: where the whole book that must come has to stand at least. */
  snapshotFrom: number | undefined;

  constructor(epoch: number, stream: number, start: number, info?: AnnouncedStream) {
    this.epoch = epoch;
    this.stream = stream;
    this.start = start;
    this.held = start;
    this.info = info;
  }

  get isEmpty(): boolean {
    return this.received.count === 0 && this.gaps.length === 0 && this.derivedFrames === 0;
  }

  /** What it is, in words that hold beyond its epoch. */
  get name(): string {
    if (this.info?.symbol === undefined) return unnamed(this.stream);
    const { exchange, symbol, channel, timeframe = "" } = this.info;
    return `${exchange} ${symbol} ${channel} ${timeframe}`;
  }

  /** The sequences after the start that the client passed over and was never told of, whatever came later. */
  holes(): [from: number, to: number][] {
    const known = new Ranges();
    for (const seq of this.received.within(this.start + 1, this.held)) known.add(seq, seq);
    return [this.covered, this.named, this.released].reduce(
      (left, ranges) => left.flatMap(([from, to]) => ranges.without(from, to)),
      known.without(this.start + 1, this.held),
    );
  }
}

/** True where derived frames may stand for ring frames that were left out: design.md section 6, "State". */
export function isState({ stream, info }: StreamRecord): boolean {
  const slot = slotIn(stream);
  if (slot === SLOT_ORDERBOOK) return typeof info?.depth === "number";
  return slot === SLOT_QUOTES || slot === SLOT_TICKER || slot === SLOT_FUNDING;
}

/** Any text message. A frame in JSON has `seq`; the rest is control. */
interface TextMessage {
  type?: string;
  status?: string;
  id?: unknown;
  subscription?: unknown;
  epoch?: number;
  streams?: AnnouncedStream[];
  stream?: AnnouncedStream | number;
  indicators?: { id: number; name: string; lanes: string[] }[];
  from?: number | null;
  to?: number | null;
  reason?: string;
  from_position?: number;
  position?: number;
  truncated?: boolean;
  seq?: number;
  from_seq?: number;
  flags?: string[];
  update_type?: "delta" | "snapshot";
}

export interface Replay {
  id: unknown;
  epoch: number;
  fromPosition: number;
  truncated: boolean;
  /** The position that its end told; undefined while it is open, and for ever where a connection ended before. */
  toPosition?: number;
}

export interface ClientRecordOptions {
  /** A client of `/raw`, whose streams begin with whatever is there. */
  anyStart?: boolean;
  /** Which streams are state. */
  isState?: (stream: StreamRecord) => boolean;
}

/**
 * Takes the messages of one logical client in the order in which they came. A `hello` begins the next connection: what
 * is held of an epoch goes on, so a client that does not resume must say so by `release`. JSON connections must ask for
 * `time_unit=us`.
 */
export class ClientRecord {
  /** In the order in which they were made. */
  readonly findings: Finding[] = [];
  readonly replays: Replay[] = [];
  /** Control messages by their type; acks and errors included. */
  readonly messages = new Map<string, number>();
  frames = 0;
  connections = 0;
  /** The connection's epoch; undefined before the first hello. */
  epoch: number | undefined;
  readonly #streams = new Map<string, StreamRecord>();
  readonly #open = new Map<unknown, Replay>();
  readonly #subscriptions = new Map<unknown, Set<number>>();
  /** By name: the number of an indicator and the order of its lanes. */
  readonly #indicators = new Map<string, { id: number; lanes: string[] }>();
  readonly #memory = scratchMemory(MAX_FRAME_BYTES);
  readonly #reader = new FieldReader();
  readonly #anyStart: boolean;
  readonly #isState: (stream: StreamRecord) => boolean;

  constructor(options: ClientRecordOptions = {}) {
    this.#anyStart = options.anyStart ?? false;
    this.#isState = options.isState ?? isState;
  }

  get streams(): StreamRecord[] {
    return [...this.#streams.values()];
  }

  /** The record of a stream, of the connection's epoch where none is named. */
  stream(stream: number, epoch = this.epoch): StreamRecord | undefined {
    return this.#streams.get(`${epoch} ${stream}`);
  }

  /** Ring frames that came again. */
  get duplicates(): number {
    return this.streams.reduce((sum, { duplicates }) => sum + duplicates, 0);
  }

  /** The client lets go of all that it holds: where it stands next is what the next acks say. */
  release(): void {
    for (const stream of this.#streams.values()) stream.isEnded = true;
    this.#subscriptions.clear();
  }

  /** One message as the socket gave it. */
  take(data: Uint8Array, isBinary: boolean): void {
    if (isBinary) this.#binary(data);
    else this.#text(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString());
  }

  #find(kind: FindingKind, { epoch = 0, stream = 0 }: About, text: string, from = 0, to = from): void {
    this.findings.push({ kind, epoch, stream, from, to, text });
  }

  #binary(bytes: Uint8Array): void {
    const memory = this.#memory;
    const { frame } = this.#reader;
    const { length } = bytes;
    memory.u8.fill(0, 0, 12);
    if (length <= MAX_FRAME_BYTES) memory.u8.set(bytes);
    const root = memory.i32[0];
    const isFrame = length % 8 === 0 && length >= 12 && length <= MAX_FRAME_BYTES && memory.i32[1] === IDENTIFIER;
    if (!isFrame || root < 0 || root > length - 4 || root % 4 !== 0 || !frame.attach(memory, root)) {
      this.#find("malformed", {}, `${length} bytes that are no frame`);
      return;
    }
    const { stream, epoch, position, seq, fromSeq, flags, payloadType } = frame;
    const update = (flags & FLAG_SNAPSHOT) === 0 ? "delta" : "snapshot";
    const book = payloadType === V.PAYLOAD_BOOK_LEVELS ? update : undefined;
    const isDerived = (flags & FLAG_DERIVED) !== 0;
    this.#frame({ stream, epoch, position, seq, fromSeq, isDerived, book }, () => hashOf(bytes));
  }

  #text(text: string): void {
    const message = parse(text);
    if (message === undefined) this.#find("malformed", {}, `no JSON object: ${text.slice(0, 100)}`);
    else if (message.seq !== undefined && FIELD_NAMES.has(message.type ?? "")) this.#json(message);
    else this.#control(message);
  }

  #json(message: TextMessage): void {
    const {
      type,
      stream,
      epoch = Number.NaN,
      position = Number.NaN,
      seq = Number.NaN,
      from_seq = Number.NaN,
    } = message;
    const header: Header = {
      stream: typeof stream === "number" ? stream : Number.NaN,
      epoch,
      position,
      seq,
      fromSeq: from_seq,
      isDerived: message.flags?.includes("derived") ?? false,
      book: type === "orderbook" ? message.update_type : undefined,
    };
    this.#frame(header, () => -hashOf(this.#fieldsOf(message)));
    // Names are not in the bytes, so the reference has none: the ack has.
    const info = this.stream(header.stream, epoch)?.info;
    const { exchange, symbol } = message as unknown as AnnouncedStream;
    if (info?.symbol === undefined || (exchange === info.exchange && (symbol ?? "") === info.symbol)) return;
    this.#find("changed", header, `of ${exchange} ${symbol}`, seq);
  }

  /** The text that `FieldReader` makes of the same frame's bytes. */
  #fieldsOf(message: TextMessage): string {
    const fields = message as Record<string, unknown>;
    const { type } = fields as { type: string };
    const values = [...HEADER_NAMES, ...(FIELD_NAMES.get(type) as string[])].map((name) =>
      fields[name] === undefined ? "absent" : fields[name],
    );
    const gap = fields.gap as Record<string, unknown> | null | undefined;
    if (type === "state" && gap) {
      values[values.length - 1] = ["from_id", "to_id", "from_time", "to_time", "refilled"].map((name) => gap[name]);
    }
    if (type === "indicators") {
      const named = Object.entries((fields.values ?? {}) as Record<string, Record<string, unknown>>);
      values[values.length - 1] = named.map(([name, lanes]) => this.#indicatorOf(name, lanes)).sort(byNumber);
    }
    return JSON.stringify(values);
  }

  #indicatorOf(name: string, values: Record<string, unknown>): [number, ...unknown[]] {
    const { id, lanes } = this.#indicators.get(name) ?? { id: -1, lanes: [] };
    const known = lanes.map((lane, index) => [index, values[lane]]).filter(([, value]) => value !== null);
    return [id, values.ready, known];
  }

  #frame(header: Header, hash: () => number): void {
    const { stream: number, epoch, position, seq, fromSeq, isDerived } = header;
    const whole = [number, epoch, position, seq, fromSeq].every((value) => Number.isSafeInteger(value) && value >= 0);
    // A derived frame may stand for nothing: then it begins after its own end.
    if (!whole || (isDerived ? fromSeq > seq + 1 : fromSeq !== seq || seq === 0)) {
      this.#find("malformed", { epoch, stream: number }, `a frame from ${fromSeq} to ${seq}`, seq);
      return;
    }
    this.frames += 1;
    this.#checkPlace(header);
    const stream = this.stream(number, epoch) ?? this.#unannounced(header);
    this.#checkBook(stream, header);
    if (isDerived) this.#derived(stream, header);
    else this.#ring(stream, header, hash());
  }

  #checkPlace({ epoch, position, stream, seq, isDerived }: Header): void {
    const replays = [...this.#open.values()].filter((replay) => replay.epoch === epoch);
    this.epoch ??= epoch;
    if (epoch !== this.epoch && replays.length === 0) {
      this.#find("wrong_epoch", { epoch, stream }, `the connection's is ${this.epoch}`, seq);
    }
    for (const { id, fromPosition } of isDerived ? [] : replays) {
      if (position > fromPosition) continue;
      this.#find("bracket", { epoch, stream }, `position ${position} in replay ${id} from ${fromPosition}`, seq);
    }
  }

  #unannounced({ epoch, stream, seq, fromSeq }: Header): StreamRecord {
    // Of another epoch than the connection's nothing is announced: a stream that is not held yet was born since.
    const isOld = epoch !== this.epoch;
    if (!this.#anyStart && !isOld) this.#find("unannounced", { epoch, stream }, "a frame", fromSeq, seq);
    return this.#begin(new StreamRecord(epoch, stream, isOld ? 0 : Math.max(0, fromSeq - 1)));
  }

  #begin(stream: StreamRecord): StreamRecord {
    this.#streams.set(`${stream.epoch} ${stream.stream}`, stream);
    return stream;
  }

  #checkBook(stream: StreamRecord, { book, seq }: Header): void {
    const { snapshotFrom } = stream;
    if (snapshotFrom === undefined || book === undefined) return;
    if (book === "snapshot" && seq >= snapshotFrom) {
      stream.snapshotFrom = undefined;
      return;
    }
    this.#find("no_snapshot", stream, `a ${book} after the gap to ${snapshotFrom}`, seq);
    // Said once.
    stream.snapshotFrom = undefined;
  }

  #derived(stream: StreamRecord, { fromSeq, seq }: Header): void {
    // The first snapshot sets where the stream begins; its other parts have the same sequence.
    if (stream.isEmpty && fromSeq <= stream.start) stream.start = Math.max(stream.start, seq);
    else if (fromSeq > stream.held + 1) this.#hole(stream, fromSeq - 1);
    stream.derivedFrames += 1;
    stream.covered.add(fromSeq, seq);
    if (this.#isState(stream)) stream.conflated.add(fromSeq, seq);
    stream.held = Math.max(stream.held, seq);
  }

  #ring(stream: StreamRecord, { seq }: Header, hash: number): void {
    const isFirst = stream.received.count === 0 && stream.gaps.length === 0;
    // A replay may bring what lies before the ack: then that is where the stream begins.
    if (isFirst && seq <= stream.start && this.#open.size > 0) {
      stream.start = seq - 1;
      stream.held = seq - 1;
    }
    const before = stream.received.get(seq);
    if (before !== 0) {
      stream.duplicates += 1;
      this.#find("duplicate", stream, "a frame came again", seq);
      if (before > 0 === hash > 0 && before !== hash) this.#find("changed", stream, "not as it came before", seq);
      return;
    }
    if (stream.named.has(seq)) this.#find("wrong_gap", stream, "a frame came that a gap had named", seq);
    else if (seq <= stream.held) this.#find("late", stream, `a frame after ${stream.held}`, seq);
    else if (seq > stream.held + 1) this.#hole(stream, seq - 1);
    stream.received.set(seq, hash);
    stream.held = Math.max(stream.held, seq);
    stream.sinceGap += 1;
  }

  #hole(stream: StreamRecord, to: number): void {
    this.#find("hole", stream, "passed over without a gap", stream.held + 1, to);
  }

  #control(message: TextMessage): void {
    const { type = "", status, id, streams = [], stream, subscription } = message;
    this.messages.set(type, (this.messages.get(type) ?? 0) + 1);
    for (const { id: number, name, lanes } of message.indicators ?? [])
      this.#indicators.set(name, { id: number, lanes });
    if (type === "hello") this.#hello(message);
    else if (type === "gap") this.#gap(message);
    else if (type === "replay_begin") this.#replayBegin(message);
    else if (type === "replay_end") this.#replayEnd(message);
    else if (type === "stream_added" && typeof stream === "object") this.#announce(stream, subscription);
    else if (status === "subscribed") this.#subscribed(id, streams);
    else if (status === "unsubscribed") {
      const left = this.#subscriptions.get(subscription) ?? [];
      this.#subscriptions.delete(subscription);
      this.#left(left);
    }
  }

  #hello({ epoch }: TextMessage): void {
    this.connections += 1;
    this.epoch = epoch;
    // What a connection began and did not end is never ended. The streams go on.
    this.#open.clear();
    this.#subscriptions.clear();
  }

  #announce(info: AnnouncedStream, subscription: unknown): void {
    const known = this.stream(info.stream);
    this.#subscriptions.get(subscription)?.add(info.stream);
    if (known === undefined) this.#begin(new StreamRecord(this.epoch ?? 0, info.stream, info.seq, info));
    else {
      known.info = info;
      if (!known.isEnded) return;
      known.isEnded = false;
      known.released.add(known.held + 1, info.seq);
      known.held = Math.max(known.held, info.seq);
    }
  }

  #subscribed(id: unknown, streams: readonly AnnouncedStream[]): void {
    // A second subscription by the same id takes the place of the first.
    const before = this.#subscriptions.get(id) ?? [];
    this.#subscriptions.set(id, new Set());
    for (const each of streams) this.#announce(each, id);
    this.#left(before);
  }

  /** Ends those of a former subscription that no other one names. */
  #left(streams: Iterable<number>): void {
    for (const number of streams) {
      const isWanted = [...this.#subscriptions.values()].some((others) => others.has(number));
      const stream = this.stream(number);
      if (stream !== undefined && !isWanted) stream.isEnded = true;
    }
  }

  #gap({ stream: number, from, to, reason = "", epoch }: TextMessage): void {
    if (typeof number !== "number") {
      this.#find("malformed", { epoch: this.epoch }, "a gap without a stream");
      return;
    }
    // What a restart lost lies in the epoch that the client held before, and the server cannot know its end.
    const isOld = epoch === undefined && (reason === "restart" || reason === "epoch");
    const older = isOld ? this.#heldBefore(number) : undefined;
    const stream = older ?? this.stream(number, epoch ?? [...this.#open.values()][0]?.epoch ?? this.epoch);
    if (stream === undefined) {
      this.#find("unannounced", { epoch: this.epoch, stream: number }, "a gap", from ?? 0, to ?? 0);
      return;
    }
    const first = from ?? stream.held + 1;
    this.#named(
      stream,
      first,
      older !== undefined ? Number.POSITIVE_INFINITY : (to ?? Number.POSITIVE_INFINITY),
      reason,
    );
  }

  /** The same stream in the newest of the earlier epochs: by its name, or, where acks gave none, by its number. */
  #heldBefore(number: number): StreamRecord | undefined {
    const name = this.stream(number)?.name ?? unnamed(number);
    return this.streams.findLast((stream) => stream.epoch !== this.epoch && stream.name === name);
  }

  #named(stream: StreamRecord, from: number, to: number, reason: string): void {
    stream.gaps.push({ from, to, reason });
    stream.sinceGap = 0;
    if (!(from >= 0 && from <= to)) {
      this.#find("wrong_gap", stream, "it names nothing", from, to);
      return;
    }
    const came = [...stream.received.within(from, to)];
    if (came.length > 0) {
      this.#find("wrong_gap", stream, `${came.length} of what it names had come`, came[0], came.at(-1));
    }
    if (to <= stream.held) this.#find("wrong_gap", stream, `the client holds ${stream.held}`, from, to);
    if (from > stream.held + 1) this.#hole(stream, from - 1);
    stream.named.add(from, to);
    if (to === Number.POSITIVE_INFINITY) stream.isEnded = true;
    else stream.held = Math.max(stream.held, to);
    if (slotIn(stream.stream) === SLOT_ORDERBOOK && to !== Number.POSITIVE_INFINITY) stream.snapshotFrom = to;
  }

  #replayBegin({ id, epoch = Number.NaN, from_position = Number.NaN, truncated = false }: TextMessage): void {
    if (this.#open.has(id)) this.#find("bracket", { epoch }, `replay ${id} began twice`);
    const replay: Replay = { id, epoch, fromPosition: from_position, truncated };
    this.replays.push(replay);
    this.#open.set(id, replay);
  }

  #replayEnd({ id, epoch, position = Number.NaN }: TextMessage): void {
    const replay = this.#open.get(id);
    this.#open.delete(id);
    if (replay === undefined) this.#find("bracket", { epoch: this.epoch }, `replay ${id} ended and had not begun`);
    else if (position >= replay.fromPosition || (epoch !== undefined && epoch !== replay.epoch))
      replay.toPosition = position;
    else this.#find("bracket", replay, `replay ${id} from ${replay.fromPosition} ended at ${position}`);
  }

  /** True when no replay is open and the epoch's streams stand where the reference ends: then comparing is fair. */
  isLevelWith(reference: FrameReference): boolean {
    const isLevel = ({ isEnded, held, epoch, stream }: StreamRecord) =>
      isEnded || epoch !== this.epoch || held >= reference.last(epoch, stream);
    return this.#open.size === 0 && this.streams.every(isLevel);
  }

  /**
   * What differs from what there was: frames that are not the reference's, frames of the reference that the client
   * lacks and was not told of, gaps that name what never was. A derived frame excuses the lack for state only. What was
   * found as it came is in `findings`, and not again here.
   */
  compareWith(reference: FrameReference): Finding[] {
    const earlier = this.findings.length;
    for (const stream of this.#streams.values()) {
      this.#compareContent(stream, reference);
      this.#compareLack(stream, reference);
      const last = reference.last(stream.epoch, stream.stream);
      for (const { from, to, reason } of stream.gaps) {
        if (to < Number.POSITIVE_INFINITY && to > last) {
          this.#find("wrong_gap", stream, `the last is ${last}: ${reason}`, from, to);
        }
      }
    }
    return this.findings.splice(earlier);
  }

  #compareContent({ epoch, stream, received }: StreamRecord, reference: FrameReference): void {
    for (const seq of received.within(0, Number.POSITIVE_INFINITY)) {
      const hash = received.get(seq);
      const wanted = reference.hash(epoch, stream, seq, hash);
      if (wanted === 0) this.#find("invented", { epoch, stream }, "not in the reference", seq);
      else if (wanted !== hash) this.#find("changed", { epoch, stream }, "not as in the reference", seq);
    }
  }

  #compareLack(stream: StreamRecord, reference: FrameReference): void {
    const { epoch, stream: number, start, held, isEnded, received, named, conflated, released } = stream;
    const end = isEnded ? held : Math.max(held, reference.last(epoch, number));
    let run: Finding | undefined;
    for (const seq of reference.within(epoch, number, start + 1, end)) {
      const isExcused = [named, conflated, released].some((ranges) => ranges.has(seq));
      if (received.get(seq) !== 0 || isExcused) continue;
      if (run?.to === seq - 1) {
        run.to = seq;
        continue;
      }
      this.#find("missing", stream, `instrument ${instrumentOf(number)} ${channelOfSlot(slotIn(number))}`, seq);
      run = this.findings.at(-1);
    }
  }
}

/** A text message, or undefined when it is no JSON object. */
function parse(text: string): TextMessage | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as TextMessage) : undefined;
  } catch {
    return undefined;
  }
}
