import type { Sink } from "../market/sink.ts";
import { STATE_DOWN, STATE_LIVE } from "../market/sink.ts";
import { BinanceParser } from "./binance-parse.ts";
import { deliverSnapshot } from "./binance-snapshot.ts";
import type { Capture } from "./capture.ts";
import { FRAME_OPENED } from "./capture.ts";
import { CoinbaseParser } from "./coinbase-parse.ts";
import type { FeedCounters } from "./feed.ts";
import type { Fields } from "./fields.ts";
import { integerOf } from "./fields.ts";
import { RepeatingSink } from "./recording-repeat.ts";
import type { RecordedTime } from "./recording-time.ts";
import { StartedStreams } from "./started-streams.ts";
import { SymbolTable } from "./symbol-table.ts";
import type { VenueParser } from "./venue-parser.ts";

/** Between the last frame of a pass and the first of the next. */
const PAUSE_MICROS = 1e6;

export interface PlayerOptions {
  capture: Capture;
  sink: Sink;
  /** The venue's pseudo-instrument. */
  venue: number;
  counters: FeedCounters;
  /** Moved to each frame's time before the frame is read. */
  time: RecordedTime;
  repeat: number;
  /** Called before time moves on: where times are kept for a while (`Turn`), they end here. */
  onMessageEnd?: (() => void) | undefined;
}

/** Plays a capture, a frame at a time: each message's bytes go through the venue's own parser. */
export class RecordingPlayer {
  /** How many instruments the capture names. */
  readonly instruments: number;
  readonly #options: PlayerOptions;
  readonly #sink: Sink;
  readonly #repeating: RepeatingSink | undefined;
  readonly #parser: VenueParser;
  readonly #spanMicros: number;
  /** The instrument that a book's snapshot is of: Binance's answer does not name it. */
  readonly #snapshotOf: number;
  #pass = 0;
  #next = 0;
  #open = false;

  constructor(options: PlayerOptions) {
    const { capture, sink, venue, counters, repeat } = options;
    this.#options = options;
    this.#spanMicros = capture.lastTime - capture.firstTime + PAUSE_MICROS;
    this.#repeating = repeat > 1 ? new RepeatingSink(sink, this.#spanMicros) : undefined;
    this.#sink = this.#repeating ?? sink;
    const symbols = new SymbolTable();
    const listings = capture.listings();
    const ids = sink.instruments(venue, listings);
    for (let index = 0; index < ids.length; index += 1) symbols.add(listings[index].venueSymbol, ids[index]);
    this.instruments = ids.length;
    this.#snapshotOf = ids.length === 1 ? ids[0] : 0;
    const onMalformed = () => {};
    const onControl = (message: Fields) => this.#onControl(message);
    const shared = {
      sink: this.#sink,
      venue,
      symbols,
      started: new StartedStreams(),
      counters,
      onControl,
      onMalformed,
    };
    this.#parser =
      capture.venue === "binance" ? new BinanceParser({ ...shared, microseconds: false }) : new CoinbaseParser(shared);
  }

  get done(): boolean {
    return this.#pass >= this.#options.repeat || this.#options.capture.count === 0;
  }

  /** The recorded time of the next frame, counted on over all passes. */
  get nextTime(): number {
    return (this.#options.capture.times[this.#next] ?? 0) + this.#pass * this.#spanMicros;
  }

  /** Plays the next frame; only while not done. */
  step(): void {
    const { capture, counters, time, onMessageEnd } = this.#options;
    time.advance(this.nextTime);
    if (capture.kinds[this.#next] === FRAME_OPENED || !this.#open) this.#connect();
    if (capture.kinds[this.#next] !== FRAME_OPENED) {
      const message = capture.messages[this.#next];
      counters.messages += 1;
      counters.bytes += message.length;
      this.#parser.parse(message);
    }
    this.#next += 1;
    if (this.#next === capture.count) this.#endPass();
    onMessageEnd?.();
  }

  #connect(): void {
    const { venue, counters } = this.#options;
    counters.connects += 1;
    if (this.#open) {
      counters.reconnects += 1;
      this.#sink.connection(venue, STATE_DOWN, "the recorded connection was opened anew");
    }
    this.#open = true;
    this.#sink.connection(venue, STATE_LIVE, "");
  }

  /** A pass ends as a lost connection does, because what the venue did between two passes is not known. */
  #endPass(): void {
    this.#pass += 1;
    this.#next = 0;
    this.#open = false;
    this.#repeating?.repeat();
    this.#sink.connection(this.#options.venue, STATE_DOWN, "the recording has ended");
  }

  /** The one answer of interest is a whole book, which was asked for by REST and recorded among the messages. */
  #onControl(message: Fields): void {
    if (Number.isNaN(integerOf(message.lastUpdateId))) return;
    const { venue, counters } = this.#options;
    if (this.#snapshotOf !== 0 && deliverSnapshot(this.#sink, venue, this.#snapshotOf, message)) return;
    counters.ignored += 1;
  }
}

/** Plays a whole capture as fast as it can, in one call: for tests and benches. Returns how many messages were read. */
export function replayInto(options: PlayerOptions): number {
  const before = options.counters.messages;
  const player = new RecordingPlayer(options);
  while (!player.done) player.step();
  return options.counters.messages - before;
}
