type Numbers = Float64Array | Int32Array | Uint8Array | Uint16Array;

/** The array where it has room for `needed` numbers, else a copy at least twice as long; `fill` stands in what is new. */
export function grown<T extends Numbers>(array: T, needed: number, fill = 0): T {
  if (needed <= array.length) return array;
  const Kind = array.constructor as new (length: number) => T;
  const larger = new Kind(Math.max(needed, array.length * 2));
  larger.set(array);
  if (fill !== 0) larger.fill(fill, array.length);
  return larger;
}
