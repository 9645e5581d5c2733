import { type SequenceCounts, Sequences } from "./sequences.ts";

/** What stays of a client when its connection is gone: with it, it comes back as the one that it was. */
export class ClientMemory {
  /** Frames, and frames that gaps named, since they were last set to 0. */
  frames = 0;
  named = 0;
  readonly sequences: Sequences<number | string>;
  #epoch: number | undefined;
  /** The place in the ring of the newest ring frame; 0 without any. */
  #position = 0;

  constructor(counts: SequenceCounts) {
    this.sequences = new Sequences(counts);
  }

  /** True once there is a frame to go on from. */
  get canResume(): boolean {
    return this.#epoch !== undefined && this.#position > 0;
  }

  /** The epoch that a connection began with: sequences and positions of another one mean nothing in it. */
  begin(epoch: number): void {
    if (this.#epoch !== undefined && epoch !== this.#epoch) {
      this.#position = 0;
      this.sequences.clear();
    }
    this.#epoch = epoch;
  }

  /** A ring frame of this place came. */
  reach(position: number): void {
    if (position > this.#position) this.#position = position;
  }

  /** What is to be sent in place of a text: a subscribe goes on where this client stood, everything else stays. */
  resuming(text: string): string {
    if (!this.canResume || !isSubscribe(text)) return text;
    const resume = JSON.stringify({ epoch: this.#epoch, position: this.#position });
    return `${text.slice(0, text.lastIndexOf("}"))},"resume":${resume}}`;
  }
}

function isSubscribe(text: string): boolean {
  try {
    return (JSON.parse(text) as { type?: unknown } | null)?.type === "subscribe";
  } catch {
    return false;
  }
}
