/** The engine through the calls of a feed, with time standing still unless told: no sockets, no timers. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Demand } from "../src/engine/demand.ts";
import { CONFLATE_MS, conflateIndexOf, depthIndexOf, RING, variantOf } from "../src/engine/derived.ts";
import { MAX_PENDING_DELTAS } from "../src/engine/pending-deltas.ts";
import { TIER_DEPTHS } from "../src/engine/tier.ts";
import { SLOT_ORDERBOOK, streamOf } from "../src/market/channel.ts";
import type { Instrument } from "../src/market/instrument.ts";
import { STATE_LIVE, STATE_RESYNCING, STATE_STALE } from "../src/market/sink.ts";
import {
  type BarFrame,
  BINANCE_RULES,
  type BookFrame,
  COINBASE_RULES,
  EngineBench,
  type Frame,
  HeldBook,
  NO_CAPTURES,
  playBinance,
  START_MICROS,
  type StateFrame,
  type TradeFrame,
} from "./gateway.ts";

const MS = 1000;
const SECOND = 1_000_000;
const HOUR = 3600 * SECOND;
const BEGUN = START_MICROS + 61 * SECOND;

/** A live book of 99 x 1 and 101 x 1 at update 10 that has held for more than a minute, its story left out. */
function liveBook(rules = BINANCE_RULES): { bench: EngineBench; instrument: Instrument } {
  const bench = new EngineBench(rules);
  const instrument = bench.start();
  bench.snapshot(instrument, 10, [[99, 1]], [[101, 1]]);
  bench.advance(BEGUN - START_MICROS);
  bench.story();
  return { bench, instrument };
}

const topOf = (bench: EngineBench, instrument: Instrument) => {
  const book = bench.engine.books.get(instrument.id);
  const bids = new Float64Array(20);
  const asks = new Float64Array(20);
  const [b, a] = [book?.bids.copyTop(bids, 10) ?? 0, book?.asks.copyTop(asks, 10) ?? 0];
  return { bids: [...bids.subarray(0, 2 * b)], asks: [...asks.subarray(0, 2 * a)] };
};

