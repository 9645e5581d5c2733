import { Audience } from "./audience.ts";
import { BarSeries } from "./bars.ts";
import { OwnBook } from "./book.ts";
import { answerControl } from "./control.ts";
import { type Answer, type Doorman, Endpoint, type EndpointOptions, type Peer, type VenueRequest } from "./endpoint.ts";
import { checkParams, FAULTS, type FaultName, type FaultParams, Faults, type Message, type Surgery } from "./faults.ts";
import { Player, type Stage } from "./player.ts";
import { hashText } from "./seed.ts";
import type { Frame, Tape, VenueEvent } from "./tape.ts";

export interface DoubleOptions {
  /** Gzipped captures, played one after the other as one run. None: a seeded simulated market. */
  captures?: string[];
  host?: string;
  /** 0: any free port. */
  port?: number;
  /** 1 is the recorded pace, Infinity as fast as the sockets drain. */
  speed?: number;
  /** Starts paused: play() lets it go. */
  hold?: boolean;
  seed?: number;
  /** Stands still while nobody subscribes to anything; default: only at full speed, which has no pace of its own. */
  waitForSubscriber?: boolean;
  pingIntervalMs?: number;
  pongTimeoutMs?: number;
  /** Simulated market: messages a second, number of symbols, messages in all, the first moment, the shares. */
  rate?: number;
  symbols?: number;
  messages?: number;
  startMs?: number;
  mix?: Partial<Record<"trade" | "bookTicker" | "depth", number>>;
}

export interface VenueStats {
  connections: number;
  connectionsAccepted: number;
  connectionsRefused: number;
  /** REST requests by path, the control paths included. */
  requests: Record<string, number>;
  /** Every stream that somebody is subscribed to now. */
  subscriptions: string[];
  messagesSent: number;
  bytesSent: number;
  controlMessages: number;
  pings: number;
  pongs: number;
  pongTimeouts: number;
  /** Clients cut off because they did not read. */
  slowClients: number;
  /** How often each fault took effect. */
  faults: Record<FaultName, number>;
  position: { played: number; of: number; timeMs: number; playing: boolean };
  /** Counters that only this venue keeps. */
  venue: Record<string, number>;
}

export interface VenueDouble {
  readonly port: number;
  /** Without a path: `ws://127.0.0.1:1234`. */
  readonly wsUrl: string;
  readonly restUrl: string;
  readonly stats: VenueStats;
  /** The tape is fully played and flushed to every socket, or the double was closed. */
  readonly finished: Promise<void>;
  play(): void;
  pause(): void;
  setSpeed(speed: number): void;
  fault(name: FaultName, params?: FaultParams): void;
  clearFaults(): void;
  close(): Promise<void>;
}

/** What makes a double this venue's: its paths, its control messages, its REST answers, its payloads. */
export interface Protocol {
  readonly tape: Tape;
  readonly surgery: Surgery;
  readonly unsupportedFaults: FaultName[];
  readonly counts: Record<string, number>;
  accepts(url: URL): boolean;
  joined(peer: Peer, url: URL): void;
  received(peer: Peer, kind: "message" | "ping" | "pong", text: string): void;
  left?(peer: Peer): void;
  answer(request: VenueRequest): Promise<Answer>;
  /** The event in a frame, if the double keeps account of it. */
  decode(frame: Frame): VenueEvent | undefined;
  /** The bytes that this peer gets of a message. */
  render(peer: Peer, message: Message): Buffer;
  /** The smallest price step of a symbol: its history is printed in it. */
  tickOf(symbol: string): number;
  /** True while the tape must stand still for a client of this venue. */
  holds(): boolean;
  /** Told after the double's own state has taken a frame in, before it is sent. */
  playing?(frame: Frame, event: VenueEvent | undefined): void;
  shutdown?(): void;
  close?(): void;
}

/** One venue's double: the shared machine around a Protocol. */
export class Double implements VenueDouble, Stage, Doorman {
  port = 0;
  readonly host: string;
  readonly endpoint: Endpoint;
  readonly audience: Audience;
  readonly player: Player;
  readonly faults: Faults;
  readonly books = new Map<string, OwnBook>();
  readonly #series = new Map<string, BarSeries>();
  readonly #hold: boolean;
  readonly #waitForSubscriber: boolean;
  #silentUntilMs = 0;
  #asked = false;

  constructor(
    readonly protocol: Protocol,
    readonly options: DoubleOptions,
  ) {
    const { host = "127.0.0.1", port = 0, speed = 1, hold = false } = options;
    const { pingIntervalMs = 20_000, pongTimeoutMs = 60_000 } = options;
    const endpointOptions: EndpointOptions = { host, port, pingIntervalMs, pongTimeoutMs };
    this.host = host;
    this.#hold = hold;
    this.#waitForSubscriber = options.waitForSubscriber ?? speed === Number.POSITIVE_INFINITY;
    this.faults = new Faults(protocol.surgery);
    this.endpoint = new Endpoint(endpointOptions, this);
    this.audience = new Audience(this.endpoint, (peer, message) => protocol.render(peer, message));
    this.player = new Player(protocol.tape, this, speed);
  }

  async listen(): Promise<this> {
    try {
      this.port = await this.endpoint.listen();
    } catch (error) {
      // A port in use: without this the venue's timers would keep the process alive.
      this.protocol.close?.();
      throw error;
    }
    return this;
  }

  get wsUrl(): string {
    return `ws://${this.host}:${this.port}`;
  }

  get restUrl(): string {
    return `http://${this.host}:${this.port}`;
  }

  get finished(): Promise<void> {
    return this.player.finished;
  }

