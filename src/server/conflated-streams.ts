import { CONFLATE_MS, conflateIndexOf, RING, stateSource } from "../engine/derived.ts";
import type { Tier } from "../engine/tier.ts";
import { SLOT_BARS, SLOT_ORDERBOOK, slotIn } from "../market/channel.ts";
import type { Client } from "./client.ts";
import type { Services } from "./services.ts";

/** Worth of a stream that is looked at, beside the bytes that are sent. */
const LOOK_COST = 16;
/** How often a client that is behind gets the latest of its streams at most, microseconds. */
const INTERVAL_MICROS = 100_000;

/** The state of a stream whose client has not been told any that is sure to be true still. */
const UNTOLD = -1;

interface Conflated {
  readonly variant: number;
  /** The last sequence that the client was sent something for, and the state it was told. */
  sent: number;
  state: number;
  /** When it may be sent again, microseconds. */
  dueAt: number;
  /** What the client holds of a depth tier. */
  readonly tier: Tier | undefined;
}

/**
 * The streams of one client that is behind of which it gets the latest: state of any kind, of a depth tier the net change
 * since it was sent last. They are gone through in pieces, some ten times a second at most.
 */
export class ConflatedStreams {
  readonly #client: Client;
  readonly #services: Services;
  /** The last ring frame that the client was sent of a stream that has both, closed bars and a building one. */
  readonly #heldOf: (stream: number) => number | undefined;
  readonly #streams = new Map<number, Conflated>();
  /** Those that are still to be looked at this time. */
  #left: IterableIterator<[number, Conflated]> | undefined;
  #begunAt = 0;

  constructor(client: Client, services: Services, heldOf: (stream: number) => number | undefined) {
    this.#client = client;
    this.#services = services;
    this.#heldOf = heldOf;
  }

  /** Takes over a stream that was sent to all who have it in this form; `isTold`: the client knows its state. */
  add(stream: number, variant: number, isTold: boolean): void {
    const { derived, frames, states } = this.#services.engine;
    const known =
      variant === RING
        ? { sent: frames.sequence(stream), state: states.of(stream), tier: undefined }
        : derived.held(stream, variant);
    this.#streams.set(stream, { variant, dueAt: 0, ...known, ...(isTold ? {} : { state: UNTOLD }) });
  }

  remove(stream: number): void {
    this.#streams.delete(stream);
  }

  sentOf(stream: number): number | undefined {
    return this.#streams.get(stream)?.sent;
  }

  /** Sends what is due, up to some cost; returns the cost. `position` is how far the client has come. */
  sendSome(position: number, most: number): number {
    const { clock, engine } = this.#services;
    const now = clock.now();
    if (this.#left === undefined) {
      if (this.#streams.size === 0 || now < this.#begunAt + INTERVAL_MICROS) return 0;
      this.#begunAt = now;
      this.#left = this.#streams.entries();
    }
    const left = this.#left;
    let cost = 0;
    engine.frames.asOf(position, () => {
      while (cost < most) {
        const next = left.next();
        if (next.done === true) {
          this.#left = undefined;
          break;
        }
        const [stream, conflated] = next.value;
        cost += LOOK_COST;
        if (now >= conflated.dueAt) cost += this.#send(stream, conflated, now);
      }
    });
    return cost;
  }

  /** Brings the client level with everybody who has these streams: it joins them in this turn. */
  sendAll(position: number): void {
    const { publisher, engine, clock } = this.#services;
    for (const [stream, { variant }] of this.#streams) {
      if (slotIn(stream) === SLOT_ORDERBOOK) publisher.levelTier(stream, variant);
    }
    const now = clock.now();
    engine.frames.asOf(position, () => {
      for (const [stream, conflated] of this.#streams) this.#send(stream, conflated, now);
    });
  }

  #send(stream: number, conflated: Conflated, now: number): number {
    const { derived, frames, states } = this.#services.engine;
    const { variant, sent } = conflated;
    const last = frames.sequence(stream);
    // A building bar stands for the closed ones before it: those must have been sent.
    const isBar = slotIn(stream) >= SLOT_BARS;
    if (isBar ? Math.max(0, this.#heldOf(stream) ?? 0) !== last : sent === last) return 0;
    const state = states.of(stateSource(stream));
    let bytes = 0;
    derived.latest(stream, sent + 1, state !== conflated.state, conflated.tier, (memory, length) => {
      bytes += this.#client.frame(memory, length, stream);
    });
    conflated.dueAt = now + (variant === RING ? 0 : (CONFLATE_MS[conflateIndexOf(variant)] as number) * 1000);
    conflated.sent = last;
    conflated.state = state;
    return bytes;
  }
}
