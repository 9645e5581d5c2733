import assert from "node:assert/strict";
import { test } from "node:test";
import { BinanceParser } from "../src/feeds/binance-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { FLAG_INEXACT, SIDE_BUY, SIDE_SELL } from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import { CAPTURES, captureLines, type Recorded, RecordingSink } from "./contracts/feed.ts";

const TRADE =
  '{"stream":"ethusdt@trade","data":{"e":"trade","E":1723161601551,"s":"ETHUSDT","t":1520545031,"p":"2682.51000000","q":"0.00460000","T":1723161601550,"m":false,"M":true}}';
const QUOTE =
  '{"stream":"ethusdt@bookTicker","data":{"u":35346671867,"s":"ETHUSDT","b":"2682.50000000","B":"2.54580000","a":"2682.51000000","A":"50.97390000"}}';
const DEPTH =
  '{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161601374,"s":"ETHUSDT","U":35346671857,"u":35346671863,"b":[["2682.21000000","3.72710000"],["2682.17000000","0.00000000"]],"a":[["2682.99000000","1.22970000"]]}}';
const TICKER =
  '{"e":"24hrTicker","E":1723161601374,"s":"ETHUSDT","c":"2682.51","h":"2700.1","l":"2600.2","v":"12345.6789","x":"1"}';

class Bench {
  readonly sink = new RecordingSink();
  readonly counters = new FeedCounters();
  readonly controls: unknown[] = [];
  readonly parser: BinanceParser;

  constructor(microseconds = false) {
    const symbols = new SymbolTable();
    symbols.add("BTCUSDT", 6);
    symbols.add("ETHUSDT", 7);
    this.parser = new BinanceParser({
      sink: this.sink,
      venue: 1,
      symbols,
      started: new StartedStreams(),
      counters: this.counters,
      microseconds,
      onControl: (message) => this.controls.push(message),
      onMalformed: () => {},
    });
  }

  /** The events of one message. */
  read(message: Buffer, slowly = false): Recorded[] {
    this.sink.events = [];
    if (slowly) this.parser.parseSlowly(message);
    else this.parser.parse(message);
    return this.sink.events;
  }

  get verdict(): string {
    const { parseErrors, malformed, ignored } = this.counters;
    return `${parseErrors} ${malformed} ${ignored} ${this.controls.length}`;
  }
}

/** What a message must come to, read by JSON.parse and Number alone: the numbers that the sink may have been told. */
function numbersOf(text: string): { numbers: number[]; levels: number[] } {
  const outer = JSON.parse(text);
  const data = outer.data ?? outer;
  if (data.e === "trade") return { numbers: [+data.p, +data.q, data.T * 1000, data.t], levels: [] };
  if (data.e === "depthUpdate") {
    return { numbers: [data.E * 1000, data.U, data.u, 0], levels: [data.b, data.a].flat(2).map(Number) };
  }
  if (data.e === "24hrTicker") return { numbers: [+data.c, Number.NaN], levels: [] };
  const side = (price: string, size: string) => (+price === 0 ? [Number.NaN, Number.NaN] : [+price, +size]);
  return { numbers: [...side(data.b, data.B), ...side(data.a, data.A), 0, data.u], levels: [] };
}

function assertTrue(event: Recorded, text: string): void {
  const { numbers, levels } = numbersOf(text);
  assert.deepEqual(event.numbers.slice(0, numbers.length), numbers, text);
  assert.deepEqual([...event.bids, ...event.asks], levels, text);
}

test("the shapes of the protocol", () => {
  const bench = new Bench();
  const [trade] = bench.read(Buffer.from(TRADE));
  assert.deepEqual(trade?.numbers, [2682.51, 0.0046, 1723161601550000, 1520545031]);
  assert.equal(trade?.tradeId, "1520545031");
  assert.equal(trade?.side, SIDE_BUY, "m:false: the buyer was not the maker, so it bought");
  assert.equal(bench.read(Buffer.from(TRADE.replace("false", "true")))[0]?.side, SIDE_SELL);
  assert.deepEqual(bench.read(Buffer.from(QUOTE))[0]?.numbers, [2682.5, 2.5458, 2682.51, 50.9739, 0, 35346671867]);
  const [depth] = bench.read(Buffer.from(DEPTH));
  assert.deepEqual(depth?.numbers, [1723161601374000, 35346671857, 35346671863, 0]);
  assert.deepEqual(depth?.bids, [2682.21, 3.7271, 2682.17, 0]);
  assert.deepEqual(depth?.asks, [2682.99, 1.2297]);
  assert.equal(bench.counters.slowMessages, 0);
  const bare = JSON.stringify(JSON.parse(TRADE).data);
  assert.deepEqual(bench.read(Buffer.from(bare))[0], trade, "without the wrapper");
  assert.equal(bench.counters.slowMessages, 0);
  assert.equal(bench.read(Buffer.from(TICKER))[0]?.numbers[0], 2682.51);
  assert.equal(bench.counters.slowMessages, 1);
});

