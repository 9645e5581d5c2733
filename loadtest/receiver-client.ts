import type { Socket } from "node:net";
import WebSocket from "ws";
import type { Clock } from "../src/std/clock.ts";
import type { ReceiverCounts } from "./receiver-counts.ts";
import { FrameHeader } from "./receiver-frame.ts";
import type { ReceiverSettings } from "./receiver-settings.ts";
import { Sequences } from "./sequences.ts";

/** A larger message is refused with 1009. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

/** What a client tells the receiver that opened it. */
export interface ClientEvents {
  /** The connection is open; the handshake makes room for another one's. */
  opened(client: NodeClient): void;
  ready(client: NodeClient): void;
  /** The connection is gone, or was never open. Comes once, and last. */
  gone(client: NodeClient): void;
}

interface ControlStream {
  stream: number;
  seq: number;
}

/** Any text message. A frame in JSON has `seq`, a venue's trade `data`, and the rest is control. */
interface TextMessage {
  type?: string;
  status?: string;
  code?: string;
  streams?: ControlStream[];
  /** A control message's stream, a frame's number, or the name of a venue's stream. */
  stream?: ControlStream | number | string;
  seq?: number;
  from_seq?: number;
  ts_exchange?: number | null;
  flags?: string[];
  data?: { e: string; s?: string; t?: number; T?: number };
}

/** One connection of the Node receiver: counts its frames, keeps its sequences. */
export class NodeClient {
  /** Frames since `frames` was last set to 0. */
  frames = 0;
  isReady = false;
  readonly #socket: WebSocket;
  /** What lies below it: only that can be reset. */
  #raw: Socket | undefined;
  readonly #settings: ReceiverSettings;
  readonly #counts: ReceiverCounts;
  readonly #clock: Clock;
  readonly #events: ClientEvents;
  readonly #header: FrameHeader;
  readonly #sequences: Sequences<number | string>;
  #acks = 0;
  #isOpen = false;
  /** True once its end was counted, as an error or because it was dropped. */
  #isCounted = false;

  constructor(settings: ReceiverSettings, counts: ReceiverCounts, clock: Clock, events: ClientEvents) {
    this.#settings = settings;
    this.#counts = counts;
    this.#clock = clock;
    this.#events = events;
    this.#header = new FrameHeader();
    this.#sequences = new Sequences(counts);
    this.#socket = new WebSocket(settings.url, settings.protocol === undefined ? [] : [settings.protocol], {
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      skipUTF8Validation: true,
    });
    this.#socket.on("upgrade", ({ socket }) => {
      this.#raw = socket;
    });
    this.#socket.on("open", () => this.#opened());
    this.#socket.on("message", (data: Buffer, isBinary: boolean) => this.#message(data, isBinary));
    this.#socket.on("unexpected-response", (_request, response) => {
      this.#error(`refused ${response.statusCode}`);
      this.#socket.terminate();
    });
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#failed(error));
    this.#socket.on("close", (code) => {
      if (!this.#isCounted) counts.closed(code);
      events.gone(this);
    });
  }

  /** Closes at once, by a reset. Counted as dropped. */
  drop(): void {
    this.#isCounted = true;
    this.#counts.dropped += 1;
    this.#raw?.resetAndDestroy();
  }

  #opened(): void {
    this.#isOpen = true;
    for (const text of this.#settings.send) this.#socket.send(text);
    this.#events.opened(this);
    this.#look();
  }

  /** Tells once that the client is ready. */
  #look(): void {
    if (this.isReady || this.#acks < this.#settings.readyAcks) return;
    this.isReady = true;
    this.#events.ready(this);
  }

  #failed(error: NodeJS.ErrnoException): void {
    // A reset of an open connection is a close without a close frame, which `close` counts.
    if (error.code?.startsWith("WS_ERR_")) this.#error("protocol error");
    else if (!this.#isOpen) this.#error(`connect ${error.code ?? error.message}`);
  }

  /** Counts why the connection ends, once. */
  #error(text: string): void {
    if (!this.#isCounted) this.#counts.error(text);
    this.#isCounted = true;
  }

  #message(data: Buffer, isBinary: boolean): void {
    if (!isBinary) this.#text(data);
    else if (this.#settings.form === "flatbuffers" && this.#header.read(data)) {
      const { stream, fromSeq, seq, derived, tsExchange } = this.#header;
      this.#frame(data.length, stream, fromSeq, seq, derived, tsExchange);
    } else this.#counts.error("malformed frame");
  }

  #frame(
    bytes: number,
    stream: number | string,
    fromSeq: number,
    seq: number,
    derived: boolean,
    tsExchange: number,
  ): void {
    // Sequences are exact in a double. A ring frame stands for itself at least; a derived one, such as that of a building
    // bar, for nothing when the ring has had none since the last. Written so that no number is none either.
    const last = derived ? seq + 1 : seq;
    if (!(fromSeq >= 0 && fromSeq <= last && seq <= Number.MAX_SAFE_INTEGER)) {
      this.#counts.error("malformed frame");
      return;
    }
    this.frames += 1;
    this.#counts.frames += 1;
    this.#counts.bytes += bytes;
    this.#sequences.take(stream, fromSeq, seq, derived);
    if (!derived && tsExchange > 0) this.#counts.latency.add(this.#clock.now() - tsExchange);
  }

  #text(data: Buffer): void {
    const message = parse(data);
    if (message === undefined) {
      this.#counts.error(this.#settings.form === "flatbuffers" ? "malformed control" : "malformed frame");
      return;
    }
    const { form } = this.#settings;
    if (form === "json" && typeof message.seq === "number") {
      const { stream, from_seq = Number.NaN, seq, flags, ts_exchange } = message;
      const from = typeof stream === "number" ? from_seq : Number.NaN;
      this.#frame(data.length, Number(stream), from, seq, flags?.includes("derived") ?? false, ts_exchange ?? 0);
    } else if (form === "relay" && message.data?.e === "trade") {
      const { s = "", t = Number.NaN, T = 0 } = message.data;
      this.#frame(data.length, s, s === "" ? Number.NaN : t, t, false, T);
    } else this.#control(message);
  }

  #control(message: TextMessage): void {
    const { type, status, code, streams, stream } = message;
    for (const each of streams ?? []) this.#sequences.begin(each.stream, each.seq);
    if (typeof stream === "object") this.#sequences.begin(stream.stream, stream.seq);
    if (type === "error") this.#counts.error(`error ${code ?? "unknown"}`);
    if (status !== "subscribed") return;
    this.#acks += 1;
    this.#look();
  }
}

/** A text message, or undefined when it is no JSON object. */
function parse(data: Buffer): TextMessage | undefined {
  try {
    const value: unknown = JSON.parse(data.toString());
    return typeof value === "object" && value !== null ? (value as TextMessage) : undefined;
  } catch {
    return undefined;
  }
}
