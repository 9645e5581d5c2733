import { SLOT_ORDERBOOK, SLOT_QUOTES, SLOT_TRADES, slotIn } from "../market/channel.ts";
import { STATE_LIVE, STATE_QUIET, STATE_STALE } from "../market/sink.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { StreamStates } from "./states.ts";

/** A stream is quiet, then stale, when it was silent for so many of its usual intervals. */
const QUIET_INTERVALS = 30;
const STALE_INTERVALS = 120;
/** How much one sweep's rhythm counts against what was learned before. */
const LEARNING = 0.05;
/** Sweeps with news before a rhythm counts as learned. */
const LEARNED_AFTER = 20;

/** Streams whose silence means something, and which of them cannot be trusted once stale. */
const WATCHED = new Set([SLOT_TRADES, SLOT_ORDERBOOK, SLOT_QUOTES]);

export interface FreshnessOptions {
  /** No stream is quiet, or stale, before it was silent for so long, microseconds, however fast it usually is. */
  quietMicros: number;
  staleMicros: number;
}

const DEFAULTS: FreshnessOptions = { quietMicros: 2e6, staleMicros: 10e6 };

interface Rhythm {
  sequence: number;
  /** When the last news came, microseconds; as exact as the sweeps. */
  lastAt: number;
  /** The usual time between news, microseconds. */
  interval: number;
  samples: number;
}

/**
 * Learns each stream's own cadence and says when one has been silent for far longer: a connected socket is no proof of
 * life. It looks at the sequences from time to time, so the hot path does nothing for it.
 */
export class Freshness {
  readonly #frames: FrameWriter;
  readonly #states: StreamStates;
  readonly #rhythms = new Map<number, Rhythm>();
  readonly #stale: (stream: number, reason: string) => void;
  readonly #options: FreshnessOptions;

  /** `stale` is told of a stream first, so that what depends on it changes in the same turn. */
  constructor(
    frames: FrameWriter,
    states: StreamStates,
    stale: (stream: number, reason: string) => void,
    options: FreshnessOptions = DEFAULTS,
  ) {
    this.#frames = frames;
    this.#states = states;
    this.#stale = stale;
    this.#options = options;
  }

  watch(stream: number): void {
    if (!WATCHED.has(slotIn(stream))) return;
    this.#rhythms.set(stream, { sequence: this.#frames.sequence(stream), lastAt: 0, interval: 0, samples: 0 });
  }

  forget(stream: number): void {
    this.#rhythms.delete(stream);
  }

  /** Looks at every watched stream; `now` in microseconds. */
  sweep(now: number): void {
    for (const [stream, rhythm] of this.#rhythms) {
      const sequence = this.#frames.sequence(stream);
      if (sequence !== rhythm.sequence) this.#news(rhythm, sequence, now);
      else this.#silence(stream, rhythm, now);
    }
  }

  #news(rhythm: Rhythm, sequence: number, now: number): void {
    const count = sequence - rhythm.sequence;
    if (rhythm.lastAt !== 0) {
      const interval = (now - rhythm.lastAt) / count;
      rhythm.interval = rhythm.samples === 0 ? interval : rhythm.interval + LEARNING * (interval - rhythm.interval);
      rhythm.samples += 1;
    }
    rhythm.sequence = sequence;
    rhythm.lastAt = now;
  }

  #silence(stream: number, rhythm: Rhythm, now: number): void {
    if (rhythm.samples < LEARNED_AFTER || rhythm.lastAt === 0) return;
    const silent = now - rhythm.lastAt;
    const state = this.#states.of(stream);
    if (state !== STATE_LIVE && state !== STATE_QUIET) return;
    const { quietMicros, staleMicros } = this.#options;
    if (silent > Math.max(staleMicros, STALE_INTERVALS * rhythm.interval)) {
      this.#stale(stream, reasonOf(silent));
      // Whoever was told may have gone further already: a book that was lost is asked for at once.
      if (this.#states.of(stream) === state) this.#states.set(stream, STATE_STALE, reasonOf(silent));
    } else if (silent > Math.max(quietMicros, QUIET_INTERVALS * rhythm.interval) && state === STATE_LIVE) {
      this.#states.set(stream, STATE_QUIET, reasonOf(silent));
    }
    // A state frame is no news.
    rhythm.sequence = this.#frames.sequence(stream);
  }
}

function reasonOf(silent: number): string {
  return `silent for ${(silent / 1e6).toFixed(1)} s`;
}
