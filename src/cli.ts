import { readFileSync, writeSync } from "node:fs";
import type { Config, ReplaySettings } from "./config.ts";
import { ConfigError, helpText, readConfig } from "./config.ts";
import { DUMP_USAGE, DumpUsageError, dumpCommand } from "./dump.ts";
import { JOURNAL_USAGE, JournalUsageError, journalCommand } from "./journal/commands.ts";
import { epochsOf } from "./journal/past.ts";
import { Gateway } from "./main.ts";
import { Replay } from "./replay.ts";
import { inlineMore } from "./std/compiler.ts";
import { createLogger } from "./std/log.ts";
import { nearest } from "./std/nearest.ts";

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  serve,
  record,
  replay,
  journal,
  dump,
};
const EXIT_USAGE = 2;

const USAGE = `usage: tickwire <command> [flags]

commands:
  serve              serve market data to WebSocket clients; tickwire serve --help explains the flags
  journal            list, verify or export what a journal holds; tickwire journal --help
  record DIR         write the market data of --feeds and --symbols to a journal, and serve nobody; flags as of serve
  replay DIR         serve what a journal holds, as it was written: --speed 1|10|max --from --to --recompute --paced, and
                     those flags of serve that are not about feeds
  dump               write what a running server's window holds as JSON lines: --last 5m --url ws://localhost:8080

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
  if (rest.includes("--help") || rest.includes("-h")) return print(helpOf(start));
  await start(rest);
}

function helpOf(command: unknown): string {
  return command === journal ? JOURNAL_USAGE : command === dump ? DUMP_USAGE : helpText();
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
  if (config.replay !== undefined) return replayJournal(config, config.replay);
  const gateway = new Gateway(config, createLogger(config.logLevel), version());
  const started = await gateway.start();
  if ("error" in started) fail(started.error);
  stopOnSignal(gateway, config);
  // Whoever reads this line may stop the server at once.
  const address = addressOf(config, started.port);
  print(`tickwire ${version()} (${config.mode}: ${config.feeds.join(", ")}) on ws://${address}/stream`);
}

function addressOf({ host }: Config, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
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

/**
 * Serves what a journal holds, one epoch after the other: between two the clients are sent away and come back, as they
 * were when the server was started anew.
 */
async function replay([directory, ...flags]: readonly string[]): Promise<void> {
  if (directory === undefined || directory.startsWith("-"))
    fail("replay: name the folder first, as in replay DIR --speed 10");
  const config = configOf([...flags, "--replay", directory]);
  await replayJournal(config, config.replay as ReplaySettings);
}

async function replayJournal(config: Config, settings: ReplaySettings): Promise<void> {
  const log = createLogger(config.logLevel);
  const epochs = epochsToReplay(settings);
  const mayPlay = programIsReady();
  let { port } = config;
  for (const [index, epoch] of epochs.entries()) {
    const replay = new Replay(config, settings, epoch, log, version(), mayPlay);
    const started = await replay.start(port);
    if ("error" in started) fail(started.error);
    if (process.connected) await replay.ready;
    stopOnSignal(replay, config);
    const played = `the journal ${settings.directory}, epoch ${epoch}`;
    if (index === 0)
      print(`tickwire ${version()} (replay: ${played}) on ws://${addressOf(config, started.port)}/stream`);
    port = started.port;
    const frames = await replay.ended;
    log.info({ epoch, frames }, "played");
    const isLast = index === epochs.length - 1;
    // What was played stays to be looked at.
    if (isLast && !settings.paced) return;
    await replay.drained();
    await replay.stop();
  }
  process.exit(0);
}

/** Whether the program that started this for itself, if one did, has said that it is ready. */
function programIsReady(): () => boolean {
  let isReady = !process.connected;
  if (!isReady) {
    process.once("message", () => {
      isReady = true;
    });
  }
  return () => isReady;
}

/** The epochs that have a part in what is to be replayed, oldest first. */
function epochsToReplay({ directory, epoch, fromTime, toTime }: ReplaySettings): number[] {
  let all: { epoch: number; from: number }[] = [];
  try {
    all = epochsOf(directory);
  } catch (error) {
    fail(`replay ${directory}: ${(error as Error).message}`);
  }
  const wanted = all.filter((each, index) => {
    const until = all[index + 1]?.from ?? Number.POSITIVE_INFINITY;
    return (epoch === undefined || each.epoch === epoch) && each.from <= toTime && until >= fromTime;
  });
  if (wanted.length > 0) return wanted.map((each) => each.epoch);
  fail(
    `replay ${directory}: ${all.length === 0 ? "there is no journal in it" : "it has nothing of what was asked for"}`,
  );
}

/** Writes what a running server's window holds. */
async function dump(args: readonly string[]): Promise<void> {
  try {
    const write = (text: string) => void writeSync(1, text);
    process.exitCode = await dumpCommand(args, write, (text) => process.stderr.write(text), process.env.TICKWIRE_TOKEN);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPIPE") process.exit(0);
    if (error instanceof DumpUsageError) fail(error.message);
    throw error;
  }
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

function stopOnSignal(gateway: { stop(): Promise<void> }, { logLevel }: Config): void {
  const log = createLogger(logLevel);
  process.removeAllListeners("SIGTERM").removeAllListeners("SIGINT").removeAllListeners("disconnect");
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
  // A program that started it for itself is gone.
  if (process.connected) process.on("disconnect", () => stop("disconnect"));
}
