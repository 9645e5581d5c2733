import { grown } from "../std/grow.ts";
import { FLAG_DERIVED, MAX_FRAME_BYTES } from "../wire/frame-flags.ts";
import * as SLOT from "../wire/generated/slots.ts";
import { FrameView } from "../wire/generated/views.ts";
import { type Memory, scratchMemory } from "../wire/memory.ts";
import { attachFrame } from "./frame-check.ts";
import type { AckedStream, GapMessage } from "./message.ts";
import type { InstrumentName, Receiver, StreamInfo } from "./receiver.ts";
import { Refill } from "./refill.ts";

/** Nothing of the stream's past is known: whatever comes first is its beginning. */
const UNKNOWN = -1;

/** Numbers of a header that exceed a small integer, by index: in the schema's Frame they follow each other. */
const EPOCH = 0;
const POSITION = 1;
const SEQ = 2;
const FROM_SEQ = 3;
const NUMBERS = 4;

/** One stream of a connection, and how far it has come. */
export interface Track {
  readonly info: StreamInfo;
  readonly receiver: Receiver;
  /** The subscription that it belongs to. */
  readonly owner: number;
  /** Where its numbers are kept. */
  readonly slot: number;
  /** Whose sequence it is at. */
  epoch: number;
  refill: Refill | undefined;
}

/** What a stream's hole is filled by. */
export type Fetch = (track: Track, from: number, to: number) => void;

/** Plain counts since the start. */
export class StreamCounters {
  frames = 0;
  bytes = 0;
  /** Frames that came before. */
  duplicates = 0;
  /** Bytes that are no frame, and frames of streams that were not asked for. */
  malformed = 0;
  unknown = 0;
  /** Gaps that could not be filled, and holes that were asked for again. */
  gaps = 0;
  fetches = 0;
}

/**
 * The streams of one connection: every frame is compared with what came before it, and handed on once, in order. Hot
 * path: `take`. Sequences and positions outgrow small integers, so they lie in typed arrays.
 */
export class Streams {
  readonly counters: StreamCounters;
  readonly #tracks = new Map<number, Track>();
  readonly #fetch: Fetch;
  readonly #name: (exchange: string, symbol: string) => InstrumentName;
  readonly #frame = new FrameView();
  /** A frame that waited: the newest may still be looked at meanwhile. */
  readonly #later = new FrameView();
  readonly #memory: Memory = scratchMemory(MAX_FRAME_BYTES);
  /** By slot: the last sequence that was handed on, and the position of the frame that brought it. */
  #held = new Float64Array(64);
  #at = new Float64Array(64);
  #slots = 0;
  /** The epoch that each subscription has come to: one may be in its past while another one is live. */
  readonly #epochs = new Map<number, number>();
  /** A book has a hole for good: until a snapshot comes, its changes are of no use, and nobody sends one unasked. */
  needsSnapshot = false;
  /** Those of the frame that is being looked at. */
  readonly #numbers = new Float64Array(NUMBERS);
  /** [epoch, position] of the frame that came last. */
  readonly #reached = new Float64Array(2);

  constructor(counters: StreamCounters, name: (exchange: string, symbol: string) => InstrumentName, fetch: Fetch) {
    this.counters = counters;
    this.#name = name;
    this.#fetch = fetch;
  }

  /** The newest frame, until the next one comes. */
  get newest(): FrameView {
    return this.#frame;
  }

  /** Takes a binary message; false when it is no frame. */
  take(bytes: Uint8Array): boolean {
    const { counters } = this;
    const memory = this.#memory;
    const { length } = bytes;
    if (length > MAX_FRAME_BYTES) return this.#malformed();
    memory.u8.set(bytes);
    const frame = this.#frame;
    if (!attachFrame(frame, memory, length)) return this.#malformed();
    counters.frames += 1;
    counters.bytes += length;
    this.#accept(frame, memory, length);
    return true;
  }

