import type { ServerInfo } from "../baselines/listening.ts";
import type { RelayOptions } from "../baselines/relay.ts";
import { Child } from "../child.ts";
import { GatewayProcess } from "../gateway-process.ts";
import { Receiver } from "../receiver.ts";
import { count, type Load, median, micros, percent, ratio, type Table } from "../report.ts";
import { type Measurement, Rig, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { type SourceOptions, unifiedSymbol, venueSymbol } from "../source.ts";

const RATES = [1000, 10_000, 50_000];
const CLIENTS = 10;
const SECONDS = 5;
const ROUNDS = 3;
/** Long enough for the compiler to have done its work. */
const WARM_UP_SECONDS = 2;
const QUANTILES = ["p50", "p90", "p99", "p999", "max"] as const;

type Quantiles = Record<(typeof QUANTILES)[number], number>;

/** One server at one rate, over all rounds. */
interface Figure extends Quantiles {
  server: string;
  rate: number;
  measurements: readonly Measurement[];
}

async function startGateway(context: Context, options: SourceOptions) {
  const source = context.keep(await startSource(options));
  return { source, gateway: context.keep(await GatewayProcess.start(source.info, ["--grace-ms", "86400000"])) };
}

type Fed = Awaited<ReturnType<typeof startGateway>>;

async function gatewayRig(context: Context, { source, gateway }: Fed, clients: number): Promise<Rig> {
  const receiver = context.keep(
    await Receiver.start({
      url: `${gateway.url}/stream?encoding=flatbuffers`,
      clients,
      form: "flatbuffers",
      send: [JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: [unifiedSymbol(0)] })],
    }),
  );
  await subscribed(source, 1);
  return new Rig(source, gateway, [receiver]);
}

async function relayRig(context: Context, options: SourceOptions, clients: number, dropEvery: number): Promise<Rig> {
  const source = context.keep(await startSource(options));
  const streams = [`${venueSymbol(0).toLowerCase()}@trade`];
  const relayOptions: RelayOptions = { ws: source.info.ws, streams, dropEvery };
  const relay = context.keep(await Child.start<ServerInfo>("relay", relayOptions));
  const receiver = context.keep(
    await Receiver.start({ url: `${relay.info.url}/`, clients, form: "relay", readyAcks: 0 }),
  );
  await subscribed(source, 1);
  return new Rig(source, relay, [receiver]);
}

/** Medians over the rounds, quantile by quantile. */
function figureOf(server: string, rate: number, measurements: readonly Measurement[]): Figure {
  const at = (name: (typeof QUANTILES)[number]) =>
    median(measurements.map(({ reports }) => reports[0]?.latencyUs[name] ?? Number.NaN));
  const quantiles = Object.fromEntries(QUANTILES.map((name) => [name, at(name)])) as Quantiles;
  return { server, rate, measurements, ...quantiles };
}

function latencyTable(figures: readonly Figure[], clients: number): Table {
  const rows = figures.map(({ server, rate, measurements, ...quantiles }) => [
    `${count(rate)}/s ${server}`,
    ...QUANTILES.map((name) => micros(quantiles[name])),
    ...(["source", "server", "receiver"] as const).map((part) => percent(shareOf(measurements, part))),
    micros(median(measurements.map(({ run }) => run.late.p99))),
    micros(Math.max(...measurements.map(({ run }) => run.late.max))),
  ]);
  return {
    title: `due at the source to read by the client, one instrument, ${clients} clients`,
    columns: [
      "trades",
      "p50",
      "p90",
      "p99",
      "p99.9",
      "max",
      "source cpu",
      "server cpu",
      "receiver cpu",
      "source late p99",
      "max",
    ],
    rows,
  };
}

function shareOf(measurements: readonly Measurement[], part: "source" | "server" | "receiver"): number {
  return median(measurements.map(({ load }) => (part === "source" ? (load.source?.share ?? 0) : load[part])));
}

function ratioTable(figures: readonly Figure[], rates: readonly number[]): Table {
  const rows = rates.map((rate) => {
    const of = (name: string) => figures.find((figure) => figure.rate === rate && figure.server === name) as Figure;
    return [`${count(rate)}/s`, ...QUANTILES.map((name) => ratio(of("gateway")[name] / of("bare relay")[name]))];
  });
  return { title: "gateway to bare relay", columns: ["trades", "p50", "p90", "p99", "p99.9", "max"], rows };
}

async function run(context: Context) {
  const { flags, progress } = context;
  const { clients = CLIENTS, seconds = SECONDS, rounds = ROUNDS } = flags;
  const rates = flags.rate === undefined ? RATES : [flags.rate];
  const options: SourceOptions = { instruments: 1, spread: "one", seed: flags.seed, mixed: false };
  const fed = await startGateway(context, options);
  const rigs: Record<string, Rig> = {
    gateway: await gatewayRig(context, fed, clients),
    "bare relay": await relayRig(context, options, clients, flags.dropEvery),
  };
  const figures: Figure[] = [];
  const losses: string[] = [];
  const loads: Load[] = [];
  for (const rate of rates) {
    const found = new Map<string, Measurement[]>(Object.keys(rigs).map((name) => [name, []]));
    for (let round = 0; round <= rounds; round += 1) {
      for (const [name, rig] of Object.entries(rigs)) {
        const warmUp = round === 0;
        progress(`${count(rate)} trades/s, ${name}, ${warmUp ? "warm-up" : `round ${round} of ${rounds}`}`);
        const label = `${name}, ${count(rate)}/s`;
        const length = warmUp ? Math.min(seconds, WARM_UP_SECONDS) : seconds;
        const measurement = await rig.measure({ label, rate, seconds: length });
        losses.push(...measurement.losses);
        if (!warmUp) found.get(name)?.push(measurement);
      }
    }
    for (const [name, measurements] of found) {
      figures.push(figureOf(name, rate, measurements));
      loads.push(...measurements.map(({ load }) => load));
    }
  }
  const inside = (await fed.gateway.json()).latency_us;
  for (const rig of Object.values(rigs)) losses.push(...(await rig.serverLosses()));
  return {
    tables: [latencyTable(figures, clients), ratioTable(figures, rates)],
    figures: { clients, seconds, rounds, rates: figures.map(forJson), gatewayLatencyUs: inside },
    loads,
    losses,
  };
}

function forJson({ measurements, ...figure }: Figure): object {
  return {
    ...figure,
    frames: measurements.reduce((sum, { reports }) => sum + (reports[0]?.frames ?? 0), 0),
    lateUs: {
      p99: median(measurements.map(({ run }) => run.late.p99)),
      max: Math.max(...measurements.map(({ run }) => run.late.max)),
    },
    cpu: Object.fromEntries(
      (["source", "server", "receiver"] as const).map((part) => [part, shareOf(measurements, part)]),
    ),
  };
}

export const wireToWire: Scenario = {
  summary: "source to client through the gateway at 1,000 to 50,000 trades/s, beside a bare relay",
  takes: ["clients", "rate", "seconds", "rounds", "seed", "drop-every"],
  run,
};
