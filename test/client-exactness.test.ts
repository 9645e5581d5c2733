/** The client before a server that cuts at the worst moment, refuses, or sends what is no frame. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, type Tickwire } from "../src/client/index.ts";
import { acknowledged, BOOK, bookFrame, ClientDouble, described, TRADES, tradeFrame } from "./client-double.ts";
import { eventually } from "./gateway.ts";

const SOON = { reconnect: { baseMs: 1, maxMs: 5 } };

async function withDouble(run: (double: ClientDouble) => Promise<Tickwire>): Promise<void> {
  const double = await ClientDouble.start();
  try {
    const client = await run(double);
    await client.close();
  } finally {
    double.stop();
  }
}

/** Waits for the n-th connection to have said so much. */
async function said(double: ClientDouble, connection: number, count = 1) {
  await eventually(() => (double.heard[connection]?.said.length ?? 0) >= count, "the client to ask");
  return double.heard[connection]!.said;
}

test("a connection that ends before its ack changes nothing of where the client goes on from", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      if (double.heard.length === 2) return heard.socket.terminate();
      heard.send(acknowledged(message, [described(10)]));
      heard.send(tradeFrame({ position: 101, seq: 11 }));
    };
    const client = await connect(double.url, SOON);
    const trades = await client.subscribe({ channels: "trades", symbols: "A" });
    const seen: number[] = [];
    trades.on("trade", ({ sequence }) => seen.push(sequence));
    await eventually(() => seen.length === 1, "the trade");
    double.hello = { epoch: 2, position: 500, mode: "live" };
    double.heard[0]!.socket.terminate();
    const [second] = await said(double, 1);
    const [third] = await said(double, 2);
    assert.deepEqual(second!.resume, { epoch: 1, position: 101, held: { [TRADES]: 11 } });
    assert.deepEqual(third!.resume, second!.resume);
    return client;
  }));

test("a past that is cut in the middle goes on where it was, and one that had not begun is asked for again", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      heard.send(acknowledged(message, [described(10), described(10, 65, "B")]));
      if (double.heard.length === 1) return heard.socket.terminate();
      if (double.heard.length > 2) return;
      heard.send({ type: "replay_begin", id: message.id });
      for (let seq = 3; seq <= 5; seq += 1) heard.send(tradeFrame({ position: 50 + seq, seq }));
    };
    const client = await connect(double.url, SOON);
    const trades = await client.subscribe({ channels: "trades", symbols: "*", from: "now-5m" });
    let count = 0;
    trades.on("trade", () => {
      count += 1;
    });
    const [again] = await said(double, 1);
    assert.equal(again!.from, "now-5m");
    await eventually(() => count === 3, "the trades");
    double.heard[1]!.socket.terminate();
    const [resumed] = await said(double, 2);
    assert.equal(resumed!.from, undefined);
    assert.deepEqual(resumed!.resume, { epoch: 1, position: 55, held: { [TRADES]: 5 } });
    return client;
  }));

test("two that come back from another epoch each go on from their own, whichever frame was the last", () =>
  withDouble(async (double) => {
    const other = 65;
    double.onSaid = (heard, message) => {
      const isFirst = message.symbols === "A";
      const seq = double.heard.length === 1 ? 10 : 0;
      const more = message.resume === undefined ? {} : { resume: "restarted" };
      heard.send(acknowledged(message, [isFirst ? described(seq) : described(seq, other, "B")], more));
    };
    const client = await connect(double.url, SOON);
    const seen: string[] = [];
    for (const symbols of ["A", "B"]) {
      const tape = await client.subscribe({ channels: "trades", symbols });
      tape.on("trade", ({ epoch, stream, sequence }) => seen.push(`${epoch} ${stream} ${sequence}`));
    }
    const [before] = double.heard;
    before!.send(tradeFrame({ position: 101, seq: 11 }));
    before!.send(tradeFrame({ position: 102, seq: 11, stream: other }));
    await eventually(() => seen.length === 2, "both");
    double.hello = { epoch: 2, position: 5, mode: "live" };
    before!.socket.terminate();
    await said(double, 1, 2);
    // The first has come to the new epoch; the other one is still where the old one was.
    const [, second] = double.heard;
    second!.send(tradeFrame({ epoch: 2, position: 3, seq: 1 }));
    second!.send(tradeFrame({ epoch: 2, position: 4, seq: 2 }));
    second!.send(tradeFrame({ position: 103, seq: 12, stream: other }));
    await eventually(() => seen.length === 5, "what was missed");
    second!.socket.terminate();
    const asked = await said(double, 2, 2);
    assert.deepEqual(asked.find(({ symbols }) => symbols === "A")?.resume, {
      epoch: 2,
      position: 4,
      held: { [TRADES]: 2 },
    });
    assert.deepEqual(asked.find(({ symbols }) => symbols === "B")?.resume, {
      epoch: 1,
      position: 103,
      held: { [other]: 12 },
    });
    return client;
  }));

