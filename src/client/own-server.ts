import { TickwireError } from "./errors.ts";

/** Which part of a journal is replayed, and how. */
export interface JournalOptions {
  /** The journal's folder. */
  journal: string;
  /** ISO 8601; the whole journal by default. */
  from?: string;
  to?: string;
  /** 1 is the pace at which it was written; "max" (default) is as fast as the program reads. */
  speed?: number | "max";
  /**
   * Bars and indicators are made anew from the venues' events, whatever was asked for at the time; default true. False gives
   * the stored frames as they were, and of indicators those that every server computes.
   */
  recompute?: boolean;
}

/** An engine of this program's own: flags of `tickwire serve` in camelCase; those that are not listed are taken too. */
export interface EmbeddedOptions {
  /** `sim-a`, `binance`, …; default the simulated market. */
  feeds?: string | readonly string[];
  /** Instruments kept subscribed from the start. */
  symbols?: string | readonly string[];
  timeframes?: string | readonly string[];
  seed?: number;
  /** How late a trade may be and still be part of its bar, milliseconds. */
  lateMs?: number;
  /** A folder to keep a journal in. */
  journal?: string;
  readonly [flag: string]: string | number | boolean | readonly string[] | undefined;
}

/** How long a server has to stop, milliseconds. */
const STOP_MS = 5_000;

/** A server of this program's own. */
export interface OwnServer {
  readonly url: string;
  /** Resolves when it has ended; with an error when that was neither this program's doing nor a journal's end. */
  readonly ended: Promise<TickwireError | undefined>;
  /** Begins what is replayed. */
  play(): void;
  stop(): void;
}

/** Starts `tickwire replay` beside this program. Node only, and of the same installation. */
export async function openJournalServer(options: JournalOptions): Promise<OwnServer> {
  const { journal, from, to, speed = "max", recompute = true } = options;
  if (journal === "") throw new TickwireError("bad_option", "journal is a folder, not an empty text");
  return start(["replay", journal, ...flagsOf({ paced: true, speed, from, to, recompute })], true);
}

/** Starts `tickwire serve` beside this program: its venues, books and bars have a core of their own. Node only. */
export function openEmbeddedServer(options: EmbeddedOptions): Promise<OwnServer> {
  return start(["serve", ...flagsOf(options)], false);
}

/** `{ lateMs: 250 }` as `--late-ms=250`. */
function flagsOf(options: EmbeddedOptions): string[] {
  const flags: string[] = [];
  const given: EmbeddedOptions = { logLevel: "warn", ...options, port: 0 };
  for (const [name, value] of Object.entries(given)) {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === true) flags.push(flag);
    else if (value !== undefined && value !== false) flags.push(`${flag}=${String(value)}`);
  }
  return flags;
}

/** `hasEnd`: it ends by itself, and that is no error. */
async function start(args: readonly string[], hasEnd: boolean): Promise<OwnServer> {
  const { spawn, program } = await surroundings();
  // By the channel a replay is told when to begin; and a server whose program is gone, which closes it, ends as well.
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe", "ipc"] });
  let said = "";
  let wrong = "";
  let url: string | undefined;
  let isStopped = false;
  let killing: ReturnType<typeof setTimeout> | undefined;
  child.stderr?.on("data", (data: Uint8Array) => {
    wrong = (wrong + String(data)).slice(-4096);
  });
  const ended = new Promise<TickwireError | undefined>((resolve) => {
    // It could not be started, or told something: without a listener that would end this program.
    child.on("error", (cause) => {
      if (child.pid === undefined) resolve(new TickwireError("not_here", `no server: ${cause.message}`, { cause }));
    });
    child.once("exit", (code, signal) => {
      clearTimeout(killing);
      const why = wrong.trim().replace(/^tickwire: /, "") || `tickwire ${args[0]} ended with ${code ?? signal}`;
      // What cannot be started as it was asked for, or what was there and is not any more.
      const error = new TickwireError(url === undefined ? "bad_option" : "unavailable", why);
      resolve((code === 0 && hasEnd) || isStopped ? undefined : error);
    });
  });
  const listening = new Promise<string>((resolve) => {
    child.stdout?.on("data", (data: Uint8Array) => {
      said = (said + String(data)).slice(-4096);
      url = /on (ws:\/\/\S+)\/stream/.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
  const stop = () => {
    isStopped = true;
    child.kill("SIGTERM");
    // One that hangs must not hold this program up.
    killing ??= setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  };
  const play = () => void (child.connected && child.send("play"));
  const first = await Promise.race([listening, ended]);
  if (typeof first === "string") return { url: first, ended, play, stop };
  throw first ?? new TickwireError("bad_option", `tickwire ${args.join(" ")} ended at once`);
}

async function surroundings() {
  try {
    // One by one: a bundler for browsers lets an import that it cannot find pass only where its failure is caught.
    const { spawn } = await import("node:child_process");
    const { existsSync } = await import("node:fs");
    const { fileURLToPath } = await import("node:url");
    // Beside the bundle in build/, or beside the sources.
    const places = ["../src/tickwire.mjs", "../tickwire.mjs"].map((path) =>
      fileURLToPath(new URL(path, import.meta.url)),
    );
    const program = places.find((place) => existsSync(place));
    if (program === undefined) throw new Error("the program tickwire is not installed beside the client");
    return { spawn, program };
  } catch (error) {
    throw new TickwireError("not_here", `there can be no server of one's own here: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
