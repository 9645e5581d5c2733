import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findOpenTime, opened } from "../src/engine/bar-arithmetic.ts";
import { blockBarsFor } from "../src/engine/bar-history.ts";
import type { BarOutput } from "../src/engine/bar-output.ts";
import type { BarsOptions } from "../src/engine/bars.ts";
import { Bars } from "../src/engine/bars.ts";
import * as B from "../src/indicators/bar.ts";
import type { IndicatorPlan } from "../src/indicators/plan.ts";
import { IndicatorSet, MAX_INDICATOR_ROW } from "../src/indicators/registry.ts";
import { HISTORY_ROW, PRICE, SIDE_BUY, SIDE_SELL, SIDE_UNKNOWN, SIZE } from "../src/market/sink.ts";
import { TIMEFRAME_COUNT, TIMEFRAME_MICROS, timeframeIndex } from "../src/market/timeframe.ts";
import { Random } from "../src/std/random.ts";

const S = 1e6;
const VENUE = 1;
const [S1, S5, M1, M5, H1, D1] = ["1s", "5s", "1m", "5m", "1h", "1d"].map(timeframeIndex) as [
  number,
  number,
  number,
  number,
  number,
  number,
];
const START = 1_700_000_000 * S;

interface Sent {
  kind: "bar" | "indicators";
  instrument: number;
  timeframe: number;
  state: number;
  bar: number[];
  row: number[];
}

/** Keeps all that goes out. */
class Log implements BarOutput {
  readonly sent: Sent[] = [];

  bar(instrument: number, timeframe: number, bars: Float64Array, at: number, state: number): void {
    this.sent.push({ kind: "bar", instrument, timeframe, state, bar: barAt(bars, at), row: [] });
  }

  indicators(
    instrument: number,
    timeframe: number,
    bars: Float64Array,
    at: number,
    plan: IndicatorPlan,
    row: Float64Array,
    rowAt: number,
    state: number,
  ): void {
    const values = [...row.subarray(rowAt, rowAt + plan.rowSize)];
    this.sent.push({ kind: "indicators", instrument, timeframe, state, bar: barAt(bars, at), row: values });
  }

  bars(timeframe: number, state?: number): Sent[] {
    return this.sent.filter(
      (sent) => sent.kind === "bar" && sent.timeframe === timeframe && (state === undefined || sent.state === state),
    );
  }
}

function barAt(bars: Float64Array, at: number): number[] {
  return [...bars.subarray(at, at + B.BAR_FLAGS + 1)];
}

/** Bars under test, with the typed arrays that the hot path wants hidden. */
class Bench {
  readonly log = new Log();
  readonly set: IndicatorSet;
  readonly bars: Bars;
  readonly #numbers = new Float64Array(24);
  readonly #times = new Float64Array(2);

  constructor(options: Partial<BarsOptions> = {}) {
    this.set = options.indicators ?? new IndicatorSet();
    this.bars = new Bars({ ...options, indicators: this.set, out: this.log });
  }

  open(instrument = 1, from?: number): this {
    if (from === undefined) this.bars.open(instrument, VENUE);
    else this.bars.open(instrument, VENUE, Float64Array.of(from));
    return this;
  }