test("a cursor file of one place, as it once was: a subscription goes on after exactly what the program had", () =>
  withDouble(async (double) => {
    const folder = mkdtempSync(join(tmpdir(), "tickwire-client-"));
    const cursorFile = join(folder, "cursor");
    writeFileSync(cursorFile, JSON.stringify({ epoch: 1, position: 90, held: { [TRADES]: 7 } }));
    double.onSaid = (heard, message) => {
      heard.send(acknowledged(message, [described(10)]));
      heard.send({ type: "replay_begin", id: message.id });
      for (let seq = 6; seq <= 10; seq += 1) heard.send(tradeFrame({ position: 83 + seq, seq }));
      heard.send({ type: "replay_end", id: message.id, epoch: 1, position: 100 });
    };
    const client = await connect(double.url, { ...SOON, cursorFile });
    const trades = await client.subscribe({ channels: "trades", symbols: "A" });
    const seen: number[] = [];
    trades.on("trade", ({ sequence }) => seen.push(sequence));
    await eventually(() => seen.length >= 3, "the trades");
    assert.deepEqual(seen, [8, 9, 10]);
    assert.equal(client.stats.fetches, 0);
    assert.equal(client.stats.duplicates, 2);
    await client.close();
    const saved = JSON.parse(readFileSync(cursorFile, "utf8"));
    assert.deepEqual(saved.places.at(-1), {
      asked: '[["channels","trades"],["symbols","A"]]',
      ...{ epoch: 1, position: 93, held: { [TRADES]: 10 } },
    });
    rmSync(folder, { recursive: true });
    return client;
  }));

test("subscriptions that begin later do not go on from where others were", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => heard.send(acknowledged(message, [described(10)]));
    const client = await connect(double.url, { reconnect: { baseMs: 50, maxMs: 50 } });
    const first = await client.subscribe({ channels: "trades", symbols: "A" });
    let isGone = false;
    client.on("disconnect", () => {
      isGone = true;
    });
    double.heard[0]!.socket.terminate();
    await eventually(() => isGone, "the connection to be gone");
    const second = await client.subscribe({ channels: "trades", symbols: "B", from: "now-5m" });
    await first.close();
    await second.close();
    await client.subscribe({ channels: "trades", symbols: "C" });
    const all = await said(double, 1, 5);
    const asked = all.filter(({ type }) => type === "subscribe");
    assert.deepEqual(
      asked.map(({ symbols, from, resume }) => [symbols, from, resume !== undefined]),
      [
        ["A", undefined, true],
        ["B", "now-5m", false],
        ["C", undefined, false],
      ],
    );
    return client;
  }));

test("a connection that is lost in the past of one subscription leaves the other where it was", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      const isFirst = message.symbols === "A";
      const stream = isFirst ? described(10) : described(10, 65, "B");
      if (double.heard.length === 1) {
        heard.send(acknowledged(message, [stream]));
        heard.send(tradeFrame({ position: 101 + stream.stream, seq: 11, stream: stream.stream }));
        return;
      }
      if (double.heard.length > 2) return;
      heard.send({ ...acknowledged(message, [{ ...stream, seq: isFirst ? 1 : 0 }]), resume: "restarted" });
      heard.send({ type: "replay_begin", id: message.id });
      if (isFirst) {
        heard.send(tradeFrame({ epoch: 2, position: 5, seq: 1 }));
        heard.send({ type: "replay_end", id: message.id, epoch: 2, position: 6 });
      } else heard.send(tradeFrame({ position: 180, seq: 12, stream: 65 }));
    };
    const client = await connect(double.url, SOON);
    const seen: number[] = [];
    for (const symbols of ["A", "B"]) {
      const trades = await client.subscribe({ channels: "trades", symbols });
      trades.on("trade", ({ sequence }) => seen.push(sequence));
    }
    await eventually(() => seen.length === 2, "a trade of each");
    double.hello = { epoch: 2, position: 6, mode: "live" };
    double.heard[0]!.socket.terminate();
    await eventually(() => seen.length === 4, "the pasts");
    double.heard[1]!.socket.terminate();
    const [first, second] = await said(double, 2, 2);
    assert.deepEqual(first!.resume, { epoch: 2, position: 5, held: { [TRADES]: 1 } });
    assert.deepEqual(second!.resume, { epoch: 1, position: 180, held: { 65: 12 } });
    return client;
  }));

