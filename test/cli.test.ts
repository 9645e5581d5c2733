/** The command line as a person meets it: a process, its output, its exit code. */
import { match, ok, strictEqual } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { readConfig } from "../src/config.ts";

const launcher = join(fileURLToPath(new URL(".", import.meta.url)), "../src/tickwire.mjs");

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

interface Running {
  process: ChildProcess;
  /** Resolves with the first line of standard output. */
  firstLine: Promise<string>;
  outcome: Promise<Outcome>;
}

/** Runs the command line with nothing of this process's own settings. */
function start(args: readonly string[], env: Record<string, string> = {}): Running {
  const { PATH = "" } = process.env;
  const child = spawn(process.execPath, [launcher, ...args], { env: { PATH, ...env } });
  let out = "";
  let err = "";
  let announce: (line: string) => void;
  const firstLine = new Promise<string>((resolve) => {
    announce = resolve;
  });
  child.stdout.on("data", (text: Buffer) => {
    out += text.toString();
    if (out.includes("\n")) announce(out.split("\n")[0] as string);
  });
  child.stderr.on("data", (text: Buffer) => {
    err += text.toString();
  });
  const outcome = new Promise<Outcome>((resolve) => {
    child.on("close", (code) => {
      announce(out);
      resolve({ code, out, err });
    });
  });
  return { process: child, firstLine, outcome };
}

async function refused(args: readonly string[], expected: RegExp, env: Record<string, string> = {}): Promise<void> {
  const { code, out, err } = await start(args, env).outcome;
  strictEqual(code, 2, `${args.join(" ")}: exit code 2, not ${code}: ${err}`);
  strictEqual(out, "", "nothing on standard output");
  strictEqual(err.trim().split("\n").length, 1, `one line, not: ${err}`);
  match(err, expected);
}

test("what a user gets wrong is one clear line and exit code 2", async () => {
  await refused(["serve", "--prot", "1"], /unknown flag --prot: did you mean --port\?/);
  await refused(["serve", "--port", "http"], /--port \(PORT\) is a number from 0 to 65535, not "http"/);
  await refused(["serve", "--port", "99999"], /--port \(PORT\) is a number/);
  await refused(["serve", "--feeds", "binanse"], /unknown feed "binanse": did you mean "binance"\?/);
  await refused(["serve", "--feeds", "binance,sim-a"], /do not mix/);
  await refused(["serve", "--host", "0.0.0.0"], /not loopback .* --insecure/);
  await refused(["serve", "--timeframes", "2m"], /--timeframes/);
  await refused(["serve", "--feeds", "recording"], /--recording FILE/);
  await refused(["serve", "extra"], /unexpected argument "extra"/);
  await refused(["server"], /unknown command "server": did you mean "serve"\?/);
  await refused(["serve"], /BINANCE_WS_URL is not a URL/, { BINANCE_WS_URL: "not a url" });
  await refused(["serve"], /\(PORT\) is a number/, { PORT: "x" });
});

test("a port in use is one clear line and exit code 2", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as { port: number };
  await refused(["serve", "--port", String(port), "--log-level", "silent"], new RegExp(`127.0.0.1:${port} .*in use`));
  await new Promise((resolve) => taken.close(resolve));
});

test("two servers do not share a port", async () => {
  const first = start(["serve", "--port", "0", "--log-level", "silent"]);
  const port = /:(\d+)\//.exec(await first.firstLine)?.[1] as string;
  await refused(["serve", "--port", port, "--log-level", "silent"], /in use/);
  first.process.kill("SIGTERM");
  strictEqual((await first.outcome).code, 0);
});

test("--help explains every flag with its environment variable, --version is the package's", async () => {
  const { code, out } = await start(["serve", "--help"]).outcome;
  strictEqual(code, 0);
  for (const flag of ["port", "host", "feeds", "symbols", "seed", "insecure", "origins", "require", "ring-memory"]) {
    match(out, new RegExp(`--${flag}\\b.*\\[[A-Z_]+`), `--${flag} with its variable`);
  }
  match((await start(["--version"]).outcome).out, /^\d+\.\d+\.\d+\n$/);
  match((await start([]).outcome).out, /usage: tickwire/);
});

test("serves trades to whoever subscribes, and SIGTERM drains and exits with 0", async () => {
  const server = start(["serve", "--port", "0", "--log-level", "silent"], { TICKWIRE_SEED: "7" });
  const url = /ws:\/\/\S+/.exec(await server.firstLine)?.[0] as string;
  const socket = new WebSocket(url);
  const types: string[] = [];
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  await new Promise<void>((resolve) => {
    socket.on("open", () => socket.send('{"type":"subscribe","channels":["trades"],"symbols":["BTC/USDT"]}'));
    socket.on("message", (text: Buffer) => {
      const { type } = JSON.parse(text.toString()) as { type: string };
      types.push(type);
      if (type === "trade") resolve();
    });
  });
  server.process.kill("SIGTERM");
  strictEqual(await closed, 1001, "a close that says why");
  ok(types.includes("server_shutdown"), "told before the close");
  const { code } = await server.outcome;
  strictEqual(code, 0);
});

test("flags win over the environment, the environment over the defaults", () => {
  strictEqual(readConfig([], {}).port, 8080);
  strictEqual(readConfig([], { PORT: "9000" }).port, 9000);
  strictEqual(readConfig(["--port", "9001"], { PORT: "9000" }).port, 9001);
  strictEqual(readConfig(["--host", "0.0.0.0", "--insecure"], {}).anyHost, true);
  strictEqual(readConfig([], {}).mode, "simulated");
  strictEqual(readConfig(["--feeds", "binance,coinbase"], {}).mode, "live");
  ok(Object.isFrozen(readConfig([], {})));
});
