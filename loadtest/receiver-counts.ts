import type { Latency } from "./receiver-latency.ts";
import { LatencyHistogram } from "./receiver-latency.ts";
import type { SequenceCounts } from "./sequences.ts";

/** What a receiver saw since it was last reset. */
export interface Report {
  seconds: number;
  frames: number;
  /** Payload bytes of frames; control messages and WebSocket headers are not in it. */
  bytes: number;
  /** Frames missing of which no gap told. */
  holes: number;
  duplicates: number;
  /** Gaps that the server told of, and the frames that they named. */
  gaps: number;
  gapFrames: number;
  /** Resumes that came to their `replay_end`, and the ring frames that came before it. */
  replays: number;
  replayed: number;
  /** Frames of the ready client that has the fewest, and of the one that has the most; 0 without any. */
  leastFrames: number;
  mostFrames: number;
  /** The same of frames and those that gaps named together. */
  leastAccounted: number;
  mostAccounted: number;
  /** Clients that are ready now. */
  clients: number;
  /** From the time that the source stamped a ring frame with to the receiver's reading it. */
  latencyUs: Latency;
  /** Processor time of the receiver, user and system. */
  cpuMs: number;
  /** Connections that it was told to abort. */
  dropped: number;
  /** Connections closed by the other side, by close code; 1005 without a code, 1006 without a close frame. */
  closed: Record<string, number>;
  /**
   * By text: `malformed frame`, `malformed control` (no JSON), `error <code>` (a control error), `protocol error`
   * (what no WebSocket server may send), `refused <status>` and `connect <CODE>` (never open), `wrong gap` (names what
   * is held, or ends before it begins) and `resume <answer>` (anything but resumed).
   */
  errors: Record<string, number>;
}

/** What a ready client got since the last reset: frames, and frames that gaps named. */
interface Got {
  readonly frames: number;
  readonly named: number;
}

/** The counts of all clients of one receiver. */
export class ReceiverCounts implements SequenceCounts {
  frames = 0;
  bytes = 0;
  holes = 0;
  duplicates = 0;
  gaps = 0;
  gapFrames = 0;
  replays = 0;
  replayed = 0;
  dropped = 0;
  readonly latency = new LatencyHistogram();
  #closed = new Map<string, number>();
  #errors = new Map<string, number>();
  #sinceMs = performance.now();
  #processor = process.cpuUsage();

  closed(code: number): void {
    this.#closed.set(String(code), (this.#closed.get(String(code)) ?? 0) + 1);
  }

  error(text: string): void {
    this.#errors.set(text, (this.#errors.get(text) ?? 0) + 1);
  }

  reset(): void {
    this.frames = 0;
    this.bytes = 0;
    this.holes = 0;
    this.duplicates = 0;
    this.gaps = 0;
    this.gapFrames = 0;
    this.replays = 0;
    this.replayed = 0;
    this.dropped = 0;
    this.latency.reset();
    this.#closed.clear();
    this.#errors.clear();
    this.#sinceMs = performance.now();
    this.#processor = process.cpuUsage();
  }

  report(ready: Iterable<Got>): Report {
    let clients = 0;
    let leastFrames = Number.POSITIVE_INFINITY;
    let mostFrames = 0;
    let leastAccounted = Number.POSITIVE_INFINITY;
    let mostAccounted = 0;
    for (const { frames, named } of ready) {
      clients += 1;
      leastFrames = Math.min(leastFrames, frames);
      mostFrames = Math.max(mostFrames, frames);
      leastAccounted = Math.min(leastAccounted, frames + named);
      mostAccounted = Math.max(mostAccounted, frames + named);
    }
    const { user, system } = process.cpuUsage(this.#processor);
    return {
      seconds: Math.round(performance.now() - this.#sinceMs) / 1000,
      frames: this.frames,
      bytes: this.bytes,
      holes: this.holes,
      duplicates: this.duplicates,
      gaps: this.gaps,
      gapFrames: this.gapFrames,
      replays: this.replays,
      replayed: this.replayed,
      leastFrames: clients === 0 ? 0 : leastFrames,
      mostFrames,
      leastAccounted: clients === 0 ? 0 : leastAccounted,
      mostAccounted,
      clients,
      latencyUs: this.latency.summary(),
      cpuMs: Math.round((user + system) / 1000),
      dropped: this.dropped,
      closed: Object.fromEntries(this.#closed),
      errors: Object.fromEntries(this.#errors),
    };
  }
}
