/** The client before a server that says anything at all: nothing ends by it, and what is right afterwards is taken. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, type TickwireError } from "../src/client/index.ts";
import { Random } from "../src/std/random.ts";
import { acknowledged, bookFrame, ClientDouble, described, TRADES, tradeFrame } from "./client-double.ts";
import { eventually } from "./gateway.ts";

const SEED = Number(process.env.TICKWIRE_SEED ?? 20261128);
const MESSAGES = 3000;
/** A text that says it is done. */
const DONE = { type: "heartbeat", ts_server: 1, position: 1, queue_bytes: 0, lag_ms: 0 };

/** What may stand anywhere. */
function anything(random: Random, depth = 0): unknown {
  const choice = random.integer(0, depth > 2 ? 9 : 11);
  if (choice === 10) return Array.from({ length: random.integer(0, 3) }, () => anything(random, depth + 1));
  if (choice === 11) return { [random.pick(["stream", "id", "type", "x"])]: anything(random, depth + 1) };
  return [null, true, "", "A", -1, 0, 1.5, 2 ** 53, TRADES, "\u0000"][choice];
}

const TYPES: Readonly<Record<string, readonly string[]>> = {
  system: ["status", "id", "streams", "unavailable", "indicators", "resume", "stream_count"],
  gap: ["stream", "from", "to", "reason", "epoch"],
  stream_added: ["subscription", "stream"],
  replay_begin: ["id"],
  replay_end: ["id", "epoch", "position"],
  heartbeat: ["ts_server", "position", "queue_bytes", "lag_ms"],
  pong: ["id", "ts_server"],
  error: ["id", "code", "message"],
  nothing: [],
};

/** A message with some fields that are wrong, or left out. */
function message(random: Random): string {
  if (random.integer(0, 9) === 0) return random.pick(["", "{", "null", "[]", '"x"', "5", '{"type":5}', "{}"]);
  const type = random.pick(Object.keys(TYPES));
  const fields: Record<string, unknown> = { type };
  for (const field of TYPES[type] as readonly string[]) if (random.integer(0, 3) > 0) fields[field] = anything(random);
  if (type === "system" && random.integer(0, 1) === 0) fields.status = "subscribed";
  return JSON.stringify(fields);
}

/** A frame in which some bytes are others, or that ends too soon, or goes on too long. */
function frame(random: Random, number: number): Buffer {
  const numbers = { position: 1000 + number, seq: random.integer(1, 2000), flags: random.integer(0, 63) };
  const bytes = random.pick([tradeFrame, bookFrame])(numbers);
  const kind = random.integer(0, 4);
  if (kind === 0) return bytes.subarray(0, random.integer(0, bytes.length));
  if (kind === 1) return Buffer.concat([bytes, Buffer.alloc(random.integer(1, 64), 255)]);
  if (kind === 2) return Buffer.from(Array.from({ length: random.integer(0, 300) }, () => random.integer(0, 255)));
  for (let flip = random.integer(1, 6); flip > 0; flip -= 1)
    bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
  return bytes;
}

test("whatever a server says, the client lives, tells what was wrong, and takes what is right afterwards", async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const random = new Random(SEED);
  const double = await ClientDouble.start();
  t.after(() => double.stop());
  double.onSaid = (heard, said) => {
    if (said.type === "subscribe") heard.send(acknowledged(said, [described(0)]));
  };
  const client = await connect(double.url, { reconnect: { baseMs: 1, maxMs: 5 }, heartbeatMs: 3_600_000 });
  t.after(() => client.close());
  const errors: TickwireError[] = [];
  client.on("error", (error) => errors.push(error));
  let beats = 0;
  client.on("heartbeat", ({ serverTime }) => {
    if (serverTime === DONE.ts_server) beats += 1;
  });
  const trades = await client.subscribe({ channels: "trades", symbols: "A" });
  let seen = 0;
  let last = 0;
  const look = (event: { toObject(): object; sequence: number }) => {
    event.toObject();
    last = event.sequence;
    seen += 1;
  };
  for (const name of [
    "trade",
    "book",
    "quote",
    "ticker",
    "funding",
    "liquidation",
    "bar",
    "indicators",
    "state",
  ] as const)
    trades.on(name, look);
  for (let sent = 0; sent < MESSAGES; sent += 1) {
    const heard = double.heard.at(-1)!;
    // It may have left: then it comes back, and the rest is said to the new connection.
    if (heard.socket.readyState !== heard.socket.OPEN) {
      const count = double.heard.length;
      await eventually(
        () => double.heard.length > count || double.heard.at(-1)!.socket.readyState === 1,
        "it to return",
      );
      continue;
    }
    heard.send(random.integer(0, 1) === 0 ? message(random) : frame(random, sent));
    if (sent % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.ok(errors.length > MESSAGES / 10, `${errors.length} errors`);
  assert.deepEqual([...new Set(errors.map(({ code }) => typeof code))], ["string"]);
  // A connection of its own, on which everything is as it should be.
  double.hello = { epoch: 7, position: 5, mode: "live" };
  double.onSaid = (heard, said) => {
    if (said.type !== "subscribe") return;
    heard.send({ ...acknowledged(said, [described(0)]), resume: "unknown_epoch" });
    for (let seq = 1; seq <= 10; seq += 1) heard.send(tradeFrame({ epoch: 7, position: 5 + seq, seq }));
    heard.send(DONE);
  };
  const before = beats;
  double.heard.at(-1)!.socket.terminate();
  await eventually(
    () => beats > before && last === 10,
    () => `the trades: ${last} ${JSON.stringify(client.stats)}`,
  );
  t.diagnostic(`${errors.length} errors told, ${seen} events seen, ${client.stats.malformed} malformed`);
});

test("what no server sends is too long: the connection is left, and nothing is kept of it", async (t) => {
  const double = await ClientDouble.start();
  t.after(() => double.stop());
  double.onSaid = (heard, said) => {
    if (said.type === "subscribe") heard.send(acknowledged(said, [described(0)]));
  };
  const client = await connect(double.url, { reconnect: { baseMs: 1, maxMs: 5 } });
  t.after(() => client.close());
  const trades = await client.subscribe({ channels: "trades", symbols: "A" });
  const seen: number[] = [];
  trades.on("trade", ({ sequence }) => seen.push(sequence));
  double.heard[0]!.send(Buffer.alloc(65 * 1024));
  double.heard[0]!.send(tradeFrame({ position: 101, seq: 1 }));
  await eventually(() => seen.length === 1, "the frame behind it");
  assert.equal(client.stats.malformed, 1);
  for (const huge of [Buffer.alloc(64 * 2 ** 20), "x".repeat(64 * 2 ** 20)]) {
    const count = double.heard.length;
    double.heard.at(-1)!.send(huge);
    await eventually(() => double.heard.length > count, "it to leave and come back");
  }
  double.heard.at(-1)!.send(tradeFrame({ position: 102, seq: 2 }));
  await eventually(() => seen.length === 2, "the next frame");
});
