import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { FeedCounters } from "./feed.ts";
import type { SessionProtocol } from "./session-protocol.ts";
import type { Socket, SocketFactory } from "./socket.ts";

/** A stream that never starts is asked for again ever more rarely: it may just be quiet. */
const MAX_START_TIMEOUT_MS = 60 * 60 * 1000;

export interface ConnectionOptions {
  protocol: SessionProtocol;
  connect: SocketFactory;
  clock: Clock;
  timers: Timers;
  counters: FeedCounters;
  /** Numbers control messages across all connections of a session. */
  nextId: () => number;
  onOpen: (connection: Connection) => void;
  /** Everything wanted so far has been asked for. */
  onSettled: (connection: Connection) => void;
  onClosed: (connection: Connection, reason: string) => void;
}

interface Waiting {
  dueMs: number;
  timeoutMs: number;
}

/**
 * One socket and what has been asked for on it. Wishes gather in two sets and go out as few messages, at the pace that
 * the venue allows; unsubscribes first, so that a stream in both sets is started anew.
 */
export class Connection {
  readonly createdMs: number;
  /** When the connection opened, and when its first wishes had all been sent; 0 before. */
  openedMs = 0;
  settledMs = 0;

  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #toSubscribe = new Set<number>();
  readonly #toUnsubscribe = new Set<number>();
  readonly #sent = new Set<number>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #unanswered = new Set<number>();
  #sendTimer: TimerHandle;
  #sendPlanned = false;
  #sentMs = Number.NEGATIVE_INFINITY;
  #bytes = 0;
  #quietSinceMs: number;
  #closed = false;

