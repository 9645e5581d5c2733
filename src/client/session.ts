import type { TimerHandle } from "../std/timers.ts";
import type { Cursor } from "./cursor.ts";
import { TickwireError } from "./errors.ts";
import type { Ack, AckedStream, Hello, ServerMessage } from "./message.ts";
import { readMessage } from "./message.ts";
import { Pings } from "./pings.ts";
import type { Receiver } from "./receiver.ts";
import { Redial } from "./redial.ts";
import { overlap, requestOf, type SubscribeSpec } from "./request.ts";
import type { SessionContext } from "./session-context.ts";
import { heldAt, leaveOff, standBack, standingOf } from "./standing.ts";
import { Streams, type Track } from "./streams.ts";
import { type Attached, Wanted } from "./wanted.ts";

/** One frame in so many tells how late frames are: reading the clock costs more than a frame. */
const SAMPLED_FRAMES = 32;
/** A subscription that a server refuses, which it had or another one had, is asked for again after so long. */
const ASK_AGAIN_MS = 500;

export type { Attached } from "./wanted.ts";

/**
 * One connection to whichever server is there, made again whenever it is lost. Its subscriptions must not overlap: a
 * stream has one form on a connection. What was missed is asked for by position, and what cannot be had is a gap.
 */
export class Session {
  readonly streams: Streams;
  hello: Hello | undefined;
  readonly #context: SessionContext;
  readonly #redial: Redial;
  readonly #wanted = new Map<number, Wanted>();
  /** Holes that are being filled, by the request's id. */
  readonly #refills = new Map<number, Track>();
  readonly #pings: Pings;
  #lastId = 0;
  readonly #askingAgain = new Set<TimerHandle>();
  #untilSample = 1;
  #lostAt = 0;
  #before = { frames: 0, gaps: 0 };

  constructor(context: SessionContext) {
    this.#context = context;
    this.#pings = new Pings(context.clock, context.lag);
    this.#redial = new Redial(context, {
      text: (text) => this.#text(text),
      bytes: (bytes) => this.#bytes(bytes),
      lost: (reason) => this.#lost(reason),
      failed: (error) => this.#fail(error),
    });
    this.streams = new Streams(context.counters, context.name, (track, from, to) => this.#fetch(track, from, to));
  }

  get url(): URL {
    return this.#redial.url;
  }

  /** The subscriptions, for whoever looks whether another one overlaps. */
  get specs(): SubscribeSpec[] {
    return [...this.#wanted.values()].map(({ spec }) => spec);
  }

  get isLive(): boolean {
    return this.hello !== undefined;
  }

  start(): void {
    this.#redial.connect();
  }

  #now(): number {
    return this.#context.clock.now();
  }

  #lost(reason: string): void {
    const { streams } = this;
    this.#lostAt = this.#now();
    this.#stopAsking();
    this.hello = undefined;
    for (const wanted of this.#wanted.values()) leaveOff(wanted, streams);
    streams.endRefills();
    this.#refills.clear();
    this.#pings.forget();
    for (const { receiver } of this.#wanted.values()) receiver.disconnected(reason);
  }

  /** Tells where a subscription stands at any time, and when it was left where it stood then. */
  whereOf(id: number): () => Cursor | undefined {
    const wanted = this.#wanted.get(id);
    return () => wanted && standingOf(wanted, this.streams);
  }

  #fail(error: TickwireError): void {
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
    this.#redial.lose(1006, "a hole in a book cannot be filled");
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
        return this.#pings.answered(message.id, message.ts_server);
      case "server_shutdown":
        return this.#redial.askedToWait(message.retry_after_ms);
      case "error":
        return this.#refused(message.id, message.code, message.message);
    }
  }

  #greet(hello: Hello): void {
    const { require, counters, lag } = this.#context;
    if (require !== undefined && hello.mode !== require) {
      const why = `${this.url.host} is ${hello.mode}, not ${require}`;
      return this.#redial.leave(why, new TickwireError("wrong_mode", why));
    }
    this.hello = hello;
    this.#untilSample = 1;
    this.#before = { frames: counters.frames, gaps: counters.gaps };
    lag.forget();
    this.#context.connected(hello, this.url);
    for (const wanted of this.#wanted.values()) this.#send(wanted.message());
    this.#redial.greeted();
    this.#ping();
    this.#finish();
  }

  #send(message: object): void {
    this.#redial.send(message);
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
    leaveOff(wanted, this.streams);
    this.#wanted.delete(id);
    this.streams.forget(id);
    // What it is left with is not kept up any more.
    wanted.receiver.disconnected("closed");
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
    wanted.become(spec);
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
    const isFirst = [...this.#wanted.values()].every((each) => !each.isAcked);
    standBack(this.streams, isResumed ? resume : undefined, hello, isFirst);
    attached.acked = ack.streams;
    attached.streams = ack.streams.map((acked) => {
      const held = heldAt(acked, wanted, this.streams, epoch, isResumed);
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

  #refused(id: number | null, code: unknown, message: unknown): void {
    const isError = typeof code === "string" && typeof message === "string";
    const error = new TickwireError(isError ? (code as "bad_request") : "protocol", String(message));
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
      wanted.stay(before);
      settle.reject(error);
      // On this connection it is still what it was.
      if (wanted.isAcked) return;
    } else this.#context.error(error);
    this.#askAgain(wanted, error.code);
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

  /** Each heartbeat is answered with a question. */
  #ping(): void {
    this.#lastId += 1;
    this.#send(this.#pings.ask(this.#lastId));
  }

  #stopAsking(): void {
    for (const timer of this.#askingAgain) this.#context.timers.clearTimeout(timer);
    this.#askingAgain.clear();
  }

  close(): void {
    this.#redial.close();
    this.#stopAsking();
    const error = new TickwireError("closed", "the client was closed");
    for (const { settle, receiver } of this.#wanted.values()) {
      settle?.reject(error);
      receiver.disconnected(error.message);
    }
    this.#wanted.clear();
  }
}
