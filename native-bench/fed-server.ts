import { pino } from "pino";
import { Demand } from "../src/engine/demand.ts";
import type { Engine } from "../src/engine/engine.ts";
import type { IndicatorSet } from "../src/indicators/registry.ts";
import { Server } from "../src/server/server.ts";
import { SystemClock } from "../src/std/clock.ts";
import type { Turn } from "../src/std/turn.ts";

const MIB = 2 ** 20;

/**
 * The shipped server on an engine that is fed by hand, without a feed: with the limits of the command line's defaults,
 * but for the queue, whose length the caller chooses. What was wanted once stays open.
 */
export function serverOf(engine: Engine, indicators: IndicatorSet, turn: Turn, queueBytes: number): Server {
  const demand = new Demand({
    graceMs: 86_400_000,
    after: (ms, action) => {
      const timer = setTimeout(action, ms);
      return () => clearTimeout(timer);
    },
    open: (instrument, channel) => engine.open(instrument, channel),
    close: (instrument, channel) => engine.close(instrument, channel),
    quotesFromBook: () => false,
  });
  return new Server({
    engine,
    demand,
    indicators,
    turn,
    wall: new SystemClock(),
    log: pino({ level: "warn" }, pino.destination(2)),
    limits: {
      messageBytes: 64 * 1024,
      subscriptions: 256,
      namedStreams: 4096,
      controlMessagesPerSecond: 50,
      controlMessageBurst: 200,
      connections: 10_000,
      connectionsPerAddress: 10_000,
      queueBytes,
      allQueuesBytes: 1024 * MIB,
    },
    mode: "simulated",
    version: "0.0.0",
    random: () => 0.5,
    origins: [],
    anyHost: false,
    requiredVenues: [],
    metricsSymbols: [],
    feeds: () => [],
    journal: () => undefined,
    past: undefined,
  });
}
