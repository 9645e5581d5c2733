import type { Socket } from "node:net";
import WebSocket from "ws";
import type { Clock } from "../src/std/clock.ts";
import type { ReceiverCounts } from "./receiver-counts.ts";
import { Listener } from "./receiver-listener.ts";
import type { ClientMemory } from "./receiver-memory.ts";
import { ReadPace } from "./receiver-pace.ts";
import type { ReceiverSettings } from "./receiver-settings.ts";

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

/** One connection of the Node receiver. */
export class NodeClient {
  /** What stays when the connection is gone. */
  readonly memory: ClientMemory;
  isReady = false;
  readonly #socket: WebSocket;
  /** What lies below it: only that can be reset. */
  #raw: Socket | undefined;
  readonly #settings: ReceiverSettings;
  readonly #counts: ReceiverCounts;
  readonly #events: ClientEvents;
  readonly #listener: Listener;
  #pace: ReadPace | undefined;
  #isOpen = false;
  /** True once its end was counted, as an error or because it was dropped. */
  #isCounted = false;
  #isDropped = false;

  constructor(
    settings: ReceiverSettings,
    counts: ReceiverCounts,
    clock: Clock,
    memory: ClientMemory,
    events: ClientEvents,
  ) {
    this.#settings = settings;
    this.#counts = counts;
    this.#events = events;
    this.memory = memory;
    this.#listener = new Listener(settings, counts, clock, memory);
    this.#socket = new WebSocket(settings.url, settings.protocol === undefined ? [] : [settings.protocol], {
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      skipUTF8Validation: true,
    });
    this.#socket.on("upgrade", ({ socket }) => {
      this.#raw = socket;
      this.#pace = new ReadPace(this.#socket, socket);
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

  /** Closes at once, by a reset. Counted as dropped. What was read and is not looked at yet is not had any more. */
  drop(): void {
    this.#isDropped = true;
    this.#isCounted = true;
    this.#counts.dropped += 1;
    this.#raw?.resetAndDestroy();
  }

  /** So many more bytes may be read, of which `most` are saved up; undefined is as fast as they come. */
  allow(bytes: number | undefined, most = 0): void {
    if (bytes === undefined) this.#pace?.open();
    else this.#pace?.allow(bytes, most);
  }

  #opened(): void {
    this.#isOpen = true;
    for (const text of this.#settings.send) this.#socket.send(this.memory.resuming(text));
    this.#events.opened(this);
    this.#look();
  }

  /** Tells once that the client is ready. */
  #look(): void {
    if (this.isReady || !this.#listener.isWhole) return;
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
    if (this.#isDropped) return;
    this.#pace?.look();
    if (isBinary) this.#listener.binary(data);
    else {
      this.#listener.text(data);
      this.#look();
    }
  }
}
