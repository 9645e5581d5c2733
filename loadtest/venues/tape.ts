/** What a player plays: a recorded capture or a simulated market, as frames in the order in which they were sent. */

export type Level = [price: string, size: string];

export interface TradeEvent {
  type: "trade";
  symbol: string;
  id: number;
  timeMs: number;
  price: string;
  size: string;
  buyerIsMaker: boolean;
  /** Best bid and ask when it traded; only a simulated market knows. */
  best?: { bid: Level; ask: Level };
}

/** Sizes are absolute; a zero takes the level off. A venue without ids leaves both at 0. */
export interface DepthEvent {
  type: "depth";
  symbol: string;
  firstId: number;
  lastId: number;
  timeMs: number;
  bids: Level[];
  asks: Level[];
}

export interface SnapshotEvent {
  type: "snapshot";
  symbol: string;
  lastId: number;
  bids: Level[];
  asks: Level[];
}

export interface QuoteEvent {
  type: "quote";
  symbol: string;
  id: number;
  timeMs: number;
  bid: Level;
  ask: Level;
}

export type VenueEvent = TradeEvent | DepthEvent | SnapshotEvent | QuoteEvent;

export type FrameKind = "trade" | "depth" | "bookTicker" | "ticker" | "snapshot" | "lastTrade" | "other";

export interface Frame {
  /** The recorder's clock in ms: paces the playing. */
  atMs: number;
  /** The venue's own clock in ms when it sent this frame. */
  venueTimeMs: number;
  kind: FrameKind;
  symbol: string;
  /** What a client subscribes to, to receive it: `ethusdt@trade`, `matches:BTC-USD`. Empty: never sent. */
  topic: string;
  /** The frame byte for byte as recorded, and inside it the payload that a bare connection gets. */
  text: Buffer;
  data: Buffer;
  /** Simulated frames carry their event; recorded ones are decoded when they are played. */
  event?: VenueEvent;
}

/** Where a symbol's own trades begin, so that invented history can end exactly there. */
export interface FirstTrade {
  timeMs: number;
  price: string;
}

export interface Tape {
  /** Infinity for a simulated market without an end. */
  readonly length: number;
  readonly symbols: string[];
  readonly firstTimeMs: number;
  readonly firstTrades: ReadonlyMap<string, FirstTrade>;
  next(): Frame | undefined;
  /** Told once, when playing begins: a simulated market sets its clock to the wall, so that E is the due time. */
  begin?(wallMs: number): void;
}
