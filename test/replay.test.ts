/** A journal played again: byte for byte, from any time, recomputed, as fast as its clients read, over several starts. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { type Config, readConfig } from "../src/config.ts";
import type { BarPage } from "../src/engine/bar-archive.ts";
import { Engine } from "../src/engine/engine.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { openJournal } from "../src/journal/open.ts";
import { epochsOf } from "../src/journal/past.ts";
import { JournalReader } from "../src/journal/reader.ts";
import type { BookSide } from "../src/market/book-side.ts";
import { Catalog } from "../src/market/instrument.ts";
import { Replay } from "../src/replay.ts";
import { epochOf, restore } from "../src/restart.ts";
import { ManualClock } from "../src/std/clock.ts";
import { Random } from "../src/std/random.ts";
import { FrameLog, LogCursor } from "../src/wire/frame-log.ts";
import {
  type BarFrame,
  BINANCE_RUN,
  type BookFrame,
  FrameDecoder,
  type IndicatorFrame,
  NO_CAPTURES,
  startGateway,
} from "./gateway.ts";
import { Probe, serve, settled, spot, type Venue } from "./serve.ts";

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-replay-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

interface Written {
  directory: string;
  /** Of A1/USDT at test-a: its bars by REST and in memory, its book. */
  bars: unknown;
  page: { instrument: number; bars: BarPage };
  book: unknown;
}

/** A journal of two venues, with trades, books of more than a frame, a book that is lost, and bars. */
async function written(t: TestContext, seed: number): Promise<Written> {
  const directory = directoryOf(t);
  const random = new Random(seed);
  t.diagnostic(`seed ${seed}`);
  const served = await serve({ journal: directory });
  const [a, b] = served.venues as [Venue, Venue];
  const ids = [...a.list(spot(4)), ...b.list(spot(2))];
  a.up();
  b.up();
  const probe = await Probe.open(`${served.url}/stream?encoding=flatbuffers`);
  const symbols = ["A0/USDT", "A1/USDT", "A2/USDT", "A3/USDT"];
  await probe.subscribe("all", { channels: ["trades", "orderbook", "quotes", "ticker", "bars"], symbols });
  await settled(served);
  for (let event = 1; event < 3000; event += 1) {
    const index = random.integer(0, ids.length - 1);
    (index < 4 ? a : b).everything(ids[index] as number, event);
    if (event === 1000) served.engine.books.lose(ids[0] as number, "a test");
    if (event % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 40));
  }
  await settled(served);
  const bars = await (await fetch(`${served.http}/bars?symbol=A1/USDT&exchange=test-a&timeframe=1s`)).json();
  const instrument = ids[1] as number;
  const page = { instrument, bars: served.engine.bars.read(instrument, 0, 1000, 0, Number.POSITIVE_INFINITY) };
  const book = await bookOf(served.url);
  await probe.close();
  await served.stop();
  return { directory, bars, page, book };
}

/** What a new client gets of a book. */
async function bookOf(url: string): Promise<unknown> {
  const probe = await Probe.open(`${url}/stream`);
  await probe.subscribe("book", {
    channels: ["orderbook"],
    symbols: ["A1/USDT"],
    exchanges: ["test-a"],
    depth: "full",
  });
  await probe.until(() => probe.frames.some(({ type }) => type === "orderbook"), "the book");
  const { seq, bids, asks, stream } = probe.frames.find(({ type }) => type === "orderbook") as never;
  await probe.close();
  return { seq, bids, asks, stream };
}

interface Played {
  replay: Replay;
  url: string;
  http: string;
  warnings: object[];
}

/** Plays a journal's only epoch to its end. */
async function play(t: TestContext, directory: string, ...flags: string[]): Promise<Played> {
  const started = await begin(t, directory, ...flags);
  await started.replay.ended;
  return started;
}

async function begin(t: TestContext, directory: string, ...flags: string[]): Promise<Played> {
  const config: Config = readConfig(
    ["--port=0", "--ring-memory=64", "--replay", directory, "--speed=max", ...flags],
    {},
  );
  const warnings: object[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => warnings.push(JSON.parse(line)) });
  const [{ epoch }] = epochsOf(directory) as { epoch: number }[] as [{ epoch: number }];
  const replay = new Replay(config, config.replay as never, epoch, log, "0.0.0", () => true);
  const listening = await replay.start();
  if ("error" in listening) throw new Error(listening.error);
  t.after(() => replay.stop());
  const host = `127.0.0.1:${listening.port}`;
  return { replay, url: `ws://${host}`, http: `http://${host}`, warnings };
}

/** The bytes of every frame in an engine's ring. */
function ringOf({ frames: { log } }: Engine): Buffer[] {
  const cursor = new LogCursor(log);
  cursor.seek(0);
  const frames: Buffer[] = [];
  while (cursor.next()) {
    const { ring, record } = cursor;
    const at = ring.placeOf(record);
    frames.push(Buffer.from(ring.memory.u8.slice(at, at + ring.lengthOf(record))));
  }
  return frames;
}

