import { assert } from "../std/assert.ts";
import { EXACT_DIGITS, isInexact } from "./decimal.ts";

/*
 * Hot path. Reads a venue's JSON where it lies, as the fixed shape that the venue is known to send: literal text is
 * compared four bytes at a time, numbers are made from digits. Whatever departs from the shape is refused, never
 * guessed, and the message goes to JSON.parse instead.
 *
 * Every scan takes the position of its first byte and returns the position after its last, or REFUSED; doubles are
 * left in a typed array, because a double that is returned from a call gets boxed wherever V8 does not inline it.
 *
 * A message is copied into one scratch that all feeds share: that costs 24 ns and no garbage, while a DataView of the
 * message itself costs 83 ns and is garbage. A scan runs to its end in one call, so nobody else can be in the scratch.
 */

export const REFUSED = -1;

/** Longest message that is scanned; the largest recorded diff has 28.5 KB. A longer one goes to JSON.parse. */
export const MAX_SCAN_BYTES = 256 * 1024;
/** Bytes that a four-byte read may touch past the end of a message. */
const OVERREAD_BYTES = 32;

export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const BRACKET_OPEN = 0x5b;
export const BRACKET_CLOSE = 0x5d;
export const BRACE_CLOSE = 0x7d;
export const QUOTES = 0x22222222;
const BACKSLASHES = 0x5c5c5c5c;
const POINT = 0x2e;
const ZERO = 0x30;

export const scratch = new Uint8Array(MAX_SCAN_BYTES + OVERREAD_BYTES);
const view = new DataView(scratch.buffer);

/** Largest number of digits of an integer: 2^53 has 16. */
const MAX_INTEGER_DIGITS = 16;
const POWERS_OF_TEN = Float64Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
const LARGEST_POWER = 22;

/** What the decimals of the message so far were: 1 when one of them did not fit a double exactly. */
export const inexact = new Uint8Array(1);

/** Puts a message into the scratch; false when it is too long. The zero after it ends every scan. */
export function load(message: Buffer): boolean {
  const length = message.length;
  if (length > MAX_SCAN_BYTES) return false;
  scratch.set(message);
  scratch[length] = 0;
  inexact[0] = 0;
  return true;
}

/** Fixed text of 8 to 16 bytes, as two eight-byte words that may overlap. ASCII never makes a NaN, so == compares bits. */
export class Literal {
  readonly length: number;
  readonly first: number;
  readonly last: number;

  constructor(text: string) {
    const bytes = Buffer.from(text);
    assert(bytes.length >= 8 && bytes.length <= 16, `literal of ${bytes.length} bytes`);
    this.length = bytes.length;
    this.first = bytes.readDoubleLE(0);
    this.last = bytes.readDoubleLE(bytes.length - 8);
  }
}

/** Fixed text of 4 to 8 bytes, as two four-byte words that may overlap. */
export class ShortLiteral {
  readonly length: number;
  readonly first: number;
  readonly last: number;

  constructor(text: string) {
    const bytes = Buffer.from(text);
    assert(bytes.length >= 4 && bytes.length <= 8, `short literal of ${bytes.length} bytes`);
    this.length = bytes.length;
    this.first = bytes.readInt32LE(0);
    this.last = bytes.readInt32LE(bytes.length - 4);
  }
}

export function scanLiteral(at: number, literal: Literal): number {
  if (at < 0 || view.getFloat64(at, true) !== literal.first) return REFUSED;
  const end = at + literal.length;
  return view.getFloat64(end - 8, true) === literal.last ? end : REFUSED;
}

export function scanShort(at: number, literal: ShortLiteral): number {
  if (at < 0 || view.getInt32(at, true) !== literal.first) return REFUSED;
  const end = at + literal.length;
  return view.getInt32(end - 4, true) === literal.last ? end : REFUSED;
}

/** The four bytes at a position, the first one lowest. */
export function wordAt(at: number): number {
  return view.getInt32(at, true);
}

/** The high bit of each zero byte of a word, exact for the lowest one: the textbook test, four bytes at a time. */
export function zeroBytes(word: number): number {
  return (word - 0x01010101) & ~word & 0x80808080;
}

/** How many bytes of a word lie below the lowest bit that is set. */
export function bytesBelow(bits: number): number {
  return (31 - Math.clz32(bits & -bits)) >> 3;
}

/** The position of the quote that ends a text without escapes; four bytes at a time. */
export function scanText(at: number): number {
  if (at < 0) return REFUSED;
  let position = at;
  for (;;) {
    const word = view.getInt32(position, true);
    const controls = (word - 0x20202020) & ~word & 0x80808080;
    const ends = zeroBytes(word ^ QUOTES) | zeroBytes(word ^ BACKSLASHES) | controls;
    if (ends !== 0) {
      position += bytesBelow(ends);
      return scratch[position] === QUOTE ? position : REFUSED;
    }
    position += 4;
  }
}

/** True when all four bytes are ASCII digits (the eight-byte test of fast_float, halved). */
export function fourDigits(word: number): boolean {
  return (((word + 0x46464646) | (word - 0x30303030)) & 0x80808080) === 0;
}

