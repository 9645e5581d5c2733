/** A journal that was cut, flipped or lost a sync: what is whole is served, what is not is named, nothing is invented. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type Files, systemFiles } from "../src/journal/files.ts";
import { KIND_DIRECTORY, KIND_FRAME, KIND_HEADER, RECORD_BYTES, sealRecord } from "../src/journal/format.ts";
import { openJournal } from "../src/journal/open.ts";
import type { Damage } from "../src/journal/progress.ts";
import { JournalReader } from "../src/journal/reader.ts";
import { RecordScanner, SCAN_END } from "../src/journal/scanner.ts";
import { openSource } from "../src/journal/source.ts";
import { type ProblemKind, verify } from "../src/journal/verify.ts";
import { Random } from "../src/std/random.ts";
import { Memory } from "../src/wire/memory.ts";
import { Desk, HOUR, readAll, type Taken, Tape, temporary } from "./journal-tape.ts";

const SEED = 20_260_104;

interface Place {
  offset: number;
  bytes: number;
  kind: number;
}

/** Where the records of a plain file lie. */
function recordsOf(path: string): Place[] {
  const source = openSource(systemFiles, { name: basename(path), path, compressed: false, opened: 0 });
  assert.ok(source);
  const scanner = new RecordScanner(source);
  const places: Place[] = [];
  for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
    places.push({ offset: scanner.offset, bytes: scanner.bytes, kind });
  }
  source.close();
  return places;
}

/** A journal of one file whose process died, and what it holds. */
function crashed(
  t: TestContext,
  frames: number,
  seed = SEED,
): { path: string; bytes: Buffer; places: Place[]; tape: Tape } {
  const directory = temporary(t);
  const tape = new Tape(seed);
  const desk = new Desk(directory, tape);
  for (let left = frames; left > 0; left -= 50) {
    tape.commit(50);
    desk.step();
  }
  desk.crash();
  const [name = ""] = readdirSync(directory).filter((file) => file.endsWith(".twj"));
  const path = join(directory, name);
  return { path, bytes: readFileSync(path), places: recordsOf(path), tape };
}

describe("a file that was cut short", () => {
  test("opens, loses the torn record only, and goes on", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const { path, bytes, places, tape } = crashed(t, 150);
    const random = new Random(SEED);
    const boundaries = places.map(({ offset }) => offset).concat(bytes.length);
    const cuts = [...boundaries, ...Array.from({ length: 300 }, () => random.integer(0, bytes.length))];
    const directory = join(temporary(t), "copy");
    for (const cut of cuts) {
      rmSync(directory, { recursive: true, force: true });
      mkdirSync(directory);
      writeFileSync(join(directory, basename(path)), bytes.subarray(0, cut));
      const whole = places.filter(({ offset, bytes: length }) => offset + length <= cut);
      const end = whole.length === 0 ? 0 : (boundaries[whole.length] as number);
      const expected = tape.committed.slice(0, whole.filter(({ kind }) => kind === KIND_FRAME).length);
      assert.deepEqual(readAll(directory), expected, "a reader needs no repair");
      const opened = openJournal(directory);
      if (end === cut && cut > 0) assert.equal(opened.cut, undefined);
      else assert.deepEqual(opened.cut, { file: basename(path), offset: end, bytes: cut - end });
      assert.equal(opened.last?.clean ?? false, false);
      assert.equal(opened.last?.position ?? 0, expected.at(-1)?.position ?? 0);
      const sequences = new Map(expected.map(({ stream, sequence }) => [stream, sequence]));
      assert.deepEqual(opened.last?.sequences ?? new Map(), sequences);
      opened.lock.release();
      assert.deepEqual(readAll(directory), expected);
      assert.deepEqual(verify(directory).problems, []);
    }
  });
});

