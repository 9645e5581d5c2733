import type { WebSocket } from "uWebSockets.js";
import { RING } from "../engine/derived.ts";
import { SLOT_ORDERBOOK, streamOf } from "../market/channel.ts";
import { Client } from "./client.ts";
import { RAW_SCOPE } from "./publisher.ts";

/** Snapshots sent in one turn of the event loop, and the queue above which the rest waits, bytes. */
const SNAPSHOTS_PER_TURN = 20;
const LOW_MARK = 1024 * 1024;
const PAUSE_MS = 10;

/**
 * One client of `/raw`: every ring frame from now on, in ring order, opened by the directory and one snapshot per live
 * book. A book's deltas may come before its snapshot, which stands for all of them: until then they are to be skipped.
 */
export class RawConnection extends Client {
  #books: number[] = [];

  protected begin(): void {
    const { engine, publisher, catalog } = this.services;
    const socket = this.socket as WebSocket<unknown>;
    engine.frames.directory((memory, length, stream) => publisher.sendTo(socket, this.encoding, memory, 0, length, stream));
    publisher.join(socket, this.encoding, RING, RAW_SCOPE);
    this.#books = [...catalog.all()].filter(({ id }) => engine.books.get(id)?.live === true).map(({ id }) => id);
    this.#next();
  }

  #next(): void {
    if (this.closed) return;
    const { engine, publisher, clock } = this.services;
    publisher.level(clock.now());
    const socket = this.socket as WebSocket<unknown>;
    for (let sent = 0; sent < SNAPSHOTS_PER_TURN && socket.getBufferedAmount() < LOW_MARK; sent += 1) {
      const instrument = this.#books.shift();
      if (instrument === undefined) return;
      engine.derived.bootstrap(streamOf(instrument, SLOT_ORDERBOOK), RING, (memory, length, stream) => {
        publisher.sendTo(socket, this.encoding, memory, 0, length, stream);
      });
    }
    if (this.#books.length > 0) setTimeout(() => this.#next(), PAUSE_MS);
  }

  /** `/raw` takes no requests. */
  message(): void {
    this.error(undefined, "not_available", "/raw takes no messages; subscribe on /stream");
  }

  override close(): void {
    super.close();
    this.services.publisher.forget(this.encoding, RING, RAW_SCOPE);
  }
}