describe("a book that is counted", () => {
  test("says nothing before its snapshot, which the changes since must bracket", () => {
    const bench = new EngineBench(BINANCE_RULES);
    const instrument = bench.start();
    assert.equal(bench.resyncs, 1, "the book is asked for at once");
    bench.delta(instrument, 5, 8, [[98, 5]], []);
    bench.delta(instrument, 9, 12, [[99, 2]], []);
    bench.delta(
      instrument,
      13,
      13,
      [],
      [
        [101, 3],
        [555, 0],
      ],
    );
    assert.deepEqual(
      bench.story().filter((line) => line.startsWith("orderbook")),
      ["orderbook syncing"],
    );
    bench.snapshot(
      instrument,
      10,
      [
        [99, 1],
        [97, 1],
      ],
      [[101, 1]],
    );
    assert.deepEqual(bench.story(), ["orderbook snapshot 13", "orderbook live"]);
    assert.deepEqual(topOf(bench, instrument), { bids: [99, 2, 97, 1], asks: [101, 3] }, "5 to 8 is in it already");
    bench.delta(instrument, 14, 15, [[99, 0]], []);
    assert.deepEqual(bench.story(), ["orderbook delta 15"]);
    assert.deepEqual(topOf(bench, instrument).bids, [97, 1]);
  });

  test("a change that ends at the snapshot is dropped, the next must follow to the one", () => {
    for (const [first, isRight] of [
      [11, true],
      [10, true],
      [12, false],
    ] as const) {
      const { bench, instrument } = liveBook();
      bench.delta(instrument, 9, 10, [[50, 1]], []);
      bench.delta(instrument, first, 14, [[98, 1]], []);
      const book = bench.engine.books.get(instrument.id);
      assert.equal(book?.state, isRight ? STATE_LIVE : STATE_RESYNCING, `first kept change ${first} to 14`);
      assert.equal(bench.engine.books.ignored, 1);
      assert.equal(topOf(bench, instrument).bids.includes(50), false);
    }
  });

  test("a snapshot older than the first change kept is of no use, and is asked for again after a delay", () => {
    const bench = new EngineBench(BINANCE_RULES);
    const instrument = bench.start();
    bench.delta(instrument, 20, 22, [[99, 1]], []);
    bench.snapshot(instrument, 18, [[99, 1]], [[101, 1]]);
    assert.equal(bench.resyncs, 1);
    bench.advance(249 * MS);
    assert.equal(bench.resyncs, 1);
    bench.advance(1 * MS);
    assert.equal(bench.resyncs, 2);
    bench.snapshot(instrument, 19, [[99, 1]], [[101, 1]]);
    assert.equal(bench.engine.books.get(instrument.id)?.sequence, 19);
    assert.equal(bench.engine.books.get(instrument.id)?.live, true);
  });

  for (const [what, reason, feed] of [
    ["a gap", "sequence gap", (bench: EngineBench, of: Instrument) => bench.delta(of, 13, 14, [[98, 1]], [])],
    ["an overlap", "sequence overlap", (bench: EngineBench, of: Instrument) => bench.delta(of, 11, 14, [[98, 1]], [])],
    [
      "a bid above the ask",
      "bid above ask",
      (bench: EngineBench, of: Instrument) => bench.delta(of, 12, 12, [[102, 1]], []),
    ],
    [
      "a quote of the venue's that differs",
      "the venue's own quote differs",
      (bench: EngineBench, of: Instrument) => {
        bench.quote(of, 12, [99, 1.5, 101, 1]);
        bench.delta(of, 12, 12, [[98, 1]], []);
      },
    ],
  ] as const) {
    test(`${what} takes book and quotes down in the same turn, until a new snapshot`, () => {
      const { bench, instrument } = liveBook();
      bench.delta(instrument, 11, 11, [[98, 2]], []);
      bench.quote(instrument, 11, [99, 1, 101, 1]);
      assert.deepEqual(bench.story(), ["orderbook delta 11", "quotes live", "quotes live"]);
      feed(bench, instrument);
      assert.deepEqual(
        bench.story().filter((line) => line !== "quotes live"),
        [
          `orderbook stale ${reason}`,
          `quotes stale book: ${reason}`,
          "quotes not live",
          `orderbook resyncing ${reason}`,
        ],
      );
      assert.equal(bench.resyncs, 2);
      bench.quote(instrument, 20, [98, 7, 101, 1]);
      assert.deepEqual(bench.story(), ["quotes not live"], "what the venue says now is not checked against a book");
      bench.delta(instrument, 19, 20, [[98, 7]], []);
      bench.snapshot(instrument, 19, [[98, 1]], [[101, 1]]);
      assert.deepEqual(bench.story(), ["orderbook snapshot 20", "orderbook live", "quotes live book live again"]);
      bench.quote(instrument, 21, [98, 7, 101, 1]);
      assert.deepEqual(bench.story(), ["quotes live"]);
      assert.deepEqual(topOf(bench, instrument), { bids: [98, 7], asks: [101, 1] });
    });
  }

  test("bid and ask at one price are legal", () => {
    const { bench, instrument } = liveBook();
    bench.delta(instrument, 11, 11, [[101, 1]], []);
    assert.deepEqual(bench.story(), ["orderbook delta 11"]);
  });

  test("more changes than are kept for a snapshot: the late one is not believed, and asked for anew", () => {
    const bench = new EngineBench(BINANCE_RULES);
    const instrument = bench.start();
    for (let update = 1; update <= MAX_PENDING_DELTAS; update += 1)
      bench.delta(instrument, update, update, [[1, update]], []);
    assert.equal(bench.engine.books.breaches, 0);
    bench.delta(instrument, MAX_PENDING_DELTAS + 1, MAX_PENDING_DELTAS + 1, [[1, 1]], []);
    assert.equal(bench.engine.books.get(instrument.id)?.state, STATE_STALE);
    bench.delta(instrument, MAX_PENDING_DELTAS + 2, MAX_PENDING_DELTAS + 2, [[1, 1]], []);
    bench.snapshot(instrument, 500, [[1, 1]], [[2, 1]]);
    assert.equal(bench.engine.books.get(instrument.id)?.state, STATE_STALE, "the changes after 500 were not kept");
    bench.advance(250 * MS);
    assert.equal(bench.resyncs, 2);
    bench.snapshot(instrument, 2000, [[1, 1]], [[2, 1]]);
    assert.equal(bench.engine.books.get(instrument.id)?.live, true);
    assert.deepEqual(
      bench.story().filter((line) => line.startsWith("orderbook snapshot")),
      ["orderbook snapshot 2000"],
    );
  });

  test("one that breaks again and again is asked for with growing delays, one request at a time", () => {
    const { bench, instrument } = liveBook();
    const delays: number[] = [];
    let update = 10;
    for (let breach = 0; breach < 10; breach += 1) {
      update += 10;
      const [asked, since] = [bench.resyncs, bench.clock.now()];
      bench.delta(instrument, update, update, [[98, 1]], []);
      while (bench.resyncs === asked) bench.advance(10 * MS);
      delays.push((bench.clock.now() - since) / MS);
      assert.equal(bench.resyncs, asked + 1);
      bench.delta(instrument, update + 20, update + 20, [[98, 1]], []);
      update += 20;
      bench.snapshot(instrument, update, [[99, 1]], [[101, 1]]);
      assert.equal(bench.engine.books.get(instrument.id)?.live, true);
    }
    assert.deepEqual(delays, [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    bench.advance(61 * SECOND);
    bench.delta(instrument, update + 10, update + 10, [[98, 1]], []);
    assert.deepEqual(bench.asked.at(-1), "resync");
    assert.equal(bench.resyncs, 12, "a book that held for a minute starts over, at once");
  });

  test("a request that is never answered is made again", () => {
    const bench = new EngineBench(BINANCE_RULES);
    bench.start();
    bench.advance(14_999 * MS);
    assert.equal(bench.resyncs, 1);
    bench.advance(1 * MS);
    assert.equal(bench.resyncs, 2);
  });

  test("the venue's loss takes it down; an answer that was on its way does not bring it back", () => {
    const { bench, instrument } = liveBook();
    bench.quote(instrument, 10, [99, 1, 101, 1]);
    bench.story();
    bench.disconnect();
    const story = bench.story();
    assert.deepEqual(story.slice(0, 4), [
      "state down lost",
      "orderbook stale lost",
      "quotes stale book: lost",
      "quotes not live",
    ]);
    assert.equal(story.includes("quotes live"), false);
    bench.snapshot(instrument, 30, [[99, 1]], [[101, 1]]);
    bench.engine.bookFailed(instrument.id, "no answer");
    bench.advance(60 * SECOND);
    assert.deepEqual(bench.story(), [], "nobody is left to follow the book");
    const asked = bench.resyncs;
    bench.connect();
    assert.equal(bench.resyncs, asked + 1, "asked for at once when the venue is back");
    bench.snapshot(instrument, 40, [[99, 1]], [[101, 1]]);
    assert.deepEqual(
      bench.story().filter((line) => line.startsWith("orderbook")),
      ["orderbook resyncing lost", "orderbook snapshot 40", "orderbook live"],
    );
  });
});

describe("a book that is not counted", () => {
  test("comes with the subscription; changes before it are of no use, and a later snapshot replaces it", () => {
    const bench = new EngineBench(COINBASE_RULES);
    const instrument = bench.start();
    bench.delta(instrument, 0, 0, [[50, 1]], []);
    bench.snapshot(instrument, 0, [[99, 1]], [[101, 1]]);
    bench.delta(instrument, 0, 0, [[99.5, 2]], []);
    assert.deepEqual(
      bench.story().filter((line) => !line.includes("syncing")),
      [
        "state live",
        "orderbook snapshot null",
        "orderbook live",
        "quotes live",
        "quotes live",
        "orderbook delta null",
        "quotes live",
      ],
    );
    bench.snapshot(instrument, 0, [[98, 1]], [[101, 1]]);
    assert.deepEqual(topOf(bench, instrument), { bids: [98, 1], asks: [101, 1] });
    assert.deepEqual(bench.engine.quotes.last(instrument.id), Float64Array.of(98, 1, 101, 1));
  });

  test("a change that could not be read makes it stale at once, and it is subscribed to anew", () => {
    const { bench, instrument } = liveBook(COINBASE_RULES);
    bench.engine.bookFailed(instrument.id, "unreadable");
    assert.deepEqual(bench.story(), [
      "orderbook stale unreadable",
      "quotes stale book: unreadable",
      "quotes not live",
      "orderbook resyncing unreadable",
    ]);
    assert.equal(bench.resyncs, 1);
    bench.delta(instrument, 0, 0, [[100, 1]], []);
    assert.deepEqual(bench.story(), [], "what comes before the new book belongs to the old one");
    bench.snapshot(instrument, 0, [[99, 1]], [[101, 1]]);
    assert.deepEqual(bench.story().at(-1), "quotes live");
  });

  test("a quote goes out only when the top changes, and an empty side is unknown", () => {
    const { bench, instrument } = liveBook(COINBASE_RULES);
    bench.delta(instrument, 0, 0, [[90, 1]], []);
    assert.deepEqual(bench.story(), ["orderbook delta null"]);
    bench.delta(instrument, 0, 0, [], [[101, 0]]);
    assert.deepEqual(bench.story(), ["orderbook delta null", "quotes live"]);
    assert.deepEqual(bench.engine.quotes.last(instrument.id), Float64Array.of(99, 1, Number.NaN, Number.NaN));
  });
});

describe("trades", () => {
  test("a hole in the venue's count is a state of the stream, before the trade that shows it", () => {
    const { bench, instrument } = liveBook();
    bench.trade(instrument, 100, { id: 5 });
    bench.trade(instrument, 100, { id: 6 });
    bench.trade(instrument, 100, { id: 9 });
    const frames = bench.drain().filter(({ channel }) => channel === "trades");
    const gaps = frames.filter(({ type }) => type === "state").map((frame) => (frame as StateFrame).gap);
    assert.deepEqual(gaps, [null, { from_id: 7, to_id: 8 }]);
    assert.deepEqual(
      frames.map((frame) => (frame.type === "trade" ? (frame as TradeFrame).trade_id : (frame as StateFrame).reason)),
      [null, "5", "6", "upstream gap", "9"],
    );
    bench.advance(2 * SECOND);
    const bar = bench.drain().find(({ type }) => type === "bar") as BarFrame;
    assert.equal(bar.across_gap, true);
  });

  test("the venue's word for its last trade shows a hole too; the first only says where the count stands", () => {
    const { bench, instrument } = liveBook();
    bench.lastTrade(instrument, 100);
    assert.equal(bench.engine.dedupe.holes, 0);
    bench.trade(instrument, 100, { id: 101 });
    bench.lastTrade(instrument, 101);
    bench.lastTrade(instrument, 103);
    bench.trade(instrument, 100, { id: 104 });
    const gaps = bench.drain().filter((frame) => (frame as StateFrame).gap);
    assert.deepEqual(
      gaps.map((frame) => (frame as StateFrame).gap),
      [{ from_id: 102, to_id: 103 }],
    );
  });

  test("a trade that came already is dropped and counted; one without an id never is", () => {
    const { bench, instrument } = liveBook();
    for (const id of [5, 6, 6, 5, 7]) bench.trade(instrument, 100, { id });
    for (const text of ["a", "b", "a", "", ""]) bench.trade(instrument, 100, { text });
    const ids = bench
      .drain()
      .filter(({ type }) => type === "trade")
      .map((frame) => (frame as TradeFrame).trade_id);
    assert.deepEqual(ids, ["5", "6", "7", "a", "b", "", ""]);
    assert.equal(bench.engine.dedupe.duplicates, 3);
  });

  test("ids that do not count are compared with the last 1,024", () => {
    const { bench, instrument } = liveBook();
    for (let id = 0; id < 1025; id += 1) bench.trade(instrument, 100, { text: `t${id}` });
    bench.trade(instrument, 100, { text: "t1" });
    assert.equal(bench.engine.dedupe.duplicates, 1);
    bench.trade(instrument, 100, { text: "t0" });
    assert.equal(bench.engine.dedupe.duplicates, 1, "the 1,025th before it is forgotten");
  });

  test("what nobody has open is counted, not written", () => {
    const bench = new EngineBench(BINANCE_RULES);
    const instrument = bench.start();
    bench.story();
    for (const channel of ["trades", "orderbook", "quotes"] as const) bench.engine.close(instrument, channel);
    bench.trade(instrument, 100);
    bench.quote(instrument, 1, [1, 1, 2, 1]);
    bench.delta(instrument, 1, 1, [], []);
    assert.equal(bench.engine.unwanted, 3);
    assert.deepEqual(bench.story(), []);
  });
});

describe("the venue's clock", () => {
  const times = (frames: readonly Frame[]) =>
    frames
      .filter(({ type }) => type === "trade")
      .map(({ ts_exchange }) => (ts_exchange === null ? null : ts_exchange - BEGUN));
  const opens = (frames: readonly Frame[]) =>
    frames.filter(({ type }) => type === "bar").map((frame) => ((frame as BarFrame).open_time - BEGUN) / SECOND);

  for (const [what, step] of [
    ["an hour and more ahead", HOUR + SECOND],
    ["a day and more behind", -25 * HOUR],
  ] as const) {
    test(`one message ${what} is not believed: no bar moves, and the frame says unknown`, () => {
      const { bench, instrument } = liveBook();
      for (let second = 0; second < 4; second += 1) {
        bench.trade(instrument, 100 + second, second === 1 ? { time: bench.clock.now() + step } : {});
        bench.advance(SECOND);
      }
      bench.advance(SECOND);
      const frames = bench.drain();
      assert.deepEqual(times(frames), [0, null, 2 * SECOND, 3 * SECOND]);
      const inexact = frames.filter(({ type, flags }) => type === "trade" && flags.includes("inexact"));
      assert.equal(inexact.length, 1);
      const closed = frames.filter(({ type }) => type === "bar") as BarFrame[];
      assert.deepEqual(opens(closed.filter(({ timeframe }) => timeframe === "1s")), [0, 1, 2, 3]);
      assert.equal(bench.engine.venue(bench.venue)?.clock.wild, 1);
      assert.equal(bench.engine.venue(bench.venue)?.clock.steps, 0);
    });

    test(`a second message ${what} is believed`, () => {
      const { bench, instrument } = liveBook();
      bench.trade(instrument, 100);
      bench.trade(instrument, 101, { time: BEGUN + step });
      bench.trade(instrument, 102, { time: BEGUN + step + 10 });
      assert.deepEqual(times(bench.drain()), [0, null, step + 10]);
      assert.equal(bench.engine.venue(bench.venue)?.clock.steps, 1);
      bench.advance(2 * SECOND);
      const bars = bench.drain().filter((frame) => (frame as BarFrame).timeframe === "1s" && frame.type === "bar");
      assert.ok(opens(bars).includes(step / SECOND), opens(bars).join(", "));
    });
  }

  test("two messages that disagree with each other are both not believed", () => {
    const { bench, instrument } = liveBook();
    bench.trade(instrument, 100);
    bench.trade(instrument, 100, { time: BEGUN + 48 * HOUR });
    bench.trade(instrument, 100, { time: BEGUN - 48 * HOUR });
    bench.trade(instrument, 100, { time: BEGUN + 1 });
    assert.deepEqual(times(bench.drain()), [0, null, null, 1]);
    assert.equal(bench.engine.venue(bench.venue)?.clock.wild, 2);
  });

  test("a time inside the bounds needs nobody else", () => {
    const { bench, instrument } = liveBook();
    bench.trade(instrument, 100, { time: BEGUN + HOUR });
    bench.trade(instrument, 100, { time: BEGUN - 23 * HOUR });
    assert.deepEqual(times(bench.drain()), [HOUR, -23 * HOUR]);
  });

  test("bars close by the venue's time, not ours", () => {
    const { bench, instrument } = liveBook();
    const ahead = 30 * 60 * SECOND;
    bench.trade(instrument, 100, { time: BEGUN + ahead });
    bench.advance(1_249 * MS);
    assert.deepEqual(opens(bench.drain()), []);
    bench.advance(1 * MS);
    assert.deepEqual(opens(bench.drain()), [ahead / SECOND]);
  });
});

describe("freshness", () => {
  /** A book and quotes of a steady rhythm, ten a second, looked at as often. */
  function steady(seconds: number): { bench: EngineBench; instrument: Instrument; update: number } {
    const { bench, instrument } = liveBook();
    let update = 10;
    for (let step = 0; step < 10 * seconds; step += 1) {
      update += 1;
      bench.quote(instrument, update, [99, update, 101, 1]);
      bench.delta(instrument, update, update, [[99, update]], []);
      bench.advance(100 * MS);
      bench.engine.sweep();
    }
    bench.story();
    return { bench, instrument, update };
  }

  function silent(bench: EngineBench, seconds: number): string[] {
    for (let step = 0; step < 10 * seconds; step += 1) {
      bench.advance(100 * MS);
      bench.engine.sweep();
    }
    return bench.story().map((line) => line.replace(/\d+\.\d s/, "… s"));
  }

  test("a silence of many times the rhythm is quiet, then stale, and takes the quotes with it", () => {
    const { bench, instrument, update } = steady(5);
    assert.deepEqual(silent(bench, 2.9), []);
    assert.deepEqual(silent(bench, 0.3), ["orderbook quiet silent for … s", "quotes quiet silent for … s"]);
    const asked = bench.resyncs;
    assert.deepEqual(silent(bench, 9), [
      "orderbook stale silent for … s",
      "quotes stale book: silent for … s",
      "quotes not live",
      "orderbook resyncing silent for … s",
    ]);
    assert.equal(bench.resyncs, asked + 1);
    bench.snapshot(instrument, update, [[99, update]], [[101, 1]]);
    assert.deepEqual(bench.story(), [`orderbook snapshot ${update}`, "orderbook live", "quotes live book live again"]);
  });

  test("one change ends the quiet", () => {
    const { bench, instrument, update } = steady(5);
    silent(bench, 4);
    bench.delta(instrument, update + 1, update + 1, [[99, 1]], []);
    assert.deepEqual(bench.story(), ["orderbook live", `orderbook delta ${update + 1}`]);
  });

  test("a stream whose rhythm is not known yet is left alone", () => {
    const { bench } = steady(1);
    assert.deepEqual(silent(bench, 60), []);
  });

  test("the least silence is a setting", () => {
    const bench = new EngineBench(BINANCE_RULES, {
      freshness: { quietMicros: 60 * SECOND, staleMicros: 120 * SECOND },
    });
    const instrument = bench.start();
    bench.snapshot(instrument, 10, [[99, 1]], [[101, 1]]);
    for (let update = 11; update < 61; update += 1) {
      bench.delta(instrument, update, update, [[99, update]], []);
      bench.advance(100 * MS);
      bench.engine.sweep();
    }
    bench.story();
    assert.deepEqual(silent(bench, 59), []);
    assert.deepEqual(silent(bench, 2), ["orderbook quiet silent for … s"]);
  });
});

describe("demand", () => {
  function desk() {
    const timers: { ms: number; action: () => void; cancelled: boolean }[] = [];
    const calls: string[] = [];
    const demand = new Demand({
      graceMs: 30_000,
      after: (ms, action) => {
        const timer = { ms, action, cancelled: false };
        timers.push(timer);
        return () => {
          timer.cancelled = true;
        };
      },
      open: (_instrument, channel) => calls.push(`open ${channel}`),
      close: (_instrument, channel) => calls.push(`close ${channel}`),
      quotesFromBook: () => true,
    });
    return { demand, timers, calls, instrument: new EngineBench(COINBASE_RULES).start() };
  }

  test("however many want a stream, it is opened once, and closed a grace period after the last has left", () => {
    const { demand, timers, calls, instrument } = desk();
    for (let client = 0; client < 3; client += 1) demand.add(instrument, "trades");
    for (let client = 0; client < 2; client += 1) demand.remove(instrument, "trades");
    assert.deepEqual([calls, timers.length], [["open trades"], 0]);
    demand.remove(instrument, "trades");
    assert.deepEqual([timers[0]?.ms, demand.counts], [30_000, { wanted: 0, ending: 1 }]);
    demand.add(instrument, "trades");
    assert.deepEqual([timers[0]?.cancelled, calls], [true, ["open trades"]], "it is still warm");
    demand.remove(instrument, "trades");
    timers[1]?.action();
    assert.deepEqual([calls, demand.counts], [["open trades", "close trades"], { wanted: 0, ending: 0 }]);
    demand.add(instrument, "trades");
    assert.equal(calls.at(-1), "open trades");
  });

  test("bars and indicators want trades; quotes want the book where the venue has none of its own", () => {
    const { demand, calls, instrument } = desk();
    for (const channel of ["bars", "indicators", "trades", "quotes", "orderbook"] as const)
      demand.add(instrument, channel);
    assert.deepEqual(calls, ["open trades", "open orderbook"]);
  });

  test("after the stop no grace period is left", () => {
    const { demand, timers, instrument } = desk();
    demand.add(instrument, "trades");
    demand.add(instrument, "ticker");
    demand.remove(instrument, "trades");
    demand.stop();
    demand.remove(instrument, "ticker");
    assert.deepEqual([timers.map(({ cancelled }) => cancelled), demand.counts.ending], [[true], 0]);
  });
});

/** What a holder of a derived stream has: its book, what it holds, whether a frame left a hole. */
class Holder {
  readonly book = new HeldBook();
  held = 0;
  holes = 0;
  live = false;

  take(frame: Frame): void {
    if (frame.from_seq > this.held + 1) this.holes += 1;
    this.held = Math.max(this.held, frame.seq);
    if (frame.type === "orderbook") {
      this.live = true;
      this.book.apply(frame as BookFrame);
    } else if (frame.type === "state") this.live = (frame as StateFrame).state === "live";
  }
}

type Step =
  | { do: "delta"; bids: [number, number][]; asks: [number, number][] }
  | { do: "flush"; ms: number }
  | { do: "gap" }
  | { do: "snapshot"; bids: [number, number][]; asks: [number, number][] }
  | { do: "join" };

const side = (low: number, high: number, empty: boolean) =>
  fc.array(fc.tuple(fc.integer({ min: low, max: high }), fc.integer({ min: empty ? 0 : 1, max: 3 })), {
    maxLength: 12,
  });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant("delta" as const), bids: side(1, 150, true), asks: side(151, 300, true) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("flush" as const), ms: fc.constantFrom(0, 10, 60, 300) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("gap" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("snapshot" as const),
      bids: side(1, 150, false),
      asks: side(151, 300, false),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("join" as const) }) },
);

