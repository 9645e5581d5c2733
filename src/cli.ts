import { readFileSync } from "node:fs";
import { ConfigError, helpText, readConfig } from "./config.ts";
import { Gateway } from "./main.ts";
import { inlineMore } from "./std/compiler.ts";
import { createLogger } from "./std/log.ts";
import { nearest } from "./std/nearest.ts";

const COMMANDS = ["serve"] as const;
const EXIT_USAGE = 2;

const USAGE = `usage: tickwire <command> [flags]

commands:
  serve    serve market data to WebSocket clients; tickwire serve --help explains the flags

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
  if (!(COMMANDS as readonly string[]).includes(command)) {
    const near = nearest(command, COMMANDS);
    fail(`unknown command "${command}"${near === undefined ? "; see --help" : `: did you mean "${near}"?`}`);
  }
  if (rest.includes("--help") || rest.includes("-h")) return print(helpText());
  await serve(rest);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function serve(args: readonly string[]): Promise<void> {
  inlineMore();
  let config: ReturnType<typeof readConfig>;
  try {
    config = readConfig(args, process.env);
  } catch (error) {
    if (error instanceof ConfigError) fail(error.message);
    throw error;
  }
  const log = createLogger(config.logLevel);
  const gateway = new Gateway(config, log, version());
  const started = await gateway.start();
  if ("error" in started) fail(started.error);
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
  // Whoever reads this line may stop the server at once.
  const address = `${config.host.includes(":") ? `[${config.host}]` : config.host}:${started.port}`;
  print(`tickwire ${version()} (${config.mode}: ${config.feeds.join(", ")}) on ws://${address}/stream`);
}
