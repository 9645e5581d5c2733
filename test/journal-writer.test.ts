/** The writer's thread: the real one, over the real disk. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openJournal } from "../src/journal/open.ts";
import { JournalReader } from "../src/journal/reader.ts";
import { verify } from "../src/journal/verify.ts";
import { JournalWriter, type JournalWriterOptions } from "../src/journal/writer.ts";
import { SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import * as S from "../src/market/sink.ts";
import { LARGEST_FIXED_BYTES, writeTrade } from "../src/wire/frame.ts";
import { FrameView, PAYLOAD_TRADE, TradeView } from "../src/wire/generated/views.ts";
import { readAll, Tape, temporary } from "./journal-tape.ts";

const SEED = 20_260_103;
const root = fileURLToPath(new URL("..", import.meta.url));

/** Waits for what another thread brings about. */
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    assert.ok(waited < 30_000, `${what} has not come about`);
    await sleep(5);
  }
}

function start(directory: string, tape: Tape, options: Partial<JournalWriterOptions> = {}): JournalWriter {
  const { log, clock } = tape;
  return new JournalWriter({ opened: openJournal(directory), log, mode: "simulated", now: clock.now(), ...options });
}

const slot = new S.Slot();

/** A trade whose price is its position, so that a frame that is half another's shows. */
function tellingTrade(tape: Tape): void {
  const stream = streamOf(2, SLOT_TRADES);
  tape.frames.introduce(stream);
  const ring = tape.log.ticks;
  const at = ring.claim(LARGEST_FIXED_BYTES);
  slot.numbers[S.PRICE] = tape.log.next[0] as number;
  const bytes = writeTrade(ring.memory, at, slot.numbers, 1, 0, slot.tradeIdWords, 0);
  tape.frames.commit(ring, at, bytes, stream, 0, slot.numbers);
}

/** Every trade's price is its position; returns how many frames were read. */
function assertTelling(directory: string): number {
  const view = new FrameView();
  const trade = new TradeView();
  let count = 0;
  for (const { memory, at, position } of new JournalReader(directory).frames()) {
    count += 1;
    view.attach(memory, at + memory.i32[at >> 2]);
    if (view.payloadType !== PAYLOAD_TRADE) continue;
    trade.attach(memory, view.payloadAt);
    assert.equal(trade.price, position);
  }
  return count;
}

describe("the writer's thread", () => {
  test("follows the ring and leaves a whole journal", async (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const writer = start(directory, tape, { sync: "every" });
    for (let turn = 0; turn < 50; turn += 1) {
      tape.commit(200, 50_000);
      writer.publish();
      await new Promise(setImmediate);
    }
    await until("all is on the disk", () => writer.figures.synced === tape.log.position);
    assert.equal(writer.figures.state, "writing");
    assert.equal(writer.figures.lag, 0);
    await writer.close();
    const { state, written, lost, errors, lastError } = writer.figures;
    assert.deepEqual(
      { state, written, lost, errors, lastError },
      { state: "closed", written: tape.log.position, lost: 0, errors: 0, lastError: undefined },
    );
    assert.deepEqual(readAll(directory), tape.committed);
    assert.deepEqual(verify(directory).problems, []);
    const again = openJournal(directory);
    assert.equal(again.last?.clean, true);
    assert.equal(again.last?.position, tape.log.position);
    again.lock.release();
  });

  test("that the ring overtakes, again and again, copies no frame that is half another's", async (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED, { ringBytes: 4 << 20 });
    let asked = 0;
    const directoryFrames = (out: (bytes: Uint8Array) => void) => {
      asked += 1;
      for (const instrument of tape.instruments) {
        tape.frames.directory(instrument, (memory, length) => out(memory.u8.subarray(0, length)));
      }
    };
    const writer = start(directory, tape, { sync: "never", directory: directoryFrames });
    // Both rings have gone round before the writer is told of anything.
    for (let count = 0; count < 50_000; count += 1) tellingTrade(tape);
    for (let count = 0; count < 10_000; count += 1) tape.frames.state(streamOf(2, SLOT_TRADES), 2, "");
    writer.publish();
    await until("the directory is asked for again", () => asked > 1);
    for (let turn = 0; turn < 400; turn += 1) {
      for (let count = 0; count < 1000; count += 1) tellingTrade(tape);
      writer.publish();
    }
    await until("the writer has come round", () => writer.figures.lag === 0);
    await writer.close();
    const { lost, gaps, state } = writer.figures;
    const read = assertTelling(directory);
    t.diagnostic(`${read} read, ${lost} lost in ${gaps} gaps`);
    assert.equal(state, "closed");
    assert.equal(read + lost, tape.log.position);
    assert.ok(lost > 50_000);
    const report = verify(directory);
    assert.deepEqual(report.problems, []);
    assert.equal(report.gaps.length, gaps);
  });

  test("begins with the directory that it is told", async (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED);
    tape.commit(100);
    const writer = start(directory, tape, {
      directory: (out) => {
        for (const instrument of tape.instruments) {
          tape.frames.directory(instrument, (memory, length) => out(memory.u8.subarray(0, length)));
        }
      },
    });
    await writer.close();
    const copies = [...new JournalReader(directory).frames({ copies: true })].filter(({ copy }) => copy);
    const streams = new Set(tape.committed.map(({ stream }) => stream));
    streams.delete(0);
    assert.equal(copies.length, tape.instruments.length + streams.size);
    assert.deepEqual(readAll(directory), tape.committed);
  });
});

