/** A server that sends a receiver what a test tells it, byte for byte, and what the receiver is to say of it. */
import { deepStrictEqual, strictEqual } from "node:assert";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Builder } from "flatbuffers";
import type { WebSocket } from "ws";
import { WebSocketServer } from "ws";
import type { ReceiverOptions, Report } from "../loadtest/receiver.ts";
import { Receiver } from "../loadtest/receiver.ts";
import { nativeMissing } from "../loadtest/receiver-programs.ts";
import { Frame, Payload, Trade } from "../src/wire/generated/tickwire.ts";
import { eventually } from "./gateway.ts";

const missing = await nativeMissing();
export const KINDS = [
  { kind: "node" as const, skip: false as const },
  { kind: "native" as const, skip: missing === undefined ? (false as const) : `no native receiver: ${missing}` },
];

export async function start(kind: "native" | "node", options: ReceiverOptions): Promise<Receiver> {
  process.env.TICKWIRE_RECEIVER = kind;
  const receiver = await Receiver.start(options);
  strictEqual(receiver.kind, kind);
  return receiver;
}

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;

/** A frame of WebSocket as a server sends it; `first` replaces the first byte, `mask` lies about one. */
export function packet(opcode: number, payload: Buffer | string, { isFinal = true, first = 0, mask = 0 } = {}): Buffer {
  const data = Buffer.from(payload);
  const head = data.length < 126 ? Buffer.alloc(2) : Buffer.alloc(data.length < 65_536 ? 4 : 10);
  head[0] = first || (isFinal ? 0x80 : 0) | opcode;
  head[1] = mask | (data.length < 126 ? data.length : data.length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(data.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(data.length), 2);
  return Buffer.concat([head, data]);
}

export interface FrameNumbers {
  stream: number;
  seq: number;
  from?: number;
  /** Its place in the ring; its sequence, where nothing is said. */
  position?: number;
  derived?: boolean;
  tsExchange?: number;
  /** Bytes of the trade's id: makes a frame large. */
  idBytes?: number;
}

/** A frame as the schema's own library builds it, whose vtable is not that of the gateway's templates. */
export function frameOf(numbers: FrameNumbers): Buffer {
  const { stream, seq, from = seq, position = seq, derived = false, tsExchange = 0, idBytes = 4 } = numbers;
  const builder = new Builder(256);
  const id = builder.createString("7".repeat(idBytes));
  const trade = Trade.createTrade(builder, 100, 1, 1, 0, id);
  const time = BigInt(tsExchange);
  const counts = [BigInt(1), BigInt(position), BigInt(seq), BigInt(from), time, time, time] as const;
  const flags = derived ? 3 : 4;
  Frame.finishFrameBuffer(builder, Frame.createFrame(builder, stream, 3, ...counts, flags, Payload.Trade, trade));
  return Buffer.from(builder.asUint8Array());
}

/** One connection of a scripted server. */
export interface Peer {
  socket: WebSocket;
  raw: Socket;
  texts: string[];
  pongs: string[];
  /** Everything that came in, as bytes: whatever a `ws` of the server makes of it. */
  isReset: boolean;
}

/** A server that shakes hands and then sends what it is told, byte for byte. */
export class ScriptedServer {
  readonly peers: Peer[] = [];
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (socket, request) => {
      const peer: Peer = { socket, raw: request.socket, texts: [], pongs: [], isReset: false };
      socket.on("message", (data) => peer.texts.push(data.toString()));
      socket.on("pong", (data) => peer.pongs.push(data.toString()));
      socket.on("error", () => {});
      request.socket.on("error", (error: NodeJS.ErrnoException) => {
        peer.isReset = error.code === "ECONNRESET";
      });
      request.socket.setNoDelay(true);
      this.peers.push(peer);
    });
  }

  static async start(): Promise<ScriptedServer> {
    const server = new WebSocketServer({
      port: 0,
      host: "127.0.0.1",
      perMessageDeflate: false,
      verifyClient: ({ req }, answer) => answer(!req.url?.startsWith("/refused"), 429),
    });
    await once(server, "listening");
    return new ScriptedServer(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/stream?encoding=flatbuffers`;
  }

  /** Sends bytes, then a ping: what came before the pong has been counted. */
  async play(peer: Peer, bytes: Buffer, cuts: (left: number) => number = (left) => left): Promise<void> {
    const end = `end ${peer.pongs.length}`;
    const whole = Buffer.concat([bytes, packet(PING, end)]);
    for (let at = 0; at < whole.length; ) {
      const length = Math.min(cuts(whole.length - at), whole.length - at);
      peer.raw.write(whole.subarray(at, at + length));
      at += length;
      // A turn of the loop, so that the bytes go out by themselves.
      if (at < whole.length) await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => peer.pongs.includes(end), "the pong");
  }

  async stop(): Promise<void> {
    for (const { socket } of this.peers) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export type Counted = Omit<Report, "seconds" | "cpuMs" | "latencyUs" | "leastAccounted" | "mostAccounted">;

/** The parts of a report that do not depend on time. */
export function counted({
  seconds: _s,
  cpuMs: _c,
  latencyUs: _l,
  leastAccounted,
  mostAccounted,
  ...rest
}: Report): Counted {
  // What gaps named is in between; without any, frames are all that there is.
  if (rest.gapFrames === 0) deepStrictEqual([leastAccounted, mostAccounted], [rest.leastFrames, rest.mostFrames]);
  return rest;
}

export const NOTHING = {
  frames: 0,
  bytes: 0,
  holes: 0,
  duplicates: 0,
  gaps: 0,
  gapFrames: 0,
  replays: 0,
  replayed: 0,
  leastFrames: 0,
  mostFrames: 0,
  clients: 1,
  dropped: 0,
  closed: {},
  errors: {},
};

/** Reports until one is as wanted. */
export async function reported(receiver: Receiver, holds: (report: Report) => boolean): Promise<Report> {
  const until = Date.now() + 20_000;
  while (true) {
    const report = await receiver.report();
    if (holds(report)) return report;
    if (Date.now() > until) throw new Error(`waited in vain: ${JSON.stringify(report)}`);
    await sleep(10);
  }
}
