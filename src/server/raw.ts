import { RING } from "../engine/derived.ts";
import { DIRECTORY_STREAM, SLOT_ORDERBOOK, streamOf } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { FrameView } from "../wire/generated/views.ts";
import type { Ring } from "../wire/ring.ts";
import { Client } from "./client.ts";
import { RAW_SCOPE } from "./topics.ts";

/** A piece of what comes first ends when it has cost so many bytes. */
const PIECE_COST = 64 * 1024;
const LOOK_COST = 64;

/**
 * One client of `/raw`: the directory, then every ring frame, in ring order, and one snapshot per live book. A book's
 * deltas may come before its snapshot, which stands for all of them: until then they are to be skipped.
 */
export class RawConnection extends Client {
  /** The next instrument whose directory, or, once joined, whose book is to be sent. */
  #next = 1;
  #last = 0;
  #joined = false;
  /** The record of the slow ring up to which the directory was told. */
  #told = 0;

  protected begin(): void {
    this.#last = this.services.catalog.size;
    this.#told = this.services.engine.frames.log.slow.head;
    this.services.backlog.add(this);
  }

  override get pending(): boolean {
    return !this.closed && this.#next <= this.#last;
  }

  protected override piece(): number {
    const { catalog } = this.services;
    let cost = LOOK_COST;
    while (this.#next < this.#last && cost < PIECE_COST) {
      const instrument = catalog.get(this.#next) as Instrument;
      this.#next += 1;
      cost += LOOK_COST + (this.#joined ? this.#book(instrument) : this.#directory(instrument));
    }
    if (this.#next < this.#last) return cost;
    if (this.#joined) this.#last = 0;
    else this.#join();
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

  /** Tells what the directory gained meanwhile, then joins; the books follow. */
  #join(): void {
    const { catalog, engine, publisher } = this.services;
    const { slow } = engine.frames.log;
    publisher.drain();
    if (slow.tail > this.#told) {
      // The ring has lapped us: once more from the start.
      this.#next = 1;
      this.begin();
      return;
    }
    for (const id of this.#changed(slow)) this.#directory(catalog.get(id) as Instrument);
    publisher.topics.join(this, RAW_SCOPE, RING, RAW_SCOPE);
    this.#joined = true;
    this.#next = 1;
    this.#last = catalog.size;
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
    if (this.#joined) this.services.publisher.topics.forget(this, RAW_SCOPE, RING, RAW_SCOPE);
  }
}
