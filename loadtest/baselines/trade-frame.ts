import { PRICE, SIDE_BUY, SIZE } from "../../src/market/sink.ts";
import {
  FLAG_LAST_OF_EVENT,
  FrameHeader,
  H_FROM_SEQ,
  H_POSITION,
  H_SEQ,
  writeHeader,
  writeTrade,
} from "../../src/wire/frame.ts";
import { scratchMemory } from "../../src/wire/memory.ts";

const STREAM = 64;
const INSTRUMENT = 1;
const ID = Buffer.from("1000000000\0\0");
const ID_LENGTH = 10;

/** One trade's frame, the very bytes that the gateway sends, with the next sequence at each call. */
export class TradeFrame {
  readonly stream = STREAM;
  readonly #memory = scratchMemory(1024);
  readonly #header = new FrameHeader();
  readonly #sequence = new Float64Array(1);
  readonly bytes: Uint8Array;

  constructor() {
    const numbers = new Float64Array(Math.max(PRICE, SIZE) + 1);
    numbers[PRICE] = 67_186.6;
    numbers[SIZE] = 0.04113;
    const words = new Int32Array(ID.buffer.slice(ID.byteOffset, ID.byteOffset + ID.length));
    const length = writeTrade(this.#memory, 0, numbers, SIDE_BUY, 0, words, ID_LENGTH);
    this.bytes = this.#memory.u8.subarray(0, length);
  }

  get sequence(): number {
    return this.#sequence[0] as number;
  }

  /** Hot path. */
  next(): Uint8Array {
    const header = this.#header;
    this.#sequence[0] = (this.#sequence[0] as number) + 1;
    header.set(H_SEQ, this.#sequence, 0);
    header.set(H_FROM_SEQ, this.#sequence, 0);
    header.set(H_POSITION, this.#sequence, 0);
    writeHeader(this.#memory, 0, header.words, STREAM, INSTRUMENT, FLAG_LAST_OF_EVENT);
    return this.bytes;
  }
}
