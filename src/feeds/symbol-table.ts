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
  /** Entries by hash, of length 0 where free; at most three quarters full, because a sparser table takes more cache. */
  #entries = new Int32Array(128 * ENTRY_WORDS);
  #count = 0;

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
    const entry = new Int32Array(ENTRY_WORDS);
    for (let word = 0; word < KEY_WORDS; word += 1) entry[word] = bytes.readInt32LE(word * 4);
    entry[LENGTH] = length;
    entry[INSTRUMENT] = instrument;
    this.#place(entry, 0);
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
    const entries = this.#entries;
    const mask = entries.length - 1;
    for (let entry = (hash * ENTRY_WORDS) & mask; ; entry = (entry + ENTRY_WORDS) & mask) {
      const found = entries[entry + LENGTH] as number;
      if (found === 0) return REFUSED;
      if (found !== length || entries[entry + full] !== tail) continue;
      let same = 0;
      while (same < full && entries[entry + same] === wordAt(at + 4 * same)) same += 1;
      if (same < full) continue;
      this.found = entries[entry + INSTRUMENT] as number;
      return at + length;
    }
  }

  /** The same hash as in `scan`: the words that are full, then the tail, which may be of no bytes. */
  #place(from: Int32Array, at: number): void {
    let hash = 0;
    for (let word = 0; ; word += 1) {
      const value = from[at + word] as number;
      hash = Math.imul(hash ^ value, MIX);
      hash ^= hash >>> 15;
      if (value >>> 24 === 0) break;
    }
    const entries = this.#entries;
    const mask = entries.length - 1;
    let entry = (hash * ENTRY_WORDS) & mask;
    while (entries[entry + LENGTH] !== 0) entry = (entry + ENTRY_WORDS) & mask;
    entries.set(from.subarray(at, at + ENTRY_WORDS), entry);
  }

  #reserve(): void {
    const old = this.#entries;
    if (4 * (this.#count + 1) * ENTRY_WORDS <= 3 * old.length) return;
    this.#entries = new Int32Array(2 * old.length);
    for (let at = 0; at < old.length; at += ENTRY_WORDS) if (old[at + LENGTH] !== 0) this.#place(old, at);
  }
}
