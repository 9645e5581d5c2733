import { Backoff } from "../std/backoff.ts";
import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { Cursor } from "./cursor.ts";
import { TickwireError } from "./errors.ts";
import type { LagMeter } from "./lag.ts";
import type { Ack, AckedStream, Hello, ServerMessage, Unavailable } from "./message.ts";
import { readMessage } from "./message.ts";
import type { Mode, ReconnectOptions, TokenProvider } from "./options.ts";
import type { InstrumentName, Receiver, StreamInfo } from "./receiver.ts";
import { requestOf, type SubscribeSpec } from "./request.ts";
import type { Socket } from "./socket.ts";
import { openSocket } from "./socket.ts";
import { type StreamCounters, Streams, type Track } from "./streams.ts";

const PROTOCOL = "tickwire.v1.flatbuffers";
const BASE_MS = 200;
const MAX_MS = 10_000;
/** A connection that stood for so long makes the delays begin anew. */
const HEALTHY_MS = 5_000;
/** Heartbeats that may be missed before a connection counts as dead; and what a connection may take to be there. */
const MISSED_HEARTBEATS = 3;
const OPEN_MS = 10_000;
/** One frame in so many tells how late frames are: reading the clock costs more than a frame. */
const SAMPLED_FRAMES = 32;
/** A server that closes with it will not have this client back as it is. */
const CLOSE_POLICY = 1008;
const REFUSED = /^(401|403) /;

/** What a session takes from its client, and tells it. */
export interface SessionContext {
  urls: readonly URL[];
  heartbeatMs: number;
  token: TokenProvider | undefined;
  require: Mode | undefined;
  reconnect: ReconnectOptions;
  /** Comes back without the delay that a stopping server asks for. */
  retryAtOnce: boolean;
  clock: Clock;
  timers: Timers;
  random: () => number;
  lag: LagMeter;
  counters: StreamCounters;
  name(exchange: string, symbol: string): InstrumentName;
  connected(hello: Hello, url: URL): void;
  disconnected(reason: string, retryMs: number): void;
  reconnected(report: Reconnected): void;
  heartbeat(beat: Heartbeat): void;
  error(error: TickwireError): void;
  /** The session has given up. */
  failed(error: TickwireError): void;
}

/** What a heartbeat of the server says. */
export interface Heartbeat {
  /** The gateway's time, microseconds. */
  readonly serverTime: number;
  readonly position: number;
  /** Bytes that wait at the gateway for this client, and for how long some have, milliseconds. */
  readonly queueBytes: number;
  readonly lagMs: number;
}

/** A connection is there again, and what was missed has come. */
export interface Reconnected {
  readonly url: string;
  /** Frames that were missed and came again. */
  readonly replayed: number;
  /** Gaps: what was missed and is lost. */
  readonly gaps: number;
  readonly tookMs: number;
}

/** A subscription as the server has taken it. */
export interface Attached {
  readonly id: number;
  streams: StreamInfo[];
  unavailable: Unavailable[];
  /** What the numbers of indicators mean. */
  indicators: { id: number; name: string; lanes: string[] }[];
}

interface Wanted {
  readonly attached: Attached;
  spec: SubscribeSpec;
  readonly receiver: Receiver;
  /** Settles with the first ack, or the error in its place; undefined afterwards. */
  settle: { resolve(attached: Attached): void; reject(error: TickwireError): void } | undefined;
  acked: AckedStream[];
  /** A replay of it is still coming. */
  isReplaying: boolean;
}

/**
 * One connection to whichever server is there, made again whenever it is lost. Its subscriptions must not overlap: a
 * stream has one form on a connection. What was missed is asked for by position, and what cannot be had is a gap.
 */
