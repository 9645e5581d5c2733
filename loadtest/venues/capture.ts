import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { FirstTrade, Frame, Tape, VenueEvent } from "./tape.ts";

export interface RecordedLine {
  atMs: number;
  text: Buffer;
}

const NEWLINE = 0x0a;
const SPACE = 0x20;
const COLON = 0x3a;

/**
 * Lines of a gzipped capture, as slices of one buffer: what is played later is the recorded bytes themselves.
 *
 *   Binance    <local ns> <json>
 *   Coinbase   <seconds.fraction>: <json>      lines that begin with the URL are what the recorder sent: skipped
 */
export function* readCapture(path: string): Generator<RecordedLine> {
  const bytes = gunzipSync(readFileSync(path));
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const space = bytes.indexOf(SPACE, start);
    if (space > start && space < end && isDigit(bytes[start]!)) {
      const seconds = bytes[space - 1] === COLON;
      const stamp = Number(bytes.toString("latin1", start, seconds ? space - 1 : space));
      yield { atMs: seconds ? stamp * 1e3 : stamp / 1e6, text: bytes.subarray(space + 1, end) };
    }
    start = end + 1;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

export type FrameReader = (line: RecordedLine, previous: Frame | undefined) => Frame | undefined;

/** Several captures are one run: the second goes on where the first ends. */
export class CaptureTape implements Tape {
  readonly symbols: string[];
  readonly firstTimeMs: number;
  readonly firstTrades = new Map<string, FirstTrade>();
  readonly #frames: Frame[] = [];
  #index = 0;

  constructor(paths: string[], read: FrameReader, decode: (frame: Frame) => VenueEvent | undefined) {
    let previous: Frame | undefined;
    for (const path of paths) {
      const before = this.#frames.length;
      for (const line of readCapture(path)) {
        const frame = read(line, previous);
        if (frame === undefined) continue;
        this.#frames.push(frame);
        previous = frame;
        if ((frame.kind === "trade" || frame.kind === "lastTrade") && !this.firstTrades.has(frame.symbol)) {
          const trade = decode(frame);
          if (trade?.type === "trade") this.firstTrades.set(frame.symbol, { timeMs: trade.timeMs, price: trade.price });
        }
      }
      if (this.#frames.length === before) throw new Error(`${path} holds no frame of this venue`);
    }
    this.symbols = [...new Set(this.#frames.map((frame) => frame.symbol))].filter((symbol) => symbol !== "");
    // A recording can begin with frames that carry no venue time (bookTicker): its first known time counts for them.
    this.firstTimeMs = this.#frames.find((frame) => frame.venueTimeMs > 0)?.venueTimeMs ?? 0;
  }

  get length(): number {
    return this.#frames.length;
  }

  next(): Frame | undefined {
    return this.#frames[this.#index++];
  }
}
