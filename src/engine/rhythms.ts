import { SLOT_TRADES, slotIn } from "../market/channel.ts";
import { assert } from "../std/assert.ts";
import { grown } from "../std/grow.ts";

/** Kept per stream, 64 bytes, as long as a line of the processor's cache. */
const WIDTH = 8;
/** The stream's sequence at the last look. */
const SEQUENCE = 0;
/** When a look first found news, and when it last did; 0 is never, for the latter also after an interruption. */
const FIRST_AT = 1;
const NEWS_AT = 2;
/** How long the silence is that goes on, as the last look found it; 0 when that look found news. */
const SILENCE = 3;
/** The usual time between news. */
const INTERVAL = 4;
/** The longest silence of the recent past. */
const LONGEST = 5;
/** Looks that found news, counted up to `MANY_LOOKS`. */
const LOOKS = 6;
const STREAM = 7;

/** How much one look's interval counts against what was learned before. */
const LEARNING = 0.05;
/** Looks with news before a rhythm counts as learned. */
const LEARNED_AFTER = 20;
/** Trades also need so long between the first and the last: they may begin in a burst, which shows no pause at all. */
const TRADES_LEARNED_MICROS = 300e6;
/** More looks than this are not counted: the longest silence between so many is known well enough. */
const MANY_LOOKS = 1000;
/** The longest silence is forgotten by an e-th each day, but never faster than by a 200th each look with news. */
const MEMORY_MICROS = 86_400e6;
const MEMORY_LOOKS = 200;

/** A silence is natural up to so many usual intervals, and up to so many times the longest of the recent past. */
const NATURAL_INTERVALS = 30;
const NATURAL_SILENCES = 4;
/** The longest silence says little after few looks with news: after n it counts as 1 + 50 / n times itself. */
const DOUBT = 50;
/** A silence counts for no more than so many times the longest before it. */
const MOST_GROWTH = 2;

/**
 * What is natural for each stream, learned from looks at its sequence; times in microseconds of any clock that goes
 * forward. Two numbers say it: the usual interval, which holds for what beats steadily and is all that can be known of
 * news that comes faster than the looks, and the longest silence of the recent past, which holds for what comes in
 * bursts, where the interval within a burst says nothing of the time between two. A silence is what a look has seen of
 * it: the time between the last look with news and the last without.
 *
 * Why so seldom wrong. Where news comes at random, 30 mean intervals without any have a chance of e^-30, and the learned
 * mean wavers by a sixth. Where it comes in bursts of whatever distribution, the next silence is the longest of n + 1
 * with a chance of 1 / (n + 1), and one four times as long is rarer by far: for exponential silences n^-4, for
 * log-normal ones (sigma 1.5, mean 10 s) one stream in five is quiet once on its first day, and one in twenty a day
 * after (simulated).
 *
 * A silence that ends after it was called one is learned too, or a pair that grew quiet would be called so each time;
 * but as no more than twice the longest before it, or what the least silence covers anyway: an outage that is taken
 * for a pause costs little, and is forgotten within days.
 *
 * A stream takes 64 bytes, and an entry of a map.
 */
export class Rhythms {
  /** Streams that are kept; their rows are 0 to `count` - 1. */
  count = 0;
  readonly #rows = new Map<number, number>();
  #values = new Float64Array(64 * WIDTH);
  /** A silence up to here is learned even where it surprised: nothing shorter is ever called silent. */
  readonly #alwaysLearned: number;

  /** `leastSilence` is the shortest silence that will ever be called one, microseconds. */
  constructor(leastSilence: number) {
    this.#alwaysLearned = leastSilence / NATURAL_SILENCES;
  }

