import { CaptureTape } from "./capture.ts";
import {
  CoinbaseEncoder,
  CoinbaseReader,
  coinbaseSurgery,
  coinbaseTime,
  decodeCoinbaseFrame,
} from "./coinbase-frames.ts";
import { CoinbaseRest } from "./coinbase-rest.ts";
import { Double, type DoubleOptions, type Protocol, type VenueDouble } from "./double.ts";
import type { Answer, Peer, VenueRequest } from "./endpoint.ts";
import type { FaultName, Message } from "./faults.ts";
import { SimulatedMarket } from "./market.ts";
import type { Frame, Tape, VenueEvent } from "./tape.ts";

export interface CoinbaseVenueOptions extends DoubleOptions {
  /** A client that has not subscribed by then is cut off; the venue gives 5 s. */
  subscribeTimeoutMs?: number;
  heartbeatIntervalMs?: number;
}

/** A server on loopback that speaks Coinbase Exchange's WebSocket feed and REST. */
export async function startCoinbaseVenue(options: CoinbaseVenueOptions = {}): Promise<VenueDouble> {
  return new CoinbaseProtocol(options).double.listen();
}

const OPEN_CHANNELS = ["level2_batch", "matches", "ticker", "ticker_batch", "heartbeat", "status"];
const KEYED_CHANNELS = ["level2", "level3", "full", "user"];
const KEY_FIELDS = ["signature", "key", "passphrase", "timestamp"];
const POLICY_VIOLATION = 1008;

type Wanted = [channel: string, products: string[]][];

interface Member {
  channels: Map<string, Set<string>>;
  deadline: NodeJS.Timeout;
}

class Refusal extends Error {}

class CoinbaseProtocol implements Protocol {
  readonly tape: Tape;
  readonly double: Double;
  readonly surgery = coinbaseSurgery((product) => this.double.book(product).asks(1)[0]?.[0]);
  readonly unsupportedFaults: FaultName[] = ["serverShutdown", "slowSnapshot", "failSnapshot", "staleSnapshot"];
  readonly counts = { heartbeats: 0, subscribeTimeouts: 0 };
  readonly #rest: CoinbaseRest;
  readonly #members = new Map<Peer, Member>();
  readonly #lastTickers = new Map<string, Buffer>();
  readonly #subscribeTimeoutMs: number;
  readonly #beating: NodeJS.Timeout;

  constructor(options: CoinbaseVenueOptions) {
    const { captures = [], subscribeTimeoutMs = 5_000, heartbeatIntervalMs = 1_000 } = options;
    const reader = new CoinbaseReader();
    this.tape = captures.length > 0 ? new CaptureTape(captures, reader.read, decodeCoinbaseFrame) : simulate(options);
    for (const product of this.tape.symbols) {
      if (!reader.increments.has(product)) reader.increments.set(product, { quote: "0.01", base: "0.0001" });
    }
    this.#subscribeTimeoutMs = subscribeTimeoutMs;
    this.double = new Double(this, options);
    this.#rest = new CoinbaseRest(this.double, reader.increments);
    this.#beating = setInterval(() => this.#beat(), heartbeatIntervalMs);
  }

  accepts(url: URL): boolean {
    return url.pathname === "/";
  }

  joined(peer: Peer): void {
    const deadline = setTimeout(() => {
      this.counts.subscribeTimeouts++;
      peer.socket.close(POLICY_VIOLATION, "no subscribe message received");
    }, this.#subscribeTimeoutMs);
    this.#members.set(peer, { channels: new Map(), deadline });
  }

  left(peer: Peer): void {
    clearTimeout(this.#members.get(peer)?.deadline);
    this.#members.delete(peer);
  }

  received(peer: Peer, kind: "message" | "ping" | "pong", text: string): void {
    if (kind !== "message") return;
    let type: unknown;
    try {
      const request = parse(text);
      type = request.type;
      const wanted = this.#wanted(request);
      if (type === "subscribe") this.#subscribe(peer, wanted);
      else if (type === "unsubscribe") this.#unsubscribe(peer, wanted);
      else throw new Refusal("Type has to be either subscribe or unsubscribe");
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const message = type === "subscribe" || type === "unsubscribe" ? `Failed to ${type}` : "Malformed request";
      this.double.send(peer, { type: "error", message, reason: error.message });
    }
  }

  /** Channels come as names, with the message's products, or as objects with products of their own. */
  #wanted(request: Record<string, unknown>): Wanted {
    const { channels } = request;
    if (!Array.isArray(channels) || channels.length === 0) throw new Refusal("No channels provided");
    const common = productList(request.product_ids);
    const keyed = KEY_FIELDS.every((field) => typeof request[field] === "string");
    return channels.map((channel: unknown) => {
      const { name, product_ids } = (typeof channel === "string" ? { name: channel } : (channel ?? {})) as {
        name?: unknown;
        product_ids?: unknown;
      };
      if (typeof name !== "string" || !(OPEN_CHANNELS.includes(name) || KEYED_CHANNELS.includes(name))) {
        throw new Refusal(`${String(name)} is not a valid channel`);
      }
      if (KEYED_CHANNELS.includes(name) && !keyed) throw new Refusal(needsKey(name));
      const products = product_ids === undefined ? common : productList(product_ids);
      const unknown = products.find((product) => !this.#rest.products.has(product));
      if (unknown !== undefined) throw new Refusal(`${unknown} is not a valid product`);
      if (products.length === 0 && name !== "status") throw new Refusal(`No products specified for ${name} channel`);
      return [name, products];
    });
  }

  /** What a product looks like now goes first and the acknowledgement after it: clients must not rely on the order. */
  #subscribe(peer: Peer, wanted: Wanted): void {
    const member = this.#members.get(peer);
    if (member === undefined) return;
    clearTimeout(member.deadline);
    for (const [channel, products] of wanted) {
      const joined = member.channels.get(channel) ?? new Set();
      member.channels.set(channel, joined);
      for (const product of products) {
        if (joined.has(product)) continue;
        joined.add(product);
        this.double.subscribe(peer, topicOf(channel, product));
        this.#sendPresent(peer, channel, product);
      }
    }
    this.#acknowledge(peer, member);
  }

  #unsubscribe(peer: Peer, wanted: Wanted): void {
    const member = this.#members.get(peer);
    if (member === undefined) return;
    for (const [channel, products] of wanted) {
      const joined = member.channels.get(channel);
      for (const product of products) {
        if (joined?.delete(product)) this.double.audience.leave(peer, topicOf(channel, product));
      }
      if (joined?.size === 0) member.channels.delete(channel);
    }
    this.#acknowledge(peer, member);
  }

