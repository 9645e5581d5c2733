import type { RecordedLine } from "./capture.ts";
import type { Surgery } from "./faults.ts";
import type { Frame, FrameKind, Level, VenueEvent } from "./tape.ts";

const WRAPPER = '{"stream":"';
const DATA = '"data":';
/** Enough of a payload to hold `"E"`, which every event but bookTicker carries near its head. */
const HEAD_BYTES = 96;

const KINDS: Record<string, FrameKind> = { trade: "trade", depth: "depth", bookTicker: "bookTicker" };

/** A recorded line: a combined stream's frame, or the REST depth snapshot that the recorder put in between. */
export function readBinanceFrame({ atMs, text }: RecordedLine, previous: Frame | undefined): Frame | undefined {
  const venueTimeMs = previous?.venueTimeMs ?? 0;
  if (text.toString("latin1", 0, WRAPPER.length) !== WRAPPER) {
    if (!text.subarray(0, HEAD_BYTES).includes('"lastUpdateId"')) return undefined;
    // The snapshot names no symbol; a recorder asks for it after its depth stream has begun.
    return { atMs, venueTimeMs, kind: "snapshot", symbol: previous?.symbol ?? "", topic: "", text, data: text };
  }
  const topic = text.toString("utf8", WRAPPER.length, text.indexOf('"', WRAPPER.length));
  const data = text.subarray(text.indexOf(DATA, WRAPPER.length) + DATA.length, text.length - 1);
  const stamp = /"E":(\d{13})/.exec(data.toString("latin1", 0, HEAD_BYTES));
  const [name, stream] = topic.split("@");
  return {
    atMs,
    venueTimeMs: stamp === null ? venueTimeMs : Number(stamp[1]),
    kind: KINDS[stream ?? ""] ?? "other",
    symbol: name!.toUpperCase(),
    topic,
    text,
    data,
  };
}

interface TradePayload {
  s: string;
  t: number;
  p: string;
  q: string;
  T: number;
  m: boolean;
}

interface DepthPayload {
  E: number;
  s: string;
  U: number;
  u: number;
  b: Level[];
  a: Level[];
}

interface SnapshotPayload {
  lastUpdateId: number;
  bids: Level[];
  asks: Level[];
}

export function decodeBinanceFrame(frame: Frame): VenueEvent | undefined {
  const { kind, symbol } = frame;
  if (kind === "trade") {
    const { t, p, q, T, m } = JSON.parse(frame.data.toString()) as TradePayload;
    return { type: "trade", symbol, id: t, timeMs: T, price: p, size: q, buyerIsMaker: m };
  }
  if (kind === "depth") {
    const { E, U, u, b, a } = JSON.parse(frame.data.toString()) as DepthPayload;
    return { type: "depth", symbol, firstId: U, lastId: u, timeMs: E, bids: b, asks: a };
  }
  if (kind === "snapshot") {
    const { lastUpdateId, bids, asks } = JSON.parse(frame.data.toString()) as SnapshotPayload;
    return { type: "snapshot", symbol, lastId: lastUpdateId, bids, asks };
  }
  return undefined;
}

/** A simulated event as the frame that the venue would send for it. */
export function encodeBinanceEvent(event: VenueEvent, atMs: number): Frame[] {
  const venueTimeMs = Math.floor(atMs);
  const { symbol } = event;
  const name = symbol.toLowerCase();
  const head = `"E":${venueTimeMs},"s":"${symbol}"`;
  const frame = (kind: FrameKind, topic: string, data: string): Frame[] => {
    const text = Buffer.from(wrap(topic, data));
    const start = text.length - 1 - Buffer.byteLength(data);
    return [{ atMs, venueTimeMs, kind, symbol, topic, text, data: text.subarray(start, text.length - 1), event }];
  };
  switch (event.type) {
    case "trade": {
      const { id, price, size, buyerIsMaker } = event;
      const rest = `"t":${id},"p":"${price}","q":"${size}","T":${venueTimeMs},"m":${buyerIsMaker},"M":true`;
      return frame("trade", `${name}@trade`, `{"e":"trade",${head},${rest}}`);
    }
    case "quote": {
      const { id, bid, ask } = event;
      const best = `"b":"${bid[0]}","B":"${bid[1]}","a":"${ask[0]}","A":"${ask[1]}"`;
      return frame("bookTicker", `${name}@bookTicker`, `{"u":${id},"s":"${symbol}",${best}}`);
    }
    case "depth": {
      const { firstId, lastId, bids, asks } = event;
      const levels = `"U":${firstId},"u":${lastId},"b":${JSON.stringify(bids)},"a":${JSON.stringify(asks)}`;
      return frame("depth", `${name}@depth@100ms`, `{"e":"depthUpdate",${head},${levels}}`);
    }
    case "snapshot": {
      const none = Buffer.alloc(0);
      return [{ atMs, venueTimeMs, kind: "snapshot", symbol, topic: "", text: none, data: none, event }];
    }
  }
}

export function wrap(topic: string, data: string): string {
  return `{"stream":"${topic}","data":${data}}`;
}

/** `?timeUnit=MICROSECOND`: the recorded milliseconds with three zeros more. */
export function inMicroseconds(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString().replace(/("[ET]":\d{13})(?!\d)/g, "$1000"));
}

export function binanceSurgery(bestAsk: (symbol: string) => string | undefined): Surgery {
  return {
    wrap,
    bestAsk,
    routingFields: ["e", "s"],
    retime(data, year) {
      const first = new Date(0);
      first.setUTCFullYear(year, 0, 1);
      return data.replace(/"([ET])":\d+/g, (_, field) => `"${field}":${first.getTime()}`);
    },
    withBid(data, price, size) {
      const payload = JSON.parse(data) as DepthPayload;
      payload.b.push([price, size]);
      return JSON.stringify(payload);
    },
  };
}
