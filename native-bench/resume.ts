import { strictEqual } from "node:assert";
import { type ChildProcess, fork } from "node:child_process";
import { monitorEventLoopDelay } from "node:perf_hooks";
import WebSocket from "ws";
import { Engine } from "../src/engine/engine.ts";
import { BINANCE_RULES } from "../src/feeds/venue-rules.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import * as S from "../src/market/sink.ts";
import { SystemClock } from "../src/std/clock.ts";
import { Turn } from "../src/std/turn.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import { serverOf } from "./fed-server.ts";

const FRAMES = 1_000_000;
/** One frame in a hundred is of the stream that the client missed. */
const INSTRUMENTS = 100;
const MIB = 2 ** 20;
const ROUNDS = 9;

/** The argument that makes this program the client that comes back, followed by the server's address. */
export const COME_BACK = "--come-back";

export interface ResumeCost {
  /** Milliseconds from the subscribe to its `replay_end`, as the client sees them, with so many frames between. */
  totalMs: number;
  frames: number;
  /** The longest turn of the server's event loop meanwhile, milliseconds. */
  longestMs: number;
  /** Milliseconds to look at a million records for one client's streams: in a map, as it is done; in a bitmap. */
  mapMs: number;
  bitmapMs: number;
  /** Milliseconds to follow links from record to record of the same stream; they cost every tick a store and a look-up. */
  linksMs: number;
}

/** In a process of its own: resumes and counts what comes until it is level. */
export function comeBack(url: string): void {
  process.on("message", (request: string) => {
    const socket = new WebSocket(`${url}/stream?encoding=flatbuffers`, { perMessageDeflate: false });
    let frames = 0;
    let begun = 0;
    socket.on("open", () => {
      begun = performance.now();
      socket.send(request);
    });
    socket.on("message", (data, isBinary) => {
      if (isBinary) frames += 1;
      else if (data.toString().includes('"replay_end"')) {
        process.send?.({ ms: performance.now() - begun, frames });
        socket.close();
      }
    });
  });
  process.send?.("ready");
}

function heard<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve) => child.once("message", (message) => resolve(message as T)));
}

/** A client that resumes one stream, whose frames are one in a hundred of the million after its position. */
export async function resumeCost(): Promise<ResumeCost> {
  const turn = new Turn(new SystemClock());
  const catalog = new Catalog();
  const indicators = new IndicatorSet();
  const log = new FrameLog(512 * MIB, 1);
  const engine = new Engine({ catalog, log, clock: turn, indicators, bars: { timeframes: [] } });
  const venue = engine.addVenue("binance", BINANCE_RULES, {
    subscribe() {},
    unsubscribe() {},
    resyncBook() {},
    fetchHistory() {},
  });
  const ids = engine.instruments(
    venue.instrument.id,
    Array.from({ length: INSTRUMENTS }, (_, index) => ({
      ...emptyListing(),
      symbol: `S${index}/USDT`,
      venueSymbol: `S${index}USDT`,
      channels: ["trades"] as const,
    })),
  );
  engine.connection(venue.instrument.id, S.STATE_LIVE, "");
  const server = serverOf(engine, indicators, turn, 4 * MIB);
  const { demand } = server.services;
  for (const instrument of catalog.all()) if (instrument.symbol !== "") demand.add(instrument, "trades");
  const trade = (event: number) => {
    const { numbers } = engine.slot;
    numbers[S.PRICE] = 100;
    numbers[S.SIZE] = 1;
    numbers[S.TS_EXCHANGE] = turn.now();
    numbers[S.TRADE_NUMBER] = 1 + Math.floor(event / INSTRUMENTS);
    engine.slot.tradeIdLength = 10;
    engine.begin(venue.instrument.id);
    engine.trade(ids[event % INSTRUMENTS] as number, S.SIDE_BUY, 0);
  };
  let event = 0;
  for (; event < INSTRUMENTS; event += 1) trade(event);
  const { position } = log;
  for (; event < FRAMES + INSTRUMENTS; event += 1) trade(event);
  strictEqual(log.ticks.tail, 0, "the window holds all of it");

  const listening = await server.listen("127.0.0.1", 0);
  if ("error" in listening) throw new Error(listening.error);
  turn.end();
  const client = fork(process.argv[1] as string, [COME_BACK, `ws://127.0.0.1:${listening.port}`]);
  await heard(client);
  const resume = { epoch: log.epoch, position };
  const request = JSON.stringify({ type: "subscribe", channels: "trades", symbols: "S7/USDT", resume });
  const figures: number[] = [];
  let frames = 0;
  let longestMs = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await new Promise((resolve) => setTimeout(resolve, 50));
    delay.reset();
    client.send(request);
    const answer = await heard<{ ms: number; frames: number }>(client);
    figures.push(answer.ms);
    frames = answer.frames;
    delay.disable();
    // The first one finds cold code.
    if (round > 0) longestMs = Math.max(longestMs, delay.max / 1e6);
  }
  client.kill();
  await server.stop();
  strictEqual(frames, FRAMES / INSTRUMENTS);
  const totalMs = median(figures);
  return { totalMs, frames, longestMs, ...waysToFind(log, streamOf(ids[7] as number, SLOT_TRADES)) };
}

/** The ways to find one stream's records, and what each takes; all find the same. */
function waysToFind({ ticks }: FrameLog, stream: number): Pick<ResumeCost, "mapMs" | "bitmapMs" | "linksMs"> {
  const wanted = new Map([[stream, { held: 0 }]]);
  const bitmap = new Uint8Array(stream + 1);
  bitmap[stream] = 1;
  const links = new Int32Array(ticks.head);
  const newest = new Map<number, number>();
  for (let record = 0; record < ticks.head; record += 1) {
    links[record] = newest.get(ticks.streamOf(record)) ?? -1;
    newest.set(ticks.streamOf(record), record);
  }
  const byMap = () => {
    let found = 0;
    for (let record = 0; record < ticks.head; record += 1)
      if (wanted.get(ticks.streamOf(record)) !== undefined) found += 1;
    return found;
  };
  const byBitmap = () => {
    let found = 0;
    for (let record = 0; record < ticks.head; record += 1) if (bitmap[ticks.streamOf(record)] === 1) found += 1;
    return found;
  };
  const byLinks = () => {
    let found = 0;
    for (let record = newest.get(stream) as number; record >= 0; record = links[record] as number) found += 1;
    return found;
  };
  strictEqual(byMap(), byBitmap());
  strictEqual(byMap(), byLinks());
  return { mapMs: timed(byMap), bitmapMs: timed(byBitmap), linksMs: timed(byLinks) };
}

function timed(find: () => number): number {
  const figures = Array.from({ length: ROUNDS }, () => {
    const begun = performance.now();
    find();
    return performance.now() - begun;
  });
  return median(figures);
}

function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[figures.length >> 1] as number;
}
