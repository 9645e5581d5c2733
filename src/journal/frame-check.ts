import type { Memory } from "../wire/memory.ts";

/** `TWF1`, the schema's file identifier. */
const IDENTIFIER = 0x31465754;
/** Fields of the schema's Frame that every ring frame has, and the one that points at the payload. */
const HEADER_FIELDS = 12;
const PAYLOAD_FIELD = 11;

/**
 * True when the `length` bytes from `at` on are a frame as far as its header and the start of its payload go: enough to
 * read who it is without leaving the bytes. What the payload says is not looked at.
 */
export function isFrame(memory: Memory, at: number, length: number): boolean {
  const { i32, u16 } = memory;
  if (length < 16 || i32[(at >> 2) + 1] !== IDENTIFIER) return false;
  const root = i32[at >> 2] as number;
  if (!isWithin(root, 4, length)) return false;
  const vtable = root - (i32[(at + root) >> 2] as number);
  if (!isWithin(vtable, 4 + 2 * HEADER_FIELDS, length)) return false;
  const words = (at + vtable) >> 1;
  const tableBytes = u16[words + 1] as number;
  if ((u16[words] as number) < 4 + 2 * HEADER_FIELDS || root + tableBytes > length) return false;
  for (let field = 0; field < HEADER_FIELDS; field += 1) {
    const place = u16[words + 2 + field] as number;
    if (place < 4 || place >= tableBytes) return false;
  }
  const payload = root + (u16[words + 2 + PAYLOAD_FIELD] as number);
  return isWithin(payload, 4, length) && isWithin(payload + (i32[(at + payload) >> 2] as number), 4, length);
}

function isWithin(place: number, bytes: number, length: number): boolean {
  return place >= 0 && place + bytes <= length && (place & 1) === 0;
}