  trade(time: number, price: number, size = 1, side = SIDE_UNKNOWN, instrument = 1): void {
    this.#numbers[PRICE] = price;
    this.#numbers[SIZE] = size;
    this.#times[0] = time;
    this.bars.trade(instrument, side, this.#numbers, this.#times, 0);
  }

  clock(time: number): void {
    this.#times[1] = time;
    this.bars.closeDue(VENUE, this.#times, 1);
  }

  building(timeframe: number, instrument = 1): { bar: number[]; row: number[] } | undefined {
    const bars = new Float64Array(B.BAR_SIZE);
    const row = new Float64Array(MAX_INDICATOR_ROW);
    if (!this.bars.building(instrument, timeframe, bars, 0, row, 0)) return undefined;
    return { bar: barAt(bars, 0), row: [...row.subarray(0, this.bars.archive.plan(instrument, timeframe).rowSize)] };
  }

  /** What is kept: bars and rows. */
  kept(timeframe: number, instrument = 1): { bars: number[][]; rows: number[][] } {
    const page = this.bars.archive.read(instrument, timeframe, Number.POSITIVE_INFINITY);
    const { rowSize } = page.plan;
    return {
      bars: Array.from({ length: page.count }, (_, index) => barAt(page.bars, index * B.BAR_SIZE)),
      rows: Array.from({ length: page.count }, (_, index) => [
        ...page.rows.subarray(index * rowSize, (index + 1) * rowSize),
      ]),
    };
  }
}

interface Trade {
  time: number;
  price: number;
  size: number;
  side: number;
}

/** The rows of a plan over bars, from the first on. */
function rowsOf(plan: IndicatorPlan, bars: readonly number[][]): number[][] {
  const state = new Float64Array(plan.stateSize);
  plan.init(state, 0, Number.NaN);
  return bars.map((bar) => {
    const row = new Float64Array(plan.rowSize);
    plan.update(state, 0, Float64Array.from(bar), 0);
    plan.values(state, 0, row, 0);
    return [...row];
  });
}

/** The rules once more, by brute force: every trade is kept, every bar and indicator made from scratch. */
class Naive {
  readonly sent: Sent[] = [];
  readonly #options: { timeframes: number[]; historyBars: number; latenessMicros: number };
  readonly #plan: IndicatorPlan;
  readonly #trades = new Map<number, Map<number, Trade[]>>();
  readonly #closed = new Map<number, number[]>();
  readonly #amended = new Set<string>();
  /** Bars dropped from the history, as they were then. */
  readonly #dropped = new Map<number, number[][]>();
  #clock = 0;
  tooOld = 0;

  constructor(options: { timeframes: number[]; historyBars: number; latenessMicros: number }, plan: IndicatorPlan) {
    this.#options = options;
    this.#plan = plan;
  }

  #width(series: number): number {
    return TIMEFRAME_MICROS[series % TIMEFRAME_COUNT]!;
  }

  bar(series: number, open: number): number[] {
    const trades = this.#trades.get(series)!.get(open)!;
    const byTime = trades
      .map((trade, order) => ({ ...trade, order }))
      .sort((a, b) => a.time - b.time || a.order - b.order);
    const sum = (of: (trade: Trade) => number) => trades.reduce((total, trade) => total + of(trade), 0);
    const volume = sum((trade) => trade.size);
    const quote = sum((trade) => trade.price * trade.size);
    const amended = this.#amended.has(`${series} ${open}`) ? B.BAR_AMENDED : 0;
    return [
      open,
      open + this.#width(series),
      byTime[0]!.price,
      Math.max(...trades.map((trade) => trade.price)),
      Math.min(...trades.map((trade) => trade.price)),
      byTime.at(-1)!.price,
      volume,
      quote,
      volume === 0 ? Number.NaN : quote / volume,
      sum((trade) => (trade.side === SIDE_BUY ? trade.size : 0)),
      sum((trade) => (trade.side === SIDE_SELL ? trade.size : 0)),
      trades.length,
      byTime[0]!.time,
      byTime.at(-1)!.time,
      amended,
    ];
  }

  kept(series: number): { bars: number[][]; rows: number[][] } {
    const bars = (this.#closed.get(series) ?? []).map((open) => this.bar(series, open));
    const dropped = this.#dropped.get(series) ?? [];
    return { bars, rows: rowsOf(this.#plan, [...dropped, ...bars]).slice(dropped.length) };
  }

  clock(time: number): void {
    this.#clock = Math.max(this.#clock, time);
    const due: { close: number; series: number; open: number }[] = [];
    for (const [series, bars] of this.#trades) {
      for (const open of bars.keys()) {
        const close = open + this.#width(series);
        if (this.#closed.get(series)?.includes(open) || this.#isDropped(series, open)) continue;
        if (close + this.#options.latenessMicros <= this.#clock) due.push({ close, series, open });
      }
    }
    due.sort((a, b) => a.close - b.close || a.series - b.series);
    for (const { series, open } of due) {
      this.#insert(series, open);
      const { bars, rows } = this.kept(series);
      this.#send("bar", series, B.BAR_CLOSED, bars.at(-1)!, []);
      this.#send("indicators", series, B.BAR_CLOSED, bars.at(-1)!, rows.at(-1)!);
    }
  }

  /** The newest bar that has not closed. */
  building(series: number): number[] | undefined {
    const open = Math.max(...(this.#trades.get(series)?.keys() ?? []));
    if (open < 0 || this.#closed.get(series)?.includes(open) || this.#isDropped(series, open)) return undefined;
    return this.bar(series, open);
  }

  #isDropped(series: number, open: number): boolean {
    return (this.#dropped.get(series) ?? []).some((bar) => bar[0] === open);
  }

  #send(kind: Sent["kind"], series: number, state: number, bar: number[], row: number[]): void {
    const timeframe = series % TIMEFRAME_COUNT;
    this.sent.push({ kind, instrument: (series - timeframe) / TIMEFRAME_COUNT, timeframe, state, bar, row });
  }

  #insert(series: number, open: number): void {
    const opens = this.#closed.get(series) ?? [];
    this.#closed.set(series, opens);
    if (this.#isFull(opens)) {
      const dropped = opens.splice(0, this.#block).map((old) => this.bar(series, old));
      this.#dropped.set(series, [...(this.#dropped.get(series) ?? []), ...dropped]);
    }
    opens.push(open);
    opens.sort((a, b) => a - b);
  }

  /** Bars go a block at a time. */
  get #block(): number {
    return blockBarsFor(this.#options.historyBars);
  }

  #isFull(opens: readonly number[]): boolean {
    return opens.length === (Math.ceil(this.#options.historyBars / this.#block) + 1) * this.#block;
  }

  trade(instrument: number, trade: Trade): void {
    this.clock(trade.time);
    for (const timeframe of this.#options.timeframes) this.#take(instrument * TIMEFRAME_COUNT + timeframe, trade);
  }

  #take(series: number, trade: Trade): void {
    const width = this.#width(series);
    const open = Math.floor(trade.time / width) * width;
    const bars = this.#trades.get(series) ?? new Map<number, Trade[]>();
    this.#trades.set(series, bars);
    const late = open + width + this.#options.latenessMicros <= this.#clock;
    const opens = this.#closed.get(series) ?? [];
    const full = this.#isFull(opens);
    const known = opens.includes(open);
    const oldest = full ? opens[this.#block]! : opens[0]!;
    if (late && !known && (full || this.#dropped.has(series)) && !(oldest < open)) {
      this.tooOld += 1;
      return;
    }
    const before = late ? this.kept(series) : undefined;
    bars.set(open, [...(bars.get(open) ?? []), trade]);
    if (before === undefined) return;
    this.#amended.add(`${series} ${open}`);
    if (!known) this.#insert(series, open);
    const after = this.kept(series);
    const index = after.bars.findIndex((bar) => bar[0] === open);
    this.#send("bar", series, B.BAR_CORRECTED, after.bars[index]!, []);
    for (const [later, bar] of after.bars.entries()) {
      const old = before.rows[before.bars.findIndex((candidate) => candidate[0] === bar[0])];
      if (old?.every((value, lane) => Object.is(value, after.rows[later]![lane]))) continue;
      this.#send("indicators", series, B.BAR_CORRECTED, bar, after.rows[later]!);
    }
  }
}

const tradeStep = fc.record({
  // Venue time goes on by so much, in ms; now and then a long silence.
  after: fc.oneof({ weight: 12, arbitrary: fc.integer({ min: 0, max: 900 }) }, fc.integer({ min: 0, max: 200_000 })),
  // The trade is so much older than the clock.
  lateBy: fc.oneof(
    { weight: 6, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 1500 }) },
    fc.integer({ min: 0, max: 400_000 }),
  ),
  price: fc.integer({ min: -3, max: 400 }).map((ticks) => ticks / 8),
  // Eighths: their sums are exact, in whatever order they are added up.
  size: fc.integer({ min: 0, max: 40 }).map((lots) => lots / 8),
  side: fc.constantFrom(SIDE_UNKNOWN, SIDE_BUY, SIDE_SELL),
  instrument: fc.constantFrom(1, 2),
  trade: fc.boolean(),
});

test("random trades, late ones too: the same frames and bars as the rules by brute force", (t) => {
  const seed = Number(process.env.SEED ?? 20_231_114);
  t.diagnostic(`seed ${seed}`);
  const options = fc.record({
    latenessMicros: fc.constantFrom(0, 250_000, 1_000_000),
    historyBars: fc.constantFrom(1, 2, 7, 40),
    start: fc.constantFrom(START, 1_699_920_000 * S - 3 * S),
  });
  fc.assert(
    fc.property(options, fc.array(tradeStep, { minLength: 1, maxLength: 120 }), ({ start, ...options }, steps) => {
      const all = { ...options, timeframes: [S1, S5, M1] };
      const indicators = new IndicatorSet(["macd(2,3,2)", "hma(4)", "vwap"]);
      const bench = new Bench({ ...all, indicators }).open(1, 1).open(2, 1);
      const naive = new Naive(all, indicators.plan(indicators.defaults));
      let clock = start;
      for (const step of steps) {
        clock += step.after * 1000;
        bench.clock(clock);
        naive.clock(clock);
        if (!step.trade) continue;
        const time = clock - step.lateBy * 1000;
        bench.trade(time, step.price, step.size, step.side, step.instrument);
        naive.trade(step.instrument, { ...step, time });
      }
      assert.deepEqual(bench.log.sent, naive.sent);
      for (const instrument of [1, 2]) {
        for (const timeframe of all.timeframes) {
          const expected = naive.kept(instrument * TIMEFRAME_COUNT + timeframe);
          assert.deepEqual(bench.kept(timeframe, instrument), expected);
        }
      }
      assert.equal(bench.bars.corrections.tooOld, naive.tooOld);
      assert.equal(
        bench.bars.closed + bench.bars.corrections.corrected,
        bench.log.sent.filter((sent) => sent.kind === "bar").length,
      );
    }),
    { seed, numRuns: 300 },
  );
});

test("timeframes come and go at random: the others are as if nothing happened, and they as if they had always been", (t) => {
  const seed = Number(process.env.SEED ?? 20_261_121);
  t.diagnostic(`seed ${seed}`);
  const always = [S5, M1];
  const wider = ["10s", "30s", "5m"].map(timeframeIndex);
  const step = fc.record({
    trade: tradeStep,
    toggle: fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, fc.constantFrom(S1, ...wider)),
  });
  // Amended is what went out corrected, and what was made later never did.
  const content = (bar: number[] | undefined) => bar?.slice(0, B.BAR_FLAGS);
  fc.assert(
    fc.property(fc.constantFrom(0, 250_000, 1_000_000), fc.array(step, { maxLength: 150 }), (latenessMicros, steps) => {
      const options = { latenessMicros, historyBars: 1000, timeframes: [...always, ...wider].sort((a, b) => a - b) };
      const indicators = new IndicatorSet([]);
      const bench = new Bench({ ...options, indicators, timeframes: always }).open(1, 1);
      const naive = new Naive(options, indicators.plan([]));
      let clock = START;
      const on = new Set<number>();
      for (const { trade, toggle } of steps) {
        clock += trade.after * 1000;
        bench.clock(clock);
        naive.clock(clock);
        if (toggle !== null) {
          if (on.has(toggle)) bench.bars.disable(1, toggle);
          else bench.bars.enable(1, toggle);
          if (!on.delete(toggle)) on.add(toggle);
        }
        const time = clock - trade.lateBy * 1000;
        bench.trade(time, trade.price, trade.size, trade.side);
        naive.trade(1, { ...trade, time });
        for (const timeframe of [...always, ...on]) {
          if (timeframe === S1) continue;
          const expected = naive.building(TIMEFRAME_COUNT + timeframe);
          assert.deepEqual(content(bench.building(timeframe)?.bar), content(expected), `building ${timeframe}`);
        }
      }
      for (const timeframe of always) {
        assert.deepEqual(bench.kept(timeframe).bars, naive.kept(TIMEFRAME_COUNT + timeframe).bars);
      }
      for (const timeframe of on) {
        if (timeframe === S1) continue;
        const expected = naive.kept(TIMEFRAME_COUNT + timeframe).bars.map(content);
        assert.deepEqual(bench.kept(timeframe).bars.map(content), expected, `kept ${timeframe}`);
      }
      const sent = (all: Sent[]) => all.filter((one) => one.kind === "bar" && always.includes(one.timeframe));
      assert.deepEqual(sent(bench.log.sent), sent(naive.sent));
    }),
    { seed, numRuns: 300 },
  );
});

const GOLDEN: [number, number, number, number][] = [
  [5, 100, 1, SIDE_BUY],
  [30, 102, 2, SIDE_SELL],
  [55, 99, 1, SIDE_UNKNOWN],
  [0, 50, 1, SIDE_BUY],
  [130, 101, 1, SIDE_BUY],
  [400, 101, 1, SIDE_BUY],
];

test("golden: the bars of the vector with the late trade", () => {
  const bench = new Bench({ timeframes: [M1, M5] }).open();
  let clock = 0;
  for (const [second, price, size, side] of GOLDEN) {
    clock = Math.max(clock, START + second * S);
    bench.clock(clock);
    bench.trade(START + second * S, price, size, side);
  }
  const [first, corrected, second] = bench.log.bars(M1);
  assert.equal(first?.state, B.BAR_CLOSED);
  assert.deepEqual(first.bar.slice(2, 7), [100, 102, 100, 102, 3]);
  assert.equal(corrected?.state, B.BAR_CORRECTED);
  const at = 1_699_999_980 * S;
  assert.deepEqual(corrected.bar.slice(0, 12), [at, at + 60 * S, 50, 102, 50, 102, 4, 354, 88.5, 2, 2, 3]);
  assert.deepEqual(second?.bar.slice(0, 7), [1_700_000_040 * S, 1_700_000_100 * S, 99, 99, 99, 99, 1]);
  assert.equal(bench.log.bars(M1, B.BAR_CORRECTED).length, 1);
  const wide = bench.log.bars(M5);
  assert.equal(wide.length, 1);
  assert.deepEqual(wide[0]!.bar.slice(0, 9), [1_699_999_800 * S, START + 100 * S, 50, 102, 50, 99, 5, 453, 90.6]);
  assert.equal(wide[0]!.bar[B.BAR_TRADE_COUNT], 4);
  assert.equal(bench.bars.late, 1);
});

test("a bar closes on the clock, when its allowance is over, without another trade", () => {
  const bench = new Bench({ timeframes: [S1] }).open();
  bench.trade(START + 1000, 10);
  bench.clock(START + S + 249_999);
  assert.equal(bench.log.sent.length, 0);
  bench.clock(START + S + 250_000);
  assert.deepEqual(
    bench.log.sent.map((sent) => sent.kind),
    ["bar", "indicators"],
  );
  assert.equal(bench.building(S1), undefined);
  bench.clock(START + 60 * S);
  assert.equal(bench.log.sent.length, 2, "silent intervals give no bar");
});

test("inside the allowance a trade goes to the bar of its own time, the previous or the building one", () => {
  const bench = new Bench({ timeframes: [S1] }).open();
  bench.trade(START + 900_000, 10);
  bench.trade(START + 1_050_000, 20);
  bench.trade(START + 950_000, 30);
  bench.clock(START + 1_250_000);
  bench.trade(START + 3_020_000, 40);
  bench.trade(START + 2_990_000, 50);
  bench.clock(START + 9 * S);
  assert.deepEqual(
    bench.log.bars(S1).map(({ bar }) => [bar[0]! - START, bar[B.BAR_OPEN], bar[B.BAR_CLOSE]]),
    [
      [0, 10, 30],
      [S, 20, 20],
      [2 * S, 50, 50],
      [3 * S, 40, 40],
    ],
  );
  assert.equal(bench.bars.late, 0);
});

test("what is due closes by close time, then by instrument and timeframe", () => {
  const bench = new Bench({ timeframes: [S1, S5] }).open(2).open(1);
  for (const instrument of [2, 1]) bench.trade(START + 3_900_000, 1, 1, SIDE_BUY, instrument);
  for (const instrument of [2, 1]) bench.trade(START + 4_100_000, 1, 1, SIDE_BUY, instrument);
  bench.clock(START + 60 * S);
  assert.deepEqual(
    bench.log.sent
      .filter((sent) => sent.kind === "bar")
      .map((sent) => [sent.bar[1]! - START, sent.instrument, sent.timeframe]),
    [
      [4 * S, 1, S1],
      [4 * S, 2, S1],
      [5 * S, 1, S1],
      [5 * S, 1, S5],
      [5 * S, 2, S1],
      [5 * S, 2, S5],
    ],
  );
});

test("every timeframe is aligned to UTC, a day to midnight", () => {
  const bench = new Bench({ timeframes: Array.from({ length: TIMEFRAME_COUNT }, (_, index) => index) }).open();
  const time = Date.UTC(2024, 1, 29, 23, 59, 59, 999) * 1000 + 999;
  bench.trade(time, 1);
  bench.clock(time + S);
  for (let timeframe = 0; timeframe < TIMEFRAME_COUNT; timeframe += 1) {
    const [sent] = bench.log.bars(timeframe);
    assert.equal(sent?.bar[B.BAR_CLOSE_TIME], Date.UTC(2024, 2, 1) * 1000);
    assert.equal(sent.bar[B.BAR_CLOSE_TIME]! - sent.bar[B.BAR_OPEN_TIME]!, TIMEFRAME_MICROS[timeframe]);
  }
  assert.equal(bench.log.bars(D1)[0]!.bar[0], Date.UTC(2024, 1, 29) * 1000);
});

test("the open time by division is that by remainder, up to 2^53", () => {
  const random = new Random(7);
  const time = new Float64Array(1);
  for (let round = 0; round < 100_000; round += 1) {
    const timeframe = random.integer(0, TIMEFRAME_COUNT - 1);
    const width = TIMEFRAME_MICROS[timeframe]!;
    // The microseconds next to a boundary, and any at all.
    const boundary = Math.floor((random.next() * Number.MAX_SAFE_INTEGER) / width) * width;
    time[0] = random.chance(0.5)
      ? Math.max(boundary + random.integer(-2, 2), 0)
      : boundary + random.integer(0, 999_999);
    findOpenTime(time, 0, timeframe);
    assert.equal(opened[0], time[0] - (time[0] % width));
  }
});

test("a bar joined mid-way is partial, one of which all was seen is not", () => {
  const flags = (bench: Bench, timeframe: number) => bench.building(timeframe)!.bar[B.BAR_FLAGS];
  const unknown = new Bench().open();
  unknown.trade(START, 1);
  assert.equal(flags(unknown, S1), B.BAR_PARTIAL);
  unknown.trade(START + S, 1);
  assert.equal(flags(unknown, S1), 0);
  assert.equal(flags(unknown, M1), B.BAR_PARTIAL);
  const known = new Bench().open(1, START);
  known.trade(START + 1000, 1);
  assert.equal(flags(known, S1), 0);
  assert.equal(flags(known, M1), B.BAR_PARTIAL);
  known.bars.leave(1);
  assert.equal(flags(known, S1), B.BAR_PARTIAL);
});

test("a loss at the venue marks the unclosed bars and those that the next trade opens", () => {
  const bench = new Bench({ timeframes: [S1, M1] }).open(1, 1);
  const acrossGap = (timeframe: number) => (bench.building(timeframe)!.bar[B.BAR_FLAGS]! & B.BAR_ACROSS_GAP) !== 0;
  bench.trade(START, 1);
  bench.bars.gap(1);
  bench.trade(START + 1.1 * S, 1);
  assert.deepEqual([acrossGap(S1), acrossGap(M1)], [true, true]);
  bench.clock(START + 1.3 * S);
  assert.equal(bench.log.bars(S1)[0]!.bar[B.BAR_FLAGS], B.BAR_ACROSS_GAP);
  bench.trade(START + 2.1 * S, 1);
  assert.deepEqual([acrossGap(S1), acrossGap(M1)], [false, true]);
});

test("the building bar's values are peeked past the previous one, and are what its close gives", () => {
  const random = new Random(5);
  const bench = new Bench({ timeframes: [S1] }).open(1, 1);
  let peeked: number[] | undefined;
  for (let second = 0; second < 200; second += 1) {
    bench.trade(START + second * S + 900_000, 100 + random.normal());
    bench.trade(START + second * S + 1_100_000, 100 + random.normal());
    peeked = bench.building(S1)!.row;
    assert.deepEqual(bench.building(S1)!.row, peeked);
  }
  bench.clock(START + 1000 * S);
  assert.deepEqual(bench.log.sent.at(-1)?.row, peeked);
  assert.equal(bench.log.sent.length, 402);
});

test("older than what is kept is counted and dropped; a recomputation is exact after bars were dropped", () => {
  const bench = new Bench({ timeframes: [S1], historyBars: 40 }).open(1, 1);
  const random = new Random(9);
  for (let second = 0; second < 300; second += 1) bench.trade(START + second * S, 100 + random.normal());
  bench.clock(START + 400 * S);
  const { length } = bench.kept(S1).bars;
  assert.ok(length >= 40 && length < 40 + 2 * blockBarsFor(40), "what was asked for, and less than two blocks more");
  bench.trade(START + 100 * S, 1);
  assert.equal(bench.bars.corrections.tooOld, 1);
  bench.trade(START + 270 * S + 5, 90);
  const closed = bench.log.bars(S1, B.BAR_CLOSED).map((sent) => sent.bar);
  closed[270] = bench.log.bars(S1, B.BAR_CORRECTED)[0]!.bar;
  const expected = rowsOf(bench.set.plan([0, 1, 2]), closed).slice(-length);
  assert.deepEqual(bench.kept(S1).rows, expected);
  const corrections = bench.log.sent.filter((sent) => sent.kind === "indicators" && sent.state === B.BAR_CORRECTED);
  assert.deepEqual(
    corrections.map((sent) => sent.row),
    expected.slice(270 - (300 - length)),
  );
});

function venueRows(first: number, width: number, closes: readonly number[]): Float64Array {
  return Float64Array.from(
    closes.flatMap((close, index) => [first + index * width, close, close + 1, close - 1, close, 10, 10 * close, 4, 7]),
  );
}

test("venue history goes before our first whole bar and replaces the one joined mid-way", () => {
  const bench = new Bench({ timeframes: [M1] }).open();
  const minute = 60 * S;
  const joined = 1_700_000_040 * S;
  bench.trade(joined + 30 * S, 200);
  bench.bars.history(1, M1, venueRows(joined - 3 * minute, minute, [97, 98, 99, 100]));
  assert.equal(bench.log.sent.length, 0);
  assert.deepEqual(
    bench.kept(M1).bars.map((bar) => bar[B.BAR_CLOSE]),
    [97, 98, 99],
  );
  assert.deepEqual(
    bench.kept(M1).bars.map((bar) => bar[B.BAR_FLAGS]),
    Array(3).fill(B.BAR_FROM_VENUE),
  );
  assert.deepEqual(bench.kept(M1).bars[0], [
    joined - 3 * minute,
    joined - 2 * minute,
    97,
    98,
    96,
    97,
    10,
    970,
    97,
    4,
    6,
    7,
    joined - 3 * minute,
    joined - 2 * minute - 1,
    B.BAR_FROM_VENUE,
  ]);
  bench.trade(joined + minute + S, 201);
  bench.trade(joined + 2 * minute + S, 202);
  assert.deepEqual(
    bench.log.bars(M1).map((sent) => [sent.state, sent.bar[B.BAR_FLAGS]]),
    [
      [B.BAR_CLOSED, B.BAR_PARTIAL],
      [B.BAR_CLOSED, 0],
    ],
  );
  const before = bench.log.sent.length;
  bench.bars.history(1, M1, venueRows(joined - 4 * minute, minute, [96, 97, 98, 99, 100, 500, 600]));
  assert.deepEqual(
    bench.kept(M1).bars.map((bar) => bar[B.BAR_CLOSE]),
    [96, 97, 98, 99, 100, 201],
  );
  const sent = bench.log.sent.slice(before);
  assert.deepEqual(
    sent.map((one) => [one.kind, one.state, one.bar[0]]),
    [
      ["bar", B.BAR_CORRECTED, joined],
      ["indicators", B.BAR_CORRECTED, joined],
      ["indicators", B.BAR_CORRECTED, joined + minute],
    ],
  );
  assert.equal(sent[0]!.bar[B.BAR_FLAGS], B.BAR_FROM_VENUE | B.BAR_AMENDED);
  const { bars, rows } = bench.kept(M1);
  assert.deepEqual(rows, rowsOf(bench.set.plan([0, 1, 2]), bars));
  assert.deepEqual(sent[2]!.row, rows.at(-1));
  // The venue's bar holds the trade already.
  bench.trade(joined + 40 * S, 999);
  assert.equal(bench.bars.corrections.inVenueBar, 1);
  assert.equal(bench.kept(M1).bars[4]![B.BAR_HIGH], 101);
  // The same rows once more change nothing.
  const again = bench.log.sent.length;
  bench.bars.history(1, M1, venueRows(joined - 4 * minute, minute, [96, 97, 98, 99, 100, 500, 600]));
  assert.equal(bench.log.sent.length, again);
  assert.deepEqual(bench.kept(M1), { bars, rows });
});

test("more venue history than is kept leaves the newest, and indicators that saw all of it", () => {
  const bench = new Bench({ timeframes: [M1], historyBars: 20 }).open();
  const first = START - (START % (60 * S)) - 6000 * S;
  const closes = Array.from({ length: 60 }, (_, index) => 100 + (index % 7));
  bench.clock(START);
  bench.bars.history(1, M1, venueRows(first, 60 * S, closes));
  const { bars, rows } = bench.kept(M1);
  assert.ok(bars.length >= 20 && bars.length < 20 + 2 * blockBarsFor(20));
  assert.deepEqual(
    bars.map((bar) => bar[B.BAR_CLOSE]),
    closes.slice(-bars.length),
  );
  const all = closes.map((close, index) => [...venueRows(first + index * 60 * S, 60 * S, [close])]);
  const full = all.map(([time, , , , close]) => {
    const bar = Array<number>(B.BAR_SIZE).fill(0);
    bar[B.BAR_OPEN_TIME] = time!;
    bar[B.BAR_CLOSE] = close!;
    bar[B.BAR_VOLUME] = 10;
    bar[B.BAR_QUOTE_VOLUME] = 10 * close!;
    return bar;
  });
  assert.deepEqual(rows, rowsOf(bench.set.plan([0, 1, 2]), full).slice(-rows.length));
  assert.equal(HISTORY_ROW, 9);
});

test("the last row of a venue's history is taken for closed only when no answer can be that old", () => {
  const first = START - (START % (60 * S));
  for (const [seconds, count] of [
    [61, 1],
    [69, 1],
    [71, 2],
  ] as const) {
    const bench = new Bench({ timeframes: [M1] }).open();
    bench.clock(first + seconds * S);
    bench.bars.history(1, M1, venueRows(first - 60 * S, 60 * S, [1, 2]));
    assert.equal(bench.kept(M1).bars.length, count, `${seconds} s after the open`);
  }
});

test("a timeframe on demand is made from the narrower bars, as if it had always been computed", () => {
  const run = (enableAt: number) => {
    const bench = new Bench({ timeframes: enableAt < 0 ? [S1, S5, M1] : [S1, M1], latenessMicros: 800_000 }).open(1, 1);
    const random = new Random(3);
    for (let step = 0; step < 600; step += 1) {
      if (step === enableAt) bench.bars.enable(1, S5);
      const clock = START + step * 137_000;
      bench.clock(clock);
      bench.trade(
        clock - random.integer(0, 700_000),
        random.integer(-80, 800) / 8,
        random.integer(0, 32) / 8,
        random.integer(0, 2),
      );
    }
    return { building: bench.building(S5), ...bench.kept(S5) };
  };
  const always = run(-1);
  for (const enableAt of [0, 37, 300, 310, 599]) assert.deepEqual(run(enableAt), always, `enabled at ${enableAt}`);
});

test("a timeframe is asked for while a narrower one that was asked for mid-way has not closed", () => {
  const bench = new Bench({ timeframes: [S5, M1] }).open(1, 1);
  const [S10, S30] = [timeframeIndex("10s"), timeframeIndex("30s")];
  bench.trade(START, 1);
  bench.trade(START + 6 * S, 2);
  bench.bars.enable(1, S10);
  bench.trade(START + 7 * S, 3);
  bench.bars.enable(1, S30);
  bench.trade(START + 8 * S, 4);
  const counts = () => [S5, S10, S30, M1].map((timeframe) => bench.building(timeframe)?.bar[B.BAR_TRADE_COUNT]);
  assert.deepEqual(counts(), [3, 4, 4, 4]);
  bench.trade(START + 12 * S, 5);
  bench.clock(START + 13 * S);
  assert.deepEqual(counts(), [1, 1, 1, 5]);
});

test("a timeframe on demand without narrower bars begins partial, and is forgotten when given up", () => {
  const bench = new Bench({ timeframes: [H1] }).open();
  bench.trade(START, 1);
  bench.bars.enable(1, M1);
  bench.bars.enable(1, M1);
  bench.trade(START + S, 2);
  assert.equal(bench.building(M1)!.bar[B.BAR_FLAGS], B.BAR_PARTIAL);
  assert.equal(bench.building(M1)!.bar[B.BAR_TRADE_COUNT], 1);
  bench.bars.disable(1, M1);
  bench.bars.disable(1, H1);
  bench.trade(START + 2 * S, 2);
  bench.clock(START + 4000 * S);
  assert.equal(bench.log.bars(M1).length, 0);
  assert.equal(bench.log.bars(H1).length, 1);
  bench.bars.enable(1, M1);
  bench.trade(START + 4010 * S, 3);
  bench.clock(START + 4100 * S);
  assert.deepEqual(
    bench.log.bars(M1).map((sent) => sent.bar[B.BAR_CLOSE]),
    [3],
  );
});

test("a timeframe may be asked for before its instrument is opened", () => {
  const bench = new Bench({ timeframes: [H1] });
  bench.bars.enable(40, S1);
  bench.open(40);
  bench.trade(START, 5, 1, SIDE_BUY, 40);
  bench.clock(START + 2 * S);
  assert.deepEqual(
    bench.log.bars(S1).map((sent) => sent.instrument),
    [40],
  );
  bench.bars.disable(40, S1);
  bench.bars.enable(41, S1);
  bench.bars.disable(41, S1);
});

test("an indicator on demand is computed from what is kept, and leaves the others alone", () => {
  const bench = new Bench({ timeframes: [S1], historyBars: 100 }).open(1, 1);
  const random = new Random(21);
  const trade = (second: number) => bench.trade(START + second * S, 100 + random.normal());
  for (let second = 0; second < 200; second += 1) trade(second);
  const before = bench.kept(S1);
  const { id } = bench.set.register("hma(9)");
  assert.equal(id, 3);
  bench.bars.archive.useIndicator(1, S1, id!);
  const after = bench.kept(S1);
  assert.deepEqual(after.bars, before.bars);
  assert.deepEqual(
    after.rows.map((row) => row.slice(0, 10)),
    before.rows,
  );
  assert.equal(after.rows[0]!.length, 13);
  assert.deepEqual(
    after.rows.map((row) => row[12]),
    [...Array(11).fill(0), ...Array(bench.kept(S1).bars.length - 11).fill(1)],
  );
  for (let second = 200; second < 203; second += 1) trade(second);
  assert.equal(bench.log.sent.at(-1)!.row.length, 13);
  bench.bars.archive.dropIndicator(1, S1, id!);
  bench.bars.archive.dropIndicator(1, S1, 0);
  assert.deepEqual(bench.bars.archive.plan(1, S1).ids, [0, 1, 2]);
  const all = bench.log.bars(S1).map((sent) => sent.bar);
  assert.deepEqual(bench.kept(S1).rows, rowsOf(bench.bars.archive.plan(1, S1), all).slice(-bench.kept(S1).rows.length));
});

test("read gives the newest bars of a span with their values; newest gives the last", () => {
  const bench = new Bench({ timeframes: [S1] }).open(1, 1);
  for (let second = 0; second < 50; second += 1) bench.trade(START + second * S, 100 + second);
  const all = bench.kept(S1);
  const page = bench.bars.archive.read(1, S1, 5, START + 10 * S, START + 20 * S);
  assert.equal(page.count, 5);
  assert.deepEqual([...page.bars.subarray(0, 15)], all.bars[15]);
  assert.deepEqual([...page.rows], all.rows.slice(15, 20).flat());
  assert.equal(bench.bars.archive.read(1, M1, 5).count, 0);
  const bar = new Float64Array(B.BAR_SIZE);
  const row = new Float64Array(page.plan.rowSize);
  assert.equal(bench.bars.archive.newest(1, S1, bar, 0, row, 0), true);
  assert.deepEqual([barAt(bar, 0), [...row]], [all.bars.at(-1), all.rows.at(-1)]);
});

test("a clock that went back takes the bars that had not closed by then with it", () => {
  const bench = new Bench({ timeframes: [S1, M1] }).open(1, 1);
  for (let second = 0; second < 30; second += 1) bench.trade(START + second * S, 100 + second);
  bench.trade(START + 90_000 * S, 7);
  bench.bars.rewind(VENUE, Float64Array.of(START + 10 * S), 0);
  assert.equal(bench.kept(S1).bars.length, 10);
  assert.equal(bench.building(S1), undefined);
  assert.equal(bench.kept(M1).bars.length, 0);
  bench.trade(START + 10 * S, 55);
  bench.clock(START + 12 * S);
  assert.equal(bench.log.sent.at(-1)?.bar[B.BAR_CLOSE], 55);
  const { bars, rows } = bench.kept(S1);
  assert.deepEqual(rows, rowsOf(bench.bars.archive.plan(1, S1), bars));
});

test("the same trades give the same frames, however the clock was looked at, and bars fetched ahead, in between", () => {
  const run = (looks: boolean) => {
    const bench = new Bench().open(1).open(2);
    const random = new Random(77);
    let clock = START;
    for (let step = 0; step < 2000; step += 1) {
      const time = clock + random.integer(0, 90_000);
      while (looks && clock < time) {
        clock += 7000;
        // Of these, and of instruments that nobody opened, near and far.
        for (const instrument of [1, 2, 3, 0, 500_000]) bench.bars.prefetch(instrument);
        bench.clock(Math.min(clock, time));
      }
      clock = time;
      bench.clock(clock);
      const late = random.chance(0.1) ? random.integer(0, 3_000_000) : 0;
      bench.trade(clock - late, 100 + random.normal(), random.next(), random.integer(0, 2), random.integer(1, 2));
    }
    return [...bench.log.sent, ...bench.log.sent.map(({ timeframe }) => bench.building(timeframe))];
  };
  const sent = run(false);
  assert.ok(sent.length > 600);
  assert.deepEqual(run(false), sent);
  assert.deepEqual(run(true), sent);
});

test("an allowance longer than the narrowest bar is a programmer's error", () => {
  assert.throws(() => new Bench({ latenessMicros: 1_000_001 }), /allowance/);
});

test("many instruments: memory grows, nothing is mixed up", () => {
  const bench = new Bench({ timeframes: [S1], indicators: new IndicatorSet([]) });
  for (let instrument = 1; instrument <= 500; instrument += 1) bench.open(instrument, 1);
  for (let instrument = 500; instrument >= 1; instrument -= 1) bench.trade(START, instrument, 1, SIDE_BUY, instrument);
  bench.clock(START + 2 * S);
  assert.deepEqual(
    bench.log.sent.map((sent) => [sent.kind, sent.instrument, sent.bar[B.BAR_CLOSE]]),
    Array.from({ length: 500 }, (_, index) => ["bar", index + 1, index + 1]),
  );
});
