/** The fault proxy does what it says, and the record of a client finds whatever is wrong with a good run. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { describe, test } from "node:test";
import WebSocket from "ws";
import { IndicatorSet } from "../src/indicators/registry.ts";
import {
  channelOfSlot,
  DIRECTORY_STREAM,
  instrumentOf,
  SLOT_ORDERBOOK,
  SLOT_QUOTES,
  SLOT_TRADES,
  slotIn,
  streamOf,
  timeframeOfSlot,
} from "../src/market/channel.ts";
import { Catalog } from "../src/market/instrument.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { Random } from "../src/std/random.ts";
import { FLAG_DERIVED } from "../src/wire/frame.ts";
import type { FrameLog } from "../src/wire/frame-log.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import { JsonTwin } from "../src/wire/json.ts";
import { scratchMemory } from "../src/wire/memory.ts";
import type { Finding, FindingKind } from "./client-record.ts";
import { ClientRecord, FrameReference, Ranges } from "./client-record.ts";
import { FakeTime } from "./contracts/feed.ts";
import type { Deed, ProxiedConnection } from "./fault-proxy.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { BINANCE_RULES, EngineBench, eventually } from "./gateway.ts";
import { FrameWriter, PAYLOADS, randomFrame } from "./random-frames.ts";
import { serve, settled, spot } from "./serve.ts";

/** A socket and what happened to it. */
class Peer {
  bytes = 0;
  text = "";
  ended = false;
  closed = false;
  error: string | undefined;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data: Buffer) => {
      this.bytes += data.length;
      this.text = (this.text + data.toString("latin1")).slice(-100);
    });
    socket.on("end", () => {
      this.ended = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    socket.on("close", () => {
      this.closed = true;
    });
  }
}

/** A server that keeps its connections, a proxy in front of it, and clients. */
class Wire {
  readonly accepted: Peer[] = [];
  readonly clients: Peer[] = [];
  readonly #server: Server;
  readonly proxy: FaultProxy;

  private constructor(server: Server, proxy: FaultProxy) {
    this.#server = server;
    this.proxy = proxy;
  }

  static async start(options: { time?: FakeTime; seed?: number } = {}): Promise<Wire> {
    const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { time } = options;
    const proxy = await FaultProxy.start({
      target: (server.address() as AddressInfo).port,
      random: new Random(options.seed ?? 1),
      ...(time === undefined ? {} : { clock: time, timers: time }),
    });
    const wire = new Wire(server, proxy);
    server.on("connection", (socket) => wire.accepted.push(new Peer(socket)));
    return wire;
  }

  /** A client that reached the server, and its peer there. */
  async connect(): Promise<{ client: Peer; server: Peer; link: ProxiedConnection }> {
    const count = this.accepted.length;
    const client = new Peer(connect({ port: this.proxy.port, host: "127.0.0.1", allowHalfOpen: true }));
    this.clients.push(client);
    await eventually(() => this.accepted.length > count, "the server's side of the connection");
    const link = [...this.proxy.connections.values()].at(-1) as ProxiedConnection;
    return { client, server: this.accepted[count] as Peer, link };
  }

