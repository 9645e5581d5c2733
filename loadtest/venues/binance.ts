import {
  binanceSurgery,
  decodeBinanceFrame,
  encodeBinanceEvent,
  inMicroseconds,
  readBinanceFrame,
} from "./binance-frames.ts";
import { type Instrument, listInstruments } from "./binance-instruments.ts";
import { BinanceRest } from "./binance-rest.ts";
import { answerControl, InboundLimit, type StreamDesk, streamsInUrl, subscribeAll } from "./binance-streams.ts";
import { Bootstrap } from "./bootstrap.ts";
import { CaptureTape } from "./capture.ts";
import { Double, type DoubleOptions, type Protocol, type VenueDouble } from "./double.ts";
import type { Answer, Peer, VenueRequest } from "./endpoint.ts";
import type { FaultName, Message } from "./faults.ts";
import { SimulatedMarket } from "./market.ts";
import type { Frame, Tape, VenueEvent } from "./tape.ts";

export interface BinanceVenueOptions extends DoubleOptions {
  /** Invented symbols listed besides, for tests at scale; default 0. */
  instruments?: number;
  /** False switches the limit of 5 inbound messages a second off. */
  inboundLimit?: boolean;
  /** Longest wait of a snapshot request for the tape, and of the tape for a snapshot request. */
  snapshotWaitMs?: number;
  bootstrapTimeoutMs?: number;
  enforceWeight?: boolean;
}

/** A server on loopback that speaks Binance Spot's JSON streams and REST. */
export async function startBinanceVenue(options: BinanceVenueOptions = {}): Promise<VenueDouble> {
  return new BinanceProtocol(options).double.listen();
}

/** The connection was cut for what the client did: RFC 6455's policy violation. */
const POLICY_VIOLATION = 1008;

class BinanceProtocol implements Protocol, StreamDesk {
  readonly tape: Tape;
  readonly double: Double;
  readonly surgery = binanceSurgery((symbol) => this.double.book(symbol).asks(1)[0]?.[0]);
  readonly unsupportedFaults: FaultName[] = [];
  readonly #instruments: Map<string, Instrument>;
  readonly #bootstrap: Bootstrap;
  readonly #rest: BinanceRest;
  readonly #limit = new InboundLimit();
  readonly #limited: boolean;
  #breaches = 0;

  constructor(options: BinanceVenueOptions) {
    const { captures = [], instruments = 0, inboundLimit = true, snapshotWaitMs = 10_000 } = options;
    const { bootstrapTimeoutMs = 5_000, enforceWeight = false } = options;
    this.tape =
      captures.length > 0 ? new CaptureTape(captures, readBinanceFrame, decodeBinanceFrame) : simulate(options);
    this.#instruments = listInstruments(this.tape.symbols, instruments);
    this.#limited = inboundLimit;
    this.double = new Double(this, options);
    this.#bootstrap = new Bootstrap(
      (symbol) => this.double.book(symbol).seeded,
      (symbol) => depthStreams(symbol).some((stream) => this.double.audience.subscribed(stream)),
      bootstrapTimeoutMs,
    );
    const restOptions = { snapshotWaitMs, enforceWeight };
    this.#rest = new BinanceRest(this.double, this.#instruments, this.#bootstrap, restOptions);
  }

  get counts(): Record<string, number> {
    return { rateLimitBreaches: this.#breaches, ...this.#bootstrap.counts };
  }

  accepts(url: URL): boolean {
    return url.pathname === "/stream" || url.pathname === "/ws" || url.pathname.startsWith("/ws/");
  }

  joined(peer: Peer, url: URL): void {
    peer.combined = url.pathname === "/stream";
    peer.microseconds = url.searchParams.get("timeUnit")?.toUpperCase() === "MICROSECOND";
    try {
      subscribeAll(this, peer, streamsInUrl(url));
    } catch {
      peer.socket.close(POLICY_VIOLATION, "Too many streams");
    }
  }

  received(peer: Peer, kind: "message" | "ping" | "pong", text: string): void {
    if (this.#limited && this.#limit.breached(peer, performance.now())) {
      this.#breaches++;
      peer.socket.close(POLICY_VIOLATION, "Too many requests");
    } else if (kind === "message") {
      answerControl(this, peer, text);
    }
  }

  subscribe(peer: Peer, stream: string): void {
    const [symbol, kind] = stream.split("@");
    const name = symbol!.toUpperCase();
    const again = peer.topics.has(stream);
    this.double.subscribe(peer, stream);
    if (kind === "depth" && !again && this.tape.symbols.includes(name)) this.#bootstrap.subscribed(name);
  }

  unsubscribe(peer: Peer, stream: string): void {
    this.double.audience.leave(peer, stream);
  }

  send(peer: Peer, value: unknown): void {
    this.double.send(peer, value);
  }

  answer(request: VenueRequest): Promise<Answer> {
    return this.#rest.answer(request.url);
  }

  decode(frame: Frame): VenueEvent | undefined {
    return decodeBinanceFrame(frame);
  }

  tickOf(symbol: string): number {
    return Number(this.#instruments.get(symbol)?.tickSize ?? "0.01");
  }

  playing(frame: Frame, event: VenueEvent | undefined): void {
    if (event?.type === "depth" && this.double.audience.subscribed(frame.topic))
      this.#bootstrap.depthSent(frame, event.firstId);
  }

  render(peer: Peer, message: Message): Buffer {
    const bytes = peer.combined ? message.text : message.data;
    return peer.microseconds && message.binary !== true ? inMicroseconds(bytes) : bytes;
  }

  holds(): boolean {
    return this.double.player.speed > 1 && this.#bootstrap.holds(performance.now());
  }

  shutdown(): void {
    const data = { e: "serverShutdown", E: this.double.player.timeMs };
    for (const peer of this.double.endpoint.peers) {
      this.double.send(peer, peer.combined ? { stream: "!serverShutdown", data } : data);
    }
  }
}

function depthStreams(symbol: string): string[] {
  const name = symbol.toLowerCase();
  return [`${name}@depth@100ms`, `${name}@depth`];
}

const SIMULATED = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"];

function simulate(options: BinanceVenueOptions): SimulatedMarket {
  const { symbols = SIMULATED.length, seed = 1, rate = 1000, messages = Number.POSITIVE_INFINITY, mix = {} } = options;
  const names = Array.from({ length: symbols }, (_, i) => {
    return SIMULATED[i] ?? `SIM${String(i + 1 - SIMULATED.length).padStart(5, "0")}USDT`;
  });
  return new SimulatedMarket({
    symbols: names.map((symbol) => ({ symbol, decimals: 2, printedDecimals: 8 })),
    seed,
    rate,
    messages,
    startMs: options.startMs,
    mix:
      options.mix === undefined ? { trade: 5, bookTicker: 4, depth: 1 } : { trade: 0, bookTicker: 0, depth: 0, ...mix },
    encode: encodeBinanceEvent,
  });
}