/** What was asked to be missing is what is missing, and it is named. */
function assertNamed(
  directory: string,
  all: readonly Taken[],
  mayMiss: (frame: Taken) => boolean,
  exact: boolean,
): void {
  const damages: Damage[] = [];
  const read = readAll(directory, { onDamage: (damage) => damages.push({ ...damage }) });
  const byPosition = new Map(read.map((frame) => [frame.position, frame]));
  assert.equal(byPosition.size, read.length, "nothing comes twice");
  const first = (all[0] as Taken).position;
  for (const frame of read) assert.equal(frame.hex, all[frame.position - first]?.hex);
  for (const frame of all) {
    if (byPosition.has(frame.position)) continue;
    assert.ok(mayMiss(frame), `position ${frame.position} is whole and was not served`);
    const isNamed = damages.some(({ from, to }) => from <= frame.position && frame.position <= to);
    assert.ok(isNamed, `position ${frame.position} is missing and not named`);
  }
  if (exact) assert.equal(all.filter(mayMiss).length, all.length - read.length, "a damaged frame is not served");
  assert.ok(damages.length > 0, "the reader tells of the damage");
}

/** A file of a journal that is whole and follows another, so that its opening has something to say; and its frames. */
function wholeFile(t: TestContext, frames: number, compress: boolean): { path: string; frames: Taken[] } {
  const directory = temporary(t);
  const tape = new Tape(SEED);
  const desk = new Desk(directory, tape);
  tape.commit(100);
  desk.step();
  tape.clock.advance(HOUR);
  const first = tape.committed.length;
  for (let left = frames; left > 0; left -= 50) {
    tape.commit(50, 10);
    desk.step();
  }
  const last = tape.committed.length;
  tape.clock.advance(HOUR);
  tape.commit(1);
  desk.step();
  if (compress) desk.tidy();
  desk.close();
  const names = readdirSync(directory).filter((name) => name.includes(".twj"));
  assert.equal(names.length, 3);
  return { path: join(directory, names.sort()[1] as string), frames: tape.committed.slice(first, last) };
}

describe("a bit that was flipped", () => {
  test("in a plain file costs one record, which is named", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const { path, frames } = wholeFile(t, 400, false);
    const random = new Random(SEED);
    const places = recordsOf(path);
    const frameAt = new Map<number, Taken>();
    for (const place of places) if (place.kind === KIND_FRAME) frameAt.set(place.offset, frames[frameAt.size] as Taken);
    assert.equal(frameAt.size, frames.length);
    const directory = temporary(t);
    const copy = join(directory, basename(path));
    const bytes = readFileSync(path);
    const kinds = new Set<number>();
    for (let round = 0; round < 1000; round += 1) {
      const header = places.filter(({ kind }) => kind !== KIND_FRAME);
      const place = random.pick(round % 5 === 0 ? header : places);
      // Now the record's own words, now what it holds.
      const within = round % 2 === 0 ? random.integer(0, RECORD_BYTES - 1) : random.integer(0, place.bytes - 1);
      const at = place.offset + within;
      const bit = 1 << random.integer(0, 7);
      kinds.add(place.kind);
      bytes[at] = (bytes[at] as number) ^ bit;
      writeFileSync(copy, bytes);
      bytes[at] = (bytes[at] as number) ^ bit;
      const { problems } = verify(directory);
      assert.ok(
        problems.some(({ kind, offset }) => kind === "damaged" && offset === place.offset),
        `round ${round}`,
      );
      assertNamed(directory, frames, (frame) => frame === frameAt.get(place.offset), true);
    }
    assert.ok(kinds.has(KIND_HEADER) && kinds.has(KIND_DIRECTORY) && kinds.has(KIND_FRAME) && kinds.size >= 5);
  });

  test("in a compressed file costs one member, which is named", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const { path, frames } = wholeFile(t, 2500, true);
    assert.ok(path.endsWith(".gz"));
    const random = new Random(SEED + 1);
    const bytes = readFileSync(path);
    const heads: number[] = [];
    for (let at = bytes.indexOf("1f8b0804", 0, "hex"); at >= 0; at = bytes.indexOf("1f8b0804", at + 1, "hex"))
      heads.push(at);
    assert.ok(heads.length >= 3, `${heads.length} members`);
    const directory = temporary(t);
    const copy = join(directory, basename(path));
    for (let round = 0; round < 150; round += 1) {
      const head = random.pick(heads);
      // The last bits of deflated data may mean nothing to who inflates them.
      const lastDeflated = head + 39 + bytes.readUInt32LE(head + 16);
      const at = random.pick([
        random.integer(0, bytes.length - 1),
        head + random.integer(0, 39),
        lastDeflated,
        bytes.length - 1 - random.integer(0, 7),
      ]);
      const bit = 1 << random.integer(0, 7);
      bytes[at] = (bytes[at] as number) ^ bit;
      writeFileSync(copy, bytes);
      bytes[at] = (bytes[at] as number) ^ bit;
      assert.ok(
        verify(directory).problems.some(({ kind }) => kind === "damaged"),
        `round ${round}, byte ${at}`,
      );
      const damages: Damage[] = [];
      const read = readAll(directory, { onDamage: (damage) => damages.push({ ...damage }) });
      const lost = frames.length - read.length;
      assert.equal(damages.length, 1);
      const { length } = damages[0] as Damage;
      assert.ok(length <= 256 * 1024 + 2 * 65552, `${length} bytes`);
      assert.ok(lost < frames.length / 2);
      assertNamed(directory, frames, () => true, false);
    }
  });

  test("many at once, or whole pages of zeros: nothing is thrown, nothing is invented", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const { path, frames } = wholeFile(t, 400, false);
    const original = readFileSync(path);
    const random = new Random(SEED + 2);
    const directory = temporary(t);
    for (let round = 0; round < 200; round += 1) {
      const bytes = Buffer.from(original);
      for (let count = random.integer(1, 40); count > 0; count -= 1) {
        const at = random.integer(0, bytes.length - 1);
        const length = random.pick([1, 8, 512, 4096]);
        if (random.chance(0.5)) bytes.fill(0, at, Math.min(bytes.length, at + length));
        else bytes.copy(bytes, at, random.integer(0, bytes.length - 1), Math.min(bytes.length, at + length));
      }
      if (bytes.equals(original)) continue;
      writeFileSync(join(directory, basename(path)), bytes);
      assert.ok(verify(directory).problems.length > 0);
      assertNamed(directory, frames, () => true, false);
    }
  });
});

