import { memoryOf, watchMemory } from "../gateway-memory.ts";
import { GatewayProcess } from "../gateway-process.ts";
import { Receiver, type Report } from "../receiver.ts";
import { count, mebibytes, median } from "../report.ts";
import { fresh, lossesOf, type Measurement, Rig, settled, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { memoryTable, othersTable, p99RatioOf, pairsOf, type Stretch, slowTable } from "../slow-tables.ts";
import { unifiedSymbol } from "../source.ts";

const CLIENTS = 200;
const RATE = 2000;
const SECONDS = 10;
const ROUNDS = 3;
const WARM_UP_SECONDS = 3;
/** Of all clients, and at least so many. */
const SLOW_SHARE = 0.01;
const LEAST_SLOW = 2;
/** Of the bytes that the others get. */
const SLOW_PACE = 0.1;
/** After it a gap comes, and the client goes on at the head. */
const MAX_LAG_MS = 1000;
/** More than the others' p99 with slow ones to without is worth a word, and is no loss: the machine has its moods. */
const FAIR_RATIO = 1.2;
/** What the system holds for a slow client hides how slow it is. */
const RECEIVE_BUFFER_BYTES = 16 * 1024;

const MIB = 2 ** 20;
/** One queue may be so long before its client falls behind; the ring holds seconds at any rate; all queues together. */
const QUEUE_KIB = 64;
const RING_MIB = 32;
const ALL_QUEUES_MIB = 32;
/** Beside the ring and the queues the gateway may grow by so much: its heap between two collections. */
const HEAP_MIB = 64;
const GATEWAY_FLAGS = [
  ["--grace-ms", "86400000"],
  ["--max-queue", QUEUE_KIB],
  ["--ring-memory", RING_MIB],
  ["--max-memory", ALL_QUEUES_MIB],
]
  .flat()
  .map(String);

interface Parts {
  gateway: GatewayProcess;
  /** Over the others alone: who is slow is waited for apart. */
  rig: Rig;
  slow: Receiver;
  slowClients: number;
  /** What the gateway may come to be, resident. */
  residentLimit: number;
}

/** What each client gets a second. */
function bytesPerSecond({ reports, seconds }: Measurement): number {
  const [{ bytes, clients }] = reports as [Report];
  return bytes / clients / seconds;
}

/** One stretch of load, without slow clients. */
async function calm({ gateway, rig }: Parts, label: string, rate: number, seconds: number): Promise<Stretch> {
  const { result: measurement, most } = await watchMemory(gateway, () => rig.measure({ label, rate, seconds }));
  return { measurement, others: measurement.reports[0] as Report, most };
}

/**
 * The same with slow ones, on new connections: the system has large buffers for one over which much went fast. They are
 * brought level afterwards, so that all that they are owed can be counted, and go.
 */
async function slowed(parts: Parts, label: string, rate: number, seconds: number, pace: number): Promise<Stretch> {
  const { slow, slowClients } = parts;
  await slow.connect(slowClients);
  await fresh(slow);
  slow.pace(pace);
  const found = await calm(parts, label, rate, seconds);
  slow.pace(0);
  const [report] = (await settled([slow], [found.measurement.run.sent])) as [Report];
  slow.drop(slowClients);
  return { ...found, slow: report };
}

/** Received and named by gaps must add up to what was sent, for each; a gap by itself is what they asked for. */
export function lossesOfSlow(report: Report, sent: number): string[] {
  const losses = lossesOf({ ...report, gaps: 0 }, 0);
  const { leastAccounted, mostAccounted } = report;
  if (leastAccounted !== sent || mostAccounted !== sent) {
    losses.push(`received and named by gaps are ${leastAccounted} to ${mostAccounted} of ${sent} events`);
  }
  return losses;
}

function lossesOfStretch({ measurement, slow, most }: Stretch, residentLimit: number): string[] {
  const { label } = measurement.load;
  const losses = [
    ...measurement.losses,
    ...(slow === undefined ? [] : lossesOfSlow(slow, measurement.run.sent)).map((loss) => `${label}, slow: ${loss}`),
  ];
  if (most.queues > ALL_QUEUES_MIB * MIB) losses.push(`${label}: ${mebibytes(most.queues)} waited for all clients`);
  if (most.resident > residentLimit) {
    losses.push(`${label}: the gateway was ${mebibytes(most.resident)}, above ${mebibytes(residentLimit)}`);
  }
  return losses;
}

async function start(context: Context, clients: number): Promise<Omit<Parts, "residentLimit">> {
  const { flags, keep } = context;
  const source = keep(await startSource({ instruments: 1, spread: "one", seed: flags.seed, mixed: false }));
  const gateway = keep(await GatewayProcess.start(source.info, GATEWAY_FLAGS));
  const subscribe = { type: "subscribe", id: 1, channels: ["trades"], symbols: [unifiedSymbol(0)] };
  const client = { url: `${gateway.url}/stream?encoding=flatbuffers`, form: "flatbuffers" as const };
  const slowClients = Math.max(LEAST_SLOW, Math.round(clients * SLOW_SHARE));
  const others = keep(await Receiver.start({ ...client, clients, send: [JSON.stringify(subscribe)] }));
  const slow = keep(
    await Receiver.start({
      ...client,
      clients: 0,
      send: [JSON.stringify({ ...subscribe, max_lag_ms: MAX_LAG_MS })],
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    }),
  );
  await subscribed(source, 1);
  return { gateway, rig: new Rig(source, gateway, [others]), slow, slowClients };
}

async function run(context: Context) {
  const { flags, progress } = context;
  const { clients = CLIENTS, rate = RATE, seconds = SECONDS, rounds = ROUNDS } = flags;
  const parts = await start(context, clients);
  progress("warm-up");
  const warmUp = await parts.rig.measure({ label: "warm-up", rate, seconds: Math.min(seconds, WARM_UP_SECONDS) });
  const pace = Math.max(1, Math.round(bytesPerSecond(warmUp) * SLOW_PACE));
  const { resident } = await memoryOf(parts.gateway);
  const residentLimit = resident + (RING_MIB + ALL_QUEUES_MIB + HEAP_MIB) * MIB;
  const stretches: Stretch[] = [];
  const losses = [...warmUp.losses];
  for (let round = 1; round <= rounds; round += 1) {
    // Now these first and now those, so that what the machine does beside is no one's alone.
    for (const isSlow of round % 2 === 1 ? [false, true] : [true, false]) {
      const label = `round ${round}, ${isSlow ? "with" : "without"} slow clients`;
      progress(label);
      const all = { ...parts, residentLimit };
      const found = isSlow ? await slowed(all, label, rate, seconds, pace) : await calm(all, label, rate, seconds);
      stretches.push(found);
      losses.push(...lossesOfStretch(found, residentLimit));
    }
  }
  losses.push(...(await parts.gateway.losses()));
  return outcomeOf({ clients, rate, seconds, pace, residentLimit, stretches, losses });
}

interface Found {
  clients: number;
  rate: number;
  seconds: number;
  pace: number;
  residentLimit: number;
  stretches: readonly Stretch[];
  losses: readonly string[];
}

function outcomeOf({ clients, rate, seconds, pace, residentLimit, stretches, losses }: Found) {
  const rounds = pairsOf(stretches);
  const p99Ratio = median(rounds.map(p99RatioOf));
  const slows = stretches.flatMap(({ slow }) => (slow === undefined ? [] : [slow]));
  const gapFrames = slows.reduce((sum, each) => sum + each.gapFrames, 0);
  const calmRounds = slows.filter(({ gaps }) => gaps === 0).length;
  const slowClients = slows[0]?.clients ?? 0;
  return {
    tables: [
      othersTable(rounds, clients, rate, p99Ratio),
      slowTable(stretches, slowClients, pace),
      memoryTable(stretches, {
        queues: ALL_QUEUES_MIB * MIB,
        longestQueue: QUEUE_KIB * 1024,
        resident: residentLimit,
      }),
    ],
    figures: {
      clients,
      slowClients,
      rate,
      seconds,
      pace,
      p99Ratio,
      gapFrames,
      residentLimit,
      stretches: stretches.map(({ measurement, ...each }) => ({ ...each, sent: measurement.run.sent })),
    },
    loads: stretches.map(({ measurement }) => measurement.load),
    losses,
    notes: [
      `slow: each reads ${count(pace)} bytes/s, a tenth of what the others get; max_lag_ms ${MAX_LAG_MS}; --max-queue ${QUEUE_KIB} KiB`,
      ...(p99Ratio > FAIR_RATIO ? [`the others' p99 is more than x ${FAIR_RATIO} of that without slow clients`] : []),
      ...(calmRounds > 0
        ? [`no gap came in ${calmRounds} rounds: too short, or too few trades, for anybody to lag`]
        : []),
    ],
  };
}

export const slow: Scenario = {
  summary: "a hundredth of the clients read at a tenth of the pace: what the others feel, what the slow ones get",
  takes: ["clients", "rate", "seconds", "rounds", "seed"],
  run,
};