  #malformed(): false {
    this.counters.malformed += 1;
    return false;
  }

  #accept(frame: FrameView, memory: Memory, length: number): void {
    const track = this.#tracks.get(frame.stream);
    const reached = this.#reached;
    const numbers = this.#numbers;
    frame.table.integers(SLOT.FRAME_EPOCH, numbers);
    // Not the highest: while the server goes through the past, it is where it is that everything has come up to.
    reached[0] = numbers[EPOCH];
    reached[1] = numbers[POSITION];
    if (track === undefined) {
      this.counters.unknown += 1;
      return;
    }
    const { slot } = track;
    if (numbers[EPOCH] !== track.epoch) this.#turn(track, numbers[EPOCH]);
    const held = this.#held;
    // A derived frame stands for frames that may all have come: what it says is newer all the same.
    if ((frame.flags & FLAG_DERIVED) !== 0 ? numbers[SEQ] < held[slot] : numbers[SEQ] <= held[slot]) {
      this.counters.duplicates += 1;
      return;
    }
    if (track.refill !== undefined || (numbers[FROM_SEQ] > held[slot] + 1 && held[slot] !== UNKNOWN)) {
      if (!this.#isInHole(track, frame, memory, length)) return;
      // What waited may have been looked at meanwhile.
      frame.table.integers(SLOT.FRAME_EPOCH, numbers);
    }
    held[slot] = numbers[SEQ];
    this.#at[slot] = numbers[POSITION];
    track.receiver.frame(frame, track.info, length);
  }

  /** The server was started anew: the stream's count begins again. */
  #turn(track: Track, epoch: number): void {
    track.epoch = epoch;
    track.refill = undefined;
    this.#epochs.set(track.owner, epoch);
    this.#held[track.slot] = 0;
  }

  /** True for a frame that may be handed on although something is missing before it. */
  #isInHole(track: Track, frame: FrameView, memory: Memory, length: number): boolean {
    const { slot, info } = track;
    const held = this.#held[slot] as number;
    const from = held + 1;
    if (track.refill === undefined) {
      const to = frame.fromSeq - 1;
      if (!info.resumable) {
        this.#lose(track, from, to, "window");
        return true;
      }
      track.refill = new Refill(to);
      this.counters.fetches += 1;
      this.#fetch(track, from, to);
    }
    const { until } = track.refill;
    if (frame.seq <= until) {
      if (frame.fromSeq > from) this.#lose(track, from, frame.fromSeq - 1, "window");
      return true;
    }
    if (track.refill.keep(memory, length)) return false;
    // Too much waits: what is missing is given up.
    this.endRefill(track);
    return this.#isNext(track, frame);
  }

  #isNext(track: Track, frame: FrameView): boolean {
    const held = this.#held[track.slot] as number;
    return frame.seq > held && frame.fromSeq <= held + 1;
  }

  /** A hole is as full as it will be: what is still missing is told, and what waited goes on. */
  endRefill(track: Track): void {
    const { refill, slot } = track;
    if (refill === undefined) return;
    track.refill = undefined;
    const held = this.#held[slot] as number;
    if (held < refill.until) {
      refill.isLossy = true;
      this.#lose(track, held + 1, refill.until, "window");
    }
    if (refill.isLossy && track.info.channel === "orderbook") return this.#beginAnew(track);
    for (const memory of refill.take()) {
      this.#later.attach(memory, memory.i32[0] as number);
      this.#accept(this.#later, memory, memory.u8.length);
    }
  }

  /** Forgets how far a stream had come: who resumes without saying is sent a snapshot. */
  #beginAnew({ slot }: Track): void {
    this.#held[slot] = UNKNOWN;
    this.needsSnapshot = true;
  }

  #lose(track: Track, from: number | undefined, to: number | undefined, reason: string): void {
    this.counters.gaps += 1;
    if (track.refill !== undefined) track.refill.isLossy = true;
    if (to !== undefined) this.#held[track.slot] = Math.max(this.#held[track.slot] as number, to);
    track.receiver.gap({ stream: track.info, from, to, reason });
  }

  /** What the server says is missing. */
  gap({ stream, from, to, reason, epoch }: GapMessage): void {
    const track = this.#tracks.get(stream);
    if (track === undefined) return;
    if (epoch !== undefined && epoch !== track.epoch) return;
    const held = this.#held[track.slot] as number;
    const first = from ?? (held === UNKNOWN || reason === "epoch" ? undefined : held + 1);
    this.#lose(track, first, to ?? undefined, reason);
  }

  /**
   * A stream of a subscription: where it stands, `held` being its last sequence of an epoch, undefined when not known. A
   * hole that is being filled on this connection goes on being filled.
   */
  add(acked: AckedStream, owner: number, receiver: Receiver, epoch: number, held: number | undefined): StreamInfo {
    this.#epochs.set(owner, epoch);
    const known = this.#tracks.get(acked.stream);
    const instrument = this.#name(acked.exchange, acked.symbol);
    if (
      known !== undefined &&
      known.owner === owner &&
      known.info.instrument === instrument &&
      known.info.resumable === acked.resumable
    ) {
      if (known.refill !== undefined) return known.info;
      if (known.epoch !== epoch) this.#at[known.slot] = 0;
      known.epoch = epoch;
      this.#held[known.slot] = held ?? UNKNOWN;
      return known.info;
    }
    const { stream, channel, timeframe, resumable } = acked;
    const info: StreamInfo = { stream, instrument, channel, timeframe, resumable };
    this.#slots += 1;
    this.#held = grown(this.#held, this.#slots);
    this.#at = grown(this.#at, this.#slots);
    const slot = this.#slots - 1;
    this.#held[slot] = held ?? UNKNOWN;
    this.#at[slot] = 0;
    this.#tracks.set(stream, { info, receiver, owner, slot, epoch, refill: undefined });
    return info;
  }

  get(stream: number): Track | undefined {
    return this.#tracks.get(stream);
  }

  /** The last sequence of a stream; undefined when it is not known. */
  heldOf(stream: number): number | undefined {
    const track = this.#tracks.get(stream);
    const held = track === undefined ? UNKNOWN : (this.#held[track.slot] as number);
    return held === UNKNOWN ? undefined : held;
  }

  /** The same, of an epoch. */
  heldIn(stream: number, epoch: number): number | undefined {
    return this.#tracks.get(stream)?.epoch === epoch ? this.heldOf(stream) : undefined;
  }

  /** A past has come to its end: streams that had nothing in it stand where the ack said. */
  settle(owner: number, acked: readonly AckedStream[]): void {
    for (const { stream, seq } of acked) {
      const track = this.#tracks.get(stream);
      if (track?.owner === owner && this.#held[track.slot] === UNKNOWN) this.#held[track.slot] = seq;
    }
  }

  /** The connection is gone, and the answers to what was asked for with it. */
  endRefills(): void {
    for (const track of this.#tracks.values()) track.refill = undefined;
    this.needsSnapshot = false;
  }

  /** Drops the streams of a subscription but for those that are kept. */
  forget(owner: number, kept?: ReadonlySet<number>): void {
    for (const [stream, track] of this.#tracks) {
      if (track.owner === owner && kept?.has(stream) !== true) this.#tracks.delete(stream);
    }
    if (kept === undefined) this.#epochs.delete(owner);
    if (this.#tracks.size === 0) this.#slots = 0;
  }

  /** Sets where a connection stands that has had no frame yet. */
  standAt(epoch: number, position: number): void {
    this.#reached[0] = epoch;
    this.#reached[1] = position;
  }

  get epoch(): number {
    return this.#reached[0] as number;
  }

  /** Everything up to here was handed on, but for what lies behind a hole. */
  get position(): number {
    let position = this.#reached[1] as number;
    for (const { refill, slot } of this.#tracks.values()) {
      if (refill !== undefined) position = Math.min(position, this.#at[slot] as number);
    }
    return position;
  }

  /** The epoch that a subscription has come to. */
  epochOf(owner: number): number {
    return this.#epochs.get(owner) ?? this.epoch;
  }

  /** The position of the last frame of a subscription in an epoch; 0 when there was none. */
  lastOf(owner: number, epoch: number): number {
    let last = 0;
    let before = Number.POSITIVE_INFINITY;
    for (const track of this.#tracks.values()) {
      if (track.owner !== owner || track.epoch !== epoch) continue;
      const at = this.#at[track.slot] as number;
      last = Math.max(last, at);
      if (track.refill !== undefined) before = Math.min(before, at);
    }
    return Math.min(last, before);
  }

  /** The last sequences of a subscription's streams in an epoch. */
  held(owner: number, epoch: number): Record<string, number> {
    const held: Record<string, number> = {};
    for (const [stream, track] of this.#tracks) {
      const last = this.#held[track.slot] as number;
      if (track.owner === owner && track.epoch === epoch && last !== UNKNOWN) held[stream] = last;
    }
    return held;
  }
}
