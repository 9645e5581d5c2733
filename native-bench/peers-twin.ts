import { ByteBuffer } from "flatbuffers";
import { Frame, Trade } from "../src/wire/generated/tickwire.ts";
import { SIDE_NAMES } from "../src/wire/generated/views.ts";
import { JsonTwin } from "../src/wire/json.ts";
import type { Contest } from "./peers-contest.ts";
import { catalogWith, encodeAll, STRIDE, tradeFrames } from "./peers-frames.ts";
import type { TradeColumns } from "./peers-trades.ts";

const FRAMES = 4096;
/** Names that a frame does not carry. */
const IDENTITY = { exchange: "binance", symbol: "ETH/USDT", market_type: "spot" };

/** The twin's object, made from the frame by the official accessors. */
function objectOf(bytes: Uint8Array): object {
  const frame = Frame.getRootAsFrame(new ByteBuffer(bytes));
  const trade: Trade = frame.payload(new Trade());
  const flags = trade.flags();
  return {
    type: "trade",
    exchange: IDENTITY.exchange,
    symbol: IDENTITY.symbol,
    market_type: IDENTITY.market_type,
    stream: frame.stream(),
    channel: "trades",
    epoch: Number(frame.epoch()),
    position: Number(frame.position()),
    seq: Number(frame.seq()),
    from_seq: Number(frame.fromSeq()),
    ts_exchange: Math.floor(Number(frame.tsExchange()) / 1000),
    ts_receive: Math.floor(Number(frame.tsReceive()) / 1000),
    ts_publish: Math.floor(Number(frame.tsPublish()) / 1000),
    flags: frame.flags() === 4 ? ["last_of_event"] : [],
    price: trade.price(),
    size: trade.size(),
    side: SIDE_NAMES[trade.side()],
    trade_id: trade.tradeId(),
    is_block: (flags & 1) !== 0,
    is_liquidation: (flags & 2) !== 0,
    is_odd_lot: (flags & 4) !== 0,
  };
}

/**
 * The JSON twin of a frame. All texts are written to one buffer, as a socket must: a text that is put together with
 * `+` is not there before somebody reads it, and JSON.stringify's is.
 */
export function twinContest(columns: TradeColumns): Contest {
  const frames = tradeFrames(columns, FRAMES);
  const encoder = encodeAll(frames);
  const { memory } = encoder;
  const { catalog } = catalogWith();
  const twin = new JsonTwin(catalog, () => undefined);
  const messages = frames.map((_, index) => encoder.bytes(index));
  const objects = messages.map(objectOf);
  const buffer = Buffer.alloc(4096);
  const sum = new Float64Array(1);
  const written = (text: string) => buffer.toString("utf8", 0, buffer.write(text));
  return {
    part: "a trade frame to JSON",
    count: frames.length,
    ours: {
      name: "JSON twin",
      run(from, to) {
        for (let index = from; index < to; index += 1) sum[0] += buffer.write(twin.encode(memory, index * STRIDE));
      },
      answers: () => frames.map((_, index) => written(twin.encode(memory, index * STRIDE))),
    },
    peers: [
      {
        name: "JSON.stringify of a ready object",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += buffer.write(JSON.stringify(objects[index]));
        },
        answers: () => objects.map((object) => written(JSON.stringify(object))),
      },
      {
        name: "accessors, object, JSON.stringify",
        run(from, to) {
          for (let index = from; index < to; index += 1) {
            sum[0] += buffer.write(JSON.stringify(objectOf(messages[index])));
          }
        },
        answers: () => messages.map((bytes) => written(JSON.stringify(objectOf(bytes)))),
      },
    ],
  };
}