export class Session {
  readonly streams: Streams;
  hello: Hello | undefined;
  url: URL;
  readonly #context: SessionContext;
  readonly #backoff: Backoff;
  readonly #wanted = new Map<number, Wanted>();
  /** Holes that are being filled, by the request's id. */
  readonly #refills = new Map<number, Track>();
  readonly #pings = new Map<number, number>();
  #socket: Socket | undefined;
  #generation = 0;
  #lastId = 0;
  #urlIndex = 0;
  #attempts = 0;
  #timer: TimerHandle;
  #watch: TimerHandle;
  /** Something came since it was last asked. */
  #heard = true;
  #untilSample = 1;
  #openedAt = 0;
  #lostAt = 0;
  #retryMs = 0;
  #closed = false;
  /** Where to go on from: of this session's last connection, or of an earlier program. */
  #resume: Cursor | undefined;
  #before = { frames: 0, gaps: 0 };
  #refusal: TickwireError | undefined;

  constructor(context: SessionContext, resume: Cursor | undefined) {
    this.#context = context;
    this.url = context.urls[0] as URL;
    this.#resume = resume;
    this.streams = new Streams(context.counters, context.name, (track, from, to) => this.#fetch(track, from, to));
    const { baseMs = BASE_MS, maxMs = MAX_MS } = context.reconnect;
    this.#backoff = new Backoff({ baseMs, maxMs, healthyAfterMs: HEALTHY_MS }, context.random);
  }

  /** The subscriptions, for whoever looks whether another one overlaps. */
  get specs(): SubscribeSpec[] {
    return [...this.#wanted.values()].map(({ spec }) => spec);
  }

  get isLive(): boolean {
    return this.hello !== undefined;
  }

  start(): void {
    this.#connect();
  }

  #connect(): void {
    if (this.#closed) return;
    this.#generation += 1;
    const generation = this.#generation;
    this.url = this.#context.urls[this.#urlIndex] as URL;
    this.#heard = true;
    this.#openSoon(generation).catch((error: unknown) => {
      if (generation !== this.#generation) return;
      if (error instanceof TickwireError && error.code === "not_here") this.#fail(error);
      else this.#lost(generation, 1006, (error as Error).message);
    });
    this.#watchOver(generation);
  }

  async #openSoon(generation: number): Promise<void> {
    const { token, heartbeatMs } = this.#context;
    const text = typeof token === "function" ? await token() : token;
    const url = new URL(this.url);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/stream`;
    url.search = new URLSearchParams({ time_unit: "us", heartbeat_ms: String(heartbeatMs) }).toString();
    const socket = await openSocket(url, text ? [PROTOCOL, `bearer.${text}`] : [PROTOCOL], {
      open: () => {},
      text: (message) => {
        if (generation === this.#generation) this.#text(message);
      },
      bytes: (bytes) => {
        if (generation === this.#generation) this.#bytes(bytes);
      },
      closed: (code, reason) => this.#lost(generation, code, reason),
    });
    if (generation === this.#generation && !this.#closed) this.#socket = socket;
    else socket.terminate();
  }

  #now(): number {
    return this.#context.clock.now();
  }

  /** Nothing may be silent for longer than some heartbeats: a connection that is half open says nothing. */
  #watchOver(generation: number): void {
    const { timers, heartbeatMs } = this.#context;
    const patience = this.hello === undefined ? OPEN_MS : MISSED_HEARTBEATS * heartbeatMs;
    this.#heard = false;
    this.#watch = timers.setTimeout(() => {
      if (generation !== this.#generation || this.#closed) return;
      if (this.#heard) return this.#watchOver(generation);
      this.#lost(generation, 1006, `nothing came for ${patience} ms`);
    }, patience);
  }

  /** The connection is gone, or never was: the next address, or after all of them a delay. */
  #lost(generation: number, code: number, reason: string): void {
    if (generation !== this.#generation || this.#closed) return;
    const { timers, urls, reconnect } = this.#context;
    this.#generation += 1;
    timers.clearTimeout(this.#watch);
    this.#socket?.terminate();
    this.#socket = undefined;
    const wasLive = this.hello !== undefined;
    const why = reason === "" ? `closed with ${code}` : reason;
    if (wasLive) this.#leave(why);
    if (code === CLOSE_POLICY || REFUSED.test(reason)) {
      this.#refusal = new TickwireError("refused", `${this.url.host}: ${why}`);
    }
    this.#urlIndex = (this.#urlIndex + 1) % urls.length;
    if (this.#urlIndex === 0 && this.#refusal !== undefined) return this.#fail(this.#refusal);
    if (this.#urlIndex === 0) this.#attempts += 1;
    if (this.#attempts >= (reconnect.attempts ?? Number.POSITIVE_INFINITY)) {
      return this.#fail(new TickwireError("unavailable", `no server after ${this.#attempts} attempts: ${why}`));
    }
    const delay = this.#delay(wasLive);
    this.#context.disconnected(why, delay);
    this.#timer = timers.setTimeout(() => this.#connect(), delay);
  }

