import { randomInt } from "node:crypto";
import type { Engine } from "./engine/engine.ts";
import { StoredBars } from "./engine/stored-bars.ts";
import type { OpenedJournal } from "./journal/open.ts";
import { Tail } from "./journal/tail.ts";
import { Payload } from "./wire/generated/tickwire.ts";
import { FrameView, InstrumentView } from "./wire/generated/views.ts";

/** What a server took over from the journal that it was started on. */
export interface Restored {
  /** Frames that are in the ring again: of an epoch that goes on. */
  frames: number;
  trades: number;
  bars: number;
  /** The directory's frames of an epoch that goes on: its streams were introduced before. */
  directory(): IterableIterator<Uint8Array>;
}

/** A random number whose doubles are exact. */
export function newEpoch(): number {
  return randomInt(2 ** 26, 2 ** 27) * 2 ** 26 + randomInt(2 ** 26);
}

/** The epoch of a journal that was closed as it should be by a server of the same kind: then it goes on. */
export function epochOf({ last }: OpenedJournal, mode: string): number | undefined {
  return last?.clean === true && last.mode === mode && mode !== "replay" ? last.epoch : undefined;
}

/**
 * Takes over what memory held when the server ended, from as many of the journal's last bytes as the ring has: the ids of
 * instruments, bars and indicators, and where the epoch goes on the window and the counts. Before anything is registered.
 */
export function restore(engine: Engine, opened: OpenedJournal): Restored {
  const { catalog, frames } = engine;
  const { log } = frames;
  const { directory, last } = opened;
  const tail = new Tail(directory, log.ticks.bytes + log.slow.bytes);
  const stored = new StoredBars(engine);
  const view = new FrameView();
  const instrument = new InstrumentView();
  const goesOn = last?.epoch === log.epoch;
  let loaded = 0;
  for (const { memory, at, length, epoch, position, copy } of tail.frames()) {
    view.attach(memory, at + memory.i32[at >> 2]);
    if (view.payloadType === Payload.Instrument && instrument.attach(memory, view.payloadAt)) {
      catalog.reserve(instrument.exchange, instrument.symbol, instrument.id);
    }
    stored.take(memory, at);
    if (!goesOn || epoch !== log.epoch || copy) continue;
    if (loaded === 0) log.begin(position - 1);
    frames.load(memory, at, length);
    loaded += 1;
  }
  if (goesOn) {
    if (loaded === 0) log.begin(last.position);
    frames.resume(last.position, last.sequences);
  }
  return {
    frames: loaded,
    trades: stored.trades,
    bars: stored.bars,
    directory: () => (goesOn ? tail.known.directory() : [].values()),
  };
}
