/** The native fan-out server: every client gets every frame, whole and in order, however slowly it reads. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { encodeFrameFile, tradeFrames } from "../loadtest/frame-file.ts";
import { Receiver } from "../loadtest/receiver.ts";
import { nativeMissing, nativeProgram } from "../loadtest/receiver-programs.ts";
import type { TradeFrame } from "./gateway.ts";
import { eventually, FrameDecoder } from "./gateway.ts";

const missing = await nativeMissing();
const skip = missing === undefined ? false : `no native programs: ${missing}`;
const folder = mkdtempSync(join(tmpdir(), "fanout-"));
const frames = skip === false ? tradeFrames(100) : [];
const file = join(folder, "frames");
writeFileSync(file, encodeFrameFile(frames));

interface Stats {
  frames: number;
  batches: number;
  clients: number;
  waits: number;
  backlogBytes: number;
  lateUs: number;
  cpuMs: number;
}

/** A fan-out server in a process of its own. */
class Fanout {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  port = 0;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(...args: string[]): Promise<Fanout> {
    const { command } = await nativeProgram("fanout");
    const fanout = new Fanout(spawn(command, ["--port", "0", "--frames", file, ...args]));
    const { event, port } = await fanout.#next<{ event: string; port: number }>();
    strictEqual(event, "listening");
    fanout.port = port;
    return fanout;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/any`;
  }

  async #next<T>(): Promise<T> {
    return JSON.parse((await this.#lines.next()).value as string) as T;
  }

  say(command: "start" | "stop"): void {
    this.#child.stdin.write(`${command}\n`);
  }

  async stats(): Promise<Stats> {
    this.#child.stdin.write("stats\n");
    const { event, ...stats } = await this.#next<Stats & { event: string }>();
    strictEqual(event, "stats");
    return stats;
  }

  async stop(): Promise<void> {
    const closed = once(this.#child, "close");
    this.#child.stdin.write("quit\n");
    deepStrictEqual(await closed, [0, null]);
  }
}

/** A client that keeps all frames. */
class Reader {
  readonly frames: TradeFrame[] = [];
  readonly texts: string[] = [];
  closeCode = 0;
  pongs = 0;
  readonly socket: WebSocket;
  readonly #decoder = new FrameDecoder();

  private constructor(url: string, protocols: string[]) {
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false });
    this.socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) this.frames.push(this.#decoder.decode(data) as TradeFrame);
      else this.texts.push(data.toString());
    });
    this.socket.on("pong", () => {
      this.pongs += 1;
    });
    this.socket.on("close", (code) => {
      this.closeCode = code;
    });
  }

  static async open(url: string, protocols: string[] = []): Promise<Reader> {
    const reader = new Reader(url, protocols);
    await once(reader.socket, "open");
    return reader;
  }
}

test("a batch is the engine's own frames, with new numbers, round and round", { skip }, async () => {
  const fanout = await Fanout.start("--batch", "64");
  const reader = await Reader.open(fanout.url, ["tickwire.v1.flatbuffers", "other"]);
  strictEqual(reader.socket.protocol, "tickwire.v1.flatbuffers");
  for (const text of ['{"id":1,"type":"subscribe","x":{"type":"no"}}', '{"type":"ping"}', '{"x":"subscribe"}', "{"]) {
    reader.socket.send(text);
  }
  reader.socket.send(Buffer.from('{"type":"subscribe"}'));
  reader.socket.send(`{"type":"subscribe","long":"${"x".repeat(70_000)}"}`);
  reader.socket.ping();
  await eventually(() => reader.pongs === 1, "the pong");
  const ack = '{"type":"system","status":"subscribed","streams":[]}';
  deepStrictEqual(reader.texts, [ack, ack]);
  const startedUs = Date.now() * 1000;
  fanout.say("start");
  await eventually(() => reader.frames.length > 1000, "frames");
  fanout.say("stop");
  const { frames: published, batches, clients } = await fanout.stats();
  await eventually(() => reader.frames.length === published, "all frames");
  strictEqual(clients, 1);
  ok(batches >= published / 64 && batches <= published / 32, `${published} frames in ${batches} batches`);
  const decoder = new FrameDecoder();
  for (const [index, frame] of reader.frames.entries()) {
    const { seq, from_seq, position, ts_exchange, ts_receive, ts_publish, ...rest } = frame;
    deepStrictEqual([seq, from_seq, position], [index + 1, index + 1, index + 1]);
    ok(ts_publish >= startedUs - 1000 && ts_publish <= Date.now() * 1000 + 1000);
    deepStrictEqual([ts_exchange, ts_receive], [ts_publish, ts_publish]);
    const { stream, price, size, trade_id } = decoder.decode(frames[index % frames.length] as Buffer) as TradeFrame;
    deepStrictEqual([rest.stream, rest.price, rest.size, rest.trade_id], [stream, price, size, trade_id]);
  }
  reader.socket.close(1000);
  await eventually(() => reader.closeCode === 1000, "the close");
  strictEqual((await fanout.stats()).clients, 0);
  await fanout.stop();
});

test("many clients get all of it, and a slow one makes all wait", { skip, timeout: 60_000 }, async () => {
  // A batch of 270 KB is more than a socket takes at once, and the backlog more than it takes when it goes on.
  const large = join(folder, "large");
  writeFileSync(large, encodeFrameFile(tradeFrames(1500)));
  const fanout = await Fanout.start("--frames", large, "--batch", "1500", "--backlog", "8000000");
  delete process.env.TICKWIRE_RECEIVER;
  const send = ['{"type":"subscribe","id":1}'];
  const receiver = await Receiver.start({ url: fanout.url, clients: 8, form: "flatbuffers", send });
  const slow = await Reader.open(fanout.url);
  slow.socket.pause();
  fanout.say("start");
  let last = -1;
  // The sockets' buffers and the backlog are full when nothing is published any more.
  for (let stats = await fanout.stats(); stats.frames !== last || stats.frames === 0; stats = await fanout.stats()) {
    last = stats.frames;
    await sleep(100);
  }
  ok((await fanout.stats()).backlogBytes > 8_000_000);
  slow.socket.resume();
  await eventually(() => slow.frames.length > last + 10_000, "the slow one to go on");
  fanout.say("stop");
  const { frames: published, waits } = await fanout.stats();
  ok(waits > 0);
  await eventually(() => slow.frames.length === published, "all frames");
  strictEqual((slow.frames.at(-1) as TradeFrame).seq, published);
  let report = await receiver.report();
  while (report.leastFrames < published) report = await receiver.report();
  const { frames: received, holes, duplicates, mostFrames, errors } = report;
  const expected = { received: 8 * published, holes: 0, duplicates: 0, mostFrames: published, errors: {} };
  deepStrictEqual({ received, holes, duplicates, mostFrames, errors }, expected);
  // Who vanishes is forgotten.
  receiver.drop(8);
  slow.socket.terminate();
  while ((await fanout.stats()).clients > 0) await sleep(5);
  strictEqual((await fanout.stats()).backlogBytes, 0);
  await receiver.stop();
  await fanout.stop();
});

test("with a rate frames are due at fixed times, which they carry", { skip }, async () => {
  const fanout = await Fanout.start("--rate", "4000");
  const reader = await Reader.open(fanout.url);
  fanout.say("start");
  await eventually(() => reader.frames.length >= 2000, "frames");
  fanout.say("stop");
  const { frames: published } = await fanout.stats();
  await eventually(() => reader.frames.length === published, "all frames");
  const [first] = reader.frames as [TradeFrame];
  for (const [index, { ts_exchange, ts_publish }] of reader.frames.entries()) {
    strictEqual(ts_exchange, (first.ts_exchange as number) + index * 250);
    ok(ts_publish >= (ts_exchange as number), "none is early");
  }
  reader.socket.terminate();
  await fanout.stop();
});

test("a wrong command line or file is one line and code 2", { skip }, async () => {
  const { command } = await nativeProgram("fanout");
  const whole = encodeFrameFile(frames);
  const of = (name: string, bytes: Buffer) => {
    writeFileSync(join(folder, name), bytes);
    return ["--frames", join(folder, name)];
  };
  const far = Buffer.from(whole);
  far.writeUInt32LE(100_000, 16);
  const wrong: [args: string[], line: RegExp][] = [
    [[], /--frames names the file of frames to play/],
    [["--frames", join(folder, "none")], /cannot read/],
    [of("short", whole.subarray(0, 20)), /is no file of frames/],
    [of("other", Buffer.alloc(100)), /is no file of frames/],
    [of("cut", whole.subarray(0, whole.length - 1)), /cut short, or damaged/],
    [of("far", far), /cut short, or damaged/],
    [of("longer", Buffer.concat([whole, Buffer.alloc(1)])), /more than it says/],
    [of("empty", encodeFrameFile([])), /has no frames/],
    [["--frames", file, "--batch", "0"], /--batch must be a whole number from 1 to 4096, not 0/],
    [["--frames", file, "--rate"], /--rate needs a value/],
    [["--fast", "1"], /unknown argument --fast/],
  ];
  for (const [args, line] of wrong) {
    const { status, stderr, stdout } = spawnSync(command, args, { input: "", encoding: "utf8", timeout: 10_000 });
    deepStrictEqual({ status, stdout, lines: stderr.split("\n").length }, { status: 2, stdout: "", lines: 2 });
    match(stderr, line);
  }
});

after(() => rmSync(folder, { recursive: true }));
