import type { Metric } from "prom-client";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { BOUNDS_MICROS, type Duration, QUANTILES } from "./duration.ts";

/** Sets a value for the given values of the metric's labels. */
export type SetValue<T = number> = (value: T, ...labels: string[]) => void;

/** Metrics whose values are read where they are kept, when somebody asks. Times go out in seconds, as Prometheus has it. */
export class MetricSet {
  readonly #registry = new Registry();

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
  }

  counter(name: string, help: string, labels: readonly string[], read: (set: SetValue) => void): void {
    new Counter({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect() {
        this.reset();
        read((value, ...values) => this.inc(labelled(labels, values), value));
      },
    });
  }

  gauge(name: string, help: string, labels: readonly string[], read: (set: SetValue) => void): void {
    new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect() {
        this.reset();
        read((value, ...values) => this.set(labelled(labels, values), value));
      },
    });
  }

  /** A histogram `name`_seconds from the start, and the quantiles of the last seconds as `name`_quantile_seconds. */
  duration(name: string, help: string, labels: readonly string[], read: (set: SetValue<Duration>) => void): void {
    // The library's own histogram only counts what is observed one by one.
    const metric = {
      name: `${name}_seconds`,
      get: () => Promise.resolve(histogram(`${name}_seconds`, help, labels, read)),
    };
    this.#registry.registerMetric(metric as unknown as Metric);
    this.gauge(`${name}_quantile_seconds`, `${help}: of the last seconds`, [...labels, "quantile"], (set) => {
      read((duration, ...values) => {
        for (const [index, micros] of duration.quantiles().entries()) {
          set(micros / 1e6, ...values, String(QUANTILES[index]));
        }
      });
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

interface Sample {
  metricName: string;
  labels: Record<string, string>;
  value: number;
}

function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  read: (set: SetValue<Duration>) => void,
): object {
  const values: Sample[] = [];
  read((duration, ...own) => {
    duration.gather();
    const named = labelled(labels, own);
    const add = (suffix: string, value: number, le?: string) =>
      values.push({ metricName: `${name}_${suffix}`, labels: le === undefined ? named : { ...named, le }, value });
    for (const [index, bound] of BOUNDS_MICROS.entries()) {
      add("bucket", duration.counts[index] as number, String(bound / 1e6));
    }
    add("bucket", duration.count, "+Inf");
    add("sum", duration.sumMicros / 1e6);
    add("count", duration.count);
  });
  return { name, help, type: "histogram", values, aggregator: "sum" };
}

function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""]));
}