test("microseconds are decided by the connection", () => {
  const bench = new Bench(true);
  const text = TRADE.replaceAll("1723161601550", "1723161601550123");
  assert.equal(bench.read(Buffer.from(text))[0]?.numbers[2], 1723161601550123);
});

test("an empty side is unknown, and a number that a double cannot hold is flagged", () => {
  const bench = new Bench();
  const empty = QUOTE.replace('"b":"2682.50000000","B":"2.54580000"', '"b":"0.00000000","B":"0.00000000"');
  assert.deepEqual(bench.read(Buffer.from(empty))[0]?.numbers.slice(0, 2), [Number.NaN, Number.NaN]);
  const long = TRADE.replace("0.00460000", "123456789012.12345678");
  assert.equal(bench.read(Buffer.from(long))[0]?.flags, FLAG_INEXACT);
  assert.equal(bench.counters.slowMessages, 0);
  assert.equal(bench.counters.inexact, 1);
});

test("control messages, unknown kinds, unknown symbols, impossible fields", () => {
  const bench = new Bench();
  const read = (text: string) => assert.deepEqual(bench.read(Buffer.from(text)), [], text);
  read('{"result":null,"id":1}');
  read('{"code":2,"msg":"Invalid request","id":3}');
  read('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1723161601374}}');
  assert.equal(bench.controls.length, 3);
  read(TRADE.replaceAll("ETHUSDT", "NOSUCH"));
  read('{"e":"kline","s":"ETHUSDT"}');
  assert.equal(bench.counters.ignored, 2);
  read(TRADE.replace('"2682.51000000"', '"-1"'));
  read(TRADE.replace('"2682.51000000"', '"0.00000000"'));
  read(TRADE.replace('"2682.51000000"', "2682.51"));
  read(TRADE.replace("1520545031", "9007199254740993"));
  read(DEPTH.replace('"U":35346671857', '"U":35346671864'));
  read(DEPTH.replace('["2682.17000000","0.00000000"]', '["2682.17000000"]'));
  assert.equal(bench.counters.malformed, 6);
  read(TRADE.slice(0, -1));
  assert.equal(bench.counters.parseErrors, 1);
});

test("a depth message of any number of levels is scanned, one that is too long is parsed", () => {
  const bench = new Bench();
  for (const count of [0, 1, 397, 600, 5_000, 12_000]) {
    const levels = Array.from({ length: count }, (_, index) => [`${index + 1}.50000000`, `${index}.25000000`]);
    const text = DEPTH.replace(/"b":.*/, `"b":${JSON.stringify(levels)},"a":[]}}`);
    const [event] = bench.read(Buffer.from(text));
    assertTrue(event as Recorded, text);
  }
  assert.equal(bench.counters.slowMessages, 1);
});

const captures = ["binance/spot-ethusdt-20240808.gz", "binance/spot-ethusdt-20240809.gz"].map(captureLines);
const skip = captures.includes(undefined) ? `no captures at ${CAPTURES}` : false;
const recorded = captures.flatMap((lines) => lines ?? []).map((line) => line.slice(line.indexOf(" ") + 1));

test("every recorded message: the scanner says what JSON.parse says", { skip }, () => {
  const bench = new Bench();
  const count: Record<string, number> = {};
  for (const text of recorded) {
    if (text.startsWith('{"lastUpdateId"')) continue;
    const [event] = bench.read(Buffer.from(text));
    assert.ok(event !== undefined, text);
    assert.equal(event.instrument, 7);
    assertTrue(event, text);
    if (event.kind === "trade") assert.equal(event.side === SIDE_SELL, JSON.parse(text).data.m);
    count[event.kind] = (count[event.kind] ?? 0) + 1;
  }
  assert.deepEqual(count, { quote: 58_758, delta: 6_470, trade: 14_515 });
  assert.equal(bench.counters.slowMessages, 0, "none was left to JSON.parse");
});

const JUNK = [
  " ",
  "\n",
  "\\",
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "0",
  "9",
  "e",
  "-",
  "\u0000",
  "é",
  "null",
  "1e5",
  "\\u0030",
];
const NUMBERS = [
  "1e3",
  "1E-3",
  "-5",
  "00012.5",
  "0",
  "123456789012345678901.5",
  "9".repeat(400),
  "1.",
  ".1",
  " 1",
  "",
  "NaN",
  "0x1F",
  `0.${"0".repeat(30)}1`,
  "12345678.00000000",
  "99999999999999999.99999999",
];

