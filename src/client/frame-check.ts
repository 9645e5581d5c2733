import * as SLOT from "../wire/generated/slots.ts";
import type { FrameView } from "../wire/generated/views.ts";
import {
  PAYLOAD_BOOK_LEVELS,
  PAYLOAD_INDICATORS,
  PAYLOAD_STREAM_STATE,
  PAYLOAD_TRADE,
} from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import { TableView } from "../wire/table-view.ts";

/** `TWF1`, as the second word of a frame. */
const IDENTIFIER = 0x31465754;
const LEAST_FRAME_BYTES = 32;

/** What a payload has no vector for; no table has so many fields. */
const NONE = 255;
/** The vectors and texts of what a client is sent, by payload: their slots, and the bytes of an element. */
const FIRST_VECTOR = byPayload(
  [PAYLOAD_TRADE, SLOT.TRADE_TRADE_ID],
  [PAYLOAD_BOOK_LEVELS, SLOT.BOOK_LEVELS_BIDS],
  [PAYLOAD_INDICATORS, SLOT.INDICATORS_VALUES],
  [PAYLOAD_STREAM_STATE, SLOT.STREAM_STATE_REASON],
);
const SECOND_VECTOR = byPayload([PAYLOAD_BOOK_LEVELS, SLOT.BOOK_LEVELS_ASKS]);
const ELEMENT_BYTES = byPayload(
  [PAYLOAD_TRADE, 1],
  [PAYLOAD_BOOK_LEVELS, 16],
  [PAYLOAD_INDICATORS, 16],
  [PAYLOAD_STREAM_STATE, 1],
);

/** The payload's table, while it is looked at. */
const table = new TableView();

function byPayload(...values: readonly (readonly [payload: number, value: number])[]): Uint8Array {
  const all = new Uint8Array(256).fill(NONE);
  for (const [payload, value] of values) all[payload] = value;
  return all;
}

/**
 * Points the view at the frame that lies at the beginning of the memory; false when it is none, or is cut short: what is
 * read of it lies within its `length`, never in what is left of a frame before. Hot path.
 */
export function attachFrame(frame: FrameView, memory: Memory, length: number): boolean {
  if (length < LEAST_FRAME_BYTES || memory.i32[1] !== IDENTIFIER) return false;
  if (!frame.attach(memory, memory.i32[0], length) || !table.attach(memory, frame.payloadAt, length)) return false;
  const type = frame.payloadType;
  const first = FIRST_VECTOR[type];
  if (first === NONE) return true;
  const bytes = ELEMENT_BYTES[type];
  if (!liesWithin(memory, first, bytes, length)) return false;
  const second = SECOND_VECTOR[type];
  return second === NONE || liesWithin(memory, second, bytes, length);
}

/** True when a vector of the payload is not there, or lies within the frame. */
function liesWithin({ i32 }: Memory, slot: number, bytes: number, length: number): boolean {
  const at = table.place(slot);
  if (at === 0) return true;
  if (at + 4 > length) return false;
  const target = at + i32[at >> 2];
  return target > at && target + 4 <= length && target + 4 + (i32[target >> 2] >>> 0) * bytes <= length;
}
