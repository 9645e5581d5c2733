import type { FrameView } from "../wire/generated/views.ts";
import {
  PAYLOAD_BOOK_LEVELS,
  PAYLOAD_INDICATORS,
  PAYLOAD_STREAM_STATE,
  PAYLOAD_TRADE,
} from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";

/** `TWF1`, as the second word of a frame. */
const IDENTIFIER = 0x31465754;
const LEAST_FRAME_BYTES = 32;

/**
 * The vectors and texts of what a client is sent, by payload: the fields that they lie in, from 1, and the bytes of an
 * element. None has more than two.
 */
const FIRST_FIELD = byPayload(
  [PAYLOAD_TRADE, 5],
  [PAYLOAD_BOOK_LEVELS, 4],
  [PAYLOAD_INDICATORS, 4],
  [PAYLOAD_STREAM_STATE, 8],
);
const SECOND_FIELD = byPayload([PAYLOAD_BOOK_LEVELS, 5]);
const ELEMENT_BYTES = byPayload(
  [PAYLOAD_TRADE, 1],
  [PAYLOAD_BOOK_LEVELS, 16],
  [PAYLOAD_INDICATORS, 16],
  [PAYLOAD_STREAM_STATE, 1],
);

function byPayload(...values: readonly (readonly [payload: number, value: number])[]): Uint8Array {
  const all = new Uint8Array(256);
  for (const [payload, value] of values) all[payload] = value;
  return all;
}

/**
 * Points the view at the frame that lies at the beginning of the memory; false when it is none, or is cut short: what is
 * read of it lies within its `length`, never in what is left of a frame before. Hot path.
 */
export function attachFrame(frame: FrameView, memory: Memory, length: number): boolean {
  if (length < LEAST_FRAME_BYTES || memory.i32[1] !== IDENTIFIER) return false;
  const root = memory.i32[0];
  if (!isTable(memory, root, length) || !frame.attach(memory, root)) return false;
  const payload = frame.payloadAt;
  if (!isTable(memory, payload, length)) return false;
  const type = frame.payloadType;
  const first = FIRST_FIELD[type];
  if (first === 0) return true;
  const bytes = ELEMENT_BYTES[type];
  if (!isVector(memory, payload, first, bytes, length)) return false;
  const second = SECOND_FIELD[type];
  return second === 0 || isVector(memory, payload, second, bytes, length);
}

/** True when a table and its vtable lie within the frame. */
function isTable(memory: Memory, at: number, length: number): boolean {
  if (!(at > 0 && at + 4 <= length && (at & 3) === 0)) return false;
  const vtable = at - memory.i32[at >> 2];
  if (!(vtable > 0 && vtable + 4 <= length && (vtable & 1) === 0)) return false;
  const words = memory.u16[vtable >> 1];
  return words >= 4 && vtable + words <= length && at + memory.u16[(vtable >> 1) + 1] <= length;
}

/** True when a vector of a table that was looked at is not there, or lies within the frame. */
function isVector(memory: Memory, table: number, field: number, bytes: number, length: number): boolean {
  const vtable = table - memory.i32[table >> 2];
  if (memory.u16[vtable >> 1] < 4 + 2 * field) return true;
  const place = memory.u16[(vtable >> 1) + 1 + field];
  if (place === 0) return true;
  const at = table + place;
  if (at + 4 > length) return false;
  const target = at + memory.i32[at >> 2];
  if (!(target > at && target + 4 <= length)) return false;
  return target + 4 + (memory.i32[target >> 2] >>> 0) * bytes <= length;
}
