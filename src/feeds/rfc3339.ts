import { fourDigits, REFUSED, scratch, valueOfFour, wordAt } from "./scan.ts";

/*
 * Times as Coinbase writes them, UTC with microseconds: 2021-04-17T16:43:37.089723Z. To microseconds since the Unix
 * epoch, exactly; 0, unknown, for a time before it (year 1 is really sent).
 */

const FORM = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)$/;

const LENGTH = 27;
const DASH = 0x2d;
const COLON = 0x3a;
const LETTER_T = 0x54;
const POINT = 0x2e;
const LETTER_Z = 0x5a;
const ZERO = 0x30;

/** The slow way, from text; NaN when it is no time. Digits below the microsecond are cut off. */
export function timeOf(text: unknown): number {
  const parts = typeof text === "string" ? FORM.exec(text) : null;
  if (parts === null) return Number.NaN;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const dayMs = dayMsOf(year, month, day);
  if (Number.isNaN(dayMs) || hour > 23 || minute > 59 || second > 59) return Number.NaN;
  if (dayMs < 0) return 0;
  const micros = Number((parts[7] ?? "").padEnd(6, "0").slice(0, 6));
  return (dayMs + ((hour * 60 + minute) * 60 + second) * 1000) * 1000 + micros;
}

/** Midnight of a day, milliseconds; NaN when the calendar has no such day. */
function dayMsOf(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const same = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return same ? date.getTime() : Number.NaN;
}

/** The day that was scanned last, as its three words, and its midnight in microseconds: it changes once a day. */
const lastDayWords = new Int32Array(3);
const lastDayMicros = new Float64Array(1);

/** Hot path. Scans a time from its first digit, in exactly the form above; returns the position after its Z. */
export function scanTime(at: number, values: Float64Array, index: number): number {
  if (at < 0) return REFUSED;
  // The date's ten bytes and the T, as three words that overlap by one.
  const known =
    wordAt(at) === lastDayWords[0] && wordAt(at + 4) === lastDayWords[1] && wordAt(at + 7) === lastDayWords[2];
  if (!known && !learnDay(at)) return REFUSED;
  const hour = twoDigits(at + 11);
  const minute = twoDigits(at + 14);
  const second = twoDigits(at + 17);
  const fraction = wordAt(at + 20);
  const rest = twoDigits(at + 24);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 || rest < 0) return REFUSED;
  if (scratch[at + 13] !== COLON || scratch[at + 16] !== COLON || scratch[at + 19] !== POINT) return REFUSED;
  if (!fourDigits(fraction) || scratch[at + 26] !== LETTER_Z) return REFUSED;
  const seconds = (hour * 60 + minute) * 60 + second;
  values[index] = (lastDayMicros[0] as number) + seconds * 1e6 + (valueOfFour(fraction) * 100 + rest);
  return at + LENGTH;
}

function learnDay(at: number): boolean {
  const month = twoDigits(at + 5);
  const day = twoDigits(at + 8);
  if (!fourDigits(wordAt(at)) || scratch[at + 4] !== DASH || scratch[at + 7] !== DASH) return false;
  if (month < 0 || day < 0 || scratch[at + 10] !== LETTER_T) return false;
  const dayMs = dayMsOf(valueOfFour(wordAt(at)), month, day);
  if (!(dayMs >= 0)) return false;
  lastDayWords[0] = wordAt(at);
  lastDayWords[1] = wordAt(at + 4);
  lastDayWords[2] = wordAt(at + 7);
  lastDayMicros[0] = dayMs * 1000;
  return true;
}

/** Two digits as a number, -1 when they are none. */
function twoDigits(at: number): number {
  const tens = (scratch[at] as number) - ZERO;
  const ones = (scratch[at + 1] as number) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
}
