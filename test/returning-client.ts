import WebSocket from "ws";
import { MAX_FRAME_BYTES } from "../src/wire/frame.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import { scratchMemory } from "../src/wire/memory.ts";
import { ClientRecord } from "./client-record.ts";

/** A connection on which nothing comes for so long is given up; heartbeats come four times as often. */
const DEAD_AFTER_MS = 1000;

/** One logical client: whenever its connection ends, or is silent, it comes back with what it has. */
export class ReturningClient {
  readonly record = new ClientRecord();
  connections = 0;
  resumed = 0;
  /** Of the newest frame. */
  epoch = 0;
  #socket: WebSocket | undefined;
  #heardAt = 0;
  /** Of the newest frame: where it stands. */
  #position = 0;
  #stopped = false;
  readonly #memory = scratchMemory(MAX_FRAME_BYTES);
  readonly #frame = new FrameView();
  readonly #url: string;
  readonly #request: object;
  readonly #encoding: string;
  readonly #watch: NodeJS.Timeout;

  constructor(url: string, encoding: "flatbuffers" | "json", request: object) {
    this.#url = url;
    this.#encoding = encoding;
    this.#request = request;
    this.#connect();
    this.#watch = setInterval(() => {
      if (performance.now() > this.#heardAt + DEAD_AFTER_MS) this.#socket?.terminate();
    }, 50);
  }

  #connect(): void {
    this.connections += 1;
    this.#heardAt = performance.now();
    const options = { perMessageDeflate: false, handshakeTimeout: DEAD_AFTER_MS };
    const url = `${this.#url}/stream?time_unit=us&heartbeat_ms=250`;
    const socket = new WebSocket(url, `tickwire.v1.${this.#encoding}`, options);
    this.#socket = socket;
    socket.on("message", (data: Buffer, isBinary) => {
      if (socket === this.#socket) this.#take(data, isBinary, socket);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      if (!this.#stopped && socket === this.#socket) setTimeout(() => this.#connect(), 5);
    });
  }

  #take(data: Buffer, isBinary: boolean, socket: WebSocket): void {
    this.#heardAt = performance.now();
    this.record.take(data, isBinary);
    if (isBinary) {
      this.#memory.u8.set(data);
      this.#frame.attach(this.#memory, this.#memory.i32[0] as number);
      this.#reach(this.#frame.epoch, this.#frame.position);
      return;
    }
    const message = JSON.parse(data.toString()) as { type: string; epoch?: number; position?: number; seq?: number };
    if (message.type === "hello") this.#hello(socket);
    else if (message.seq !== undefined) this.#reach(message.epoch as number, message.position as number);
  }

  /** Positions of another epoch are counted anew. */
  #reach(epoch: number, position: number): void {
    this.#position = epoch === this.epoch ? Math.max(this.#position, position) : position;
    this.epoch = epoch;
  }

  #hello(socket: WebSocket): void {
    const { epoch } = this;
    const held = Object.fromEntries(
      this.record.streams.filter((each) => each.epoch === epoch).map(({ stream, held: last }) => [stream, last]),
    );
    const knows = this.#position > 0;
    if (knows) this.resumed += 1;
    const resume = knows ? { resume: { epoch, position: this.#position, held } } : {};
    socket.send(JSON.stringify({ type: "subscribe", id: "all", ...this.#request, ...resume }));
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#watch);
    this.#socket?.terminate();
  }
}