describe("depth tiers", () => {
  test("a holder has the top of the book after every flush, without a hole, whatever happened between", () => {
    let compared = 0;
    const variants = [variantOf(0, 0), variantOf(1, 0), variantOf(2, 0), variantOf(0, CONFLATE_MS.indexOf(100))];
    const run = fc.property(
      fc.array(step, { minLength: 20, maxLength: 120 }),
      fc.constantFrom(...variants),
      (steps, variant) => {
        const { bench, instrument } = liveBook({ ...BINANCE_RULES, quotesShareBookSequence: false });
        const { engine } = bench;
        const stream = streamOf(instrument.id, SLOT_ORDERBOOK);
        const depth = TIER_DEPTHS[depthIndexOf(variant)] as number;
        const holders: Holder[] = [];
        const whole = new HeldBook();
        for (const frame of bench.drain()) if (frame.type === "orderbook") whole.apply(frame as BookFrame);
        let update = 10;
        const flush = () => {
          engine.derived.flush(bench.clock.now(), (memory) => {
            for (const holder of holders) holder.take(bench.decode(memory));
          });
        };
        const join = () => {
          engine.derived.levelTier(stream, variant, (memory) => {
            for (const holder of holders) holder.take(bench.decode(memory));
          });
          engine.derived.open(stream, variant);
          const holder = new Holder();
          // The ack says where the stream stands; the snapshot, if there is one, stands for all of it.
          holder.held = engine.frames.sequence(stream);
          engine.derived.bootstrap(stream, variant, (memory) => holder.take(bench.decode(memory)));
          holders.push(holder);
        };
        const check = () => {
          const isLive = engine.books.get(instrument.id)?.live === true;
          const top = topFrom(bench, instrument, depth);
          for (const holder of holders) {
            assert.equal(holder.holes, 0);
            assert.equal(holder.live, isLive, "the holder knows whether the book is right");
            if (!isLive) continue;
            assert.deepEqual(holder.book.top(1000), top);
            compared += 1;
          }
        };
        bench.snapshot(instrument, update, [[100, 1]], [[200, 1]]);
        join();
        for (const each of steps) {
          if (each.do === "flush") {
            bench.advance(each.ms * MS);
            flush();
            const waits = (CONFLATE_MS[conflateIndexOf(variant)] as number) > each.ms;
            if (!waits) check();
          } else if (each.do === "delta") {
            update += 1;
            bench.delta(instrument, update, update, each.bids, each.asks);
          } else if (each.do === "gap") {
            update += 5;
            bench.delta(instrument, update, update, [], []);
          } else if (each.do === "snapshot") {
            bench.snapshot(instrument, update, each.bids, each.asks);
          } else join();
        }
        bench.advance(SECOND);
        flush();
        check();
        for (const frame of bench.drain()) if (frame.type === "orderbook") whole.apply(frame as BookFrame);
        if (engine.books.get(instrument.id)?.live === true)
          assert.deepEqual(whole.top(depth), topFrom(bench, instrument, depth));
      },
    );
    fc.assert(run, { numRuns: 150, seed: 20240808 });
    assert.ok(compared > 1000, `${compared} comparisons`);
  });

  test("a change below the window sends nothing, and the next frame stands for it too", () => {
    const { bench, instrument } = liveBook();
    const { engine } = bench;
    const stream = streamOf(instrument.id, SLOT_ORDERBOOK);
    const variant = variantOf(0, 0);
    const sent: BookFrame[] = [];
    const out = (memory: Parameters<EngineBench["decode"]>[0]) => void sent.push(bench.decode(memory) as BookFrame);
    const bids = [95, 94, 93, 92, 91].map((price) => [price, 1] as const);
    bench.delta(instrument, 11, 11, bids, []);
    engine.derived.open(stream, variant);
    engine.derived.bootstrap(stream, variant, out);
    const snapshot = sent.shift();
    assert.deepEqual([snapshot?.from_seq, snapshot?.seq], [0, engine.frames.sequence(stream)]);
    bench.delta(instrument, 12, 12, [[91, 5]], []);
    engine.derived.flush(bench.clock.now(), out);
    assert.equal(sent.length, 0, "the sixth level is nothing to a holder of five");
    bench.delta(instrument, 13, 13, [[99, 7]], []);
    engine.derived.flush(bench.clock.now(), out);
    assert.equal(sent.length, 1);
    assert.deepEqual([sent[0]?.from_seq, sent[0]?.seq], [(snapshot?.seq ?? 0) + 1, (snapshot?.seq ?? 0) + 2]);
    assert.deepEqual(sent[0]?.bids, [[99, 7]]);
    bench.delta(instrument, 14, 14, [[99, 0]], []);
    engine.derived.flush(bench.clock.now(), out);
    assert.deepEqual(
      sent[1]?.bids,
      [
        [99, 0],
        [91, 5],
      ],
      "the level that enters is announced",
    );
    bench.delta(instrument, 15, 15, [[96, 2]], []);
    engine.derived.flush(bench.clock.now(), out);
    assert.deepEqual(
      sent[2]?.bids,
      [
        [96, 2],
        [91, 0],
      ],
      "the one that leaves is removed",
    );
  });
});

