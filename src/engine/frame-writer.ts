import { Builder } from "flatbuffers";
import {
  CHANNELS,
  channelOfSlot,
  DIRECTORY_STREAM,
  instrumentOf,
  SLOTS_PER_INSTRUMENT,
  slotIn,
  streamOf,
  timeframeOfSlot,
} from "../market/channel.ts";
import type { Instrument as MarketInstrument } from "../market/instrument.ts";
import { INSTRUMENT_STATUSES, MARKET_TYPES, SIZE_UNITS } from "../market/instrument.ts";
import { TS_EXCHANGE } from "../market/sink.ts";
import { assert } from "../std/assert.ts";
import type { Clock } from "../std/clock.ts";
import { Columns } from "../std/columns.ts";
import {
  FLAG_DERIVED,
  FrameHeader,
  H_EPOCH,
  H_FROM_SEQ,
  H_POSITION,
  H_SEQ,
  H_TS_EXCHANGE,
  H_TS_PUBLISH,
  H_TS_RECEIVE,
  LARGEST_FIXED_BYTES,
  MAX_FRAME_BYTES,
  writeHeader,
  writeRingHeader,
  writeStream,
} from "../wire/frame.ts";
import type { FrameLog } from "../wire/frame-log.ts";
import { Frame, Instrument, Payload, StreamState } from "../wire/generated/tickwire.ts";
import { FrameView } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import { scratchMemory } from "../wire/memory.ts";
import type { Ring } from "../wire/ring.ts";

/** Value of Timeframe in the schema for a stream that has none. */
const NO_TIMEFRAME = 255;
const LARGEST_EXACT = Number.MAX_SAFE_INTEGER;
/** Payloads of the ring for ticks; all others are in the slow one, as is every change of state. */
const IN_TICK_RING: ReadonlySet<number> = new Set([Payload.Trade, Payload.BookLevels, Payload.Quote, Payload.Ticker]);

/** A loss at the venue: ids and times of what is missing; 0 unknown. */
export interface UpstreamGap {
  fromId: number;
  toId: number;
  fromTime: number;
  toTime: number;
}

/** Takes a frame that stands for others: it lies in `memory` at 0 and may be overwritten after the call. */
export type DerivedOutput = (memory: Memory, length: number, stream: number) => void;

/**
 * Numbers and commits the frames of one log: the one place where sequences and positions grow. Hot path, but for the
 * directory and the state frames, which are rare and go through FlatBuffers' own Builder.
 */
export class FrameWriter {
  readonly log: FrameLog;
  /** Where derived frames are built. */
  readonly scratch: Memory = scratchMemory(MAX_FRAME_BYTES);
  readonly #clock: Clock;
  readonly #header = new FrameHeader();
  /** [exchange time, receive time] of the header, microseconds, and room for what goes into it. */
  readonly #times = new Float64Array(2);
  readonly #value = new Float64Array(1);
  /** Numbers of a frame that no time of a venue belongs to. */
  readonly #untimed = new Float64Array(TS_EXCHANGE + 1);
  readonly #builder = new Builder(1024);
  readonly #sequences = new Columns(Float64Array, SLOTS_PER_INSTRUMENT);
  /** The position that derived frames carry instead of the newest, in [0]; 0 for none. */
  readonly #asOf = new Float64Array(1);
  readonly #stored = new FrameView();

  constructor(log: FrameLog, clock: Clock) {
    this.log = log;
    this.#clock = clock;
    this.#header.set(H_EPOCH, Float64Array.of(log.epoch), 0);
  }

  /** The last sequence of a stream; 0 before its first frame. */
  sequence(stream: number): number {
    return this.#sequences.values[this.#at(stream)] ?? 0;
  }

