import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { Random } from "../src/std/random.ts";

const root = join(fileURLToPath(new URL(".", import.meta.url)), "..");
const captures = process.env.TICKWIRE_CAPTURES ?? join(root, "../shared/captures");
const RECORDED = ["binance/spot-ethusdt-20240808.gz", "binance/spot-ethusdt-20240809.gz"];

/** A trade message of Binance, with the places of what must grow from one pass over the workload to the next. */
export interface TradeMessage {
  bytes: Buffer;
  /** Where the digits of the trade's id and of its two times end. */
  idEnd: number;
  eventTimeEnd: number;
  tradeTimeEnd: number;
  symbol: string;
}

/** Messages to run over again and again: each pass continues where the last one ended, in ids and in time. */
export interface Workload {
  name: string;
  messages: TradeMessage[];
  symbols: string[];
  /** How far ids and times (milliseconds) move on per pass; ids of each instrument stay without holes. */
  spanMs: number;
  tradesOf: Map<string, number>;
}

function placesOf(text: string, symbol: string): TradeMessage {
  const end = (key: string) => {
    const match = new RegExp(`${key}(\\d+)`).exec(text);
    if (match === null) throw new Error(`no ${key} in ${text}`);
    return match.index + match[0].length;
  };
  return { bytes: Buffer.from(text), idEnd: end('"t":'), eventTimeEnd: end('"E":'), tradeTimeEnd: end('"T":'), symbol };
}

/** The lines of the recorded run; undefined where the recordings are not there. */
export function recordedLines(): string[] | undefined {
  const files = RECORDED.map((file) => join(captures, file));
  if (!files.every((file) => existsSync(file))) return undefined;
  return files.flatMap((file) => gunzipSync(readFileSync(file)).toString("utf8").split("\n"));
}

/** The 14,515 recorded trades of one instrument in 650 s. */
export function recordedTrades(): Workload | undefined {
  const lines = recordedLines();
  if (lines === undefined) return undefined;
  const messages: TradeMessage[] = [];
  for (const line of lines) {
    const text = line.slice(line.indexOf(" ") + 1);
    if (text.includes('"e":"trade"')) messages.push(placesOf(text, "ETHUSDT"));
  }
  return {
    name: "recorded",
    messages,
    symbols: ["ETHUSDT"],
    spanMs: 651_000,
    tradesOf: new Map([["ETHUSDT", messages.length]]),
  };
}

/**
 * Synthetic trades over many instruments, in the venue's own form, so many a second: `zipf` gives the n-th instrument
 * a share of 1/n, as markets have it; `uniform` is the worst case for the caches.
 */
export function syntheticTrades(
  instruments: number,
  spread: "zipf" | "uniform",
  count: number,
  perSecond = 20_000,
  seed = 1,
): Workload {
  const random = new Random(seed);
  const symbols = Array.from({ length: instruments }, (_, index) => `SYM${String(index).padStart(5, "0")}USDT`);
  const pick = spread === "zipf" ? zipf(instruments, random) : () => random.integer(0, instruments - 1);
  const next = new Map<string, number>();
  const prices = symbols.map(() => 1 + random.next() * 3000);
  const messages: TradeMessage[] = [];
  for (let index = 0; index < count; index += 1) {
    const instrument = pick();
    const symbol = symbols[instrument] as string;
    const id = 1_000_000_000 + (next.get(symbol) ?? 0);
    next.set(symbol, (next.get(symbol) ?? 0) + 1);
    prices[instrument] = (prices[instrument] as number) * (1 + 0.0001 * random.normal());
    const price = (prices[instrument] as number).toFixed(2);
    const time = 1_723_161_255_000 + Math.floor((index / perSecond) * 1000);
    const text = `{"stream":"${symbol.toLowerCase()}@trade","data":{"e":"trade","E":${time + 1},"s":"${symbol}","t":${id},"p":"${price}000000","q":"${(0.01 + random.next()).toFixed(4)}0000","T":${time},"m":${random.chance(0.5)},"M":true}}`;
    messages.push(placesOf(text, symbol));
  }
  return {
    name: `${instruments} ${spread}`,
    messages,
    symbols,
    spanMs: Math.ceil((count / perSecond) * 1000) + 1,
    tradesOf: next,
  };
}

/** Picks the n-th of so many, from 0, with a share of 1/(n + 1). */
export function zipf(count: number, random: Random): () => number {
  const cumulative = new Float64Array(count);
  let total = 0;
  for (let index = 0; index < count; index += 1) {
    total += 1 / (index + 1);
    cumulative[index] = total;
  }
  return () => {
    const at = random.next() * total;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** Moves messages on by one pass: ids follow without a hole, times by the workload's span. Digits in place. */
export function advance(workload: Workload, from: number, to: number): void {
  for (let index = from; index < to; index += 1) {
    const message = workload.messages[index] as TradeMessage;
    addDigits(message.bytes, message.idEnd, workload.tradesOf.get(message.symbol) as number);
    addDigits(message.bytes, message.eventTimeEnd, workload.spanMs);
    addDigits(message.bytes, message.tradeTimeEnd, workload.spanMs);
  }
}

function addDigits(bytes: Buffer, end: number, amount: number): void {
  let carry = amount;
  for (let at = end - 1; carry > 0; at -= 1) {
    const sum = (bytes[at] as number) - 48 + (carry % 10);
    bytes[at] = 48 + (sum % 10);
    carry = Math.floor(carry / 10) + (sum >= 10 ? 1 : 0);
  }
}
