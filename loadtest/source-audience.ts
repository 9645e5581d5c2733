import type { Peer } from "./venues/endpoint.ts";

const STAGED_BYTES = 64 * 1024;
/** A reader that lets more than this wait has stopped reading: the process must not grow without end. */
const MOST_WAITING_BYTES = 512 * 1024 * 1024;

/** What goes to one connection: frames gather and go out in one write. Hot path. */
export class Lane {
  readonly peer: Peer;
  readonly #staged = Buffer.allocUnsafe(STAGED_BYTES);
  #length = 0;
  /** Most bytes that ever waited for the reader. */
  mostWaiting = 0;

  constructor(peer: Peer) {
    this.peer = peer;
  }

  /** True when a frame began a write, which `flush` must end. */
  push(frame: Buffer): boolean {
    const began = this.#length === 0;
    if (this.#length + frame.length > STAGED_BYTES) this.flush();
    this.#staged.set(frame, this.#length);
    this.#length += frame.length;
    return began;
  }

  flush(): void {
    if (this.#length === 0) return;
    const { line, socket } = this.peer;
    // The socket keeps the bytes until the kernel has them, so they are copied out of the stage.
    if (line.writable) line.write(Buffer.from(this.#staged.subarray(0, this.#length)));
    this.#length = 0;
    this.mostWaiting = Math.max(this.mostWaiting, line.writableLength);
    if (line.writableLength > MOST_WAITING_BYTES) socket.terminate();
  }
}

export const KINDS = ["trade", "bookTicker", "depth@100ms"] as const;
export const TRADE = 0;
export const QUOTE = 1;
export const DEPTH = 2;

const NOBODY: readonly Lane[] = [];

/** Who is subscribed to what: lanes by instrument and kind. */
export class Audience {
  readonly #lanes = new Map<Peer, Lane>();
  readonly #listeners: (Lane[] | undefined)[] = [];
  readonly #instrumentOf: ReadonlyMap<string, number>;
  readonly #open = new Set<Lane>();
  #streams = 0;
  #mostWaitingEver = 0;

  /** Symbols in lower case, as streams name them. */
  constructor(instrumentOf: ReadonlyMap<string, number>) {
    this.#instrumentOf = instrumentOf;
  }

  get streams(): number {
    return this.#streams;
  }

  /** Most bytes that waited for any reader. */
  get mostWaiting(): number {
    let most = this.#mostWaitingEver;
    for (const { mostWaiting } of this.#lanes.values()) most = Math.max(most, mostWaiting);
    return most;
  }

  resetWaiting(): void {
    this.#mostWaitingEver = 0;
    for (const lane of this.#lanes.values()) lane.mostWaiting = 0;
  }

  join(peer: Peer, stream: string): void {
    const key = this.#keyOf(stream);
    if (key === undefined || peer.topics.has(stream)) return;
    peer.topics.add(stream);
    let lane = this.#lanes.get(peer);
    if (lane === undefined) {
      lane = new Lane(peer);
      this.#lanes.set(peer, lane);
    }
    this.#listeners[key] ??= [];
    this.#listeners[key].push(lane);
    this.#streams += 1;
  }

  leave(peer: Peer, stream: string): void {
    const key = this.#keyOf(stream);
    if (key === undefined || !peer.topics.delete(stream)) return;
    this.#listeners[key] = this.#listeners[key]?.filter((lane) => lane.peer !== peer);
    this.#streams -= 1;
  }

  left(peer: Peer): void {
    for (const stream of [...peer.topics]) this.leave(peer, stream);
    this.#mostWaitingEver = this.mostWaiting;
    this.#lanes.delete(peer);
  }

  /** Hot path. */
  has(instrument: number, kind: number): boolean {
    const lanes = this.#listeners[instrument * KINDS.length + kind];
    return lanes !== undefined && lanes.length > 0;
  }

  /** Hands a frame to all who are subscribed. Hot path. */
  push(instrument: number, kind: number, frame: Buffer): void {
    const lanes = this.#listeners[instrument * KINDS.length + kind] ?? NOBODY;
    for (let index = 0; index < lanes.length; index += 1) {
      const lane = lanes[index] as Lane;
      if (lane.push(frame)) this.#open.add(lane);
    }
  }

  flush(): void {
    for (const lane of this.#open) lane.flush();
    this.#open.clear();
  }

  #keyOf(stream: string): number | undefined {
    const split = stream.indexOf("@");
    const instrument = this.#instrumentOf.get(stream.slice(0, split));
    const kind = (KINDS as readonly string[]).indexOf(stream.slice(split + 1));
    return instrument === undefined || kind < 0 ? undefined : instrument * KINDS.length + kind;
  }
}
