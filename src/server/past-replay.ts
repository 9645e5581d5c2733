import type { PastReading } from "../journal/past.ts";
import type { PastChunk } from "../journal/past-worker.ts";
import {
  INDEX_AT,
  INDEX_EPOCH,
  INDEX_LENGTH,
  INDEX_NUMBERS,
  INDEX_SEQUENCE,
  INDEX_STREAM,
} from "../journal/past-worker.ts";
import { instrumentOf, SLOT_ORDERBOOK, slotIn } from "../market/channel.ts";
import { Memory } from "../wire/memory.ts";
import type { Client } from "./client.ts";
import { isSnapshot } from "./is-snapshot.ts";
import type { Replay } from "./replay.ts";
import type { Services } from "./services.ts";

interface PastStream {
  readonly stream: number;
  readonly variant: number;
  /** The last sequence of the earlier epoch that the client has; undefined when it is not known. */
  held: number | undefined;
  /** Deltas of a book are of no use before a snapshot. */
  needsSnapshot: boolean;
}

/**
 * What a client that resumes from an earlier epoch, before one or more restarts, lacks of it and of those between: the
 * journal's frames, read in another thread, and after each epoch, for each stream, a gap that names the rest, which nobody
 * has.
 */
export class PastReplay {
  readonly #client: Client;
  readonly #services: Services;
  readonly #streams = new Map<number, PastStream>();
  #replay: Replay | undefined;
  /** The epochs that are still to be gone through; what is sent is of the first. */
  #epochs: readonly number[] = [];
  #reading: PastReading | undefined;

  constructor(client: Client, services: Services) {
    this.#client = client;
    this.#services = services;
  }

  /** True until all of it has been sent. */
  get pending(): boolean {
    return this.#replay !== undefined;
  }

  begin(replay: Replay): void {
    this.#replay = replay;
    this.#epochs = this.#services.past?.epochsFrom(replay.epoch) ?? [];
  }

  add(stream: number, variant: number, held: number | undefined): void {
    const needsSnapshot = this.#replay?.isByTime === true && slotIn(stream) === SLOT_ORDERBOOK;
    this.#streams.set(stream, { stream, variant, held, needsSnapshot });
  }

  remove(stream: number): void {
    this.#streams.delete(stream);
  }

  /** The streams, which go on in this epoch. */
  takeStreams(): PastStream[] {
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    return streams;
  }

  /** Sends the next piece; returns its cost, 0 while there is none yet. */
  read(): number {
    this.#reading ??= this.#open();
    const chunk = this.#reading?.take();
    if (chunk === undefined && this.#reading !== undefined) return 0;
    let cost = 1;
    if (chunk !== undefined) {
      if (chunk.error !== undefined) this.#services.log.error({ reason: chunk.error }, "the journal cannot be read");
      cost += this.#send(chunk);
      if (!chunk.done) return cost;
    }
    this.#finish();
    return cost;
  }

  #open(): PastReading | undefined {
    const { past, catalog } = this.#services;
    const { position, isByTime, fromTime } = this.#replay as Replay;
    const streams = [...this.#streams.keys()];
    const names = new Map<number, string>();
    for (const stream of streams) {
      const instrument = catalog.get(instrumentOf(stream));
      if (instrument !== undefined) names.set(instrument.id, `${instrument.exchange} ${instrument.symbol}`);
    }
    const where = { fromPosition: position + 1, fromTime: isByTime ? fromTime : 0 };
    return past?.open({ epochs: this.#epochs, ...where, streams, names: [...names] });
  }

  #send({ bytes, index, count, lossy }: PastChunk): number {
    const memory = new Memory(bytes.buffer);
    let cost = 0;
    for (let entry = 0; entry < count * INDEX_NUMBERS; entry += INDEX_NUMBERS) {
      while (this.#epochs.length > 1 && this.#epochs[0] !== index[entry + INDEX_EPOCH]) this.#endEpoch();
      const known = this.#streams.get(index[entry + INDEX_STREAM] as number);
      const sequence = index[entry + INDEX_SEQUENCE] as number;
      if (known === undefined || sequence <= (known.held ?? 0)) continue;
      if (known.needsSnapshot && !isSnapshot(memory, index[entry + INDEX_AT] as number)) continue;
      known.needsSnapshot = false;
      if (known.held !== undefined && sequence > known.held + 1) this.#gap(known, sequence - 1, "window");
      else if (known.held === undefined && lossy) this.#gap(known, sequence - 1, "window");
      known.held = sequence;
      cost += this.#client.frame(
        memory,
        index[entry + INDEX_LENGTH] as number,
        known.stream,
        index[entry + INDEX_AT] as number,
      );
    }
    return cost;
  }

  #gap({ stream, held }: PastStream, to: number | null, reason: "window" | "restart"): void {
    this.#client.gap(stream, held === undefined ? null : held + 1, to, reason, this.#epochs[0]);
  }

  /** Whatever came after the last frame that the journal has died with the server, and nobody knows how much it was. */
  #endEpoch(): void {
    const isWhole = this.#services.past?.isWhole(this.#epochs[0] as number) === true;
    for (const known of this.#streams.values()) {
      if (!isWhole) this.#gap(known, null, "restart");
      known.held = 0;
      known.needsSnapshot = false;
    }
    this.#epochs = this.#epochs.slice(1);
  }

  #finish(): void {
    while (this.#epochs.length > 0) this.#endEpoch();
    this.#replay = undefined;
    this.close();
  }

  close(): void {
    this.#reading?.close();
    this.#reading = undefined;
  }
}
