/** What was lost and what came twice, over all streams of all clients that share it. */
export interface SequenceCounts {
  /** Frames missing. */
  holes: number;
  /** Ring frames that came twice. */
  duplicates: number;
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

  /** Counts a frame that stands for `fromSeq` to `seq`. Without an ack the stream's first frame sets the count. */
  take(stream: Stream, fromSeq: number, seq: number, derived: boolean): void {
    const held = this.#held.get(stream) ?? fromSeq - 1;
    if (fromSeq > held + 1) this.#counts.holes += fromSeq - held - 1;
    if (!derived && seq <= held) this.#counts.duplicates += 1;
    // A derived frame may begin with what is held already and still be news.
    this.#held.set(stream, Math.max(held, seq));
  }
}
