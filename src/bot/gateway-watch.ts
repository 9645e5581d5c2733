import type { Tickwire } from "../client/index.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "./errors.ts";
import type { GatewayState } from "./market-source.ts";
import type { StreamReconnect } from "./market-stream-events.ts";

/** What becomes of the connection to the gateway. */
export interface GatewayNews {
  lost(): void;
  back(reconnect: StreamReconnect): void;
  /** It is over for good. */
  over(): void;
}

/** Follows the connection to the gateway. */
export class GatewayWatch {
  state: GatewayState = { status: "disconnected", reason: "not started" };
  readonly #clock: Clock;
  /** Undefined when it is over: a client that goes on does not keep what has ended. */
  #news: GatewayNews | undefined;
  #away: { since: number; attempts: number; reason: string } | undefined;
  #isOver = false;

  constructor(clock: Clock, news: GatewayNews) {
    this.#clock = clock;
    this.#news = news;
  }

  begin(): void {
    this.state = { status: "connecting", reason: "" };
  }

  /** From now on the client's connection is followed, until `signal` is aborted. */
  follow(client: Tickwire, signal: AbortSignal): void {
    this.state = { status: "connected", reason: "" };
    client.on("disconnect", ({ reason }) => this.#lost(reason), { signal });
    client.on("retry", ({ reason }) => this.#tries(reason), { signal });
    client.on("reconnect", () => this.#isBack(client), { signal });
    client.closed.then(
      () => this.end("closed"),
      (error: unknown) => this.fail(error),
    );
  }

  #lost(reason: string): void {
    if (this.#isOver) return;
    this.#away ??= { since: this.#clock.now(), attempts: 0, reason };
    this.state = { status: "reconnecting", reason };
    this.#news?.lost();
  }

  #tries(reason: string): void {
    if (this.#away === undefined || this.#isOver) return;
    this.#away.attempts += 1;
    this.state = { status: "reconnecting", reason };
  }

  /** A client may have several connections: they are all there again. */
  #isBack(client: Tickwire): void {
    if (!client.isConnected || this.#away === undefined || this.#isOver) return;
    const { since, attempts, reason } = this.#away;
    this.#away = undefined;
    this.state = { status: "connected", reason: "" };
    this.#news?.back({ source: "gateway", attempts, reason, downtimeMs: (this.#clock.now() - since) / 1000 });
  }

  fail(error: unknown): void {
    this.#finish({ status: "error", reason: messageOf(error) });
  }

  end(reason: string): void {
    this.#finish({ status: "disconnected", reason });
  }

  #finish(state: GatewayState): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.state = state;
    this.#news?.over();
    this.#news = undefined;
  }
}
