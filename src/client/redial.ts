import type { TimerHandle } from "../std/timers.ts";
import { Addresses, type Next } from "./addresses.ts";
import { TickwireError } from "./errors.ts";
import { Link } from "./link.ts";
import type { SessionContext } from "./session-context.ts";

/** A server that closes with it will not have this client back as it is. */
const CLOSE_POLICY = 1008;
const REFUSED = /^(401|403) /;

/** What a session is told of its connections. */
export interface RedialEvents {
  text(text: string): void;
  /** Good in this call only. */
  bytes(bytes: Uint8Array): void;
  /** The connection stood and is gone. */
  lost(reason: string): void;
  /** There will be no other one. */
  failed(error: TickwireError): void;
}

/** One connection after another, to whichever server is there: the next address, or after all of them a delay. */
export class Redial {
  readonly #context: SessionContext;
  readonly #events: RedialEvents;
  readonly #addresses: Addresses;
  #link: Link | undefined;
  #timer: TimerHandle;
  /** When the connection that stands was there, microseconds; undefined: none stands. */
  #openedAt: number | undefined;
  /** Since a connection stood. */
  #attempts = 0;
  #isOver = false;

  constructor(context: SessionContext, events: RedialEvents) {
    this.#context = context;
    this.#events = events;
    this.#addresses = new Addresses(context.urls, context.reconnect, context.random);
  }

  get url(): URL {
    return this.#addresses.url;
  }

  connect(): void {
    if (this.#isOver) return;
    this.#link = new Link(this.url, this.#context, {
      ...this.#events,
      lost: (code, reason) => this.lose(code, reason),
      failed: (error) => this.#fail(error),
    });
  }

  /** The server has greeted: the connection stands. */
  greeted(): void {
    this.#openedAt = this.#context.clock.now();
    this.#attempts = 0;
    this.#link?.greeted();
  }

  send(message: object): void {
    this.#link?.send(message);
  }

  /** A server that is being started anew says when it wants its clients back; another one takes them at once. */
  askedToWait(retryMs: number): void {
    const { urls, retryAtOnce } = this.#context;
    if (urls.length === 1 && !retryAtOnce) this.#addresses.askedToWait(retryMs);
  }

  /** The connection is gone, or never was. */
  lose(code: number, reason: string): void {
    const why = reason === "" ? `closed with ${code}` : reason;
    const isRefused = code === CLOSE_POLICY || REFUSED.test(reason);
    this.leave(why, isRefused ? new TickwireError("refused", `${this.url.host}: ${why}`) : undefined);
  }

  /** Leaves this server for the next one; `refusal` when it is of no use to come back to it. */
  leave(why: string, refusal: TickwireError | undefined): void {
    const { clock, timers, disconnected, retrying } = this.#context;
    this.#link?.end();
    this.#link = undefined;
    const { url } = this;
    const openedAt = this.#openedAt;
    this.#openedAt = undefined;
    let next: Next;
    if (openedAt === undefined) next = this.#addresses.failed(refusal);
    else {
      next = this.#addresses.lost((clock.now() - openedAt) / 1000, refusal);
      this.#events.lost(why);
      disconnected(url, why);
    }
    if (this.#isOver) return;
    if ("error" in next) return this.#fail(next.error);
    if ("exhausted" in next) {
      return this.#fail(new TickwireError("unavailable", `no server after ${next.exhausted} attempts: ${why}`));
    }
    this.#attempts += 1;
    retrying({ url: this.url.href, reason: why, attempt: this.#attempts, retryMs: next.delayMs });
    if (this.#isOver) return;
    this.#timer = timers.setTimeout(() => this.connect(), next.delayMs);
  }

  #fail(error: TickwireError): void {
    this.#isOver = true;
    this.#events.failed(error);
  }

  close(): void {
    this.#isOver = true;
    this.#context.timers.clearTimeout(this.#timer);
    this.#link?.close();
  }
}
