/** What was lost and what came twice, over all streams of all clients that share it. */
export interface SequenceCounts {
  /** Frames missing of which no gap told. */
  holes: number;
  /** Ring frames that came twice. */
  duplicates: number;
  /** Gaps that a server told of, and the frames that they named. */
  gaps: number;
  gapFrames: number;
}

/**
 * One client's last held sequence of each stream, by the rule of README "Wire format": a frame is in order when
 * `from_seq <= held + 1`, and raises `held` to its `seq`. A stream is a number, or a venue's symbol.
 */
export class Sequences<Stream extends number | string> {
  readonly #held = new Map<Stream, number>();
  readonly #counts: SequenceCounts;

  constructor(counts: SequenceCounts) {
    this.#counts = counts;
  }

  /** Where an ack says that a stream stands; one that is held already stays as it is. */
  begin(stream: Stream, seq: number): void {
    if (!this.#held.has(stream)) this.#held.set(stream, seq);
  }

  /** Holds nothing any more. */
  clear(): void {
    this.#held.clear();
  }

  /** Counts a frame that stands for `fromSeq` to `seq`. Without an ack the stream's first frame sets the count. */
  take(stream: Stream, fromSeq: number, seq: number, derived: boolean): void {
    const held = this.#held.get(stream) ?? fromSeq - 1;
    if (fromSeq > held + 1) this.#counts.holes += fromSeq - held - 1;
    if (!derived && seq <= held) this.#counts.duplicates += 1;
    // A derived frame may begin with what is held already and still be news.
    this.#held.set(stream, Math.max(held, seq));
  }

  /**
   * A gap names the frames `from` (undefined: the first that is not held) `to`; returns how many. Undefined for a wrong
   * one, which begins with what is held or ends before it begins, and changes nothing.
   */
  gap(stream: Stream, from: number | undefined, to: number): number | undefined {
    const held = this.#held.get(stream) ?? (from ?? to + 1) - 1;
    const first = from ?? held + 1;
    // From what is held on, a server that does not know it may come to name nothing. Written so that no number is wrong.
    if (!(first > held && to >= first - (from === undefined ? 1 : 0))) return undefined;
    if (first > held + 1) this.#counts.holes += first - held - 1;
    const named = to - first + 1;
    this.#counts.gaps += 1;
    this.#counts.gapFrames += named;
    this.#held.set(stream, to);
    return named;
  }

  /** All up to `seq` must have come by now: what is not held is missing. */
  end(stream: Stream, seq: number): void {
    const held = this.#held.get(stream) ?? seq;
    if (held < seq) this.#counts.holes += seq - held;
    this.#held.set(stream, Math.max(held, seq));
  }
}
