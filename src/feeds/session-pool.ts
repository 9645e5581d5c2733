import { STATE_DOWN, STATE_LIVE, STATE_QUIET, STATE_STALE, STATE_SYNCING } from "../market/sink.ts";
import type { SessionOptions } from "./session.ts";
import { Session } from "./session.ts";

/** A session on which nothing is subscribed is quiet, and says nothing while another one is in use. */
const WORST_FIRST = [STATE_DOWN, STATE_STALE, STATE_SYNCING, STATE_LIVE, STATE_QUIET];
/** Most connections to one venue; Binance allows 300 attempts in five minutes. */
const MAX_SESSIONS = 64;

export type PoolOptions = Omit<SessionOptions, "nextId">;

/**
 * As many sessions as a venue's limit of streams per connection makes necessary: one, nearly always. The sink knows one
 * connection per venue, so the worst session speaks for all that have been live; a further one that is only being
 * opened takes nothing down.
 */
export class SessionPool {
  readonly #options: PoolOptions;
  readonly #sessions: Session[] = [];
  readonly #home = new Map<number, Session>();
  readonly #proven = new Set<Session>();
  #lastId = 0;
  #state = 0;
  #reason = "";

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get state(): number {
    return this.#state;
  }

  get reason(): string {
    return this.#reason;
  }

  get streams(): number {
    return this.#home.size;
  }

  get connections(): number {
    return this.#sessions.reduce((sum, session) => sum + session.connections, 0);
  }

  /** False when the venue can take no more. */
  add(stream: number): boolean {
    if (this.#home.has(stream)) return true;
    const session = this.#withRoom();
    if (session === undefined) return false;
    this.#home.set(stream, session);
    session.add(stream);
    return true;
  }

  remove(stream: number): void {
    this.#home.get(stream)?.remove(stream);
    this.#home.delete(stream);
  }

  has(stream: number): boolean {
    return this.#home.has(stream);
  }

  renew(stream: number): void {
    this.#home.get(stream)?.renew(stream);
  }

  isSent(stream: number): boolean {
    return this.#home.get(stream)?.isSent(stream) ?? false;
  }

  acknowledge(id: number): void {
    for (const session of this.#sessions) session.acknowledge(id);
  }

  rotate(reason: string): void {
    for (const session of this.#sessions) session.rotate(reason);
  }

  close(): void {
    for (const session of this.#sessions) session.close();
  }

  #withRoom(): Session | undefined {
    const limit = this.#options.protocol.limits.streamsPerConnection;
    const room = this.#sessions.find((session) => session.streams < limit);
    if (room !== undefined) return room;
    if (this.#sessions.length === MAX_SESSIONS) return undefined;
    const session: Session = new Session({
      ...this.#options,
      nextId: () => ++this.#lastId,
      onState: (state, reason) => this.#onState(session, state, reason),
    });
    this.#sessions.push(session);
    return session;
  }

  #onState(session: Session, state: number, reason: string): void {
    if (state === STATE_LIVE) this.#proven.add(session);
    if (this.#proven.size > 0 && !this.#proven.has(session)) return;
    const worst = this.#proven.size === 0 ? state : this.#worst();
    if (worst === this.#state) return;
    this.#state = worst;
    this.#reason = reason;
    this.#options.onState(worst, reason);
  }

  #worst(): number {
    const states = [...this.#proven].map((session) => session.state);
    return WORST_FIRST.find((state) => states.includes(state)) ?? STATE_SYNCING;
  }
}