  #delay(wasLive: boolean): number {
    const asked = this.#retryMs;
    this.#retryMs = 0;
    if (this.#urlIndex !== 0) return 0;
    // A server that is being started anew says when it wants its clients back; another one takes them at once.
    const { urls, retryAtOnce } = this.#context;
    if (wasLive && asked > 0 && urls.length === 1 && !retryAtOnce) return asked;
    return this.#backoff.next();
  }

  /** Keeps where the connection stood. */
  #leave(reason: string): void {
    this.hello = undefined;
    this.#lostAt = this.#now();
    this.#backoff.wasGoodFor((this.#lostAt - this.#openedAt) / 1000);
    this.#resume = this.cursor();
    this.#refills.clear();
    this.#pings.clear();
    for (const { receiver } of this.#wanted.values()) receiver.disconnected(reason);
  }

  /** Where this session stands: everything up to it was handed on. */
  cursor(): Cursor | undefined {
    const { streams } = this;
    if (streams.epoch === 0) return this.#resume;
    return { epoch: streams.epoch, position: streams.position, held: streams.held() };
  }

  #fail(error: TickwireError): void {
    this.#closed = true;
    for (const { settle } of this.#wanted.values()) settle?.reject(error);
    this.#context.failed(error);
  }

  /** Hot path. */
  #bytes(bytes: Uint8Array): void {
    this.#heard = true;
    if (!this.streams.take(bytes)) {
      this.#context.error(new TickwireError("protocol", `${bytes.length} bytes came that are no frame`));
      return;
    }
    this.#untilSample -= 1;
    if (this.#untilSample > 0) return;
    this.#untilSample = SAMPLED_FRAMES;
    const { newest } = this.streams;
    this.#context.lag.note(newest.tsExchange, newest.tsPublish, this.#now());
  }

