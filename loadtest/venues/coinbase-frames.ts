import type { RecordedLine } from "./capture.ts";
import type { Surgery } from "./faults.ts";
import type { Frame, FrameKind, Level, TradeEvent, VenueEvent } from "./tape.ts";

/** Type and product stand in the first bytes of all frames; a match's product follows two order ids. */
const HEAD_BYTES = 512;
const TAIL_BYTES = 64;

/** The recording asked for `level2`; without a key today only `level2_batch` is given, with the same message types. */
const CHANNELS: Record<string, [FrameKind, channel: string]> = {
  snapshot: ["snapshot", "level2_batch"],
  l2update: ["depth", "level2_batch"],
  match: ["trade", "matches"],
  last_match: ["lastTrade", "matches"],
  ticker: ["ticker", "ticker"],
};

export interface Increments {
  quote: string;
  base: string;
}

export interface MatchPayload {
  type: string;
  trade_id: number;
  side: "buy" | "sell";
  size: string;
  price: string;
  product_id: string;
  sequence: number;
  time: string;
}

interface SnapshotPayload {
  product_id: string;
  asks: Level[];
  bids: Level[];
}

interface UpdatePayload {
  product_id: string;
  changes: [side: "buy" | "sell", price: string, size: string][];
  time: string;
}

/** Reads recorded lines, and remembers each product's increments as its recorded book prints them. */
export class CoinbaseReader {
  readonly increments = new Map<string, Increments>();

  readonly read = ({ atMs, text }: RecordedLine, previous: Frame | undefined): Frame | undefined => {
    const head = text.toString("latin1", 0, HEAD_BYTES);
    const known = CHANNELS[/^\{"type":"(\w+)"/.exec(head)?.[1] ?? ""];
    const symbol = /"product_id":"([^"]+)"/.exec(head)?.[1];
    if (known === undefined || symbol === undefined) return undefined;
    const [kind, channel] = known;
    if (kind === "snapshot") {
      const [price, size] = (JSON.parse(text.toString()) as SnapshotPayload).asks[0] ?? ["0.01", "0.01"];
      this.increments.set(symbol, { quote: increment(price), base: increment(size) });
    }
    // What comes first after a subscribe is dated with the product's last trade: only later frames tell the time.
    const dated = kind === "trade" || kind === "depth";
    const stamp = dated ? /"time":"([^"]+)"/.exec(text.toString("latin1", text.length - TAIL_BYTES)) : null;
    const venueTimeMs = stamp === null ? (previous?.venueTimeMs ?? 0) : Date.parse(stamp[1]!);
    return { atMs, venueTimeMs, kind, symbol, topic: `${channel}:${symbol}`, text, data: text };
  };
}

function increment(decimal: string): string {
  const decimals = decimal.split(".")[1]?.length ?? 0;
  return (1 / 10 ** decimals).toFixed(decimals);
}

export function decodeCoinbaseFrame(frame: Frame): VenueEvent | undefined {
  const { kind, symbol } = frame;
  if (kind === "trade" || kind === "lastTrade") return matchEvent(JSON.parse(frame.data.toString()) as MatchPayload);
  if (kind === "snapshot") {
    const { bids, asks } = JSON.parse(frame.data.toString()) as SnapshotPayload;
    return { type: "snapshot", symbol, lastId: 0, bids, asks };
  }
  if (kind !== "depth") return undefined;
  const { changes, time } = JSON.parse(frame.data.toString()) as UpdatePayload;
  const side = (wanted: string): Level[] => changes.filter(([of]) => of === wanted).map(([, p, q]): Level => [p, q]);
  return {
    type: "depth",
    symbol,
    firstId: 0,
    lastId: 0,
    timeMs: Date.parse(time),
    bids: side("buy"),
    asks: side("sell"),
  };
}

/** A match's side is the maker's. */
function matchEvent(match: MatchPayload): TradeEvent {
  const { product_id: symbol, trade_id: id, price, size, side, time } = match;
  return { type: "trade", symbol, id, timeMs: Date.parse(time), price, size, buyerIsMaker: side === "buy" };
}

/** Simulated events as frames: each trade gives a match and its ticker, which share one sequence. */
export class CoinbaseEncoder {
  readonly #sequences = new Map<string, number>();

  readonly encode = (event: VenueEvent, atMs: number): Frame[] => {
    const { symbol } = event;
    const time = coinbaseTime(atMs);
    const frame = (type: string, payload: object, carried?: VenueEvent): Frame => {
      const [kind, channel] = CHANNELS[type]!;
      const text = Buffer.from(JSON.stringify({ type, product_id: symbol, ...payload }));
      const topic = `${channel}:${symbol}`;
      const base: Frame = { atMs, venueTimeMs: Math.floor(atMs), kind, symbol, topic, text, data: text };
      return carried === undefined ? base : { ...base, event: carried };
    };
    switch (event.type) {
      case "quote":
        return [];
      case "snapshot":
        return [frame("snapshot", { bids: event.bids, asks: event.asks }, { ...event, lastId: 0 })];
      case "depth": {
        const changes = [
          ...event.bids.map(([price, size]) => ["buy", price, size]),
          ...event.asks.map(([price, size]) => ["sell", price, size]),
        ];
        return [frame("l2update", { changes, time }, { ...event, firstId: 0, lastId: 0 })];
      }
      case "trade": {
        const { id: trade_id, price, size, buyerIsMaker } = event;
        const sequence = (this.#sequences.get(symbol) ?? 1_000) + 3;
        this.#sequences.set(symbol, sequence);
        const [maker, taker] = buyerIsMaker ? ["buy", "sell"] : ["sell", "buy"];
        const orders = { maker_order_id: orderId(trade_id * 2), taker_order_id: orderId(trade_id * 2 + 1) };
        const match = { trade_id, ...orders, side: maker, size, price, sequence, time };
        const best = event.best && {
          best_bid: event.best.bid[0],
          best_bid_size: event.best.bid[1],
          best_ask: event.best.ask[0],
          best_ask_size: event.best.ask[1],
        };
        const ticker = { sequence, price, ...best, side: taker, time, trade_id, last_size: size };
        return [frame("match", match, event), frame("ticker", ticker)];
      }
    }
  };
}

function orderId(serial: number): string {
  return `00000000-0000-4000-8000-${String(serial).padStart(12, "0")}`;
}

/** RFC 3339 in UTC with six decimals. */
export function coinbaseTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}

export function coinbaseSurgery(bestAsk: (symbol: string) => string | undefined): Surgery {
  return {
    wrap: (_topic, data) => data,
    bestAsk,
    routingFields: ["type", "product_id"],
    retime: (data, year) => {
      const first = `${String(year).padStart(4, "0")}-01-01T00:00:00.000000Z`;
      return data.replace(/"time":"[^"]*"/, `"time":"${first}"`);
    },
    withBid(data, price, size) {
      const payload = JSON.parse(data) as UpdatePayload;
      payload.changes.push(["buy", price, size]);
      return JSON.stringify(payload);
    },
  };
}
