/** A disk that is full, slow or fails, a ring that goes round, two writers: serving goes on, and every loss is named. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Files, systemFiles } from "../src/journal/files.ts";
import { KIND_FRAME, RECORD_BYTES } from "../src/journal/format.ts";
import { Known } from "../src/journal/known.ts";
import { JournalLockedError } from "../src/journal/lock.ts";
import { openJournal } from "../src/journal/open.ts";
import { RecordBuffer } from "../src/journal/record-buffer.ts";
import { Segment } from "../src/journal/segment.ts";
import { verify } from "../src/journal/verify.ts";
import { streamOf } from "../src/market/channel.ts";
import { Random } from "../src/std/random.ts";
import { Desk, HOUR, readAll, Tape, temporary } from "./journal-tape.ts";

const SEED = 20_260_105;
const root = fileURLToPath(new URL("..", import.meta.url));

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}

/** What is not read is named as lost, once; returns how many that are. */
function assertAccounted(directory: string, tape: Tape): number {
  const { problems, gaps } = verify(directory);
  assert.deepEqual(problems, []);
  const read = readAll(directory);
  const lost = new Set<number>();
  for (const { from, to } of gaps) {
    for (let position = from; position <= to; position += 1) {
      assert.ok(!lost.has(position));
      lost.add(position);
    }
  }
  assert.deepEqual(
    read,
    tape.committed.filter(({ position }) => !lost.has(position)),
  );
  assert.equal(read.length + lost.size, tape.committed.length);
  return lost.size;
}

describe("a disk that is full", () => {
  class SmallDisk {
    room = 0;
    readonly files: Files = {
      ...systemFiles,
      write: (file, bytes, at) => {
        if (this.room === 0) throw failure("ENOSPC");
        const length = Math.min(this.room, bytes.length);
        this.room -= length;
        return systemFiles.write(file, bytes.subarray(0, length), at);
      },
    };
  }

  test("for a while costs nothing as long as the ring holds it", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const disk = new SmallDisk();
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape, { files: disk.files, sync: "every" });
    disk.room = 50_000;
    for (let turn = 0; turn < 40; turn += 1) {
      if (turn === 25) tape.clock.advance(HOUR);
      tape.commit(50);
      desk.step();
      // Room for a part of a batch, so that some writes are cut short.
      if (turn > 20) disk.room += tape.random.integer(0, 20_000);
      assert.deepEqual(
        verify(directory).problems.filter(({ kind }) => kind !== "damaged"),
        [],
      );
    }
    assert.ok(desk.errors.length > 3);
    assert.equal(desk.status.state, "full");
    disk.room = 1e9;
    tape.clock.advance(20_000_000);
    desk.step();
    assert.equal(desk.status.state, "writing");
    assert.equal(desk.status.written, tape.log.position);
    assert.ok(desk.close());
    assert.equal(assertAccounted(directory, tape), 0);
    assert.equal(desk.status.lost, 0);
  });

  test("is tried again soon, if it has worked since it last was", (t) => {
    const disk = new SmallDisk();
    const tape = new Tape(SEED);
    const desk = new Desk(temporary(t), tape, { files: disk.files });
    const round = (room: number, waitMicros: number) => {
      disk.room = room;
      tape.clock.advance(waitMicros);
      tape.commit(10);
      desk.step();
      return desk.status.state;
    };
    for (let failed = 0; failed < 8; failed += 1) assert.equal(round(0, 20_000_000), "full");
    assert.equal(round(1e9, 1_000_000), "full", "not that soon");
    assert.equal(round(1e9, 20_000_000), "writing");
    assert.equal(round(0, 0), "full");
    assert.equal(round(1e9, 200_000), "writing");
    desk.crash();
  });

  test("for longer is a gap that names what is missing, and why", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const disk = new SmallDisk();
    const tape = new Tape(SEED, { ringBytes: 8 << 20 });
    const desk = new Desk(directory, tape, { files: disk.files });
    disk.room = 100_000;
    for (let turn = 0; turn < 600; turn += 1) {
      tape.commit(50);
      if (turn === 500) disk.room = 1e9;
      desk.step();
    }
    assert.ok(desk.close());
    const lost = assertAccounted(directory, tape);
    assert.ok(lost > 1000, `${lost} lost`);
    assert.equal(desk.status.lost, lost);
    const { gaps } = verify(directory);
    assert.equal(desk.status.gaps, gaps.length);
    assert.ok(gaps.every(({ cause }) => cause === "disk"));
  });
});

