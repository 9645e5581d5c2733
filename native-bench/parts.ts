import { strictEqual } from "node:assert";
import { Bench } from "tinybench";
import { Book } from "../src/engine/book.ts";
import { TradeDedupe } from "../src/engine/dedupe.ts";
import { BAR_CLOSE, BAR_OPEN_TIME, BAR_SIZE, BAR_VOLUME } from "../src/indicators/bar.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { Catalog } from "../src/market/instrument.ts";
import { FIRST_SEQUENCE, LAST_SEQUENCE, PRICE, SIZE, Slot, TRADE_NUMBER } from "../src/market/sink.ts";
import * as F from "../src/wire/frame.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import { FrameView, TradeView } from "../src/wire/generated/views.ts";
import { JsonTwin } from "../src/wire/json.ts";
import { scratchMemory } from "../src/wire/memory.ts";
import { recordedLines } from "./workload.ts";

/** Nanoseconds of one operation, the best and the median of many batches of `count`. */
export interface Figure {
  name: string;
  best: number;
  median: number;
}

const BATCH = 10_000;

/** Runs batches under tinybench and divides by the operations in each. */
export async function measure(
  tasks: readonly { name: string; count?: number; run: () => void; before?: () => void }[],
): Promise<Figure[]> {
  const bench = new Bench({ time: 400, warmupTime: 200, iterations: 20 });
  for (const { name, run, before } of tasks)
    bench.add(name, run, before === undefined ? { async: false } : { async: false, beforeEach: before });
  await bench.run();
  return tasks.map(({ name, count = BATCH }) => {
    const { result } = bench.getTask(name) as { result: { latency: { min: number; p50: number } } };
    return { name, best: (result.latency.min * 1e6) / count, median: (result.latency.p50 * 1e6) / count };
  });
}

function repeat(run: (index: number) => void): () => void {
  return () => {
    for (let index = 0; index < BATCH; index += 1) run(index);
  };
}

/** The parts of a tick's path, one by one, as they are shipped. */
export async function parts(): Promise<Figure[]> {
  const slot = new Slot();
  slot.numbers[PRICE] = 2682.51;
  slot.numbers[SIZE] = 0.0046;
  slot.tradeIdLength = Buffer.from("1520538925").copy(slot.tradeId);
  const log = new FrameLog(64 * 2 ** 20, 1);
  const { ticks } = log;
  const sequences = new Float64Array(64);
  const dedupe = new TradeDedupe();
  const header = new F.FrameHeader();
  const tasks = [
    {
      name: "dedupe by trade id",
      run: repeat(() => {
        slot.numbers[TRADE_NUMBER] += 1;
        dedupe.check(2, slot.numbers, slot.tradeId, 10, true);
      }),
    },
    {
      name: "frame of a trade, claimed, written, committed",
      run: repeat(() => {
        const at = ticks.claim(F.LARGEST_TRADE_BYTES);
        const length = F.writeTrade(ticks.memory, at, slot.numbers, 1, 0, slot.tradeIdWords, 10);
        sequences[33] += 1;
        F.writeRingHeader(ticks.memory, at, header.words, 33, 1, 4, sequences, 33, log.next, slot.numbers, 2);
        log.commit(ticks, length, 33, sequences, 33);
      }),
    },
    ...indicatorTasks(),
    ...readTasks(slot),
    ...bookTasks(),
  ];
  const figures = await measure(tasks);
  strictEqual(dedupe.duplicates + dedupe.holes, 0);
  return figures;
}

function indicatorTasks() {
  const set = new IndicatorSet();
  const bars = new Float64Array(BAR_SIZE * 64);
  for (let bar = 0; bar < 64; bar += 1) {
    bars[bar * BAR_SIZE + BAR_OPEN_TIME] = 1.7e15 + bar * 60e6;
    bars[bar * BAR_SIZE + BAR_CLOSE] = 100 + Math.sin(bar);
    bars[bar * BAR_SIZE + BAR_VOLUME] = 1;
  }
  const out = new Float64Array(16);
  return set.defaults.flatMap((id) => {
    const indicator = set.get(id);
    if (indicator === undefined) return [];
    const state = new Float64Array(indicator.size);
    indicator.init(state, 0, Number.NaN);
    return [
      {
        name: `${indicator.name} update`,
        run: repeat((index) => indicator.update(state, 0, bars, (index & 63) * BAR_SIZE)),
      },
      {
        name: `${indicator.name} peek`,
        run: repeat((index) => indicator.peek(state, 0, bars, (index & 63) * BAR_SIZE, out, 0)),
      },
    ];
  });
}

function readTasks(slot: Slot) {
  const memory = scratchMemory(1024);
  F.writeTrade(memory, 0, slot.numbers, 1, 0, slot.tradeIdWords, 10);
  F.writeHeader(memory, 0, new F.FrameHeader().words, 33, 1, 0);
  const frame = new FrameView();
  const trade = new TradeView();
  const twin = new JsonTwin(new Catalog(), () => undefined);
  const text = twin.encode(memory, 0);
  // What was read is added up, so that reading cannot be left out.
  const sum = new Float64Array(1);
  return [
    {
      name: "read a trade frame by the view",
      run: repeat(() => {
        frame.attach(memory, memory.i32[0] as number);
        trade.attach(memory, frame.payloadAt);
        sum[0] += trade.price + trade.size + trade.side + frame.seq;
      }),
    },
    {
      name: "JSON.parse of its twin",
      run: repeat(() => {
        const { price, size, seq } = JSON.parse(text) as { price: number; size: number; seq: number };
        sum[0] += price + size + seq;
      }),
    },
    {
      name: "JSON twin of a trade",
      run: repeat(() => {
        sum[0] += twin.encode(memory, 0).length;
      }),
    },
  ];
}

/** The recorded book's deltas, level by level. */
function bookTasks() {
  const lines = recordedLines();
  if (lines === undefined) return [];
  const book = new Book("range");
  const slot = new Slot();
  const load = (target: Slot["bids"], rows: [string, string][]) => {
    target.count = 0;
    for (const [price, size] of rows) target.push(Number(price), Number(size));
  };
  const deltas: Slot[] = [];
  let levels = 0;
  for (const line of lines) {
    const text = line.slice(line.indexOf(" ") + 1);
    if (text.startsWith('{"lastUpdateId"')) {
      const { lastUpdateId, bids, asks } = JSON.parse(text);
      load(slot.bids, bids);
      load(slot.asks, asks);
      slot.numbers[LAST_SEQUENCE] = lastUpdateId;
    } else if (text.includes('"depthUpdate"')) {
      const { U, u, b, a } = JSON.parse(text).data;
      const delta = new Slot();
      load(delta.bids, b);
      load(delta.asks, a);
      delta.numbers[FIRST_SEQUENCE] = U;
      delta.numbers[LAST_SEQUENCE] = u;
      levels += b.length + a.length;
      deltas.push(delta);
    }
  }
  return [
    {
      name: "book update, per level",
      count: levels,
      before: () => {
        book.lose("again");
        book.resync();
        book.snapshot(slot.numbers, slot.bids, slot.asks);
      },
      run: () => {
        for (const delta of deltas) book.delta(delta.numbers, delta.bids, delta.asks);
        strictEqual(book.live, true);
      },
    },
  ];
}
