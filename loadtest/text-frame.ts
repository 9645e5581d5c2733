/** Payloads of up to this length have it in one byte; longer ones, in two more. */
const SHORT = 125;
const FINAL_TEXT = 0x81;
const LENGTH_FOLLOWS = 126;

/** A text as a server's WebSocket frame: unmasked, in one piece, up to 64 KiB. Returns the bytes and where the text is. */
export function textFrame(text: string): { bytes: Buffer; textAt: number } {
  const payload = Buffer.from(text);
  if (payload.length > 0xffff) throw new Error(`a text of ${payload.length} bytes does not fit a frame of this source`);
  if (payload.length <= SHORT) {
    return { bytes: Buffer.concat([Buffer.of(FINAL_TEXT, payload.length), payload]), textAt: 2 };
  }
  const head = Buffer.of(FINAL_TEXT, LENGTH_FOLLOWS, payload.length >> 8, payload.length & 0xff);
  return { bytes: Buffer.concat([head, payload]), textAt: 4 };
}
