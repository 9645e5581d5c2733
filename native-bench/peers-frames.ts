import { ByteBuffer } from "flatbuffers";
import { SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import { PRICE, SIZE, Slot, TS_EXCHANGE } from "../src/market/sink.ts";
import * as F from "../src/wire/frame.ts";
import { Frame, Trade } from "../src/wire/generated/tickwire.ts";
import { type Memory, scratchMemory } from "../src/wire/memory.ts";
import type { TradeColumns } from "./peers-trades.ts";

/** Room for each frame. */
export const STRIDE = F.LARGEST_TRADE_BYTES;

/** The contents of a trade's frame, as one would write them down as an object. */
export interface TradeFrame {
  stream: number;
  instrument: number;
  epoch: number;
  position: number;
  seq: number;
  from_seq: number;
  ts_exchange: number;
  ts_receive: number;
  ts_publish: number;
  flags: number;
  payload: { price: number; size: number; side: number; flags: number; trade_id: string };
}

const EPOCH = 7_976_249_570_992_945;
const FIRST_POSITION = 5_000_000_000;
const FIRST_SEQUENCE = 14_515;

/** An instrument to be named in the JSON form. */
export function catalogWith(): { catalog: Catalog; instrument: number } {
  const catalog = new Catalog();
  catalog.addVenue("binance");
  const { id } = catalog.list("binance", { ...emptyListing(), symbol: "ETH/USDT", marketType: "spot" });
  return { catalog, instrument: id };
}

/** The first `count` trades as contents of frames, all received in one turn. */
export function tradeFrames({ prices, sizes, times, ids, sides }: TradeColumns, count: number): TradeFrame[] {
  const { instrument } = catalogWith();
  const received = times[count - 1] + 5000;
  return Array.from({ length: count }, (_, index) => ({
    stream: streamOf(instrument, SLOT_TRADES),
    instrument,
    epoch: EPOCH,
    position: FIRST_POSITION + 3 * index,
    seq: FIRST_SEQUENCE + index,
    from_seq: FIRST_SEQUENCE + index,
    ts_exchange: times[index],
    ts_receive: received,
    ts_publish: received,
    flags: F.FLAG_LAST_OF_EVENT,
    payload: {
      price: prices[index],
      size: sizes[index],
      side: sides[index],
      flags: 0,
      trade_id: String(ids[index]),
    },
  }));
}

/**
 * Writes frames as the engine does: the template is copied and patched, from a slot that a feed has filled and from
 * counters in typed arrays. Filling the slot is part of it.
 */
export class TemplateEncoder {
  readonly memory: Memory;
  readonly lengths: Int32Array;
  readonly #slot = new Slot();
  readonly #header = new F.FrameHeader();
  readonly #stream: number;
  readonly #instrument: number;
  readonly #prices: Float64Array;
  readonly #sizes: Float64Array;
  readonly #times: Float64Array;
  readonly #sides: Uint8Array;
  readonly #sequences: Float64Array;
  readonly #positions: Float64Array;
  readonly #position = new Float64Array(1);
  /** The ids' bytes, four words each, and how many bytes they are. */
  readonly #ids: Int32Array;
  readonly #idLengths: Uint8Array;

  constructor(frames: readonly TradeFrame[]) {
    this.memory = scratchMemory(frames.length * STRIDE);
    this.lengths = new Int32Array(frames.length);
    this.#ids = new Int32Array(4 * frames.length);
    const [{ stream, instrument, epoch, ts_receive, ts_publish }] = frames;
    this.#stream = stream;
    this.#instrument = instrument;
    this.#header.set(F.H_EPOCH, Float64Array.of(epoch), 0);
    this.#header.set(F.H_TS_RECEIVE, Float64Array.of(ts_receive), 0);
    this.#header.set(F.H_TS_PUBLISH, Float64Array.of(ts_publish), 0);
    this.#prices = Float64Array.from(frames, ({ payload }) => payload.price);
    this.#sizes = Float64Array.from(frames, ({ payload }) => payload.size);
    this.#times = Float64Array.from(frames, (frame) => frame.ts_exchange);
    this.#sides = Uint8Array.from(frames, ({ payload }) => payload.side);
    this.#sequences = Float64Array.from(frames, ({ seq }) => seq);
    this.#positions = Float64Array.from(frames, ({ position }) => position);
    const bytes = Buffer.from(this.#ids.buffer);
    this.#idLengths = Uint8Array.from(frames, ({ payload }, index) => bytes.write(payload.trade_id, 16 * index, 16));
  }

  /** Writes frame `index` to its place. */
  encode(index: number): void {
    const { numbers, tradeIdWords } = this.#slot;
    numbers[PRICE] = this.#prices[index];
    numbers[SIZE] = this.#sizes[index];
    numbers[TS_EXCHANGE] = this.#times[index];
    for (let word = 0; word < 4; word += 1) tradeIdWords[word] = this.#ids[4 * index + word];
    this.#position[0] = this.#positions[index];
    const at = index * STRIDE;
    const length = F.writeTrade(this.memory, at, numbers, this.#sides[index], 0, tradeIdWords, this.#idLengths[index]);
    F.writeRingHeader(
      this.memory,
      at,
      this.#header.words,
      this.#stream,
      this.#instrument,
      F.FLAG_LAST_OF_EVENT,
      this.#sequences,
      index,
      this.#position,
      numbers,
      TS_EXCHANGE,
    );
    this.lengths[index] = length;
  }

  /** The bytes of frame `index`, where they lie. */
  bytes(index: number): Uint8Array {
    return this.memory.u8.subarray(index * STRIDE, index * STRIDE + this.lengths[index]);
  }
}

/** Every frame, written. */
export function encodeAll(frames: readonly TradeFrame[]): TemplateEncoder {
  const encoder = new TemplateEncoder(frames);
  for (const index of frames.keys()) encoder.encode(index);
  return encoder;
}

/** All that the official accessors read in a frame. */
export function readAll(bytes: Uint8Array): TradeFrame {
  const frame = Frame.getRootAsFrame(new ByteBuffer(bytes));
  const trade: Trade = frame.payload(new Trade());
  return {
    stream: frame.stream(),
    instrument: frame.instrument(),
    epoch: Number(frame.epoch()),
    position: Number(frame.position()),
    seq: Number(frame.seq()),
    from_seq: Number(frame.fromSeq()),
    ts_exchange: Number(frame.tsExchange()),
    ts_receive: Number(frame.tsReceive()),
    ts_publish: Number(frame.tsPublish()),
    flags: frame.flags(),
    payload: {
      price: trade.price(),
      size: trade.size(),
      side: trade.side(),
      flags: trade.flags(),
      trade_id: trade.tradeId() ?? "",
    },
  };
}

/** The values of an object, and of those in it, in order. */
export function valuesOf({ payload, ...header }: TradeFrame): (number | string)[] {
  return [...Object.values(header), ...Object.values(payload)];
}
