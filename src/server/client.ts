import type { WebSocket } from "uWebSockets.js";
import type { ErrorCode } from "../market/errors.ts";
import { CLOSE_INTERNAL, CLOSE_TOO_SLOW } from "../market/errors.ts";
import type { Instrument } from "../market/instrument.ts";
import type { Memory } from "../wire/memory.ts";
import type { Task } from "./backlog.ts";
import type { GapReason } from "./catch-up.ts";
import type { RequestId } from "./request.ts";
import type { Services } from "./services.ts";
import type { Member } from "./topics.ts";

/** Bytes in a client's queue above which what it is to be sent first, or again, waits. */
const LOW_MARK = 1024 * 1024;

/** So many laps within so long, microseconds, and a client is closed. */
const MOST_LAPS = 3;
const LAPS_MICROS = 60e6;
const NO_LAPS: readonly number[] = [];

/** What uWebSockets.js keeps with the socket. */
export interface SocketData {
  encoding: number;
  /** Milliseconds between two heartbeats. */
  heartbeatMs: number;
  /** Times in messages about the connection are microseconds, not milliseconds. */
  microseconds: boolean;
  /** The client's address, as text. */
  address: string;
  client: Client | undefined;
  /** Makes the client of this socket's endpoint, once it is open. */
  create(socket: WebSocket<SocketData>): Client;
}

/** One connection, whatever its endpoint: its heartbeat, its queue, its errors, and its share of the backlog. */
export abstract class Client implements Task, Member {
  readonly socket: WebSocket<SocketData>;
  protected readonly services: Services;
  readonly encoding: number;
  closed = false;
  /** When the ring overtook this client. */
  #laps = NO_LAPS;
  /** When the queue was last seen empty, and when the next heartbeat is due, microseconds. */
  #levelAt: number;
  #heartbeatDueAt: number;

  constructor(socket: WebSocket<SocketData>, services: Services, encoding = socket.getUserData().encoding) {
    this.socket = socket;
    this.services = services;
    this.encoding = encoding;
    this.#levelAt = services.clock.now();
    this.#heartbeatDueAt = this.#levelAt;
  }

  /** Sends what every connection begins with; what it asked for follows. */
  open(): void {
    this.text(this.services.hello(this.socket.getUserData().heartbeatMs));
    this.#heartbeat(this.services.clock.now());
    this.begin();
  }

  protected abstract begin(): void;

  abstract message(bytes: ArrayBuffer, isBinary: boolean): void;

  /** The socket is gone: gives back what it held. */
  close(): void {
    this.closed = true;
  }

  /** An instrument became active. */
  activated(_instrument: Instrument): void {}

  /** True while something is left that is too long for one turn of the event loop. */
  get pending(): boolean {
    return false;
  }

  /** True when what is pending does not wait for the queue. */
  protected get urgent(): boolean {
    return false;
  }

  /** Does a piece of it; returns its cost. */
  protected piece(): number {
    return 0;
  }

  /** Does a piece of what is pending, in one write; nothing while the queue is long. */
  step(): number {
    if (this.closed) return this.piece();
    if (this.queued > Math.min(LOW_MARK, this.services.limits.queueBytes >> 1) && !this.urgent) return 0;
    let cost = 0;
    let failure: unknown;
    // An exception that left the callback would end the process.
    this.socket.cork(() => {
      try {
        cost = this.piece();
      } catch (error) {
        failure = error;
      }
    });
    if (failure !== undefined) throw failure;
    return cost;
  }

  /** Something that cannot be happened: what this client holds is no longer known to be right. */
  failed(error: unknown): void {
    this.services.log.error({ err: error }, "a connection failed");
    this.end(CLOSE_INTERNAL, "internal error");
  }

  /** How many subscriptions this connection has. */
  get subscriptionCount(): number {
    return 1;
  }

  /** Times in messages about the connection are microseconds, not milliseconds. */
  protected get microseconds(): boolean {
    return this.socket.getUserData().microseconds;
  }

  /** Bytes that wait for this client. */
  get queued(): number {
    return this.closed ? 0 : this.socket.getBufferedAmount();
  }

  /**
   * Looks at the queue and the heartbeat, and returns how many bytes wait. A client over its limit falls behind, or is
   * closed where its endpoint knows no other way, because nothing is ever skipped; what it leaves waits no more.
   */
  check(now: number): number {
    const queued = this.queued;
    if (queued === 0) this.#levelAt = now;
    const { limits, counters } = this.services;
    if (queued > limits.queueBytes && !this.fallBehind()) {
      counters.closedSlow += 1;
      this.end(CLOSE_TOO_SLOW, `more than ${limits.queueBytes} bytes were waiting for this client`);
      return 0;
    }
    if (now >= this.#heartbeatDueAt) this.#heartbeat(now);
    return queued;
  }

  /** Has the client read the ring at its own pace, where its endpoint can; false closes it. */
  protected fallBehind(): boolean {
    return false;
  }

  /** True while it reads the ring at its own pace. */
  get isBehind(): boolean {
    return false;
  }

  /** Everything up to here was sent, or is in the queue. */
  protected get position(): number {
    return this.services.engine.frames.log.position;
  }

  #heartbeat(now: number): void {
    const queued = this.queued;
    this.json({
      type: "heartbeat",
      ts_server: this.services.time(this.microseconds),
      position: this.position,
      queue_bytes: queued,
      lag_ms: queued === 0 ? 0 : Math.floor((now - this.#levelAt) / 1000),
    });
    this.#heartbeatDueAt = now + this.socket.getUserData().heartbeatMs * 1000;
  }

  error(id: RequestId | undefined, code: ErrorCode, message: string): void {
    const { errors } = this.services.counters;
    errors.set(code, (errors.get(code) ?? 0) + 1);
    this.json({ type: "error", id: id ?? null, code, message });
  }

  /** One frame, in this client's encoding; returns its bytes. */
  frame(memory: Memory, length: number, stream: number, at = 0): number {
    return this.closed ? 0 : this.services.publisher.sendTo(this, memory, at, length, stream);
  }

  /**
   * Ring frames of a stream that this client will not get: those `from` (null: from what it has on) `to` (null: whatever
   * there was), of an earlier epoch where one is named.
   */
  gap(stream: number, from: number | null, to: number | null, reason: GapReason, epoch?: number): void {
    const { gaps } = this.services.counters;
    gaps.set(reason, (gaps.get(reason) ?? 0) + 1);
    this.json({ type: "gap", stream, from, to, reason, ...(epoch === undefined ? {} : { epoch }) });
  }

  /** The ring overtook this client while it was behind. Who is overtaken again and again is beyond help. */
  lapped(): void {
    const { clock, counters } = this.services;
    const now = clock.now();
    counters.laps += 1;
    this.#laps = [...this.#laps.filter((at) => at > now - LAPS_MICROS), now];
    if (this.#laps.length < MOST_LAPS) return;
    counters.closedSlow += 1;
    this.end(CLOSE_TOO_SLOW, `overtaken by the ring ${MOST_LAPS} times within a minute`);
  }

  json(value: object): void {
    this.text(JSON.stringify(value));
  }

  /** Messages about the connection are JSON text, on binary connections too. */
  text(text: string): void {
    if (!this.closed) this.socket.send(text, false);
  }

  /** Closes after what is queued has gone out. */
  end(code: number, reason: string): void {
    if (!this.closed) this.socket.end(code, reason);
  }
}
