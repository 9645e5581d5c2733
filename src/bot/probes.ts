import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Clock, SystemClock } from "../std/clock.ts";
import { BotMetrics } from "./bot-metrics.ts";
import type { BotRuntime } from "./runtime.ts";

export interface ProbesOptions {
  runtime: BotRuntime;
  /** 8081; 0 takes a free one. */
  port?: number;
  /** 127.0.0.1: to be seen from elsewhere it has to be said. */
  host?: string;
  /** Without a heartbeat for so long a bot that runs is not alive, milliseconds; 30,000. */
  heartbeatTimeoutMs?: number;
  clock?: Clock;
}

export interface Probes {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves what an orchestrator asks of a bot: `/metrics`, Prometheus text; `/healthz`, 200 while it is alive; `/readyz`,
 * 200 while it runs and is well. To be called before the runtime runs. Rejects when the port is taken.
 */
export async function serveBotProbes(options: ProbesOptions): Promise<Probes> {
  const { port = 8081, host = "127.0.0.1" } = options;
  const probes = new ProbeAnswers(options);
  const server = createServer((request, response) => void probes.answer(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

class ProbeAnswers {
  readonly #runtime: BotRuntime;
  readonly #metrics: BotMetrics;
  readonly #heartbeatTimeoutMs: number;
  readonly #clock: Clock;
  /** The last sign of life: the start, then each heartbeat, microseconds. */
  #seenAt: number;

  constructor({ runtime, heartbeatTimeoutMs = 30_000, clock = new SystemClock() }: ProbesOptions) {
    this.#runtime = runtime;
    this.#metrics = new BotMetrics(runtime);
    this.#heartbeatTimeoutMs = heartbeatTimeoutMs;
    this.#clock = clock;
    this.#seenAt = clock.now();
    runtime.on("phase", () => this.#seen());
    runtime.on("heartbeat", ({ published }) => {
      if (published) this.#seen();
    });
  }

  #seen(): void {
    this.#seenAt = this.#clock.now();
  }

  async answer({ method, url = "/" }: IncomingMessage, response: ServerResponse): Promise<void> {
    if (method !== "GET" && method !== "HEAD") return reply(response, 405, { status: "only GET" });
    const { phase } = this.#runtime;
    switch (url.split("?")[0]) {
      case "/metrics": {
        const text = await this.#metrics.registry.metrics();
        response.writeHead(200, { "content-type": this.#metrics.registry.contentType }).end(text);
        return;
      }
      case "/healthz":
        return reply(response, this.#isAlive ? 200 : 503, { status: this.#isAlive ? "ok" : "dead", phase });
      case "/readyz": {
        const isReady = phase === "running" && this.#isAlive && this.#metrics.isHeartbeatOk;
        return reply(response, isReady ? 200 : 503, { status: isReady ? "ready" : "not ready", phase });
      }
      default:
        return reply(response, 404, { status: "not found" });
    }
  }

  get #isAlive(): boolean {
    const { phase } = this.#runtime;
    if (phase === "error" || phase === "stopped") return false;
    return phase !== "running" || this.#clock.now() - this.#seenAt < this.#heartbeatTimeoutMs * 1000;
  }
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
