/** The server is ended and started again on its journal: a client's bars are the server's, and each closes once. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type BarRow, connect, type LiveBars } from "../src/client/index.ts";
import { eventually } from "./gateway.ts";
import { freePort, ServerProcess } from "./server-process.ts";

interface RestBar {
  open_time: number;
  close: number;
  volume: number;
  trade_count: number;
  indicators: Record<string, Record<string, number | boolean | null>>;
}

/** A server that was started again computes from another beginning: the last digits of an average may differ. */
function isEqual(own: unknown, other: unknown): boolean {
  if (typeof own !== "number" || typeof other !== "number") return own === other;
  return Object.is(own, other) || Math.abs(own - other) <= 1e-6;
}

/** What the two have both, and where they differ. */
async function compare(http: string, bars: LiveBars): Promise<{ common: number; different: string[] }> {
  const response = await fetch(`${http}/bars?symbol=BTC/USDT&exchange=sim-a&timeframe=1s&limit=1000`);
  const rows = new Map(bars.last(1000).map((row): [number, BarRow] => [row.openTime / 1000, row]));
  const first = Math.min(...rows.keys());
  const different: string[] = [];
  let common = 0;
  for (const bar of (await response.json()) as RestBar[]) {
    const row = rows.get(bar.open_time);
    if (row === undefined) {
      if (bar.open_time > first) different.push(`${bar.open_time} is missing`);
      continue;
    }
    common += 1;
    const { value, ready } = bar.indicators["hma(9)"] as Record<string, number | boolean | null>;
    const own = [row.close, row.volume, row.tradeCount, row.hull.value, row.hull.ready];
    const theirs = [bar.close, bar.volume, bar.trade_count, value ?? Number.NaN, ready];
    if (!own.every((each, index) => isEqual(each, theirs[index]))) different.push(`${bar.open_time}: ${own} ${theirs}`);
  }
  return { common, different };
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`${signal}: bars and indicators are those of the server that was started again`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "tickwire-client-bars-"));
    const port = freePort();
    const start = async () => {
      const server = new ServerProcess(["serve", "--port", String(port), "--journal", directory]);
      await server.listening();
      return server;
    };
    let server = await start();
    const reconnect = { baseMs: 20, maxMs: 100 };
    const client = await connect(`ws://127.0.0.1:${port}`, { heartbeatMs: 250, reconnect });
    t.after(async () => {
      await client.close();
      if (server.process.exitCode === null && server.process.signalCode === null) await server.end("SIGKILL");
      rmSync(directory, { recursive: true });
    });
    // Asked for first, so that this start numbers indicators in another way than the next one.
    const other = await client.bars("BTC/USDT", "1s", { exchange: "sim-b", indicators: { hull: "hma(7)" } });
    const bars = await client.bars("BTC/USDT", "1s", { exchange: "sim-a", indicators: { hull: "hma(9)" } });
    await other.stop();
    const closed: number[] = [];
    const late = new Set<number>();
    bars.on("closed", ({ openTime }) => closed.push(openTime));
    bars.on("corrected", ({ openTime }) => late.add(openTime));
    await eventually(() => closed.length >= 2, "bars of the first start");
    await server.end(signal);
    await eventually(() => !bars.state.live, "the loss to be known");
    server = await start();
    await eventually(
      () => bars.state.live,
      () => `the return: ${JSON.stringify([bars.state, client.isConnected, client.stats])}`,
    );
    const before = closed.length;
    await eventually(() => closed.length >= before + 3, "bars of the second start");
    const http = `http://127.0.0.1:${port}`;
    const found = { common: 0, different: ["nothing was compared"] };
    // What closes between the two looks is in one of them only.
    for (let round = 0; round < 20 && found.different.length > 0; round += 1)
      Object.assign(found, await compare(http, bars));
    t.diagnostic(`${found.common} bars equal, ${closed.length} closed`);
    assert.deepEqual(found.different, []);
    assert.ok(found.common >= 5);
    assert.deepEqual(
      closed,
      [...new Set(closed)].sort((a, b) => a - b),
      "each once, in order",
    );
    const told = new Set([...closed, ...late]);
    const untold = bars
      .last(1000)
      .filter(({ state, openTime }) => state !== "building" && openTime >= (closed[0] as number))
      .filter(({ openTime }) => !told.has(openTime) && openTime <= (closed.at(-1) as number));
    assert.deepEqual(untold, [], "none was left out, but for late ones, which are corrections");
  });
}
