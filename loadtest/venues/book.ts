import type { DepthEvent, Level, SnapshotEvent } from "./tape.ts";

/**
 * The double's own book, as plain as can be: it is the answer that the gateway's book is compared with, so it must
 * not share a line with it. Keyed by the number, because a venue may print one price as 0.8274 and as 0.82740.
 */
export class OwnBook {
  lastId = 0;
  seeded = false;
  readonly #bids = new Map<number, Level>();
  readonly #asks = new Map<number, Level>();

  seed(snapshot: SnapshotEvent): void {
    this.#bids.clear();
    this.#asks.clear();
    put(this.#bids, snapshot.bids);
    put(this.#asks, snapshot.asks);
    this.lastId = snapshot.lastId;
    this.seeded = true;
  }

  /** Events that the snapshot already contains are left out, as a venue's own book would have them in. */
  apply(event: DepthEvent): void {
    if (!this.seeded || (event.lastId !== 0 && event.lastId <= this.lastId)) return;
    put(this.#bids, event.bids);
    put(this.#asks, event.asks);
    this.lastId = event.lastId;
  }

  bids(limit = Number.POSITIVE_INFINITY): Level[] {
    return [...this.#bids.values()].sort((a, b) => Number(b[0]) - Number(a[0])).slice(0, limit);
  }

  asks(limit = Number.POSITIVE_INFINITY): Level[] {
    return [...this.#asks.values()].sort((a, b) => Number(a[0]) - Number(b[0])).slice(0, limit);
  }
}

function put(side: Map<number, Level>, levels: Level[]): void {
  for (const level of levels) {
    if (Number(level[1]) === 0) side.delete(Number(level[0]));
    else side.set(Number(level[0]), level);
  }
}