function stored(directory: string, fromTime = 0, toTime = Number.POSITIVE_INFINITY): Buffer[] {
  // The reader has one frame for all.
  return Array.from(new JournalReader(directory).frames({ fromTime, toTime }), ({ bytes }) => Buffer.from(bytes));
}

test("a replay has the stored frames byte for byte, and its books and bars are those of the server that wrote them", async (t) => {
  const { directory, bars, book } = await written(t, 20261128);
  const played = await play(t, directory);
  const frames = stored(directory);
  assert.ok(frames.length > 5000, `${frames.length} frames`);
  assert.equal(Buffer.compare(Buffer.concat(ringOf(played.replay.engine)), Buffer.concat(frames)), 0);
  assert.deepEqual(await (await fetch(`${played.http}/bars?symbol=A1/USDT&exchange=test-a&timeframe=1s`)).json(), bars);
  assert.deepEqual(await bookOf(played.url), book);
  const probe = await Probe.open(`${played.url}/stream`);
  await probe.until(() => probe.messages("hello").length > 0, "the hello");
  assert.equal(probe.messages("hello")[0]?.mode, "replay");
  await probe.close();
  assert.deepEqual(played.warnings, []);
});

test("from the middle: exactly the frames of that time, on books that are whole", async (t) => {
  const { directory, book } = await written(t, 20261129);
  const times = Array.from(new JournalReader(directory).frames(), ({ time }) => time);
  // ISO 8601 has milliseconds.
  const from = Math.ceil((times[Math.floor(times.length / 2)] as number) / 1000);
  const to = Math.floor((times.at(-1) as number) / 1000) - 20;
  const iso = (ms: number) => new Date(ms).toISOString();
  const played = await play(t, directory, "--from", iso(from), "--to", iso(to));
  const wanted = stored(directory, from * 1000, to * 1000);
  assert.ok(wanted.length > 100 && wanted.length < times.length / 2 + 10);
  assert.equal(Buffer.compare(Buffer.concat(ringOf(played.replay.engine)), Buffer.concat(wanted)), 0);
  const rest = await play(t, directory, "--from", iso(from));
  assert.deepEqual(await bookOf(rest.url), book);
});

test("a server that starts again on a clean end has its window, its counts, its bars and indicators to the last bit", async (t) => {
  const { directory, page } = await written(t, 20261202);
  const opened = openJournal(directory);
  t.after(() => opened.lock.release());
  const epoch = epochOf(opened, "simulated") as number;
  const clock = new ManualClock(1);
  const engine = new Engine({
    catalog: new Catalog(),
    log: new FrameLog(64 * 2 ** 20, epoch),
    clock,
    indicators: new IndicatorSet(),
  });
  const restored = restore(engine, opened);
  const frames = stored(directory);
  assert.equal(restored.frames, frames.length);
  assert.equal(Buffer.compare(Buffer.concat(ringOf(engine)), Buffer.concat(frames)), 0);
  assert.equal(engine.frames.log.position, opened.last?.position);
  for (const [stream, sequence] of opened.last?.sequences ?? []) assert.equal(engine.frames.sequence(stream), sequence);
  const [instrument, timeframe] = [page.instrument, 0];
  const again = engine.bars.read(instrument, timeframe, 1000, 0, Number.POSITIVE_INFINITY);
  assert.ok(again.count > 0);
  assert.deepEqual([again.count, again.rows], [page.bars.count, page.bars.rows]);
  assert.equal(epochOf(opened, "live"), undefined, "an epoch of another mode does not go on");
});

test("damaged anywhere, a replay has every whole frame, says what it has not, and shows no book that lacks a change", async (t) => {
  const { directory } = await written(t, 20261203);
  const random = new Random(20261203);
  const [name] = readdirSync(directory).filter((file) => file.endsWith(".twj")) as [string];
  const good = readFileSync(join(directory, name));
  for (let round = 0; round < 12; round += 1) {
    const damaged = Buffer.from(good);
    // From the middle on, so that there are books to be damaged.
    for (let flip = 0; flip <= round; flip += 1) {
      const at = random.integer(damaged.length >> 1, damaged.length - 1);
      damaged[at] = (damaged[at] as number) ^ (1 << random.integer(0, 7));
    }
    writeFileSync(join(directory, name), damaged);
    const played = await play(t, directory);
    const whole = stored(directory);
    assert.equal(Buffer.compare(Buffer.concat(ringOf(played.replay.engine)), Buffer.concat(whole)), 0);
    assert.ok(whole.length > 1000);
    assert.ok(played.warnings.length > 0, "what is missing is said");
    for (const [book, levels] of booksOf(whole)) {
      const shown = played.replay.engine.books.get(book);
      const isSame = shown !== undefined && levels !== undefined && sameBids(shown.bids, levels);
      if (shown?.live === true) assert.ok(isSame, `the book of ${book} is right, or says that it is not`);
    }
    await played.replay.stop();
  }
  writeFileSync(join(directory, name), good);
});

