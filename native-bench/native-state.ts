/**
 * The file that a native replay ends with, which native/hot-path/state.hpp lays out, and its comparison with the pipeline
 * that did the same: counters, both rings byte by byte, the kept bars and their indicators.
 */
import { BAR_FLAGS } from "../src/indicators/bar.ts";
import type { Ring } from "../src/wire/ring.ts";
import { type Pipeline, TIMEFRAMES } from "./pipeline.ts";

/** Reads the file that the program's state is in. */
class StateReader {
  readonly bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    const mark = this.take(8).toString("latin1");
    if (mark !== "TWHS0001") throw new Error("the native program's state does not begin as one");
  }

  take(length: number): Buffer {
    if (this.#at + length > this.bytes.length) throw new Error("the native program's state is cut short");
    this.#at += length;
    return this.bytes.subarray(this.#at - length, this.#at);
  }

  u32(): number {
    return this.take(4).readUInt32LE();
  }

  u64(): number {
    return Number(this.take(8).readBigUInt64LE());
  }

  f64(): number {
    return this.take(8).readDoubleLE();
  }

  end(): void {
    if (this.#at !== this.bytes.length) throw new Error("the native program's state has more than it should");
  }
}

/** Compares the native program's state with a pipeline's that ran as often over the same input; throws where they differ. */
export function compareState(pipeline: Pipeline, state: Buffer): void {
  const { engine, counters } = pipeline;
  const reader = new StateReader(state);
  const { bars } = engine.bars;
  const { corrections } = bars;
  const expected: Record<string, number> = {
    "messages not scanned": counters.slowMessages,
    "unwanted trades": engine.unwanted,
    duplicates: engine.dedupe.duplicates,
    holes: engine.dedupe.holes,
    "wild times": engine.venues.reduce((sum, { clock }) => sum + clock.wild, 0),
    "closed bars": bars.closed,
    "late trades": bars.late,
    "corrected bars": corrections.corrected,
    "trades older than what is kept": corrections.tooOld,
    "the next position": engine.frames.log.next[0] as number,
  };
  for (const [name, value] of Object.entries(expected)) same(name, reader.u64(), value);
  compareRing("tick ring", engine.frames.log.ticks, reader);
  compareRing("slow ring", engine.frames.log.slow, reader);
  const instruments = [...engine.catalog.all()];
  same("series", reader.u32(), instruments.length * TIMEFRAMES.length);
  for (const { id } of instruments) {
    for (const timeframe of TIMEFRAMES) compareSeries(pipeline, id, timeframe, reader);
  }
  reader.end();
}

function same(name: string, native: number, ours: number): void {
  if (native !== ours) throw new Error(`native path: ${name}: ${native}, in ours ${ours}`);
}

function compareRing(name: string, ring: Ring, reader: StateReader): void {
  same(`${name}: tail`, reader.u64(), ring.tail);
  same(`${name}: head`, reader.u64(), ring.head);
  for (let record = ring.tail; record < ring.head; record += 1) {
    const where = `${name}: record ${record}`;
    same(`${where}: place`, reader.u32(), ring.placeOf(record));
    same(`${where}: length`, reader.u32(), ring.lengthOf(record));
    same(`${where}: stream`, reader.u32(), ring.streamOf(record));
    reader.take(4);
    same(`${where}: sequence`, reader.u64(), ring.sequenceOf(record));
    same(`${where}: position`, reader.u64(), ring.positionOf(record));
  }
  const { buffer } = ring.memory.u8;
  for (let record = ring.tail; record < ring.head; record += 1) {
    const ours = Buffer.from(buffer, ring.placeOf(record), ring.lengthOf(record));
    const native = reader.take(ours.length);
    if (native.equals(ours)) continue;
    const byte = ours.findIndex((value, index) => value !== native[index]);
    same(`${name}: record ${record}: byte ${byte} of ${ours.length}`, native[byte] as number, ours[byte] as number);
  }
}

/** How far a kept bar's numbers and its indicators' values may differ, as a share; their frames must not at all. */
const TOLERANCE = 1e-9;
const BAR_FIELDS = BAR_FLAGS + 1;

function compareSeries(pipeline: Pipeline, instrument: number, timeframe: number, reader: StateReader): void {
  const page = pipeline.engine.bars.bars.archive.read(instrument, timeframe, Number.POSITIVE_INFINITY);
  const { plan } = page;
  const where = `bars of instrument ${instrument}, timeframe ${timeframe}`;
  same(`${where}: instrument`, reader.u32(), instrument);
  same(`${where}: timeframe`, reader.u32(), timeframe);
  same(`${where}: count`, reader.u32(), page.count);
  const near = (name: string, native: number, ours: number) => {
    if (Math.abs(native - ours) <= TOLERANCE * Math.max(1, Math.abs(ours)) || Object.is(native, ours)) return;
    throw new Error(`native path: ${where}: ${name}: ${native}, in ours ${ours}`);
  };
  const stride = page.bars.length / Math.max(page.count, 1);
  for (let bar = 0; bar < page.count; bar += 1) {
    for (let field = 0; field < BAR_FIELDS; field += 1) {
      near(`bar ${bar}, field ${field}`, reader.f64(), page.bars[bar * stride + field] as number);
    }
    for (const places of [plan.entryValue, plan.entryReady]) {
      for (let entry = 0; entry < plan.entries; entry += 1) {
        const value = page.rows[bar * plan.rowSize + (places[entry] as number)] as number;
        near(`bar ${bar}, value ${entry}`, reader.f64(), value);
      }
    }
  }
}
