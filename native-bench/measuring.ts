import { App } from "uWebSockets.js";
import { Latency } from "../src/server/latency.ts";
import { Publisher } from "../src/server/publisher.ts";
import { SystemClock } from "../src/std/clock.ts";
import { Turn } from "../src/std/turn.ts";
import { settle } from "./garbage.ts";
import { Pipeline } from "./pipeline.ts";
import { recordedOrSynthetic } from "./recorded-trade.ts";

const ROUNDS = 400;

/** Nanoseconds of a turn of the event loop with so many trades, without and with its latency being measured. */
export interface Measuring {
  trades: number;
  plainNs: number;
  measuredNs: number;
}

/** A turn as the server has it, but for the sockets: what the venue sent, the ring, the publisher, and what measures. */
class Turns {
  readonly #pipeline = new Pipeline(recordedOrSynthetic());
  readonly #turn: Turn;
  readonly #publisher: Publisher;
  isMeasured = false;

  constructor() {
    const clock = new SystemClock();
    const turn = new Turn(clock);
    const latency = new Latency(turn, () => clock.now());
    const { engine } = this.#pipeline;
    this.#turn = turn;
    this.#publisher = new Publisher(
      App(),
      engine,
      () => undefined,
      (memory, at) => latency.sample(0, memory, at),
    );
    turn.onEnd(() => {
      if (this.isMeasured) latency.endTurn(this.#publisher);
      else this.#publisher.endTurn(turn.now());
    });
    this.#pipeline.warmUp(() => {
      this.#pipeline.parsed();
      this.#publisher.endTurn(0);
    });
  }

  /** Runs the next messages in turns of so many trades; returns nanoseconds a turn. */
  async run(trades: number): Promise<number> {
    const pipeline = this.#pipeline;
    pipeline.next();
    const messages = pipeline.current;
    const begun = performance.now();
    for (let from = 0; from < messages.length; from += trades) {
      this.#turn.now();
      const to = Math.min(from + trades, messages.length);
      for (let index = from; index < to; index += 1)
        pipeline.parser.parse((messages[index] as { bytes: Buffer }).bytes);
      this.#turn.end();
    }
    // The turns' own ends, which found nothing left, and what follows a turn to the sockets.
    await new Promise(setImmediate);
    return ((performance.now() - begun) * 1e6) / Math.ceil(messages.length / trades);
  }
}

/** What measuring adds to turns of one, of sixteen and of 64 trades: both kinds in turn, medians. */
export async function measuring(): Promise<Measuring[]> {
  settle();
  const turns = new Turns();
  const figures: Measuring[] = [];
  for (const trades of [1, 16, 64]) {
    const plain: number[] = [];
    const measured: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      // Which comes first changes, so that neither always meets the other's garbage.
      for (const isMeasured of round % 2 === 0 ? [false, true] : [true, false]) {
        turns.isMeasured = isMeasured;
        (isMeasured ? measured : plain).push(await turns.run(trades));
      }
    }
    figures.push({ trades, plainNs: median(plain), measuredNs: median(measured) });
  }
  return figures;
}

function median(figures: number[]): number {
  return figures.sort((a, b) => a - b)[figures.length >> 1] as number;
}