/** The bids that frames make, by instrument; undefined where one is missing before the next snapshot. */
function booksOf(frames: readonly Buffer[]): Map<number, Map<number, number> | undefined> {
  const decoder = new FrameDecoder();
  const books = new Map<number, Map<number, number> | undefined>();
  const sequences = new Map<number, number>();
  for (const bytes of frames) {
    const frame = decoder.decode(bytes) as BookFrame;
    if ((frame.stream & 31) !== 2) continue;
    const id = frame.stream >> 5;
    const last = sequences.get(id) ?? 0;
    sequences.set(id, frame.seq);
    if (frame.seq !== last + 1) books.set(id, undefined);
    if (frame.type !== "orderbook") continue;
    if (frame.update_type === "snapshot") books.set(id, new Map());
    for (const [price, size] of frame.bids) {
      if (size === 0) books.get(id)?.delete(price);
      else books.get(id)?.set(price, size);
    }
  }
  return books;
}

function sameBids({ count, prices, sizes }: BookSide, levels: ReadonlyMap<number, number>): boolean {
  return (
    count === levels.size &&
    Array.from({ length: count }, (_, at) => levels.get(prices[at] as number) === sizes[at]).every(Boolean)
  );
}

/** Bars and indicators of a ring, in order within each stream, without what an epoch gives them. */
function madeOf(frames: readonly Buffer[]): Map<string, object[]> {
  const decoder = new FrameDecoder();
  const made = new Map<string, object[]>();
  for (const bytes of frames) {
    const frame = decoder.decode(bytes) as unknown as BarFrame & IndicatorFrame;
    if (frame.type !== "bar" && frame.type !== "indicators") continue;
    const { epoch, position, seq, from_seq, ts_receive, ts_publish, ...values } = frame;
    made.set(`${frame.stream}`, [...(made.get(`${frame.stream}`) ?? []), values]);
  }
  return made;
}

test("recomputed from the venues' events alone, bars and indicators are equal", async (t) => {
  const { directory } = await written(t, 20261130);
  const played = await play(t, directory, "--recompute");
  assert.notEqual(played.replay.engine.frames.log.epoch, epochsOf(directory)[0]?.epoch);
  const before = madeOf(stored(directory));
  const after = madeOf(ringOf(played.replay.engine));
  assert.ok(before.size >= 4, `${before.size} streams of bars and indicators`);
  assert.deepEqual(after, before);
});

test("the recorded Binance run, recomputed: every bar and indicator", { skip: NO_CAPTURES }, async (t) => {
  const directory = directoryOf(t);
  const flags = ["--recording", BINANCE_RUN.join(","), "--speed=max", "--journal", directory, "--feeds=recording"];
  const running = await startGateway(flags, {});
  await (running.gateway.feeds[0] as unknown as { ended: Promise<void> }).ended;
  await running.stop();
  const played = await play(t, directory, "--recompute", "--ring-memory=512");
  const before = madeOf(stored(directory));
  const after = madeOf(ringOf(played.replay.engine));
  const count = [...before.values()].reduce((sum, { length }) => sum + length, 0);
  t.diagnostic(`${count} frames of bars and indicators on ${before.size} streams`);
  assert.ok(count > 100);
  assert.deepEqual(after, before);
});

test("paced, it begins with the first subscription and a slow client gets every frame", async (t) => {
  const { directory } = await written(t, 20261201);
  const played = await begin(t, directory, "--paced", "--ring-memory=4", "--max-queue=16");
  const probe = await Probe.open(`${played.url}/stream?encoding=flatbuffers`);
  await probe.level();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(played.replay.engine.frames.log.position, 0, "nothing is played before somebody has subscribed");
  await probe.subscribe("all", { channels: ["trades"], symbols: ["*"] });
  const reading = setInterval(() => {
    probe.socket.pause();
    setTimeout(() => probe.socket.resume(), 30);
  }, 40);
  await played.replay.ended;
  clearInterval(reading);
  probe.socket.resume();
  await played.replay.drained();
  await probe.level();
  const trades = probe.frames.filter(({ type }) => type === "trade").length;
  const decoder = new FrameDecoder();
  const expected = stored(directory).filter((bytes) => decoder.decode(bytes).type === "trade").length;
  assert.equal(trades, expected);
  assert.deepEqual(probe.messages("gap"), []);
  const announced = new Set(probe.messages("stream_added").map(({ stream }) => (stream as { stream: number }).stream));
  for (const { stream } of probe.frames) assert.ok(announced.has(stream), `stream ${stream} was announced`);
  await probe.close();
});
