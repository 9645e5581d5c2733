import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import { Addresses, type Next } from "./addresses.ts";
import type { Cursor } from "./cursor.ts";
import { TickwireError } from "./errors.ts";
import type { LagMeter } from "./lag.ts";
import { Link } from "./link.ts";
import type { Ack, AckedStream, Hello, ServerMessage } from "./message.ts";
import { readMessage } from "./message.ts";
import type { Mode, ReconnectOptions, TokenProvider } from "./options.ts";
import type { InstrumentName, Receiver } from "./receiver.ts";
import { overlap, requestOf, type SubscribeSpec } from "./request.ts";
import { type StreamCounters, Streams, type Track } from "./streams.ts";
import { type Attached, Wanted } from "./wanted.ts";

/** One frame in so many tells how late frames are: reading the clock costs more than a frame. */
const SAMPLED_FRAMES = 32;
/** A server that closes with it will not have this client back as it is. */
const CLOSE_POLICY = 1008;
const REFUSED = /^(401|403) /;
/** A subscription that a server refuses, which it had or another one had, is asked for again after so long. */
const ASK_AGAIN_MS = 500;

export type { Attached } from "./wanted.ts";

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
  disconnected(url: URL, reason: string): void;
  retrying(retry: Retry): void;
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

/** There is no connection, and another attempt follows. */
export interface Retry {
  /** The server that is tried next. */
  readonly url: string;
  /** Why the last one was lost, or could not be made. */
  readonly reason: string;
  /** 1 for the first since a connection stood. */
  readonly attempt: number;
  readonly retryMs: number;
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

/**
 * One connection to whichever server is there, made again whenever it is lost. Its subscriptions must not overlap: a
 * stream has one form on a connection. What was missed is asked for by position, and what cannot be had is a gap.
 */
export class Session {
  readonly streams: Streams;
  hello: Hello | undefined;
  readonly #context: SessionContext;
  readonly #addresses: Addresses;
  readonly #wanted = new Map<number, Wanted>();
  /** Holes that are being filled, by the request's id. */
  readonly #refills = new Map<number, Track>();
  readonly #pings = new Map<number, number>();
  #link: Link | undefined;
  #lastId = 0;
  #timer: TimerHandle;
  readonly #askingAgain = new Set<TimerHandle>();
  #untilSample = 1;
  /** Since a connection stood. */
  #attempts = 0;
  #openedAt = 0;
  #lostAt = 0;
  #closed = false;
  #before = { frames: 0, gaps: 0 };

  constructor(context: SessionContext) {
    this.#context = context;
    this.#addresses = new Addresses(context.urls, context.reconnect, context.random);
    this.streams = new Streams(context.counters, context.name, (track, from, to) => this.#fetch(track, from, to));
  }

  get url(): URL {
    return this.#addresses.url;
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
    this.#link = new Link(this.url, this.#context, {
      text: (text) => this.#text(text),
      bytes: (bytes) => this.#bytes(bytes),
      lost: (code, reason) => this.#lost(code, reason),
      failed: (error) => this.#fail(error),
    });
  }