test("a change asks for no past again, and a change that is refused leaves everything as it was", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      const { id, symbols } = message;
      if (symbols === "NO") heard.send({ type: "error", id, code: "unknown_symbol", message: "no" });
      else heard.send(acknowledged(message, [described(10)]));
    };
    const client = await connect(double.url, SOON);
    const trades = await client.subscribe({ channels: "trades", symbols: "A", from: "now-5m" });
    await trades.change({ symbols: ["A", "B"] });
    assert.equal((await said(double, 0, 2))[1]!.from, undefined);
    await assert.rejects(trades.change({ symbols: "NO" }), { code: "unknown_symbol" });
    double.heard[0]!.socket.terminate();
    assert.deepEqual((await said(double, 1))[0]!.symbols, ["A", "B"]);
    const other = await client.subscribe({ channels: "trades", symbols: "C" });
    await assert.rejects(other.change({ symbols: ["B", "C"] }), { code: "bad_option" });
    return client;
  }));

test("a subscription that is refused when it comes back is asked for again", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      const isRefused = double.heard.length === 2 && heard.said.length === 1;
      const refusal = { type: "error", id: message.id, code: "rate_limited", message: "later" };
      heard.send(isRefused ? refusal : acknowledged(message, [described(10)]));
      if (!isRefused && message.resume !== undefined) heard.send({ type: "replay_end", id: message.id, epoch: 1 });
    };
    const client = await connect(double.url, SOON);
    const codes: string[] = [];
    let reconnects = 0;
    client.on("error", ({ code }) => codes.push(code));
    client.on("reconnect", () => {
      reconnects += 1;
    });
    await client.subscribe({ channels: "trades", symbols: "A" });
    double.heard[0]!.socket.terminate();
    await eventually(() => reconnects === 1, "the subscription to be in place");
    assert.deepEqual(codes, ["rate_limited"]);
    const [, again] = await said(double, 1, 2);
    assert.deepEqual(again!.resume, { epoch: 1, position: 100, held: { [TRADES]: 10 } });
    return client;
  }));

test("more streams than a message can name are resumed by position", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      heard.send(acknowledged(message, [], { stream_count: 5000 }));
      for (let index = 1; index <= 5000; index += 1) {
        const stream = described(1e6 + index, 32 * index + 1, `S${index}`);
        heard.send({ type: "stream_added", subscription: message.id, stream });
      }
    };
    const client = await connect(double.url, SOON);
    const all = await client.subscribe({ channels: "trades", symbols: "*" });
    await eventually(() => all.streams.length === 5000, "the streams");
    double.heard[0]!.socket.terminate();
    const [resumed] = await said(double, 1);
    assert.deepEqual(resumed!.resume, { epoch: 1, position: 100 });
    return client;
  }));

test("another server takes over, one by one, and gives up only when all refuse", async () => {
  const [first, second] = [await ClientDouble.start(), await ClientDouble.start()];
  first.onSaid = (heard, message) => heard.send(acknowledged(message, [described(10)]));
  second.onOpen = ({ socket }) => socket.close(1008, "unauthorized");
  const client = await connect([first.url, second.url], SOON);
  await client.subscribe({ channels: "trades", symbols: "A" });
  first.heard[0]!.socket.terminate();
  await eventually(() => first.heard.length === 2 && client.isConnected, "the first server again");
  assert.equal(second.heard.length, 1);
  first.onOpen = ({ socket }) => socket.close(1008, "unauthorized");
  first.heard[1]!.socket.terminate();
  await assert.rejects(client.closed, { code: "refused" });
  first.stop();
  second.stop();
});