test("a block that the disk refuses to read costs that block, and nothing is cut off for it", (t) => {
  const { path, bytes, tape } = crashed(t, 150);
  const directory = join(path, "..");
  const bad = (bytes.length - 6000) & ~4095;
  const files: Files = {
    ...systemFiles,
    read: (file, into, at) => {
      if (at < bad + 4096 && at + into.length > bad) throw Object.assign(new Error("EIO"), { code: "EIO" });
      return systemFiles.read(file, into, at);
    },
  };
  const damages: Damage[] = [];
  const read = [...new JournalReader(directory, files).frames({ onDamage: (damage) => damages.push(damage) })].length;
  const [{ from, to, offset, length } = assert.fail("no damage"), ...more] = damages;
  assert.deepEqual(more, []);
  assert.equal(read + (to - from + 1), tape.committed.length);
  assert.ok(read < tape.committed.length && offset <= bad && offset + length >= bad + 4096 && length < 20_000);
  assert.throws(() => openJournal(directory, files), /EIO/);
  assert.deepEqual(readFileSync(path), bytes);
});

test("bytes of another file, though its records are whole, are none of this one", (t) => {
  const { path, bytes, places, tape } = crashed(t, 150);
  const { bytes: others } = crashed(t, 300, SEED + 1);
  const [{ offset } = assert.fail("no records")] = places.slice(-50);
  // As when a lost power leaves the length of a file on the disk, and not what was written into it.
  writeFileSync(path, Buffer.concat([bytes.subarray(0, offset), others.subarray(offset)]));
  const directory = join(path, "..");
  const read = readAll(directory);
  assert.deepEqual(read, tape.committed.slice(0, read.length));
  assert.equal(read.length, tape.committed.length - 50);
  const opened = openJournal(directory);
  assert.deepEqual(opened.cut, { file: basename(path), offset, bytes: others.length - offset });
  opened.lock.release();
});

/** Changes a record and makes it whole again, as nothing but a wrong writer would. */
function forge(bytes: Buffer, { offset, bytes: length }: Place, change: (record: Memory) => void): Buffer {
  const record = new Memory(new ArrayBuffer(length));
  record.u8.set(bytes.subarray(offset, offset + length));
  change(record);
  sealRecord(record, 0, length - RECORD_BYTES, record.i32[2] as number, record.i32[3] as number);
  const forged = Buffer.from(bytes);
  forged.set(record.u8, offset);
  return forged;
}

