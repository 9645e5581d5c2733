/** The JSON form of each payload, whole and literal, as a client sees it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { slotOf, streamOf } from "../src/market/channel.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import { Random } from "../src/std/random.ts";
import { FLAG_CORRECTION, FLAG_DERIVED, FLAG_INEXACT, FLAG_LAST_OF_EVENT, FLAG_SNAPSHOT } from "../src/wire/frame.ts";
import { type IndicatorDescription, JsonTwin } from "../src/wire/json.ts";
import { type FrameValues, FrameWriter, type Value } from "./random-frames.ts";

const NAN = Number.NaN;
const MACD: IndicatorDescription = {
  name: "macd(12,26,9)",
  lanes: ["macd", "signal", "histogram"],
  style: (lanes) => ({ direction: (lanes[2] as number) > 0 ? "up" : "down" }),
};

const catalog = new Catalog();
const venue = catalog.addVenue("binance");
const instrument = catalog.list("binance", { ...emptyListing(), symbol: "BTC/USDT", marketType: "spot" });
const twin = new JsonTwin(catalog, (indicator) => (indicator === 7 ? MACD : undefined));
const writer = new FrameWriter(new Random(1));

const HEADER = {
  stream: streamOf(instrument.id, slotOf("trades")),
  instrument: instrument.id,
  epoch: 5172000000000001,
  position: 88120,
  seq: 1041,
  from_seq: 1041,
  ts_exchange: 1_700_000_000_123_456,
  ts_receive: 1_700_000_000_125_999,
  ts_publish: 1_700_000_000_126_001,
  flags: 0,
};

function encode(
  payload: string,
  fields: Record<string, Value>,
  header: Partial<typeof HEADER> = {},
  microseconds = false,
): string {
  const frame: FrameValues = { payload, header: { ...HEADER, ...header }, fields };
  const bytes = writer.write(frame);
  return twin.encode(writer.memory, bytes.byteOffset, microseconds);
}

function head(type: string, stream: number, channel: string): string {
  return `{"type":"${type}","exchange":"binance","symbol":"BTC/USDT","market_type":"spot","stream":${stream},"channel":"${channel}","epoch":5172000000000001,"position":88120,"seq":1041,"from_seq":1041,"ts_exchange":1700000000123,"ts_receive":1700000000125,"ts_publish":1700000000126,"flags":[],`;
}

const trades = HEADER.stream;
const TRADE = { price: 50123.45, size: 0.015, side: 1, flags: 0, trade_id: "4611686018427387904" };

describe("every payload", () => {
  test("trade", () => {
    assert.equal(
      encode("Trade", TRADE),
      `${head("trade", trades, "trades")}"price":50123.45,"size":0.015,"side":"buy","trade_id":"4611686018427387904","is_block":false,"is_liquidation":false,"is_odd_lot":false}`,
    );
    assert.equal(
      encode("Trade", { price: NAN, size: Number.POSITIVE_INFINITY, side: 0, flags: 7, trade_id: "" }),
      `${head("trade", trades, "trades")}"price":null,"size":null,"side":null,"trade_id":null,"is_block":true,"is_liquidation":true,"is_odd_lot":true}`,
    );
    assert.equal(
      encode("Trade", { ...TRADE, price: -37.63, size: 1e-9, side: 2, flags: 4, trade_id: 'a"b\\c\n' }),
      `${head("trade", trades, "trades")}"price":-37.63,"size":1e-9,"side":"sell","trade_id":"a\\"b\\\\c\\n","is_block":false,"is_liquidation":false,"is_odd_lot":true}`,
    );
  });

  test("orderbook", () => {
    const stream = streamOf(instrument.id, slotOf("orderbook"));
    const levels = {
      bids: [
        { price: 50000, size: 1.5 },
        { price: 49999.5, size: 0 },
      ],
      asks: [{ price: 50000.5, size: 3 }],
    };
    assert.equal(
      encode(
        "BookLevels",
        { venue_seq: 9007199254740991, venue_prev_seq: 12, checksum: 4012345678, ...levels },
        { stream },
      ),
      `${head("orderbook", stream, "orderbook")}"update_type":"delta","sequence":9007199254740991,"prev_sequence":12,"checksum":4012345678,"bids":[[50000,1.5],[49999.5,0]],"asks":[[50000.5,3]]}`,
    );
    assert.equal(
      encode(
        "BookLevels",
        { venue_seq: 0, venue_prev_seq: 0, checksum: 0, bids: [], asks: [] },
        { stream, flags: FLAG_SNAPSHOT },
      ),
      `${head("orderbook", stream, "orderbook").replace('"flags":[]', '"flags":["snapshot"]')}"update_type":"snapshot","sequence":null,"prev_sequence":null,"checksum":null,"bids":[],"asks":[]}`,
    );
  });

  test("quote", () => {
    const stream = streamOf(instrument.id, slotOf("quotes"));
    assert.equal(
      encode(
        "Quote",
        { bid_price: 1.1, bid_size: 2, ask_price: 1.2, ask_size: 3, venue_seq: 4294967296, live: true },
        { stream },
      ),
      `${head("quote", stream, "quotes")}"bid_price":1.1,"bid_size":2,"ask_price":1.2,"ask_size":3,"sequence":4294967296,"live":true}`,
    );
    assert.equal(
      encode(
        "Quote",
        { bid_price: NAN, bid_size: NAN, ask_price: NAN, ask_size: NAN, venue_seq: 0, live: false },
        { stream },
      ),
      `${head("quote", stream, "quotes")}"bid_price":null,"bid_size":null,"ask_price":null,"ask_size":null,"sequence":null,"live":false}`,
    );
  });

  test("ticker", () => {
    const stream = streamOf(instrument.id, slotOf("ticker"));
    const ticker = { last: 1, mark: 2, index: 3, open_interest: 4, volume_24h: 5e21, high_24h: 6, low_24h: NAN };
    assert.equal(
      encode("Ticker", ticker, { stream }),
      `${head("ticker", stream, "ticker")}"last":1,"mark":2,"index":3,"open_interest":4,"volume_24h":5e+21,"high_24h":6,"low_24h":null}`,
    );
  });

  test("funding", () => {
    const stream = streamOf(instrument.id, slotOf("funding"));
    assert.equal(
      encode("Funding", { rate: -0.0001, next_time: 1_700_006_400_000_000, mark: 2.5, index: NAN }, { stream }),
      `${head("funding", stream, "funding")}"rate":-0.0001,"next_time":1700006400000,"mark":2.5,"index":null}`,
    );
    assert.equal(
      encode("Funding", { rate: 0, next_time: 0, mark: NAN, index: NAN }, { stream }),
      `${head("funding", stream, "funding")}"rate":0,"next_time":null,"mark":null,"index":null}`,
    );
  });

  test("liquidation", () => {
    const stream = streamOf(instrument.id, slotOf("liquidations"));
    assert.equal(
      encode("Liquidation", { price: 49000, size: 12, side: 2 }, { stream }),
      `${head("liquidation", stream, "liquidations")}"price":49000,"size":12,"side":"sell"}`,
    );
  });

  test("bar", () => {
    const stream = streamOf(instrument.id, slotOf("bars", 4));
    const bar = {
      open_time: 1_699_999_980_000_000,
      close_time: 1_700_000_040_000_000,
      open: 50,
      high: 102,
      low: 50,
      close: 102,
      volume: 4,
      quote_volume: 354,
      vwap: 88.5,
      buy_volume: 2,
      sell_volume: 2,
      trade_count: 3,
      timeframe: 4,
      state: 2,
      source: 1,
      partial: false,
      across_gap: true,
    };
    assert.equal(
      encode("Bar", bar, { stream }),
      `${head("bar", stream, "bars")}"timeframe":"1m","open_time":1699999980000,"close_time":1700000040000,"open":50,"high":102,"low":50,"close":102,"volume":4,"quote_volume":354,"vwap":88.5,"buy_volume":2,"sell_volume":2,"trade_count":3,"state":"closed","source":"trades","partial":false,"across_gap":true}`,
    );
    const unknown = {
      ...bar,
      open_time: 0,
      volume: 0,
      vwap: NAN,
      trade_count: 0,
      timeframe: 255,
      state: 0,
      source: 9,
      partial: true,
    };
    assert.equal(
      encode("Bar", unknown, { stream, flags: FLAG_CORRECTION | FLAG_INEXACT }),
      `${head("bar", stream, "bars").replace('"flags":[]', '"flags":["correction","inexact"]')}"timeframe":null,"open_time":null,"close_time":1700000040000,"open":50,"high":102,"low":50,"close":102,"volume":0,"quote_volume":354,"vwap":null,"buy_volume":2,"sell_volume":2,"trade_count":0,"state":null,"source":null,"partial":true,"across_gap":true}`,
    );
  });

  test("indicators", () => {
    const stream = streamOf(instrument.id, slotOf("indicators", 10));
    const values = [
      { indicator: 7, lane: 0, ready: 1, value: 1.5 },
      { indicator: 7, lane: 1, ready: 1, value: 1.25 },
      { indicator: 7, lane: 2, ready: 1, value: 0.25 },
      { indicator: 8, lane: 0, ready: 0, value: NAN },
    ];
    const bar = { bar_time: 1_699_920_000_000_000, timeframe: 10, state: 3 };
    assert.equal(
      encode("Indicators", { ...bar, values }, { stream }),
      `${head("indicators", stream, "indicators")}"timeframe":"1d","bar_time":1699920000000,"state":"corrected","values":{"macd(12,26,9)":{"macd":1.5,"signal":1.25,"histogram":0.25,"direction":"up","ready":true},"indicator_8":{"lane_0":null,"ready":false}}}`,
    );
    assert.equal(
      encode("Indicators", { ...bar, values: values.slice(0, 1) }, { stream }),
      `${head("indicators", stream, "indicators")}"timeframe":"1d","bar_time":1699920000000,"state":"corrected","values":{"macd(12,26,9)":{"macd":1.5,"signal":null,"histogram":null,"direction":"down","ready":true}}}`,
    );
    assert.match(encode("Indicators", { ...bar, values: [] }, { stream }), /"values":\{\}\}$/);
  });

  test("state", () => {
    const stream = streamOf(instrument.id, slotOf("trades"));
    const gap = { gap_from_id: 101, gap_to_id: 0, gap_from_time: 1_700_000_000_000_000, gap_to_time: 0 };
    assert.equal(
      encode(
        "StreamState",
        { state: 4, gap: true, gap_refilled: false, ...gap, reason: "hole in trade ids" },
        { stream },
      ),
      `${head("state", stream, "trades")}"state":"stale","reason":"hole in trade ids","gap":{"from_id":101,"to_id":null,"from_time":1700000000000,"to_time":null,"refilled":false}}`,
    );
    assert.equal(
      encode("StreamState", { state: 2, gap: false, gap_refilled: false, ...gap, reason: "" }, { stream }),
      `${head("state", stream, "trades")}"state":"live","reason":null,"gap":null}`,
    );
  });

  test("the state of a feed: an exchange, no symbol", () => {
    const stream = streamOf(venue.id, 0);
    const gap = { gap_from_id: 0, gap_to_id: 0, gap_from_time: 0, gap_to_time: 0 };
    const json = encode(
      "StreamState",
      { state: 6, gap: false, gap_refilled: false, ...gap, reason: "socket closed" },
      { stream, instrument: venue.id },
    );
    assert.match(
      json,
      /^\{"type":"state","exchange":"binance","symbol":null,"market_type":null,"stream":\d+,"channel":"state",/,
    );
    assert.match(json, /"state":"down","reason":"socket closed","gap":null\}$/);
  });
});

describe("directory frames", () => {
  const identity = /^\{"type":"\w+","exchange":null,"symbol":null,"market_type":null,"stream":0,"channel":"state",/;

  test("stream", () => {
    const json = encode("Stream", { id: 133, instrument: 4, channel: 7, timeframe: 5 }, { stream: 0, instrument: 0 });
    assert.match(json, identity);
    assert.match(json, /"flags":\[\],"id":133,"of_instrument":4,"of_channel":"bars","timeframe":"5m"\}$/);
    const state = encode(
      "Stream",
      { id: 128, instrument: 4, channel: 0, timeframe: 255 },
      { stream: 0, instrument: 0 },
    );
    assert.match(state, /"id":128,"of_instrument":4,"of_channel":"state","timeframe":null\}$/);
    assert.match(
      encode("Stream", { id: 1, instrument: 4, channel: 200, timeframe: 200 }),
      /"of_channel":null,"timeframe":null\}$/,
    );
  });

  test("instrument", () => {
    const listing = {
      id: 4,
      symbol: "BTC/USD:BTC-261225",
      exchange: "sim-a",
      venue_symbol: "XBTZ26",
      market_type: 3,
      base: "BTC",
      quote: "USD",
      settle: "BTC",
      expiry: 1_798_185_600_000_000,
      contract_size: 100,
      size_unit: 3,
      price_decimals: 1,
      size_decimals: 0,
      tick: 0.5,
      lot: 1,
      min_size: 1,
      min_notional: NAN,
      status: 1,
      book_depth: 400,
    };
    const json = encode("Instrument", listing, { stream: 0, instrument: 0 });
    assert.match(json, identity);
    assert.ok(
      json.endsWith(
        `"flags":[],"id":4,"of_symbol":"BTC/USD:BTC-261225","of_exchange":"sim-a","venue_symbol":"XBTZ26","of_market_type":"future","base":"BTC","quote":"USD","settle":"BTC","expiry":1798185600000,"contract_size":100,"size_unit":"contracts","price_decimals":1,"size_decimals":0,"tick":0.5,"lot":1,"min_size":1,"min_notional":null,"status":"trading","book_depth":400}`,
      ),
      json,
    );
  });

  test("a venue: an instrument of which nothing but the exchange is known", () => {
    const texts = { symbol: "", venue_symbol: "", base: "", quote: "", settle: "" };
    const numbers = { contract_size: NAN, tick: NAN, lot: NAN, min_size: NAN, min_notional: NAN };
    const zeros = {
      market_type: 0,
      expiry: 0,
      size_unit: 0,
      price_decimals: 0,
      size_decimals: 0,
      status: 0,
      book_depth: 0,
    };
    const json = encode(
      "Instrument",
      { id: 1, exchange: "sim-a", ...texts, ...numbers, ...zeros },
      { stream: 0, instrument: 0 },
    );
    assert.ok(
      json.endsWith(
        `"id":1,"of_symbol":null,"of_exchange":"sim-a","venue_symbol":null,"of_market_type":null,"base":null,"quote":null,"settle":null,"expiry":null,"contract_size":null,"size_unit":null,"price_decimals":0,"size_decimals":0,"tick":null,"lot":null,"min_size":null,"min_notional":null,"status":null,"book_depth":0}`,
      ),
      json,
    );
  });
});

describe("what every payload shares", () => {
  test("times are whole milliseconds, or microseconds when asked for, null when unknown", () => {
    const times = { ts_exchange: 1_700_000_000_999_999, ts_receive: 0, ts_publish: -1 };
    assert.match(encode("Trade", TRADE, times), /"ts_exchange":1700000000999,"ts_receive":null,"ts_publish":-1,/);
    assert.match(
      encode("Trade", TRADE, times, true),
      /"ts_exchange":1700000000999999,"ts_receive":null,"ts_publish":-1,/,
    );
    const funding = { rate: 0.1, next_time: 1_700_006_400_000_001, mark: 1, index: 1 };
    assert.match(encode("Funding", funding), /"next_time":1700006400000,/);
    assert.match(encode("Funding", funding, {}, true), /"next_time":1700006400000001,/);
  });

  test("a derived frame names the sequences that it stands for", () => {
    const json = encode("Trade", TRADE, { from_seq: 0, flags: FLAG_DERIVED | FLAG_SNAPSHOT | FLAG_LAST_OF_EVENT });
    assert.match(json, /"seq":1041,"from_seq":0,.*"flags":\["derived","snapshot","last_of_event"\],/);
  });

  test("an instrument that is not known yet is null, and named once it is", () => {
    const stream = streamOf(catalog.size, slotOf("trades"));
    const header = { stream, instrument: catalog.size };
    const unknown = new RegExp(
      `"exchange":null,"symbol":null,"market_type":null,"stream":${stream},"channel":"trades",`,
    );
    assert.match(encode("Trade", TRADE, header), unknown);
    catalog.list("binance", { ...emptyListing(), symbol: "ETH/USDT" });
    assert.match(encode("Trade", TRADE, header), /"exchange":"binance","symbol":"ETH\/USDT","market_type":null,/);
    catalog.list("binance", { ...emptyListing(), symbol: "ETH/USDT", marketType: "spot" });
    assert.match(encode("Trade", TRADE, header), /"exchange":"binance","symbol":"ETH\/USDT","market_type":"spot",/);
  });

  test("a stream of the last shard keeps its number", () => {
    const stream = (0xff000000 | trades) >>> 0;
    assert.match(
      encode("Trade", TRADE, { stream }),
      new RegExp(`"symbol":"BTC/USDT","market_type":"spot","stream":${stream},`),
    );
  });
});