  #text(text: string): void {
    this.#heard = true;
    const message = readMessage(text);
    if (message === undefined) {
      this.#context.error(new TickwireError("protocol", "a text came that is no message"));
      return;
    }
    try {
      this.#take(message);
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      this.#context.error(
        new TickwireError("protocol", `a ${message.type} cannot be read: ${cause}`, { cause: error }),
      );
    }
  }

  #take(message: ServerMessage): void {
    switch (message.type) {
      case "hello":
        return this.#greet(message);
      case "system":
        if (message.status === "subscribed") this.#acked(message);
        return;
      case "gap":
        return this.streams.gap(message);
      case "stream_added":
        return this.#added(message.subscription, message.stream);
      case "replay_end":
        return this.#replayed(message.id);
      case "heartbeat":
        return this.#beat(message);
      case "pong":
        return this.#ponged(message.id, message.ts_server);
      case "server_shutdown":
        this.#retryMs = message.retry_after_ms;
        return;
      case "error":
        return this.#refused(message.id, message.code, message.message);
    }
  }

  #greet(hello: Hello): void {
    const { require, urls } = this.#context;
    if (require !== undefined && hello.mode !== require) {
      this.#refusal = new TickwireError("wrong_mode", `${this.url.host} is ${hello.mode}, not ${require}`);
      this.#socket?.terminate();
      return this.#lost(this.#generation, 1000, this.#refusal.message);
    }
    this.hello = hello;
    this.#untilSample = 1;
    this.#refusal = undefined;
    this.#attempts = 0;
    this.#urlIndex = urls.indexOf(this.url);
    this.#openedAt = this.#now();
    this.#before = { frames: this.#context.counters.frames, gaps: this.#context.counters.gaps };
    this.#context.lag.forget();
    const resume = this.#resume;
    if (resume === undefined || resume.epoch !== hello.epoch) {
      this.streams.forget();
      this.streams.standAt(hello.epoch, hello.position);
    }
    this.#context.connected(hello, this.url);
    for (const wanted of this.#wanted.values()) this.#request(wanted, resume);
    if (this.#wanted.size === 0) this.#resume = resume;
    this.#context.timers.clearTimeout(this.#watch);
    this.#watchOver(this.#generation);
    this.#ping();
    this.#finish();
  }

  #request(wanted: Wanted, resume: Cursor | undefined): void {
    const { from, strict, ...spec } = wanted.spec;
    const isFirst = wanted.settle !== undefined;
    const past = isFirst && resume === undefined ? { from, strict } : {};
    const body = requestOf({ ...spec, ...past } as SubscribeSpec);
    wanted.isReplaying = resume !== undefined || past.from !== undefined;
    this.#send({ type: "subscribe", id: wanted.attached.id, ...body, ...(resume === undefined ? {} : { resume }) });
  }

  #send(message: object): void {
    this.#socket?.send(JSON.stringify(message));
  }

  /** Subscribes; resolves with the server's ack, rejects with its error. The client stays subscribed until `detach`. */
  attach(spec: SubscribeSpec, receiver: Receiver): Promise<Attached> {
    requestOf(spec);
    this.#lastId += 1;
    const attached: Attached = { id: this.#lastId, streams: [], unavailable: [], indicators: [] };
    return new Promise((resolve, reject) => {
      const settle = { resolve, reject };
      const wanted: Wanted = { attached, spec, receiver, settle, acked: [], isReplaying: false };
      this.#wanted.set(attached.id, wanted);
      if (this.hello === undefined) return;
      // What an earlier program had goes on with the first subscription; later ones begin now.
      const resume = this.#wanted.size === 1 ? this.#resume : undefined;
      this.#resume = undefined;
      this.#request(wanted, resume);
    });
  }

  detach(id: number): void {
    if (!this.#wanted.delete(id)) return;
    this.streams.forget(id);
    if (this.hello !== undefined) this.#send({ type: "unsubscribe", subscription: id });
  }

  /** Asks for something else under the same subscription. */
  change(id: number, spec: SubscribeSpec): Promise<Attached> {
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return Promise.reject(new TickwireError("closed", "the subscription was closed"));
    requestOf(spec);
    wanted.spec = spec;
    return new Promise((resolve, reject) => {
      wanted.settle = { resolve, reject };
      if (this.hello !== undefined) this.#request(wanted, undefined);
    });
  }

  #acked(ack: Ack): void {
    const wanted = this.#wanted.get(ack.id);
    if (wanted === undefined) return;
    const { attached, receiver, settle, spec } = wanted;
    const again = settle === undefined;
    const hello = this.hello as Hello;
    const resumed = ack.resume === "resumed" || ack.resume === "restarted";
    const begins = this.#resume;
    const epoch = ack.resume === "restarted" && begins !== undefined ? begins.epoch : hello.epoch;
    const hadPast = wanted.isReplaying && !resumed && spec.from !== undefined && ack.resume === undefined;
    wanted.isReplaying = resumed || hadPast;
    wanted.acked = ack.streams;
    const kept = new Set<number>();
    attached.streams = ack.streams.map((acked) => {
      kept.add(acked.stream);
      const known = resumed ? (this.streams.heldOf(acked.stream) ?? begins?.held[acked.stream]) : undefined;
      // A stream that was born while nobody was connected begins with its first frame.
      const held = hadPast ? undefined : resumed ? (known ?? (acked.resumable ? 0 : acked.seq)) : acked.seq;
      return this.streams.add(acked, ack.id, receiver, epoch, held);
    });
    attached.unavailable = ack.unavailable;
    attached.indicators = ack.indicators ?? [];
    wanted.settle = undefined;
    settle?.resolve(attached);
    if (again) receiver.connected(!resumed);
    if (again && !wanted.isReplaying) receiver.level();
    this.#finish();
  }

  #added(id: number, acked: AckedStream): void {
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return;
    const hello = this.hello as Hello;
    wanted.acked.push(acked);
    const held = wanted.isReplaying ? this.streams.heldOf(acked.stream) : acked.seq;
    wanted.attached.streams.push(this.streams.add(acked, id, wanted.receiver, hello.epoch, held));
  }

  #replayed(id: number): void {
    const track = this.#refills.get(id);
    if (track !== undefined) {
      this.#refills.delete(id);
      return this.streams.endRefill(track);
    }
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return;
    wanted.isReplaying = false;
    this.streams.settle(id, wanted.acked);
    wanted.receiver.level();
    this.#finish();
  }

  /** Says that the connection is there again, once all that was missed has come. */
  #finish(): void {
    if (this.#lostAt === 0) return;
    for (const { isReplaying, acked } of this.#wanted.values()) if (isReplaying || acked.length === 0) return;
    const { counters } = this.#context;
    const tookMs = (this.#now() - this.#lostAt) / 1000;
    this.#lostAt = 0;
    const { frames, gaps } = this.#before;
    const report = { url: this.url.href, replayed: counters.frames - frames, gaps: counters.gaps - gaps, tookMs };
    this.#context.reconnected(report);
  }

  #fetch({ info }: Track, from: number, to: number): void {
    this.#lastId += 1;
    this.#refills.set(this.#lastId, this.streams.get(info.stream) as Track);
    this.#send({ type: "fetch", id: this.#lastId, stream: info.stream, from, to });
  }

  #refused(id: number | null, code: string, message: string): void {
    const error = new TickwireError(code as "bad_request", message);
    const track = id === null ? undefined : this.#refills.get(id);
    if (id !== null && track !== undefined) {
      this.#refills.delete(id);
      return this.streams.endRefill(track);
    }
    const wanted = id === null ? undefined : this.#wanted.get(id);
    if (wanted?.settle === undefined) return this.#context.error(error);
    this.#wanted.delete(id as number);
    wanted.settle.reject(error);
  }

  #beat({ ts_server, position, queue_bytes, lag_ms }: Extract<ServerMessage, { type: "heartbeat" }>): void {
    this.#context.heartbeat({ serverTime: ts_server, position, queueBytes: queue_bytes, lagMs: lag_ms });
    this.#ping();
  }

  /** Each heartbeat is answered with a question, whose way there and back tells the clocks apart. */
  #ping(): void {
    this.#lastId += 1;
    this.#pings.set(this.#lastId, this.#now());
    this.#send({ type: "ping", id: this.#lastId });
  }

  #ponged(id: number, serverTime: number): void {
    const askedAt = this.#pings.get(id);
    if (askedAt === undefined) return;
    this.#pings.delete(id);
    this.#context.lag.answered(askedAt, this.#now(), serverTime);
  }

  close(): void {
    const { timers } = this.#context;
    this.#closed = true;
    this.#generation += 1;
    timers.clearTimeout(this.#timer);
    timers.clearTimeout(this.#watch);
    this.#socket?.close();
    const error = new TickwireError("closed", "the client was closed");
    for (const { settle } of this.#wanted.values()) settle?.reject(error);
    this.#wanted.clear();
  }
}