  #acknowledge(peer: Peer, member: Member): void {
    const channels = [...member.channels].map(([name, products]) => ({ name, product_ids: [...products] }));
    this.double.send(peer, { type: "subscriptions", channels });
  }

  /** Before the tape has played a product's first frames there is nothing to send: the recorded ones will come. */
  #sendPresent(peer: Peer, channel: string, product: string): void {
    if (topicOf(channel, product).startsWith("level2_batch")) {
      const book = this.double.book(product);
      if (!book.seeded) return;
      const time = coinbaseTime(this.double.player.timeMs);
      this.double.send(peer, { type: "snapshot", product_id: product, asks: book.asks(), bids: book.bids(), time });
    } else if (channel === "matches") {
      const last = this.#rest.lastMatch(product);
      if (last !== undefined) this.double.send(peer, { ...last, type: "last_match" });
    } else if (channel === "ticker") {
      const last = this.#lastTickers.get(product);
      if (last !== undefined) this.double.audience.send(peer, last);
    }
  }

  #beat(): void {
    if (this.double.silent) return;
    const time = coinbaseTime(this.double.player.timeMs);
    for (const [peer, member] of this.#members) {
      for (const product_id of member.channels.get("heartbeat") ?? []) {
        const last = this.#rest.lastMatch(product_id);
        const [sequence, last_trade_id] = [last?.sequence ?? 0, last?.trade_id ?? 0];
        this.double.send(peer, { type: "heartbeat", sequence, last_trade_id, product_id, time });
        this.counts.heartbeats++;
      }
    }
  }

  answer(request: VenueRequest): Promise<Answer> {
    return this.#rest.answer(request.url);
  }

  decode(frame: Frame): VenueEvent | undefined {
    return decodeCoinbaseFrame(frame);
  }

  playing(frame: Frame): void {
    if (frame.kind === "trade" || frame.kind === "lastTrade") this.#rest.played(frame);
    else if (frame.kind === "ticker") this.#lastTickers.set(frame.symbol, frame.text);
  }

  render(_peer: Peer, message: Message): Buffer {
    return message.text;
  }

  tickOf(product: string): number {
    return Number(this.#rest.products.get(product)?.quote ?? "0.01");
  }

  holds(): boolean {
    return false;
  }

  close(): void {
    clearInterval(this.#beating);
    for (const member of this.#members.values()) clearTimeout(member.deadline);
  }
}

/** `level2` with a key gives what `level2_batch` gives without one. */
function topicOf(channel: string, product: string): string {
  return `${channel === "level2" ? "level2_batch" : channel}:${product}`;
}

function needsKey(channel: string): string {
  if (channel === "user") return "user channel requires authentication";
  const where = "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth";
  return `level2, level3, and full channels now require authentication. ${where}`;
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Falls through to the refusal below.
  }
  throw new Refusal("Malformed JSON");
}

function productList(value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((product) => typeof product === "string")) {
    throw new Refusal("product_ids must be a list of product names");
  }
  return value as string[];
}

const SIMULATED = ["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD"];

function simulate(options: CoinbaseVenueOptions): SimulatedMarket {
  const { symbols = SIMULATED.length, seed = 1, rate = 1000, messages = Number.POSITIVE_INFINITY, mix } = options;
  const names = Array.from({ length: symbols }, (_, i) => {
    return SIMULATED[i] ?? `SIM${String(i + 1 - SIMULATED.length).padStart(5, "0")}-USD`;
  });
  // The feed has no quote of its own: a ticker follows each match.
  const { trade = 0, depth = 0 } = mix ?? { trade: 1, depth: 1 };
  return new SimulatedMarket({
    symbols: names.map((symbol) => ({ symbol, decimals: 2, printedDecimals: 2 })),
    seed,
    rate,
    messages,
    startMs: options.startMs,
    mix: { trade, depth, bookTicker: 0 },
    encode: new CoinbaseEncoder().encode,
  });
}
