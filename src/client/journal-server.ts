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
  /** Makes bars and indicators anew from the venues' events. */
  recompute?: boolean;
}

/** A server of this program's own. */
export interface JournalServer {
  readonly url: string;
  /** Resolves when it has ended; with an error when that was not the journal's end. */
  readonly ended: Promise<TickwireError | undefined>;
  stop(): void;
}

/** Starts `tickwire replay` beside this program. Node only, and of the same installation. */
export async function openJournalServer(options: JournalOptions): Promise<JournalServer> {
  const { spawn, program } = await surroundings();
  const { journal, from, to, speed = "max", recompute = false } = options;
  const flags = ["--port=0", "--paced", `--speed=${speed}`, "--log-level=warn"];
  if (from !== undefined) flags.push(`--from=${from}`);
  if (to !== undefined) flags.push(`--to=${to}`);
  if (recompute) flags.push("--recompute");
  const child = spawn(process.execPath, [program, "replay", journal, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let wrong = "";
  child.stderr.on("data", (data: Uint8Array) => {
    wrong += String(data);
  });
  const ended = new Promise<TickwireError | undefined>((resolve) => {
    child.once("exit", (code) => {
      const why = wrong.trim().replace(/^tickwire: /, "") || `the replay ended with ${code}`;
      resolve(code === 0 ? undefined : new TickwireError("bad_option", why));
    });
  });
  const listening = new Promise<string>((resolve) => {
    child.stdout.on("data", (data: Uint8Array) => {
      said += String(data);
      const url = /on (ws:\/\/\S+)\/stream/.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
  const stop = () => void child.kill("SIGTERM");
  const first = await Promise.race([listening, ended]);
  if (typeof first === "string") return { url: first, ended, stop };
  throw first ?? new TickwireError("bad_option", `${journal}: nothing to replay`);
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
    throw new TickwireError("not_here", `a journal cannot be replayed here: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
