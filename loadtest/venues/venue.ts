import { parseArgs } from "node:util";
import { startBinanceVenue } from "./binance.ts";
import { startCoinbaseVenue } from "./coinbase.ts";
import type { DoubleOptions } from "./double.ts";

const HELP = `Serves a venue's own protocol on loopback, from a recorded capture or a simulated market.

  npm run venue -- binance|coinbase [options]

  --capture FILE     gzipped capture to play; repeat it for several, played as one run
  --port P           default: any free port
  --host HOST        default: 127.0.0.1
  --speed S          1 (recorded pace, default), any factor, or max
  --hold             wait for POST /control/play
  --instruments N    binance: list N invented symbols besides
  --ping-interval MS milliseconds between the venue's pings, default 20000
without --capture, a simulated market:
  --seed N           default 1
  --rate N           messages a second over all symbols, default 1000
  --symbols N        default 4
  --mix KIND=N,...   shares of trade, bookTicker and depth, default trade=5,bookTicker=4,depth=1

While it runs: POST /control/<fault>?name=value, /control/play, /control/pause, /control/speed?to=2, /control/clear,
GET /control/stats.`;

const VENUES = { binance: startBinanceVenue, coinbase: startCoinbaseVenue };

class UsageError extends Error {}

async function main(): Promise<void> {
  const { values, positionals } = readFlags();
  if (values.help) {
    console.log(HELP);
    return;
  }
  const [name] = positionals;
  if (positionals.length !== 1 || !(name === "binance" || name === "coinbase")) {
    throw new UsageError(`name one venue, ${Object.keys(VENUES).join(" or ")}; got ${positionals.join(" ") || "none"}`);
  }
  const options: DoubleOptions & { instruments?: number } = {
    captures: values.capture ?? [],
    port: wholeNumber("port", values.port, 0, 65_535) ?? 0,
    host: values.host ?? "127.0.0.1",
    speed: speedOf(values.speed),
    hold: values.hold ?? false,
    instruments: wholeNumber("instruments", values.instruments, 0, 100_000) ?? 0,
    pingIntervalMs: wholeNumber("ping-interval", values["ping-interval"], 1, 3_600_000) ?? 20_000,
    seed: wholeNumber("seed", values.seed, 0, 0xffff_ffff) ?? 1,
    rate: wholeNumber("rate", values.rate, 1, 10_000_000) ?? 1000,
    symbols: wholeNumber("symbols", values.symbols, 1, 20_000) ?? 4,
    ...(values.mix === undefined ? {} : { mix: mixOf(values.mix) }),
  };
  const venue = await VENUES[name](options);
  const environment = name.toUpperCase();
  // Whoever reads the addresses may stop the venue at once.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void venue.close());
  console.log(
    `${name} on ${options.host}:${venue.port}  ${environment}_WS_URL=${venue.wsUrl} ${environment}_REST_URL=${venue.restUrl}`,
  );
}

function readFlags() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        capture: { type: "string", multiple: true },
        port: { type: "string" },
        host: { type: "string" },
        speed: { type: "string" },
        hold: { type: "boolean" },
        instruments: { type: "string" },
        "ping-interval": { type: "string" },
        seed: { type: "string" },
        rate: { type: "string" },
        symbols: { type: "string" },
        mix: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message.split("\n")[0]);
  }
}

function wholeNumber(flag: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new UsageError(`--${flag} takes a whole number from ${least} to ${most}, not ${text}`);
  }
  return value;
}

function speedOf(text: string | undefined): number {
  if (text === undefined) return 1;
  if (text === "max") return Number.POSITIVE_INFINITY;
  const speed = Number(text);
  if (!(speed > 0 && Number.isFinite(speed)))
    throw new UsageError(`--speed takes a factor above 0 or max, not ${text}`);
  return speed;
}

function mixOf(text: string): NonNullable<DoubleOptions["mix"]> {
  const mix: NonNullable<DoubleOptions["mix"]> = {};
  for (const share of text.split(",")) {
    const [, kind, parts] = /^(trade|bookTicker|depth)=(\d{1,4})$/.exec(share) ?? [];
    if (kind === undefined) throw new UsageError(`--mix takes trade=N,bookTicker=N,depth=N, not ${text}`);
    mix[kind as keyof typeof mix] = Number(parts);
  }
  return mix;
}

try {
  await main();
} catch (error) {
  console.error(`venue: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
