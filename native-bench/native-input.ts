/** The file that the native hot path starts from; native/hot-path/input.hpp says how it is laid out. */
import { writeFileSync } from "node:fs";
import { assert } from "../src/std/assert.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import type { Pipeline } from "./pipeline.ts";

/** What of the rings' memory FrameLog gives to the slow one; were it another, the rings' tails would differ. */
const SLOW_SHARE = 1 / 8;

/** Writes what the program starts from: the workload, and the frames that a pipeline which has not run has written. */
export function writeInput(path: string, pipeline: Pipeline, ringMemory: number): void {
  const { workload, engine } = pipeline;
  const { slow, ticks } = engine.frames.log;
  assert(
    ticks.head === 0 && slow.tail === 0,
    "the pipeline has not run, and the slow ring holds all that it began with",
  );
  const parts: Buffer[] = [Buffer.from("TWHI0001")];
  const u32 = (...values: number[]) => parts.push(Buffer.from(Uint32Array.from(values).buffer));
  const u64 = (...values: number[]) => parts.push(Buffer.from(BigUint64Array.from(values, BigInt).buffer));
  const first = new FrameView();
  first.attach(slow.memory, slow.placeOf(0) + (slow.memory.i32[slow.placeOf(0) >> 2] as number));
  const slowBudget = ringMemory * SLOW_SHARE;
  u64(ringMemory - slowBudget, slowBudget, engine.frames.log.epoch, first.tsReceive, workload.spanMs);
  const instruments = [...engine.catalog.all()];
  u32(instruments.length);
  for (const { id, venueSymbol } of instruments) {
    u32(id, workload.tradesOf.get(venueSymbol) ?? 0, Buffer.byteLength(venueSymbol));
    parts.push(Buffer.from(venueSymbol));
  }
  const indexOf = new Map(instruments.map(({ venueSymbol }, index) => [venueSymbol, index]));
  u32(workload.messages.length);
  for (const { bytes, idEnd, eventTimeEnd, tradeTimeEnd, symbol } of workload.messages) {
    u32(indexOf.get(symbol) as number, idEnd, eventTimeEnd, tradeTimeEnd, bytes.length);
    parts.push(bytes);
  }
  u32(slow.head);
  for (let record = 0; record < slow.head; record += 1) {
    u32(slow.streamOf(record));
    u64(slow.sequenceOf(record));
    u32(slow.lengthOf(record));
    const at = slow.placeOf(record);
    parts.push(Buffer.from(slow.memory.u8.slice(at, at + slow.lengthOf(record))));
  }
  writeFileSync(path, Buffer.concat(parts));
}
