/*
 * Decimals the slow way: as JSON.parse leaves them, text. Everything the scanner cannot take in its stride ends here,
 * so this file is what the scanner is compared with.
 */

/** Digits that any double keeps: a decimal with no more comes back exactly as it was written. */
export const EXACT_DIGITS = 15;

const DECIMAL = /^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * The double of a decimal text, NaN when it is none. Stricter than `Number`, which takes "", " 1", "0x10", "+1", "5."
 * and "Infinity"; negative numbers have no meaning in a price or a size, so a sign is refused as well.
 */
export function decimalOf(text: unknown): number {
  if (typeof text !== "string" || !DECIMAL.test(text)) return Number.NaN;
  const value = Number(text);
  return Number.isFinite(value) ? value : Number.NaN;
}

/** True when the shortest decimal of the double is not the decimal that the venue wrote. */
export function isInexact(text: string, value: number): boolean {
  const written = canonical(text);
  if (written.digits.length <= EXACT_DIGITS && Math.abs(written.exponent) < 290) return false;
  const shortest = canonical(String(value));
  return written.digits !== shortest.digits || written.exponent !== shortest.exponent;
}

/** Digits without zeros at either end, and the power of ten of the last of them. */
function canonical(text: string): { digits: string; exponent: number } {
  const [mantissa = "", power = "0"] = text.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const all = (whole + fraction).replace(/^0+/, "");
  const digits = all.replace(/0+$/, "");
  return { digits, exponent: digits === "" ? 0 : Number(power) - fraction.length + (all.length - digits.length) };
}
