/** The ring on disk: what was committed is what is read, whatever file it lies in. */
import assert from "node:assert/strict";
import { copyFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { exportJournal } from "../src/journal/export.ts";
import { type Files, systemFiles } from "../src/journal/files.ts";
import { openJournal } from "../src/journal/open.ts";
import type { Damage } from "../src/journal/progress.ts";
import { JournalReader, type ReadOptions } from "../src/journal/reader.ts";
import { verify } from "../src/journal/verify.ts";
import { FrameView, PAYLOAD_INSTRUMENT, StreamView } from "../src/wire/generated/views.ts";
import { JsonTwin } from "../src/wire/json.ts";
import { scratchMemory } from "../src/wire/memory.ts";
import { Desk, HOUR, readAll, START, Tape, temporary } from "./journal-tape.ts";

const SEED = 20_260_102;

describe("written and read", () => {
  test("byte for byte, in order, over files, compressed or not", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape);
    for (let turn = 0; turn < 60; turn += 1) {
      // Some turns are quiet for longer than an hour.
      if (turn % 7 === 6) tape.clock.advance(HOUR);
      tape.commit(tape.random.integer(0, 400), 2_000_000);
      desk.step();
      if (turn === 40) desk.tidy();
    }
    assert.ok(desk.close());
    assert.deepEqual(desk.errors, []);
    const names = readdirSync(directory);
    assert.ok(names.filter((name) => name.endsWith(".twj")).length > 2, "some are plain");
    assert.ok(names.filter((name) => name.endsWith(".twj.gz")).length > 4, "some are compressed");
    assert.deepEqual(readAll(directory), tape.committed);
    assert.ok(tape.committed.at(-1)!.time > START + 8 * HOUR);
  });
});

describe("the report", () => {
  test("of a whole journal has nothing to say, and counts", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape);
    for (let turn = 0; turn < 10; turn += 1) {
      tape.clock.advance(HOUR / 4);
      tape.commit(200);
      desk.step();
    }
    desk.tidy();
    assert.ok(desk.close());
    const report = verify(directory);
    assert.deepEqual(report.problems, []);
    assert.deepEqual(report.gaps, []);
    assert.equal(report.frames, tape.committed.length);
    assert.deepEqual(
      report.files.map(({ end, compressed }) => ({ end, compressed })),
      [
        { end: "continued", compressed: true },
        { end: "continued", compressed: true },
        { end: "closed", compressed: false },
      ],
    );
  });
});

/** A journal of several hours, some compressed, with large files; its process died. */
function longJournal(directory: string, seed: number): Tape {
  const tape = new Tape(seed);
  const desk = new Desk(directory, tape);
  for (let turn = 0; turn < 60; turn += 1) {
    if (turn % 20 === 19) tape.clock.advance(HOUR);
    tape.commit(200, 3000);
    desk.step();
    if (turn === 45) desk.tidy();
  }
  desk.crash();
  return tape;
}

/** Which instrument or stream a directory frame is about. */
function directoryKey(hex: string): string {
  const memory = scratchMemory(64 * 1024);
  memory.u8.set(Buffer.from(hex, "hex"));
  const view = new FrameView();
  view.attach(memory, memory.i32[0] as number);
  if (view.payloadType === PAYLOAD_INSTRUMENT) return `instrument ${view.instrument}`;
  const stream = new StreamView();
  stream.attach(memory, view.payloadAt);
  return `stream ${stream.id}`;
}

