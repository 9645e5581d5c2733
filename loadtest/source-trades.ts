import { Random } from "../src/std/random.ts";
import { textFrame } from "./text-frame.ts";

/* Trades as Binance writes them, as finished WebSocket frames in which digits are patched. Hot path but for the making. */

const FIRST_ID = 1_000_000_000;
/** Prices in hundredths keep their seven digits: a frame's length never changes. */
const LEAST_CENTS = 1_000_000;
const MOST_CENTS = 9_999_999;
/** Sizes in ten-thousandths: 0.0001 to 0.9999. */
const MOST_SIZE = 9999;
const STEPS = 1 << 12;
const ZERO = 48;
/** Microseconds since 1970, until 2286. */
export const TIME_DIGITS = 16;

/** The frame of one instrument's sells or buys, and where its digits end. */
interface Template {
  bytes: Buffer;
  eventTimeAt: number;
  tradeTimeAt: number;
  idEnd: number;
  priceAt: number;
  sizeEnd: number;
}

function makeTemplate(symbol: string, makerBought: boolean): Template {
  const time = "0".repeat(TIME_DIGITS);
  const data = `"E":${time},"s":"${symbol}","t":${FIRST_ID},"p":"00000.00000000","q":"0.00000000","T":${time}`;
  const { bytes } = textFrame(
    `{"stream":"${symbol.toLowerCase()}@trade","data":{"e":"trade",${data},"m":${makerBought},"M":true}}`,
  );
  const after = (key: string) => bytes.indexOf(key) + key.length;
  return {
    bytes,
    eventTimeAt: after('"E":'),
    tradeTimeAt: after('"T":'),
    idEnd: after('"t":') + String(FIRST_ID).length,
    priceAt: after('"p":"'),
    sizeEnd: after('"q":"0.') + 4,
  };
}

/** The trades of many instruments: ids without holes, prices that walk, sides and sizes at random. */
export class TradeTemplates {
  readonly #templates: Template[];
  readonly #ids: Int32Array;
  readonly #cents: Int32Array;
  readonly #steps = new Int8Array(STEPS);
  readonly #sizes = new Int16Array(STEPS);
  #at = 0;

  constructor(symbols: readonly string[], seed: number) {
    const random = new Random(seed);
    this.#templates = symbols.flatMap((symbol) => [makeTemplate(symbol, false), makeTemplate(symbol, true)]);
    this.#ids = new Int32Array(symbols.length).fill(FIRST_ID);
    this.#cents = Int32Array.from(symbols, () => random.integer(LEAST_CENTS * 2, MOST_CENTS / 2));
    for (let index = 0; index < STEPS; index += 1) {
      this.#steps[index] = random.integer(-3, 3);
      this.#sizes[index] = random.integer(1, MOST_SIZE);
    }
  }

  /** The next trade of an instrument as a frame, good until the instrument's next but one. `time` holds its digits. */
  next(instrument: number, time: Uint8Array): Buffer {
    const step = this.#steps[this.#at] as number;
    const { bytes, eventTimeAt, tradeTimeAt, idEnd, priceAt, sizeEnd } = this.#templates[
      2 * instrument + (step & 1)
    ] as Template;
    for (let digit = 0; digit < TIME_DIGITS; digit += 1) {
      bytes[eventTimeAt + digit] = time[digit] as number;
      bytes[tradeTimeAt + digit] = time[digit] as number;
    }
    const id = ((this.#ids[instrument] as number) + 1) | 0;
    this.#ids[instrument] = id;
    putDigits(bytes, idEnd, id, 10);
    let cents = ((this.#cents[instrument] as number) + step) | 0;
    if (cents < LEAST_CENTS || cents > MOST_CENTS) cents = (cents - 2 * step) | 0;
    this.#cents[instrument] = cents;
    putDigits(bytes, priceAt + 5, (cents / 100) | 0, 5);
    putDigits(bytes, priceAt + 8, cents % 100, 2);
    putDigits(bytes, sizeEnd, this.#sizes[this.#at] as number, 4);
    this.#at = (this.#at + 1) & (STEPS - 1);
    return bytes;
  }
}

/** Writes a whole number below 2^31 so that its digits, zeros in front, end before `end`. */
export function putDigits(bytes: Uint8Array, end: number, value: number, digits: number): void {
  let left = value | 0;
  for (let at = end - 1; at >= end - digits; at -= 1) {
    const tenth = (left / 10) | 0;
    bytes[at] = ZERO + (left - tenth * 10);
    left = tenth;
  }
}
