import { writeFileSync } from "node:fs";
import { Pipeline } from "../native-bench/pipeline.ts";
import { recordedTrades, syntheticTrades } from "../native-bench/workload.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import * as T from "../src/wire/generated/templates.ts";
import { FrameView, PAYLOAD_TRADE } from "../src/wire/generated/views.ts";

/*
 * A file of ready frames that the native fan-out server plays round and round. All numbers are little-endian u32:
 *
 *   0   "TWFRAMES"
 *   8   1, the version
 *   12  how many frames
 *   16  where in a frame lie: seq, from_seq, position, ts_exchange, ts_receive, ts_publish (six places, 64-bit fields)
 *   40  the frames: length, then so many bytes
 */
const MAGIC = "TWFRAMES";
const VERSION = 1;

/** Where the numbers lie that are new in every frame sent: the frames are made from one template. */
export const PATCHED_PLACES: readonly number[] = [
  T.FRAME_SEQ,
  T.FRAME_FROM_SEQ,
  T.FRAME_POSITION,
  T.FRAME_TS_EXCHANGE,
  T.FRAME_TS_RECEIVE,
  T.FRAME_TS_PUBLISH,
];

/** Trades of the synthetic workload, where the recording is not there: as many as a file has by default. */
const SYNTHETIC_TRADES = 4096;

/**
 * So many finished frames of one trades stream, in order, as they lie in the ring of the shipped engine: of the recorded
 * trades where the captures are there, else of synthetic ones.
 */
export function tradeFrames(count: number): Buffer[] {
  const pipeline = new Pipeline(recordedTrades() ?? syntheticTrades(1, "uniform", SYNTHETIC_TRADES));
  const cursor = new LogCursor(pipeline.engine.frames.log);
  const view = new FrameView();
  const frames: Buffer[] = [];
  while (frames.length < count) {
    pipeline.next();
    pipeline.parsed();
    while (frames.length < count && cursor.next()) {
      const { memory } = cursor.ring;
      const at = cursor.ring.placeOf(cursor.record);
      view.attach(memory, at + memory.i32[at >> 2]);
      if (view.payloadType !== PAYLOAD_TRADE) continue;
      frames.push(Buffer.from(memory.u8.slice(at, at + cursor.ring.lengthOf(cursor.record))));
    }
  }
  pipeline.check();
  return frames;
}

/** The file's content. */
export function encodeFrameFile(frames: readonly Buffer[]): Buffer {
  const words = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
  const parts: Uint8Array[] = [Buffer.from(MAGIC), words(VERSION, frames.length, ...PATCHED_PLACES)];
  for (const frame of frames) parts.push(words(frame.length), frame);
  return Buffer.concat(parts);
}

/** Writes a file of `count` frames. */
export function writeFrameFile(path: string, count = SYNTHETIC_TRADES): void {
  writeFileSync(path, encodeFrameFile(tradeFrames(count)));
}
