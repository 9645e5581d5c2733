import assert from "node:assert/strict";
import { test } from "node:test";
import { decimalOf, isInexact } from "../src/feeds/decimal.ts";
import { scanTime, timeOf } from "../src/feeds/rfc3339.ts";
import { inexact, Literal, load, REFUSED, scanDecimal, scanInteger, scanLiteral, scanText } from "../src/feeds/scan.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { Random } from "../src/std/random.ts";

const values = new Float64Array(1);

function decimal(text: string): number | undefined {
  assert.ok(load(Buffer.from(`${text}"`)));
  return scanDecimal(0, values, 0) === text.length ? values[0] : undefined;
}

test("a decimal is exactly what Number makes of it, and flagged when a double cannot hold it", () => {
  const seed = 20_240_809;
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const digits = (count: number) => Array.from({ length: count }, () => random.integer(0, 9)).join("");
  for (let round = 0; round < 200_000; round += 1) {
    const zeros = random.chance(0.2) ? "0".repeat(random.integer(1, 12)) : "";
    const whole = random.chance(0.1) ? "0" : digits(random.integer(1, random.pick([3, 5, 8, 12, 20, 30])));
    const fraction = random.chance(0.15) ? "" : `.${zeros}${digits(random.pick([1, 2, 4, 8, 8, 8, 9, 12, 18, 30]))}`;
    const text = whole + fraction + (fraction !== "" && random.chance(0.2) ? "0".repeat(random.integer(1, 9)) : "");
    const value = decimal(text);
    assert.ok(value !== undefined, text);
    assert.ok(Object.is(value, Number(text)), `${text}: ${value}`);
    assert.ok(Object.is(value, decimalOf(text)), text);
    assert.equal(inexact[0] === 1, isInexact(text, value), text);
  }
});

test("at most 15 digits are always exact, and the shortest decimal of a double is too", () => {
  const random = new Random(7);
  for (let round = 0; round < 20_000; round += 1) {
    const double = random.next() * 10 ** random.integer(-6, 15);
    const shortest = String(double);
    if (shortest.includes("e")) continue;
    assert.equal(decimal(shortest), double);
    assert.equal(inexact[0], 0, shortest);
  }
  assert.equal(decimal("12345678901234567890.5"), Number("12345678901234567890.5"));
  assert.equal(inexact[0], 1);
  assert.equal(isInexact("0.1000000000000000055", 0.1), true);
  assert.equal(isInexact("100000000000000000000000.00", 1e23), false);
  assert.equal(decimal("9007199254740993"), 9007199254740992);
  assert.equal(inexact[0], 1);
});

test("what is no plain decimal is refused", () => {
  for (const text of [
    "",
    ".",
    ".5",
    "5.",
    "-1",
    "+1",
    "1e5",
    "0x10",
    "1,5",
    " 1",
    "1 ",
    "1.2.3",
    "Infinity",
    "0.-10000",
  ]) {
    assert.equal(decimal(text), undefined, text);
  }
  assert.equal(decimal("9".repeat(400)), undefined);
  for (const text of ["", "5.", ".5", "-1", " 1", "0x10", "0.-10000", "1e999"])
    assert.ok(Number.isNaN(decimalOf(text)), text);
  assert.equal(decimalOf("1.5e-7"), 1.5e-7);
  assert.equal(isInexact("1.5e-7", 1.5e-7), false);
});

test("an integer is exact up to 2^53 and refused beyond", () => {
  const integer = (text: string) => {
    load(Buffer.from(`${text},`));
    return scanInteger(0, values, 0) === text.length ? values[0] : undefined;
  };
  for (const text of ["0", "7", "10", "1234", "12345", "1723161601551", "1723161601551123", "9007199254740991"]) {
    assert.equal(integer(text), Number(text));
  }
  for (const text of ["", "00", "01", "-1", "9007199254740992", "9999999999999999", "12345678901234567", "1e3"]) {
    assert.equal(integer(text), undefined, text);
  }
});

