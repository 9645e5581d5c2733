import { namedInstruments } from "../flags.ts";
import { GatewayProcess } from "../gateway-process.ts";
import { residentBytes } from "../processor-time.ts";
import { Receiver } from "../receiver.ts";
import { count, mebibytes, median, micros, percent } from "../report.ts";
import { type Measurement, Rig, startSource, subscribed } from "../rig.ts";
import type { Context, Scenario } from "../scenario.ts";
import { unifiedSymbol } from "../source.ts";

const SECONDS = 120;
const WINDOW_SECONDS = 10;
const RATE = 5000;
const CLIENTS = 50;
const INSTRUMENTS = 50;
const WARM_UP_SECONDS = 10;
/** The ring and the history of bars are full early: what still grows then is something else. */
const FLAGS = ["--grace-ms", "86400000", "--ring-memory", "8", "--history-bars", "50"];

interface Window {
  residentBytes: number;
  measurement: Measurement;
}

/** The halves of what was seen window by window, and how far the second is from the first. */
function drift(windows: readonly Window[], pick: (window: Window) => number) {
  const half = Math.floor(windows.length / 2);
  const first = median(windows.slice(0, half).map(pick));
  const second = median(windows.slice(windows.length - half).map(pick));
  return { first, second, change: second / first - 1 };
}

const p99Of = ({ measurement }: Window) => measurement.reports[0]?.latencyUs.p99 ?? Number.NaN;

async function run(context: Context) {
  const { flags, progress, keep } = context;
  const { clients = CLIENTS, rate = RATE, seconds = SECONDS } = flags;
  const instruments = namedInstruments(flags, INSTRUMENTS);
  const source = keep(await startSource({ instruments, spread: "zipf", seed: flags.seed, mixed: false }));
  const gateway = keep(await GatewayProcess.start(source.info, FLAGS));
  const symbols = Array.from({ length: instruments }, (_, index) => unifiedSymbol(index));
  const receiver = keep(
    await Receiver.start({
      url: `${gateway.url}/stream?encoding=flatbuffers`,
      clients,
      form: "flatbuffers",
      send: [JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols })],
    }),
  );
  await subscribed(source, instruments);
  const rig = new Rig(source, gateway, [receiver]);
  progress("warm-up");
  // Short runs have short windows: two halves are needed in any case.
  const windowSeconds = Math.min(WINDOW_SECONDS, seconds / 2);
  const warmUp = await rig.measure({
    label: "warm-up",
    rate,
    seconds: Math.min(seconds, WARM_UP_SECONDS),
  });
  const losses = [...warmUp.losses];
  const windows: Window[] = [];
  for (let window = 1; window <= Math.floor(seconds / windowSeconds + 1e-9); window += 1) {
    const label = `${((window - 1) * windowSeconds).toFixed(0)} to ${(window * windowSeconds).toFixed(0)} s`;
    const measurement = await rig.measure({ label, rate, seconds: windowSeconds });
    windows.push({ residentBytes: residentBytes(gateway.pid), measurement });
    losses.push(...measurement.losses);
    const last = windows.at(-1) as Window;
    progress(`${label}: p99 ${micros(p99Of(last))}, ${mebibytes(last.residentBytes)}`);
  }
  losses.push(...(await rig.serverLosses()));
  const memory = drift(windows, (window) => window.residentBytes);
  const latency = drift(windows, p99Of);
  return {
    tables: [
      {
        title: `${count(rate)} trades/s over ${instruments} instruments, ${clients} clients`,
        columns: ["window", "p50", "p99", "max", "server memory", "server cpu", "receiver cpu", "source late p99"],
        rows: windows.map(({ measurement, residentBytes: bytes }) => {
          const [report] = measurement.reports as [Measurement["reports"][number]];
          const { p50, p99, max } = report.latencyUs;
          const { load, run: sourceRun } = measurement;
          const shares = [percent(load.server), percent(load.receiver)];
          return [
            load.label,
            micros(p50),
            micros(p99),
            micros(max),
            mebibytes(bytes),
            ...shares,
            micros(sourceRun.late.p99),
          ];
        }),
      },
      {
        title: "drift, medians of the halves",
        columns: ["", "first half", "second half", "change"],
        rows: [
          ["server memory", mebibytes(memory.first), mebibytes(memory.second), percent(memory.change)],
          ["p99", micros(latency.first), micros(latency.second), percent(latency.change)],
        ],
      },
    ],
    figures: {
      rate,
      seconds,
      clients,
      memory,
      p99Us: latency,
      windows: windows.map((window) => ({
        residentBytes: window.residentBytes,
        frames: window.measurement.reports[0]?.frames,
        lateUs: window.measurement.run.late,
        ...window.measurement.reports[0]?.latencyUs,
      })),
    },
    loads: windows.map(({ measurement }) => measurement.load),
    losses,
    notes: [
      "the ring has 8 MiB and a series 50 bars, so both are full within a minute: memory that grows on is a leak",
    ],
  };
}

export const soak: Scenario = {
  summary: "minutes of steady load: memory and p99 window by window, the second half against the first",
  takes: ["instruments", "clients", "rate", "seconds", "seed"],
  run,
};