/** The number that four ASCII digits make: pairs of digits first, then pairs of pairs. */
export function valueOfFour(word: number): number {
  const pairs = (Math.imul(word & 0x0f0f0f0f, 2561) >>> 8) & 0x00ff00ff;
  return Math.imul(pairs, 6553601) >>> 16;
}

/** An unsigned integer as JSON writes it, exactly, into values[index]. */
export function scanInteger(at: number, values: Float64Array, index: number): number {
  if (at < 0) return REFUSED;
  let position = at;
  let value = 0;
  let word = view.getInt32(position, true);
  while (fourDigits(word)) {
    value = value * 10000 + valueOfFour(word);
    position += 4;
    if (position - at > MAX_INTEGER_DIGITS) return REFUSED;
    word = view.getInt32(position, true);
  }
  let digit = (word & 0xff) - ZERO;
  while (digit >= 0 && digit <= 9) {
    value = value * 10 + digit;
    position += 1;
    word >>>= 8;
    digit = (word & 0xff) - ZERO;
  }
  const digits = position - at;
  if (digits === 0 || digits > MAX_INTEGER_DIGITS || value > Number.MAX_SAFE_INTEGER) return REFUSED;
  if (digits > 1 && scratch[at] === ZERO) return REFUSED;
  values[index] = value;
  return position;
}

/** A field whose value is an integer. */
export function scanIntegerField(before: number, name: ShortLiteral, values: Float64Array, index: number): number {
  if (before < 0 || view.getInt32(before, true) !== name.first) return REFUSED;
  const at = before + name.length;
  return view.getInt32(at - 4, true) === name.last ? scanInteger(at, values, index) : REFUSED;
}

/**
 * A decimal in quotes, from its first digit to the closing quote, into values[index]: exactly what `Number` makes of
 * the text. An integer below 10^15 divided by a power of ten up to 10^22 is exact in both, so the quotient is the
 * nearest double, which is how `Number` is defined. Here only the form that Binance always uses, up to seven digits,
 * a point and eight digits; small enough for V8 to inline it.
 */
export function scanDecimal(at: number, values: Float64Array, index: number): number {
  if (at < 0) return REFUSED;
  let position = at;
  let whole = 0;
  let digit = (scratch[position] as number) - ZERO;
  while (digit >= 0 && digit <= 9) {
    whole = (Math.imul(whole, 10) + digit) | 0;
    position += 1;
    digit = (scratch[position] as number) - ZERO;
  }
  const high = view.getInt32(position + 1, true);
  const low = view.getInt32(position + 5, true);
  const wholeDigits = position - at;
  if (
    digit === POINT - ZERO &&
    wholeDigits > 0 &&
    wholeDigits < 8 &&
    scratch[position + 9] === QUOTE &&
    fourDigits(high) &&
    fourDigits(low)
  ) {
    const fraction = Math.imul(valueOfFour(high), 10000) + valueOfFour(low);
    values[index] = (whole * 1e8 + fraction) / 1e8;
    return position + 9;
  }
  return scanAnyDecimal(at, values, index);
}

/** A field whose value is a decimal in quotes. */
export function scanDecimalField(before: number, name: ShortLiteral, values: Float64Array, index: number): number {
  if (before < 0 || view.getInt32(before, true) !== name.first) return REFUSED;
  const at = before + name.length;
  return view.getInt32(at - 4, true) === name.last ? scanDecimal(at, values, index) : REFUSED;
}

/** A decimal of many digits: zeros at either end do not count; if there are still too many, text and `Number`. */
function scanAnyDecimal(at: number, values: Float64Array, index: number): number {
  let position = at;
  let point = -1;
  let mantissa = 0;
  let significant = 0;
  let zeros = 0;
  for (;;) {
    const byte = scratch[position] as number;
    if (byte === QUOTE) break;
    if (byte === POINT) {
      if (point >= 0 || position === at) return REFUSED;
      point = position;
    } else if (byte < ZERO || byte > ZERO + 9) {
      return REFUSED;
    } else if (byte === ZERO) {
      if (significant > 0) zeros += 1;
    } else {
      significant += zeros + 1;
      if (significant <= EXACT_DIGITS) mantissa = mantissa * (POWERS_OF_TEN[zeros + 1] as number) + (byte - ZERO);
      zeros = 0;
    }
    position += 1;
  }
  if (position === at || point === position - 1) return REFUSED;
  const exponent = zeros - (point < 0 ? 0 : position - 1 - point);
  if (significant > EXACT_DIGITS || exponent > LARGEST_POWER || exponent < -LARGEST_POWER) {
    return exactDecimal(at, position, values, index);
  }
  const scale = POWERS_OF_TEN[Math.abs(exponent)] as number;
  values[index] = exponent < 0 ? mantissa / scale : mantissa * scale;
  return position;
}

function exactDecimal(at: number, end: number, values: Float64Array, index: number): number {
  const text = Buffer.from(scratch.buffer, at, end - at).toString("latin1");
  const value = Number(text);
  if (!Number.isFinite(value)) return REFUSED;
  if (isInexact(text, value)) inexact[0] = 1;
  values[index] = value;
  return end;
}