function mutate(text: string, random: Random): string {
  const at = random.integer(0, text.length);
  const outer = JSON.parse(text);
  const data = outer.data ?? outer;
  const keys = Object.keys(data);
  switch (random.integer(0, 9)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + random.pick(JUNK) + text.slice(at);
    case 2:
      return text.slice(0, at) + random.pick(JUNK) + text.slice(at + 1);
    case 3:
      return text.slice(0, at) + text.slice(at + random.integer(1, 12));
    case 4:
      return shuffled(outer, data, keys, random);
    case 5:
      delete data[random.pick(keys)];
      return JSON.stringify(outer);
    case 6:
      return text.replace(/"[\d.]+"/g, (number) => (random.chance(0.2) ? `"${random.pick(NUMBERS)}"` : number));
    case 7:
      return text.replace(/:\d+/g, (number) => (random.chance(0.3) ? `:${random.pick(NUMBERS)}` : number));
    case 8:
      return text.replace(/\d/g, (digit) => (random.chance(0.3) ? String(random.integer(0, 9)) : digit));
    default:
      data[random.pick(keys)] = random.pick<unknown>([
        null,
        true,
        [],
        {},
        5,
        -1,
        1.5,
        "x",
        "7",
        [["1", "2"]],
        [[1, 2]],
      ]);
      return JSON.stringify(outer);
  }
}

function shuffled(outer: { data?: unknown }, data: Record<string, unknown>, keys: string[], random: Random): string {
  const order = [...keys].sort(() => random.next() - 0.5);
  const mixed = Object.fromEntries(order.map((key) => [key, data[key]]));
  if (random.chance(0.3)) mixed.extra = "x";
  return JSON.stringify(outer.data === undefined ? mixed : { ...outer, data: mixed });
}

/** One message to both ways of reading: the same events and the same verdict, and never a number that JSON has not. */
function compare(fast: Bench, slow: Bench, message: Buffer): void {
  const events = [...fast.read(message)];
  assert.deepEqual(events, slow.read(message, true), message.toString());
  assert.equal(fast.verdict, slow.verdict, message.toString());
  for (const event of events) assertTrue(event, message.toString());
}

test("100,000 damaged messages: the same as JSON.parse, or nothing", () => {
  const seed = 20_260_101;
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const [fast, slow] = [new Bench(), new Bench()];
  const short = recorded.filter((text) => text.length < 1_200 && !text.startsWith('{"lastUpdateId"'));
  const bases = [TRADE, QUOTE, DEPTH, TICKER];
  for (let index = 0; index < short.length; index += 97) bases.push(short[index] as string);
  for (let round = 0; round < 100_000; round += 1) {
    let text = mutate(random.pick(bases), random);
    if (random.chance(0.1)) text = text.replaceAll(",", ", ");
    compare(fast, slow, Buffer.from(text));
  }
  assert.ok(fast.counters.slowMessages < slow.counters.slowMessages, "some were still scanned");
});

test("cut short at every byte, and one byte wrong at every place", () => {
  const [fast, slow] = [new Bench(), new Bench()];
  for (const text of [TRADE, QUOTE, DEPTH]) {
    // A whole message first, so that its bytes lie behind the end of the cut one.
    for (let length = 0; length < text.length; length += 1) {
      compare(fast, slow, Buffer.from(text));
      compare(fast, slow, Buffer.from(text.slice(0, length)));
      const bytes = Buffer.from(text);
      for (const wrong of [0, 1, 0x22, 0x30, 0x39, 0x2e, 0x2c, 0x5c, 0x7f, 0x80, 0xff]) {
        bytes[length] = wrong;
        compare(fast, slow, bytes);
      }
    }
  }
});

test("100,000 frames of nonsense: nothing is thrown, nothing untrue comes out", () => {
  const seed = 424_242;
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const bench = new Bench();
  for (let round = 0; round < 100_000; round += 1) {
    const message = nonsense(random);
    for (const event of bench.read(message)) assertTrue(event, message.toString());
  }
});

function nonsense(random: Random): Buffer {
  if (random.chance(0.4))
    return Buffer.from(Array.from({ length: random.integer(0, 60) }, () => random.integer(0, 255)));
  if (random.chance(0.5)) return Buffer.from(JSON.stringify(anything(random, 0)));
  const text = random.pick([TRADE, QUOTE, DEPTH, TICKER]);
  return Buffer.from(text.slice(0, random.integer(0, text.length)) + random.pick(JUNK));
}

function anything(random: Random, depth: number): unknown {
  if (depth > 3 || random.chance(0.4))
    return random.pick<unknown>([null, true, 0, -1, 1e300, "", "trade", "ETHUSDT", "1.5"]);
  if (random.chance(0.3)) return Array.from({ length: random.integer(0, 4) }, () => anything(random, depth + 1));
  const keys = ["e", "E", "s", "t", "p", "q", "T", "m", "u", "U", "b", "a", "B", "A", "stream", "data", "id"];
  const entries = Array.from({ length: random.integer(0, 8) }, () => [random.pick(keys), anything(random, depth + 1)]);
  return Object.fromEntries(entries);
}