test("whatever fails, and whenever, all that was committed is either there or named", (t) => {
  for (let round = 0; round < 30; round += 1) {
    const seed = SEED + round;
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    let chance = 0;
    const mayFail = <T extends unknown[], R>(call: (...args: T) => R) => {
      return (...args: T): R => {
        if (random.chance(chance)) throw failure(random.pick(["EIO", "ENOSPC"]));
        return call(...args);
      };
    };
    const files: Files = {
      ...systemFiles,
      open: mayFail(systemFiles.open),
      read: mayFail(systemFiles.read),
      write: mayFail((file: number, bytes: Uint8Array, at: number) =>
        systemFiles.write(file, bytes.subarray(0, random.integer(1, bytes.length)), at),
      ),
      truncate: mayFail(systemFiles.truncate),
      sync: mayFail(systemFiles.sync),
      syncDirectory: mayFail(systemFiles.syncDirectory),
      rename: mayFail(systemFiles.rename),
    };
    const directory = temporary(t);
    const tape = new Tape(seed, { ringBytes: random.pick([8 << 20, 64 << 20]) });
    const desk = new Desk(directory, tape, { files, sync: random.pick(["every", "interval", "never"]) });
    for (let turn = 0; turn < 60; turn += 1) {
      chance = random.pick([0, 0, 0.05, 0.3, 1]);
      if (random.chance(0.1)) tape.clock.advance(HOUR);
      tape.commit(random.pick([10, 100]));
      desk.step();
      if (random.chance(0.3)) desk.tidy();
    }
    chance = 0;
    tape.clock.advance(61_000_000);
    desk.step();
    desk.tidy();
    assert.ok(desk.close());
    const lost = assertAccounted(directory, tape);
    assert.equal(desk.status.lost, lost);
    assert.ok(desk.errors.length > 0);
    assert.ok(readdirSync(directory).every((name) => !name.endsWith(".tmp")));
  }
});

test("a write that was cut short is cut off before a shorter one", (t) => {
  const directory = temporary(t);
  let room = 1e9;
  const files: Files = {
    ...systemFiles,
    write: (file, bytes, at) => {
      if (room === 0) throw failure("ENOSPC");
      const length = Math.min(room, bytes.length);
      room -= length;
      return systemFiles.write(file, bytes.subarray(0, length), at);
    },
  };
  const buffer = new RecordBuffer(1 << 16);
  const header = { epoch: 1, created: 1, firstPosition: 1, mode: "live" as const };
  const segment = new Segment(files, directory, header, 1);
  segment.open(buffer, new Known());
  const opening = segment.written.bytes;
  buffer.frame(KIND_FRAME, new Uint8Array(4096));
  room = 3000;
  assert.throws(() => segment.append(buffer, 1), { code: "ENOSPC" });
  assert.equal(statSync(segment.path).size, opening + 3000);
  buffer.clear();
  room = 1e9;
  segment.end(buffer, 0, 0, true);
  assert.equal(statSync(segment.path).size, opening + RECORD_BYTES + 24);
  segment.close();
});

test("a sync that failed is not believed the next time: what it was to keep is written again", (t) => {
  const directory = temporary(t);
  let fails = false;
  const writes: [number, number][] = [];
  const files: Files = {
    ...systemFiles,
    write: (file, bytes, at) => {
      writes.push([at, bytes.length]);
      return systemFiles.write(file, bytes, at);
    },
    sync: (file) => {
      if (fails) throw failure("EIO");
      systemFiles.sync(file);
    },
  };
  const tape = new Tape(SEED);
  const desk = new Desk(directory, tape, { files, sync: "every" });
  tape.commit(20);
  desk.step();
  const { synced } = desk.status;
  assert.equal(synced, tape.log.position);
  fails = true;
  tape.commit(20);
  desk.step();
  assert.equal(desk.status.state, "failed");
  assert.equal(desk.status.synced, synced);
  const [failed] = writes.slice(-1) as [[number, number]];
  fails = false;
  tape.clock.advance(20_000_000);
  desk.step();
  assert.deepEqual(writes.at(-1), failed, "the same bytes once more");
  assert.equal(desk.status.synced, tape.log.position);
  assert.ok(desk.close());
  assert.equal(assertAccounted(directory, tape), 0);
});

describe("a ring that goes round while the writer sleeps", () => {
  test("is counted and named, whichever ring it is", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = new Tape(SEED, { ringBytes: 8 << 20 });
    let directoryLost = 0;
    const desk = new Desk(directory, tape, { onDirectoryLost: () => (directoryLost += 1) });
    for (let turn = 0; turn < 30; turn += 1) {
      // Storms: of everything, so that ticks are lost, or of states only.
      if (turn % 10 === 4) for (let storm = 0; storm < 600; storm += 1) tape.commit(50);
      if (turn % 10 === 9) {
        for (let state = 0; state < 9000; state += 1) {
          tape.frames.state(streamOf(2, 1), (state % 6) + 1, "");
          if (state % 1000 === 999) tape.keep();
        }
      }
      tape.commit(50);
      desk.step();
      assert.equal(desk.status.written, tape.log.position);
    }
    assert.ok(desk.close());
    const lost = assertAccounted(directory, tape);
    assert.ok(lost > 10_000, `${lost} lost`);
    assert.equal(desk.status.lost, lost);
    assert.ok(directoryLost > 0);
    assert.ok(verify(directory).gaps.every(({ cause }) => cause === "lapped"));
  });
});

