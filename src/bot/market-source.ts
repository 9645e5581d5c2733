import { Rate } from "./rate.ts";

/** How a source is: `stale`: connected, and silent for longer than it may be; `error`: given up for good. */
export type SourceStatus = "disconnected" | "connecting" | "connected" | "reconnecting" | "stale" | "error";

/** What is known of one venue's data. Times are microseconds. */
export interface SourceHealth {
  readonly name: string;
  readonly status: SourceStatus;
  /** Why it is not connected; empty while it is. */
  readonly reason: string;
  /** When its last event came; undefined before the first. */
  readonly lastMessageAt: number | undefined;
  /** How often it came back: the venue to the gateway, or the gateway to this program. */
  readonly reconnects: number;
  /** Losses that could not be refilled, and what was asked for and is not there. */
  readonly errors: number;
  /** From the venue's time of the last event to now, by the gateway's clock, milliseconds; NaN where not known. */
  readonly latencyMs: number;
  /** Over the last ten seconds. */
  readonly messagesPerSecond: number;
}

/** The connection to the gateway, as all sources see it. */
export interface GatewayState {
  readonly status: "disconnected" | "connecting" | "connected" | "reconnecting" | "error";
  readonly reason: string;
}

/** A venue that is back. */
export interface Return {
  readonly reason: string;
  readonly downtimeMs: number;
}

/** One venue: when it last said something, and which of its streams are down. */
export class MarketSource {
  readonly name: string;
  reconnects = 0;
  errors = 0;
  readonly #rate = new Rate();
  readonly #staleAfterMicros: number;
  /** Streams by name, and why those that are down are. */
  readonly #streams = new Set<string>();
  readonly #down = new Map<string, string>();
  #downSince: number | undefined;
  #since: number;
  /** [when the last event came, the venue's time of it] */
  readonly #last = new Float64Array(2);

  constructor(name: string, staleAfterMs: number, now: number) {
    this.name = name;
    this.#staleAfterMicros = staleAfterMs * 1000;
    this.#since = now;
  }

  /** An event came. Hot path. */
  saw(now: number, exchangeTime: number): void {
    this.#rate.count(now);
    this.#last[0] = now;
    this.#last[1] = exchangeTime;
  }

  /** It is there again; silence is counted from now on. */
  returned(now: number): void {
    this.reconnects += 1;
    this.#since = now;
  }

  /** The state of a stream; returns what there is to tell when the venue is back with it. */
  told(stream: string, state: string, reason: string, now: number): Return | undefined {
    this.#streams.add(stream);
    if (state === "down") {
      this.#down.set(stream, reason);
      if (this.#isDown) this.#downSince ??= now;
      return undefined;
    }
    const why = this.#down.get(stream) ?? "";
    this.#down.delete(stream);
    // A stream that begins is not there yet: the venue counts as back once one is.
    if (this.#downSince === undefined || state === "unknown" || state === "syncing") return undefined;
    const downtimeMs = (now - this.#downSince) / 1000;
    this.#downSince = undefined;
    this.returned(now);
    return { reason: why, downtimeMs };
  }

  /** A stream is not subscribed any more. */
  forget(stream: string): void {
    this.#streams.delete(stream);
    this.#down.delete(stream);
  }

  get #isDown(): boolean {
    return this.#streams.size > 0 && this.#down.size === this.#streams.size;
  }

  health(gateway: GatewayState, now: number, clockOffsetMs: number): SourceHealth {
    const [seenAt, exchangeTime] = this.#last as unknown as [number, number];
    const { status, reason } = this.#status(gateway, now);
    return {
      name: this.name,
      status,
      reason,
      lastMessageAt: seenAt === 0 ? undefined : seenAt,
      reconnects: this.reconnects,
      errors: this.errors,
      latencyMs: exchangeTime === 0 ? Number.NaN : (seenAt - exchangeTime) / 1000 + clockOffsetMs,
      messagesPerSecond: this.#rate.perSecond(now),
    };
  }

  #status(gateway: GatewayState, now: number): { status: SourceStatus; reason: string } {
    if (gateway.status !== "connected") return gateway;
    const [why] = this.#down.values();
    if (this.#downSince !== undefined) return { status: "reconnecting", reason: why ?? "down" };
    const silentMicros = now - Math.max(this.#since, this.#last[0] as number);
    if (silentMicros > this.#staleAfterMicros)
      return { status: "stale", reason: `silent for ${Math.floor(silentMicros / 1e6)} s` };
    return { status: "connected", reason: "" };
  }
}