  constructor(options: ConnectionOptions, streams: Iterable<number>) {
    this.#options = options;
    this.createdMs = this.#nowMs();
    this.#quietSinceMs = this.createdMs;
    for (const stream of streams) this.#toSubscribe.add(stream);
    this.#socket = options.connect(options.protocol.url, {
      onOpen: () => this.#onOpen(),
      onMessage: (bytes) => {
        options.counters.messages += 1;
        if (!this.#closed) options.protocol.receive(bytes);
      },
      onPing: () => {
        options.counters.pings += 1;
      },
      onClose: (code, reason) => this.#onClose(`closed by the venue: ${code} ${reason}`.trim()),
    });
  }

  subscribe(stream: number): void {
    if (this.#sent.has(stream) && !this.#toUnsubscribe.has(stream)) return;
    this.#toSubscribe.add(stream);
    this.#plan();
  }

  unsubscribe(stream: number): void {
    this.#toSubscribe.delete(stream);
    this.#waiting.delete(stream);
    if (!this.#sent.has(stream)) return;
    this.#toUnsubscribe.add(stream);
    this.#plan();
  }

  /** Ends a stream and starts it again; nothing to do while it waits for its first start. */
  renew(stream: number): void {
    if (!this.#sent.has(stream)) return;
    this.#toUnsubscribe.add(stream);
    this.#toSubscribe.add(stream);
    this.#plan();
  }

  /** True once the stream has been asked for here, and is not about to be ended. */
  isSent(stream: number): boolean {
    return this.#sent.has(stream) && !this.#toUnsubscribe.has(stream);
  }

  /** True when all that was asked for has been sent and answered, for some time. */
  hasOverlapped(overlapMs: number): boolean {
    return this.settledMs > 0 && this.#unanswered.size === 0 && this.#nowMs() - this.settledMs >= overlapMs;
  }

  acknowledge(id: number): boolean {
    return this.#unanswered.delete(id);
  }

  /** How long no byte has come, milliseconds; called at the watch's pace. */
  silentMs(): number {
    const bytes = this.#socket.bytesReceived;
    const now = this.#nowMs();
    if (bytes !== this.#bytes) {
      this.#options.counters.bytes += bytes - this.#bytes;
      this.#bytes = bytes;
      this.#quietSinceMs = now;
    }
    return now - this.#quietSinceMs;
  }

  /** Asks again for streams on which nothing ever came. */
  renewUnstarted(): void {
    const { protocol, counters } = this.#options;
    const now = this.#nowMs();
    for (const [stream, waiting] of this.#waiting) {
      if (protocol.hasStarted(stream)) {
        this.#waiting.delete(stream);
      } else if (now >= waiting.dueMs) {
        waiting.timeoutMs = Math.min(MAX_START_TIMEOUT_MS, waiting.timeoutMs * 2);
        waiting.dueMs = now + waiting.timeoutMs;
        counters.resubscribes += 1;
        if (protocol.limits.renewUnstarted) this.#toUnsubscribe.add(stream);
        this.#toSubscribe.add(stream);
        this.#plan();
      }
    }
  }

  /** Streams that were asked for here and have delivered nothing yet. */
  get unstarted(): number {
    return this.#waiting.size;
  }

  /** Closes without telling: whoever closes knows. */
  close(politely: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.timers.clearTimeout(this.#sendTimer);
    if (politely && this.openedMs > 0) this.#socket.close();
    else this.#socket.terminate();
  }

  #onOpen(): void {
    if (this.#closed) return;
    this.openedMs = this.#nowMs();
    this.#quietSinceMs = this.openedMs;
    this.#options.onOpen(this);
    this.#plan();
    if (this.#toSubscribe.size === 0) this.#settle();
  }

  #onClose(reason: string): void {
    this.silentMs();
    if (this.#closed) return;
    this.#closed = true;
    this.#options.timers.clearTimeout(this.#sendTimer);
    this.#options.onClosed(this, reason);
  }

  #settle(): void {
    if (this.settledMs > 0) return;
    this.settledMs = this.#nowMs();
    this.#options.onSettled(this);
  }

  /** Sends in a timer, never at once: a thousand wishes of one turn become ten messages. */
  #plan(): void {
    if (this.#sendPlanned || this.#closed || this.openedMs === 0) return;
    if (this.#toSubscribe.size + this.#toUnsubscribe.size === 0) return;
    this.#sendPlanned = true;
    const delayMs = Math.max(0, this.#sentMs + this.#options.protocol.limits.pacingMs - this.#nowMs());
    this.#sendTimer = this.#options.timers.setTimeout(() => this.#sendNext(), delayMs);
  }

  #sendNext(): void {
    this.#sendPlanned = false;
    const { protocol, nextId } = this.#options;
    const ending = this.#toUnsubscribe.size > 0;
    const streams = take(ending ? this.#toUnsubscribe : this.#toSubscribe, protocol.limits.streamsPerMessage);
    const id = nextId();
    if (protocol.limits.acknowledged) this.#unanswered.add(id);
    this.#sentMs = this.#nowMs();
    this.#socket.send(ending ? protocol.unsubscribeMessage(streams, id) : protocol.subscribeMessage(streams, id));
    for (const stream of streams) {
      if (ending) this.#sent.delete(stream);
      else this.#onSent(stream);
    }
    this.#plan();
    if (this.#toSubscribe.size === 0) this.#settle();
  }

  #onSent(stream: number): void {
    const { protocol } = this.#options;
    this.#sent.add(stream);
    protocol.clearStarted(stream);
    const timeoutMs = this.#waiting.get(stream)?.timeoutMs ?? protocol.limits.startTimeoutMs;
    this.#waiting.set(stream, { timeoutMs, dueMs: this.#nowMs() + timeoutMs });
  }

  #nowMs(): number {
    return this.#options.clock.now() / 1000;
  }
}

/** Takes up to `count` members out of a set, oldest first. */
function take(set: Set<number>, count: number): number[] {
  const taken: number[] = [];
  for (const member of set) {
    taken.push(member);
    set.delete(member);
    if (taken.length === count) break;
  }
  return taken;
}
