import { ByteBuffer } from "flatbuffers";
import { MAX_FRAME_BYTES } from "../src/wire/frame.ts";
import { Frame, Trade } from "../src/wire/generated/tickwire.ts";
import { FrameView, TradeView } from "../src/wire/generated/views.ts";
import { JsonTwin } from "../src/wire/json.ts";
import { type Memory, scratchMemory } from "../src/wire/memory.ts";
import type { Contender, Contest } from "./peers-contest.ts";
import { catalogWith, encodeAll, STRIDE, tradeFrames } from "./peers-frames.ts";
import type { TradeColumns } from "./peers-trades.ts";

/** As many as stay in the fast caches, 45 KB, as frames do that have just been written. */
const FRAMES = 256;

/**
 * What is read of each trade, by index into the array that it is left in: the same fields as in parts.ts. V8 inlines
 * 920 bytes of bytecode into one function, of which these four by the views take 883. Getters beyond that return boxed
 * doubles: two more fields, or one more call around these four, cost 33 to 49 bytes a read.
 */
const SEQ = 0;
const PRICE = 1;
const SIZE = 2;
const SIDE = 3;
const READ_NUMBERS = 4;

const into = new Float64Array(READ_NUMBERS);

/** What a run of each frame alone leaves. */
function contender(name: string, run: Contender["run"]): Contender {
  const answers = () => {
    const all: number[] = [];
    for (let index = 0; index < FRAMES; index += 1) {
      into.fill(Number.NaN);
      run(index, index + 1);
      all.push(...into);
    }
    return all;
  };
  return { name, run, answers };
}

function viewInRing(memory: Memory): Contender {
  const frame = new FrameView();
  const trade = new TradeView();
  return contender("view", (from, to) => {
    for (let index = from; index < to; index += 1) {
      const at = index * STRIDE;
      frame.attach(memory, at + memory.i32[at >> 2]);
      trade.attach(memory, frame.payloadAt);
      into[SEQ] = frame.seq;
      into[PRICE] = trade.price;
      into[SIZE] = trade.size;
      into[SIDE] = trade.side;
    }
  });
}

function viewAfterCopy(messages: readonly Uint8Array[]): Contender {
  const frame = new FrameView();
  const trade = new TradeView();
  const memory = scratchMemory(MAX_FRAME_BYTES);
  return contender("view, after a copy", (from, to) => {
    for (let index = from; index < to; index += 1) {
      memory.u8.set(messages[index]);
      frame.attach(memory, memory.i32[0]);
      trade.attach(memory, frame.payloadAt);
      into[SEQ] = frame.seq;
      into[PRICE] = trade.price;
      into[SIZE] = trade.size;
      into[SIDE] = trade.side;
    }
  });
}

/** As the FlatBuffers documentation shows: new objects for each message. */
function accessors(messages: readonly Uint8Array[]): Contender {
  return contender("generated accessors, new objects", (from, to) => {
    for (let index = from; index < to; index += 1) {
      const frame = Frame.getRootAsFrame(new ByteBuffer(messages[index]));
      const trade: Trade = frame.payload(new Trade());
      into[SEQ] = Number(frame.seq());
      into[PRICE] = trade.price();
      into[SIZE] = trade.size();
      into[SIDE] = trade.side();
    }
  });
}

interface TradeTwin {
  seq: number;
  price: number;
  size: number;
  side: "buy" | "sell" | null;
}

function readTwin(text: string): void {
  const trade = JSON.parse(text) as TradeTwin;
  into[SEQ] = trade.seq;
  into[PRICE] = trade.price;
  into[SIZE] = trade.size;
  into[SIDE] = trade.side === "buy" ? 1 : trade.side === "sell" ? 2 : 0;
}

function parsedTexts(texts: readonly string[]): Contender {
  return contender("JSON.parse of the twin", (from, to) => {
    for (let index = from; index < to; index += 1) readTwin(texts[index]);
  });
}

function parsedBytes(messages: readonly Buffer[]): Contender {
  return contender("JSON.parse of the twin's bytes", (from, to) => {
    for (let index = from; index < to; index += 1) readTwin(messages[index].toString());
  });
}

/** A frame read where it lies in the ring, and one that a socket has handed over. */
export function decodeContests(columns: TradeColumns): Contest[] {
  const frames = tradeFrames(columns, FRAMES);
  const encoder = encodeAll(frames);
  const { memory } = encoder;
  const { catalog } = catalogWith();
  const twin = new JsonTwin(catalog, () => undefined);
  const messages = frames.map((_, index) => Uint8Array.from(encoder.bytes(index)));
  const textMessages = frames.map((_, index) => Buffer.from(twin.encode(memory, index * STRIDE)));
  return [
    {
      part: "reading a trade frame in the ring",
      count: FRAMES,
      countsBytes: true,
      ours: viewInRing(memory),
      peers: [accessors(messages), parsedTexts(textMessages.map((message) => message.toString()))],
    },
    {
      part: "reading a trade frame that a socket handed over",
      count: FRAMES,
      countsBytes: true,
      ours: viewAfterCopy(messages),
      peers: [accessors(messages), parsedBytes(textMessages)],
    },
  ];
}
