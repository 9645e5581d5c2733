import { STATE_DOWN, STATE_LIVE, STATE_QUIET, STATE_STALE, STATE_SYNCING } from "../market/sink.ts";
import { Backoff } from "../std/backoff.ts";
import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import { Connection } from "./connection.ts";
import type { FeedCounters, FeedLog } from "./feed.ts";
import type { SessionProtocol } from "./session-protocol.ts";
import type { SocketFactory } from "./socket.ts";

export interface SessionOptions {
  name: string;
  protocol: SessionProtocol;
  connect: SocketFactory;
  clock: Clock;
  timers: Timers;
  random: () => number;
  log: FeedLog;
  counters: FeedCounters;
  /** Numbers control messages, across all sessions of a venue. */
  nextId: () => number;
  onState: (state: number, reason: string) => void;
}

const BACKOFF = { baseMs: 500, maxMs: 30_000, healthyAfterMs: 60_000 };
/** Share of the rotation age that is left to chance, so that connections opened together are not replaced together. */
const ROTATION_JITTER = 0.02;
/** A replacement that is not in place by then is given up, and tried again. */
const ROTATION_TIMEOUT_MS = 120_000;
const MAX_WATCH_MS = 5_000;

/**
 * The life of a connection to a venue, from the first wish to the last: connect, subscribe, notice silence, come back
 * after a loss, replace the connection before the venue ends it. Never gives up, at the first attempt neither. There is
 * a connection only while something is wanted: a venue may close one on which nothing is asked for (Coinbase after 5 s).
 *
 *   idle ──wish──▶ syncing ──all asked for──▶ live ──silence──▶ stale ─┐
 *                     ▲  └──────lost────▶ down ◀──────lost──────┘      │
 *                     └────backoff─────────┴◀──────────────────────────┘
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #backoff: Backoff;
  readonly #watchMs: number;
  readonly #wanted = new Set<number>();
  #current: Connection | undefined;
  /** The replacement of the current connection, while both are there. */
  #next: Connection | undefined;
  #rotateAtMs = Number.POSITIVE_INFINITY;
  #retryTimer: TimerHandle;
  #retryPlanned = false;
  #watchTimer: TimerHandle;
  #watching = false;
  #everLost = false;
  #closed = false;
  state = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
    this.#watchMs = Math.min(MAX_WATCH_MS, options.protocol.limits.livenessMs / 4);
  }

  get streams(): number {
    return this.#wanted.size;
  }

  get connections(): number {
    return (this.#current ? 1 : 0) + (this.#next ? 1 : 0);
  }

  add(stream: number): void {
    if (this.#closed) return;
    this.#wanted.add(stream);
    this.#current?.subscribe(stream);
    this.#next?.subscribe(stream);
    if (this.#current === undefined && !this.#retryPlanned) this.#connect("connecting");
  }

  remove(stream: number): void {
    if (!this.#wanted.delete(stream)) return;
    this.#current?.unsubscribe(stream);
    this.#next?.unsubscribe(stream);
  }

  /** Ends a stream and starts it again, for a fresh snapshot. */
  renew(stream: number): void {
    if (!this.#wanted.has(stream)) return;
    this.#current?.renew(stream);
    this.#next?.renew(stream);
  }

  isSent(stream: number): boolean {
    return this.#current?.isSent(stream) ?? false;
  }

  /** The venue answered a control message. */
  acknowledge(id: number): void {
    if (!this.#current?.acknowledge(id)) this.#next?.acknowledge(id);
  }

  /** The venue is about to close the connection, or its time is over: opens the replacement first. */
  rotate(reason: string): void {
    if (this.#current === undefined || this.#next !== undefined || this.#wanted.size === 0) return;
    this.#options.log.info({ venue: this.#options.name, reason }, "replacing the connection");
    this.#next = this.#open();
  }

  close(): void {
    this.#closed = true;
    this.#options.timers.clearTimeout(this.#retryTimer);
    this.#options.timers.clearTimeout(this.#watchTimer);
    this.#current?.close(true);
    this.#next?.close(true);
    this.#current = undefined;
    this.#next = undefined;
  }

  #connect(reason: string): void {
    this.#setState(STATE_SYNCING, reason);
    this.#current = this.#open();
    this.#watch();
  }

  #open(): Connection {
    const { protocol, connect, clock, timers, counters } = this.#options;
    return new Connection(
      {
        protocol,
        connect,
        clock,
        timers,
        counters,
        nextId: this.#options.nextId,
        onOpen: (connection) => this.#onOpen(connection),
        onSettled: (connection) => this.#onSettled(connection),
        onClosed: (connection, closedReason) => this.#onClosed(connection, closedReason),
      },
      this.#wanted,
    );
  }

  #onOpen(connection: Connection): void {
    const { counters, protocol, random, log, name } = this.#options;
    counters.connects += 1;
    log.info({ venue: name, streams: this.#wanted.size }, "connected");
    if (connection !== this.#current) return;
    if (this.#everLost) counters.reconnects += 1;
    this.#planRotation(protocol.limits.rotateAfterMs, random());
  }

  #planRotation(rotateAfterMs: number, chance: number): void {
    const afterMs = rotateAfterMs * (1 - ROTATION_JITTER * chance);
    this.#rotateAtMs = rotateAfterMs > 0 ? this.#nowMs() + afterMs : Number.POSITIVE_INFINITY;
  }

  #onSettled(connection: Connection): void {
    if (connection === this.#current) this.#setState(STATE_LIVE, "subscribed");
  }

  #onClosed(connection: Connection, reason: string): void {
    if (connection === this.#next) {
      this.#next = undefined;
      this.#options.log.warn({ venue: this.#options.name, reason }, "replacement lost");
      this.#rotateAtMs = this.#nowMs() + this.#backoff.next();
      return;
    }
    this.#options.log.warn({ venue: this.#options.name, reason }, "connection lost");
    if (this.#next !== undefined) this.#promote(reason);
    else this.#lose(connection, STATE_DOWN, reason);
  }

  /** The replacement takes over. Nothing was missed when it had been asked for everything; else the streams say so. */
  #promote(reason: string): void {
    const next = this.#next as Connection;
    const complete = next.settledMs > 0;
    this.#current = next;
    this.#next = undefined;
    this.#planRotation(this.#options.protocol.limits.rotateAfterMs, this.#options.random());
    if (complete) {
      this.#options.counters.rotations += 1;
      return;
    }
    this.#everLost = true;
    this.#setState(STATE_DOWN, reason);
    this.#setState(STATE_SYNCING, "the replacement takes over");
  }

  #lose(connection: Connection, state: number, reason: string): void {
    const { counters, timers } = this.#options;
    if (connection.openedMs === 0) counters.connectFailures += 1;
    else this.#backoff.wasGoodFor(this.#nowMs() - connection.openedMs);
    this.#current = undefined;
    this.#everLost = true;
    if (this.#wanted.size === 0) {
      this.#setState(STATE_QUIET, "nothing is subscribed");
      return;
    }
    this.#setState(state, reason);
    this.#retryPlanned = true;
    this.#retryTimer = timers.setTimeout(() => {
      this.#retryPlanned = false;
      if (this.#wanted.size > 0) this.#connect(`attempt ${this.#backoff.attempts}`);
    }, this.#backoff.next());
  }

  /** Runs while there is a connection: silence, streams that never start, age. */
  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    this.#watchTimer = this.#options.timers.setTimeout(() => {
      this.#watching = false;
      this.#look();
      if (this.#current !== undefined) this.#watch();
    }, this.#watchMs);
  }

  #look(): void {
    const limits = this.#options.protocol.limits;
    if (this.#next !== undefined) this.#lookAtReplacement(this.#next);
    const current = this.#current;
    if (current === undefined) return;
    const silentMs = current.silentMs();
    const opening = current.openedMs === 0;
    if (silentMs >= (opening ? limits.openTimeoutMs : limits.livenessMs)) {
      const reason = opening ? "did not open" : `silent for ${Math.round(silentMs)} ms`;
      this.#options.log.warn({ venue: this.#options.name, reason }, "connection given up");
      current.close(false);
      if (this.#next !== undefined) this.#promote(reason);
      else this.#lose(current, opening ? STATE_DOWN : STATE_STALE, reason);
      return;
    }
    this.#current?.renewUnstarted();
    if (this.#nowMs() >= this.#rotateAtMs) this.rotate("its time is over");
  }

  #lookAtReplacement(next: Connection): void {
    next.silentMs();
    if (next.hasOverlapped(this.#options.protocol.limits.overlapMs)) {
      this.#current?.close(true);
      this.#promote("replaced");
    } else if (this.#nowMs() - next.createdMs > ROTATION_TIMEOUT_MS) {
      next.close(false);
      this.#onClosed(next, "replacement was not in place in time");
    }
  }

  #setState(state: number, reason: string): void {
    if (this.state === state) return;
    this.state = state;
    this.#options.onState(state, reason);
  }

  #nowMs(): number {
    return this.#options.clock.now() / 1000;
  }
}
