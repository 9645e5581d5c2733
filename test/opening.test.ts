/** Opening many channels: so many a turn, in order, and none that is no longer wanted. */
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { test } from "node:test";
import { startBinanceVenue } from "../loadtest/venues/binance.ts";
import { Opening } from "../src/engine/opening.ts";
import type { Instrument } from "../src/market/instrument.ts";
import { listed, startGateway } from "./gateway.ts";
import { Probe } from "./serve.ts";

/** An opening whose turns the test ends. */
function bench() {
  const log: string[] = [];
  let planned: (() => void) | undefined;
  const opening = new Opening({
    open: ({ id }, channel) => log.push(`+${id} ${channel}`),
    close: ({ id }, channel) => log.push(`-${id} ${channel}`),
    later: (action) => {
      strictEqual(planned, undefined, "one turn is planned at a time");
      planned = action;
    },
  });
  const turn = () => {
    const action = planned;
    planned = undefined;
    action?.();
  };
  return { opening, log, turn, isPlanned: () => planned !== undefined };
}

const instrument = (id: number) => ({ id }) as Instrument;

test("a few are opened at once; more wait for later turns, in order", () => {
  const { opening, log, turn, isPlanned } = bench();
  opening.open(instrument(1), "trades");
  opening.open(instrument(1), "orderbook");
  deepStrictEqual(log, ["+1 trades", "+1 orderbook"]);
  for (let id = 2; id <= 100; id += 1) opening.open(instrument(id), "trades");
  const first = log.length;
  ok(first < 40 && opening.size === 101 - first);
  let before = first;
  while (opening.size > 0) {
    turn();
    ok(log.length > before && log.length - before <= first, "so many a turn");
    before = log.length;
  }
  deepStrictEqual(
    log.slice(2),
    Array.from({ length: 99 }, (_, index) => `+${index + 2} trades`),
  );
  turn();
  strictEqual(isPlanned(), false, "nothing runs while nothing waits");
  opening.open(instrument(500), "quotes");
  strictEqual(log.at(-1), "+500 quotes", "the next turn has its own");
});

test("what is closed while it waits is never opened; what is open is closed", () => {
  const { opening, log, turn } = bench();
  for (let id = 1; id <= 40; id += 1) opening.open(instrument(id), "trades");
  opening.close(instrument(40), "trades");
  opening.close(instrument(1), "trades");
  while (opening.size > 0) turn();
  ok(!log.includes("+40 trades") && !log.includes("-40 trades"));
  ok(log.includes("-1 trades"));
});

test("stopped, it opens nothing more", () => {
  const { opening, log, turn } = bench();
  for (let id = 1; id <= 40; id += 1) opening.open(instrument(id), "trades");
  const before = log.length;
  opening.stop();
  opening.open(instrument(99), "trades");
  turn();
  deepStrictEqual([log.length, opening.size], [before, 0]);
});

test("a client that names five hundred instruments gets every one, from its first state on", async () => {
  const venue = await startBinanceVenue({ instruments: 500, hold: true });
  const running = await startGateway(["--grace-ms=0"], { binance: venue });
  await listed(running, "SIM00500/USDT");
  const { catalog, states } = running.gateway.engine;
  const symbols = Array.from({ length: 500 }, (_, index) => `SIM${String(index + 1).padStart(5, "0")}/USDT`);
  const probe = await Probe.open(`${running.url}/stream`);
  const ack = await probe.subscribe(1, { symbols, channels: ["trades"] });
  strictEqual((ack.streams as unknown[]).length, symbols.length);
  const got = () => new Set(probe.messages("state").map(({ stream }) => stream));
  await probe.until(() => got().size === symbols.length, "the state of every stream");
  for (const { stream, seq } of probe.messages("state")) ok((seq as number) >= 1, `stream ${stream} from its start`);
  ok(symbols.every((symbol) => states.of((catalog.withSymbol(symbol)[0] as Instrument).id * 32 + 1) > 0));
  await probe.close();
  await running.stop();
  await venue.close();
});
