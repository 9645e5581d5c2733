import type { ServerInfo } from "./baselines/listening.ts";
import { Child } from "./child.ts";
import { FanoutProcess } from "./fanout-process.ts";
import type { PipelineInfo } from "./pipeline-server.ts";
import type { ReceiverOptions } from "./receiver.ts";
import { nativeMissing } from "./receiver-programs.ts";
import type { Context } from "./scenario.ts";

/** A server that makes its own load, as fast as its clients read, and how a client connects to it. */
export interface FanoutKind {
  name: string;
  pid: number;
  client: Omit<ReceiverOptions, "clients">;
  start(): Promise<void>;
  /** Stops; resolves to the events published since the start. */
  stop(): Promise<number>;
  /** What it knows to be lost. */
  losses(): Promise<string[]>;
}

const SUBSCRIBE = JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: ["*"] });

function kindOf(name: string, child: Child, client: FanoutKind["client"], losses: FanoutKind["losses"]): FanoutKind {
  return {
    name,
    pid: child.pid,
    client,
    start: async () => void (await child.call("start")),
    stop: () => child.call<number>("stop"),
    losses,
  };
}

const none = async () => [];

async function pipelineKind(context: Context): Promise<FanoutKind> {
  const child = context.keep(await Child.start<PipelineInfo>("pipeline", {}));
  const { url, symbol, workload } = child.info;
  const request = JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: [symbol] });
  const losses = async () => {
    const { published, unscanned } = await child.call<{ published: number; unscanned: number }>("lost");
    return [
      ...(published > 0 ? [`full pipeline: ${published} frames overwritten before they were published`] : []),
      ...(unscanned > 0 ? [`full pipeline: ${unscanned} messages were not scanned`] : []),
    ];
  };
  const client = { url: `${url}/stream?encoding=flatbuffers`, form: "flatbuffers" as const, send: [request] };
  return kindOf(`full pipeline (${workload})`, child, client, losses);
}

async function simpleKind(
  context: Context,
  name: string,
  role: string,
  form: "flatbuffers" | "json",
): Promise<FanoutKind> {
  const child = context.keep(await Child.start<ServerInfo>(role, {}));
  return kindOf(name, child, { url: `${child.info.url}/`, form, send: [SUBSCRIBE] }, none);
}

async function nativeKind(context: Context): Promise<FanoutKind> {
  const fanout = context.keep(await FanoutProcess.start());
  return {
    name: "C++",
    pid: fanout.pid,
    client: { url: `ws://127.0.0.1:${fanout.port}/`, form: "flatbuffers", send: [SUBSCRIBE] },
    start: () => fanout.publish(),
    stop: () => fanout.pause(),
    losses: none,
  };
}

/** The full pipeline first, then what it is compared with; and why something is missing among that. */
export async function startKinds(context: Context): Promise<{ kinds: FanoutKind[]; notes: string[] }> {
  const missing = await nativeMissing();
  const kinds = [
    await pipelineKind(context),
    await simpleKind(context, "bare uWebSockets.js", "bare-publish", "flatbuffers"),
    ...(missing === undefined ? [await nativeKind(context)] : []),
    await simpleKind(context, "ws + JSON", "ws-json", "json"),
  ];
  return { kinds, notes: missing === undefined ? [] : [`the C++ server is left out: ${missing}`] };
}
