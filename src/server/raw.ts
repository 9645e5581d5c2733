import type { WebSocket } from "uWebSockets.js";
import { RING } from "../engine/derived.ts";
import { DIRECTORY_STREAM, SLOT_ORDERBOOK, streamOf } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { LogCursor } from "../wire/frame-log.ts";
import { FrameView } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import type { Ring } from "../wire/ring.ts";
import { PIECE_COST } from "./backlog.ts";
import type { SocketData } from "./client.ts";
import { Client } from "./client.ts";
import { RawPast } from "./raw-past.ts";
import type { Past } from "./replay.ts";
import type { Services } from "./services.ts";
import { RAW_SCOPE } from "./topics.ts";

const LOOK_COST = 64;
/** Before the first frame of a past that began before the ring. */
const UNKNOWN = -1;

/**
 * One client of `/raw`: the directory, then every ring frame, in ring order, and one snapshot per live book. A book's
 * deltas may come before its snapshot, which stands for all of them: until then they are to be skipped. One that asked
 * for the past, or is slow, reads the ring at its own pace:
 *
 *   directory ─> (reading, from the past) ─> books ─> live ─ slow ─> reading ─> live, or books where it missed something
 *
 * What the ring has not any more comes from the journal, frames of earlier epochs with the epoch that they had.
 */
export class RawConnection extends Client {
  #phase: "directory" | "reading" | "books" | "live" = "directory";
  /** The past that was asked for, until it has been sent. */
  #past: Past | undefined;
  readonly #cursor: LogCursor;
  /** What is older than the ring, while it is being sent. */
  #older: RawPast | undefined;
  /** The newest position that was read, and whose it is. */
  #position = 0;
  #epoch: number;
  /** Frames that the ring overwrote before they were read. */
  #lost = 0;
  /** Books must be told, because the client has not got all that makes them up. */
  #needsBooks = true;
  /** The next instrument whose directory, or book, is to be sent, up to the last. */
  #next = 1;
  #last = 0;
  /** The record of the slow ring up to which the directory was told. */
  #told = 0;

  constructor(socket: WebSocket<SocketData>, services: Services, past?: Past) {
    super(socket, services);
    const { log } = services.engine.frames;
    this.#past = past;
    this.#epoch = log.epoch;
    this.#cursor = new LogCursor(log);
  }

  protected begin(): void {
    const { catalog, engine, backlog } = this.services;
    this.#next = 1;
    this.#last = catalog.size;
    this.#told = engine.frames.log.slow.head;
    backlog.add(this);
  }

  override get pending(): boolean {
    return !this.closed && this.#phase !== "live";
  }

