import type { FrameView } from "../wire/generated/views.ts";

/** An instrument as the client knows it: one object for as long as the client lives, so that it can be a key. */
export interface InstrumentName {
  /** Lower case: "binance". */
  readonly exchange: string;
  /** Unified: "BTC/USDT". */
  readonly symbol: string;
}

/** A stream that is subscribed to; one object as long as its epoch lives. */
export interface StreamInfo {
  /** The server's number for it, good for one epoch. */
  readonly stream: number;
  readonly instrument: InstrumentName;
  readonly channel: string;
  /** "1m"; undefined for channels without. */
  readonly timeframe: string | undefined;
  /** What is missed can be sent again. */
  readonly resumable: boolean;
}

/** What a client did not get and will not get any more. */
export interface Gap {
  readonly stream: StreamInfo;
  /** First and last sequence that are missing; undefined where nobody can know. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  /** `window`, `lag`, `epoch`, `restart`, `no_snapshot`, or `client`: this client's own queue was too long. */
  readonly reason: string;
}

/** The part of the client that a subscription's frames are for: called in order, in the turn in which they come. */
export interface Receiver {
  /**
   * A frame, attached, and how many bytes of its memory it has; what it refers to is good in this call only. Every frame
   * of a stream comes once, in order.
   */
  frame(frame: FrameView, stream: StreamInfo, length: number): void;
  gap(gap: Gap): void;
  /** The connection is gone: until `connected`, nothing is live. */
  disconnected(reason: string): void;
  /**
   * The connection is there again and the subscription is in place. What was missed comes next; or, `anew`, the server is
   * another one, or knows nothing of before: whatever was held begins again.
   */
  connected(anew: boolean): void;
  /** All that was missed has come. */
  level(): void;
}