test("a frame that is cut short at any place is counted, and nothing of the one before it is seen in it", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      heard.send(acknowledged(message, [described(10), described(10, BOOK, "A", "orderbook")]));
    };
    const client = await connect(double.url, SOON);
    const codes = new Set<string>();
    client.on("error", ({ code }) => codes.add(code));
    const all = await client.subscribe({ channels: ["trades", "orderbook"], symbols: "A", depth: "full" });
    const seen: number[] = [];
    all.on("trade", ({ sequence, price }) => seen.push(sequence, price));
    const events = all[Symbol.asyncIterator]();
    const [heard] = double.heard;
    const whole = tradeFrame({ position: 101, seq: 11 });
    heard!.send(whole);
    let sent = 0;
    for (let length = 0; length < whole.length - 8; length += 4) {
      heard!.send(tradeFrame({ position: 102, seq: 12 }).subarray(0, length));
      sent += 1;
    }
    // A vector that says that it has four thousand million levels.
    const book = bookFrame({ position: 103, seq: 11 });
    for (let at = 32; at + 4 <= book.length; at += 4) {
      if (book.readInt32LE(at) !== 3) continue;
      const wrong = Buffer.from(book);
      wrong.writeUInt32LE(2 ** 32 - 1, at);
      heard!.send(wrong);
      sent += 1;
    }
    for (const text of ["{", "[]", "null", '{"type":"system","status":"subscribed","id":1}']) heard!.send(text);
    heard!.send(tradeFrame({ position: 104, seq: 12 }));
    await eventually(() => seen.length === 4, "the trade after them");
    assert.deepEqual(seen, [11, 11, 12, 12]);
    assert.equal(client.stats.malformed, sent);
    assert.deepEqual([...codes], ["protocol"]);
    assert.equal((await events.next()).value?.type, "trade");
    return client;
  }));

test("a book with a hole that cannot be filled begins anew, and nothing else is missed", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => {
      const { id, type } = message;
      if (type === "fetch") {
        heard.send({ type: "replay_begin", id });
        heard.send({ type: "gap", stream: BOOK, from: message.from, to: message.to, reason: "window" });
        return heard.send({ type: "replay_end", id, epoch: 1, position: 105 });
      }
      heard.send(acknowledged(message, [described(10, BOOK, "A", "orderbook"), described(20)]));
      const seq = double.heard.length === 1 ? 10 : 14;
      heard.send(bookFrame({ position: 90 + seq, seq, flags: 7, fromSeq: 0 }));
      if (double.heard.length > 1) heard.send({ type: "replay_end", id, epoch: 1, position: 105 });
    };
    const client = await connect(double.url, SOON);
    const books = await client.books({ symbols: "A" });
    const [book] = books.all;
    assert.equal(book!.state, "live");
    double.heard[0]!.send(bookFrame({ position: 103, seq: 13 }));
    const [resumed] = await said(double, 1);
    assert.deepEqual(resumed!.resume, { epoch: 1, position: 103, held: { [TRADES]: 20 } });
    await eventually(() => book!.state === "live", "the book to be right again");
    assert.equal(book!.sequence, 14);
    return client;
  }));

test("options that cannot be are refused at once", async () => {
  const wrong: [string | string[], object, string][] = [
    ["http://localhost", {}, "bad_url"],
    ["nowhere", {}, "bad_url"],
    [[], {}, "bad_url"],
    ["ws://127.0.0.1:1", { heartbeatMs: 300.5 }, "bad_option"],
    ["ws://127.0.0.1:1", { heartbeatMs: 100 }, "bad_option"],
    ["ws://127.0.0.1:1", { token: 5 }, "bad_option"],
    ["ws://127.0.0.1:1", { token: "a b=" }, "bad_option"],
    ["ws://127.0.0.1:1", { token: () => ({}) }, "bad_option"],
    ["ws://127.0.0.1:1", { require: "real" }, "bad_option"],
    ["ws://127.0.0.1:1", { reconnect: { attempts: 2, baseMs: 1 } }, "unavailable"],
  ];
  for (const [url, options, code] of wrong)
    await assert.rejects(connect(url, options), { code }, JSON.stringify(options));
});

test("handlers come and go, and iterations may be asked more than once at a time", () =>
  withDouble(async (double) => {
    double.onSaid = (heard, message) => heard.send(acknowledged(message, [described(10)]));
    const client = await connect(double.url, SOON);
    const trades = await client.subscribe({ channels: "trades", symbols: "A" });
    let calls = 0;
    const handler = () => {
      calls += 1;
    };
    trades.once("trade", handler);
    trades.off("trade", handler);
    trades.on("trade", handler, { signal: AbortSignal.abort() });
    const events = trades[Symbol.asyncIterator]();
    const both = Promise.all([events.next(), events.next()]);
    for (const seq of [11, 12]) double.heard[0]!.send(tradeFrame({ position: 90 + seq, seq }));
    const got = await both;
    assert.deepEqual(
      got.map(({ value }) => value?.type === "trade" && value.sequence),
      [11, 12],
    );
    assert.equal(calls, 0);
    return client;
  }));
