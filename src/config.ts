import { parseArgs } from "node:util";
import { FEED_NAMES, isSimulated } from "./feeds/index.ts";
import { isoMicros } from "./journal/commands.ts";
import { TIMEFRAMES, timeframeIndex } from "./market/timeframe.ts";
import { OPTIONS, type Option, SWITCHES } from "./options.ts";
import { isLoopback } from "./server/access.ts";
import type { ServerLimits } from "./server/services.ts";
import { nearest } from "./std/nearest.ts";

/** What a user got wrong: one clear line, exit code 2. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Each is some thirty series for whoever scrapes them. */
const MAX_METRICS_SYMBOLS = 100;

/** Which part of a journal is played, and how. */
export interface ReplaySettings {
  directory: string;
  speed: number;
  /** First and last time, microseconds. */
  fromTime: number;
  toTime: number;
  /** The only epoch; undefined for all. */
  epoch: number | undefined;
  recompute: boolean;
  paced: boolean;
}

export interface Config {
  readonly port: number;
  readonly host: string;
  readonly feeds: readonly string[];
  readonly mode: "live" | "simulated" | "replay";
  /** Upper case, or "*". */
  readonly symbols: readonly string[];
  readonly seed: number;
  readonly recording: { files: readonly string[]; venue: "binance" | "coinbase"; speed: number; repeat: number };
  readonly urls: Readonly<Record<string, { ws: string | undefined; rest: string | undefined }>>;
  readonly require: readonly string[];
  readonly origins: readonly string[];
  readonly anyHost: boolean;
  readonly ringBytes: number;
  /** Undefined without one. */
  readonly journal:
    | { directory: string; sync: "never" | "interval" | "every"; maxBytes: number; maxAgeMs: number }
    | undefined;
  /** A journal that is played; undefined where there are feeds. */
  readonly replay: ReplaySettings | undefined;
  readonly limits: ServerLimits;
  readonly timeframes: readonly number[];
  readonly historyBars: number;
  readonly lateMicros: number;
  readonly graceMs: number;
  readonly quietMicros: number;
  readonly staleMicros: number;
  /** Upper case. */
  readonly metricsSymbols: readonly string[];
  readonly logLevel: string;
}

type Name = keyof typeof OPTIONS;
type SwitchName = keyof typeof SWITCHES;

