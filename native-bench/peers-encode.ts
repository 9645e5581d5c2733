import { Builder } from "flatbuffers";
import { Frame, Payload, Trade } from "../src/wire/generated/tickwire.ts";
import type { Contest } from "./peers-contest.ts";
import { readAll, TemplateEncoder, type TradeFrame, tradeFrames, valuesOf } from "./peers-frames.ts";
import type { TradeColumns } from "./peers-trades.ts";

/** So many that their bytes, most of a megabyte, are more than the first cache holds, as a ring is. */
const FRAMES = 4096;

/** Numbers of a header that stay the same for a turn, made ready as a user would. */
interface TurnNumbers {
  epoch: bigint;
  receive: bigint;
  publish: bigint;
}

/** A frame by the official Builder, which is used again; the bytes are a view of it. */
function build(builder: Builder, frame: TradeFrame, { epoch, receive, publish }: TurnNumbers): Uint8Array {
  const { stream, instrument, flags, payload } = frame;
  builder.clear();
  // clear() forgets it. Every field has a place then, as in the template, and so can be patched.
  builder.forceDefaults(true);
  const id = builder.createString(payload.trade_id);
  const trade = Trade.createTrade(builder, payload.price, payload.size, payload.side, payload.flags, id);
  const position = BigInt(frame.position);
  const seq = BigInt(frame.seq);
  const exchange = BigInt(frame.ts_exchange);
  const root = Frame.createFrame(
    builder,
    stream,
    instrument,
    epoch,
    position,
    seq,
    seq,
    exchange,
    receive,
    publish,
    flags,
    Payload.Trade,
    trade,
  );
  Frame.finishFrameBuffer(builder, root);
  return builder.asUint8Array();
}

/** A trade's frame by the template, by the official Builder, and its contents by JSON.stringify. */
export function encodeContest(columns: TradeColumns): Contest {
  const frames = tradeFrames(columns, FRAMES);
  const encoder = new TemplateEncoder(frames);
  const builder = new Builder(1024);
  const [{ epoch, ts_receive, ts_publish }] = frames;
  const turn = { epoch: BigInt(epoch), receive: BigInt(ts_receive), publish: BigInt(ts_publish) };
  const sum = new Float64Array(1);
  return {
    part: "a trade to a finished frame",
    count: frames.length,
    ours: {
      name: "template, patched",
      run(from, to) {
        for (let index = from; index < to; index += 1) encoder.encode(index);
        sum[0] += encoder.lengths[to - 1];
      },
      answers() {
        const fresh = new TemplateEncoder(frames);
        return frames.flatMap((_, index) => {
          fresh.encode(index);
          return valuesOf(readAll(fresh.bytes(index)));
        });
      },
    },
    peers: [
      {
        name: "flatbuffers Builder",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += build(builder, frames[index], turn).length;
        },
        answers: () => frames.flatMap((frame) => valuesOf(readAll(build(builder, frame, turn)))),
      },
      {
        // To a string; a socket has to make bytes of it yet.
        name: "JSON.stringify",
        run(from, to) {
          for (let index = from; index < to; index += 1) sum[0] += JSON.stringify(frames[index]).length;
        },
        answers: () => frames.flatMap((frame) => valuesOf(JSON.parse(JSON.stringify(frame)) as TradeFrame)),
      },
    ],
  };
}
