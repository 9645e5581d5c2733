/** Clients that read too slowly, and what is counted of those who come and go. */
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./gateway.ts";
import type { Any, Served } from "./serve.ts";
import { leave, Probe, serve, settled, spot, type Venue } from "./serve.ts";

/** A WebSocket that reads only when it is told to, as a stalled program or a narrow line does. */
class Stalled {
  readonly texts: Any[] = [];
  closeCode: number | undefined;
  ended = false;
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (part: Buffer) => this.#take(part));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.ended = true;
    });
  }

  /** Connects, subscribes by its URL, and stops reading. */
  static async open({ port }: Served, path: string): Promise<Stalled> {
    const socket = connect({ port, host: "127.0.0.1" });
    const key = Buffer.from("0123456789abcdef").toString("base64");
    const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    const stalled = new Stalled(socket);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${upgrade}Sec-WebSocket-Key: ${key}\r\n\r\n`);
    await eventually(() => stalled.texts.some(({ type }) => type === "system"), "the ack");
    socket.pause();
    return stalled;
  }

  read(): void {
    this.#socket.resume();
  }

  #take(part: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, part]);
    if (this.#bytes.subarray(0, 4).toString() === "HTTP") {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.#bytes = this.#bytes.subarray(end + 4);
    }
    while (this.#frame()) {}
  }

  /** Takes one frame off the bytes; false when it is not whole yet. */
  #frame(): boolean {
    const bytes = this.#bytes;
    if (bytes.length < 2) return false;
    const short = (bytes[1] as number) & 127;
    const head = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (bytes.length < head) return false;
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
    if (bytes.length < head + length) return false;
    const payload = bytes.subarray(head, head + length);
    const opcode = (bytes[0] as number) & 15;
    if (opcode === 1) this.texts.push(JSON.parse(payload.toString()) as Any);
    else if (opcode === 8) this.closeCode = payload.readUInt16BE(0);
    this.#bytes = bytes.subarray(head + length);
    return true;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

const KIB = 1024;
/** What the kernel takes before anything waits in the server differs; this is more than it takes anywhere. */
const FAR_TOO_MUCH = 64 * KIB * KIB;

/** Fires trades, some of them each turn, until something holds. */
async function flood(served: Served, id: number, holds: () => boolean): Promise<void> {
  const [a] = served.venues as [Venue];
  const from = served.server.services.publisher.bytes.reduce((sum, bytes) => sum + bytes, 0);
  const sent = () => served.server.services.publisher.bytes.reduce((sum, bytes) => sum + bytes, 0) - from;
  while (!holds()) {
    ok(sent() < FAR_TOO_MUCH, "the limit is seen to");
    for (let trade = 0; trade < 500; trade += 1) a.trade(id);
    await sleep(2);
  }
}

async function market(options: Parameters<typeof serve>[0]) {
  const served = await serve(options);
  const [a] = served.venues as [Venue];
  const [id] = a.list(spot(1)) as [number];
  a.up();
  return { served, a, id };
}

/** Every frame of the one stream that was got, without a hole from the ack on. */
function contiguous(texts: readonly Any[]): number {
  const frames = texts.filter((each) => "seq" in each && "from_seq" in each);
  const ack = texts.find(({ type }) => type === "system") as Any;
  let held = (ack.streams as Any[])[0]?.seq as number;
  for (const { flags, seq } of frames) {
    if ((flags as string[]).includes("derived")) continue;
    strictEqual(seq, held + 1, "nothing is skipped");
    held = seq as number;
  }
  return frames.length;
}

test("a turn that brings more than the ring holds loses nothing", async () => {
  const { served, a, id } = await market({ ringBytes: 3 * KIB * KIB });
  const probe = await Probe.open(`${served.url}/stream`, { protocols: ["tickwire.v1.flatbuffers"] });
  const channels = ["trades", "funding", "bars"];
  const [perpetual] = a.list(spot(["P/USDT:USDT"])) as [number];
  await probe.subscribe(1, { symbols: ["A0/USDT", "P/USDT:USDT"], channels, timeframes: "1s", bars: "closed" });
  await settled(served);
  const { ticks, slow } = served.engine.frames.log;
  for (let event = 1; ticks.tail < 30_000 || slow.tail < 4000; event += 1) {
    a.trade(id, 100, event);
    a.funding(perpetual, event / 1e9);
  }
  served.turn.end();
  await settled(served);
  await probe.level();
  strictEqual(served.server.services.publisher.lost, 0);
  const held = new Map<number, number>();
  for (const { stream, seq, flags } of probe.frames) {
    if (!flags.includes("derived")) strictEqual(seq, (held.get(stream) ?? seq - 1) + 1, "none is missing");
    held.set(stream, seq);
  }
  for (const [stream, seq] of held) strictEqual(seq, served.engine.frames.sequence(stream));
  await leave(served, probe);
  await served.stop();
});

test("over the memory of all queues the slowest goes first, and no more than needed", async () => {
  const { served, id } = await market({ limits: { queueBytes: FAR_TOO_MUCH, allQueuesBytes: 3 * KIB * KIB } });
  const slow: Stalled[] = [];
  const { counters } = served.server.services;
  // Each begins a good deal later than the one before, so each has less waiting.
  const steps = 300;
  for (let client = 0; client < 3; client += 1) {
    slow.push(await Stalled.open(served, "/stream?symbols=A0/USDT&channels=trades"));
    let turns = 0;
    await flood(served, id, () => {
      turns += 1;
      return counters.closedForMemory > 0 || turns > steps / 10;
    });
  }
  await flood(served, id, () => counters.closedForMemory > 0);
  strictEqual(counters.closedSlow, 0);
  const closedFirst = counters.closedForMemory;
  for (const stalled of slow) stalled.read();
  await eventually(() => slow.filter(({ ended }) => ended).length >= closedFirst, "the end of the slowest");
  strictEqual(slow[0]?.closeCode, 4008);
  contiguous(slow[0]?.texts as Any[]);
  deepStrictEqual(
    slow.map(({ closeCode }) => closeCode === 4008),
    [true, closedFirst > 1, closedFirst > 2],
  );
  ok(closedFirst < 3, "somebody stays");
  for (const stalled of slow) stalled.destroy();
  await eventually(() => counters.connectionsClosed === 3, "all to be closed");
  strictEqual(served.server.services.publisher.topics.memberships, 0);
  await served.stop();
});

test("a bootstrap waits for the client's queue, and is no reason to close it", async () => {
  const { served, a } = await market({ limits: { queueBytes: 4 * KIB * KIB } });
  const ids = a.list(spot(400));
  const keeper = await Probe.open(`${served.url}/stream`);
  const symbols = ids.map((_, index) => `A${index}/USDT`);
  await keeper.subscribe(1, { symbols, channels: ["orderbook"], depth: 5 });
  await settled(served);
  for (const id of ids) a.bookSnapshot(id, 2500);
  await settled(served);
  // Some 25 MB of snapshots for a client that does not read: no more than its low mark and a piece is ever queued.
  const probe = await Probe.open(`${served.url}/stream`);
  probe.send({ type: "subscribe", id: 1, symbols: "*", channels: ["orderbook"], depth: "full" });
  probe.socket.pause();
  await sleep(400);
  strictEqual(served.server.services.counters.closedSlow, 0);
  ok(served.server.services.backlog.size > 0, "it waits");
  probe.socket.resume();
  await settled(served);
  await probe.level();
  const snapshots = probe.frames.filter((frame) => (frame as unknown as Any).update_type === "snapshot");
  strictEqual(new Set(snapshots.map(({ stream }) => stream)).size, 400);
  await leave(served, probe, keeper);
  strictEqual(served.server.services.publisher.topics.memberships, 0);
  await served.stop();
});