  async stop(): Promise<void> {
    await this.proxy.close();
    for (const { socket } of [...this.clients, ...this.accepted]) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const KIB = 1024;
const MIB = 1024 * KIB;

describe("the proxy", () => {
  test("passes bytes and ends, each way for itself", async () => {
    const wire = await Wire.start();
    const { client, server } = await wire.connect();
    client.socket.end("to the server");
    await eventually(() => server.ended, "the client's end at the server");
    assert.equal(server.text, "to the server");
    assert.equal(client.ended, false);
    server.socket.end("and back");
    await eventually(() => client.closed && server.closed, "both to be closed");
    assert.equal(client.text, "and back");
    assert.deepEqual([client.error, server.error], [undefined, undefined]);
    await eventually(() => wire.proxy.connections.size === 0, "the proxy to forget the connection");
    await wire.stop();
  });

  test("a reset of one side reaches the other", async () => {
    const wire = await Wire.start();
    const { client, server } = await wire.connect();
    client.socket.resetAndDestroy();
    await eventually(() => server.closed, "the server's side to be closed");
    assert.equal(server.error, "ECONNRESET");
    await wire.stop();
  });

  test("a server that is not there, or may not be reached, is a reset", async () => {
    const wire = await Wire.start();
    wire.proxy.isRefusing = true;
    const refused = new Peer(connect(wire.proxy.port, "127.0.0.1"));
    await eventually(() => refused.closed, "the refused client to be closed");
    const proxy = await FaultProxy.start({ target: wire.proxy.port, random: new Random(1) });
    await wire.stop();
    const lost = new Peer(connect(proxy.port, "127.0.0.1"));
    await eventually(() => lost.closed && proxy.connections.size === 0, "the lost client to be closed");
    assert.deepEqual([refused.bytes, lost.bytes], [0, 0]);
    await proxy.close();
  });

  test("cut: by reset both sides see an error, by end neither does", async () => {
    const wire = await Wire.start();
    const [one, other, left] = [await wire.connect(), await wire.connect(), await wire.connect()];
    assert.deepEqual(wire.proxy.fault("cut", { how: "reset" }, one.link.id).connections, [1]);
    await eventually(() => one.client.closed && one.server.closed, "the reset connection to be closed");
    assert.deepEqual([one.client.error, one.server.error], ["ECONNRESET", "ECONNRESET"]);
    wire.proxy.fault("cut", { how: "end" }, other.link.id);
    await eventually(() => other.client.ended && other.server.ended, "the ended connection to end");
    assert.deepEqual([other.client.error, other.server.error], [undefined, undefined]);
    left.client.socket.write("still here");
    await eventually(() => left.server.text === "still here", "the third connection to be as before");
    assert.deepEqual(wire.proxy.fault("stall", {}).connections, [3], "faults reach only what is whole");
    await wire.stop();
  });

  test("stall: one way passes nothing until its time is over, the other way all", async () => {
    const time = new FakeTime();
    const wire = await Wire.start({ time });
    const { client, server, link } = await wire.connect();
    wire.proxy.fault("stall", { direction: "down", forMs: 1_000 });
    server.socket.end("late");
    client.socket.write("in time");
    await eventually(() => link.down.held === 4 && server.text === "in time", "the bytes to be on their way");
    time.advance(999);
    assert.deepEqual([link.down.passed, link.down.held], [0, 4]);
    time.advance(1);
    await eventually(() => client.text === "late" && client.ended, "the bytes, then the end");
    wire.proxy.fault("stall", {});
    client.socket.write(" and again");
    await eventually(() => link.up.held === 10, "the proxy to hold them");
    time.advance(1e9);
    assert.equal(link.up.held, 10, "without a time it lasts");
    wire.proxy.heal();
    await eventually(() => server.text === "in time and again", "what was held, healed");
    await wire.stop();
  });

  test("delay: each byte comes so much later, in order", async () => {
    const time = new FakeTime();
    const wire = await Wire.start({ time });
    const { client, server, link } = await wire.connect();
    wire.proxy.fault("delay", { delayMs: 100, forMs: 1_000 });
    client.socket.write("a");
    await eventually(() => link.up.held === 1, "the first byte at the proxy");
    time.advance(60);
    client.socket.write("b");
    await eventually(() => link.up.held === 2, "the second byte at the proxy");
    time.advance(39);
    assert.equal(link.up.passed, 0);
    time.advance(1);
    await eventually(() => server.text === "a" && time.pending === 1, "the first byte at the server");
    time.advance(59);
    assert.equal(link.up.passed, 1);
    time.advance(1);
    await eventually(() => server.text === "ab", "the second byte at the server");
    time.advance(900);
    client.socket.write("c");
    await eventually(() => server.text === "abc", "what comes after the delay, at once");
    await wire.stop();
  });

  test("throttle: so many bytes a second, and no more", async () => {
    const time = new FakeTime();
    const wire = await Wire.start({ time });
    const { client, server, link } = await wire.connect();
    wire.proxy.fault("throttle", { bytesPerSecond: 10_000, direction: "down", forMs: 1_000 });
    server.socket.write(Buffer.alloc(20_000));
    await eventually(() => link.down.held === 20_000, "all bytes at the proxy");
    assert.equal(link.down.passed, 0);
    for (let piece = 1; piece <= 20; piece += 1) {
      time.advance(20);
      await eventually(() => client.bytes === 200 * piece && time.pending === 1, `piece ${piece}`);
      assert.equal(link.down.passed, 200 * piece);
    }
    time.advance(600);
    await eventually(() => client.bytes === 20_000, "the rest, once the time is over");
    wire.proxy.fault("throttle", { bytesPerSecond: 10_000 });
    time.advance(60_000);
    server.socket.write(Buffer.alloc(1_000));
    await eventually(() => link.down.held === 800 && time.pending === 1, "a burst at once, however long nothing came");
    assert.equal(link.down.passed, 20_200);
    await wire.stop();
  });

  test("half-open: the dropped side is closed, the other hears nothing and is not read", async (t) => {
    const wire = await Wire.start();
    const [one, other] = [await wire.connect(), await wire.connect()];
    wire.proxy.fault("half-open", { dropped: "client" }, one.link.id);
    await eventually(() => one.client.ended, "the client's side to be ended");
    const { socket } = one.server;
    const sent = await fillUp(socket, 16 * MIB, () => {});
    t.diagnostic(`the kernel took ${sent - socket.writableLength} bytes of a peer that does not read`);
    // While four times as much goes through another connection, none of it is read.
    const busy = await wire.connect();
    busy.server.socket.write(Buffer.alloc(64 * MIB));
    await eventually(() => busy.client.bytes === 64 * MIB, "what passes beside it");
    assert.ok(socket.writableLength > 8 * MIB, `${socket.writableLength} bytes still wait`);
    assert.deepEqual([one.server.ended, one.server.closed, one.link.down.held], [false, false, 0]);
    wire.proxy.fault("half-open", { dropped: "server" }, other.link.id);
    await eventually(() => other.server.ended, "the server's side to be ended");
    other.client.socket.write("is anybody there");
    // What came after it came: a reset or an end of the client's side would have come before.
    const third = await wire.connect();
    third.server.socket.write("a sign of life");
    await eventually(() => third.client.bytes > 0, "a later connection's bytes");
    assert.deepEqual([other.client.ended, other.client.closed, other.client.bytes], [false, false, 0]);
    assert.equal(other.client.socket.writable, true);
    await wire.stop();
  });

  for (const fault of ["a client that does not read", "a stall", "a delay"]) {
    test(`memory is bounded behind ${fault}, and nothing is lost`, async (t) => {
      const wire = await Wire.start();
      const { client, server, link } = await wire.connect();
      const bound = (fault === "a delay" ? MIB : 64 * KIB) + 64 * KIB;
      if (fault === "a stall") wire.proxy.fault("stall", { direction: "down" });
      else if (fault === "a delay") wire.proxy.fault("delay", { direction: "down", delayMs: 1e9 });
      else client.socket.pause();
      let most = 0;
      const sent = await fillUp(server.socket, 16 * MIB, () => {
        most = Math.max(most, link.down.held);
      });
      t.diagnostic(`the proxy held ${most} bytes, the sender ${server.socket.writableLength} of ${sent}`);
      assert.ok(most > 0 && most <= bound, `held ${most}`);
      client.socket.resume();
      wire.proxy.heal();
      await eventually(
        () => client.bytes === sent,
        () => `all ${sent} bytes, of which ${client.bytes} came`,
      );
      await wire.stop();
    });
  }

  test("the same seed does the same to the same connections, another seed does not", async (t) => {
    const seed = 20261121;
    t.diagnostic(`seed ${seed}`);
    const first = await disturbed(seed);
    assert.deepEqual(await disturbed(seed), first);
    assert.notDeepEqual(await disturbed(seed + 1), first);
    assert.equal(new Set(first.map(({ kind }) => kind)).size, 5, "every kind was drawn");
  });

  test("disturbs again and again, until told to stop", async () => {
    const time = new FakeTime();
    const wire = await Wire.start({ time });
    const { client, server } = await wire.connect();
    const stop = wire.proxy.disturbEvery([10, 20], ["stall", "throttle", "delay"], 50);
    time.advance(1_000);
    const { length } = wire.proxy.deeds;
    assert.ok(length >= 50 && length <= 100, `${length} faults`);
    stop();
    time.advance(1_000);
    assert.equal(wire.proxy.deeds.length, length);
    client.socket.write("all over");
    await eventually(() => server.text === "all over", "bytes after the faults");
    await wire.stop();
  });
});

/** Writes until so much waits in the sender; returns how much was written. */
async function fillUp(socket: Socket, waiting: number, look: () => void): Promise<number> {
  const piece = Buffer.alloc(256 * KIB);
  let sent = 0;
  while (socket.writableLength < waiting) {
    assert.ok(sent < 1024 * MIB, "the sender's queue never grew");
    socket.write(piece);
    sent += piece.length;
    look();
    await new Promise(setImmediate);
    look();
  }
  return sent;
}

/** Forty faults to five connections, each of which is replaced when it is lost. */
async function disturbed(seed: number): Promise<Deed[]> {
  const wire = await Wire.start({ seed });
  for (let step = 0; step < 40; step += 1) {
    while (wire.proxy.whole.length < 5) await wire.connect();
    wire.proxy.disturb(undefined, 5);
  }
  await wire.stop();
  return wire.proxy.deeds;
}

/** A message as a socket gives it, and what it is about. */
interface Sent {
  data: Uint8Array;
  isBinary: boolean;
  stream: number;
  seq: number;
  position: number;
}

type Encoding = "flatbuffers" | "json";

interface Run {
  /** A hello, an ack of all streams, every ring frame. */
  messages: Sent[];
  reference: FrameReference;
  trades: number;
  book: number;
  quotes: number;
}

function control(message: object): Sent {
  return { data: Buffer.from(JSON.stringify(message)), isBinary: false, stream: -1, seq: 0, position: 0 };
}

/** Takes each ring frame of a log once, in order. */
function readRing(
  log: FrameLog,
  take: (bytes: Uint8Array, frame: FrameView, at: number, cursor: LogCursor) => void,
): void {
  const cursor = new LogCursor(log);
  const view = new FrameView();
  cursor.seek(0);
  while (cursor.next()) {
    const { ring, record } = cursor;
    const at = ring.placeOf(record);
    view.attach(ring.memory, at + ring.memory.i32[at >> 2]);
    take(ring.memory.u8.slice(at, at + ring.lengthOf(record)), view, at, cursor);
  }
  assert.equal(cursor.lost, 0);
}

const EPOCH = 7;

/** Six minutes of a market, which close bars; every frame reaches the client. */
function goodRun(encoding: Encoding, seed: number): Run {
  const random = new Random(seed);
  const indicators = new IndicatorSet();
  const bench = new EngineBench(BINANCE_RULES, { indicators });
  const instrument = bench.start();
  bench.snapshot(instrument, 100, [[99, 1]], [[101, 1]]);
  for (let step = 1; step <= 360; step += 1) {
    bench.trade(instrument, random.integer(9_000, 11_000) / 100, { size: random.integer(1, 1000) / 1000 });
    bench.delta(instrument, 100 + step, 100 + step, [[random.integer(90, 99), random.integer(0, 9)]], [[101, step]]);
    bench.quote(instrument, 1_000 + step, [99, step, 101, random.integer(1, 9)]);
    bench.advance(random.integer(500_000, 1_500_000));
  }
  const described = bench.engine.bars.describeIndicators([0, 1, 2]);
  const twin = new JsonTwin(bench.engine.catalog, (id) => {
    const known = described.find((each) => each.id === id);
    return known === undefined ? undefined : { ...known, style: () => ({}) };
  });
  const reference = new FrameReference();
  const frames: Sent[] = [];
  readRing(bench.log, (bytes, { stream, seq, position }, at, { ring }) => {
    reference.add(bytes);
    if (stream === DIRECTORY_STREAM) return;
    const data = encoding === "json" ? Buffer.from(twin.encode(ring.memory, at, true)) : bytes;
    frames.push({ data, isBinary: encoding !== "json", stream, seq, position });
  });
  const streams = [...new Set(frames.map(({ stream }) => stream))].map((stream) => ({
    stream,
    seq: 0,
    channel: channelOfSlot(slotIn(stream)),
    symbol: bench.engine.catalog.get(instrumentOf(stream))?.symbol ?? "",
    exchange: "venue",
    timeframe: TIMEFRAMES[timeframeOfSlot(slotIn(stream))] ?? "",
    ...(slotIn(stream) === SLOT_ORDERBOOK ? { depth: "full" } : {}),
  }));
  const messages = [
    control({ type: "hello", epoch: EPOCH }),
    control({ type: "system", status: "subscribed", id: 1, streams, indicators: described }),
    ...frames,
  ];
  const [trades, book, quotes] = [SLOT_TRADES, SLOT_ORDERBOOK, SLOT_QUOTES].map((slot) =>
    streamOf(instrument.id, slot),
  );
  return { messages, reference, trades, book, quotes } as Run;
}

/** All that the record finds, as the messages come and against the reference. */
function judge(messages: readonly Sent[], reference: FrameReference): Finding[] {
  const record = new ClientRecord();
  for (const { data, isBinary } of messages) record.take(data, isBinary);
  return [...record.findings, ...record.compareWith(reference)];
}

function kindsOf(findings: readonly Finding[]): FindingKind[] {
  return [...new Set(findings.map(({ kind }) => kind))].sort();
}

/** Where the frames of a stream lie among the messages, by their sequence from 1. */
function placesOf(messages: readonly Sent[], stream: number): number[] {
  return messages.flatMap((each, index) => (each.stream === stream ? [index] : []));
}

/** A frame of the stream that stands for `from` to `to`, in JSON: its content is that of any other. */
function derived(stream: number, from: number, to: number, book?: "delta" | "snapshot"): Sent {
  const rest = book === undefined ? { type: "quote" } : { type: "orderbook", update_type: book };
  const name = { exchange: "venue", symbol: "BTC/USDT" };
  return control({ ...rest, ...name, stream, epoch: EPOCH, position: 0, seq: to, from_seq: from, flags: ["derived"] });
}

/** A run with the frames `first` to `last` of a stream taken out, and something else in their place. */
function without({ messages }: Run, stream: number, first: number, last: number, instead: readonly Sent[]): Sent[] {
  return messages.flatMap((each) => {
    const isOut = each.stream === stream && each.seq >= first && each.seq <= last;
    if (!isOut) return [each];
    return each.seq === first ? instead : [];
  });
}

function gap(stream: number, from: number | null, to: number | null, reason = "lag"): Sent {
  return control({ type: "gap", stream, from, to, reason });
}

/** One mutation: what the client gets of a run, and every kind of finding that this must make. */
type Mutation = (run: Run, random: Random) => { messages: readonly Sent[]; kinds: readonly FindingKind[] };

/** A stretch of a stream with frames before and behind it. */
function stretch(random: Random): [from: number, to: number] {
  const from = random.integer(3, 300);
  return [from, from + random.integer(1, 20)];
}

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  "nothing is changed": ({ messages }) => ({ messages, kinds: [] }),
  "a frame is missing": (run, random) => {
    const [from] = stretch(random);
    return { messages: without(run, random.pick([run.trades, run.book, run.quotes]), from, from, []), kinds: LOST };
  },
  "the last frame is missing": (run) => {
    const last = placesOf(run.messages, run.trades).length;
    return { messages: without(run, run.trades, last, last, []), kinds: ["missing"] };
  },
  "a frame comes twice": ({ messages }, random) => {
    const from = random.integer(2, messages.length - 1);
    const again = random.integer(from + 1, messages.length);
    return { messages: messages.toSpliced(again, 0, messages[from] as Sent), kinds: ["duplicate"] };
  },
  "two frames of a stream change places": ({ messages, trades, book }, random) => {
    const places = placesOf(messages, random.pick([trades, book]));
    const index = random.integer(0, places.length - 2);
    const [one, other] = [places[index], places[index + 1]] as [number, number];
    const swapped = messages.with(one, messages[other] as Sent).with(other, messages[one] as Sent);
    return { messages: swapped, kinds: ["hole", "late"] };
  },
  "frames are missing, and a gap says so": (run, random) => {
    const [from, to] = stretch(random);
    const told = gap(run.trades, random.pick([from, null]), to, random.pick(["lag", "window"]));
    return { messages: without(run, run.trades, from, to, [told]), kinds: [] };
  },
  "a gap goes one too far": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.trades, from, to, [gap(run.trades, from, to + 1)]), kinds: ["wrong_gap"] };
  },
  "a gap ends one too soon": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.trades, from, to, [gap(run.trades, from, to - 1)]), kinds: LOST };
  },
  "a gap begins one too late": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.trades, from, to, [gap(run.trades, from + 1, to)]), kinds: LOST };
  },
  "a gap begins one too soon": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.trades, from, to, [gap(run.trades, from - 1, to)]), kinds: ["wrong_gap"] };
  },
  "a gap is upside down": (run, random) => {
    const [from, to] = stretch(random);
    const messages = without(run, run.trades, from, to, [gap(run.trades, to, from)]);
    return { messages, kinds: ["hole", "missing", "wrong_gap"] };
  },
  "a gap is of another stream": (run, random) => {
    const [from, to] = stretch(random);
    const messages = without(run, run.trades, from, to, [gap(run.book, from, to)]);
    // The book's frames of that time come before or after, and its changes without a whole book.
    return { messages, kinds: ["hole", "missing", "wrong_gap", "no_snapshot"] };
  },
  "a gap is of no stream that was announced": (run, random) => {
    const [from, to] = stretch(random);
    const messages = without(run, run.trades, from, to, [gap(1 << 20, from, to)]);
    return { messages, kinds: ["hole", "missing", "unannounced"] };
  },
  "a gap comes after the frame behind it": (run, random) => {
    const [from, to] = stretch(random);
    const messages = without(run, run.trades, from, to, []);
    const behind = messages.findIndex(({ stream, seq }) => stream === run.trades && seq === to + 1);
    return { messages: messages.toSpliced(behind + 1, 0, gap(run.trades, from, to)), kinds: ["hole", "wrong_gap"] };
  },
  "a gap names what came": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: [...run.messages, gap(run.trades, from, to)], kinds: ["wrong_gap"] };
  },
  "a gap names what never was": (run) => {
    const last = placesOf(run.messages, run.trades).length;
    return { messages: [...run.messages, gap(run.trades, last + 1, last + 3)], kinds: ["wrong_gap"] };
  },
  "a book has a gap, then comes whole": (run, random) => {
    const [from, to] = stretch(random);
    const instead = [gap(run.book, from, to), derived(run.book, 0, to, "snapshot")];
    return { messages: without(run, run.book, from, to, instead), kinds: [] };
  },
  "a book has a gap, and goes on": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.book, from, to, [gap(run.book, from, to)]), kinds: ["no_snapshot"] };
  },
  "a book has a gap, then comes whole as it was before": (run, random) => {
    const [from, to] = stretch(random);
    const instead = [gap(run.book, from, to), derived(run.book, 0, to - 1, "snapshot")];
    return { messages: without(run, run.book, from, to, instead), kinds: ["no_snapshot"] };
  },
  "a book comes whole, and no gap says what is missing": (run, random) => {
    const [from, to] = stretch(random);
    const instead = [derived(run.book, 0, to, "snapshot")];
    return { messages: without(run, run.book, from, to, instead), kinds: ["missing"] };
  },
  "a derived frame stands for quotes": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.quotes, from, to, [derived(run.quotes, from, to)]), kinds: [] };
  },
  "a derived frame stands for some of the quotes": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.quotes, from, to, [derived(run.quotes, from + 1, to)]), kinds: LOST };
  },
  "a derived frame stands for trades": (run, random) => {
    const [from, to] = stretch(random);
    return { messages: without(run, run.trades, from, to, [derived(run.trades, from, to)]), kinds: ["missing"] };
  },
  "a stream is not announced": ({ messages, quotes }) => {
    const ack = JSON.parse(Buffer.from((messages[1] as Sent).data).toString()) as { streams: { stream: number }[] };
    ack.streams = ack.streams.filter(({ stream }) => stream !== quotes);
    return { messages: messages.with(1, control(ack)), kinds: ["unannounced"] };
  },
  "a message is cut short": ({ messages }, random) => {
    const place = random.pick(placesOf(messages, (messages[2] as Sent).stream));
    const message = messages[place] as Sent;
    const data = message.data.slice(0, message.data.length - random.integer(1, 7));
    return { messages: messages.toSpliced(place + 1, 0, { ...message, data }), kinds: ["malformed"] };
  },
};

