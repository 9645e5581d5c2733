/** A server of which the test says every word, and frames for it: what a real one never or hardly ever does. */
import { type WebSocket, WebSocketServer } from "ws";
import { Random } from "../src/std/random.ts";
import { FrameWriter } from "./random-frames.ts";

const writer = new FrameWriter(new Random(20261128));

export interface Numbers {
  epoch?: number;
  position: number;
  seq: number;
  stream?: number;
  flags?: number;
  fromSeq?: number;
}

export const TRADES = 33;
export const BOOK = 34;

function header({ epoch = 1, position, seq, stream = TRADES, flags = 4, fromSeq = seq }: Numbers) {
  const times = { ts_exchange: 1e15, ts_receive: 1e15, ts_publish: 1e15 };
  return { stream, instrument: stream >> 5, epoch, position, seq, from_seq: fromSeq, flags, ...times };
}

/** A trade whose price is its sequence. */
export function tradeFrame(numbers: Numbers): Buffer {
  const fields = { price: numbers.seq, size: 1, side: 1, flags: 0, trade_id: "abcdefghijklmnop" };
  return Buffer.from(writer.write({ payload: "Trade", header: header(numbers), fields }));
}

/** Three bids and an ask. */
export function bookFrame(numbers: Numbers): Buffer {
  const bids = [1, 2, 3].map((price) => ({ price, size: numbers.seq }));
  const fields = { bids, asks: [{ price: 4, size: 1 }], venue_seq: 0, venue_prev_seq: 0, checksum: 0 };
  return Buffer.from(writer.write({ payload: "BookLevels", header: header({ stream: BOOK, ...numbers }), fields }));
}

export type Said = Record<string, unknown> & { type: string };

/** One connection, as the double sees it. */
export interface Heard {
  readonly socket: WebSocket;
  /** What the client said, but for pings, which are answered. */
  readonly said: Said[];
  send(message: object | Buffer | string): void;
}

export class ClientDouble {
  readonly heard: Heard[] = [];
  hello: Record<string, unknown> = { epoch: 1, position: 100, mode: "live" };
  /** Called for each connection, before anything is heard of it. */
  onOpen: (heard: Heard) => void = () => {};
  onSaid: (heard: Heard, said: Said) => void = () => {};
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (socket) => this.#open(socket));
  }

  static async start(): Promise<ClientDouble> {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await new Promise((resolve) => server.once("listening", resolve));
    return new ClientDouble(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  #open(socket: WebSocket): void {
    const send = (message: object | Buffer | string) =>
      socket.send(typeof message === "string" || Buffer.isBuffer(message) ? message : JSON.stringify(message));
    const heard: Heard = { socket, said: [], send };
    this.heard.push(heard);
    send({ type: "hello", version: "0", window_seconds: 1, heartbeat_ms: 5000, ...this.hello });
    this.onOpen(heard);
    socket.on("message", (data) => {
      const said = JSON.parse(String(data)) as Said;
      if (said.type === "ping") return send({ type: "pong", id: said.id, ts_server: 1e15 });
      heard.said.push(said);
      this.onSaid(heard, said);
    });
  }

  stop(): void {
    for (const client of this.#server.clients) client.terminate();
    this.#server.close();
  }
}

/** A stream as an ack describes it. */
export function described(seq: number, stream = TRADES, symbol = "A", channel = "trades") {
  return { stream, channel, symbol, exchange: "x", seq, state: "live", resumable: true };
}

/** The ack of a subscribe, which resumes when that was asked for. */
export function acknowledged({ id, resume }: Said, streams: object[], more: object = {}): object {
  const resumed = resume === undefined ? {} : { resume: "resumed" };
  return { type: "system", status: "subscribed", id, streams, unavailable: [], ...resumed, ...more };
}
