/**
 * Random frames of every payload, from a seed: ordinary values mixed with the extreme and the unknown. The payloads of
 * the hot path are written by the project's own writers, the rest by the official Builder through flatc's accessors;
 * frames of a schema other than today's by the Builder, driven by that schema's model.
 */
import { readFileSync } from "node:fs";
import { Builder } from "flatbuffers";
import { type Field, parseSchema, type Schema } from "../schema/parse.ts";
import { fallbackOf, scalarOf, slotsOf } from "../schema/templates.ts";
import { SLOTS_PER_INSTRUMENT, streamOf } from "../src/market/channel.ts";
import * as S from "../src/market/sink.ts";
import type { Random } from "../src/std/random.ts";
import * as F from "../src/wire/frame.ts";
import { Frame, Instrument, Payload, StreamState } from "../src/wire/generated/tickwire.ts";
import { type Memory, scratchMemory } from "../src/wire/memory.ts";

export const SCHEMA_TEXT = readFileSync(new URL("../schema/tickwire.fbs", import.meta.url), "utf8");
export const SCHEMA = parseSchema(SCHEMA_TEXT);
export const PAYLOADS: readonly string[] = SCHEMA.union.members;

/** Values by the schema's field names; a vector is a list of its structs. Unknown is what the schema says it is. */
export type Row = Record<string, number>;
export type Value = number | boolean | string | Row[];
export interface FrameValues {
  payload: string;
  header: Row;
  fields: Record<string, Value>;
}

const LARGEST = Number.MAX_SAFE_INTEGER;
const BIT_PATTERN = new DataView(new ArrayBuffer(8));