  /** Starts to learn a stream, from a sequence on; one that is known already goes on. */
  add(stream: number, sequence: number): void {
    if (this.#rows.has(stream)) return;
    const at = this.count * WIDTH;
    this.#values = grown(this.#values, at + WIDTH);
    this.#values.fill(0, at, at + WIDTH);
    this.#values[at + STREAM] = stream;
    this.#values[at + SEQUENCE] = sequence;
    this.#rows.set(stream, this.count);
    this.count += 1;
  }

  /** Forgets a stream; the last row takes its place. */
  remove(stream: number): void {
    const row = this.#rows.get(stream);
    if (row === undefined) return;
    this.#rows.delete(stream);
    this.count -= 1;
    if (row === this.count) return;
    const last = this.count * WIDTH;
    this.#values.copyWithin(row * WIDTH, last, last + WIDTH);
    this.#rows.set(this.streamOf(row), row);
  }

  streamOf(row: number): number {
    assert(row < this.count, "a row in use");
    return this.#values[row * WIDTH + STREAM];
  }

  sequenceOf(row: number): number {
    return this.#values[row * WIDTH + SEQUENCE];
  }

  /** Notes a frame that is no news: one of our own about the stream's state. */
  skipTo(row: number, sequence: number): void {
    this.#values[row * WIDTH + SEQUENCE] = sequence;
  }

  /** What goes on is no silence of the stream's own: nothing is learned of it, and the next news begins anew. */
  interrupt(row: number, sequence: number): void {
    const at = row * WIDTH;
    this.#values[at + SEQUENCE] = sequence;
    this.#values[at + NEWS_AT] = 0;
    this.#values[at + SILENCE] = 0;
  }

  /** A look found nothing new: returns how long the silence is, 0 where that cannot be known. */
  silence(row: number, now: number): number {
    const at = row * WIDTH;
    const since = this.#values[at + NEWS_AT];
    if (since === 0) return 0;
    this.#values[at + SILENCE] = now - since;
    return now - since;
  }

  /** A look found news. */
  news(row: number, sequence: number, now: number): void {
    const values = this.#values;
    const at = row * WIDTH;
    const since = values[at + NEWS_AT];
    if (since !== 0) this.#learn(row, now - since, sequence - values[at + SEQUENCE]);
    if (values[at + FIRST_AT] === 0) values[at + FIRST_AT] = now;
    values[at + SEQUENCE] = sequence;
    values[at + NEWS_AT] = now;
    values[at + SILENCE] = 0;
  }

  #learn(row: number, elapsed: number, count: number): void {
    const values = this.#values;
    const at = row * WIDTH;
    const first = values[at + LOOKS] === 0;
    const learned = this.#isLearned(row);
    const longest = values[at + LONGEST];
    const most = learned ? Math.max(MOST_GROWTH * longest, this.#alwaysLearned) : Number.POSITIVE_INFINITY;
    const silence = Math.min(values[at + SILENCE], most);
    // The rest of the time between, up to two looks, is not silence that was seen.
    const interval = (elapsed - values[at + SILENCE] + silence) / count;
    values[at + INTERVAL] = first ? interval : values[at + INTERVAL] + LEARNING * (interval - values[at + INTERVAL]);
    const kept = longest * (1 - Math.min(1 / MEMORY_LOOKS, elapsed / MEMORY_MICROS));
    values[at + LONGEST] = Math.max(kept, silence);
    if (values[at + LOOKS] < MANY_LOOKS) values[at + LOOKS] += 1;
  }

  /** Enough news came, and over a time in which a burst is not all that was seen. */
  #isLearned(row: number): boolean {
    const values = this.#values;
    const at = row * WIDTH;
    if (values[at + LOOKS] < LEARNED_AFTER) return false;
    if (slotIn(values[at + STREAM]) !== SLOT_TRADES) return true;
    return values[at + NEWS_AT] - values[at + FIRST_AT] >= TRADES_LEARNED_MICROS;
  }

  /** How long a silence is still natural for the stream, microseconds; infinite before its rhythm is learned. */
  natural(row: number): number {
    const values = this.#values;
    const at = row * WIDTH;
    if (!this.#isLearned(row)) return Number.POSITIVE_INFINITY;
    const doubt = DOUBT / values[at + LOOKS];
    return Math.max(NATURAL_INTERVALS * values[at + INTERVAL], NATURAL_SILENCES * (1 + doubt) * values[at + LONGEST]);
  }
}