test("literals and texts stop at what is not theirs, and at the end of the message", () => {
  const literal = new Literal('{"stream":"');
  load(Buffer.from('{"stream":"x"'));
  assert.equal(scanLiteral(0, literal), 11);
  assert.equal(scanText(11), 12);
  for (let length = 0; length < 11; length += 1) {
    load(Buffer.from('{"stream":"'.slice(0, length)));
    assert.equal(scanLiteral(0, literal), REFUSED);
  }
  for (const text of ["abc", 'a\\"b"', 'a\nb"', 'a\u0001b"']) {
    load(Buffer.from(text));
    assert.equal(scanText(0), REFUSED, JSON.stringify(text));
  }
  load(Buffer.from('币安人生"'));
  assert.equal(scanText(0), 12);
});

test("symbols are found by their bytes, whatever their length and script", () => {
  const table = new SymbolTable();
  const names = ["A", "AB", "ABC", "ABCD", "ABCDE", "BTC", "BTCUSDT", "币安人生USDT", "X".repeat(19)];
  for (let index = 0; index < 5_000; index += 1) names.push(`SYM${index}USDT`);
  names.forEach((name, index) => {
    table.add(name, index + 1);
  });
  table.add("BTC", 99);
  const find = (bytes: Buffer) => {
    load(bytes);
    return table.scan(0) < 0 ? 0 : table.found;
  };
  names.forEach((name, index) => {
    assert.equal(find(Buffer.from(`${name}"`)), index + 1, name);
    assert.equal(table.instrument(name), index + 1);
    assert.equal(table.name(index + 1), name);
  });
  for (const name of [
    "",
    "B",
    "BTCUSD",
    "BTCUSDT ",
    "btcusdt",
    "ABC\u0000",
    "X".repeat(18),
    "X".repeat(40),
    "SYM5000USDT",
  ]) {
    assert.equal(find(Buffer.from(`${name}"`)), 0, JSON.stringify(name));
  }
  table.add("Y".repeat(40), 7_000);
  table.add('quo"te', 7_001);
  assert.equal(table.instrument("Y".repeat(40)), 7_000);
  assert.equal(find(Buffer.from(`${"Y".repeat(40)}"`)), 0, "a long name is left to the slow path");
});

test("times are exact to the microsecond, and the scan agrees with the calendar", () => {
  const random = new Random(11);
  const scan = (text: string) => {
    load(Buffer.from(text));
    return scanTime(0, values, 0) === text.length ? values[0] : undefined;
  };
  for (let round = 0; round < 20_000; round += 1) {
    const ms = random.integer(0, 4_000_000_000) * 1000 + random.integer(0, 999);
    const micros = String(random.integer(0, 999)).padStart(3, "0");
    const text = new Date(ms).toISOString().replace("Z", `${micros}Z`);
    assert.equal(scan(text), ms * 1000 + Number(micros), text);
    assert.equal(timeOf(text), ms * 1000 + Number(micros), text);
  }
  assert.equal(timeOf("2021-04-17T16:43:37Z"), Date.UTC(2021, 3, 17, 16, 43, 37) * 1000);
  assert.equal(timeOf("2021-04-17T16:43:37.1234567+00:00"), Date.UTC(2021, 3, 17, 16, 43, 37) * 1000 + 123_456);
  assert.equal(timeOf("0001-01-01T00:00:00.000000Z"), 0, "year 1 is unknown");
  for (const text of [
    "2021-02-29T00:00:00.000000Z",
    "2021-13-01T00:00:00.000000Z",
    "2021-01-01T24:00:00.000000Z",
    "x",
  ]) {
    assert.ok(Number.isNaN(timeOf(text)), text);
    assert.equal(scan(text), undefined, text);
  }
  assert.equal(scan("0001-01-01T00:00:00.000000Z"), undefined);
});
