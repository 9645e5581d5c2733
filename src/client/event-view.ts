import * as SLOT from "../wire/generated/slots.ts";
import { FrameView } from "../wire/generated/views.ts";
import { TableView } from "../wire/table-view.ts";
import type { InstrumentName, StreamInfo } from "./receiver.ts";

const NO_STREAM: StreamInfo = {
  stream: 0,
  instrument: { exchange: "", symbol: "" },
  channel: "",
  timeframe: undefined,
  resumable: false,
};
const NO_FRAME = new FrameView();

/** What every plain event says beside the fields of its kind. */
const COMMON = [
  "exchange",
  "symbol",
  "stream",
  "epoch",
  "position",
  "sequence",
  "tsExchange",
  "tsReceive",
  "tsPublish",
  "flags",
] as const;

export type Common = "type" | (typeof COMMON)[number];
export type Plain<View, Key extends keyof View> = { readonly [Name in Key]: View[Name] };

/** A plain object with some of a view's fields, in this order. */
export function plain<View extends EventView & { readonly type: string }, Key extends keyof View>(
  view: View,
  keys: readonly Key[],
): Plain<View, Key | Common> {
  const all: Record<string, unknown> = { type: view.type };
  for (const key of COMMON) all[key] = view[key];
  for (const key of keys) all[key as string] = view[key];
  return all as Plain<View, Key | Common>;
}

export type Side = "buy" | "sell" | "unknown";

/**
 * What every event says. A view is one object for all events of its kind: it reads the frame's own bytes, and is good in
 * the handler's call only; `toObject` makes something to keep. Prices and sizes are the venue's own; times are whole
 * microseconds since 1970, 0 where unknown; a number that is not known is NaN. Hot path.
 */
export abstract class EventView {
  /** One object for each instrument, for as long as the client lives: it can be a key. */
  instrument: InstrumentName = NO_STREAM.instrument;
  info: StreamInfo = NO_STREAM;
  protected header: FrameView = NO_FRAME;
  protected readonly table = new TableView();
  readonly #time = new Float64Array(1);

  /** Points the view at a frame, which must be of its kind. */
  attach(frame: FrameView, info: StreamInfo): this {
    this.header = frame;
    this.info = info;
    this.instrument = info.instrument;
    frame.table.integers(SLOT.FRAME_TS_EXCHANGE, this.#time);
    this.table.attach(frame.table.memory, frame.payloadAt);
    return this;
  }

  /** The channel's event as a plain object, in the same words. */
  abstract toObject(): object;

  get exchange(): string {
    return this.instrument.exchange;
  }

  get symbol(): string {
    return this.instrument.symbol;
  }

  get stream(): number {
    return this.header.stream;
  }

  /** A number of the server's start, or of several that followed each other cleanly. */
  get epoch(): number {
    return this.header.epoch;
  }

  get position(): number {
    return this.header.position;
  }

  /** Of the stream, from 1; a derived event stands for those from `fromSequence` on. */
  get sequence(): number {
    return this.header.seq;
  }

  get fromSequence(): number {
    return this.header.fromSeq;
  }

  /** The venue's time of the event, when the gateway got it, and when it published it. */
  get tsExchange(): number {
    return this.#time[0];
  }

  get tsReceive(): number {
    return this.header.tsReceive;
  }

  get tsPublish(): number {
    return this.header.tsPublish;
  }

  /** Bits: 1 derived, 2 snapshot, 4 last of event, 8 correction, 16 backfilled, 32 inexact. */
  get flags(): number {
    return this.header.flags;
  }
}
