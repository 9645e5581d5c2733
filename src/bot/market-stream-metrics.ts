import { Counter, Gauge, Registry } from "prom-client";
import type { SourceHealth } from "./market-source.ts";

/** Plain counts of a stream since it was started; rates are over the last ten seconds. */
export interface StreamMetrics {
  readonly uptimeSeconds: number;
  readonly tradesProcessed: number;
  readonly barsProduced: number;
  readonly tradesPerSecond: number;
  readonly barsPerSecond: number;
  readonly symbolsStreaming: number;
  /** Venues that are connected, stale ones not counted. */
  readonly sourcesActive: number;
  /** Trades that the buffers do not hold any more. */
  readonly tradesOverwritten: number;
}

const HELP: Readonly<Record<keyof StreamMetrics, readonly [name: string, help: string]>> = {
  uptimeSeconds: ["uptime_seconds", "Since the stream was started"],
  tradesProcessed: ["trades_total", "Trades that came"],
  barsProduced: ["bars_total", "Bars that closed"],
  tradesPerSecond: ["trades_per_second", "Over the last ten seconds"],
  barsPerSecond: ["bars_per_second", "Over the last ten seconds"],
  symbolsStreaming: ["symbols", "Instruments that are subscribed"],
  sourcesActive: ["sources_active", "Venues that are connected and not stale"],
  tradesOverwritten: ["trades_overwritten_total", "Trades that the buffers do not hold any more"],
};

/** The same as Prometheus text, and of each source whether it is connected, how late it is and how often it returned. */
export function metricsText(metrics: StreamMetrics, sources: readonly SourceHealth[]): Promise<string> {
  const registry = new Registry();
  const metric = (suffix: string, help: string, labelNames: string[] = []) => {
    const options = { name: `market_stream_${suffix}`, help, labelNames, registers: [registry] };
    // Nothing was counted before: a counter that is made anew is raised to its value.
    return suffix.endsWith("_total") ? new Counter(options) : new Gauge(options);
  };
  for (const [key, [suffix, help]] of Object.entries(HELP))
    metric(suffix, help).inc(metrics[key as keyof StreamMetrics]);
  const connected = metric("source_connected", "1 while the venue is connected and not stale", ["source"]);
  const latency = metric("source_latency_ms", "From the venue's time of its last event to when it came", ["source"]);
  const reconnects = metric("source_reconnects_total", "How often the venue, or the way to it, came back", ["source"]);
  const errors = metric("source_errors_total", "Losses, and what was asked for and is not there", ["source"]);
  for (const { name: source, status, latencyMs, reconnects: returns, errors: count } of sources) {
    connected.inc({ source }, status === "connected" ? 1 : 0);
    if (!Number.isNaN(latencyMs)) latency.inc({ source }, latencyMs);
    reconnects.inc({ source }, returns);
    errors.inc({ source }, count);
  }
  return registry.metrics();
}