  /** Where a stream's sequence is kept. */
  #at(stream: number): number {
    return this.#sequences.at(instrumentOf(stream), slotIn(stream));
  }

  /** Makes room for an instrument's streams; to be called before any of its frames. */
  register(instrument: MarketInstrument): void {
    this.#sequences.reserve(instrument.id + 1);
  }

  /** Goes on with an epoch of which everything up to `position` is known, and the last sequence of each stream. */
  resume(position: number, sequences: Iterable<readonly [stream: number, sequence: number]>): void {
    if (this.log.position < position) this.log.skipTo(position);
    for (const [stream, sequence] of sequences) this.#setSequence(stream, sequence);
  }

  #setSequence(stream: number, sequence: number): void {
    this.#sequences.reserve(instrumentOf(stream) + 1);
    this.#sequences.values[this.#at(stream)] = sequence;
  }

  /**
   * Takes a finished frame of this epoch as it is: it lies at `at` in `memory`, `length` bytes, and is newer than all
   * before it. Positions between are left out, as frames that were lost.
   */
  load(memory: Memory, at: number, length: number): void {
    const frame = this.#stored;
    frame.attach(memory, at + memory.i32[at >> 2]);
    const { stream, payloadType, position, seq } = frame;
    assert(frame.epoch === this.log.epoch, "a frame of this epoch");
    const ring = IN_TICK_RING.has(payloadType) ? this.log.ticks : this.log.slow;
    const to = ring.claim(length);
    ring.memory.u8.set(memory.u8.subarray(at, at + length), to);
    this.#setSequence(stream, seq);
    this.log.skipTo(position - 1);
    this.log.commit(ring, length, stream, this.#sequences.values, this.#at(stream));
  }

  /** Takes note of a frame that came before those to be loaded. */
  pass(stream: number, sequence: number): void {
    this.#setSequence(stream, sequence);
  }

  /** Writes the directory's frame of a stream that has had none; before the stream's own frame is claimed. */
  introduce(stream: number): void {
    if (this.sequence(stream) !== 0 || stream === DIRECTORY_STREAM) return;
    const ring = this.log.slow;
    const at = ring.claim(LARGEST_FIXED_BYTES);
    const length = writeStreamFrame(ring.memory, at, stream);
    this.commit(ring, at, length, DIRECTORY_STREAM, 0, this.#untimed, instrumentOf(stream));
  }

  /** Writes the directory's frame of an instrument, or of a venue. */
  describe(instrument: MarketInstrument): void {
    this.commitBuilt(Payload.Instrument, this.#buildInstrument(instrument), DIRECTORY_STREAM, instrument.id);
  }

  /** The directory's frames of one instrument, or venue, and of its streams that have had a frame, for one client. */
  directory(instrument: MarketInstrument, out: DerivedOutput): void {
    const { id } = instrument;
    const built = this.#finish(Payload.Instrument, this.#buildInstrument(instrument), DIRECTORY_STREAM, id);
    this.#deriveBuilt(built, DIRECTORY_STREAM, 0, out);
    for (let stream = streamOf(id, 0); stream < streamOf(id + 1, 0); stream += 1) {
      if (this.sequence(stream) === 0) continue;
      const length = writeStreamFrame(this.scratch, 0, stream);
      this.#derivedHeader(DIRECTORY_STREAM, 0, 0);
      writeHeader(this.scratch, 0, this.#header.words, DIRECTORY_STREAM, id, FLAG_DERIVED);
      out(this.scratch, length, DIRECTORY_STREAM);
    }
  }

  #buildInstrument(instrument: MarketInstrument): number {
    const builder = this.#builder;
    builder.clear();
    const symbol = builder.createString(instrument.symbol);
    const exchange = builder.createString(instrument.exchange);
    const venueSymbol = builder.createString(instrument.venueSymbol);
    const base = builder.createString(instrument.base);
    const quote = builder.createString(instrument.quote);
    const settle = builder.createString(instrument.settle);
    return Instrument.createInstrument(
      builder,
      instrument.id,
      symbol,
      exchange,
      venueSymbol,
      MARKET_TYPES.indexOf(instrument.marketType),
      base,
      quote,
      settle,
      BigInt(instrument.expiry),
      instrument.contractSize,
      SIZE_UNITS.indexOf(instrument.sizeUnit),
      instrument.priceDecimals,
      instrument.sizeDecimals,
      instrument.tick,
      instrument.lot,
      instrument.minSize,
      instrument.minNotional,
      INSTRUMENT_STATUSES.indexOf(instrument.status),
      instrument.bookDepth,
    );
  }

  /** Writes a change of state into the stream that it concerns. */
  state(stream: number, state: number, reason: string, gap?: UpstreamGap): void {
    this.introduce(stream);
    const payload = this.#buildState(state, reason, gap);
    this.commitBuilt(Payload.StreamState, payload, stream, instrumentOf(stream));
  }

  /** A state frame that is not an event of the ring: for one client, or for a depth. */
  derivedState(stream: number, state: number, reason: string, fromSequence: number, out: DerivedOutput): void {
    const bytes = this.#finish(Payload.StreamState, this.#buildState(state, reason), stream, instrumentOf(stream));
    this.#deriveBuilt(bytes, stream, fromSequence, out);
  }

  #buildState(state: number, reason: string, gap?: UpstreamGap): number {
    const builder = this.#builder;
    builder.clear();
    const text = builder.createString(reason);
    return StreamState.createStreamState(
      builder,
      state,
      gap !== undefined,
      false,
      BigInt(gap?.fromId ?? 0),
      BigInt(gap?.toId ?? 0),
      BigInt(gap?.fromTime ?? 0),
      BigInt(gap?.toTime ?? 0),
      text,
    );
  }

  /** Finishes a frame with the Builder, header in place but for its numbers, padded to whole words. */
  #finish(type: Payload, payload: number, stream: number, instrument: number): Uint8Array {
    const builder = this.#builder;
    builder.forceDefaults(true);
    const root = Frame.createFrame(builder, stream, instrument, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0, type, payload);
    builder.forceDefaults(false);
    builder.finish(root, "TWF1");
    return builder.asUint8Array();
  }

  protected commitBuilt(type: Payload, payload: number, stream: number, instrument: number): void {
    const bytes = this.#finish(type, payload, stream, instrument);
    const length = (bytes.length + 7) & ~7;
    const ring = this.log.slow;
    const at = ring.claim(length);
    ring.memory.u8.fill(0, at + bytes.length, at + length);
    ring.memory.u8.set(bytes, at);
    this.#value[0] = 0;
    this.#number(stream, this.#value, 0);
    patchBuilt(ring.memory, at, this.#header.words, 0);
    this.log.commit(ring, length, stream, this.#sequences.values, this.#at(stream));
  }

  /** Commits the frame that lies claimed in `ring` at `at`: the next sequence of its stream, the next position. */
  commit(
    ring: Ring,
    at: number,
    length: number,
    stream: number,
    flags: number,
    numbers: Float64Array,
    instrument: number = instrumentOf(stream),
  ): void {
    const sequences = this.#sequences.values;
    const sequenceAt = this.#at(stream);
    sequences[sequenceAt] += 1;
    const exchange = numbers[TS_EXCHANGE];
    // A time that a double cannot hold exactly is no time: unknown.
    if (!(exchange > 0 && exchange <= LARGEST_EXACT)) numbers[TS_EXCHANGE] = 0;
    this.#receive();
    const { words } = this.#header;
    const { next } = this.log;
    writeRingHeader(
      ring.memory,
      at,
      words,
      stream,
      instrument,
      flags,
      sequences,
      sequenceAt,
      next,
      numbers,
      TS_EXCHANGE,
    );
    this.log.commit(ring, length, stream, sequences, sequenceAt);
  }

  /** Takes the turn's time into the header, once a turn. */
  #receive(): void {
    const now = this.#clock.now();
    if (now === this.#times[1]) return;
    this.#times[1] = now;
    this.#header.set(H_TS_RECEIVE, this.#times, 1);
    this.#header.set(H_TS_PUBLISH, this.#times, 1);
  }

  #number(stream: number, times: Float64Array, exchangeAt: number): void {
    const header = this.#header;
    const sequences = this.#sequences.values;
    sequences[this.#at(stream)] += 1;
    header.set(H_SEQ, sequences, this.#at(stream));
    header.words[H_FROM_SEQ] = header.words[H_SEQ];
    header.set(H_POSITION, this.log.next, 0);
    this.#time(times, exchangeAt);
  }

  #time(times: Float64Array, exchangeAt: number): void {
    const header = this.#header;
    const known = this.#times;
    const exchange = times[exchangeAt];
    known[0] = exchange > 0 && exchange <= LARGEST_EXACT ? exchange : 0;
    header.set(H_TS_EXCHANGE, known, 0);
    this.#receive();
  }

  /** Finishes a derived frame in the scratch: it stands for the ring frames from `fromSequence` to the stream's last. */
  derived(
    length: number,
    stream: number,
    flags: number,
    fromSequence: number,
    tsExchange: number,
    out: DerivedOutput,
  ): void {
    this.#derivedHeader(stream, fromSequence, tsExchange);
    writeHeader(this.scratch, 0, this.#header.words, stream, instrumentOf(stream), flags | FLAG_DERIVED);
    out(this.scratch, length, stream);
  }

  /**
   * Has what `make` derives carry a position that is not the newest: a client that is behind takes the position of the
   * last frame it got for how far it has come.
   */
  asOf(position: number, make: () => void): void {
    this.#asOf[0] = position;
    try {
      make();
    } finally {
      this.#asOf[0] = 0;
    }
  }

  #deriveBuilt(bytes: Uint8Array, stream: number, fromSequence: number, out: DerivedOutput): void {
    const length = (bytes.length + 7) & ~7;
    this.scratch.u8.set(bytes);
    this.scratch.u8.fill(0, bytes.length, length);
    this.#derivedHeader(stream, fromSequence, 0);
    patchBuilt(this.scratch, 0, this.#header.words, FLAG_DERIVED);
    out(this.scratch, length, stream);
  }

  #derivedHeader(stream: number, fromSequence: number, tsExchange: number): void {
    const header = this.#header;
    const value = this.#value;
    header.set(H_SEQ, this.#sequences.values, this.#at(stream));
    value[0] = fromSequence;
    header.set(H_FROM_SEQ, value, 0);
    value[0] = this.#asOf[0] || this.log.position;
    header.set(H_POSITION, value, 0);
    value[0] = tsExchange;
    this.#time(value, 0);
  }
}

/** The directory's frame of a stream, but for its header. */
function writeStreamFrame(memory: Memory, at: number, stream: number): number {
  const slot = slotIn(stream);
  const channel = channelOfSlot(slot);
  assert(channel !== undefined, "a stream's slot has a channel");
  const timeframe = timeframeOfSlot(slot);
  const number = channel === "state" ? 0 : CHANNELS.indexOf(channel) + 1;
  return writeStream(memory, at, stream, instrumentOf(stream), number, timeframe < 0 ? NO_TIMEFRAME : timeframe);
}

/** Patches the numbers into a frame of the Builder's, whose fields need not lie where the templates have them. */
function patchBuilt(memory: Memory, at: number, header: Float64Array, flags: number): void {
  const i32 = memory.i32;
  const table = at + i32[at >> 2];
  const vtable = table - i32[table >> 2];
  const place = (slot: number) => table + memory.u16[(vtable >> 1) + 2 + slot];
  for (let index = H_EPOCH; index <= H_TS_PUBLISH; index += 1) {
    memory.f64[place(FIRST_NUMBER_SLOT + index) >> 3] = header[index];
  }
  i32[place(FLAGS_SLOT) >> 2] = flags;
}

/** Slots of `epoch` (the other numbers follow it in the header's order) and of `flags` in the schema's Frame. */
const FIRST_NUMBER_SLOT = 2;
const FLAGS_SLOT = 9;
