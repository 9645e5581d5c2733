import type { Turn } from "../std/turn.ts";
import { FrameView } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import { Duration } from "./duration.ts";

/** What a turn goes through, in order. */
export const STAGES = ["ring", "publish", "socket"] as const;
const RING = 0;
const PUBLISH = 1;
const SOCKET = 2;

/** One turn in so many is followed to the sockets, which takes a turn of the event loop more. */
const FOLLOWED = 16;

/** Whoever publishes at the end of a turn. */
interface Published {
  /** True while something is left to publish. */
  readonly behind: boolean;
  endTurn(begun: number): void;
}

/**
 * Where the time goes between a venue's bytes and the kernel, once per turn of the event loop, by the wall clock:
 *
 *   first message ──▶ all frames in the ring ──▶ handed to the library ──▶ written to the sockets
 *                 "ring"                  "publish"                  "socket", one turn in 16
 *
 * All are counted from the first message, so each holds the one before. Turns that brought no frame do not count. Two
 * looks at the clock a turn; `native-bench` says what that is of the hot path.
 */
export class Latency {
  readonly stages = STAGES.map(() => new Duration());
  readonly #turn: Turn;
  readonly #now: () => number;
  /** Age of the venue's time when a message is read, by venue. */
  readonly #lags: (Duration | undefined)[] = [];
  readonly #frame = new FrameView();
  #turns = 0;
  /** When the turn that is followed to the sockets began; NaN while none is. */
  readonly #followed = Float64Array.of(Number.NaN);

  /** `now` is the wall clock, microseconds. */
  constructor(turn: Turn, now: () => number) {
    this.#turn = turn;
    this.#now = now;
    turn.onBegin((begun) => this.#written(begun));
  }

  /** Publishes what the turn brought, and takes how long that took when it brought anything. */
  endTurn(publisher: Published): void {
    const begun = this.#turn.now();
    if (!publisher.behind) {
      publisher.endTurn(begun);
      return;
    }
    const ringed = this.#now();
    publisher.endTurn(begun);
    (this.stages[RING] as Duration).record(ringed - begun);
    (this.stages[PUBLISH] as Duration).record(this.#now() - begun);
    this.#turns = (this.#turns + 1) % FOLLOWED;
    if (this.#turns !== 0) return;
    this.#followed[0] = begun;
    // The library writes when this turn of the loop ends, and the loop goes on at once for this.
    setImmediate(this.#follow);
  }

  readonly #follow = () => {
    if (!Number.isNaN(this.#followed[0])) this.#written(this.#now());
  };

  /** The loop has come round: at its next message, or when there is none. */
  #written(now: number): void {
    const begun = this.#followed[0] as number;
    if (Number.isNaN(begun)) return;
    this.#followed[0] = Number.NaN;
    (this.stages[SOCKET] as Duration).record(now - begun);
  }

  /** Takes a ring frame's age at its receipt, when the venue said its time. */
  sample(venue: number, memory: Memory, at: number): void {
    this.#frame.attach(memory, at + (memory.i32[at >> 2] as number));
    const { tsExchange, tsReceive } = this.#frame;
    if (tsExchange === 0) return;
    const known = this.#lags[venue];
    const lag = known ?? new Duration();
    if (known === undefined) this.#lags[venue] = lag;
    lag.record(tsReceive - tsExchange);
  }

  lagOf(venue: number): Duration | undefined {
    return this.#lags[venue];
  }

  /** A second is over. */
  advance(): void {
    for (const stage of this.stages) stage.advance();
    for (const lag of this.#lags) lag?.advance();
  }
}
