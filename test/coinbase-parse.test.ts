import assert from "node:assert/strict";
import { test } from "node:test";
import { CoinbaseParser } from "../src/feeds/coinbase-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { SIDE_BUY, SIDE_SELL } from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import { CAPTURES, captureLines, type Recorded, RecordingSink } from "./contracts/feed.ts";

const MATCH =
  '{"type":"match","trade_id":280232,"maker_order_id":"2a0da34e-61f7-4c36-88e5-c9dd15927b16","taker_order_id":"cac01d6d-8009-4c33-8e0d-f7f853d7c1bc","side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}';
const UPDATE =
  '{"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"],["buy","0.00001305","0.0"]],"time":"2021-04-17T16:43:37.075687Z"}';
const SNAPSHOT =
  '{"type":"snapshot","product_id":"SKL-BTC","asks":[["0.5762","2865.9"]],"bids":[["0.5760","1"],["0.5759","0.-10000"]]}';
const HEARTBEAT =
  '{"type":"heartbeat","sequence":90,"last_trade_id":280231,"product_id":"SKL-BTC","time":"2021-04-17T16:43:38.000001Z"}';
const TIME = Date.UTC(2021, 3, 17, 16, 43, 37) * 1000;

class Bench {
  readonly sink = new RecordingSink();
  readonly counters = new FeedCounters();
  readonly controls: unknown[] = [];
  readonly symbols = new SymbolTable();
  readonly parser: CoinbaseParser;

  constructor(products = ["SKL-BTC"]) {
    products.forEach((product, index) => {
      this.symbols.add(product, index + 2);
    });
    this.parser = new CoinbaseParser({
      sink: this.sink,
      venue: 1,
      symbols: this.symbols,
      started: new StartedStreams(),
      counters: this.counters,
      onControl: (message) => this.controls.push(message),
      onMalformed: () => {},
    });
  }

  read(message: Buffer | string, slowly = false): Recorded[] {
    this.sink.events = [];
    const bytes = Buffer.from(message as string);
    if (slowly) this.parser.parseSlowly(bytes);
    else this.parser.parse(bytes);
    return this.sink.events;
  }

  get verdict(): string {
    const { parseErrors, malformed, ignored } = this.counters;
    return `${parseErrors} ${malformed} ${ignored} ${this.controls.length} ${this.sink.failures.length}`;
  }
}

/** The levels and numbers that a message holds by JSON.parse and Number alone. */
function assertTrue(event: Recorded, text: string): void {
  const data = JSON.parse(text);
  if (event.kind === "trade") {
    assert.deepEqual([event.numbers[0], event.numbers[1], event.numbers[3]], [+data.price, +data.size, data.trade_id]);
    assert.equal(event.side, data.side === "sell" ? SIDE_BUY : SIDE_SELL);
    assert.equal(event.tradeId, String(data.trade_id));
  } else if (event.kind === "delta") {
    const levels = (side: string) =>
      data.changes
        .filter((change: string[]) => change[0] === side)
        .flatMap(([, price, size]: string[]) => [Number(price), Math.max(0, Number(size) || 0)]);
    assert.deepEqual([event.bids, event.asks], [levels("buy"), levels("sell")]);
  }
  if (event.kind === "trade" || event.kind === "delta") {
    const micros = Date.parse(`${data.time?.slice(0, 19)}Z`) * 1000 + Number(data.time?.slice(20, 26));
    const time = event.numbers[event.kind === "trade" ? 2 : 0];
    if (/\.\d{6}Z$/.test(data.time) && micros >= 0) assert.equal(time, micros, text);
  }
}

test("the shapes of the protocol; the side of a match is the maker's", () => {
  const bench = new Bench();
  const [trade] = bench.read(MATCH);
  assert.deepEqual(trade?.numbers, [0.00001305, 985, TIME + 89_723, 280_232]);
  assert.equal(trade?.side, SIDE_BUY);
  assert.equal(trade?.tradeId, "280232");
  const [update] = bench.read(UPDATE);
  assert.deepEqual(update?.asks, [0.00001306, 660.5]);
  assert.deepEqual(update?.bids, [0.00001305, 0]);
  assert.deepEqual(update?.numbers, [TIME + 75_687, 0, 0, 0]);
  assert.equal(bench.counters.slowMessages, 0);
});