/** Reads flags and environment into one frozen Config; throws a ConfigError. */
export function readConfig(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Config {
  const given = readFlags(args);
  // A variable that is set to nothing is as good as not set: that is how containers leave one out.
  const text = (name: Name): string => given.values[name] ?? (env[OPTIONS[name].env] || OPTIONS[name].fallback);
  const list = (name: Name): string[] => splitList(text(name));
  const number = (name: Name, low: number, high: number): number => readNumber(name, text(name), low, high);
  const host = text("host");
  const isOn = (name: SwitchName): boolean =>
    given.switches.has(name) || ["1", "true", "yes"].includes((env[SWITCHES[name].env] ?? "").toLowerCase());
  if (!isLoopback(host) && !isOn("insecure")) {
    throw new ConfigError(
      `--host ${host} is not loopback and clients are not authenticated: add --insecure to allow it`,
    );
  }
  const feeds = readFeeds(list("feeds"));
  const replay = readReplay(text, isOn);
  const mode =
    replay || feeds.includes("recording") ? "replay" : isSimulated(feeds[0] as string) ? "simulated" : "live";
  const symbols = list("symbols").map((symbol) => symbol.toUpperCase());
  const files = list("recording");
  if (feeds.includes("recording") && files.length === 0)
    throw new ConfigError("--feeds recording needs --recording FILE");
  return Object.freeze({
    port: number("port", 0, 65535),
    host,
    feeds,
    mode,
    // A market that is there only to be looked at is always on.
    symbols: symbols.length === 0 && mode !== "live" ? ["*"] : symbols,
    seed: number("seed", 0, 2 ** 32 - 1),
    recording: {
      files,
      venue: oneOf("recording-venue", text("recording-venue"), ["binance", "coinbase"]) as "binance" | "coinbase",
      speed: readSpeed(text("speed")),
      repeat: number("repeat", 1, 1e6),
    },
    urls: {
      binance: {
        ws: readUrl(env, "BINANCE_WS_URL", ["ws:", "wss:"]),
        rest: readUrl(env, "BINANCE_REST_URL", ["http:", "https:"]),
      },
      coinbase: {
        ws: readUrl(env, "COINBASE_WS_URL", ["ws:", "wss:"]),
        rest: readUrl(env, "COINBASE_REST_URL", ["http:", "https:"]),
      },
    },
    require: readRequired(list("require"), feeds),
    origins: list("origins").map(readOrigin),
    anyHost: !isLoopback(host),
    ringBytes: number("ring-memory", 4, 65536) * 2 ** 20,
    journal: readJournal(text, number),
    replay,
    limits: {
      messageBytes: 64 * 1024,
      subscriptions: 256,
      namedStreams: 4096,
      controlMessagesPerSecond: 50,
      controlMessageBurst: 200,
      connections: number("max-connections", 1, 1e6),
      connectionsPerAddress: number("max-per-address", 1, 1e6),
      queueBytes: number("max-queue", 1, 65536) * 1024,
      allQueuesBytes: number("max-memory", 1, 65536) * 2 ** 20,
    },
    timeframes: list("timeframes").map(readTimeframe),
    historyBars: number("history-bars", 50, 100_000),
    lateMicros: number("late-ms", 0, 1000) * 1000,
    graceMs: number("grace-ms", 0, 86_400_000),
    quietMicros: number("quiet-ms", 1, 3_600_000) * 1000,
    staleMicros: number("stale-ms", 1, 3_600_000) * 1000,
    metricsSymbols: readMetricsSymbols(list("metrics-symbols")),
    logLevel: oneOf("log-level", text("log-level"), ["fatal", "error", "warn", "info", "debug", "silent"]),
  });
}

interface Flags {
  values: Partial<Record<Name, string>>;
  switches: ReadonlySet<string>;
}

function readFlags(args: readonly string[]): Flags {
  const options: Record<string, { type: "string" | "boolean" }> = {};
  for (const name of Object.keys(OPTIONS)) options[name] = { type: "string" };
  for (const name of Object.keys(SWITCHES)) options[name] = { type: "boolean" };
  const unknown = args.find(
    (arg) => arg.startsWith("-") && !Object.hasOwn(options, arg.replace(/^--?/, "").split("=")[0] as string),
  );
  if (unknown !== undefined) {
    const near = nearest(unknown.replace(/^--?/, "").split("=")[0] as string, Object.keys(options));
    throw new ConfigError(
      `unknown flag ${unknown}${near === undefined ? "; see --help" : `: did you mean --${near}?`}`,
    );
  }
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (positionals.length > 0) throw new ConfigError(`unexpected argument "${positionals[0]}"; see --help`);
    const switches = new Set(Object.keys(SWITCHES).filter((name) => values[name] === true));
    return { values: values as Partial<Record<Name, string>>, switches };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError((error as Error).message.split("\n")[0] as string);
  }
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function readJournal(
  text: (name: Name) => string,
  number: (name: Name, low: number, high: number) => number,
): Config["journal"] {
  const sync = oneOf("journal-sync", text("journal-sync"), ["never", "interval", "every"]) as "interval";
  const maxBytes = number("journal-max-gb", 1, 1e6) * 1e9;
  const maxAgeMs = number("journal-max-hours", 1, 1e6) * 3600e3;
  const directory = text("journal");
  return directory === "" ? undefined : { directory, sync, maxBytes, maxAgeMs };
}

function readReplay(text: (name: Name) => string, isOn: (name: SwitchName) => boolean): ReplaySettings | undefined {
  const directory = text("replay");
  const given = (["from", "to", "epoch"] as const).find((name) => text(name) !== "");
  if (directory === "" && given !== undefined) throw new ConfigError(`--${given} is for a replay: tickwire replay DIR`);
  if (directory === "") return undefined;
  const time = (name: "from" | "to", fallback: number): number => {
    const micros = text(name) === "" ? fallback : isoMicros(text(name));
    if (micros !== undefined) return micros;
    throw new ConfigError(`--${name} is a time such as 2026-11-21 or 2026-11-21T12:00:00Z, not "${text(name)}"`);
  };
  const fromTime = time("from", 0);
  const toTime = time("to", Number.POSITIVE_INFINITY);
  if (toTime < fromTime) throw new ConfigError("--to lies before --from");
  if (!/^\d{0,16}$/.test(text("epoch"))) throw new ConfigError(`--epoch is a number, not "${text("epoch")}"`);
  const epoch = text("epoch") === "" ? undefined : Number(text("epoch"));
  const [recompute, paced] = [isOn("recompute"), isOn("paced")];
  return { directory, speed: readSpeed(text("speed")), fromTime, toTime, epoch, recompute, paced };
}

function readSpeed(text: string): number {
  return text === "max" ? Number.POSITIVE_INFINITY : readReal("speed", text, 0.001, 1e6);
}

function readReal(name: Name, text: string, low: number, high: number): number {
  const value = Number(text);
  if (/^-?\d+(\.\d+)?$/.test(text) && value >= low && value <= high) return value;
  throw new ConfigError(`--${name} (${OPTIONS[name].env}) is a number from ${low} to ${high}, not "${text}"`);
}

function readNumber(name: Name, text: string, low: number, high: number): number {
  const value = readReal(name, text, low, high);
  if (Number.isInteger(value)) return value;
  throw new ConfigError(`--${name} (${OPTIONS[name].env}) is a whole number, not "${text}"`);
}

function oneOf(name: Name, text: string, values: readonly string[]): string {
  if (values.includes(text)) return text;
  throw new ConfigError(`--${name} (${OPTIONS[name].env}) is one of ${values.join(", ")}, not "${text}"`);
}

function readFeeds(names: readonly string[]): string[] {
  const feeds = [...new Set(names.flatMap((name) => (name === "simulated" ? ["sim-a", "sim-b"] : [name])))];
  if (feeds.length === 0) throw new ConfigError("--feeds names no source");
  for (const name of feeds) {
    if (FEED_NAMES.includes(name)) continue;
    const near = nearest(name, ["simulated", ...FEED_NAMES]);
    const hint = near === undefined ? `one of simulated, ${FEED_NAMES.join(", ")}` : `did you mean "${near}"?`;
    throw new ConfigError(`unknown feed "${name}": ${hint}`);
  }
  const kinds = new Set(
    feeds.map((name) => (name === "recording" ? "recorded" : isSimulated(name) ? "simulated" : "live")),
  );
  if (kinds.size > 1) throw new ConfigError(`${[...kinds].join(" and ")} feeds do not mix in one server`);
  return feeds;
}

function readRequired(names: readonly string[], feeds: readonly string[]): string[] {
  const missing = names.find((name) => !feeds.includes(name));
  if (missing !== undefined)
    throw new ConfigError(`--require ${missing}: it is not among the feeds ${feeds.join(", ")}`);
  return [...names];
}

function readMetricsSymbols(symbols: readonly string[]): string[] {
  if (symbols.length <= MAX_METRICS_SYMBOLS && !symbols.includes("*")) return symbols.map((each) => each.toUpperCase());
  throw new ConfigError(`--metrics-symbols takes at most ${MAX_METRICS_SYMBOLS} symbols by name`);
}

function readOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.origin === text.toLowerCase().replace(/\/$/, "")) {
    return url.origin;
  }
  throw new ConfigError(`--origins: "${text}" is no origin such as https://desk.example or http://desk.example:8080`);
}