/** Adds to the number in the frame's field, counted as in the schema's Frame. */
function add(field: number, value: number): (record: Memory) => void {
  return ({ i32, u16 }) => {
    const root = RECORD_BYTES + (i32[RECORD_BYTES >> 2] as number);
    const vtable = root - (i32[root >> 2] as number);
    const word = (root + (u16[(vtable >> 1) + 2 + field] as number)) >> 2;
    i32[word] = (i32[word] as number) + value;
  };
}

const FORGERIES: Readonly<Record<string, [kind: ProblemKind, change: (record: Memory) => void]>> = {
  "another epoch": ["misplaced", add(2, 1)],
  "a position once more": ["misplaced", add(3, -1)],
  "a position too high": ["hole", add(3, 1)],
  "a sequence too high": ["sequence", add(4, 1)],
  "a sequence too low": ["sequence", add(4, -1)],
  "an identifier that is not ours": ["frame", ({ u8 }) => u8.fill(0, RECORD_BYTES + 4, RECORD_BYTES + 8)],
  "a root outside": ["frame", ({ i32 }) => i32.fill(1 << 20, RECORD_BYTES >> 2, (RECORD_BYTES >> 2) + 1)],
  "a kind of tomorrow": ["misplaced", ({ i32 }) => i32.fill(99, 2, 3)],
};

describe("a record that is whole and wrong is found", () => {
  for (const [name, [kind, change]] of Object.entries(FORGERIES)) {
    test(name, (t) => {
      const { path, bytes, places } = crashed(t, 150);
      writeFileSync(path, forge(bytes, places.at(-60) as Place, change));
      const { problems } = verify(join(path, ".."));
      assert.ok(problems.some((problem) => problem.kind === kind && problem.offset === places.at(-60)?.offset));
    });
  }
});

describe("what was called durable", () => {
  for (const sync of ["every", "interval"] as const) {
    test(`is there after a loss of power: ${sync}`, (t) => {
      t.diagnostic(`seed ${SEED}`);
      const directory = temporary(t);
      const paths = new Map<number, string>();
      const durable = new Map<string, number>();
      const files: Files = {
        ...systemFiles,
        open: (path, how) => {
          const file = systemFiles.open(path, how);
          paths.set(file, path);
          return file;
        },
        sync: (file) => {
          systemFiles.sync(file);
          durable.set(paths.get(file) as string, systemFiles.bytesOf(file));
        },
      };
      const tape = new Tape(SEED);
      const desk = new Desk(directory, tape, { sync, syncMs: 200, files });
      const moments: { synced: number; written: number; sizes: Map<string, number> }[] = [];
      for (let turn = 0; turn < 60; turn += 1) {
        if (turn % 20 === 19) tape.clock.advance(HOUR);
        tape.commit(40);
        desk.step();
        moments.push({ synced: desk.status.synced, written: desk.status.written, sizes: new Map(durable) });
      }
      desk.crash();
      assert.ok(new Set(moments.map(({ synced }) => synced)).size > 10, "much was synced");
      if (sync === "every") assert.ok(moments.every(({ synced, written }) => synced === written));
      else assert.ok(moments.some(({ synced, written }) => synced < written));
      const after = join(temporary(t), "after");
      for (const { synced, sizes } of moments) {
        rmSync(after, { recursive: true, force: true });
        mkdirSync(after);
        for (const [path, size] of sizes) {
          // Of what was not synced, some may have got there.
          const more = tape.random.integer(0, 3) * tape.random.integer(0, 500);
          writeFileSync(join(after, basename(path)), readFileSync(path).subarray(0, size + more));
        }
        const opened = openJournal(after);
        opened.lock.release();
        assert.ok((opened.last?.position ?? 0) >= synced);
        const read = readAll(after);
        assert.deepEqual(read, tape.committed.slice(0, read.length));
        assert.ok(read.length >= synced);
      }
    });
  }
});