const LOST: readonly FindingKind[] = ["hole", "missing"];

for (const encoding of ["flatbuffers", "json"] as const) {
  describe(`the record of a client of ${encoding}`, () => {
    const seed = 41;
    const run = goodRun(encoding, seed);
    for (const [name, mutate] of Object.entries(MUTATIONS)) {
      test(name, (t) => {
        t.diagnostic(`seed ${seed}`);
        const random = new Random(seed);
        for (let round = 0; round < 8; round += 1) {
          const { messages, kinds } = mutate(run, random);
          const findings = judge(messages, run.reference);
          assert.deepEqual(kindsOf(findings), [...kinds].sort(), JSON.stringify(findings.slice(0, 5)));
        }
      });
    }

    test("the run has every kind of frame that an engine alone makes, and is long enough", () => {
      const channels = new Set(run.messages.map(({ stream }) => (stream < 0 ? "" : channelOfSlot(slotIn(stream)))));
      for (const channel of ["trades", "orderbook", "quotes", "bars", "indicators", "state"]) {
        assert.ok(channels.has(channel as "trades"), channel);
      }
      for (const stream of [run.trades, run.book, run.quotes]) assert.ok(placesOf(run.messages, stream).length > 330);
    });

    test("says which sequences are missing", () => {
      const messages = without(run, run.trades, 10, 14, []);
      const record = new ClientRecord();
      for (const { data, isBinary } of messages) record.take(data, isBinary);
      assert.deepEqual(record.stream(run.trades)?.holes(), [[10, 14]]);
      const told = new ClientRecord();
      const some = without(run, run.trades, 10, 14, [gap(run.trades, 10, 14)]);
      const none = without({ ...run, messages: some }, run.quotes, 20, 24, [derived(run.quotes, 20, 24)]);
      for (const { data, isBinary } of none) told.take(data, isBinary);
      assert.deepEqual([told.stream(run.trades)?.holes(), told.stream(run.quotes)?.holes()], [[], []]);
      const [found, ...rest] = record.compareWith(run.reference);
      assert.deepEqual([found?.kind, found?.from, found?.to, rest], ["missing", 10, 14, []]);
      assert.equal(record.isLevelWith(run.reference), true);
    });
  });
}

