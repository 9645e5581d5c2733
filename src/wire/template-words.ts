import { assert } from "../std/assert.ts";

/**
 * A template as 64-bit words. Copying doubles is the fastest way, and safe here because no word of a template is a
 * signalling NaN, whose bits a copy might change: the only NaNs are the defaults, and those are quiet.
 */
export function templateWords(bytes: readonly number[]): Float64Array {
  const words = new Float64Array(Uint8Array.from(bytes).buffer);
  const copy = new Float64Array(words.length);
  for (let word = 0; word < words.length; word += 1) copy[word] = words[word];
  assert(Buffer.from(copy.buffer).equals(Buffer.from(bytes)), "a template survives being copied as doubles");
  return words;
}
