import type { Frame } from "./tape.ts";

interface Awaited {
  depthSent: number;
  heldSinceMs: number | undefined;
}

/** With this many depth events in hand, a client can link any snapshot to its buffer. */
const EVENTS_TO_LINK = 2;

/**
 * Depth snapshots that clients are about to ask for. Faster than the recorded pace, the tape would have run far ahead
 * before the answer reached the client; so it stands still once the client holds enough to link a snapshot, until
 * the snapshot has been answered, and no point of the book that could be compared goes by unseen.
 */
export class Bootstrap {
  readonly counts = { bootstrapHolds: 0, bootstrapTimeouts: 0 };
  readonly #awaited = new Map<string, Awaited>();
  readonly #firstIds = new Map<string, number>();

  constructor(
    readonly seeded: (symbol: string) => boolean,
    readonly listened: (symbol: string) => boolean,
    readonly timeoutMs: number,
  ) {}

  subscribed(symbol: string): void {
    this.#awaited.set(symbol, { depthSent: 0, heldSinceMs: undefined });
    this.#firstIds.delete(symbol);
  }

  depthSent(frame: Frame, firstId: number): void {
    if (!this.#firstIds.has(frame.symbol)) this.#firstIds.set(frame.symbol, firstId);
    const awaited = this.#awaited.get(frame.symbol);
    if (awaited !== undefined) awaited.depthSent++;
  }

  answered(symbol: string): void {
    this.#awaited.delete(symbol);
  }

  /** The first id that a client can have buffered since it subscribed. */
  firstId(symbol: string): number | undefined {
    return this.#firstIds.get(symbol);
  }

  holds(nowMs: number): boolean {
    for (const [symbol, awaited] of this.#awaited) {
      if (!this.listened(symbol)) this.#awaited.delete(symbol);
      else if (awaited.depthSent >= EVENTS_TO_LINK && this.seeded(symbol)) return this.#hold(symbol, awaited, nowMs);
    }
    return false;
  }

  #hold(symbol: string, awaited: Awaited, nowMs: number): boolean {
    if (awaited.heldSinceMs === undefined) {
      awaited.heldSinceMs = nowMs;
      this.counts.bootstrapHolds++;
    }
    if (nowMs - awaited.heldSinceMs < this.timeoutMs) return true;
    this.counts.bootstrapTimeouts++;
    this.#awaited.delete(symbol);
    return false;
  }
}