test("a byte that is changed is found, whichever it is", () => {
  const { messages, reference, trades } = goodRun("flatbuffers", 42);
  const place = placesOf(messages, trades)[100] as number;
  const message = messages[place] as Sent;
  for (let at = 0; at < message.data.length; at += 1) {
    for (const bit of [1, 128]) {
      const data = Buffer.from(message.data);
      data[at] = (data[at] as number) ^ bit;
      const findings = judge(messages.with(place, { ...message, data }), reference);
      assert.notEqual(findings.length, 0, `byte ${at}, bit ${bit}`);
    }
  }
});

test("a digit that is changed in JSON is found, whichever it is", () => {
  const { messages, reference, trades, book } = goodRun("json", 43);
  for (const stream of [trades, book]) {
    const place = placesOf(messages, stream)[100] as number;
    const message = messages[place] as Sent;
    const text = Buffer.from(message.data).toString();
    for (const { index } of text.matchAll(/\d/g)) {
      const changed = `${text.slice(0, index)}${(Number(text[index]) + 1) % 10}${text.slice(index + 1)}`;
      const findings = judge(messages.with(place, { ...message, data: Buffer.from(changed) }), reference);
      assert.notEqual(findings.length, 0, changed);
    }
  }
});

describe("a record over several connections", () => {
  const run = goodRun("flatbuffers", 44);
  const { messages, reference, trades } = run;
  const ack = JSON.parse(Buffer.from((messages[1] as Sent).data).toString()) as { streams: { seq: number }[] };
  const cut = Math.floor(messages.length / 2);
  const level = cut + 200;
  const position = (messages[cut - 1] as Sent).position;

  /** Cut in the middle, resumed from a position, level again 200 frames later; then live. */
  function resumed(from: number, told = position): Sent[] {
    return [
      ...messages.slice(0, cut),
      control({ type: "hello", epoch: EPOCH }),
      control({ ...ack, streams: ack.streams.map((each) => ({ ...each, seq: 1_000 })) }),
      control({ type: "replay_begin", id: 1, epoch: EPOCH, from_position: told, truncated: false }),
      ...messages.slice(from, level),
      control({ type: "replay_end", id: 1, position: (messages[level] as Sent).position }),
      ...messages.slice(level),
    ];
  }

  test("a resume that brings everything once is a good run", () => {
    assert.deepEqual(judge(resumed(cut), reference), []);
  });

  test("a resume that is cut too is resumed by the next", () => {
    const within = cut + 50;
    const first = resumed(cut).slice(0, cut + 3 + 50);
    const { position: reached } = messages[within - 1] as Sent;
    const begin = { type: "replay_begin", id: 1, epoch: EPOCH, from_position: reached, truncated: false };
    const next = [control({ type: "hello", epoch: EPOCH }), messages[1] as Sent, control(begin)];
    assert.deepEqual(judge([...first, ...next, ...messages.slice(within)], reference), []);
  });

  test("a resume from too late loses, from too early repeats", () => {
    assert.deepEqual(kindsOf(judge(resumed(cut + 20), reference)), LOST);
    const early = (messages[cut - 21] as Sent).position;
    assert.deepEqual(kindsOf(judge(resumed(cut - 20, early), reference)), ["duplicate"]);
    assert.deepEqual(kindsOf(judge(resumed(cut, position + 1), reference)), ["bracket"]);
  });

  test("brackets must match", () => {
    const end = control({ type: "replay_end", id: 9, position });
    assert.deepEqual(kindsOf(judge([...messages, end], reference)), ["bracket"]);
    const begin = control({ type: "replay_begin", id: 9, epoch: EPOCH, from_position: 1e9, truncated: false });
    assert.deepEqual(kindsOf(judge([...messages, begin, begin], reference)), ["bracket"]);
    const early = control({ type: "replay_end", id: 9, position: 1 });
    assert.deepEqual(kindsOf(judge([...messages, begin, early], reference)), ["bracket"]);
  });

  test("a connection that does not resume loses, unless the client lets go", () => {
    const rest = messages.slice(level);
    const record = new ClientRecord();
    const letGo = new ClientRecord();
    const next = [
      control({ type: "hello", epoch: EPOCH }),
      control({
        ...ack,
        streams: (ack.streams as { stream: number; seq: number }[]).map((each) => ({
          ...each,
          seq: messages.slice(0, level).filter(({ stream }) => stream === each.stream).length,
        })),
      }),
      ...rest,
    ];
    for (const { data, isBinary } of messages.slice(0, cut)) {
      record.take(data, isBinary);
      letGo.take(data, isBinary);
    }
    letGo.release();
    for (const { data, isBinary } of next) {
      record.take(data, isBinary);
      letGo.take(data, isBinary);
    }
    assert.deepEqual(kindsOf([...record.findings, ...record.compareWith(reference)]), LOST);
    assert.deepEqual([...letGo.findings, ...letGo.compareWith(reference)], []);
  });

  test("what a restart lost must be told, and the next epoch counts from anew", () => {
    const both = new FrameReference();
    for (const { data, stream } of messages) if (stream >= 0) both.add(data);
    const after = messages.slice(2).map((each) => ({ ...each, data: withEpoch(each.data, EPOCH + 1) }));
    for (const { data } of after) both.add(data);
    const hello = control({ type: "hello", epoch: EPOCH + 1 });
    const streams = [...new Set(after.map(({ stream }) => stream))];
    const gaps = streams.map((stream) => gap(stream, null, null, "restart"));
    // The numbers of streams are an epoch's own: here all are others after the restart, and only the names are the same.
    const renumber = (stream: number) => stream + 32_000;
    const nextAck = {
      ...ack,
      streams: (ack.streams as unknown as { stream: number }[]).map((each) => ({
        ...each,
        stream: renumber(each.stream),
      })),
    };
    const renumbered = streams.map((stream) => gap(renumber(stream), null, null, "restart"));
    const start = [...messages.slice(0, cut), hello, control(nextAck)];
    assert.deepEqual(judge([...start, ...renumbered], both), []);
    assert.deepEqual(
      kindsOf(judge([...start, ...renumbered.filter((_gap, index) => streams[index] !== trades)], both)),
      ["missing"],
    );
    const before = messages.slice(0, cut);
    assert.deepEqual(judge([...before, hello, messages[1] as Sent, ...gaps, ...after], both), []);
    const but = gaps.filter((_gap, index) => streams[index] !== trades);
    const findings = judge([...before, hello, messages[1] as Sent, ...but, ...after], both);
    assert.deepEqual(
      findings.map(({ kind, epoch, stream }) => [kind, epoch, stream]),
      [["missing", EPOCH, trades]],
    );
    const lacking = after.filter(({ stream, seq }) => stream !== trades || seq < 300);
    const last = placesOf(after, trades).length;
    const named = { type: "gap", stream: trades, from: 300, to: last, reason: "restart", epoch: EPOCH + 1 };
    const all = [...before, hello, messages[1] as Sent, ...gaps, ...lacking, control(named)];
    assert.deepEqual(judge(all, both), [], "of the epoch that it names");
    const stray = judge([...before, after[0] as Sent], both);
    assert.ok(kindsOf(stray).includes("wrong_epoch"));
  });

  test("what comes between an unsubscription and the next subscription is not owed", () => {
    const places = placesOf(messages, trades);
    const [from, to] = [places[100], places[150]] as [number, number];
    const again = { type: "system", status: "subscribed", id: 2, streams: [{ stream: trades, seq: 151 }] };
    const other = (each: Sent) => each.stream !== trades;
    const all = [
      ...messages.slice(0, 1),
      control({
        ...ack,
        streams: (ack.streams as { stream: number; seq: number }[]).filter((each) => each.stream !== trades),
      }),
      control({ ...again, id: "t", streams: [{ stream: trades, seq: 0 }] }),
      ...messages.slice(2, from),
      control({ type: "system", status: "unsubscribed", id: 3, subscription: "t" }),
      ...messages.slice(from, to + 1).filter(other),
    ];
    assert.deepEqual(judge([...all, control(again), ...messages.slice(to + 1)], reference), []);
    assert.deepEqual(judge([...all, ...messages.slice(to + 1).filter(other)], reference), []);
    assert.deepEqual(kindsOf(judge([...all, ...messages.slice(to + 1)], reference)), LOST);
    const second = control({ ...ack, id: 2 });
    const left = control({ type: "system", status: "unsubscribed", id: 3, subscription: 2 });
    const anew = [...messages.slice(0, cut), control({ type: "hello", epoch: EPOCH }), second];
    assert.deepEqual(judge([...anew, left], reference), [], "subscriptions end with their connection");
    assert.deepEqual(kindsOf(judge(anew, reference)), ["missing"]);
  });
});

