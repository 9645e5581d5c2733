/**
 * What the journal's tests share: a log that is filled at random through the project's own writer, a journal whose disk,
 * clock and steps the test holds in its hands, and a record of what was committed.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { FrameWriter } from "../src/engine/frame-writer.ts";
import { type Files, systemFiles } from "../src/journal/files.ts";
import { Journal, type SyncPolicy } from "../src/journal/journal.ts";
import { Keeper, type KeeperLimits } from "../src/journal/keeper.ts";
import { openJournal } from "../src/journal/open.ts";
import { JournalReader, type ReadOptions } from "../src/journal/reader.ts";
import { SharedStatus } from "../src/journal/status.ts";
import { SLOT_QUOTES, SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import { Catalog, emptyListing, type Instrument } from "../src/market/instrument.ts";
import * as S from "../src/market/sink.ts";
import { ManualClock } from "../src/std/clock.ts";
import { Random } from "../src/std/random.ts";
import { bookBytes, LARGEST_FIXED_BYTES, writeBookLevels, writeQuote, writeTrade } from "../src/wire/frame.ts";
import { FrameLog, LogView } from "../src/wire/frame-log.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import type { Ring } from "../src/wire/ring.ts";

export const HOUR = 3_600_000_000;
/** An hour's start, microseconds. */
export const START = 1_700_000_000_000_000 - (1_700_000_000_000_000 % HOUR);

