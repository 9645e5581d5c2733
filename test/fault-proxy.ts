/**
 * A TCP proxy on loopback between clients and a server, with faults on command or drawn from a seed.
 *
 *   client ──up──▶ proxy ──▶ server      a pipe each way: it reads its source while it holds less than 64 KiB, so what
 *   client ◀─down─ proxy ◀── server      the sink does not take grows the queue of whoever sends, never the proxy's
 *
 * What the kernel hides: Node cannot set the size of a socket's buffers, so a pipe that passes nothing still takes what
 * fits into the sender's send buffer and the proxy's receive buffer. On Linux both grow by themselves, up to the last
 * numbers of tcp_wmem and tcp_rmem: often 4 and 6 MiB, on some machines 32. Only what is sent above that is seen by
 * the sender as a queue. For the same reason a socket that is not read does not tell its end, nor a reset by its peer,
 * before what lies in front of it was read; and what the sink's kernel had taken when a fault began still arrives.
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { assert } from "../src/std/assert.ts";
import type { Clock } from "../src/std/clock.ts";
import { SystemClock } from "../src/std/clock.ts";
import type { Random } from "../src/std/random.ts";
import type { TimerHandle, Timers } from "../src/std/timers.ts";
import { systemTimers } from "../src/std/timers.ts";

/** To the server, or to the client. */
export type Direction = "up" | "down";

/** Where and how long a fault that can pass holds. */
interface Passing {
  /** One way only; both without it. */
  direction?: Direction;
  /** Until `heal` without it. */
  forMs?: number;
}

/** Every kind of fault, and what it may be told. */
export interface Faults {
  /** Ends both sides at once, what the proxy held is lost: by RST, or by FIN. */
  cut: { how: "reset" | "end" };
  /** Nothing passes, nothing is lost. */
  stall: Passing;
  /** The one side is dropped; the other stays open, is never read again and hears nothing: its peer seems dead. */
  "half-open": { dropped: "client" | "server" };
  throttle: Passing & { bytesPerSecond: number };
  /** All bytes come so much later, in order. At most 1 MiB is under way: a faster sender is held back. */
  delay: Passing & { delayMs: number };
}

export type FaultKind = keyof Faults;

export const FAULT_KINDS: readonly FaultKind[] = ["cut", "stall", "half-open", "throttle", "delay"];

/** A fault as it was made. */
export type Fault = { [K in FaultKind]: { kind: K; options: Faults[K] } }[FaultKind];

/** What was done, and to which connections, by their ids. */
export type Deed = Fault & { connections: readonly number[] };

const MAX_HELD_BYTES = 64 * 1024;
const MAX_DELAYED_BYTES = 1024 * 1024;
/** A throttled pipe passes what came together in this time at once. */
const BURST_MICROS = 20_000;
/** Sums of fractions of a byte are this near to what they should be. */
const ROUNDING = 0.001;

/** One way of a connection. It holds at most its limit and one read (64 KiB) more. */
class Pipe {
  /** Bytes handed to the sink. */
  passed = 0;
  /** Bytes that were read and that the sink's kernel has not taken. */
  held = 0;
  /** When each fault is over, microseconds; 0 when there is none. */
  #stalledUntil = 0;
  #throttledUntil = 0;
  #delayedUntil = 0;
  #delayMicros = 0;
  #bytesPerSecond = 0;
  /** What a throttled pipe may pass, and when that was counted. */
  #budget = 0;
  #budgetAt = 0;
  /** What was read and when; no bytes stand for the source's end. */
  readonly #queue: { bytes: Buffer | undefined; atMicros: number }[] = [];
  #timer: TimerHandle | undefined;
  #isWriting = false;
  #isClosed = false;
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #clock: Clock;
  readonly #timers: Timers;