  protected override piece(): number {
    if (this.#phase === "reading") return this.#read();
    const { catalog } = this.services;
    let cost = LOOK_COST;
    while (this.#next < this.#last && cost < PIECE_COST) {
      const instrument = catalog.get(this.#next);
      this.#next += 1;
      // An id that is kept for a name which has not come yet.
      if (instrument === undefined) continue;
      cost += LOOK_COST + (this.#phase === "books" ? this.#book(instrument) : this.#directory(instrument));
    }
    if (this.#next < this.#last) return cost;
    if (this.#phase === "directory") this.#endDirectory();
    else if (this.#phase === "books") this.#phase = "live";
    return cost;
  }

  #directory(instrument: Instrument): number {
    let cost = 0;
    if (!instrument.active) return cost;
    this.services.engine.frames.directory(instrument, (memory, length, stream) => {
      cost += this.frame(memory, length, stream);
    });
    return cost;
  }

  /** Tells what the directory gained meanwhile; then the past, or the present. */
  #endDirectory(): void {
    const { catalog, engine, publisher } = this.services;
    const { log } = engine.frames;
    publisher.drain();
    // The ring has lapped us: once more from the start.
    if (log.slow.tail > this.#told) return this.begin();
    for (const id of this.#changed(log.slow)) this.#directory(catalog.get(id) as Instrument);
    if (this.#past === undefined) return this.#enter();
    const { position, fromTime, truncated, isOlder } = this.#past;
    if (isOlder) this.#older = new RawPast(this.services, this.#past);
    this.#epoch = this.#older?.firstEpoch ?? log.epoch;
    const from_time = Math.floor(this.microseconds ? fromTime : fromTime / 1000);
    this.json({ type: "replay_begin", id: null, epoch: this.#epoch, from_position: position, from_time, truncated });
    this.#readFrom(isOlder ? UNKNOWN : position);
  }

  #readFrom(position: number): void {
    this.#cursor.seek(position);
    this.#position = position;
    this.#phase = "reading";
  }

  /** Reads on; at the head the client goes live, in the same turn. */
  #read(): number {
    if (this.#older !== undefined) return this.#readOlder(this.#older);
    const cursor = this.#cursor;
    this.services.publisher.drain();
    let cost = LOOK_COST;
    while (cost < PIECE_COST) {
      if (!cursor.next()) {
        this.#level();
        break;
      }
      const { ring, record } = cursor;
      const position = ring.positionOf(record);
      const lost = cursor.lost > this.#lost;
      this.#lost = cursor.lost;
      cost += this.#take(ring.memory, ring.placeOf(record), ring.lengthOf(record), ring.streamOf(record), position);
      // The ring has overtaken this client.
      if (lost) this.lapped();
    }
    return cost;
  }

  /** Sends what the journal has and the ring has not any more; then goes on with the ring. */
  #readOlder(older: RawPast): number {
    const cost = older.read((memory, at, length, stream, position, epoch) => {
      if (epoch !== this.#epoch) this.#miss(null, "restart");
      if (epoch !== this.#epoch) this.#position = 0;
      this.#epoch = epoch;
      return this.#take(memory, at, length, stream, position);
    });
    if (!older.done) return cost;
    older.close();
    this.#older = undefined;
    const { epoch } = this.services.engine.frames.log;
    if (this.#epoch !== epoch) this.#miss(null, "restart");
    this.#readFrom(this.#epoch === epoch ? this.#position : 0);
    this.#epoch = epoch;
    return cost + LOOK_COST;
  }

  #take(memory: Memory, at: number, length: number, stream: number, position: number): number {
    if (position <= this.#position) return 0;
    if (this.#position !== UNKNOWN && position > this.#position + 1) this.#miss(position - 1, "window");
    this.#position = position;
    return this.frame(memory, length, stream, at);
  }

  /** Names positions that are not there any more, up to one, or all the rest of an epoch. */
  #miss(to: number | null, reason: "window" | "restart"): void {
    const { counters, past } = this.services;
    if (reason === "restart" && past?.isWhole(this.#epoch) === true) return;
    counters.gaps.set(reason, (counters.gaps.get(reason) ?? 0) + 1);
    const epoch = reason === "restart" ? { epoch: this.#epoch } : {};
    this.json({ type: "gap", stream: null, from_position: this.#position + 1, to_position: to, reason, ...epoch });
    this.#needsBooks = true;
  }

  #level(): void {
    const { counters, engine } = this.services;
    if (this.#past === undefined) counters.caughtUp += 1;
    else this.json({ type: "replay_end", id: null, epoch: engine.frames.log.epoch, position: this.#position });
    this.#past = undefined;
    this.#enter();
  }

  /** Goes live: all that the ring has, this client was sent, in this turn. */
  #enter(): void {
    const { catalog, publisher } = this.services;
    publisher.topics.join(this, RAW_SCOPE, RING, RAW_SCOPE);
    this.#next = 1;
    this.#last = catalog.size;
    this.#phase = this.#needsBooks ? "books" : "live";
    this.#needsBooks = false;
  }

  get #isLive(): boolean {
    return this.#phase === "books" || this.#phase === "live";
  }

  protected override fallBehind(): boolean {
    // Before it is live, what it is sent waits for its queue.
    if (!this.#isLive) return true;
    const { publisher, counters, engine, backlog } = this.services;
    publisher.drain();
    publisher.topics.leave(this, RAW_SCOPE, RING, RAW_SCOPE);
    counters.fellBehind += 1;
    this.#needsBooks = this.#phase === "books";
    this.#readFrom(engine.frames.log.position);
    backlog.add(this);
    return true;
  }

  override get isBehind(): boolean {
    return this.#phase === "reading";
  }

  protected override get position(): number {
    return this.#phase === "reading" ? Math.max(0, this.#position) : super.position;
  }

  /** Instruments and venues of which the directory has told something since we began. */
  #changed(slow: Ring): Set<number> {
    const changed = new Set<number>();
    const view = new FrameView();
    for (let record = this.#told; record < slow.head; record += 1) {
      if (slow.streamOf(record) !== DIRECTORY_STREAM) continue;
      const at = slow.placeOf(record);
      view.attach(slow.memory, at + slow.memory.i32[at >> 2]);
      changed.add(view.instrument);
    }
    return changed;
  }

  #book({ id }: Instrument): number {
    const { engine, publisher } = this.services;
    if (engine.books.get(id)?.live !== true) return 0;
    let cost = 0;
    publisher.drain();
    engine.derived.bootstrap(streamOf(id, SLOT_ORDERBOOK), RING, (memory, length, stream) => {
      cost += this.frame(memory, length, stream);
    });
    return cost;
  }

  /** `/raw` takes no requests. */
  message(): void {
    this.error(undefined, "not_available", "/raw takes no messages; subscribe on /stream");
  }

  override close(): void {
    super.close();
    this.#older?.close();
    if (this.#isLive) this.services.publisher.topics.forget(this, RAW_SCOPE, RING, RAW_SCOPE);
    this.#phase = "live";
  }
}
