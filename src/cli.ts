import { readFileSync, writeSync } from "node:fs";
import type { Config } from "./config.ts";
import { ConfigError, helpText, readConfig } from "./config.ts";
import { JOURNAL_USAGE, JournalUsageError, journalCommand } from "./journal/commands.ts";
import { Gateway } from "./main.ts";
import { inlineMore } from "./std/compiler.ts";
import { createLogger } from "./std/log.ts";
import { nearest } from "./std/nearest.ts";

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = { serve, record, journal };
const EXIT_USAGE = 2;

const USAGE = `usage: tickwire <command> [flags]

commands:
  serve              serve market data to WebSocket clients; tickwire serve --help explains the flags
  journal            list, verify or export what a journal holds; tickwire journal --help
  record DIR         write the market data of --feeds and --symbols to a journal, and serve nobody; flags as of serve

  --version, --help`;

function version(): string {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Says what is wrong in one line and ends the process. */
function fail(message: string): never {
  process.stderr.write(`tickwire: ${message}\n`);
  process.exit(EXIT_USAGE);
}

/** Runs one command line; returns once the command is under way. */
export async function run(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === "--version") return print(version());
  if (command === undefined || command === "--help" || command === "-h") return print(USAGE);
  const start = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
  if (start === undefined) {
    const near = nearest(command, Object.keys(COMMANDS));
    fail(`unknown command "${command}"${near === undefined ? "; see --help" : `: did you mean "${near}"?`}`);
  }
  if (rest.includes("--help") || rest.includes("-h")) return print(start === journal ? JOURNAL_USAGE : helpText());
  await start(rest);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function configOf(args: readonly string[]): Config {
  try {
    return readConfig(args, process.env);
  } catch (error) {
    if (error instanceof ConfigError) fail(error.message);
    throw error;
  }
}

async function serve(args: readonly string[]): Promise<void> {
  inlineMore();
  const config = configOf(args);
  const gateway = new Gateway(config, createLogger(config.logLevel), version());
  const started = await gateway.start();
  if ("error" in started) fail(started.error);
  stopOnSignal(gateway, config);
  // Whoever reads this line may stop the server at once.
  const address = `${config.host.includes(":") ? `[${config.host}]` : config.host}:${started.port}`;
  print(`tickwire ${version()} (${config.mode}: ${config.feeds.join(", ")}) on ws://${address}/stream`);
}

/** Writes a journal and serves nobody. */
async function record([directory, ...flags]: readonly string[]): Promise<void> {
  inlineMore();
  if (directory === undefined || directory.startsWith("-"))
    fail("record: name the folder first, as in record DIR --feeds …");
  const config = configOf([...flags, "--journal", directory]);
  if (config.symbols.length === 0) fail("record: name what to record, as in --symbols BTC/USDT");
  const gateway = new Gateway(config, createLogger(config.logLevel), version());
  const started = await gateway.start({ serving: false });
  if ("error" in started) fail(started.error);
  stopOnSignal(gateway, config);
  print(`tickwire ${version()} (${config.mode}: ${config.feeds.join(", ")}) records to ${directory}`);
}

/** Lists, verifies or exports a journal, which may be written meanwhile. */
async function journal(args: readonly string[]): Promise<void> {
  try {
    const write = (text: string) => void writeSync(1, text);
    process.exitCode = journalCommand(args, write, (text) => process.stderr.write(text));
  } catch (error) {
    // Whoever reads it may have enough before the end.
    if ((error as NodeJS.ErrnoException).code === "EPIPE") return;
    if (error instanceof JournalUsageError) fail(error.message);
    throw error;
  }
}

function stopOnSignal(gateway: Gateway, { logLevel }: Config): void {
  const log = createLogger(logLevel);
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, "stopping");
    gateway.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "the stop failed");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
}
