import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import { TickwireError } from "./errors.ts";
import { checkToken, type TokenProvider } from "./options.ts";
import { Pacer } from "./pacer.ts";
import { openSocket, type Socket } from "./socket.ts";

const PROTOCOL = "tickwire.v1.flatbuffers";
/** Heartbeats that may be missed before a connection counts as dead; and what a connection may take to be there. */
const MISSED_HEARTBEATS = 3;
const OPEN_MS = 10_000;
/** How long a server may take to agree that a connection ends. */
const CLOSE_MS = 1_000;

export interface LinkOptions {
  heartbeatMs: number;
  token: TokenProvider | undefined;
  clock: Clock;
  timers: Timers;
}

/** What a link tells its session; nothing after `lost` or `failed`, of which one comes, unless the session ended it. */
export interface LinkEvents {
  text(text: string): void;
  /** Good in this call only. */
  bytes(bytes: Uint8Array): void;
  lost(code: number, reason: string): void;
  /** It cannot be made, now or later. */
  failed(error: TickwireError): void;
}

/** One connection to one server, from the first attempt to its end: it is lost too when nothing comes for too long. */
export class Link {
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  readonly #pacer: Pacer;
  #socket: Socket | undefined;
  #watch: TimerHandle;
  #closing: TimerHandle;
  /** Something came since it was last asked. */
  #heard = false;
  #isGreeted = false;
  #hasEnded = false;

  constructor(url: URL, options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    this.#pacer = new Pacer(options.clock, options.timers, (message) => this.#socket?.send(JSON.stringify(message)));
    this.#open(url).catch((error: unknown) => {
      if (this.#hasEnded) return;
      const isFinal = error instanceof TickwireError && (error.code === "not_here" || error.code === "bad_option");
      if (!isFinal) return this.#lose(1006, (error as Error).message);
      this.end();
      events.failed(error);
    });
    this.#watchOver();
  }

  async #open(server: URL): Promise<void> {
    const { token, heartbeatMs } = this.#options;
    const text = token === undefined ? "" : checkToken(typeof token === "function" ? await token() : token);
    const url = new URL(server);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/stream`;
    url.search = new URLSearchParams({ time_unit: "us", heartbeat_ms: String(heartbeatMs) }).toString();
    const socket = await openSocket(url, text === "" ? [PROTOCOL] : [PROTOCOL, `bearer.${text}`], {
      open: () => {},
      text: (message) => {
        this.#heard = true;
        if (!this.#hasEnded) this.#events.text(message);
      },
      bytes: (bytes) => {
        this.#heard = true;
        if (!this.#hasEnded) this.#events.bytes(bytes);
      },
      closed: (code, reason) => {
        this.#options.timers.clearTimeout(this.#closing);
        if (!this.#hasEnded) this.#lose(code, reason);
      },
    });
    if (this.#hasEnded) socket.terminate();
    else this.#socket = socket;
  }

  /** Nothing may be silent for longer than some heartbeats: a connection that is half open says nothing. */
  #watchOver(): void {
    const { timers, heartbeatMs } = this.#options;
    const patienceMs = this.#isGreeted ? MISSED_HEARTBEATS * heartbeatMs : OPEN_MS;
    this.#heard = false;
    this.#watch = timers.setTimeout(() => {
      if (this.#heard) this.#watchOver();
      else this.#lose(1006, `nothing came for ${patienceMs} ms`);
    }, patienceMs);
  }

  #lose(code: number, reason: string): void {
    this.end();
    this.#events.lost(code, reason);
  }

  /** The server has said hello: from now on its heartbeats are waited for. */
  greeted(): void {
    this.#isGreeted = true;
    this.#options.timers.clearTimeout(this.#watch);
    this.#watchOver();
  }

  send(message: object): void {
    this.#pacer.send(message);
  }

  /** Ends it at once. */
  end(): void {
    this.#hasEnded = true;
    this.#pacer.end();
    this.#options.timers.clearTimeout(this.#watch);
    this.#socket?.terminate();
  }

  /** Ends it as the protocol has it, or at once where the server does not agree in time. */
  close(): void {
    const socket = this.#socket;
    const { timers } = this.#options;
    this.#hasEnded = true;
    this.#pacer.end();
    timers.clearTimeout(this.#watch);
    if (socket === undefined) return;
    this.#closing = timers.setTimeout(() => socket.terminate(), CLOSE_MS);
    socket.close();
  }
}