  #now(): number {
    return this.#context.clock.now();
  }

  /** The connection is gone, or never was: the next address, or after all of them a delay. */
  #lost(code: number, reason: string): void {
    const why = reason === "" ? `closed with ${code}` : reason;
    const isRefused = code === CLOSE_POLICY || REFUSED.test(reason);
    this.#leave(why, isRefused ? new TickwireError("refused", `${this.url.host}: ${why}`) : undefined);
  }

  #leave(why: string, refusal: TickwireError | undefined): void {
    const { timers } = this.#context;
    this.#link?.end();
    this.#link = undefined;
    for (const timer of this.#askingAgain) timers.clearTimeout(timer);
    this.#askingAgain.clear();
    const { url } = this;
    let next: Next;
    if (this.hello === undefined) next = this.#addresses.failed(refusal);
    else {
      this.#lostAt = this.#now();
      next = this.#addresses.lost((this.#lostAt - this.#openedAt) / 1000, refusal);
      this.#keep(why);
      this.#context.disconnected(url, why);
    }
    if (this.#closed) return;
    if ("error" in next) return this.#fail(next.error);
    if ("exhausted" in next) {
      return this.#fail(new TickwireError("unavailable", `no server after ${next.exhausted} attempts: ${why}`));
    }
    this.#attempts += 1;
    this.#context.retrying({ url: this.url.href, reason: why, attempt: this.#attempts, retryMs: next.delayMs });
    if (this.#closed) return;
    this.#timer = timers.setTimeout(() => this.#connect(), next.delayMs);
  }

  /** Keeps where each subscription stood; one that this connection had not got to stands where it did before. */
  #keep(reason: string): void {
    const { streams } = this;
    this.hello = undefined;
    for (const wanted of this.#wanted.values()) this.#leaveOff(wanted);
    streams.endRefills();
    this.#refills.clear();
    this.#pings.clear();
    for (const { receiver } of this.#wanted.values()) receiver.disconnected(reason);
  }

  #leaveOff(wanted: Wanted): void {
    wanted.resume = this.#standing(wanted);
    if (wanted.resume !== undefined) wanted.hasBegun = true;
    wanted.isAcked = false;
  }

  /** Where a subscription stands: everything up to it was handed on. Undefined while it has not begun. */
  #standing(wanted: Wanted): Cursor | undefined {
    const { streams } = this;
    if (!wanted.isAcked || this.#isUntouched(wanted)) return wanted.resume;
    return { epoch: streams.epoch, position: streams.position, held: streams.held(wanted.attached.id) };
  }

  /** Tells where a subscription stands at any time, and when it was left where it stood then. */
  whereOf(id: number): () => Cursor | undefined {
    const wanted = this.#wanted.get(id);
    return () => wanted && this.#standing(wanted);
  }

  /** True while a past that was asked for by its time has not begun to come. */
  #isUntouched({ isReplaying, resume, attached }: Wanted): boolean {
    if (!isReplaying || resume !== undefined) return false;
    return attached.acked.every(({ stream }) => this.streams.heldOf(stream) === undefined);
  }

  #fail(error: TickwireError): void {
    this.#closed = true;
    for (const { settle } of this.#wanted.values()) settle?.reject(error);
    this.#context.failed(error);
  }

  /** Hot path. */
  #bytes(bytes: Uint8Array): void {
    if (!this.streams.take(bytes)) {
      this.#context.error(new TickwireError("protocol", `${bytes.length} bytes came that are no frame`));
      return;
    }
    if (this.streams.needsSnapshot) return this.#beginAnew();
    this.#untilSample -= 1;
    if (this.#untilSample > 0) return;
    this.#untilSample = SAMPLED_FRAMES;
    const { newest } = this.streams;
    this.#context.lag.note(newest.tsExchange, newest.tsPublish, this.#now());
  }

  /** A book cannot go on: whoever comes back without it is sent a snapshot, and misses nothing of the rest. */
  #beginAnew(): void {
    this.#lost(1006, "a hole in a book cannot be filled");
  }

  #text(text: string): void {
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
        return this.#shutDown(message.retry_after_ms);
      case "error":
        return this.#refused(message.id, message.code, message.message);
    }
  }

  /** A server that is being started anew says when it wants its clients back; another one takes them at once. */
  #shutDown(retryMs: number): void {
    const { urls, retryAtOnce } = this.#context;
    if (urls.length === 1 && !retryAtOnce) this.#addresses.askedToWait(retryMs);
  }

  #greet(hello: Hello): void {
    const { require, counters, lag } = this.#context;
    if (require !== undefined && hello.mode !== require) {
      const why = `${this.url.host} is ${hello.mode}, not ${require}`;
      return this.#leave(why, new TickwireError("wrong_mode", why));
    }
    this.hello = hello;
    this.#attempts = 0;
    this.#untilSample = 1;
    this.#openedAt = this.#now();
    this.#before = { frames: counters.frames, gaps: counters.gaps };
    lag.forget();
    this.#context.connected(hello, this.url);
    for (const wanted of this.#wanted.values()) this.#send(wanted.message());
    this.#link?.greeted();
    this.#ping();
    this.#finish();
  }

  #send(message: object): void {
    this.#link?.send(message);
  }

  /**
   * Subscribes, from where an earlier program stood if it `begins` there; resolves with the server's ack, rejects with
   * its error. The client stays subscribed until `detach`.
   */
  attach(spec: SubscribeSpec, receiver: Receiver, begins?: Cursor): Promise<Attached> {
    requestOf(spec);
    this.#lastId += 1;
    return new Promise((resolve, reject) => {
      const wanted = new Wanted(this.#lastId, spec, receiver, { resolve, reject }, begins);
      this.#wanted.set(this.#lastId, wanted);
      if (this.hello !== undefined) this.#send(wanted.message());
    });
  }

  detach(id: number): void {
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return;
    this.#leaveOff(wanted);
    this.#wanted.delete(id);
    this.streams.forget(id);
    if (this.hello !== undefined) this.#send({ type: "unsubscribe", subscription: id });
  }

  /** Asks for something else under the same subscription, which stays as it is when that is refused. */
  change(id: number, spec: SubscribeSpec): Promise<Attached> {
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return Promise.reject(new TickwireError("closed", "the subscription was closed"));
    requestOf(spec);
    for (const other of this.#wanted.values()) {
      if (other === wanted || !overlap(other.spec, spec)) continue;
      return Promise.reject(new TickwireError("bad_option", "change: another subscription has some of these streams"));
    }
    if (wanted.settle !== undefined) {
      return Promise.reject(new TickwireError("bad_option", "change: the one before has not been answered"));
    }
    wanted.before = wanted.spec;
    wanted.spec = spec;
    // What it had goes on; a past is asked for only by a change that names one.
    wanted.hasBegun = spec.from === undefined;
    return new Promise((resolve, reject) => {
      wanted.settle = { resolve, reject };
      if (this.hello === undefined) return;
      wanted.resume = undefined;
      this.#send(wanted.message());
    });
  }

  #acked(ack: Ack): void {
    const wanted = this.#wanted.get(ack.id);
    if (wanted === undefined) return;
    const { attached, settle, resume, receiver, isAcked } = wanted;
    const isAgain = settle === undefined && !isAcked;
    const isResumed = ack.resume === "resumed" || ack.resume === "restarted";
    const hello = this.hello as Hello;
    const epoch = ack.resume === "restarted" && resume !== undefined ? resume.epoch : hello.epoch;
    wanted.isReplaying = resume === undefined ? wanted.isReplaying : isResumed;
    // Streams of an ack that does not list them are announced.
    if (ack.stream_count === undefined) this.streams.forget(ack.id, new Set(ack.streams.map(({ stream }) => stream)));
    this.#standBack(isResumed ? resume : undefined, hello);
    attached.acked = ack.streams;
    attached.streams = ack.streams.map((acked) => {
      const held = this.#heldAt(acked, wanted, epoch, isResumed);
      return this.streams.add(acked, ack.id, receiver, epoch, held);
    });
    attached.unavailable = ack.unavailable;
    attached.indicators = ack.indicators ?? [];
    wanted.isAcked = true;
    wanted.before = undefined;
    wanted.settle = undefined;
    if (!wanted.isReplaying) wanted.hasBegun = true;
    settle?.resolve(attached);
    if (isAgain) receiver.connected(!isResumed);
    if (isAgain && !wanted.isReplaying) receiver.level();
    this.#finish();
  }

  /** A subscription was taken: until its past comes, the connection stands where that begins, or where the server does. */
  #standBack(resume: Cursor | undefined, hello: Hello): void {
    const { streams } = this;
    const { epoch, position } = resume ?? hello;
    const others = [...this.#wanted.values()].some(({ isAcked }) => isAcked);
    const isBefore = epoch < streams.epoch || (epoch === streams.epoch && position < streams.position);
    if (resume === undefined ? epoch !== streams.epoch : isBefore || !others) streams.standAt(epoch, position);
  }

  /** The last sequence that this client has of a stream, when its subscription is taken; undefined when not known. */
  #heldAt(acked: AckedStream, wanted: Wanted, epoch: number, isResumed: boolean): number | undefined {
    if (isResumed) {
      const { resume } = wanted;
      const known =
        this.streams.heldIn(acked.stream, epoch) ?? (resume?.epoch === epoch ? resume.held[acked.stream] : undefined);
      // A stream that was born while nobody was connected begins with its first frame, or with a snapshot.
      return known ?? (acked.resumable ? undefined : acked.seq);
    }
    return wanted.isReplaying ? undefined : acked.seq;
  }

  #added(id: number, acked: AckedStream): void {
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return;
    const hello = this.hello as Hello;
    wanted.attached.acked.push(acked);
    const held = wanted.isReplaying ? this.streams.heldIn(acked.stream, hello.epoch) : acked.seq;
    wanted.attached.streams.push(this.streams.add(acked, id, wanted.receiver, hello.epoch, held));
  }

  #replayed(id: number): void {
    const track = this.#refills.get(id);
    if (track !== undefined) return this.#refilled(id, track);
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return;
    wanted.isReplaying = false;
    wanted.hasBegun = true;
    this.streams.settle(id, wanted.attached.acked);
    wanted.receiver.level();
    this.#finish();
  }

  #refilled(id: number, track: Track): void {
    this.#refills.delete(id);
    this.streams.endRefill(track);
    if (this.streams.needsSnapshot) this.#beginAnew();
  }

  /** Says that the connection is there again, once all that was missed has come. */
  #finish(): void {
    if (this.#lostAt === 0) return;
    for (const { isReplaying, isAcked } of this.#wanted.values()) if (isReplaying || !isAcked) return;
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
    if (id !== null && track !== undefined) return this.#refilled(id, track);
    const wanted = id === null ? undefined : this.#wanted.get(id);
    if (wanted === undefined) return this.#context.error(error);
    const { settle, before } = wanted;
    if (settle !== undefined && before === undefined) {
      this.#wanted.delete(wanted.attached.id);
      return settle.reject(error);
    }
    if (settle !== undefined && before !== undefined) {
      wanted.settle = undefined;
      wanted.spec = before;
      wanted.before = undefined;
      wanted.hasBegun = true;
      settle.reject(error);
      // On this connection it is still what it was.
      if (wanted.isAcked) return;
    } else this.#context.error(error);
    this.#askAgain(wanted, code);
  }

  /** A subscription was there, and this server has not got it, or not now. */
  #askAgain(wanted: Wanted, code: string): void {
    const { timers } = this.#context;
    // What it wants to go on from is not understood: it begins anew, and what it missed is not known.
    if (code === "bad_request" && wanted.resume !== undefined) {
      for (const info of wanted.attached.streams) {
        wanted.receiver.gap({ stream: info, from: undefined, to: undefined, reason: "epoch" });
      }
      wanted.resume = undefined;
    }
    const timer = timers.setTimeout(() => {
      this.#askingAgain.delete(timer);
      if (this.hello !== undefined && this.#wanted.has(wanted.attached.id)) this.#send(wanted.message());
    }, ASK_AGAIN_MS);
    this.#askingAgain.add(timer);
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
    timers.clearTimeout(this.#timer);
    for (const timer of this.#askingAgain) timers.clearTimeout(timer);
    this.#link?.close();
    const error = new TickwireError("closed", "the client was closed");
    for (const { settle } of this.#wanted.values()) settle?.reject(error);
    this.#wanted.clear();
  }
}
