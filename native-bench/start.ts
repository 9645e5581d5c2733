import { type ChildProcess, fork } from "node:child_process";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { pino } from "pino";
import { startBinanceVenue } from "../loadtest/venues/binance.ts";
import { readConfig } from "../src/config.ts";
import { Gateway } from "../src/main.ts";

/** The argument that makes this program a venue with so many instruments, for `startWith`. */
export const VENUE = "--venue";

/** In a process of its own: a venue that lists so many instruments. Tells its addresses. */
export async function beVenue(instruments: number): Promise<void> {
  const venue = await startBinanceVenue({ instruments, hold: true });
  process.send?.({ ws: venue.wsUrl, rest: venue.restUrl });
}

/** How long a gateway takes to have the list of a venue with so many instruments, and its longest turn meanwhile. */
export interface Start {
  longestMs: number;
  totalMs: number;
}

/** Starts a gateway as the command line does, on a venue that lists so many instruments. */
export async function startWith(instruments: number): Promise<Start> {
  const venue: ChildProcess = fork(process.argv[1] as string, [VENUE, String(instruments)]);
  const { ws, rest } = await new Promise<{ ws: string; rest: string }>((resolve) => {
    venue.once("message", (urls) => resolve(urls as { ws: string; rest: string }));
  });
  const config = readConfig(["--feeds", "binance", "--port", "0"], { BINANCE_WS_URL: ws, BINANCE_REST_URL: rest });
  const gateway = new Gateway(config, pino({ level: "warn" }), "0");
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  // The monitor counts from its first look on.
  await pause(50);
  delay.reset();
  await pause(10);
  const begun = performance.now();
  await gateway.start();
  const { catalog } = gateway.engine;
  while (![...catalog.venues].every((each) => catalog.isLoaded(each))) await pause(1);
  const totalMs = performance.now() - begun;
  await pause(50);
  delay.disable();
  await gateway.stop();
  venue.kill();
  return { longestMs: delay.max / 1e6, totalMs };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
