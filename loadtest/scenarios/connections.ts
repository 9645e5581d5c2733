import { setTimeout as sleep } from "node:timers/promises";
import type { ServerInfo } from "../baselines/listening.ts";
import { Child } from "../child.ts";
import { UsageError } from "../flags.ts";
import { GatewayProcess } from "../gateway-process.ts";
import { requireOpenFiles } from "../open-files.ts";
import { MachineTime, ProcessorTime, residentBytes } from "../processor-time.ts";
import { Receiver, type ReceiverOptions } from "../receiver.ts";
import { count, type Load, mebibytes, percent } from "../report.ts";
import { lossesOf, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { unifiedSymbol } from "../source.ts";

const CLIENTS = 9000;
/** Connected first: what they bring about once, and the memory that lay idle before them, is not counted. */
const FIRST_SHARE = 0.1;
const LEAST_CLIENTS = 10;
const READY_TIMEOUT_MS = 120_000;
const IDLE_SECONDS = 5;
/** Buffers of handshakes are given back by then. */
const SETTLE_MS = 1000;

interface Figure {
  server: string;
  clients: number;
  /** Connected and subscribed a second. */
  perSecond: number;
  bytesPerConnection: number;
  residentBytes: number;
  /** Processor time that the idle connections take, of a core. */
  idleShare: number;
  load: Load;
  losses: readonly string[];
}

async function measure(
  context: Context,
  server: string,
  pid: number,
  client: Omit<ReceiverOptions, "clients">,
): Promise<Figure> {
  const { flags, progress, keep } = context;
  const { clients = CLIENTS, seconds = IDLE_SECONDS } = flags;
  const first = Math.ceil(clients * FIRST_SHARE);
  const receiver = keep(await Receiver.start({ ...client, clients: first, readyTimeoutMs: READY_TIMEOUT_MS }));
  await sleep(SETTLE_MS);
  const before = residentBytes(pid);
  progress(`${server}: connecting ${count(clients)} clients`);
  const begun = performance.now();
  const connecting = new ProcessorTime(pid);
  const opening = new ProcessorTime(receiver.pid);
  const machine = new MachineTime();
  await receiver.connect(clients - first);
  const tookMs = performance.now() - begun;
  const load: Load = {
    label: `${server}, connecting`,
    server: connecting.share,
    receiver: opening.share,
    machine: machine.share,
  };
  await sleep(SETTLE_MS);
  const after = residentBytes(pid);
  const idle = new ProcessorTime(pid);
  await sleep(seconds * 1000);
  const idleShare = idle.share;
  const report = await receiver.report();
  await receiver.stop();
  const losses = lossesOf(report, 0);
  if (report.clients < clients) losses.push(`${clients} clients connected, ${report.clients} are left`);
  return {
    server,
    clients,
    perSecond: (clients - first) / (tookMs / 1000),
    bytesPerConnection: (after - before) / (clients - first),
    residentBytes: after,
    idleShare,
    load,
    losses: losses.map((loss) => `${server}: ${loss}`),
  };
}

async function run(context: Context) {
  const { flags, keep } = context;
  if ((flags.clients ?? CLIENTS) < LEAST_CLIENTS) throw new UsageError(`--clients is at least ${LEAST_CLIENTS} here`);
  requireOpenFiles(flags.clients ?? CLIENTS);
  const source = keep(await startSource({ instruments: 1, spread: "one", seed: 1, mixed: false }));
  const limit = String(flags.clients ?? CLIENTS);
  const limits = ["--max-connections", limit, "--max-per-address", limit, "--grace-ms", "86400000"];
  const gateway = keep(await GatewayProcess.start(source.info, limits));
  const subscribe = JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: [unifiedSymbol(0)] });
  const figures = [
    await measure(context, "gateway", gateway.pid, {
      url: `${gateway.url}/stream?encoding=flatbuffers`,
      form: "flatbuffers",
      send: [subscribe],
    }),
  ];
  await subscribed(source, 1);
  const losses = await gateway.losses();
  await gateway.stop();
  const bare = keep(await Child.start<ServerInfo>("bare-publish", {}));
  figures.push(
    await measure(context, "bare uWebSockets.js", bare.pid, {
      url: `${bare.info.url}/`,
      form: "flatbuffers",
      send: ["subscribe"],
    }),
  );
  return {
    tables: [
      {
        title: "idle clients, each subscribed to the trades of one instrument",
        columns: ["server", "clients", "connected/s", "memory a connection", "server memory", "idle server cpu"],
        rows: figures.map((figure) => [
          figure.server,
          count(figure.clients),
          count(figure.perSecond),
          `${(figure.bytesPerConnection / 1024).toFixed(2)} KiB`,
          mebibytes(figure.residentBytes),
          percent(figure.idleShare),
        ]),
      },
    ],
    figures: { connections: figures.map(({ load: _load, losses: _losses, ...figure }) => figure) },
    loads: figures.map(({ load }) => load),
    losses: [...losses, ...figures.flatMap((figure) => figure.losses)],
    notes: [
      "memory is what the server's resident size grew by; the kernel's socket buffers are not in it",
      "memory and connected/s are those of the last nine tenths of the clients",
    ],
  };
}

export const connections: Scenario = {
  summary: "up to 9,000 idle subscribed clients: memory of each, connects a second, beside a bare server",
  takes: ["clients", "seconds"],
  run,
};