describe("files that were closed", () => {
  test("go, the oldest first, when they are too many bytes; never the one being written", (t) => {
    t.diagnostic(`seed ${SEED}`);
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const maxBytes = 300_000;
    const desk = new Desk(directory, tape, { limits: { maxBytes } });
    for (let turn = 0; turn < 20; turn += 1) {
      tape.clock.advance(HOUR);
      tape.commit(400);
      desk.step();
      desk.tidy();
      const names = readdirSync(directory).filter((name) => name.includes(".twj"));
      const bytes = names.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
      assert.equal(desk.status.bytes, bytes);
      assert.equal(desk.status.files, names.length);
      assert.ok(names.includes(desk.journal.current ?? ""));
      assert.ok(bytes <= maxBytes || names.length === 1, `${bytes} bytes in ${names.length} files`);
    }
    desk.close();
    const read = readAll(directory);
    assert.deepEqual(read, tape.committed.slice(-read.length));
    assert.ok(read.length > 0 && read.length < tape.committed.length / 2);
    assert.deepEqual(verify(directory).problems, []);
  });

  test("go when the next one has been there for too long", (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape, { limits: { maxAgeMicros: 3.5 * HOUR } });
    for (let turn = 0; turn < 12; turn += 1) {
      tape.clock.advance(HOUR);
      tape.commit(20);
      desk.step();
      desk.tidy();
    }
    const names = readdirSync(directory).filter((name) => name.includes(".twj"));
    assert.equal(names.length, 5, "four hours back, and this one");
    desk.close();
  });

  test("stay as they are when what was compressed does not read back", (t) => {
    const directory = temporary(t);
    const files: Files = {
      ...systemFiles,
      write: (file, bytes, at) => {
        // A disk that says yes and keeps something else.
        if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 4;
        return systemFiles.write(file, bytes, at);
      },
    };
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape, { files });
    for (let turn = 0; turn < 4; turn += 1) {
      tape.clock.advance(HOUR);
      tape.commit(200);
      desk.step();
      desk.tidy();
    }
    desk.close();
    assert.match(desk.errors.join(), /does not read back/);
    assert.ok(readdirSync(directory).every((name) => /\.twj$/.test(name)));
    assert.equal(assertAccounted(directory, tape), 0);
  });

  test("are plain gzip to everybody else", (t) => {
    const directory = temporary(t);
    const tape = new Tape(SEED);
    const desk = new Desk(directory, tape);
    tape.commit(4000);
    desk.step();
    const [name = ""] = readdirSync(directory).filter((file) => file.endsWith(".twj"));
    tape.clock.advance(HOUR);
    tape.commit(1);
    desk.step();
    const plain = readFileSync(join(directory, name));
    desk.tidy();
    const unpacked = execFileSync("gzip", ["-dc", join(directory, `${name}.gz`)], { maxBuffer: 1e9 });
    assert.ok(plain.length > 1e6 && plain.equals(unpacked));
    desk.close();
  });
});

describe("one writer a directory", () => {
  test("of this process", (t) => {
    const directory = temporary(t);
    const first = openJournal(directory);
    assert.throws(() => openJournal(directory), JournalLockedError);
    first.lock.release();
    openJournal(directory).lock.release();
    assert.deepEqual(readdirSync(directory), []);
  });

  test("of another one, until that dies", async (t: TestContext) => {
    const directory = temporary(t);
    const script = `import("./src/journal/lock.ts").then(({ JournalLock }) => {
      new JournalLock(${JSON.stringify(directory)});
      process.stdout.write("locked");
      setInterval(() => {}, 1000);
    })`;
    const child = spawn(process.execPath, ["--import", "tsx", "-e", script], {
      cwd: root,
      stdio: ["ignore", "pipe", 2],
    });
    t.after(() => child.kill("SIGKILL"));
    await once(child.stdout as NonNullable<typeof child.stdout>, "data");
    assert.throws(() => openJournal(directory), { name: "JournalLockedError", pid: child.pid });
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    assert.deepEqual(readdirSync(directory), ["journal.lock"]);
    const { lock } = openJournal(directory);
    assert.throws(() => openJournal(directory), { pid: process.pid });
    lock.release();
  });

  test("not one whose number another process has got since", (t) => {
    const directory = temporary(t);
    writeFileSync(join(directory, "journal.lock"), `${process.ppid} some-other-start\n`);
    openJournal(directory).lock.release();
  });
});
