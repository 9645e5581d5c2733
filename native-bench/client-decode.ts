import { once } from "node:events";
import type { AddressInfo } from "node:net";
import WebSocket, { WebSocketServer } from "ws";
import { StreamCounters, Streams } from "../src/client/streams.ts";
import { Subscription } from "../src/client/subscription.ts";
import { SystemClock } from "../src/std/clock.ts";
import { JsonTwin } from "../src/wire/json.ts";
import { garbageOf, settle } from "./garbage.ts";
import { catalogWith, encodeAll, STRIDE, tradeFrames } from "./peers-frames.ts";
import { tradeColumns } from "./peers-trades.ts";

/** Frames that are handed over again and again: some hundred KB, as a socket's reads leave them in the cache. */
const FRAMES = 1024;
const TOTAL = 1_000_000;
const ROUNDS = 9;
const SOCKET_PASSES = 200;
/** JSON.parse takes ten times as long: it gets one pass in so many. */
const JSON_SHARE = 8;

/** The SDK in handler mode, from a message's bytes to the program's handler, beside JSON.parse and the same fields. */
export interface ClientDecode {
  frames: number;
  /** Frames for each second that a core worked for them. */
  perSecond: number;
  bytesPerFrame: number;
  collections: number;
  jsonPerSecond: number;
  /** The same handlers behind `ws`: a sender of the same process shares the core. */
  socketPerSecond: number;
}

/** What the program reads of each trade: price, size, side, the venue's time. */
const read = new Float64Array(4);

interface Twin {
  price: number;
  size: number;
  side: string | null;
  ts_exchange: number;
}

/** A client's path behind its socket, on frames that a socket handed over. */
class Decoding {
  readonly #streams = new Streams(
    new StreamCounters(),
    (exchange, symbol) => ({ exchange, symbol }),
    () => {
      throw new Error("nothing is missing");
    },
  );
  readonly messages: Buffer[];
  readonly #begin: () => void;
  trades = 0;

  constructor(frames: ReturnType<typeof tradeFrames>) {
    const encoder = encodeAll(frames);
    // As they lie in what a socket read: one after the other, behind two bytes of header each.
    this.messages = frames.map((_, index) => Buffer.from(encoder.bytes(index)));
    const [first] = frames as [(typeof frames)[0]];
    const subscription = new Subscription(
      {
        clock: new SystemClock(),
        timers: { setTimeout: (callback) => callback(), clearTimeout: () => {} },
        onThrow: (error) => {
          throw error;
        },
        gap: () => {},
        closed: () => {},
      },
      { symbols: "ETH/USDT" },
      {},
    );
    const acked = { stream: first.stream, channel: "trades", symbol: "ETH/USDT", exchange: "binance", seq: 0 };
    const stream = { ...acked, state: "live", resumable: true };
    this.#begin = () => void this.#streams.add(stream, 1, subscription, first.epoch, first.seq - 1);
    subscription.attached(undefined as never, { id: 1, streams: [], acked: [], unavailable: [], indicators: [] });
    subscription.on("trade", (trade) => {
      this.trades += 1;
      read[0] = trade.price;
      read[1] = trade.size;
      read[2] = trade.side === "buy" ? 1 : 2;
      read[3] = trade.tsExchange;
    });
  }

  /** The stream stands before the first frame again. */
  begin(): void {
    this.#begin();
  }

  take(bytes: Uint8Array): void {
    this.#streams.take(bytes);
  }

  pass(): void {
    const messages = this.messages;
    for (let index = 0; index < messages.length; index += 1) this.#streams.take(messages[index]);
  }
}

export async function clientDecode(): Promise<ClientDecode> {
  const frames = tradeFrames(tradeColumns(), FRAMES);
  const decoding = new Decoding(frames);
  const encoder = encodeAll(frames);
  const twin = new JsonTwin(catalogWith().catalog, () => undefined);
  const texts = frames.map((_, index) => Buffer.from(twin.encode(encoder.memory, index * STRIDE)));
  const json = () => {
    for (let index = 0; index < texts.length; index += 1) {
      const trade = JSON.parse(texts[index].toString()) as Twin;
      read[0] = trade.price;
      read[1] = trade.size;
      read[2] = trade.side === "buy" ? 1 : 2;
      read[3] = trade.ts_exchange;
    }
  };
  const passes = Math.ceil(TOTAL / FRAMES);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    settle();
    let [own, other] = [0, 0];
    // In turn, a little of each, so that a neighbour who is busy for a while meets both.
    for (let pass = 0; pass < passes; pass += 1) {
      decoding.begin();
      const begun = busyMs();
      decoding.pass();
      const between = busyMs();
      own += between - begun;
      if (pass % JSON_SHARE !== 0) continue;
      json();
      other += busyMs() - between;
    }
    ours.push(own / (passes * FRAMES));
    theirs.push(other / (Math.ceil(passes / JSON_SHARE) * FRAMES));
  }
  if (decoding.trades !== ROUNDS * passes * FRAMES) throw new Error("every frame reaches the handler");
  if (read[0] !== frames.at(-1)?.payload.price) throw new Error("the fields are those of the last trade");
  const garbage = await garbageOf(
    TOTAL,
    FRAMES,
    () => decoding.pass(),
    () => decoding.begin(),
  );
  return {
    frames: passes * FRAMES,
    perSecond: 1000 / median(ours),
    bytesPerFrame: garbage.bytesPerTick,
    collections: garbage.collections,
    jsonPerSecond: 1000 / median(theirs),
    socketPerSecond: await throughSocket(decoding),
  };
}

/** Frames a second through `ws` on loopback, sender and receiver in one process. */
async function throughSocket(decoding: Decoding): Promise<number> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  const [[sender]] = (await Promise.all([once(server, "connection"), once(socket, "open")])) as [[WebSocket], unknown];
  const before = decoding.trades;
  socket.on("message", (data: Buffer) => decoding.take(data));
  const begun = performance.now();
  for (let pass = 0; pass < SOCKET_PASSES; pass += 1) {
    decoding.begin();
    const until = decoding.trades + FRAMES;
    for (const message of decoding.messages) sender.send(message);
    while (decoding.trades < until) await new Promise(setImmediate);
  }
  const perSecond = (1000 * (decoding.trades - before)) / (performance.now() - begun);
  socket.terminate();
  server.close();
  return perSecond;
}

/** What this process has had of the processor: a neighbour that takes its turns is no part of what a frame costs. */
function busyMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function median(figures: number[]): number {
  return figures.sort((a, b) => a - b)[figures.length >> 1] as number;
}