/** A quantity: a NaN, an infinity, a zero of either sign, the ends of the range, any bits at all, or a price. */
export function randomDouble(random: Random): number {
  switch (random.integer(0, 15)) {
    case 0:
    case 1:
      return Number.NaN;
    case 2:
      return random.pick([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    case 3:
      return random.pick([0, -0]);
    case 4:
      return random.pick([Number.MIN_VALUE, -Number.MIN_VALUE, 2 ** -1022, -1e-310, 4.9e-320]);
    case 5:
      return random.chance(0.1) ? random.pick([Number.MAX_VALUE, -Number.MAX_VALUE]) : random.pick([LARGEST, -LARGEST]);
    case 6: {
      BIT_PATTERN.setUint32(0, random.integer(0, 0xffffffff));
      BIT_PATTERN.setUint32(4, random.integer(0, 0xffffffff));
      return BIT_PATTERN.getFloat64(0);
    }
    case 7:
      return -random.integer(1, 1e9) / 100;
    default:
      return random.integer(1, 1e9) / 10 ** random.integer(0, 8);
  }
}

/** A count or a sequence below 2^53, often at the edges of 32 bits. */
export function randomCount(random: Random): number {
  if (random.chance(0.3)) return random.pick([0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, LARGEST]);
  return random.integer(0, 2 ** random.integer(1, 53) - 1);
}

/** Microseconds: unknown, of these years, before 1970, or as far as a number reaches. */
export function randomTime(random: Random): number {
  // As 64 bits, what lies between -(2 ** 52) and 0 is a NaN to whoever copies it as a double, at first a signalling one.
  if (random.chance(0.3)) return random.pick([0, 0, 1, -1, 1 - 2 ** 52, -(2 ** 32), 2 ** 32, LARGEST, -LARGEST]);
  return 1.7e15 + random.integer(0, 1e14);
}

function randomEnum(random: Random, name: string): number {
  if (random.chance(0.1)) return random.pick([200, 254, 255]);
  return random.pick((SCHEMA.enums.get(name) as { values: [string, number][] }).values)[1];
}

const CHARACTERS = [
  "a",
  "Z",
  "0",
  "-",
  '"',
  "\\",
  "/",
  "\n",
  "\u0001",
  "\u007f",
  "é",
  "ß",
  "ж",
  "\u2028",
  "€",
  "\ufeff",
  "😀",
  "𝄞",
];

/** At most `bytes` bytes of UTF-8, quite often none and quite often just that many. */
export function randomText(random: Random, bytes: number): string {
  if (random.chance(0.15)) return "";
  const room = random.chance(0.25) ? bytes : random.integer(1, bytes);
  const plain = random.chance(0.5);
  let text = "";
  let used = 0;
  while (used < room) {
    let next = plain ? String(random.integer(0, 9)) : random.pick(CHARACTERS);
    // TextDecoder, hence flatc's accessors, drop a mark at the very start.
    if (used + Buffer.byteLength(next) > room || (text === "" && next === "\ufeff")) next = "x";
    text += next;
    used += Buffer.byteLength(next);
  }
  return text;
}

/** Few elements mostly, now and then many, at times as many as fit. */
function randomLength(random: Random, most: number): number {
  if (random.chance(0.001)) return most;
  const bits = random.chance(0.01) ? Math.log2(most) : 5;
  return Math.floor(2 ** (random.next() * bits)) - 1;
}

function randomRows(random: Random, type: string, count: number): Row[] {
  return Array.from({ length: count }, () => {
    const row: Row = {};
    for (const { name, type: scalar } of SCHEMA.structs.get(type) as Field[]) {
      if (scalar === "double") row[name] = randomDouble(random);
      else row[name] = random.integer(0, scalar === "ushort" ? 65535 : random.pick([1, 3, 255]));
    }
    return row;
  });
}

function randomScalar(random: Random, field: Field): number | boolean {
  if (SCHEMA.enums.has(field.type)) return randomEnum(random, field.type);
  switch (field.type) {
    case "double":
      return randomDouble(random);
    case "bool":
      return random.chance(0.5);
    case "ubyte":
      return random.integer(0, random.pick([0, 7, 255]));
    case "int":
      return random.pick([0, 8, -1, 2 ** 31 - 1, -(2 ** 31), random.integer(-100, 100)]);
    case "uint":
      return random.pick([0, 1, 2 ** 31, 2 ** 32 - 1, random.integer(0, 2 ** 32 - 1)]);
    case "ulong":
      return randomCount(random);
    case "long":
      return randomTime(random);
    default:
      throw new Error(`no random values of type ${field.type}`);
  }
}

/** Random values for every field of a payload; `instruments` are those that the reader knows. */
export function randomFrame(random: Random, payload: string, instruments: readonly number[] = []): FrameValues {
  const header: Row = {};
  for (const field of SCHEMA.tables.get("Frame") as Field[]) {
    if (field.name !== SCHEMA.union.name.toLowerCase()) header[field.name] = Number(randomScalar(random, field));
  }
  header.flags = random.chance(0.1) ? 2 ** 32 - 1 : random.integer(0, 63);
  if (instruments.length > 0) {
    // A stream's number says its instrument; unknown ones lie far from the known.
    const known = random.chance(0.8);
    const instrument = known ? random.pick(instruments) : random.integer(2 ** 18, 2 ** 19 - 1);
    const shard = random.pick([0, 1, 255]);
    header.instrument = instrument;
    header.stream = ((shard << 24) | streamOf(instrument, random.integer(0, SLOTS_PER_INSTRUMENT - 1))) >>> 0;
  }
  const fields: Record<string, Value> = {};
  let room = F.MAX_FRAME_LEVELS;
  for (const field of SCHEMA.tables.get(payload) as Field[]) {
    if (field.vector) {
      const count = Math.min(
        room,
        randomLength(random, field.type === "Level" ? F.MAX_FRAME_LEVELS : F.MAX_FRAME_INDICATORS),
      );
      room -= count;
      fields[field.name] = randomRows(random, field.type, count);
    } else if (field.type === "string") fields[field.name] = randomText(random, 40);
    else fields[field.name] = randomScalar(random, field);
  }
  return { payload, header, fields };
}

/**
 * Writes frames into memory that is full of other things: random bytes at first, then what is left of earlier frames.
 */
export class FrameWriter {
  readonly memory: Memory;
  readonly #random: Random;
  readonly #numbers = new Float64Array(32);
  readonly #header = new F.FrameHeader();
  readonly #headerNumbers = new Float64Array(HEADER_FIELDS.length);
  readonly #id = new Uint8Array(S.MAX_TRADE_ID_BYTES + 4);
  readonly #bids = new Float64Array(2 * F.MAX_FRAME_LEVELS + 8);
  readonly #asks = new Float64Array(2 * F.MAX_FRAME_LEVELS + 8);

  constructor(random: Random, bytes = 1 << 20) {
    this.#random = random;
    this.memory = scratchMemory(bytes);
    const words = new Uint32Array(this.memory.u8.buffer);
    for (let word = 0; word < words.length; word += 1) words[word] = random.integer(0, 0xffffffff);
    this.#id.fill(0xff);
  }

  /** The frame's bytes, where they lie in the memory: somewhere at a multiple of 8. */
  write(frame: FrameValues, exoticNaNs = true): Uint8Array {
    const at = 8 * this.#random.integer(0, (this.memory.u8.length - F.MAX_FRAME_BYTES) / 8);
    const length = this.#writeAt(at, frame, exoticNaNs);
    return this.memory.u8.subarray(at, at + length);
  }

  /** Copies a finished frame to somewhere at a multiple of 8. */
  place(bytes: Uint8Array): Uint8Array {
    const at = 8 * this.#random.integer(0, (this.memory.u8.length - F.MAX_FRAME_BYTES) / 8);
    const length = (bytes.length + 7) & ~7;
    this.memory.u8.fill(0, at, at + length).set(bytes, at);
    return this.memory.u8.subarray(at, at + length);
  }

  #writeAt(at: number, { payload, header, fields }: FrameValues, exoticNaNs: boolean): number {
    const { memory } = this;
    const numbers = this.#numbers;
    for (const [name, index] of SLOT_FIELDS[payload] ?? []) numbers[index] = Number(fields[name]);
    if (exoticNaNs) this.#disguiseNaNs(numbers);
    let length: number;
    switch (payload) {
      case "Trade": {
        // Behind the id lies what is left of others.
        const id = Buffer.from(fields.trade_id as string);
        this.#id.set(id);
        const words = new Int32Array(this.#id.buffer);
        length = F.writeTrade(memory, at, numbers, fields.side as number, fields.flags as number, words, id.length);
        break;
      }
      case "BookLevels": {
        const bidFrom = this.#levels(this.#bids, fields.bids as Row[], exoticNaNs);
        const askFrom = this.#levels(this.#asks, fields.asks as Row[], exoticNaNs);
        const bidCount = (fields.bids as Row[]).length;
        const askCount = (fields.asks as Row[]).length;
        length = F.writeBookLevels(memory, at, numbers, this.#bids, bidFrom, bidCount, this.#asks, askFrom, askCount);
        break;
      }
      case "Quote":
        length = F.writeQuote(memory, at, numbers, Number(fields.live));
        break;
      case "Ticker":
        length = F.writeTicker(memory, at, numbers);
        break;
      case "Funding":
        length = F.writeFunding(memory, at, numbers);
        break;
      case "Liquidation":
        length = F.writeLiquidation(memory, at, numbers, fields.side as number);
        break;
      case "Stream": {
        const { id, instrument, channel, timeframe } = fields as Record<string, number>;
        length = F.writeStream(memory, at, id as number, instrument as number, channel as number, timeframe as number);
        break;
      }
      case "Bar": {
        const { timeframe, state, source, partial, across_gap } = fields;
        const [frameOf, stateOf, sourceOf] = [timeframe, state, source] as [number, number, number];
        length = F.writeBar(
          memory,
          at,
          numbers,
          BAR_FROM,
          frameOf,
          stateOf,
          sourceOf,
          Number(partial),
          Number(across_gap),
        );
        break;
      }
      case "Indicators":
        length = this.#indicators(at, fields, exoticNaNs);
        break;
      default:
        return this.#copy(at, buildByAccessors({ payload, header, fields }));
    }
    HEADER_FIELDS.forEach((name, index) => {
      this.#headerNumbers[index] = header[name] as number;
      this.#header.set(index, this.#headerNumbers, index);
    });
    const { stream, instrument, flags } = header as { stream: number; instrument: number; flags: number };
    F.writeHeader(memory, at, this.#header.words, stream, instrument, flags);
    return length;
  }

  #copy(at: number, bytes: Uint8Array): number {
    const length = (bytes.length + 7) & ~7;
    this.memory.u8.fill(0, at, at + length).set(bytes, at);
    return length;
  }

  #levels(target: Float64Array, rows: readonly Row[], exoticNaNs: boolean): number {
    const from = this.#random.integer(0, 3);
    rows.forEach((row, index) => {
      target[2 * (from + index)] = row.price as number;
      target[2 * (from + index) + 1] = row.size as number;
    });
    if (exoticNaNs && rows.length < 16) this.#disguiseNaNs(target.subarray(0, 2 * (from + rows.length)));
    return from;
  }

  #indicators(at: number, fields: Record<string, Value>, exoticNaNs: boolean): number {
    this.#numbers[5] = fields.bar_time as number;
    F.writeIndicators(this.memory, at, this.#numbers, 5, fields.timeframe as number, fields.state as number);
    const values = fields.values as { indicator: number; lane: number; ready: number; value: number }[];
    const column = (of: (entry: (typeof values)[number], index: number) => number) => Int32Array.from(values, of);
    const row = Float64Array.from(values.flatMap(({ value, ready }) => [value, ready]));
    if (exoticNaNs)
      for (let index = 0; index < row.length; index += 2) this.#disguiseNaNs(row.subarray(index, index + 1));
    return F.writeIndicatorValues(
      this.memory,
      at,
      values.length,
      column(({ indicator }) => indicator),
      column(({ lane }) => lane),
      column((_, index) => 2 * index),
      column((_, index) => 2 * index + 1),
      row,
      0,
    );
  }

  /** A NaN is any of 2^53 bit patterns: arithmetic makes others than the constant, and signalling ones exist. */
  #disguiseNaNs(numbers: Float64Array): void {
    for (let index = 0; index < numbers.length; index += 1) {
      if (!Number.isNaN(numbers[index])) continue;
      const words = new Uint32Array(numbers.buffer, numbers.byteOffset + 8 * index, 2);
      words[0] = this.#random.integer(1, 0xffffffff);
      words[1] = this.#random.pick([0x7ff00000, 0x7ff80000, 0xfff80000, 0xfff00000, 0x7fffffff]);
    }
  }
}

/** Header fields in the order of FrameHeader's words. */
const HEADER_FIELDS = ["epoch", "position", "seq", "from_seq", "ts_exchange", "ts_receive", "ts_publish"];

const BAR_FROM = 3;
const BAR_FIELDS = [
  "open_time",
  "close_time",
  "open",
  "high",
  "low",
  "close",
  "volume",
  "quote_volume",
  "vwap",
  "buy_volume",
  "sell_volume",
  "trade_count",
];

/** Where the writers look for each number. */
const SLOT_FIELDS: Readonly<Record<string, readonly (readonly [string, number])[]>> = {
  Trade: [
    ["price", S.PRICE],
    ["size", S.SIZE],
  ],
  BookLevels: [
    ["venue_seq", S.LAST_SEQUENCE],
    ["venue_prev_seq", S.PREVIOUS_SEQUENCE],
    ["checksum", S.CHECKSUM],
  ],
  Quote: [
    ["bid_price", S.BID_PRICE],
    ["bid_size", S.BID_SIZE],
    ["ask_price", S.ASK_PRICE],
    ["ask_size", S.ASK_SIZE],
    ["venue_seq", S.LAST_SEQUENCE],
  ],
  Ticker: [
    ["last", S.LAST],
    ["mark", S.MARK],
    ["index", S.INDEX],
    ["open_interest", S.OPEN_INTEREST],
    ["volume_24h", S.VOLUME_24H],
    ["high_24h", S.HIGH_24H],
    ["low_24h", S.LOW_24H],
  ],
  Funding: [
    ["rate", S.FUNDING_RATE],
    ["next_time", S.NEXT_FUNDING],
    ["mark", S.MARK],
    ["index", S.INDEX],
  ],
  Liquidation: [
    ["price", S.PRICE],
    ["size", S.SIZE],
  ],
  Bar: BAR_FIELDS.map((name, index) => [name, BAR_FROM + index] as const),
};

/** The payloads without a template: the official Builder, by the names that flatc gave its methods. */
function buildByAccessors({ payload, header, fields }: FrameValues): Uint8Array {
  const builder = new Builder(512);
  const text = (name: string) => builder.createString(fields[name] as string);
  const number = (name: string) => fields[name] as number;
  const whole = (name: string) => BigInt(fields[name] as number);
  let table: number;
  let type: Payload;
  if (payload === "StreamState") {
    const reason = text("reason");
    StreamState.startStreamState(builder);
    StreamState.addState(builder, number("state"));
    StreamState.addGap(builder, fields.gap as boolean);
    StreamState.addGapRefilled(builder, fields.gap_refilled as boolean);
    StreamState.addGapFromId(builder, whole("gap_from_id"));
    StreamState.addGapToId(builder, whole("gap_to_id"));
    StreamState.addGapFromTime(builder, whole("gap_from_time"));
    StreamState.addGapToTime(builder, whole("gap_to_time"));
    StreamState.addReason(builder, reason);
    table = StreamState.endStreamState(builder);
    type = Payload.StreamState;
  } else {
    const texts = ["symbol", "exchange", "venue_symbol", "base", "quote", "settle"].map(text) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const [symbol, exchange, venueSymbol, base, quote, settle] = texts;
    Instrument.startInstrument(builder);
    Instrument.addId(builder, number("id"));
    Instrument.addSymbol(builder, symbol);
    Instrument.addExchange(builder, exchange);
    Instrument.addVenueSymbol(builder, venueSymbol);
    Instrument.addMarketType(builder, number("market_type"));
    Instrument.addBase(builder, base);
    Instrument.addQuote(builder, quote);
    Instrument.addSettle(builder, settle);
    Instrument.addExpiry(builder, whole("expiry"));
    Instrument.addContractSize(builder, number("contract_size"));
    Instrument.addSizeUnit(builder, number("size_unit"));
    Instrument.addPriceDecimals(builder, number("price_decimals"));
    Instrument.addSizeDecimals(builder, number("size_decimals"));
    Instrument.addTick(builder, number("tick"));
    Instrument.addLot(builder, number("lot"));
    Instrument.addMinSize(builder, number("min_size"));
    Instrument.addMinNotional(builder, number("min_notional"));
    Instrument.addStatus(builder, number("status"));
    Instrument.addBookDepth(builder, number("book_depth"));
    table = Instrument.endInstrument(builder);
    type = Payload.Instrument;
  }
  const [epoch, position, seq, fromSeq, tsExchange, tsReceive, tsPublish] = HEADER_FIELDS.map((name) =>
    BigInt(header[name] as number),
  ) as [bigint, bigint, bigint, bigint, bigint, bigint, bigint];
  const { stream, instrument, flags } = header as { stream: number; instrument: number; flags: number };
  const frame = Frame.createFrame(
    builder,
    stream,
    instrument,
    epoch,
    position,
    seq,
    fromSeq,
    tsExchange,
    tsReceive,
    tsPublish,
    flags,
    type,
    table,
  );
  Frame.finishFrameBuffer(builder, frame);
  return builder.asUint8Array();
}

/**
 * A frame of any schema with this union, by the official Builder: fields in random order, those that are missing from
 * `fields` left out, defaults left out or forced, so that hardly two frames have the same layout.
 */
export function buildFrame(random: Random, schema: Schema, { payload, header, fields }: FrameValues): Uint8Array {
  const builder = new Builder(512);
  builder.forceDefaults(random.chance(0.5));
  const table = buildTable(random, builder, schema, payload, fields);
  const type = schema.union.members.indexOf(payload) + 1;
  const root = buildTable(random, builder, schema, "Frame", header, { type, table });
  builder.finish(root, "TWF1");
  return builder.asUint8Array();
}

function buildTable(
  random: Random,
  builder: Builder,
  schema: Schema,
  name: string,
  values: Record<string, Value>,
  union?: { type: number; table: number },
): number {
  const fields = schema.tables.get(name) as Field[];
  const slots = slotsOf(fields);
  const steps: (() => void)[] = [];
  for (const field of fields) {
    const slot = slots.indexOf(field.name);
    const value = values[field.name];
    if (field.type === schema.union.name && union !== undefined) {
      steps.push(() => builder.addFieldInt8(slot - 1, union.type, 0));
      steps.push(() => builder.addFieldOffset(slot, union.table, 0));
    } else if (value === undefined) continue;
    else if (field.vector) {
      const offset = buildVector(builder, schema, field.type, value as Row[]);
      steps.push(() => builder.addFieldOffset(slot, offset, 0));
    } else if (field.type === "string") {
      const offset = builder.createString(value as string);
      steps.push(() => builder.addFieldOffset(slot, offset, 0));
    } else steps.push(() => addScalar(builder, schema, slot, field, Number(value)));
  }
  for (let last = steps.length - 1; last > 0; last -= 1) {
    const other = random.integer(0, last);
    [steps[last], steps[other]] = [steps[other] as () => void, steps[last] as () => void];
  }
  builder.startObject(slots.length);
  for (const step of steps) step();
  return builder.endObject();
}

function addScalar(builder: Builder, schema: Schema, slot: number, field: Field, value: number): void {
  const fallback = fallbackOf(schema, field);
  const byDefault = fallback === "Number.NaN" ? Number.NaN : Number(fallback);
  switch (scalarOf(schema, field)) {
    case "ubyte":
    case "bool":
      builder.addFieldInt8(slot, value, byDefault);
      break;
    case "int":
    case "uint":
      builder.addFieldInt32(slot, value, byDefault);
      break;
    case "double":
      builder.addFieldFloat64(slot, value, byDefault);
      break;
    case "long":
    case "ulong":
      builder.addFieldInt64(slot, BigInt(value), BigInt(byDefault));
      break;
    default:
      throw new Error(`no builder for the type ${field.type}`);
  }
}

function buildVector(builder: Builder, schema: Schema, type: string, rows: readonly Row[]): number {
  const members = (schema.structs.get(type) as Field[]).toReversed();
  builder.startVector(16, rows.length, 8);
  for (const row of rows.toReversed()) {
    builder.prep(8, 16);
    for (const { name, type: scalar } of members) {
      const value = row[name] as number;
      if (scalar === "double") builder.writeFloat64(value);
      else if (scalar === "ushort") builder.writeInt16(value);
      else builder.writeInt8(value);
      // The only gap in a struct of this schema: before a value that follows the indicator's number, lane and ready.
      if (scalar === "double" && name === "value") builder.pad(4);
    }
  }
  return builder.endVector();
}
