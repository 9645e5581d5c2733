import { SLOT_ORDERBOOK, SLOT_QUOTES, SLOT_TRADES, slotIn } from "../market/channel.ts";
import { STATE_LIVE, STATE_QUIET, STATE_RESYNCING, STATE_STALE } from "../market/sink.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { Rhythms } from "./rhythms.ts";
import type { StreamStates } from "./states.ts";

/** A stream is stale when it was silent for so many times as long as makes it quiet. */
const STALE_FACTOR = 2;
/** The time since the last look counts up to here. */
const LONGEST_STEP_MICROS = 1e6;

/** Streams whose silence means something, and which of them cannot be trusted once stale. */
const WATCHED = new Set([SLOT_TRADES, SLOT_ORDERBOOK, SLOT_QUOTES]);

export interface FreshnessOptions {
  /** No stream is quiet, or stale, before it was silent for so long, microseconds, however fast it usually is. */
  quietMicros: number;
  staleMicros: number;
}

const DEFAULTS: FreshnessOptions = { quietMicros: 2e6, staleMicros: 10e6 };

/**
 * Learns each stream's own cadence and says when one has been silent for far longer: a connected socket is no proof of
 * life. It looks at the sequences from time to time, so the hot path does nothing for it.
 *
 * A stream is quiet after 30 of its usual intervals and four times its longest recent silence, stale after twice that,
 * neither before the least silences that are configured; `Rhythms` says why that is seldom wrong. With the defaults and
 * a look each 250 ms a real silence is noticed after
 *
 *                                        quiet            stale
 *   a book that changes each 100 ms      4 s              10 s
 *   trades at random, 10 a second        4 to 6 s         10 to 12 s
 *   trades at random, each 10 s          4 to 8 min       8 to 16 min
 *   trades at random, each 10 min        3 to 7 h         6 to 14 h
 *
 * Nothing is said before 20 looks found news, for trades five minutes of it. What was learned outlives the connection;
 * a silence in which the stream was not live, because the connection or the book was lost, is not learned.
 */
export class Freshness {
  readonly #frames: Pick<FrameWriter, "sequence">;
  readonly #states: Pick<StreamStates, "of" | "set">;
  readonly #rhythms: Rhythms;
  readonly #stale: (stream: number, reason: string) => void;
  readonly #options: FreshnessOptions;
  /** Streams that were found stale here, and have had no news since. */
  readonly #judged = new Set<number>();
  /** Times that a stream was found quiet, or stale, here. */
  quiets = 0;
  stales = 0;
  /** When the last look was, and the time spent looking, microseconds; silences are measured in the latter. */
  #lookedAt = 0;
  #watched = 1;

  /** `stale` is told of a stream first, so that what depends on it changes in the same turn. */
  constructor(
    frames: Pick<FrameWriter, "sequence">,
    states: Pick<StreamStates, "of" | "set">,
    stale: (stream: number, reason: string) => void,
    options: FreshnessOptions = DEFAULTS,
  ) {
    this.#frames = frames;
    this.#states = states;
    this.#stale = stale;
    this.#options = options;
    this.#rhythms = new Rhythms(options.quietMicros);
  }

  /** Streams that are watched, and how many of them are known well enough to be judged. */
  counts(): { watched: number; learned: number } {
    const { count } = this.#rhythms;
    let learned = 0;
    for (let row = 0; row < count; row += 1) if (this.#rhythms.natural(row) < Number.POSITIVE_INFINITY) learned += 1;
    return { watched: count, learned };
  }

  watch(stream: number): void {
    if (WATCHED.has(slotIn(stream))) this.#rhythms.add(stream, this.#frames.sequence(stream));
  }

  forget(stream: number): void {
    this.#rhythms.remove(stream);
    this.#judged.delete(stream);
  }

  /**
   * Looks at every watched stream; `now` in microseconds. To be called several times a second: a longer pause was this
   * process standing still, and what had come meanwhile may not have been read yet.
   */
  sweep(now: number): void {
    this.#watched += Math.min(now - this.#lookedAt, LONGEST_STEP_MICROS);
    this.#lookedAt = now;
    const rhythms = this.#rhythms;
    for (let row = 0; row < rhythms.count; row += 1) this.#look(row, rhythms.streamOf(row));
  }

  #look(row: number, stream: number): void {
    const rhythms = this.#rhythms;
    const sequence = this.#frames.sequence(stream);
    const state = this.#states.of(stream);
    if (state !== STATE_LIVE && state !== STATE_QUIET) {
      this.#away(row, stream, state, sequence);
    } else if (sequence === rhythms.sequenceOf(row)) this.#silence(row, stream, state);
    else {
      rhythms.news(row, sequence, this.#watched);
      if (this.#judged.size > 0) this.#judged.delete(stream);
    }
  }

  /** Stale by our own word a stream is until news; in any other case the connection is at fault, or the book. */
  #away(row: number, stream: number, state: number, sequence: number): void {
    if (this.#judged.has(stream) && (state === STATE_STALE || state === STATE_RESYNCING)) return;
    this.#judged.delete(stream);
    this.#rhythms.interrupt(row, sequence);
  }

  #silence(row: number, stream: number, state: number): void {
    const silent = this.#rhythms.silence(row, this.#watched);
    const { quietMicros, staleMicros } = this.#options;
    if (silent <= quietMicros && silent <= staleMicros) return;
    const natural = this.#rhythms.natural(row);
    if (silent > Math.max(staleMicros, STALE_FACTOR * natural)) {
      this.#judged.add(stream);
      this.stales += 1;
      this.#stale(stream, reasonOf(silent));
      // Whoever was told may have gone further already: a book that was lost is asked for at once.
      if (this.#states.of(stream) === state) this.#states.set(stream, STATE_STALE, reasonOf(silent));
    } else if (silent > Math.max(quietMicros, natural) && state === STATE_LIVE) {
      this.quiets += 1;
      this.#states.set(stream, STATE_QUIET, reasonOf(silent));
    } else return;
    // A state frame is no news.
    this.#rhythms.skipTo(row, this.#frames.sequence(stream));
  }
}

function reasonOf(silent: number): string {
  return `silent for ${(silent / 1e6).toFixed(1)} s`;
}