/** What a bundle of the project's own does with a journal, in a process that will be killed. */
const ENTRY = `
import { FrameWriter } from "${root}src/engine/frame-writer.ts";
import { openJournal } from "${root}src/journal/open.ts";
import { JournalWriter } from "${root}src/journal/writer.ts";
import { Catalog, emptyListing } from "${root}src/market/instrument.ts";
import * as S from "${root}src/market/sink.ts";
import { SystemClock } from "${root}src/std/clock.ts";
import { LARGEST_FIXED_BYTES, writeTrade } from "${root}src/wire/frame.ts";
import { FrameLog } from "${root}src/wire/frame-log.ts";

export function run(directory: string): void {
  const clock = new SystemClock();
  const log = new FrameLog(64 << 20, 12345);
  const frames = new FrameWriter(log, clock);
  const catalog = new Catalog();
  catalog.addVenue("sim-a");
  const instrument = catalog.list("sim-a", { ...emptyListing(), symbol: "A/USDT" });
  frames.register(instrument);
  const writer = new JournalWriter({ opened: openJournal(directory), log, mode: "simulated", now: clock.now() });
  const slot = new S.Slot();
  const stream = instrument.id * 32 + 1;
  setInterval(() => {
    for (let count = 0; count < 100; count += 1) {
      frames.introduce(stream);
      const at = log.ticks.claim(LARGEST_FIXED_BYTES);
      slot.numbers[S.PRICE] = log.next[0] as number;
      const bytes = writeTrade(log.ticks.memory, at, slot.numbers, 1, 0, slot.tradeIdWords, 0);
      frames.commit(log.ticks, at, bytes, stream, 0, slot.numbers);
    }
    writer.publish();
    const { state, written } = writer.figures;
    process.stdout.write(state + " " + written + "\\n");
  }, 1);
}
`;

/** Bundles the entry as the server is bundled. */
function bundle(t: TestContext): string {
  const folder = temporary(t);
  const entry = join(folder, "entry.ts");
  writeFileSync(entry, ENTRY);
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const outfile = join(folder, "bundle.mjs");
  execFileSync(process.execPath, ["esbuild.config.mjs", entry, outfile], { cwd: root });
  return outfile;
}

test("from the bundle, and after kill -9 at any moment, what was called written is there", async (t) => {
  const outfile = bundle(t);
  for (const lines of [150, 400]) {
    const directory = join(temporary(t), "journal");
    const script = `import(${JSON.stringify(outfile)}).then(({ run }) => run(${JSON.stringify(directory)}))`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    const exited = once(child, "exit");
    let told = 0;
    let left = lines;
    for await (const line of createInterface({ input: child.stdout as NonNullable<typeof child.stdout> })) {
      const [state, written] = line.split(" ");
      if (state !== "writing" || Number(written) === 0) continue;
      told = Number(written);
      left -= 1;
      if (left === 0) child.kill("SIGKILL");
    }
    await exited;
    assert.ok(left <= 0);
    const opened = openJournal(directory);
    opened.lock.release();
    assert.equal(opened.last?.epoch, 12345);
    assert.equal(opened.last?.clean, false);
    const position = opened.last?.position ?? 0;
    assert.ok(told > 0 && position >= told, `${position} of ${told}`);
    assert.equal(assertTelling(directory), position);
    const { problems, gaps } = verify(directory);
    assert.deepEqual({ problems, gaps }, { problems: [], gaps: [] });
  }
});
