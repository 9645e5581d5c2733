import { LogCursor } from "../wire/frame-log.ts";
import { PIECE_COST } from "./backlog.ts";
import { SCAN_COST } from "./catch-up.ts";
import type { Client } from "./client.ts";
import type { FetchRequest } from "./request.ts";
import type { Services } from "./services.ts";

/**
 * Sends a range of one stream's ring frames once more, to a client that found a hole: what is there, between
 * `replay_begin` and `replay_end`, with a gap for what is not. Every record of the window is looked at, some 10 ns each.
 */
export class Fetch {
  #done = false;
  readonly #client: Client;
  readonly #request: FetchRequest;
  readonly #cursor: LogCursor;
  readonly #epoch: number;
  readonly #position: number;
  /** The sequence that comes next. */
  #next: number;

  constructor(client: Client, services: Services, request: FetchRequest) {
    const { log } = services.engine.frames;
    this.#client = client;
    this.#request = request;
    this.#next = request.from;
    this.#epoch = log.epoch;
    this.#position = log.position;
    this.#cursor = new LogCursor(log);
    this.#cursor.seek(0);
    const { id, stream, from, to } = request;
    client.json({ type: "replay_begin", id: id ?? null, epoch: log.epoch, stream, from, to });
  }

  get done(): boolean {
    return this.#done;
  }

  /** Sends the next piece; returns its cost. */
  step(): number {
    const cursor = this.#cursor;
    const { stream, to } = this.#request;
    let cost = SCAN_COST;
    while (cost < PIECE_COST) {
      // What came after the request is live.
      if (this.#next > to || !cursor.next() || cursor.ring.positionOf(cursor.record) > this.#position) {
        this.#finish();
        break;
      }
      cost += SCAN_COST;
      const { ring, record } = cursor;
      if (ring.streamOf(record) !== stream || ring.sequenceOf(record) < this.#next) continue;
      const sequence = ring.sequenceOf(record);
      if (sequence > this.#next) this.#client.gap(stream, this.#next, Math.min(sequence - 1, to), "window");
      this.#next = sequence + 1;
      if (sequence <= to) cost += this.#client.frame(ring.memory, ring.lengthOf(record), stream, ring.placeOf(record));
    }
    return cost;
  }

  #finish(): void {
    const { id, stream, to } = this.#request;
    if (this.#next <= to) this.#client.gap(stream, this.#next, to, "window");
    this.#client.json({ type: "replay_end", id: id ?? null, epoch: this.#epoch, position: this.#position });
    this.#done = true;
  }
}
