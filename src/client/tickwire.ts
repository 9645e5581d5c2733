import type { Clock } from "../std/clock.ts";
import { SystemClock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import { systemTimers } from "../std/timers.ts";
import { type BarsOptions, LiveBars } from "./bars.ts";
import { Books, type BooksOptions } from "./books.ts";
import { type Cursor, SAVE_MS } from "./cursor.ts";
import type { CursorFile } from "./cursor-file.ts";
import { Emitter } from "./emitter.ts";
import { TickwireError } from "./errors.ts";
import type { QueueLimits } from "./event-queue.ts";
import { JournalStart } from "./journal-start.ts";
import { type Lag, LagMeter } from "./lag.ts";
import type { Hello } from "./message.ts";
import type { ConnectOptions, Mode } from "./options.ts";
import type { InstrumentName, Receiver } from "./receiver.ts";
import { overlap, type SubscribeSpec } from "./request.ts";
import { type Attached, Session } from "./session.ts";
import type { Heartbeat, Reconnected, Retry, SessionContext } from "./session-context.ts";
import { StreamCounters } from "./streams.ts";
import { type GapEvent, Subscription } from "./subscription.ts";

const HEARTBEAT_MS = 5_000;
/** A server allows 256 subscriptions a connection. */
const MAX_SPECS = 200;

/** What happens to a client. */
export interface TickwireEvents {
  /** A server is there: at the beginning, and again after each loss. */
  connect: { url: string; mode: Mode; epoch: number; version: string };
  /** A connection that stood is gone, said once. Until `reconnect` nothing is known to be right. */
  disconnect: { url: string; reason: string };
  /** There is none, and after `retryMs` `url` is tried: after a `disconnect`, and after each attempt in vain, the first too. */
  retry: Retry;
  /** It is there again, and what was missed has come. */
  reconnect: Reconnected;
  heartbeat: Heartbeat;
  /** What cannot be had any more, of any subscription. */
  gap: GapEvent;
  /** What came was wrong, a handler threw, or something that is asked for again did not come. Nothing ends by it. */
  error: TickwireError;
}

/** Plain counts since the start. */
export interface ClientStats {
  readonly frames: number;
  readonly bytes: number;
  readonly duplicates: number;
  readonly malformed: number;
  readonly gaps: number;
  readonly fetches: number;
  readonly reconnects: number;
  /** Connections that are open or being opened: subscriptions that overlap have one each. */
  readonly connections: number;
  /** Events that iterations had to drop. */
  readonly dropped: number;
  readonly errors: number;
}

/** The server is this client's own. */
export interface OwnSource {
  /** It replays a journal, and begins when this is called. */
  play?(): void;
}

/** A client of a tickwire server. Made by `connect`. */
export class Tickwire {
  /** Resolves when the client was closed; rejects when it had to give up. */
  readonly closed: Promise<void>;
  readonly #emitter = new Emitter<TickwireEvents>((error, event) => this.#threw(error, event));
  readonly #urls: readonly URL[];
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #lag = new LagMeter();
  readonly #counters = new StreamCounters();
  readonly #instruments = new Map<string, InstrumentName>();
  readonly #sessions: Session[] = [];
  readonly #subscriptions = new Set<Subscription>();
  readonly #cursor: CursorFile | undefined;
  readonly #context: SessionContext;
  readonly #ending = new Set<() => void>();
  #reconnects = 0;
  #errors = 0;
  #saving: TimerHandle;
  #hello: Hello | undefined;
  #url = "";
  #isClosed = false;
  readonly #isJournal: boolean;
  readonly #start: JournalStart;
  #end!: () => void;
  #fail!: (error: TickwireError) => void;

  constructor(urls: readonly URL[], options: ConnectOptions, cursor: CursorFile | undefined, own?: OwnSource) {
    this.#isJournal = own?.play !== undefined;
    this.#urls = urls;
    this.#options = options;
    this.#clock = options.clock ?? new SystemClock();
    this.#timers = options.timers ?? systemTimers;
    this.#cursor = cursor;
    this.closed = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    // Who does not ask how it ended is not to be ended by it.
    this.closed.catch(() => {});
    this.#context = this.#makeContext(own !== undefined);
    const hasAsked = () => this.#sessions.some(({ specs }) => specs.length > 0);
    this.#start = new JournalStart(own?.play, this.#timers, hasAsked);
  }

  #makeContext(retryAtOnce: boolean): SessionContext {
    const { heartbeatMs = HEARTBEAT_MS, token, require, reconnect = {}, random = Math.random } = this.#options;
    return {
      urls: this.#urls,
      heartbeatMs,
      token,
      require,
      reconnect,
      retryAtOnce,
      clock: this.#clock,
      timers: this.#timers,
      random,
      lag: this.#lag,
      counters: this.#counters,
      name: (exchange, symbol) => this.instrument(exchange, symbol),
      connected: (hello, url) => {
        this.#hello = hello;
        this.#url = url.href;
        const { mode, epoch, version } = hello;
        this.#emitter.emit("connect", { url: url.href, mode, epoch, version });
      },
      disconnected: ({ href }, reason) => this.#emitter.emit("disconnect", { url: href, reason }),
      retrying: (retry) => this.#emitter.emit("retry", retry),
      reconnected: (report) => {
        this.#reconnects += 1;
        this.#emitter.emit("reconnect", report);
      },
      heartbeat: (beat) => this.#emitter.emit("heartbeat", beat),
      error: (error) => this.#report(error),
      failed: (error) => this.giveUp(error),
    };
  }

  /** Connects; resolves once a server has greeted. */
  async open(): Promise<this> {
    const { signal } = this.#options;
    if (signal?.aborted) throw new TickwireError("closed", "the signal was aborted");
    const close = () => void this.close();
    signal?.addEventListener("abort", close);
    // A signal that lives on does not keep what has ended.
    this.#ending.add(() => signal?.removeEventListener("abort", close));
    const session = this.#addSession();
    const greeted = new Promise<void>((resolve, reject) => {
      this.#emitter.once("connect", () => resolve());
      this.closed.then(() => reject(new TickwireError("closed", "the client was closed")), reject);
    });
    session.start();
    await greeted;
    if (this.#cursor !== undefined) this.#saveLater(this.#cursor);
    return this;
  }

  #addSession(): Session {
    const session = new Session(this.#context);
    this.#sessions.push(session);
    return session;
  }

  /** The one object that stands for an instrument in everything that this client hands out. */
  instrument(exchange: string, symbol: string): InstrumentName {
    const key = `${exchange} ${symbol}`;
    let instrument = this.#instruments.get(key);
    if (instrument === undefined) {
      instrument = Object.freeze({ exchange, symbol });
      this.#instruments.set(key, instrument);
    }
    return instrument;
  }

  on<Name extends keyof TickwireEvents>(
    name: Name,
    handler: (event: TickwireEvents[Name]) => void,
    options?: { signal?: AbortSignal },
  ): () => void {
    return this.#emitter.on(name, handler, options);
  }

  once<Name extends keyof TickwireEvents>(name: Name, handler: (event: TickwireEvents[Name]) => void): () => void {
    return this.#emitter.once(name, handler);
  }

  off<Name extends keyof TickwireEvents>(name: Name, handler: (event: TickwireEvents[Name]) => void): void {
    this.#emitter.off(name, handler);
  }

  /** Subscribes; rejects with the server's code when nothing of it can be had. */
  async subscribe(spec: SubscribeSpec, limits: QueueLimits = {}): Promise<Subscription> {
    const subscription = new Subscription(
      {
        clock: this.#clock,
        timers: this.#timers,
        onThrow: (error, event) => this.#threw(error, event),
        gap: (gap) => this.#emitter.emit("gap", gap),
        closed: (each) => {
          this.#subscriptions.delete(each);
          this.#cursor?.places.close(each);
        },
      },
      spec,
      limits,
    );
    const claim = this.#cursor?.places.claim(subscription);
    try {
      const { session, attached } = await this.attach(spec, subscription, claim?.begins);
      this.#subscriptions.add(subscription);
      claim?.end(session.whereOf(attached.id));
      return subscription.attached(session, attached);
    } catch (error) {
      claim?.end(undefined);
      throw error;
    }
  }

  /** Subscribes for a part of the client itself. */
  async attach(
    spec: SubscribeSpec,
    receiver: Receiver,
    begins?: Cursor,
  ): Promise<{ session: Session; attached: Attached }> {
    if (this.#isClosed) throw new TickwireError("closed", "the client was closed");
    let session = this.#sessions.find(
      ({ specs }) => specs.length < MAX_SPECS && !specs.some((each) => overlap(each, spec)),
    );
    if (session === undefined) {
      session = this.#addSession();
      session.start();
    }
    return { session, attached: await this.#start.asked(session.attach(spec, receiver, begins)) };
  }

  /** Local order books, kept from snapshot and changes; resolves once each is live, or refused. */
  books(options: BooksOptions): Promise<Books> {
    return Books.open(this, options, this.#parts());
  }

  /** The bars of one series with their indicators, warm from the first moment. */
  bars(symbol: string, timeframe: string, options: BarsOptions = {}): Promise<LiveBars> {
    return LiveBars.open(this, symbol, timeframe, options, this.#parts());
  }

  /** What parts of the client share. */
  #parts(): ClientParts {
    return {
      clock: this.#clock,
      timers: this.#timers,
      lag: this.#lag,
      onThrow: (error, event) => this.#threw(error, event),
      failed: (error) => this.#report(error),
      gap: (gap) => this.#emitter.emit("gap", gap),
      isJournal: this.#isJournal,
      get: (path) => this.#start.asked(this.#get(path)),
      onEnd: (end) => {
        this.#ending.add(end);
        return () => this.#ending.delete(end);
      },
    };
  }

  /** A REST answer of the server that this client is connected to. */
  async #get(path: string): Promise<unknown> {
    const { token } = this.#options;
    const text = typeof token === "function" ? await token() : token;
    const url = new URL(path, this.#url.replace(/^ws/, "http"));
    let response: Response;
    let body: { code?: string; message?: string };
    try {
      response = await fetch(url, text ? { headers: { authorization: `Bearer ${text}` } } : {});
      body = (await response.json()) as typeof body;
    } catch (cause) {
      throw new TickwireError("unavailable", `${url.host} did not answer GET ${url.pathname}: ${cause}`, { cause });
    }
    if (response.ok) return body;
    throw new TickwireError((body.code ?? "internal") as "internal", body.message ?? `HTTP ${response.status}`);
  }

  get mode(): Mode | undefined {
    return this.#hello?.mode;
  }

  get epoch(): number | undefined {
    return this.#hello?.epoch;
  }

  /** The server that is, or was last, connected to. */
  get url(): string {
    return this.#url;
  }

  /** True while every connection stands. */
  get isConnected(): boolean {
    return this.#sessions.every(({ isLive }) => isLive);
  }

  get lag(): Lag {
    return this.#lag.lag;
  }

  get stats(): ClientStats {
    const { frames, bytes, duplicates, malformed, gaps, fetches } = this.#counters;
    let dropped = 0;
    for (const subscription of this.#subscriptions) dropped += subscription.dropped;
    const counts = { frames, bytes, duplicates, malformed, gaps, fetches, dropped, errors: this.#errors };
    return { ...counts, reconnects: this.#reconnects, connections: this.#sessions.length };
  }

  #threw(cause: unknown, event: string): void {
    const error = new TickwireError("handler", `a handler of "${event}" threw: ${String(cause)}`, { cause });
    // Nobody would ever hear of it.
    if (!this.#emitter.has("error")) {
      this.#timers.setTimeout(() => {
        throw cause;
      }, 0);
    }
    this.#report(error);
  }

  #report(error: TickwireError): void {
    this.#errors += 1;
    for (const { call } of this.#emitter.of("error")) {
      try {
        (call as (error: TickwireError) => void)(error);
      } catch (cause) {
        this.#timers.setTimeout(() => {
          throw cause;
        }, 0);
      }
    }
  }

  #saveLater(file: CursorFile): void {
    this.#saving = this.#timers.setTimeout(() => {
      this.#save(file);
      this.#saveLater(file);
    }, SAVE_MS);
  }

  #save(file: CursorFile): void {
    try {
      file.save();
    } catch (cause) {
      this.#report(new TickwireError("bad_option", `the cursor file cannot be written: ${String(cause)}`, { cause }));
    }
  }

  /** The server has ended: what it had sent by then is read, and the client is closed with its last connection. */
  closeWhenRead(): void {
    const close = () => {
      if (this.#sessions.every(({ isLive }) => !isLive)) void this.close();
    };
    this.#emitter.on("disconnect", close);
    close();
  }

  /** Ends the client with an error. */
  giveUp(error: TickwireError): void {
    if (this.#isClosed) return;
    this.#shut();
    this.#report(error);
    this.#fail(error);
  }

  #shut(): void {
    this.#isClosed = true;
    this.#timers.clearTimeout(this.#saving);
    if (this.#cursor !== undefined) this.#save(this.#cursor);
    for (const session of this.#sessions) session.close();
    for (const subscription of this.#subscriptions) subscription.end();
    for (const end of this.#ending) end();
  }

  /** Unsubscribes and disconnects; iterations end. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#shut();
    this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What the parts of a client share. */
export interface ClientParts {
  clock: Clock;
  timers: Timers;
  lag: LagMeter;
  onThrow(error: unknown, event: string): void;
  /** Something could not be had that is asked for again: it is told, and nothing ends by it. */
  failed(error: TickwireError): void;
  gap(gap: GapEvent): void;
  /** A journal is replayed: its time goes on only when the program has asked for all that it wants. */
  isJournal: boolean;
  /** A REST answer of the server; throws a TickwireError. */
  get(path: string): Promise<unknown>;
  /** Called when the client ends; what it returns takes that back. */
  onEnd(end: () => void): () => void;
}