/** A directory that goes when the test ends. */
export function temporary(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "journal-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A frame as it was committed, or as it was read. */
export interface Taken {
  epoch: number;
  position: number;
  sequence: number;
  stream: number;
  time: number;
  hex: string;
}

/** Commits random frames of many streams to both rings of a log, and keeps all that was ever committed. */
export class Tape {
  readonly log: FrameLog;
  readonly clock: ManualClock;
  readonly frames: FrameWriter;
  readonly catalog = new Catalog();
  readonly instruments: Instrument[] = [];
  readonly committed: Taken[] = [];
  readonly random: Random;
  readonly #slot = new S.Slot();
  readonly #levels = new Float64Array(2 * 4000);
  readonly #view = new FrameView();
  readonly #kept = new Float64Array(2);

  constructor(seed: number, options: { epoch?: number; now?: number; ringBytes?: number; instruments?: number } = {}) {
    const { epoch = 1e15 + 7, now = START, ringBytes = 64 << 20, instruments = 3 } = options;
    this.random = new Random(seed);
    this.log = new FrameLog(ringBytes, epoch);
    this.clock = new ManualClock(now);
    this.frames = new FrameWriter(this.log, this.clock);
    const venue = this.catalog.addVenue("sim-a");
    this.instruments.push(venue);
    for (let index = 0; index < instruments; index += 1) {
      const listing = {
        ...emptyListing(),
        symbol: `A${index}/USDT`,
        venueSymbol: `A${index}`,
        marketType: "spot" as const,
      };
      this.instruments.push(this.catalog.list("sim-a", listing));
    }
    for (const instrument of this.instruments) {
      this.frames.register(instrument);
      this.frames.describe(instrument);
    }
    this.keep();
  }

  /** Commits about `count` frames, each at most `stepMicros` after the one before. */
  commit(count: number, stepMicros = 1000): void {
    const { random } = this;
    for (let index = 0; index < count; index += 1) {
      this.clock.advance(random.integer(0, stepMicros));
      const { id } = this.instruments[random.integer(1, this.instruments.length - 1)] as Instrument;
      const kind = random.integer(0, 99);
      if (kind < 60) this.trade(id);
      else if (kind < 80) this.#quote(id);
      else if (kind < 97) this.#book(id, random.chance(0.02) ? random.integer(100, 3900) : random.integer(0, 30));
      else this.frames.state(streamOf(id, SLOT_TRADES), random.integer(1, 6), random.chance(0.5) ? "" : "told so");
    }
    this.keep();
  }

  trade(id: number): void {
    const stream = streamOf(id, SLOT_TRADES);
    this.frames.introduce(stream);
    const ring = this.log.ticks;
    const at = ring.claim(LARGEST_FIXED_BYTES);
    const { numbers, tradeId, tradeIdWords } = this.#numbers();
    const length = this.random.integer(0, 20);
    for (let index = 0; index < length; index += 1) tradeId[index] = this.random.integer(48, 57);
    const bytes = writeTrade(ring.memory, at, numbers, this.random.integer(0, 2), 0, tradeIdWords, length);
    this.frames.commit(ring, at, bytes, stream, 0, numbers);
  }

  #quote(id: number): void {
    const stream = streamOf(id, SLOT_QUOTES);
    this.frames.introduce(stream);
    const ring = this.log.ticks;
    const at = ring.claim(LARGEST_FIXED_BYTES);
    const { numbers } = this.#numbers();
    this.frames.commit(ring, at, writeQuote(ring.memory, at, numbers, 1), stream, 0, numbers);
  }

  #book(id: number, levels: number): void {
    const stream = streamOf(id, 2);
    this.frames.introduce(stream);
    const ring = this.log.ticks;
    const at = ring.claim(bookBytes(levels));
    const { numbers } = this.#numbers();
    for (let index = 0; index < 2 * levels; index += 1) this.#levels[index] = this.random.next();
    const bytes = writeBookLevels(ring.memory, at, numbers, this.#levels, 0, levels, this.#levels, 0, 0);
    this.frames.commit(ring, at, bytes, stream, 0, numbers);
  }

  #numbers(): S.Slot {
    for (let index = 0; index < S.SLOT_NUMBERS; index += 1) {
      this.#slot.numbers[index] = this.random.integer(1, 1e9) / (index === S.TS_EXCHANGE ? 1 : 100);
    }
    return this.#slot;
  }

  /** Notes what both rings gained, in order of position. */
  keep(): void {
    const found: Taken[] = [];
    for (const [index, ring] of [this.log.ticks, this.log.slow].entries()) {
      assert.ok(ring.tail <= (this.#kept[index] as number), "the tape is kept before the ring goes round");
      for (let record = this.#kept[index] as number; record < ring.head; record += 1)
        found.push(this.#taken(ring, record));
      this.#kept[index] = ring.head;
    }
    this.committed.push(...found.sort((a, b) => a.position - b.position));
  }

  #taken(ring: Ring, record: number): Taken {
    const at = ring.placeOf(record);
    this.#view.attach(ring.memory, at + ring.memory.i32[at >> 2]);
    return {
      epoch: this.log.epoch,
      position: ring.positionOf(record),
      sequence: ring.sequenceOf(record),
      stream: ring.streamOf(record),
      time: this.#view.tsPublish,
      hex: hexOf(ring.memory.u8.subarray(at, at + ring.lengthOf(record))),
    };
  }
}

export interface DeskOptions {
  sync?: SyncPolicy;
  syncMs?: number;
  files?: Files;
  limits?: Partial<KeeperLimits>;
  onDirectoryLost?: () => void;
}

/** A journal in the test's own thread: nothing happens but by `step`. */
export class Desk {
  readonly directory: string;
  readonly tape: Tape;
  readonly view: LogView;
  readonly journal: Journal;
  readonly keeper: Keeper;
  readonly status = new SharedStatus();
  readonly errors: string[] = [];
  readonly opened: ReturnType<typeof openJournal>;

  constructor(directory: string, tape: Tape, options: DeskOptions = {}) {
    const files = options.files ?? systemFiles;
    this.directory = directory;
    this.tape = tape;
    tape.log.publish();
    this.view = new LogView(tape.log.shared);
    this.opened = openJournal(directory);
    const { sync = "never", syncMs = 1000 } = options;
    const onError = (error: Error) => this.errors.push(error.message);
    const now = tape.clock.now();
    const { last } = this.opened;
    const afterPosition = last?.epoch === tape.log.epoch ? last.position : 0;
    this.journal = new Journal(
      this.view,
      this.status,
      { directory, mode: "simulated", afterPosition, now, openedAfter: this.opened.opened, sync, syncMs },
      {
        files,
        clock: tape.clock,
        random: () => tape.random.next(),
        onError,
        onDirectoryLost: options.onDirectoryLost ?? (() => {}),
      },
    );
    const limits = { maxBytes: 1e12, maxAgeMicros: 1e18, compressionLevel: 3, ...options.limits };
    this.keeper = new Keeper(files, directory, limits, tape.clock, this.status, onError);
  }

  /** Writes all that was committed. */
  step(): void {
    this.tape.keep();
    this.tape.log.publish();
    this.view.refresh();
    // Twice: the first step may have written a full batch, after which the rest waits for its time.
    for (let step = 0; step < 2; step += 1) {
      this.tape.clock.advance(60_000);
      this.journal.step();
    }
  }

  /** Lets the keeper do all that it finds to do. */
  tidy(): void {
    this.tape.clock.advance(1_100_000);
    while (this.keeper.step(this.journal.current)) {}
  }

  close(): boolean {
    const closed = this.journal.close();
    this.opened.lock.release();
    return closed;
  }

  /** As after `kill -9`, but that the lock is free. */
  crash(): void {
    this.opened.lock.release();
  }
}

/** All that a reader yields. */
export function readAll(directory: string, options: ReadOptions = {}): Taken[] {
  const taken: Taken[] = [];
  for (const frame of new JournalReader(directory).frames(options)) {
    const { epoch, position, sequence, stream, time } = frame;
    taken.push({ epoch, position, sequence, stream, time, hex: hexOf(frame.bytes) });
  }
  return taken;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
