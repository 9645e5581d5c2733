import { strictEqual } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openJournal } from "../src/journal/open.ts";
import { JournalWriter } from "../src/journal/writer.ts";
import { settle } from "./garbage.ts";
import { Pipeline } from "./pipeline.ts";
import { recordedOrSynthetic } from "./recorded-trade.ts";

/** Runs of some 500 trades, each a turn of the event loop, that are timed together: some 20,000 trades. */
const RUNS = 40;
const BLOCKS = 60;

/** Nanoseconds of a trade without a journal and with one, whose thread copies and writes meanwhile. */
export interface JournalCost {
  plainNs: number;
  journaledNs: number;
  /** The median of the ratios of neighbours. */
  ratio: number;
  frames: number;
  megabytes: number;
}

/**
 * Runs two pipelines in turn, a block each; the one's frames are journalled. Every frame must be in the journal. Without
 * a pause between the runs of a block the journal's thread is as busy as the path, on the other half of the processor
 * where that is all there is; with one of 5 ms, it is some 100,000 trades a second.
 */
export async function journalCost(pauseMs: number): Promise<JournalCost> {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-journal-"));
  try {
    settle();
    const [plain, journaled] = [new Pipeline(recordedOrSynthetic()), new Pipeline(recordedOrSynthetic())];
    for (const pipeline of [plain, journaled]) pipeline.warmUp(() => pipeline.parsed());
    const { log } = journaled.engine.frames;
    const first = log.position;
    const writer = new JournalWriter({
      opened: openJournal(directory),
      log,
      mode: "simulated",
      now: Date.now() * 1000,
    });
    const figures: [number, number][] = [];
    // What the ring holds already is written first; what it held before is lost.
    await level(writer, log);
    const { lost: lostBefore } = writer.figures;
    for (let block = 0; block < BLOCKS; block += 1) {
      const plainNs = await blockOf(plain, pauseMs);
      const journaledNs = await blockOf(journaled, pauseMs, writer);
      figures.push([plainNs, journaledNs]);
      await level(writer, log);
    }
    for (const pipeline of [plain, journaled]) pipeline.check();
    const { lost, errors, bytes } = writer.figures;
    await writer.close();
    strictEqual(writer.figures.state, "closed");
    strictEqual(lost - lostBefore + errors, 0, "the journal has every frame");
    return {
      plainNs: median(figures.map(([ns]) => ns)),
      journaledNs: median(figures.map(([, ns]) => ns)),
      ratio: median(figures.map(([without, ns]) => ns / without)),
      frames: log.position - first,
      megabytes: bytes / 1e6,
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function level(writer: JournalWriter, log: { readonly position: number }): Promise<void> {
  writer.publish();
  while (writer.figures.written < log.position) await sleep(1);
}

async function blockOf(pipeline: Pipeline, pauseMs: number, writer?: JournalWriter): Promise<number> {
  let ms = 0;
  for (let run = 0; run < RUNS; run += 1) {
    if (pauseMs > 0) await sleep(pauseMs);
    pipeline.next();
    const begun = performance.now();
    pipeline.parsed();
    writer?.publish();
    ms += performance.now() - begun;
  }
  return (ms * 1e6) / (RUNS * pipeline.runTrades);
}

function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[figures.length >> 1] as number;
}