  constructor(source: Socket, sink: Socket, clock: Clock, timers: Timers) {
    this.#source = source;
    this.#sink = sink;
    this.#clock = clock;
    this.#timers = timers;
    source.on("data", (bytes: Buffer) => this.#take(bytes));
    source.on("end", () => this.#take(undefined));
  }

  stall(untilMicros: number): void {
    this.#stalledUntil = untilMicros;
    this.#pump();
  }

  throttle(bytesPerSecond: number, untilMicros: number): void {
    assert(bytesPerSecond >= 1, "a throttle passes at least a byte a second; what passes none is a stall");
    this.#bytesPerSecond = bytesPerSecond;
    this.#throttledUntil = untilMicros;
    this.#budget = 0;
    this.#budgetAt = this.#clock.now();
    this.#pump();
  }

  delay(delayMs: number, untilMicros: number): void {
    this.#delayMicros = delayMs * 1000;
    this.#delayedUntil = untilMicros;
    this.#pump();
  }

  heal(): void {
    this.#stalledUntil = 0;
    this.#throttledUntil = 0;
    this.#delayedUntil = 0;
    this.#pump();
  }

  /** Passes nothing any more. What comes is dropped, or not even read. */
  close(): void {
    this.#isClosed = true;
    this.#queue.length = 0;
    this.held = 0;
    this.#timers.clearTimeout(this.#timer);
  }

  #take(bytes: Buffer | undefined): void {
    if (this.#isClosed) return;
    this.#queue.push({ bytes, atMicros: this.#clock.now() });
    this.held += bytes?.length ?? 0;
    this.#pump();
  }

  /** Passes what may pass now, and sees to it that it is looked at again when more may. */
  #pump(): void {
    this.#timers.clearTimeout(this.#timer);
    while (!this.#isClosed && !this.#isWriting) {
      const head = this.#queue[0];
      if (head === undefined) break;
      const now = this.#clock.now();
      const waitUntil = this.#waitUntil(head, now);
      if (waitUntil > now) {
        this.#wakeAt(waitUntil, now);
        break;
      }
      this.#pass(head, now);
    }
    if (this.#isClosed) return;
    const limit = this.#delayedUntil > this.#clock.now() ? MAX_DELAYED_BYTES : MAX_HELD_BYTES;
    if (this.held >= limit) this.#source.pause();
    else if (this.#source.isPaused()) this.#source.resume();
  }

  /** When the head may pass; not above `now` when it may at once. */
  #waitUntil({ bytes, atMicros }: { bytes: Buffer | undefined; atMicros: number }, now: number): number {
    if (now < this.#stalledUntil) return this.#stalledUntil;
    if (now < this.#delayedUntil) {
      const due = Math.min(atMicros + this.#delayMicros, this.#delayedUntil);
      if (now < due) return due;
    }
    if (now >= this.#throttledUntil || bytes === undefined) return now;
    const perMicro = this.#bytesPerSecond / 1e6;
    const burst = Math.max(1, Math.ceil(perMicro * BURST_MICROS));
    this.#budget = Math.min(burst, this.#budget + (now - this.#budgetAt) * perMicro);
    this.#budgetAt = now;
    const wanted = Math.min(burst, bytes.length);
    if (this.#budget >= wanted - ROUNDING) return now;
    return Math.min(this.#throttledUntil, now + Math.ceil((wanted - this.#budget) / perMicro));
  }

  #pass(head: { bytes: Buffer | undefined; atMicros: number }, now: number): void {
    const { bytes } = head;
    if (bytes === undefined) {
      this.#queue.shift();
      this.#sink.end();
      return;
    }
    const isThrottled = now < this.#throttledUntil;
    const count = isThrottled ? Math.min(bytes.length, Math.floor(this.#budget + ROUNDING)) : bytes.length;
    if (isThrottled) this.#budget -= count;
    if (count === bytes.length) this.#queue.shift();
    else head.bytes = bytes.subarray(count);
    this.passed += count;
    this.#isWriting = true;
    // One write at a time, so that nothing gathers in the sink's own queue, which no fault could hold back.
    this.#sink.write(bytes.subarray(0, count), () => {
      this.#isWriting = false;
      if (!this.#isClosed) this.held -= count;
      this.#pump();
    });
  }

  #wakeAt(micros: number, now: number): void {
    // A fault without an end is ended by `heal`, which pumps.
    if (micros < Number.POSITIVE_INFINITY) {
      this.#timer = this.#timers.setTimeout(() => this.#pump(), Math.max(1, (micros - now) / 1000));
    }
  }
}

/** A client's connection and the one to the server that belongs to it. */
export class ProxiedConnection {
  /** Counted from 1 in the order in which clients came. */
  readonly id: number;
  readonly up: Pipe;
  readonly down: Pipe;
  /** False once it was cut or made half-open: no further fault can reach it. */
  isWhole = true;
  readonly #client: Socket;
  readonly #server: Socket;

  constructor(id: number, client: Socket, server: Socket, clock: Clock, timers: Timers, onClosed: () => void) {
    this.id = id;
    this.#client = client;
    this.#server = server;
    this.up = new Pipe(client, server, clock, timers);
    this.down = new Pipe(server, client, clock, timers);
    let open = 2;
    for (const [socket, peer] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.setNoDelay(true);
      // `close` follows.
      socket.on("error", () => {});
      socket.on("close", (hadError) => {
        open -= 1;
        // A reset overtakes what is under way, as on a wire. An end went through the pipe.
        if (hadError && this.isWhole) this.cut("reset", peer);
        if (open === 0) onClosed();
      });
    }
  }

  /** Ends the sockets, both where none is named. */
  cut(how: Faults["cut"]["how"], ...sockets: Socket[]): void {
    this.#stop();
    for (const socket of sockets.length === 0 ? [this.#client, this.#server] : sockets) {
      if (how === "reset") socket.resetAndDestroy();
      // What still comes is read and dropped: a socket that is closed with bytes unread sends a reset.
      else socket.resume().end();
    }
  }

  halfOpen(dropped: Faults["half-open"]["dropped"]): void {
    this.#stop();
    const [gone, left] = dropped === "client" ? [this.#client, this.#server] : [this.#server, this.#client];
    left.pause();
    gone.destroy();
  }

  destroy(): void {
    this.#stop();
    this.#client.destroy();
    this.#server.destroy();
  }

  #stop(): void {
    this.isWhole = false;
    this.up.close();
    this.down.close();
  }
}

export interface FaultProxyOptions {
  /** The server's port on loopback. */
  target: number;
  random: Random;
  /** The machine's by default. */
  clock?: Clock;
  timers?: Timers;
}

export class FaultProxy {
  readonly port: number;
  /** Connections of which either side is still open, by id. */
  readonly connections = new Map<number, ProxiedConnection>();
  /** All that was done, in order. */
  readonly deeds: Deed[] = [];
  /** While true, clients that connect are reset at once: the server cannot be reached. */
  isRefusing = false;
  #accepted = 0;
  readonly #server: Server;
  readonly #options: Required<FaultProxyOptions>;
  readonly #stops = new Set<() => void>();

  private constructor(server: Server, options: Required<FaultProxyOptions>) {
    this.#server = server;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (client) => this.#accept(client));
  }

  /** Listens on a free port of the loopback. */
  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    // An end goes one way, as the peers send it.
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", () => resolve()));
    return new FaultProxy(server, { clock: new SystemClock(), timers: systemTimers, ...options });
  }

  #accept(client: Socket): void {
    if (this.isRefusing) {
      client.on("error", () => {}).resetAndDestroy();
      return;
    }
    const { target, clock, timers } = this.#options;
    const server = connect({ port: target, host: "127.0.0.1", allowHalfOpen: true });
    this.#accepted += 1;
    const id = this.#accepted;
    const onClosed = () => this.connections.delete(id);
    this.connections.set(id, new ProxiedConnection(id, client, server, clock, timers, onClosed));
  }

  /** Those that a fault can reach. */
  get whole(): ProxiedConnection[] {
    return [...this.connections.values()].filter(({ isWhole }) => isWhole);
  }

  /** Does it to one connection, by its id, or to all that are whole now; later ones are not touched. */
  fault<K extends FaultKind>(kind: K, options: Faults[K], connection?: number): Deed {
    const hit = this.whole.filter(({ id }) => connection === undefined || id === connection);
    const fault = { kind, options } as Fault;
    for (const each of hit) this.#apply(fault, each);
    const deed: Deed = { ...fault, connections: hit.map(({ id }) => id) };
    this.deeds.push(deed);
    return deed;
  }

  /** Ends stalls, throttles and delays, on one connection or on all. What was cut or dropped stays so. */
  heal(connection?: number): void {
    for (const { id, up, down } of this.whole) {
      if (connection !== undefined && id !== connection) continue;
      up.heal();
      down.heal();
    }
  }

  #apply(fault: Fault, connection: ProxiedConnection): void {
    if (fault.kind === "cut") connection.cut(fault.options.how);
    else if (fault.kind === "half-open") connection.halfOpen(fault.options.dropped);
    else {
      const { direction, forMs = Number.POSITIVE_INFINITY } = fault.options;
      const until = this.#options.clock.now() + forMs * 1000;
      for (const pipe of direction === undefined ? [connection.up, connection.down] : [connection[direction]]) {
        if (fault.kind === "stall") pipe.stall(until);
        else if (fault.kind === "throttle") pipe.throttle(fault.options.bytesPerSecond, until);
        else pipe.delay(fault.options.delayMs, until);
      }
    }
  }

  /**
   * One fault drawn by the seed, to one of the connections that are whole, likewise drawn; undefined when there is none.
   * The same seed does the same as long as as many connections are whole each time. A kind that is named twice comes
   * twice as often; those that pass last up to `longestMs` (default 500).
   */
  disturb(kinds: readonly FaultKind[] = FAULT_KINDS, longestMs = 500): Deed | undefined {
    const { random } = this.#options;
    const { whole } = this;
    const { kind, options } = drawFault(random, random.pick(kinds), longestMs);
    const place = random.next();
    if (whole.length === 0) return undefined;
    return this.fault(kind, options, (whole[Math.floor(place * whole.length)] as ProxiedConnection).id);
  }

  /** Disturbs again and again, after pauses drawn between two bounds, until the returned function is called. */
  disturbEvery(pauseMs: readonly [low: number, high: number], kinds = FAULT_KINDS, longestMs = 500): () => void {
    const { random, timers } = this.#options;
    const timer: { handle: TimerHandle } = { handle: undefined };
    const again = () => {
      timer.handle = timers.setTimeout(
        () => {
          this.disturb(kinds, longestMs);
          again();
        },
        random.integer(...pauseMs),
      );
    };
    again();
    const stop = () => {
      timers.clearTimeout(timer.handle);
      this.#stops.delete(stop);
    };
    this.#stops.add(stop);
    return stop;
  }

  /** Ends everything, at once. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const connection of this.connections.values()) connection.destroy();
    await closed;
  }
}

function drawFault(random: Random, kind: FaultKind, longestMs: number): Fault {
  if (kind === "cut") return { kind, options: { how: random.pick(["reset", "end"] as const) } };
  if (kind === "half-open") return { kind, options: { dropped: random.pick(["client", "server"] as const) } };
  const way = random.pick([undefined, "up", "down"] as const);
  const passing: Passing = { forMs: random.integer(1, longestMs), ...(way === undefined ? {} : { direction: way }) };
  if (kind === "stall") return { kind, options: passing };
  if (kind === "throttle") return { kind, options: { ...passing, bytesPerSecond: random.integer(1_000, 1_000_000) } };
  return { kind, options: { ...passing, delayMs: random.integer(1, 200) } };
}