  play(): void {
    this.player.play();
  }

  pause(): void {
    this.player.pause();
  }

  setSpeed(speed: number): void {
    if (!(speed > 0)) throw new Error(`speed must be above 0, not ${speed}`);
    this.player.setSpeed(speed);
  }

  clearFaults(): void {
    this.faults.clear();
    this.#silentUntilMs = 0;
    this.endpoint.refuseUntilMs = 0;
    this.endpoint.pingsSilentUntilMs = 0;
  }

  async close(): Promise<void> {
    this.player.stop();
    this.protocol.close?.();
    await this.endpoint.close();
  }

  get silent(): boolean {
    return Date.now() < this.#silentUntilMs;
  }

  fault(name: FaultName, params: FaultParams = {}): void {
    if (!FAULTS.includes(name)) throw new Error(`unknown fault ${name}; there are ${FAULTS.join(", ")}`);
    if (this.protocol.unsupportedFaults.includes(name)) throw new Error(`this venue has no ${name}`);
    checkParams(params);
    const untilMs = Date.now() + (params.ms ?? 1000);
    switch (name) {
      case "silence":
        this.#silentUntilMs = untilMs;
        if (params.pings === false) this.endpoint.pingsSilentUntilMs = untilMs;
        break;
      case "disconnect":
        for (const peer of this.endpoint.peers) peer.socket.terminate();
        break;
      case "close":
        for (const peer of this.endpoint.peers) peer.socket.close(params.code ?? 1000, params.reason ?? "");
        break;
      case "refuse":
        this.endpoint.refuseUntilMs = untilMs;
        this.endpoint.refuseStatus = params.status ?? 503;
        break;
      case "serverShutdown":
        this.protocol.shutdown?.();
        break;
      case "slowSnapshot":
      case "failSnapshot":
      case "staleSnapshot":
        this.faults.armSnapshot(name, params);
        return;
      default:
        this.faults.arm(name, params);
        return;
    }
    this.faults.counts[name]++;
  }

  get stats(): VenueStats {
    const { accepted, refused, ...inbound } = this.endpoint.counts;
    const { played, timeMs, playing } = this.player;
    return {
      connections: this.endpoint.peers.size,
      connectionsAccepted: accepted,
      connectionsRefused: refused,
      requests: { ...this.endpoint.requests },
      subscriptions: this.audience.topics,
      ...this.audience.counts,
      ...inbound,
      faults: { ...this.faults.counts },
      position: { played, of: this.protocol.tape.length, timeMs, playing },
      venue: { ...this.protocol.counts },
    };
  }

  // What the protocol asks of the double.

  subscribe(peer: Peer, topic: string): void {
    this.audience.join(peer, topic);
    // Playing begins once, with the first subscription; a pause asked for later is not undone by another one.
    if (!this.#asked && !this.#hold) this.player.play();
    this.#asked = true;
  }

  /** Control answers, heartbeats, snapshots: what is not on the tape. */
  send(peer: Peer, value: unknown): void {
    this.audience.send(peer, Buffer.from(JSON.stringify(value)));
  }

  book(symbol: string): OwnBook {
    let book = this.books.get(symbol);
    if (book === undefined) {
      book = new OwnBook();
      this.books.set(symbol, book);
    }
    return book;
  }

  /** A symbol that never trades on the tape has a history all the same, at a price of its own. */
  series(symbol: string): BarSeries {
    let series = this.#series.get(symbol);
    if (series === undefined) {
      const tick = this.protocol.tickOf(symbol);
      const seed = hashText(this.options.seed ?? 1, symbol);
      const { firstTrades, firstTimeMs } = this.protocol.tape;
      const first = firstTrades.get(symbol) ?? { timeMs: firstTimeMs, price: String((1 + (seed % 1_000_000)) * tick) };
      series = new BarSeries(first, tick, seed);
      this.#series.set(symbol, series);
    }
    return series;
  }

  // Stage: what the player asks.

  deliver(frame: Frame): void {
    const event = frame.event ?? this.protocol.decode(frame);
    if (event?.type === "snapshot") this.book(event.symbol).seed(event);
    else if (event?.type === "depth") this.book(event.symbol).apply(event);
    else if (event?.type === "trade") this.series(event.symbol).add(event);
    this.protocol.playing?.(frame, event);
    if (!this.audience.subscribed(frame.topic)) return;
    if (!this.faults.armed) this.audience.publish(frame);
    else for (const message of this.faults.pass(frame)) this.audience.publish(message);
  }

  holds(): boolean {
    return (this.#waitForSubscriber && this.audience.empty) || this.silent || this.protocol.holds();
  }

  congested(): boolean {
    return this.audience.congested();
  }

  flushed(): boolean {
    return this.audience.flushed();
  }

  cork(): void {
    this.audience.cork();
  }

  uncork(): void {
    this.audience.uncork();
  }

  // Doorman: what the endpoint tells.

  accepts(url: URL): boolean {
    return this.protocol.accepts(url);
  }

  joined(peer: Peer, url: URL): void {
    this.protocol.joined(peer, url);
  }

  received(peer: Peer, kind: "message" | "ping" | "pong", text: string): void {
    this.protocol.received(peer, kind, text);
  }

  left(peer: Peer): void {
    for (const topic of [...peer.topics]) this.audience.leave(peer, topic);
    this.protocol.left?.(peer);
  }

  async answer(request: VenueRequest): Promise<Answer> {
    const control = /^\/control\/(\w+)$/.exec(request.url.pathname);
    return control === null ? this.protocol.answer(request) : answerControl(this, control[1]!, request);
  }
}
