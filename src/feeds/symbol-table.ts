import { grown } from "../std/grow.ts";
import { bytesBelow, QUOTES, REFUSED, type ShortLiteral, scanShort, wordAt, zeroBytes } from "./scan.ts";

/** Names of up to 20 bytes are found by the scanner; the longest that venues have today has 16. */
const KEY_WORDS = 5;
/** An entry is one half of a cache line: the name's words, padded with zeros, its length, its instrument. */
const ENTRY_WORDS = 8;
const LENGTH = 5;
const INSTRUMENT = 6;
const MIX = 0x9e3779b1;

/**
 * The venue's own names and our instrument ids, both ways. A name in a message is found by its bytes, in an open hash
 * table of four-byte words, without making a string of it; names may be of any bytes (Binance has symbols that are
 * not ASCII). A longer name, or one with a character that JSON escapes, is found by its text only.
 */
export class SymbolTable {
  /** The instrument that the last scan found. Hot path: a small integer in a field, so nothing is boxed. */
  found = 0;

  readonly #ids = new Map<string, number>();
  readonly #names: (string | undefined)[] = [];
  #entries = new Int32Array(64 * ENTRY_WORDS);
  #count = 0;
  /** Entry + 1 by hash, 0 where free; at most half full. */
  #slots = new Int32Array(128);

  get size(): number {
    return this.#ids.size;
  }

  /** Adds a name; a known name keeps its entry. */
  add(name: string, instrument: number): void {
    if (this.#ids.has(name)) return;
    this.#ids.set(name, instrument);
    this.#names[instrument] = name;
    const bytes = Buffer.alloc(KEY_WORDS * 4);
    if (Buffer.byteLength(name) >= bytes.length || JSON.stringify(name) !== `"${name}"` || name === "") return;
    const length = bytes.write(name);
    this.#reserve();
    const entry = this.#count * ENTRY_WORDS;
    for (let word = 0; word < KEY_WORDS; word += 1) this.#entries[entry + word] = bytes.readInt32LE(word * 4);
    this.#entries[entry + LENGTH] = length;
    this.#entries[entry + INSTRUMENT] = instrument;
    this.#place(this.#count);
    this.#count += 1;
  }

  /** The instrument of a name, 0 when there is none. */
  instrument(name: string): number {
    return this.#ids.get(name) ?? 0;
  }

  /** The venue's name of an instrument, undefined when it has none here. */
  name(instrument: number): string | undefined {
    return this.#names[instrument];
  }

  /** A field whose value is a name. */
  scanField(before: number, name: ShortLiteral): number {
    return this.scan(scanShort(before, name));
  }

  /** Scans a name up to its closing quote; leaves its instrument in `found`. An unknown name is refused. */
  scan(at: number): number {
    if (at < 0) return REFUSED;
    let hash = 0;
    let full = 0;
    let word = wordAt(at);
    let quote = zeroBytes(word ^ QUOTES);
    while (quote === 0) {
      hash = Math.imul(hash ^ word, MIX);
      hash ^= hash >>> 15;
      full += 1;
      if (full === KEY_WORDS) return REFUSED;
      word = wordAt(at + 4 * full);
      quote = zeroBytes(word ^ QUOTES);
    }
    // What stands from the quote on is masked away.
    const rest = bytesBelow(quote);
    const tail = word & ((1 << (8 * rest)) - 1);
    hash = Math.imul(hash ^ tail, MIX);
    hash ^= hash >>> 15;

    const length = 4 * full + rest;
    const slots = this.#slots;
    const entries = this.#entries;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = ((slots[slot] as number) - 1) * ENTRY_WORDS;
      if (entry < 0) return REFUSED;
      if (entries[entry + LENGTH] !== length || entries[entry + full] !== tail) continue;
      let same = 0;
      while (same < full && entries[entry + same] === wordAt(at + 4 * same)) same += 1;
      if (same < full) continue;
      this.found = entries[entry + INSTRUMENT] as number;
      return at + length;
    }
  }

  /** The same hash as in `scan`: the words that are full, then the tail, which may be of no bytes. */
  #place(entry: number): void {
    let hash = 0;
    for (let word = 0; ; word += 1) {
      const value = this.#entries[entry * ENTRY_WORDS + word] as number;
      hash = Math.imul(hash ^ value, MIX);
      hash ^= hash >>> 15;
      if (value >>> 24 === 0) break;
    }
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = entry + 1;
  }

  #reserve(): void {
    const count = this.#count + 1;
    this.#entries = grown(this.#entries, count * ENTRY_WORDS);
    if (2 * count <= this.#slots.length) return;
    this.#slots = new Int32Array(2 * this.#slots.length);
    for (let known = 0; known < this.#count; known += 1) this.#place(known);
  }
}
