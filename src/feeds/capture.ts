import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { InstrumentListing } from "../market/instrument.ts";
import { emptyListing } from "../market/instrument.ts";

/** Venues whose recorded frames can be read. */
export type CaptureVenue = "binance" | "coinbase";

/** What a line of a capture is. */
export const FRAME_RECEIVED = 0;
/** A connection was opened. */
export const FRAME_OPENED = 1;

const NEWLINE = 0x0a;
const SPACE = 0x20;
/** Digits of a time in nanoseconds that make microseconds; exact until the year 2286. */
const MICRO_DIGITS = 16;
const GZIP_MAGIC = 0x1f8b;

/** Where each venue's messages name their instrument. */
const SYMBOL_KEYS: Readonly<Record<CaptureVenue, string>> = { binance: '"s":"', coinbase: '"product_id":"' };

/**
 * Recorded frames in memory: the files' bytes, and where in them each frame lies and when it came. Two formats:
 *
 *   binance    <local ns> <json>
 *   coinbase   <url> <-> <s>  (opened)     <url> <- <s>: <json>  (sent, left out)     <s>: <json>  (received)
 */
export class Capture {
  readonly venue: CaptureVenue;
  /** When each frame came, microseconds; it never goes back. */
  readonly times: Float64Array;
  readonly kinds: Uint8Array;
  readonly messages: readonly Buffer[];

  constructor(venue: CaptureVenue, files: readonly Buffer[]) {
    this.venue = venue;
    const times: number[] = [];
    const kinds: number[] = [];
    const messages: Buffer[] = [];
    const read = venue === "binance" ? readBinanceLine : readCryptofeedLine;
    for (const file of files) {
      for (const line of linesOf(file)) {
        const frame = read(line);
        if (frame === undefined) continue;
        times.push(Math.max(frame.time, times[times.length - 1] ?? 0));
        kinds.push(frame.kind);
        messages.push(frame.message);
      }
    }
    this.times = Float64Array.from(times);
    this.kinds = Uint8Array.from(kinds);
    this.messages = messages;
  }

  get count(): number {
    return this.messages.length;
  }

  get firstTime(): number {
    return this.times[0] ?? 0;
  }

  get lastTime(): number {
    return this.times[this.count - 1] ?? 0;
  }

  /** The instruments that the messages name, in order of first appearance. */
  listings(): InstrumentListing[] {
    const key = SYMBOL_KEYS[this.venue];
    const names = new Set<string>();
    for (const message of this.messages) {
      const at = message.indexOf(key, 0, "latin1");
      if (at < 0) continue;
      const start = at + key.length;
      names.add(message.toString("utf8", start, message.indexOf('"', start)));
    }
    return [...names].map((name) => listingOf(name, this.venue));
  }
}

/** Reads files that continue each other, gzipped or not, as one recording. Throws when one cannot be read. */
export function readCapture(venue: CaptureVenue, files: readonly string[]): Capture {
  return new Capture(venue, files.map(readPlain));
}

function readPlain(file: string): Buffer {
  const bytes = readFileSync(file);
  return bytes.length > 2 && bytes.readUInt16BE(0) === GZIP_MAGIC ? gunzipSync(bytes) : bytes;
}

interface Frame {
  time: number;
  kind: number;
  message: Buffer;
}

function* linesOf(file: Buffer): Iterable<Buffer> {
  for (let start = 0; start < file.length; ) {
    const newline = file.indexOf(NEWLINE, start);
    const end = newline < 0 ? file.length : newline;
    if (end > start) yield file.subarray(start, end);
    start = end + 1;
  }
}

function readBinanceLine(line: Buffer): Frame | undefined {
  const space = line.indexOf(SPACE);
  const time = Number(line.toString("latin1", 0, Math.min(space, MICRO_DIGITS)));
  if (space < MICRO_DIGITS || !Number.isSafeInteger(time)) return undefined;
  return { time, kind: FRAME_RECEIVED, message: line.subarray(space + 1) };
}

function readCryptofeedLine(line: Buffer): Frame | undefined {
  const head = line.toString("latin1", 0, 120);
  const received = /^(\d+\.?\d*): /.exec(head);
  if (received !== null) {
    return { time: microsOf(received[1]), kind: FRAME_RECEIVED, message: line.subarray(received[0].length) };
  }
  const opened = /^\S+ <-> (\d+\.?\d*)/.exec(head);
  if (opened === null) return undefined;
  return { time: microsOf(opened[1]), kind: FRAME_OPENED, message: line.subarray(line.length) };
}

function microsOf(seconds: string): number {
  return Math.round(Number(seconds) * 1e6);
}

/** Binance's names have no separator; these are the quotes that its pairs end in, the longer of two that fit first. */
const BINANCE_QUOTES = [
  "FDUSD",
  "USDT",
  "USDC",
  "TUSD",
  "BUSD",
  "BTC",
  "ETH",
  "BNB",
  "TRY",
  "EUR",
  "JPY",
  "BRL",
  "DAI",
];

/**
 * What a capture says of an instrument is its name: the venue's list is not in it. This is the one place that reads a
 * symbol out of a name; an unknown suffix leaves the venue's name as it is. Eight decimals is what both venues print.
 */
function listingOf(venueSymbol: string, venue: CaptureVenue): InstrumentListing {
  const suffix = BINANCE_QUOTES.find((quote) => venueSymbol.endsWith(quote) && venueSymbol.length > quote.length);
  const split = venue === "coinbase" ? venueSymbol.indexOf("-") : venueSymbol.length - (suffix ?? "").length;
  const base = venueSymbol.slice(0, split);
  const quote = venueSymbol.slice(venue === "coinbase" ? split + 1 : split);
  return {
    ...emptyListing(),
    symbol: quote === "" ? base : `${base}/${quote}`,
    venueSymbol,
    marketType: "spot",
    base,
    quote,
    contractSize: 1,
    sizeUnit: "base",
    priceDecimals: 8,
    sizeDecimals: 8,
    status: "trading",
    channels: venue === "binance" ? ["trades", "orderbook", "quotes"] : ["trades", "orderbook", "ticker"],
  };
}