describe("a part of it", () => {
  test("by position, time and stream is what filtering the whole would give", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = longJournal(directory, SEED);
    const { committed, random } = tape;
    const epoch = tape.log.epoch;
    for (let round = 0; round < 60; round += 1) {
      const options: ReadOptions = {};
      const [first, last] = [random.pick(committed), random.pick(committed)];
      if (random.chance(0.5)) Object.assign(options, { epoch, fromPosition: first.position });
      if (random.chance(0.3)) Object.assign(options, { epoch, toPosition: last.position });
      if (random.chance(0.5)) options.fromTime = first.time + random.integer(-1, 1);
      if (random.chance(0.3)) options.toTime = last.time + random.integer(-1, 1);
      if (random.chance(0.3)) options.streams = (stream) => stream === first.stream;
      const damages: Damage[] = [];
      const read = readAll(directory, { ...options, onDamage: (damage) => damages.push(damage) });
      const { fromPosition = 0, toPosition = 1e15, fromTime = 0, toTime = 1e18, streams = () => true } = options;
      const expected = committed.filter(
        ({ position, time, stream }) =>
          position >= fromPosition && position <= toPosition && time >= fromTime && time <= toTime && streams(stream),
      );
      assert.deepEqual(read, expected);
      assert.deepEqual(damages, []);
    }
    assert.deepEqual(readAll(directory, { epoch: epoch + 1 }), []);
  });

  test("of the last hour does not read the hours before it", (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape);
    for (let hour = 0; hour < 100; hour += 1) {
      tape.clock.advance(HOUR);
      tape.commit(50);
      desk.step();
      if (hour === 80) desk.tidy();
    }
    desk.crash();
    const opened: string[] = [];
    let bytes = 0;
    const files: Files = {
      ...systemFiles,
      open: (path, how) => {
        opened.push(path);
        return systemFiles.open(path, how);
      },
      read: (file, into, at) => {
        const read = systemFiles.read(file, into, at);
        bytes += read;
        return read;
      },
    };
    const fromTime = tape.committed.at(-20)!.time;
    const read = [...new JournalReader(directory, files).frames({ fromTime })].length;
    assert.equal(read, tape.committed.filter(({ time }) => time >= fromTime).length);
    assert.ok(opened.length > 100 && opened.length < 110, `${opened.length} opened`);
    assert.ok(bytes < 600_000, `${bytes} read`);
  });

  test("is found without reading what comes before it", (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape);
    for (let turn = 0; turn < 80; turn += 1) {
      tape.commit(1000, 10);
      desk.step();
    }
    desk.crash();
    let bytes = 0;
    const files: Files = {
      ...systemFiles,
      read: (file, into, at) => {
        const read = systemFiles.read(file, into, at);
        bytes += read;
        return read;
      },
    };
    const reader = new JournalReader(directory, files);
    const all = tape.committed.reduce((sum, { hex }) => sum + hex.length / 2, 0);
    const options = { epoch: tape.log.epoch, fromPosition: tape.log.position, toPosition: tape.log.position };
    assert.equal([...reader.frames(options)].length, 1);
    assert.ok(bytes < all / 2, `${bytes} of ${all}`);
  });

  test("begins with the directory as it was there", (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape);
    for (let turn = 0; turn < 30; turn += 1) {
      tape.commit(200);
      // Told anew in the middle of files, too.
      if (turn % 3 === 0) tape.frames.describe(tape.random.pick(tape.instruments));
      if (turn === 10) tape.clock.advance(HOUR);
      desk.step();
    }
    desk.crash();
    const fromTime = tape.committed.at(-300)!.time;
    const known = new Set<number>();
    let events = 0;
    for (const frame of new JournalReader(directory).frames({ fromTime, copies: true })) {
      if (frame.copy) known.add(frame.position);
      else events += 1;
    }
    const newest = new Map<string, number>();
    for (const { position, stream, time, hex } of tape.committed) {
      if (stream === 0 && time < fromTime) newest.set(directoryKey(hex), position);
    }
    assert.ok(newest.size > 10);
    for (const [key, position] of newest) assert.ok(known.has(position), key);
    assert.equal(events, tape.committed.filter(({ time }) => time >= fromTime).length);
  });

  test("comes once, though a file is there twice", (t) => {
    const directory = temporary(t);
    const tape = longJournal(directory, SEED);
    for (const name of readdirSync(directory).filter((file) => file.endsWith(".twj"))) {
      copyFileSync(join(directory, name), join(directory, name.replace(/^\d/, "2")));
    }
    const damages: Damage[] = [];
    assert.deepEqual(readAll(directory, { onDamage: (damage) => damages.push(damage) }), tape.committed);
    assert.deepEqual(damages, []);
    assert.ok(verify(directory).problems.some(({ kind }) => kind === "misplaced"));
  });

  test("whose file is gone is said to be missing", (t) => {
    const directory = temporary(t);
    const tape = longJournal(directory, SEED);
    const names = readdirSync(directory)
      .filter((name) => name.includes(".twj"))
      .sort();
    const [, gone = "", next = ""] = names;
    rmSync(join(directory, gone));
    const damages: Damage[] = [];
    const read = readAll(directory, { onDamage: (damage) => damages.push(damage) });
    const from = Number(gone.slice(17, 33));
    const to = Number(next.slice(17, 33)) - 1;
    assert.deepEqual(
      read,
      tape.committed.filter(({ position }) => position < from || position > to),
    );
    assert.deepEqual(
      damages.map((damage) => [damage.from, damage.to, damage.length]),
      [[from, to, 0]],
    );
    assert.deepEqual(
      verify(directory).problems.map(({ kind }) => kind),
      ["hole"],
    );
  });
});

