import type { Socket } from "node:net";
import type WebSocket from "ws";

/** Has one connection read no faster than it is allowed to: it is paused in between, and the sender's buffers fill. */
export class ReadPace {
  readonly #socket: WebSocket;
  readonly #raw: Socket;
  /** Bytes that may still be read; endless without a pace. Below 0 by what came in one read. */
  #left = Number.POSITIVE_INFINITY;
  #seen = 0;

  constructor(socket: WebSocket, raw: Socket) {
    this.#socket = socket;
    this.#raw = raw;
  }

  /** So many more bytes may be read; what is not used is saved up to `most`. */
  allow(bytes: number, most: number): void {
    if (this.#left === Number.POSITIVE_INFINITY) {
      this.#left = 0;
      this.#seen = this.#raw.bytesRead;
    }
    this.#left = Math.min(this.#left + bytes, most);
    this.look();
  }

  /** As fast as they come again. */
  open(): void {
    this.#left = Number.POSITIVE_INFINITY;
    this.#socket.resume();
  }

  /** Something was read: pauses when it was all that is allowed. */
  look(): void {
    if (this.#left === Number.POSITIVE_INFINITY) return;
    const { bytesRead } = this.#raw;
    this.#left -= bytesRead - this.#seen;
    this.#seen = bytesRead;
    if (this.#left <= 0) this.#socket.pause();
    else this.#socket.resume();
  }
}
