import { PerformanceObserver } from "node:perf_hooks";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { type WebSocket, WebSocketServer } from "ws";
import { openSocket } from "../src/feeds/socket.ts";
import { Pipeline } from "./pipeline.ts";
import { recordedOrSynthetic } from "./recorded-trade.ts";
import { advance } from "./workload.ts";

/** In a thread of its own, so that its garbage is not counted: sends the workload again and again. */
function serve(port: number, ticks: number): void {
  const source = recordedOrSynthetic();
  new WebSocketServer({ port, host: "127.0.0.1", perMessageDeflate: false }).on("connection", (socket: WebSocket) => {
    let sent = 0;
    const pump = () => {
      while (sent < ticks && socket.bufferedAmount < 1 << 20) {
        socket.send((source.messages[sent % source.messages.length] as { bytes: Buffer }).bytes.toString());
        sent += 1;
        if (sent % source.messages.length === 0) advance(source, 0, source.messages.length);
      }
      if (sent < ticks) setImmediate(pump);
    };
    pump();
  });
}

if (!isMainThread && workerData?.port !== undefined) serve(workerData.port, workerData.ticks);

/** Collections, and how long they took, with the WebSocket library in front of the path, over loopback. */
export async function throughSocket(ticks: number): Promise<{ collections: number; pauseMs: number }> {
  const port = 20_000 + (process.pid % 20_000);
  const worker = new Worker(new URL(import.meta.url), { workerData: { port, ticks } });
  const pipeline = new Pipeline(recordedOrSynthetic());
  let collections = 0;
  let pauseMs = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      collections += 1;
      pauseMs += entry.duration;
    }
  });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  observer.observe({ entryTypes: ["gc"] });
  let received = 0;
  await new Promise<void>((resolve) => {
    openSocket(`ws://127.0.0.1:${port}`, {
      onOpen() {},
      onMessage(bytes) {
        pipeline.parser.parse(bytes);
        received += 1;
        if (received === ticks) resolve();
      },
      onPing() {},
      onClose() {},
    });
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  observer.disconnect();
  await worker.terminate();
  return { collections, pauseMs };
}