describe("what else a connection may bring", () => {
  const seed = 48;
  const run = goodRun("flatbuffers", seed);
  const { messages, reference, trades, book, quotes } = run;
  const ack = JSON.parse(Buffer.from((messages[1] as Sent).data).toString()) as { streams: { stream: number }[] };
  const only = (stream: number, seq: number, from: number) => [
    control({ type: "hello", epoch: EPOCH }),
    control({ ...ack, streams: [{ stream, seq }] }),
    ...messages.filter((each) => each.stream === stream && each.seq >= from),
  ];

  test("both encodings of one run are one record", () => {
    const json = goodRun("json", seed).messages;
    const half = Math.floor(messages.length / 2);
    assert.deepEqual(judge([...messages.slice(0, half), ...json.slice(half)], reference), []);
    const again = [...messages, json[half] as Sent];
    assert.deepEqual(kindsOf(judge(again, reference)), ["duplicate"]);
  });

  test("a frame in JSON under another name is found", () => {
    const place = placesOf(messages, trades)[50] as number;
    const json = goodRun("json", seed).messages;
    const message = json[place] as Sent;
    for (const [name, other] of [
      ["BTC/USDT", "ETH/USDT"],
      ['"exchange":"venue"', '"exchange":"avenue"'],
    ] as const) {
      const data = Buffer.from(Buffer.from(message.data).toString().replace(name, other));
      assert.deepEqual(kindsOf(judge(json.with(place, { ...message, data }), reference)), ["changed"], name);
    }
  });

  test("a frame that comes again with another content is both", () => {
    const other = goodRun("flatbuffers", seed + 1).messages;
    const place = placesOf(messages, trades)[50] as number;
    const twin = other.find(({ stream, seq }) => stream === trades && seq === 51) as Sent;
    assert.deepEqual(kindsOf(judge(messages.toSpliced(place + 1, 0, twin), reference)), ["changed", "duplicate"]);
  });

  test("what the ack says is held is not owed, what comes after it is", () => {
    assert.deepEqual(judge(only(trades, 100, 101), reference), []);
    assert.deepEqual(kindsOf(judge(only(trades, 99, 101), reference)), LOST);
  });

  test("the first whole book says where the stream begins, a later one does not", () => {
    const [hello, told, ...rest] = only(book, 100, 104) as [Sent, Sent, ...Sent[]];
    const whole = derived(book, 0, 103, "snapshot");
    assert.deepEqual(judge([hello, told, whole, whole, ...rest], reference), []);
    const later = [hello, told, derived(book, 0, 101, "snapshot"), whole, ...rest];
    assert.deepEqual(kindsOf(judge(later, reference)), ["missing"]);
  });

  test("a replay may begin before the ack, and must then be whole", () => {
    const [hello, told, ...rest] = only(trades, 300, 101) as [Sent, Sent, ...Sent[]];
    const { position } = messages.find((each) => each.stream === trades && each.seq === 100) as Sent;
    const begin = control({ type: "replay_begin", id: 1, epoch: EPOCH, from_position: position, truncated: false });
    assert.deepEqual(judge([hello, told, begin, ...rest], reference), []);
    const lacking = rest.filter(({ seq }) => seq !== 200);
    assert.deepEqual(kindsOf(judge([hello, told, begin, ...lacking], reference)), LOST);
    assert.deepEqual(kindsOf(judge([hello, told, ...rest], reference)), ["late"], "without a replay");
  });

  test("a stream that a second subscription by the same id leaves out is not owed", () => {
    const place = placesOf(messages, trades)[100] as number;
    const streams = ack.streams.filter(({ stream }) => stream !== trades);
    const rest = messages.slice(place).filter(({ stream }) => stream !== trades);
    assert.deepEqual(judge([...messages.slice(0, place), control({ ...ack, streams }), ...rest], reference), []);
    assert.deepEqual(kindsOf(judge([...messages.slice(0, place), ...rest], reference)), ["missing"]);
  });

  test("a depth is state, the whole book is not", () => {
    const streams = ack.streams.map((each) => (each.stream === book ? { ...each, depth: 20 } : each));
    const tier = [derived(book, 0, 100, "snapshot"), derived(book, 101, 1_000, "delta")];
    const rest = messages.slice(2).filter(({ stream }) => stream !== book);
    const start = [messages[0] as Sent, control({ ...ack, streams })];
    assert.deepEqual(judge([...start, ...tier, ...rest], reference), []);
    assert.deepEqual(kindsOf(judge([...messages.slice(0, 2), ...tier, ...rest], reference)), ["missing"]);
  });

  test("a gap of a replay is of the replay's epoch, and one that names its epoch is of that", () => {
    const half = placesOf(messages, trades)[200] as number;
    const last = placesOf(messages, trades).length;
    const next = control({ type: "hello", epoch: EPOCH + 1 });
    const begin = control({ type: "replay_begin", id: 1, epoch: EPOCH, from_position: 0, truncated: true });
    const rest = messages.slice(half).filter(({ stream }) => stream !== trades);
    const held = messages.slice(0, half);
    const told = (each: Sent[]) => kindsOf(judge([...held, next, begin, ...each, ...rest], reference));
    assert.deepEqual(told([gap(trades, 201, last, "window")]), []);
    assert.deepEqual(told([]), ["missing"]);
    const named = control({ type: "gap", stream: trades, from: 201, to: last, reason: "restart", epoch: EPOCH });
    assert.deepEqual(kindsOf(judge([...held, ...rest, next, named], reference)), []);
  });

  test("a frame that the reference lacks, and a text that is no message, are findings", () => {
    const other = new FrameReference();
    for (const { data, stream, seq } of messages) if (stream >= 0 && (stream !== quotes || seq < 100)) other.add(data);
    assert.deepEqual(kindsOf(judge(messages, other)), ["invented"]);
    const noise = { ...(messages[0] as Sent), data: Buffer.from("{") };
    assert.deepEqual(kindsOf(judge([...messages, noise], reference)), ["malformed"]);
  });

  test("is level only when every stream is, and no replay is open", () => {
    const record = new ClientRecord();
    const [last, ...before] = [...messages].reverse() as [Sent, ...Sent[]];
    for (const { data, isBinary } of before.reverse()) record.take(data, isBinary);
    assert.equal(record.isLevelWith(reference), false);
    const later = new ClientRecord();
    for (const { data, isBinary } of messages.slice(0, 100)) later.take(data, isBinary);
    later.take(control({ type: "hello", epoch: EPOCH + 1 }).data, false);
    assert.equal(later.isLevelWith(reference), true, "an epoch that is over is not waited for");
    record.take(last.data, last.isBinary);
    assert.equal(record.isLevelWith(reference), true);
    record.take(control({ type: "replay_begin", id: 1, epoch: EPOCH, from_position: 0 }).data, false);
    assert.equal(record.isLevelWith(reference), false);
  });
});