describe("opened again", () => {
  test("after a clean close the epoch may go on, once", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const first = new Desk(directory, tape);
    assert.equal(first.opened.last, undefined);
    tape.commit(500);
    first.step();
    assert.ok(first.close());
    tape.commit(100);
    const second = new Desk(directory, tape);
    const { last, cut } = second.opened;
    assert.equal(cut, undefined);
    assert.equal(last?.clean, true);
    assert.equal(last?.epoch, tape.log.epoch);
    assert.equal(last?.mode, "simulated");
    const before = tape.committed.filter(({ position }) => position <= (last?.position ?? 0));
    assert.ok(before.length < tape.committed.length);
    assert.equal(last?.position, before.at(-1)?.position);
    assert.deepEqual(last?.sequences, new Map(before.map(({ stream, sequence }) => [stream, sequence])));
    // Before a single frame came: a crash now must not leave what looks like a clean end.
    second.crash();
    const third = new Desk(directory, tape);
    assert.equal(third.opened.last?.clean, false);
    assert.equal(third.opened.last?.position, last?.position);
    third.journal.learn([], third.opened.last?.sequences);
    third.step();
    assert.ok(third.close());
    assert.deepEqual(readAll(directory), tape.committed);
    // Some of what the third one wrote is older than it.
    for (const { time: toTime } of tape.committed.slice(-150)) {
      assert.deepEqual(
        readAll(directory, { toTime }),
        tape.committed.filter(({ time }) => time <= toTime),
      );
    }
    assert.deepEqual(verify(directory).problems, []);
  });

  test("after a crash there is a new epoch, and both are read", (t) => {
    const directory = temporary(t);
    const tape = longJournal(directory, SEED);
    const next = new Tape(SEED + 1, { epoch: 77, now: tape.clock.now() - HOUR });
    const desk = new Desk(directory, next);
    assert.equal(desk.opened.last?.clean, false);
    assert.equal(desk.opened.last?.epoch, tape.log.epoch);
    assert.equal(desk.opened.last?.position, tape.log.position);
    next.commit(300);
    desk.step();
    desk.close();
    assert.deepEqual(readAll(directory), [...tape.committed, ...next.committed], "though the clock was set back");
    assert.deepEqual(readAll(directory, { epoch: 77 }), next.committed);
    const { problems, files } = verify(directory);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      files.map(({ end }) => end),
      ["continued", "continued", "continued", "open", "closed"],
    );
    openJournal(directory).lock.release();
  });
});

describe("as text", () => {
  test("each line is the JSON form of a frame, from the journal alone", (t) => {
    const directory = temporary(t);
    const tape = longJournal(directory, SEED);
    let text = "";
    const fromTime = tape.committed.at(-2000)!.time;
    const report = exportJournal(directory, "jsonl", { fromTime }, (piece) => {
      text += piece;
    });
    const twin = new JsonTwin(tape.catalog, () => undefined);
    const memory = scratchMemory(64 * 1024);
    const expected = tape.committed
      .filter(({ time }) => time >= fromTime)
      .map(({ hex }) => {
        memory.u8.set(Buffer.from(hex, "hex"));
        return twin.encode(memory, 0);
      });
    assert.deepEqual(text.trimEnd().split("\n"), expected);
    assert.deepEqual(report, { rows: expected.length, skipped: 0, damages: [], gaps: [] });
  });

  test("rows have the columns of their type", (t) => {
    const directory = temporary(t);
    const tape = longJournal(directory, SEED);
    let text = "";
    const report = exportJournal(directory, "csv", { microseconds: true }, (piece) => {
      text += piece;
    });
    const [head = "", ...lines] = text.trimEnd().split("\n");
    const columns = head.split(",");
    assert.equal(columns[0], "type");
    assert.equal(report.rows, lines.length);
    assert.equal(report.rows + report.skipped, tape.committed.length);
    const rows = lines.map((line) => new Map(line.split(",").map((cell, index) => [columns[index], cell])));
    assert.deepEqual(new Set(rows.map((row) => row.get("type"))), new Set(["trade", "quote"]));
    const twin = new JsonTwin(tape.catalog, () => undefined);
    const memory = scratchMemory(64 * 1024);
    const byPosition = new Map(tape.committed.map(({ position, hex }) => [String(position), hex]));
    for (const row of rows) {
      memory.u8.set(Buffer.from(byPosition.get(row.get("position") as string) as string, "hex"));
      const json = JSON.parse(twin.encode(memory, 0, true)) as Record<string, unknown>;
      for (const [column, cell] of row) {
        const value = json[column as string];
        assert.equal(cell, Array.isArray(value) ? value.join(" ") : String(value ?? ""), column);
      }
    }
  });
});