function topFrom(bench: EngineBench, instrument: Instrument, depth: number) {
  const book = bench.engine.books.get(instrument.id);
  const levels = (values: Float64Array, count: number) =>
    Array.from({ length: count }, (_, index) => [values[2 * index], values[2 * index + 1]]);
  const [bids, asks] = [new Float64Array(2 * depth), new Float64Array(2 * depth)];
  const [bidCount, askCount] = [book?.bids.copyTop(bids, depth) ?? 0, book?.asks.copyTop(asks, depth) ?? 0];
  return { bids: levels(bids, bidCount), asks: levels(asks, askCount) };
}

describe("the ring", () => {
  test("every stream counts from 1 without a hole, positions over all, and only the ring's frames count", () => {
    const { bench, instrument } = liveBook();
    const { engine } = bench;
    const frames: Frame[] = [];
    const variant = variantOf(1, 0);
    engine.derived.open(streamOf(instrument.id, SLOT_ORDERBOOK), variant);
    for (let update = 11; update < 200; update += 1) {
      bench.delta(
        instrument,
        update === 100 ? 150 : update,
        update === 100 ? 150 : update,
        [[90 + (update % 7), update % 5]],
        [],
      );
      bench.quote(instrument, update, [99, 1, 101, update]);
      bench.trade(instrument, 100 + (update % 9));
      if (update === 120) bench.snapshot(instrument, update, [[90, 1]], [[101, 1]]);
      engine.derived.bootstrap(streamOf(instrument.id, SLOT_ORDERBOOK), update % 2 === 0 ? RING : variant, () => {});
      bench.advance(100 * MS);
      engine.derived.flush(bench.clock.now(), () => {});
      frames.push(...bench.drain());
    }
    const last = new Map<number, number>();
    let position = 0;
    for (const { stream, seq, from_seq, position: at, flags, ts_publish } of frames) {
      const before = last.get(stream);
      if (before !== undefined) assert.equal(seq, before + 1);
      assert.equal(from_seq, seq);
      assert.ok(at > position && !flags.includes("derived"), `position ${at} after ${position}, ${flags}`);
      assert.ok(ts_publish >= START_MICROS, `${ts_publish}`);
      last.set(stream, seq);
      position = at;
    }
    for (const [stream, seq] of last) assert.equal(engine.frames.sequence(stream), seq);
    assert.equal(engine.frames.log.position, position);
  });

  test("the same recording gives the same bytes", { skip: NO_CAPTURES }, () => {
    const rings = [0, 1].map(() => {
      const bench = new EngineBench(BINANCE_RULES, {}, 8 * 2 ** 20);
      const instrument = bench.start(["ETH/USDT"]);
      playBinance(bench, instrument);
      assert.ok(bench.log.position > 70_000, `${bench.log.position} frames`);
      assert.ok(bench.log.ticks.tail > 0, "the ring has gone round");
      return bench.log;
    });
    for (const name of ["ticks", "slow"] as const) {
      const [a, b] = rings.map((log) => log[name]);
      assert.ok(a !== undefined && b !== undefined && a.head > 0, "the ring holds frames");
      assert.deepEqual([a.head, a.tail], [b.head, b.tail]);
      assert.ok(Buffer.from(a.memory.u8).equals(Buffer.from(b.memory.u8)), `${name} differ`);
    }
  });
});