/** The same frame in another epoch. */
function withEpoch(bytes: Uint8Array, epoch: number): Uint8Array {
  const memory = scratchMemory(bytes.length);
  memory.u8.set(bytes);
  const view = new FrameView();
  view.attach(memory, memory.i32[0]);
  memory.i32[view.table.place(2) >> 2] = epoch;
  return memory.u8;
}

test("the fields of JSON and of the bytes are the same, of random frames of every payload", (t) => {
  const seed = 45;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const writer = new FrameWriter(random);
  const twin = new JsonTwin(new Catalog(), () => undefined);
  // Random lanes lie anywhere; the runs above have an engine's indicators.
  for (const payload of PAYLOADS.filter((name) => name !== "Indicators")) {
    const record = new ClientRecord({ anyStart: true });
    const reference = new FrameReference();
    for (let seq = 1; seq <= 200; seq += 1) {
      const frame = randomFrame(random, payload);
      const flags = ((frame.header.flags as number) & ~FLAG_DERIVED) >>> 0;
      Object.assign(frame.header, { stream: 65, epoch: 9, position: seq, seq, from_seq: seq, flags });
      const bytes = writer.write(frame);
      reference.add(bytes);
      record.take(Buffer.from(twin.encode(writer.memory, bytes.byteOffset, true)), false);
    }
    assert.equal(record.stream(65)?.received.count, 200);
    assert.deepEqual([...record.findings, ...record.compareWith(reference)], [], payload);
  }
});

