import { MAX_TRADE_ID_BYTES, TRADE_NUMBER } from "../market/sink.ts";
import { grown } from "../std/grow.ts";

export const TRADE_NEW = 0;
export const TRADE_DUPLICATE = 1;
/** New, and the venue's ids say that trades before it are missing. */
export const TRADE_AFTER_HOLE = 2;

/** Ids remembered per instrument where they are not numbers that grow. */
const RECENT_IDS = 1024;

/**
 * Tells a trade that came already from a new one, by the venue's own id. Numbers that grow need only the last one, and
 * where they grow by one a hole is a loss at the venue or on the way; other ids are compared with the last 1,024. A
 * trade without an id is never dropped. Hot path.
 */
export class TradeDedupe {
  #last = new Float64Array(64);
  /** The last number that an earlier process had. */
  #before = new Float64Array(64);
  readonly #recent: (RecentIds | undefined)[] = [];
  /** The first number of the last hole that was found, in [0]. */
  readonly missingFrom = new Float64Array(1);
  duplicates = 0;
  holes = 0;

  /** The last number seen of an instrument; 0 before the first. */
  last(instrument: number): number {
    return this.#last[instrument] ?? 0;
  }

  /** Takes the venue's word for where its count stands. */
  setLast(instrument: number, number: number): void {
    this.#last[instrument] = number;
  }

  /** An earlier process had trades up to this number: what lies between it and the first one now is a hole. */
  wasLast(instrument: number, number: number): void {
    if (!Number.isSafeInteger(number)) return;
    this.#before = grown(this.#before, instrument + 1);
    this.#before[instrument] = number;
  }

  register(instrument: number): void {
    this.#last = grown(this.#last, instrument + 1);
    this.#before = grown(this.#before, instrument + 1);
  }

  /** Forgets an instrument, so that the first trade of a new subscription is not taken for a hole. */
  forget(instrument: number): void {
    this.#last[instrument] = 0;
    this.#before[instrument] = 0;
    this.#recent[instrument] = undefined;
  }

  check(instrument: number, numbers: Float64Array, id: Uint8Array, idLength: number, contiguous: boolean): number {
    const number = numbers[TRADE_NUMBER];
    if (number === 0) return idLength === 0 ? TRADE_NEW : this.#checkText(instrument, id, idLength);
    const last = this.#last[instrument];
    if (number <= last) {
      this.duplicates += 1;
      return TRADE_DUPLICATE;
    }
    this.#last[instrument] = number;
    if (!contiguous || number === last + 1) return TRADE_NEW;
    return this.#holeBefore(number, last === 0 ? this.#before[instrument] : last);
  }

  /** A venue that counts anew, or of which nothing is known, has lost nothing. */
  #holeBefore(number: number, last: number): number {
    if (last === 0 || number <= last + 1) return TRADE_NEW;
    this.holes += 1;
    this.missingFrom[0] = last + 1;
    return TRADE_AFTER_HOLE;
  }

  #checkText(instrument: number, id: Uint8Array, idLength: number): number {
    let recent = this.#recent[instrument];
    if (recent === undefined) {
      recent = new RecentIds();
      this.#recent[instrument] = recent;
    }
    if (recent.add(id, idLength)) return TRADE_NEW;
    this.duplicates += 1;
    return TRADE_DUPLICATE;
  }
}

/** The last ids as bytes, in a ring; a hash chain over it finds one without a string. */
class RecentIds {
  readonly #ids = new Uint8Array(RECENT_IDS * MAX_TRADE_ID_BYTES);
  readonly #lengths = new Uint8Array(RECENT_IDS);
  /** First entry of each chain and the next one of each entry, plus one; 0 ends it. */
  readonly #heads = new Uint16Array(2 * RECENT_IDS);
  readonly #nexts = new Uint16Array(RECENT_IDS);
  readonly #buckets = new Uint16Array(RECENT_IDS);
  #count = 0;

  /** Adds an id; false when it is among the last 1,024. */
  add(id: Uint8Array, length: number): boolean {
    const bucket = hash(id, length) & (2 * RECENT_IDS - 1);
    for (let entry = this.#heads[bucket]; entry !== 0; entry = this.#nexts[entry - 1]) {
      if (this.#equals(entry - 1, id, length)) return false;
    }
    const slot = this.#count % RECENT_IDS;
    if (this.#count >= RECENT_IDS) this.#unlink(slot);
    this.#count += 1;
    for (let index = 0; index < length; index += 1) this.#ids[slot * MAX_TRADE_ID_BYTES + index] = id[index];
    this.#lengths[slot] = length;
    this.#buckets[slot] = bucket;
    this.#nexts[slot] = this.#heads[bucket];
    this.#heads[bucket] = slot + 1;
    return true;
  }

  #equals(slot: number, id: Uint8Array, length: number): boolean {
    if (this.#lengths[slot] !== length) return false;
    const from = slot * MAX_TRADE_ID_BYTES;
    for (let index = 0; index < length; index += 1) if (this.#ids[from + index] !== id[index]) return false;
    return true;
  }

  #unlink(slot: number): void {
    const bucket = this.#buckets[slot];
    if (this.#heads[bucket] === slot + 1) {
      this.#heads[bucket] = this.#nexts[slot];
      return;
    }
    let entry = this.#heads[bucket];
    while (this.#nexts[entry - 1] !== slot + 1) entry = this.#nexts[entry - 1];
    this.#nexts[entry - 1] = this.#nexts[slot];
  }
}

/** FNV-1a. */
function hash(bytes: Uint8Array, length: number): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < length; index += 1) value = Math.imul(value ^ bytes[index], 0x01000193);
  return value >>> 0;
}
