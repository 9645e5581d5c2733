/** Readers of other languages, made from the same schema: what an official FlatBuffers runtime reads of our frames. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { LANGUAGES } from "../schema/generate.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import { type BookFrame, FrameDecoder, type TradeFrame } from "./gateway.ts";
import { Probe, serve, settled, spot, type Venue } from "./serve.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const codegen = join(root, "schema/generate.ts");

/** A Python that has Debian's python3-flatbuffers, or any other. */
const PYTHON = ["/usr/bin/python3", "python3"].find(
  (name) => spawnSync(name, ["-c", "import flatbuffers"], { stdio: "ignore" }).status === 0,
);

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "tickwire-bindings-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test("every language is written, and another one is refused in one line", async (t) => {
  const folder = folderOf(t);
  const tsx = join(root, "node_modules/.bin/tsx");
  for (const language of LANGUAGES) {
    const { stdout } = await run(tsx, [codegen, "--lang", language, "--out", join(folder, language)], { cwd: root });
    assert.match(stdout, /^\d+ files written to /);
  }
  const failed = await run(tsx, [codegen, "--lang", "cobol"], { cwd: root }).catch(
    (error: { stderr: string }) => error,
  );
  assert.equal(failed.stderr, "codegen: --lang is one of python, cpp, rust, go\n");
});

/** Prints one JSON line for each frame of a file of length-prefixed frames. */
const SCRIPT = `
import json, struct, sys
from tickwire.Frame import Frame
from tickwire.Trade import Trade
from tickwire.BookLevels import BookLevels
from tickwire.Payload import Payload
data = open(sys.argv[1], 'rb').read()
at = 0
while at < len(data):
    (length,) = struct.unpack_from('<I', data, at)
    frame = Frame.GetRootAs(bytearray(data[at + 8:at + 8 + length]), 0)
    at += 8 + length
    row = {'stream': frame.Stream(), 'epoch': frame.Epoch(), 'position': frame.Position(), 'seq': frame.Seq(), 'ts_publish': frame.TsPublish()}
    table = frame.Payload()
    if frame.PayloadType() == Payload.Trade:
        trade = Trade()
        trade.Init(table.Bytes, table.Pos)
        row.update(price=trade.Price(), size=trade.Size(), side=trade.Side(), trade_id=trade.TradeId().decode())
    if frame.PayloadType() == Payload.BookLevels:
        book = BookLevels()
        book.Init(table.Bytes, table.Pos)
        row.update(bids=[[book.Bids(i).Price(), book.Bids(i).Size()] for i in range(book.BidsLength())])
    print(json.dumps(row))
`;

const skip = PYTHON === undefined ? "no Python with flatbuffers: apt-get install python3-flatbuffers" : false;

test("Python's official runtime reads every field as ours do", { skip }, async (t) => {
  const folder = folderOf(t);
  const served = await serve();
  t.after(() => served.stop());
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe("all", { channels: ["trades", "orderbook", "quotes", "ticker"], symbols: ["A0/USDT"] });
  await settled(served);
  for (let event = 1; event <= 200; event += 1) venue.everything(id, event);
  const cursor = new LogCursor(served.engine.frames.log);
  cursor.seek(0);
  const parts: Buffer[] = [];
  const expected: Record<string, unknown>[] = [];
  const decoder = new FrameDecoder();
  while (cursor.next()) {
    const { ring, record } = cursor;
    const at = ring.placeOf(record);
    const bytes = Buffer.from(ring.memory.u8.slice(at, at + ring.lengthOf(record)));
    // Eight bytes of length keep the frame aligned.
    const length = Buffer.alloc(8);
    length.writeUInt32LE(bytes.length);
    parts.push(length, bytes);
    const frame = decoder.decode(bytes);
    const { stream, epoch, position, seq, ts_publish } = frame;
    const row: Record<string, unknown> = { stream, epoch, position, seq, ts_publish };
    if (frame.type === "trade") {
      const { price, size, side, trade_id } = frame as TradeFrame;
      Object.assign(row, { price, size, side: ["unknown", "buy", "sell"].indexOf(side ?? "unknown"), trade_id });
    }
    if (frame.type === "orderbook") Object.assign(row, { bids: (frame as BookFrame).bids });
    expected.push(row);
  }
  writeFileSync(join(folder, "frames"), Buffer.concat(parts));
  writeFileSync(join(folder, "read.py"), SCRIPT);
  const tsx = join(root, "node_modules/.bin/tsx");
  await run(tsx, [codegen, "--lang", "python", "--out", folder], { cwd: root });
  const read = await run(PYTHON as string, ["read.py", "frames"], { cwd: folder, maxBuffer: 2 ** 26 });
  const rows = read.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  assert.ok(rows.length > 800);
  assert.deepEqual(rows, expected);
});