test("ranges are what a set of numbers is", (t) => {
  const seed = 46;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 200; round += 1) {
    const ranges = new Ranges();
    const numbers = new Set<number>();
    for (let step = 0; step < 12; step += 1) {
      const from = random.integer(0, 60);
      const to = from + random.integer(-1, 8);
      ranges.add(from, to);
      for (let value = from; value <= to; value += 1) numbers.add(value);
    }
    const all = Array.from({ length: 80 }, (_, value) => value);
    assert.deepEqual(
      all.filter((value) => ranges.has(value)),
      all.filter((value) => numbers.has(value)),
    );
    const [from, to] = [random.integer(0, 40), random.integer(40, 79)];
    const left = ranges.without(from, to);
    assert.deepEqual(
      left.flatMap(([low, high]) => Array.from({ length: high - low + 1 }, (_, index) => low + index)),
      all.filter((value) => value >= from && value <= to && !numbers.has(value)),
    );
    for (const [index, [low]] of left.entries()) assert.ok(index === 0 || low > (left[index - 1]?.[1] as number) + 1);
  }
});

test("clients of a server behind stalls, throttles and delays get all there is", async (t) => {
  const seed = 47;
  t.diagnostic(`seed ${seed}`);
  const served = await serve();
  const proxy = await FaultProxy.start({ target: served.port, random: new Random(seed) });
  const [venue] = served.venues as [(typeof served.venues)[0]];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  const url = `ws://127.0.0.1:${proxy.port}`;
  const clients = ["/stream flatbuffers", "/stream json", "/raw flatbuffers"].map((each) => {
    const [path, encoding] = each.split(" ") as [string, Encoding];
    const record = new ClientRecord({ anyStart: path === "/raw" });
    const socket = new WebSocket(`${url}${path}?time_unit=us`, `tickwire.v1.${encoding}`, { perMessageDeflate: false });
    socket.on("message", (data: Buffer, isBinary) => record.take(data, isBinary));
    const request = { type: "subscribe", id: 1, channels: ["trades", "orderbook", "quotes"], symbols: ["A0/USDT"] };
    if (path === "/stream") socket.on("open", () => socket.send(JSON.stringify({ ...request, depth: "full" })));
    return { socket, record, path };
  });
  const [binary, json, raw] = clients as [(typeof clients)[0], (typeof clients)[0], (typeof clients)[0]];
  const isReady = ({ record, path }: (typeof clients)[0]) =>
    path === "/raw" ? record.frames > 0 : record.streams.length === 3 && record.frames > 0;
  await eventually(() => clients.every(isReady), "the clients to be subscribed");
  const stop = proxy.disturbEvery([1, 10], ["stall", "throttle", "delay"], 20);
  for (let step = 1; step <= 2_000; step += 1) {
    venue.everything(id, step);
    if (step % 10 === 0) await settled(served);
    if (step % 10 === 0) await new Promise(setImmediate);
  }
  await eventually(() => proxy.deeds.length >= 20, "twenty faults");
  stop();
  proxy.heal();
  const { log } = served.engine.frames;
  let reference = new FrameReference();
  let position = -1;
  // A bar that closes meanwhile, the first of its timeframe, has frames that are compared as well.
  while (position !== log.position) {
    await settled(served);
    position = log.position;
    const now = new FrameReference();
    readRing(log, (bytes) => now.add(bytes));
    await eventually(() => clients.every(({ record }) => record.isLevelWith(now)), "the clients to be level");
    reference = now;
  }
  for (const { record } of clients) {
    assert.deepEqual([...record.findings, ...record.compareWith(reference)], []);
  }
  for (const { record } of [binary, json]) {
    assert.equal(record.streams.reduce((sum, { received }) => sum + received.count, 0) >= 6_000, true);
  }
  assert.ok(raw.record.frames >= 6_000);
  for (const { socket } of clients) socket.terminate();
  await proxy.close();
  await served.stop();
});
