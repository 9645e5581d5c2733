import { STATE_LIVE, STATE_SYNCING } from "../market/sink.ts";
import type { Clock } from "../std/clock.ts";
import type { Client } from "./client.ts";
import { defineClientMetrics, subscriptionsOf } from "./client-metrics.ts";
import { defineDataMetrics } from "./data-metrics.ts";
import { type Duration, WINDOW_SECONDS } from "./duration.ts";
import type { Answer } from "./http.ts";
import { json } from "./http.ts";
import { defineJournal } from "./journal-metrics.ts";
import type { Latency } from "./latency.ts";
import { STAGES } from "./latency.ts";
import { MetricSet } from "./metric-set.ts";
import type { Services } from "./services.ts";
import { defineSymbolMetrics } from "./symbol-metrics.ts";

/** What the server is told of one feed. */
export interface FeedReport {
  exchange: string;
  counters: Readonly<Record<string, number>>;
}

export interface MetricsOptions {
  services: Services;
  latency: Latency;
  clients: () => Iterable<Client>;
  feeds: () => FeedReport[];
  /** In upper case: instruments that have series of their own. */
  symbols: readonly string[];
}

/**
 * Reads the plain counters that every part keeps, when somebody asks: Prometheus text, and the JSON of the broker that
 * this server replaces. Nothing here is on the hot path.
 */
export class Metrics {
  readonly #options: MetricsOptions;
  readonly #clock: Clock;
  readonly #set = new MetricSet();
  readonly #startedAt: number;
  /** (time, frames sent so far) at each second of the window. */
  readonly #samples: { at: number; frames: number }[] = [];

  constructor(options: MetricsOptions) {
    const { services, latency, clients, feeds, symbols } = options;
    this.#options = options;
    this.#clock = services.clock;
    this.#startedAt = this.#clock.now();
    defineDataMetrics(this.#set, services.engine, feeds);
    defineClientMetrics(this.#set, services, latency, clients);
    defineJournal(this.#set, services.journal);
    defineSymbolMetrics(this.#set, services.engine, symbols);
  }

  /** Notes the frames sent so far, and lets the latencies' windows move on, once a second. */
  sample(now: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && now - last.at < 1e6) return;
    this.#samples.push({ at: now, frames: this.#sent() });
    if (this.#samples.length > WINDOW_SECONDS + 1) this.#samples.shift();
    this.#options.latency.advance();
  }

  #sent(): number {
    return this.#options.services.publisher.frames.reduce((sum, frames) => sum + frames, 0);
  }

  /** Frames sent a second, over the window. */
  #rate(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at === first.at) return 0;
    return ((last.frames - first.frames) * 1e6) / (last.at - first.at);
  }

  async prometheus(): Promise<Answer> {
    return { status: 200, body: await this.#set.text(), contentType: this.#set.contentType };
  }

  json(): Answer {
    const { services, clients, feeds, latency } = this.#options;
    const clientList = [...clients()];
    const reports = feeds();
    const total = (name: string) => reports.reduce((sum, { counters }) => sum + (counters[name] ?? 0), 0);
    return json({
      active_subscriptions: subscriptionsOf(clientList),
      connections: clientList.length,
      messages_per_second: Math.round(this.#rate() * 100) / 100,
      window_seconds: WINDOW_SECONDS,
      uptime: Math.floor((this.#clock.now() - this.#startedAt) / 1e6),
      reconnects: total("reconnects"),
      exchange_status: Object.fromEntries(
        services.engine.venues.map(({ instrument, state }) => [instrument.exchange, statusOf(state)]),
      ),
      latency_us: Object.fromEntries(
        latency.stages.map((stage, index) => [STAGES[index] as string, quantilesOf(stage)]),
      ),
    });
  }
}

/** The old broker's words. */
function statusOf(state: number): string {
  if (state === STATE_LIVE) return "connected";
  return state === STATE_SYNCING ? "reconnecting" : "disconnected";
}

function quantilesOf(stage: Duration): Record<string, number> {
  const [p50, p90, p99, p999] = stage.quantiles() as [number, number, number, number];
  return { p50, p90, p99, p999, samples: stage.windowCount };
}
