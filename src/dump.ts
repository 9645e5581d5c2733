import { parseArgs } from "node:util";
import WebSocket from "ws";

export const DUMP_USAGE = `usage: tickwire dump [--last 5m] [--url ws://localhost:8080] [--strict] [--micros]

Writes every frame that the server's window, and its journal, hold of the last while as JSON lines, in order, the
directory first, and ends. --last takes 250ms, 60s, 5m, 1h, 1d; with --strict less than that is an error. The token of a
server that wants one is in TICKWIRE_TOKEN. Exit code 1 when frames are missing.`;

/** How long nothing may come before the server is given up. */
const SILENCE_MS = 30_000;

/** What a user got wrong. */
export class DumpUsageError extends Error {
  override readonly name = "DumpUsageError";
}

interface DumpFlags {
  last: string;
  url: URL;
  strict: boolean;
  micros: boolean;
}

/** Runs `tickwire dump …`; resolves to the exit code. `out` takes the lines, `tell` what there is to say of them. */
export async function dumpCommand(
  args: readonly string[],
  out: (text: string) => void,
  tell: (text: string) => void,
  token = "",
): Promise<number> {
  const { last, url, strict, micros } = readFlags(args);
  url.pathname = "/raw";
  url.search = new URLSearchParams({
    encoding: "json",
    from: `now-${last}`,
    heartbeat_ms: "1000",
    ...(strict ? { strict: "true" } : {}),
    ...(micros ? { time_unit: "us" } : {}),
  }).toString();
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    ...(token === "" ? {} : { headers: { authorization: `Bearer ${token}` } }),
  });
  const dump = new Dump(out);
  let silence = setTimeout(() => socket.terminate(), SILENCE_MS);
  socket.on("message", (data: Buffer) => {
    clearTimeout(silence);
    silence = setTimeout(() => socket.terminate(), SILENCE_MS);
    if (dump.take(data.toString())) socket.close();
  });
  socket.on("unexpected-response", (_request, response) => {
    response.setEncoding("utf8").on("data", (text: string) => dump.refused(text));
    response.on("end", () => socket.terminate());
  });
  socket.on("error", (error) => dump.refused(error.message));
  await new Promise((resolve) => socket.once("close", resolve));
  clearTimeout(silence);
  dump.end();
  if (dump.error !== "") throw new DumpUsageError(`dump: ${dump.error}`);
  if (!dump.isWhole) throw new DumpUsageError("dump: the connection was lost before the end");
  tell(`${dump.frames} frames, ${dump.gaps} gaps${dump.truncated ? ", less is there than was asked for" : ""}\n`);
  return dump.gaps === 0 ? 0 : 1;
}

/** Lines are handed on in pieces of about so many characters. */
const PIECE_LENGTH = 64 * 1024;

class Dump {
  frames = 0;
  gaps = 0;
  truncated = false;
  error = "";
  isWhole = false;
  readonly #out: (text: string) => void;
  #text = "";

  constructor(out: (text: string) => void) {
    this.#out = out;
  }

  /** Takes a message; true when it was the last. */
  take(text: string): boolean {
    if (this.isWhole) return true;
    const { type, truncated } = JSON.parse(text) as { type: string; truncated?: boolean };
    if (type === "replay_begin") this.truncated = truncated === true;
    else if (type === "replay_end") this.isWhole = true;
    else if (type === "gap") this.gaps += 1;
    else if (type !== "hello" && type !== "heartbeat") this.frames += 1;
    if (type === "hello" || type === "heartbeat" || this.isWhole) return this.isWhole;
    this.#text += `${text}\n`;
    if (this.#text.length >= PIECE_LENGTH) this.#flush();
    return false;
  }

  #flush(): void {
    if (this.#text !== "") this.#out(this.#text);
    this.#text = "";
  }

  end(): void {
    this.#flush();
  }

  /** The server's own words, if it said any. */
  refused(text: string): void {
    if (this.error !== "") return;
    try {
      this.error = (JSON.parse(text) as { message: string }).message;
    } catch {
      this.error = text;
    }
  }
}

function readFlags(args: readonly string[]): DumpFlags {
  const options = {
    last: { type: "string", default: "5m" },
    url: { type: "string", default: "ws://localhost:8080" },
    strict: { type: "boolean", default: false },
    micros: { type: "boolean", default: false },
  } as const;
  let values: { last: string; url: string; strict: boolean; micros: boolean };
  try {
    ({ values } = parseArgs({ args: [...args], options }));
  } catch (error) {
    throw new DumpUsageError(`dump: ${(error as Error).message.split("\n")[0]}`);
  }
  const { last, url, strict, micros } = values;
  if (!/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(last))
    throw new DumpUsageError(`dump: --last is a time such as 5m, not "${last}"`);
  if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol))
    throw new DumpUsageError(`dump: --url is a WebSocket's, such as ws://localhost:8080, not "${url}"`);
  return { last, url: new URL(url), strict, micros };
}
