import type { FeedControl, VenueRules } from "../market/sink.ts";
import { STATE_DOWN, STATE_LIVE } from "../market/sink.ts";
import type { Clock } from "../std/clock.ts";
import { SystemClock } from "../std/clock.ts";
import type { TimerHandle } from "../std/timers.ts";
import type { Capture, CaptureVenue } from "./capture.ts";
import { readCapture } from "./capture.ts";
import type { Feed, FeedOptions, FeedStatus } from "./feed.ts";
import { FeedCounters } from "./feed.ts";
import { RecordingPlayer } from "./recording-player.ts";
import type { RecordedTime } from "./recording-time.ts";
import { BINANCE_RULES, COINBASE_RULES } from "./venue-rules.ts";

const RULES: Readonly<Record<CaptureVenue, VenueRules>> = { binance: BINANCE_RULES, coinbase: COINBASE_RULES };

/** Whoever starts with the server gets to subscribe before the first frame, with which the book's snapshot comes. */
const START_DELAY_MS = 100;
/** Frames that are played before the event loop gets its turn. */
const MAX_FRAMES_A_TURN = 512;

export interface RecordingSettings {
  /** Whose frames they are; also the exchange's name, because the server's mode says that they are not live. */
  venue: CaptureVenue;
  /** Captures that continue each other. */
  files: readonly string[];
  /** 1 is the recorded pace, Infinity as fast as it can. */
  speed?: number | undefined;
  repeat?: number | undefined;
  /** The recording's own time: the sink must have it for its clock, and what runs by timers their timers. */
  time: RecordedTime;
  onMessageEnd?: (() => void) | undefined;
  /** What keeps the pace. */
  paceClock?: Clock | undefined;
}

/**
 * A capture as a source. All of it is delivered, whatever is subscribed to, and only once: a book that is asked for
 * after its snapshot was played stays syncing until the next pass, because nothing older can be fetched.
 */
export class RecordingFeed implements Feed {
  readonly name: string;
  readonly rules: VenueRules;
  readonly counters = new FeedCounters();
  readonly control: FeedControl = {
    subscribe: () => {},
    unsubscribe: () => {},
    resyncBook: () => {},
    fetchHistory: () => {},
  };
  readonly #options: FeedOptions;
  readonly #settings: RecordingSettings;
  readonly #speed: number;
  readonly #clock: Clock;
  #player: RecordingPlayer | undefined;
  #timer: TimerHandle;
  #stopped = false;
  /** When playing began, by the pace's clock and by the recording's. */
  #startedAt = 0;
  #recordedAt = 0;
  #ended!: () => void;
  /** Resolves when the last frame was played, or on stop. */
  readonly ended = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  constructor(options: FeedOptions, settings: RecordingSettings) {
    this.name = settings.venue;
    this.rules = RULES[settings.venue];
    this.#options = options;
    this.#settings = settings;
    this.#speed = settings.speed ?? 1;
    this.#clock = settings.paceClock ?? new SystemClock();
  }

  get status(): FeedStatus {
    const isPlaying = this.#player !== undefined && !this.#player.done && !this.#stopped;
    return {
      state: this.#player === undefined ? 0 : isPlaying ? STATE_LIVE : STATE_DOWN,
      reason: isPlaying || this.#player === undefined ? "" : "the recording has ended",
      connections: isPlaying ? 1 : 0,
      streams: 0,
      instruments: this.#player?.instruments ?? 0,
    };
  }

  /** Reads the files and begins to play; rejects when one cannot be read, which no waiting would change. */
  async start(): Promise<void> {
    const { sink, venue, timers, log } = this.#options;
    const { files, time, repeat, onMessageEnd } = this.#settings;
    const capture: Capture = readCapture(this.#settings.venue, files);
    time.advance(capture.firstTime);
    this.#player = new RecordingPlayer({
      capture,
      sink,
      venue,
      time,
      onMessageEnd,
      counters: this.counters,
      repeat: repeat ?? 1,
    });
    log.info({ files, frames: capture.count, instruments: this.#player.instruments }, "playing a recording");
    this.#timer = timers.setTimeout(() => {
      this.#startedAt = this.#clock.now();
      this.#recordedAt = capture.firstTime;
      this.#play();
    }, START_DELAY_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#options.timers.clearTimeout(this.#timer);
    this.#ended();
  }

  /** Plays what is due, then sleeps until more is. */
  #play(): void {
    const player = this.#player as RecordingPlayer;
    const due = this.#recordedAt + (this.#clock.now() - this.#startedAt) * this.#speed;
    const unpaced = this.#speed === Number.POSITIVE_INFINITY;
    for (let frame = 0; frame < MAX_FRAMES_A_TURN && !player.done; frame += 1) {
      if (!unpaced && player.nextTime > due) break;
      player.step();
    }
    if (player.done || this.#stopped) {
      this.#ended();
      return;
    }
    const waitMs = unpaced ? 0 : Math.max(0, (player.nextTime - due) / this.#speed / 1000);
    this.#timer = this.#options.timers.setTimeout(() => this.#play(), Math.ceil(waitMs));
  }
}
