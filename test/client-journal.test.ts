/** A journal as a client's source: a backtest is the same program. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect, TickwireError } from "../src/client/index.ts";
import { JournalReader } from "../src/journal/reader.ts";
import { FrameDecoder, type TradeFrame } from "./gateway.ts";
import { serve, settled, spot, type Venue } from "./serve.ts";

async function written(t: TestContext): Promise<{ directory: string; prices: number[] }> {
  const directory = mkdtempSync(join(tmpdir(), "tickwire-backtest-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const served = await serve({ journal: directory });
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  const keeper = await connect(served.url);
  await keeper.subscribe({ channels: ["trades", "orderbook"], symbols: "A0/USDT", depth: "full" });
  for (let event = 1; event <= 1000; event += 1) {
    venue.trade(id, event);
    venue.bookDelta(id, event);
    if (event % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await settled(served);
  await keeper.close();
  await served.stop();
  const decoder = new FrameDecoder();
  const frames = Array.from(new JournalReader(directory).frames(), ({ bytes }) => decoder.decode(Buffer.from(bytes)));
  return {
    directory,
    prices: frames.filter(({ type }) => type === "trade").map((frame) => (frame as TradeFrame).price),
  };
}

test("every event of a journal comes once, in order, and the client ends with it", async (t) => {
  const { directory, prices } = await written(t);
  const client = await connect({ journal: directory, speed: "max" });
  t.after(() => client.close());
  assert.equal(client.mode, "replay");
  const tape = await client.subscribe({ channels: "trades", symbols: "*" });
  const seen: number[] = [];
  const missed: object[] = [];
  tape.on("trade", ({ price }) => seen.push(price));
  tape.on("gap", (gap) => missed.push(gap));
  await client.closed;
  assert.deepEqual(seen, prices);
  assert.equal(prices.length, 1000);
  assert.deepEqual(missed, []);
});

test("an iteration that takes its time gets every event, and ends", async (t) => {
  const { directory, prices } = await written(t);
  const client = await connect({ journal: directory });
  t.after(() => client.close());
  const seen: number[] = [];
  for await (const event of await client.subscribe({ channels: "trades", symbols: "*" })) {
    if (event.type === "trade") seen.push(event.price);
    if (seen.length % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(seen, prices);
});

test("from and to cut it; what cannot be replayed is a typed error", async (t) => {
  const { directory, prices } = await written(t);
  const times = Array.from(new JournalReader(directory).frames(), ({ time }) => time);
  const middle = new Date(Math.ceil((times[times.length >> 1] as number) / 1000)).toISOString();
  const client = await connect({ journal: directory, from: middle });
  t.after(() => client.close());
  const tape = await client.subscribe({ channels: "trades", symbols: "*" });
  const seen: number[] = [];
  tape.on("trade", ({ price }) => seen.push(price));
  await client.closed;
  assert.ok(seen.length > 0 && seen.length < prices.length);
  assert.deepEqual(seen, prices.slice(-seen.length));
  const refused = (says: RegExp) => (error: unknown) =>
    error instanceof TickwireError && error.code === "bad_option" && says.test(error.message);
  await assert.rejects(connect({ journal: "/no/such/folder" }), refused(/ENOENT/));
  await assert.rejects(connect({ journal: tmpdir() }), refused(/no journal/));
  await assert.rejects(connect({ journal: directory, from: "yesterday" }), refused(/--from is a time/));
  await assert.rejects(connect({ journal: directory, speed: -1 }), refused(/--speed/));
  await assert.rejects(connect({ journal: directory, cursorFile: "x" }), refused(/cursor/));
});
