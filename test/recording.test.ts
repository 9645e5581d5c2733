import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { CaptureVenue } from "../src/feeds/capture.ts";
import { Capture, readCapture } from "../src/feeds/capture.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { RecordingFeed } from "../src/feeds/recording.ts";
import { replayInto } from "../src/feeds/recording-player.ts";
import { RecordedTime } from "../src/feeds/recording-time.ts";
import { STATE_DOWN, STATE_LIVE } from "../src/market/sink.ts";
import { CAPTURES, FakeTime, feedOptions, RecordingSink } from "./contracts/feed.ts";

const BINANCE = ["binance/spot-ethusdt-20240808.gz", "binance/spot-ethusdt-20240809.gz"].map((name) =>
  join(CAPTURES, name),
);
const COINBASE = [join(CAPTURES, "coinbase/exchange-20210417.gz")];
const skip = existsSync(BINANCE[0]) && existsSync(COINBASE[0]) ? false : `no recorded frames in ${CAPTURES}`;

/** Notes the recorded time of every message. */
class TimedSink extends RecordingSink {
  readonly times: number[] = [];
  readonly #time: RecordedTime;

  constructor(time: RecordedTime) {
    super();
    this.#time = time;
  }

  override begin(): void {
    super.begin();
    this.times.push(this.#time.now());
  }
}

function replay(capture: Capture, repeat = 1) {
  const time = new RecordedTime();
  const sink = new TimedSink(time);
  const counters = new FeedCounters();
  const messages = replayInto({ capture, sink, venue: 1, counters, time, repeat });
  return { sink, counters, messages, time };
}

function counts(sink: RecordingSink): Record<string, number> {
  const kinds = new Map<string, number>();
  for (const { kind } of sink.events) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  return Object.fromEntries(kinds);
}

function captureOf(venue: CaptureVenue, ...files: string[]): Capture {
  return new Capture(
    venue,
    files.map((file) => Buffer.from(file)),
  );
}

/** The positions where something is not above what came before it. */
function steps(values: readonly number[], ok: (now: number, before: number) => boolean): number {
  return values.slice(1).filter((value, index) => !ok(value, values[index])).length;
}

test("binance: every message of the run, in order, at its own time", { skip }, () => {
  const { sink, counters, messages } = replay(readCapture("binance", BINANCE));
  assert.equal(messages, 79_744);
  assert.deepEqual(counts(sink), { quote: 58_758, delta: 6_470, snapshot: 1, trade: 14_515 });
  assert.deepEqual([counters.parseErrors, counters.malformed, counters.ignored], [0, 0, 0]);
  assert.deepEqual(
    sink.listings.map(({ symbol, venueSymbol }) => [symbol, venueSymbol]),
    [["ETH/USDT", "ETHUSDT"]],
  );
  assert.equal(sink.times[0], 1_723_161_254_024_619);
  assert.equal(
    steps(sink.times, (now, before) => now >= before),
    0,
  );
  assert.ok(Math.abs((sink.times.at(-1) as number) - sink.times[0] - 650e6) < 5e6);
  const ids = sink.of("trade").map(({ numbers }) => numbers[3]);
  assert.equal(
    steps(ids, (now, before) => now === before + 1),
    0,
  );
  assert.equal(
    steps(
      sink.of("delta").map(({ numbers }) => numbers[2]),
      (now, before) => now > before,
    ),
    0,
  );
  assert.deepEqual(
    sink.states.map(({ state }) => state),
    [STATE_LIVE, STATE_DOWN],
  );
});

test("coinbase: every message, in order; what was sent is no message", { skip }, () => {
  const { sink, counters, messages } = replay(readCapture("coinbase", COINBASE));
  assert.equal(messages, 9_946);
  const found = counts(sink);
  assert.equal(found.snapshot, 10);
  assert.ok(found.delta > 9_000 && found.trade > 90 && found.ticker > 90, JSON.stringify(found));
  assert.deepEqual([counters.parseErrors, counters.malformed, counters.connects], [0, 0, 1]);
  assert.equal(sink.listings.length, 10);
  assert.ok(sink.listings.some(({ symbol }) => symbol === "BAND/GBP"));
  assert.equal(sink.times[0], 1_618_677_817_077_736);
  assert.equal(
    steps(sink.times, (now, before) => now >= before),
    0,
  );
});

for (const [venue, files] of [
  ["binance", [BINANCE[0]]],
  ["coinbase", COINBASE],
] as const) {
  test(`${venue}: a second pass goes on where the first ended`, { skip }, () => {
    const capture = readCapture(venue, files);
    const once = replay(capture);
    const { sink, messages } = replay(capture, 3);
    const passes = 3;
    assert.equal(messages, passes * once.messages);
    assert.equal(sink.events.length, passes * once.sink.events.length);
    // The first pass is the recording as it is.
    assert.deepEqual(sink.events.slice(0, once.sink.events.length), once.sink.events);
    assert.equal(
      steps(sink.times, (now, before) => now >= before),
      0,
    );
    for (const { symbol } of sink.listings) {
      const trades = sink.of("trade").filter(({ instrument }) => instrument === sink.id(symbol));
      assert.equal(
        steps(
          trades.map(({ numbers }) => numbers[3]),
          (now, before) => now === before + 1,
        ),
        0,
        symbol,
      );
      assert.equal(
        steps(
          trades.map(({ numbers }) => numbers[2]),
          (now, before) => now >= before,
        ),
        0,
        symbol,
      );
      for (const { tradeId, numbers } of trades) assert.equal(tradeId, String(numbers[3]));
    }
    const lasts = sink.of("delta").map(({ numbers }) => numbers[2]);
    if (venue === "binance")
      assert.equal(
        steps(lasts, (now, before) => now > before),
        0,
      );
    const { length } = once.sink.events;
    const [first, second] = [sink.events[length - 1], sink.events[2 * length - 1]];
    assert.deepEqual([second.bids, second.asks, second.side], [first.bids, first.asks, first.side]);
    const expected = [STATE_LIVE, STATE_DOWN, STATE_LIVE, STATE_DOWN, STATE_LIVE, STATE_DOWN];
    assert.deepEqual(
      sink.states.map(({ state }) => state),
      expected,
    );
  });
}

test("the server's run: the recorded pace, and the same calls at any speed", { skip }, async () => {
  const runs = [];
  for (const speed of [1, 50, Number.POSITIVE_INFINITY]) {
    const machine = new FakeTime();
    const time = new RecordedTime();
    const sink = new TimedSink(time);
    const settings = { venue: "coinbase" as const, files: COINBASE, speed, time, paceClock: machine };
    const feed = new RecordingFeed(feedOptions(sink, machine), settings);
    await feed.start();
    assert.equal(sink.listings.length, 10);
    assert.equal(sink.events.length, 0);
    machine.advance(100 + (15_000 / speed || 0));
    const reached = time.now() - sink.times[0];
    if (speed === 1) assert.ok(Math.abs(reached - 15e6) < 0.5e6, `${reached} us after 15 s`);
    machine.advance(speed === Number.POSITIVE_INFINITY ? 1000 : 30_000 / speed);
    await feed.ended;
    assert.equal(feed.status.state, STATE_DOWN);
    assert.equal(machine.pending, 0);
    runs.push({ events: sink.events, times: sink.times });
    await feed.stop();
  }
  assert.deepEqual(runs[1], runs[0]);
  assert.deepEqual(runs[2], runs[0]);
});

test("stopping in the middle leaves no timer, and a file that is not there is an error", async () => {
  const machine = new FakeTime();
  const settings = { venue: "binance" as const, files: ["no-such-file"], time: new RecordedTime(), paceClock: machine };
  const feed = new RecordingFeed(feedOptions(new RecordingSink(), machine), settings);
  await assert.rejects(feed.start(), /no-such-file/);
  await feed.stop();
  await feed.ended;
  assert.equal(machine.pending, 0);
});

const TRADE = '{"e":"trade","E":1000,"s":"ABCUSDT","t":7,"p":"2.5","q":"1","T":1000,"m":false,"M":true}';

test("lines that are cut short or mean nothing are passed over", () => {
  const time = "1723161254024619568";
  const capture = captureOf(
    "binance",
    `\n${time} ${TRADE}\nnonsense\n${time}\n\n${time} {"e":"tra`,
    `${time} ${TRADE}\n`,
  );
  assert.equal(capture.count, 3);
  const { sink, counters } = replay(capture);
  assert.equal(sink.events.length, 2);
  assert.equal(counters.parseErrors, 1);
  assert.equal(sink.listings[0].symbol, "ABC/USDT");
});

test("a connection that was opened anew in the middle is a loss", () => {
  const opened = "wss://ws-feed.pro.coinbase.com <-> 1618677816.5\n";
  const match =
    '{"type":"match","trade_id":5,"maker_order_id":"a","taker_order_id":"b","side":"sell","size":"1","price":"2","product_id":"NU-GBP","sequence":9,"time":"2021-04-17T16:43:46.345172Z"}';
  const sent = `wss://ws-feed.pro.coinbase.com <- 1618677817.1: {"type":"subscribe","product_ids":["NU-GBP"]}\n`;
  const { sink, counters } = replay(captureOf("coinbase", `${opened}${sent}1618677817.2: ${match}\n${opened}`));
  assert.deepEqual(
    sink.states.map(({ state }) => state),
    [STATE_LIVE, STATE_DOWN, STATE_LIVE, STATE_DOWN],
  );
  assert.equal(sink.of("trade").length, 1);
  assert.equal(counters.reconnects, 1);
});

test("recorded time: timers fire between the frames they fall between, and a leap takes them along", () => {
  const time = new RecordedTime(1e6);
  const fired: [string, number][] = [];
  const note = (name: string) => () => fired.push([name, time.now()]);
  time.setTimeout(note("late"), 30);
  time.setTimeout(note("early"), 10);
  time.clearTimeout(time.setTimeout(note("never"), 20));
  time.setTimeout(() => time.setTimeout(note("nested"), 5), 10);
  time.advance(1e6 + 20e3);
  assert.deepEqual(fired, [
    ["early", 1e6 + 10e3],
    ["nested", 1e6 + 15e3],
  ]);
  time.advance(1e15);
  assert.equal(fired.length, 2);
  time.advance(1e15 + 10e3);
  assert.deepEqual(fired[2], ["late", 1e15 + 10e3]);
  time.advance(5);
  assert.equal(time.now(), 1e15 + 10e3);
});
