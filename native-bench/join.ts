import { type ChildProcess, fork } from "node:child_process";
import { monitorEventLoopDelay } from "node:perf_hooks";
import WebSocket from "ws";
import { Engine } from "../src/engine/engine.ts";
import { BINANCE_RULES } from "../src/feeds/venue-rules.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { Catalog, emptyListing, type Instrument } from "../src/market/instrument.ts";
import * as S from "../src/market/sink.ts";
import type { Server } from "../src/server/server.ts";
import { SystemClock } from "../src/std/clock.ts";
import { Turn } from "../src/std/turn.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import { serverOf } from "./fed-server.ts";
import { settle } from "./garbage.ts";

const CHANNELS = ["trades", "quotes", "orderbook"] as const;
const LEVELS = 20;
const MIB = 2 ** 20;

/** The argument that makes this program the client of a join, followed by the server's address. */
export const FOLLOW = "--follow";

/** The longest stretch, milliseconds, for which one client kept the event loop busy, and how long it took in all. */
export interface Join {
  step: string;
  longestMs: number;
  totalMs: number;
}

/**
 * In a process of its own: a client that sends what it is told to, and hands on each answer, but reads no frame, so
 * that it leaves the processor to the server.
 */
export function follow(url: string): void {
  const socket = new WebSocket(`${url}/stream?encoding=flatbuffers`, { perMessageDeflate: false });
  socket.on("message", (data, isBinary) => {
    if (!isBinary) process.send?.(data.toString());
  });
  socket.on("close", () => process.send?.("closed"));
  process.on("message", (text: string) => (text === "close" ? socket.close() : socket.send(text)));
}

/** The client's thread, and what it does, measured. */
class Client {
  readonly #process: ChildProcess;
  readonly #server: Server;
  #heard: (text: string) => void = () => {};

  constructor(url: string, server: Server) {
    this.#server = server;
    this.#process = fork(process.argv[1] as string, [FOLLOW, url]);
    this.#process.on("message", (text: string) => this.#heard(text));
  }

  /** Resolves once a message holds `text`; an error is thrown. */
  hears(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#heard = (heard) => {
        if (heard.includes(text)) resolve();
        else if (heard.includes('"error"')) reject(new Error(heard));
      };
    });
  }

  /** Sends a message, waits for its answer, which holds `answer`, and until nothing is left to do for this client. */
  async measure(step: string, message: string, answer: string): Promise<Join> {
    const { backlog } = this.#server.services;
    settle();
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    // The monitor counts from its first look on.
    await pause(50);
    delay.reset();
    await pause(10);
    const begun = performance.now();
    this.#process.send(message);
    await this.hears(answer);
    while (backlog.size > 0) await pause(2);
    const totalMs = performance.now() - begun;
    await pause(20);
    delay.disable();
    return { step, longestMs: delay.max / 1e6, totalMs };
  }

  stop(): void {
    this.#process.kill();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A server over so many instruments, each with a book, a quote and a trade, and a client that joins and leaves all. */
export async function joinAll(instruments: number): Promise<Join[]> {
  const turn = new Turn(new SystemClock());
  const catalog = new Catalog();
  const indicators = new IndicatorSet();
  const engine = new Engine({ catalog, log: new FrameLog(256 * MIB, 1), clock: turn, indicators });
  const server = serverOf(engine, indicators, turn, 16 * MIB);
  const control = { subscribe() {}, unsubscribe() {}, resyncBook() {}, fetchHistory() {} };
  const venue = engine.addVenue("binance", BINANCE_RULES, control).instrument.id;
  const listings = Array.from({ length: instruments }, (_, index) => ({
    ...emptyListing(),
    symbol: `SYM${index}/USDT`,
    venueSymbol: `SYM${index}USDT`,
    sizeUnit: "base" as const,
    channels: CHANNELS,
  }));
  const ids = engine.instruments(venue, listings);
  engine.connection(venue, S.STATE_LIVE, "");
  const listening = await server.listen("127.0.0.1", 0);
  if ("error" in listening) throw new Error(listening.error);
  const client = new Client(`ws://127.0.0.1:${listening.port}`, server);
  await client.hears('"hello"');
  const subscribe = (id: number) => JSON.stringify({ type: "subscribe", id, channels: CHANNELS, symbols: ["*"] });
  // As with --symbols '*': a wildcard covers what is there, and asks no venue for more.
  for (const instrument of ids.map((id) => catalog.get(id) as Instrument)) {
    for (const channel of CHANNELS) server.services.demand.add(instrument, channel);
  }
  for (const id of ids) trade(engine, venue, id, turn.now());
  turn.end();
  const steps = [
    await client.measure("joining all", subscribe(1), '"subscribed"'),
    await client.measure(
      "leaving all",
      JSON.stringify({ type: "unsubscribe", id: 2, subscription: 1 }),
      "unsubscribed",
    ),
    await client.measure("joining all again", subscribe(3), '"subscribed"'),
    await client.measure("closing the connection", "close", "closed"),
  ];
  client.stop();
  await server.stop();
  return steps;
}

/** A book, a quote and a trade of an instrument. */
function trade(engine: Engine, venue: number, instrument: number, time: number): void {
  const { slot } = engine;
  const { numbers, bids, asks } = slot;
  engine.begin(venue);
  numbers[S.TS_EXCHANGE] = time;
  bids.count = 0;
  asks.count = 0;
  for (let level = 0; level < LEVELS; level += 1) {
    bids.push(100 - level, 1);
    asks.push(101 + level, 1);
  }
  numbers[S.LAST_SEQUENCE] = 1;
  engine.bookSnapshot(instrument, 0);
  numbers.set([100, 1, 101, 1], S.BID_PRICE);
  engine.quote(instrument, 0);
  numbers[S.PRICE] = 100;
  numbers[S.SIZE] = 1;
  numbers[S.TRADE_NUMBER] = 1;
  slot.tradeIdLength = 1;
  engine.trade(instrument, S.SIDE_BUY, 0);
}