test("a snapshot is the whole book; a size below zero is no level", () => {
  const bench = new Bench();
  const [snapshot] = bench.read(SNAPSHOT);
  assert.equal(snapshot?.kind, "snapshot");
  assert.deepEqual(snapshot?.bids, [0.576, 1]);
  assert.deepEqual(snapshot?.asks, [0.5762, 2865.9]);
  assert.deepEqual(bench.read(UPDATE.replace("660.5", "0.-10000"))[0]?.asks, [0.00001306, 0]);
});

test("the last match and the heartbeat are state, never trades", () => {
  const bench = new Bench();
  const [last] = bench.read(MATCH.replace("match", "last_match"));
  assert.deepEqual([last?.kind, last?.numbers], ["lastTrade", [280_232]]);
  const events = bench.read(HEARTBEAT);
  assert.deepEqual(
    events.map(({ kind, numbers }) => [kind, numbers]),
    [
      ["heartbeat", [TIME + 1_000_001]],
      ["lastTrade", [280_231]],
    ],
  );
});

test("a time before 1970 is unknown, and no reason to lose the trade", () => {
  const bench = new Bench();
  const [trade] = bench.read(MATCH.replace(/"time":".*?"/, '"time":"0001-01-01T00:00:00.000000Z"'));
  assert.equal(trade?.numbers[2], 0);
});

test("a change that cannot be read starts the book anew: no sequence would tell that it is missing", () => {
  const bench = new Bench();
  for (const text of [UPDATE.replace("660.5", "x"), UPDATE.replace("sell", "hold"), UPDATE.slice(0, -4)]) {
    assert.deepEqual(bench.read(text), []);
  }
  assert.deepEqual(
    bench.sink.failures.map(({ instrument }) => instrument),
    [2, 2, 2],
  );
  bench.read(MATCH.slice(0, -4));
  bench.read(MATCH.replace("985", "0"));
  bench.read(UPDATE.replace("SKL-BTC", "NO-SUCH").slice(0, -4));
  assert.equal(bench.sink.failures.length, 3);
  bench.read('{"type":"error","message":"Failed to subscribe","reason":"level2 requires authentication"}');
  bench.read('{"type":"subscriptions","channels":[]}');
  assert.equal(bench.controls.length, 2);
});

const PRODUCTS = [
  "SKL-USD",
  "SKL-BTC",
  "BAND-GBP",
  "NMR-EUR",
  "BAND-BTC",
  "YFI-BTC",
  "DASH-BTC",
  "NU-GBP",
  "CRV-EUR",
  "SKL-GBP",
];
const lines = captureLines("coinbase/exchange-20210417.gz");
const skip = lines === undefined ? `no captures at ${CAPTURES}` : false;
const recorded = (lines ?? []).filter((line) => /^\d/.test(line)).map((line) => line.slice(line.indexOf(": ") + 2));

test("every recorded message is read, scanned as parsed, with times to the microsecond", { skip }, () => {
  const [fast, slow] = [new Bench(PRODUCTS), new Bench(PRODUCTS)];
  const count: Record<string, number> = {};
  for (const text of recorded) {
    const events = [...fast.read(text)];
    assert.deepEqual(events, slow.read(text, true), text);
    for (const event of events) {
      assertTrue(event, text);
      count[event.kind] = (count[event.kind] ?? 0) + 1;
    }
  }
  assert.deepEqual(count, { snapshot: 10, ticker: 107, lastTrade: 10, delta: 9_719, trade: 97 });
  assert.equal(fast.counters.malformed + fast.counters.parseErrors + fast.counters.ignored, 0);
  assert.equal(fast.counters.slowMessages, recorded.length - 9_719 - 97, "matches and updates were all scanned");
});

test("107 of 107 sides: a match's aggressor is its ticker's side", { skip }, () => {
  const bench = new Bench(PRODUCTS);
  const takers = new Map<string, string>();
  for (const text of recorded) {
    const data = JSON.parse(text);
    if (data.type === "ticker") takers.set(`${data.product_id} ${data.trade_id}`, data.side);
  }
  let compared = 0;
  for (const text of recorded) {
    const data = JSON.parse(text);
    if (data.type !== "match" && data.type !== "last_match") continue;
    // A last match never becomes a trade; read as a match it must show the same side.
    const [trade] = bench.read(text.replace('"last_match"', '"match"'));
    const taker = takers.get(`${data.product_id} ${data.trade_id}`);
    assert.equal(trade?.side, taker === "buy" ? SIDE_BUY : SIDE_SELL, text);
    assert.ok(taker !== undefined);
    compared += 1;
  }
  assert.equal(compared, 107);
});

