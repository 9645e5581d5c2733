import { raiseDemand } from "../demand-client.ts";
import { GatewayProcess } from "../gateway-process.ts";
import { Receiver } from "../receiver.ts";
import { count, micros, percent, type Table } from "../report.ts";
import { type Measurement, Rig, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { unifiedSymbol } from "../source.ts";

const INSTRUMENTS = [10, 1000, 10_000];
const RATE = 10_000;
const CLIENTS = 10;
const SECONDS = 10;
const WARM_UP_SECONDS = 3;
const MOST_WARM_UPS = 20;
const SUBSCRIBE_ALL = JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: ["*"] });

interface Figure {
  instruments: number;
  spread: string;
  cpuUsPerTrade: number;
  p50: number;
  p99: number;
  max: number;
  /** Longest delay of the gateway's event loop, microseconds; undefined when it does not say. */
  loopDelayUs: number | undefined;
  measurement: Measurement;
}

/** The longest delay of the event loop since the metrics were last read. */
async function loopDelayUs(gateway: GatewayProcess): Promise<number | undefined> {
  const seconds = (await gateway.metrics()).get("nodejs_eventloop_lag_max_seconds");
  return seconds === undefined ? undefined : seconds * 1e6;
}

/**
 * Runs load until every client gets all of it. A wildcard's client joins thousands of instruments in pieces, in between
 * the load; until then nothing is missing, but it does not have them all.
 */
async function warmUp(rig: Rig, label: string, rate: number, seconds: number): Promise<string[]> {
  const losses: string[] = [];
  for (let round = 1; round <= MOST_WARM_UPS; round += 1) {
    const {
      run,
      reports,
      losses: lost,
    } = await rig.measure({
      label: `${label}, warm-up`,
      rate,
      seconds,
      least: () => [0],
    });
    losses.push(...lost);
    if (reports.every(({ leastFrames }) => leastFrames >= run.sent)) return losses;
  }
  return [...losses, `${label}: the clients had not joined all instruments after ${MOST_WARM_UPS} warm-ups`];
}

async function measure(context: Context, instruments: number, spread: "zipf" | "uniform"): Promise<Figure> {
  const { flags, progress, keep } = context;
  const { clients = CLIENTS, rate = RATE, seconds = SECONDS, seed } = flags;
  const label = `${count(instruments)} instruments, ${spread}`;
  progress(`${label}: subscribing`);
  const source = keep(await startSource({ instruments, spread, seed, mixed: false }));
  const gateway = keep(await GatewayProcess.start(source.info, ["--grace-ms", "86400000"]));
  const symbols = Array.from({ length: instruments }, (_, index) => unifiedSymbol(index));
  await raiseDemand(gateway.url, ["trades"], symbols);
  await subscribed(source, instruments);
  const receiver = keep(
    await Receiver.start({
      url: `${gateway.url}/stream?encoding=flatbuffers`,
      clients,
      form: "flatbuffers",
      send: [SUBSCRIBE_ALL],
    }),
  );
  const rig = new Rig(source, gateway, [receiver]);
  progress(`${label}: warm-up`);
  const losses = await warmUp(
    rig,
    label,
    rate,
    Math.max(Math.min(seconds, WARM_UP_SECONDS), (1.2 * instruments) / rate),
  );
  await loopDelayUs(gateway);
  progress(`${label}: measuring`);
  const measurement = await rig.measure({ label, rate, seconds });
  // Reading the metrics starts the delay's next stretch.
  const delay = await loopDelayUs(gateway);
  losses.push(...measurement.losses, ...(await rig.serverLosses()).map((loss) => `${label}: ${loss}`));
  await rig.stop();
  const latency = (measurement.reports[0] as Measurement["reports"][number]).latencyUs;
  return {
    instruments,
    spread,
    cpuUsPerTrade: (measurement.serverMs * 1000) / measurement.run.sent,
    p50: latency.p50,
    p99: latency.p99,
    max: latency.max,
    loopDelayUs: delay,
    measurement: { ...measurement, losses },
  };
}

function tableOf(figures: readonly Figure[], rate: number, clients: number): Table {
  return {
    title: `${count(rate)} trades/s over so many instruments, ${clients} clients with all of them`,
    columns: [
      "instruments",
      "server cpu a trade",
      "p50",
      "p99",
      "max",
      "longest loop delay",
      "source cpu",
      "server cpu",
      "receiver cpu",
      "source late p99",
      "max",
    ],
    rows: figures.map(({ instruments, spread, cpuUsPerTrade, p50, p99, max, loopDelayUs: delay, measurement }) => [
      `${count(instruments)} ${spread}`,
      `${cpuUsPerTrade.toFixed(1)} us`,
      micros(p50),
      micros(p99),
      micros(max),
      delay === undefined ? "-" : micros(delay),
      percent(measurement.load.source?.share ?? 0),
      percent(measurement.load.server),
      percent(measurement.load.receiver),
      micros(measurement.run.late.p99),
      micros(measurement.run.late.max),
    ]),
  };
}

async function run(context: Context) {
  const { flags } = context;
  const figures: Figure[] = [];
  for (const instruments of flags.instruments === undefined ? INSTRUMENTS : [flags.instruments]) {
    for (const spread of ["zipf", "uniform"] as const) figures.push(await measure(context, instruments, spread));
  }
  return {
    tables: [tableOf(figures, flags.rate ?? RATE, flags.clients ?? CLIENTS)],
    figures: {
      instruments: figures.map(({ measurement, ...figure }) => ({
        ...figure,
        frames: measurement.reports[0]?.frames,
        lateUs: measurement.run.late,
      })),
    },
    loads: figures.map(({ measurement }) => measurement.load),
    losses: figures.flatMap(({ measurement }) => measurement.losses),
    notes: [
      "server cpu includes sending each trade to every client, the engine's ticks and the closing of bars",
      "the loop delay is Node's own figure, measured at a resolution of 10 ms, which is part of it",
    ],
  };
}

export const instruments: Scenario = {
  summary: "10, 1,000, 10,000 instruments at the same total rate: processor time a trade, latency, turns",
  takes: ["instruments", "clients", "rate", "seconds", "seed"],
  run,
};