function readTimeframe(name: string): number {
  const index = timeframeIndex(name);
  if (index >= 0) return index;
  throw new ConfigError(`--timeframes: "${name}" is none of ${TIMEFRAMES.join(", ")}`);
}

function readUrl(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  protocols: readonly string[],
): string | undefined {
  const text = env[name];
  if (text === undefined || text === "") return undefined;
  const protocol = URL.canParse(text) ? new URL(text).protocol : "";
  if (protocols.includes(protocol)) return text.replace(/\/$/, "");
  throw new ConfigError(`${name} is not a URL of ${protocols.join(" or ")}: "${text}"`);
}

/** The help of `tickwire serve`. */
export function helpText(): string {
  const rows = Object.entries<Option>(OPTIONS).map(([name, { value, env, fallback, help }]) => {
    const left = `  --${name} ${value ?? ""}`.padEnd(28);
    return `${left} ${help} [${env}${fallback === "" ? "" : `, ${fallback}`}]`;
  });
  const switches = Object.entries(SWITCHES).map(
    ([name, { env, help }]) => `${`  --${name}`.padEnd(28)} ${help} [${env}]`,
  );
  return [
    "usage: tickwire serve [flags]",
    "",
    "Serves market data to WebSocket clients. In brackets: the environment variable of a flag, and its default.",
    "",
    ...rows,
    ...switches,
    "",
    "Endpoints of venues can be overridden: BINANCE_WS_URL, BINANCE_REST_URL, COINBASE_WS_URL, COINBASE_REST_URL.",
  ].join("\n");
}