const JUNK = [" ", "\n", "\\", '"', "{", "}", "[", "]", ",", ":", "0", "9", "e", "-", "\u0000", "é", "null", "\\u0030"];
const NUMBERS = [
  "1e3",
  "-5",
  "00012.5",
  "0",
  "123456789012345678901.5",
  "9".repeat(400),
  "1.",
  ".1",
  "",
  "0x1F",
  "0.-10000",
];
const TIMES = [
  "0001-01-01T00:00:00.000000Z",
  "2021-02-30T00:00:00.000000Z",
  "2021-04-17T16:43:37Z",
  "2021-04-17T23:59:59.999999Z",
  "x",
];

function mutate(text: string, random: Random): string {
  const at = random.integer(0, text.length);
  const data = JSON.parse(text);
  const keys = Object.keys(data);
  switch (random.integer(0, 8)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + random.pick(JUNK) + text.slice(at + random.integer(0, 1));
    case 2:
      return text.slice(0, at) + text.slice(at + random.integer(1, 12));
    case 3:
      return JSON.stringify(
        Object.fromEntries([...keys].sort(() => random.next() - 0.5).map((key) => [key, data[key]])),
      );
    case 4:
      delete data[random.pick(keys)];
      return JSON.stringify(data);
    case 5:
      return text.replace(/"[\d.]+"/g, (number) => (random.chance(0.3) ? `"${random.pick(NUMBERS)}"` : number));
    case 6:
      return text.replace(/"time":"[^"]*"/, `"time":"${random.pick(TIMES)}"`);
    case 7:
      return text.replace(/\d/g, (digit) => (random.chance(0.2) ? String(random.integer(0, 9)) : digit));
    default:
      data[random.pick(keys)] = random.pick<unknown>([
        null,
        true,
        [],
        {},
        5,
        -1,
        "x",
        "buy",
        [["buy", "1", "2"]],
        [[1, 2]],
      ]);
      return JSON.stringify(data);
  }
}

test("100,000 damaged messages: the same as JSON.parse, or nothing", () => {
  const seed = 20_210_417;
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const [fast, slow] = [new Bench(), new Bench()];
  const bases = [MATCH, UPDATE, MATCH.replace("sell", "buy"), UPDATE.replace("sell", "buy"), SNAPSHOT, HEARTBEAT];
  for (let round = 0; round < 100_000; round += 1) {
    const text = mutate(random.pick(bases), random);
    const events = [...fast.read(text)];
    assert.deepEqual(events, slow.read(text, true), text);
    assert.equal(fast.verdict, slow.verdict, text);
    for (const event of events) assertTrue(event, text);
  }
  assert.ok(fast.counters.slowMessages < slow.counters.slowMessages, "some were still scanned");
});

test("cut short at every byte, and one byte wrong at every place", () => {
  const [fast, slow] = [new Bench(), new Bench()];
  for (const text of [MATCH, UPDATE]) {
    for (let length = 0; length < text.length; length += 1) {
      fast.read(text);
      assert.deepEqual(fast.read(text.slice(0, length)), [], "the whole message before leaves nothing behind");
      const bytes = Buffer.from(text);
      for (const wrong of [0, 1, 0x22, 0x30, 0x39, 0x2e, 0x2c, 0x5c, 0x7f, 0x80, 0xff]) {
        bytes[length] = wrong;
        const message = bytes.toString("latin1");
        assert.deepEqual([...fast.read(bytes as Buffer)], slow.read(bytes as Buffer, true), message);
      }
    }
  }
});

test("100,000 frames of nonsense: nothing is thrown, nothing untrue comes out", () => {
  const seed = 515_151;
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const bench = new Bench();
  const anything = (depth: number): unknown => {
    if (depth > 3 || random.chance(0.4))
      return random.pick<unknown>([null, true, 0, -1, 1e300, "", "match", "SKL-BTC", "1.5", "buy"]);
    if (random.chance(0.3)) return Array.from({ length: random.integer(0, 4) }, () => anything(depth + 1));
    const keys = ["type", "product_id", "changes", "time", "size", "price", "side", "trade_id", "bids", "asks"];
    return Object.fromEntries(
      Array.from({ length: random.integer(0, 8) }, () => [random.pick(keys), anything(depth + 1)]),
    );
  };
  for (let round = 0; round < 100_000; round += 1) {
    const bytes = Array.from({ length: random.integer(0, 60) }, () => random.integer(0, 255));
    const message = random.chance(0.4) ? Buffer.from(bytes) : Buffer.from(JSON.stringify(anything(0)));
    for (const event of bench.read(message)) assertTrue(event, message.toString());
  }
});
