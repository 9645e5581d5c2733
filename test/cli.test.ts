/** The command line: help, one clear line for what is wrong, and a clean end. */
import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ConfigError, helpText, readConfig } from "../src/config.ts";
import { eventually } from "./gateway.ts";
import { Probe } from "./serve.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The entry runs the bundle: it must be of these very sources. */
before(() => {
  const bundle = join(root, "build/cli.mjs");
  const sources = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const newest = Math.max(...sources.map(({ parentPath, name }) => statSync(join(parentPath, name)).mtimeMs));
  if (existsSync(bundle) && statSync(bundle).mtimeMs > newest) return;
  execFileSync("npm", ["run", "-s", "build"], { cwd: root, stdio: "ignore" });
});

interface Run {
  stdout: string;
  stderr: string;
  code: number | null | undefined;
  signal(name: NodeJS.Signals): void;
}

/** Starts the command; `env` replaces the whole environment but PATH. */
function start(args: readonly string[], env: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [join(root, "src/tickwire.mjs"), ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const run: Run = { stdout: "", stderr: "", code: undefined, signal: (name) => child.kill(name) };
  child.stdout.on("data", (part) => {
    run.stdout += part;
  });
  child.stderr.on("data", (part) => {
    run.stderr += part;
  });
  child.on("close", (code) => {
    run.code = code;
  });
  return run;
}

async function finished(run: Run): Promise<Run> {
  await eventually(() => run.code !== undefined, "the command to end");
  return run;
}

/** Starts a server and waits until it listens; resolves to its URL. */
async function listening(run: Run): Promise<string> {
  await eventually(() => run.stdout.includes("/stream") || run.code !== undefined, "the server to listen");
  const url = /ws:\/\/\S+\/stream/.exec(run.stdout)?.[0];
  ok(url !== undefined, run.stderr);
  return url;
}

test("--help, --version, no command", async () => {
  const [help, none, serve, version] = await Promise.all(
    [["--help"], [], ["serve", "--help"], ["--version"]].map((args) => finished(start(args))),
  );
  for (const run of [help, none, serve, version]) deepStrictEqual([run?.code, run?.stderr], [0, ""]);
  match(help?.stdout ?? "", /usage: tickwire <command>[\s\S]*serve/);
  strictEqual(none?.stdout, help?.stdout);
  strictEqual(serve?.stdout, `${helpText()}\n`);
  strictEqual(version?.stdout, `${JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version}\n`);
});

test("the help explains every flag and every environment variable", () => {
  const source = readFileSync(join(root, "src/options.ts"), "utf8");
  const help = helpText();
  const variables = new Set(
    [...source.matchAll(/"((?:TICKWIRE|BINANCE|COINBASE)_[A-Z_]+|PORT|HOST)"/g)].map((found) => found[1] as string),
  );
  ok(variables.size > 20, `${variables.size} variables`);
  for (const name of variables) ok(help.includes(name), `${name} is explained`);
  const rows = help.split("\n").filter((line) => line.startsWith("  --"));
  for (const row of rows) match(row, /^ {2}--[a-z-]+( [A-Z]+)? +\S.{10,} \[[A-Z_]+(, .+)?\]$/);
  strictEqual(new Set(rows.map((row) => row.trim().split(" ")[0])).size, rows.length);
});

/** What is wrong, and the line that says so. */
const WRONG: readonly [args: string[], env: Record<string, string>, line: RegExp][] = [
  [["sreve"], {}, /unknown command "sreve": did you mean "serve"\?/],
  [["bogus-command"], {}, /unknown command "bogus-command"; see --help/],
  [["serve", "--prot", "1"], {}, /unknown flag --prot: did you mean --port\?/],
  [["serve", "--zzzzzzzz"], {}, /unknown flag --zzzzzzzz; see --help/],
  [["serve", "extra"], {}, /unexpected argument "extra"/],
  [["serve", "--port"], {}, /port/],
  [["serve", "--port", "http"], {}, /--port \(PORT\) is a number from 0 to 65535, not "http"/],
  [["serve", "--port", "65536"], {}, /from 0 to 65535/],
  [["serve", "--port", "80.5"], {}, /whole number/],
  [["serve"], { PORT: "0x50" }, /--port \(PORT\)/],
  [["serve", "--feeds", "binanse"], {}, /unknown feed "binanse": did you mean "binance"\?/],
  [["serve"], { TICKWIRE_FEEDS: "sim-a,binance" }, /do not mix/],
  [["serve", "--feeds", ","], {}, /names no source/],
  [["serve", "--feeds", "recording"], {}, /recording/],
  [
    ["serve", "--feeds", "binance"],
    { BINANCE_WS_URL: "localhost:99" },
    /BINANCE_WS_URL is not a URL of ws: or wss:: "localhost:99"/,
  ],
  [["serve", "--feeds", "binance"], { BINANCE_REST_URL: "ws://x" }, /BINANCE_REST_URL/],
  [["serve", "--host", "0.0.0.0"], {}, /--host 0\.0\.0\.0 is not loopback.*--insecure/],
  [["serve"], { HOST: "::" }, /not loopback/],
  [["serve", "--require", "kraken"], {}, /--require kraken/],
  [["serve", "--timeframes", "1m,2m"], {}, /"2m" is none of 1s, 5s/],
  [["serve", "--origins", "desk.example"], {}, /"desk\.example" is no origin/],
  [["serve", "--origins", "https://desk.example/path"], {}, /no origin/],
  [["serve", "--log-level", "loud"], {}, /--log-level \(TICKWIRE_LOG_LEVEL\) is one of fatal/],
  [["serve", "--speed", "fast"], {}, /--speed/],
  [["serve", "--seed", "-1"], {}, /seed|-1/],
  [
    ["serve", "--journal-sync", "sometimes"],
    {},
    /--journal-sync \(TICKWIRE_JOURNAL_SYNC\) is one of never, interval, every/,
  ],
  [["serve", "--journal-max-gb", "0"], {}, /--journal-max-gb/],
];

test("what is wrong with a command line, in one line", () => {
  for (const [args, env, line] of WRONG) {
    if (args[0] !== "serve") continue;
    const read = () => readConfig(args.slice(1), env);
    throws(read, (error: unknown) => {
      ok(error instanceof ConfigError, `${args.join(" ")}: ${String(error)}`);
      match(error.message, line);
      strictEqual(error.message.includes("\n"), false);
      return true;
    });
  }
});

test("flags win over variables, and an empty variable is none", () => {
  const config = readConfig(["--port=1", "--origins", "https://Desk.example/,http://a:81"], {
    PORT: "2",
    HOST: "",
    TICKWIRE_SEED: "7",
  });
  deepStrictEqual(
    [config.port, config.host, config.seed, config.origins],
    [1, "127.0.0.1", 7, ["https://desk.example", "http://a:81"]],
  );
  strictEqual(readConfig([], { PORT: "2" }).port, 2);
  deepStrictEqual(readConfig([], {}).feeds, ["sim-a", "sim-b"]);
  const open = readConfig(["--host", "0.0.0.0", "--insecure"], {});
  deepStrictEqual([open.host, open.anyHost], ["0.0.0.0", true]);
  strictEqual(readConfig([], { HOST: "0.0.0.0", TICKWIRE_INSECURE: "1" }).anyHost, true);
  throws(() => {
    (config as { port: number }).port = 3;
  }, TypeError);
});

test("such a line goes to standard error, with exit code 2", async () => {
  const picked = WRONG.filter((_, index) => [0, 2, 10, 14, 16].includes(index));
  const runs = await Promise.all(picked.map(([args, env]) => finished(start(args, env))));
  for (const [index, { stdout, stderr, code }] of runs.entries()) {
    deepStrictEqual([code, stdout], [2, ""]);
    match(stderr, picked[index]?.[2] as RegExp);
    match(stderr, /^tickwire: [^\n]+\n$/);
  }
});

test("a port in use, by a stranger or by another gateway, is said in one line with exit code 2", async () => {
  const stranger = createServer();
  await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  const { port } = stranger.address() as { port: number };
  const refused = await finished(start(["serve", "--port", String(port), "--log-level", "silent"]));
  deepStrictEqual([refused.code, refused.stdout], [2, ""]);
  match(refused.stderr, new RegExp(`^tickwire: 127\\.0\\.0\\.1:${port} [^\\n]*in use\\?\\n$`));
  stranger.close();
  const first = start(["serve", "--port", "0", "--log-level", "silent"]);
  const url = new URL(await listening(first));
  const second = await finished(start(["serve", "--port", url.port, "--log-level", "silent"]));
  deepStrictEqual([second.code, second.stderr.split("\n").length], [2, 2]);
  first.signal("SIGTERM");
  strictEqual((await finished(first)).code, 0);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} tells the clients, drains and exits with 0`, async () => {
    const run = start(["serve", "--port", "0", "--log-level", "warn"]);
    const url = await listening(run);
    match(run.stdout, /^tickwire \d+\.\d+\.\d+ \(simulated: sim-a, sim-b\) on ws:\/\/127\.0\.0\.1:\d+\/stream\n$/);
    const probe = await Probe.open(url);
    await eventually(() => probe.messages("heartbeat").length > 0, "a heartbeat");
    await probe.until(() => true, "");
    const subscribed = async () =>
      (await probe.ask({ type: "subscribe", id: 1, symbols: "*", channels: ["trades"] })).status;
    strictEqual(await subscribed(), "subscribed");
    await probe.until(() => probe.messages("trade").length > 0, "a simulated trade");
    run.signal(signal);
    deepStrictEqual((await probe.gone()).code, 1001);
    const last = probe.log.filter((each) => each.type === "server_shutdown");
    strictEqual(last.length, 1);
    deepStrictEqual([(await finished(run)).code, run.stderr], [0, ""]);
  });
}

test("a signal while instruments are still being opened ends it as cleanly", async () => {
  const run = start(["serve", "--port", "0", "--log-level", "warn"]);
  await listening(run);
  run.signal("SIGTERM");
  deepStrictEqual([(await finished(run)).code, run.stderr], [0, ""]);
});

test("record, then list, verify and export what was recorded; a journal is written by one", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tickwire-cli-"));
  const directory = join(folder, "journal");
  const recording = start(["record", directory, "--symbols", "BTC/USDT"]);
  await eventually(() => recording.stdout.includes("records to"), "the recording to begin");
  const second = await finished(start(["serve", "--port", "0", "--journal", directory]));
  deepStrictEqual([second.code, second.stdout], [2, ""]);
  match(second.stderr, /^tickwire: --journal \S+: \S+ is being written by process \d+\n$/);
  const trades = () =>
    execFileSync(process.execPath, [join(root, "src/tickwire.mjs"), "journal", "export", directory], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  await eventually(() => trades().includes('"type":"trade"'), "a trade to be recorded");
  recording.signal("SIGTERM");
  strictEqual((await finished(recording)).code, 0);
  const listed = await finished(start(["journal", "ls", directory]));
  match(listed.stdout, /^\S+\.twj {2}\S+Z {2}epoch \d+ {2}simulated from position 1 {2}\d+ bytes\n$/);
  const verified = await finished(start(["journal", "verify", directory]));
  deepStrictEqual([verified.code, verified.stderr], [0, ""]);
  match(verified.stdout, /, closed\n\d+ frames in 1 files, 0 gaps, 0 problems\n$/);
  const csv = await finished(start(["journal", "export", directory, "--format", "csv", "--from", "2026-01-01"]));
  strictEqual(csv.code, 0);
  match(csv.stderr, /^\d+ rows, \d+ frames have no row in it, 0 gaps, 0 damaged places\n$/);
  match(csv.stdout, /^type,exchange,symbol,[\s\S]*\ntrade,sim-[ab],BTC\/USDT,/);
  const [file] = readdirSync(directory);
  const bytes = readFileSync(join(directory, file as string));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
  writeFileSync(join(directory, file as string), bytes);
  const damaged = await finished(start(["journal", "verify", directory]));
  strictEqual(damaged.code, 1);
  match(damaged.stdout, /damaged at byte \d+/);
  for (const [args, line] of [
    [["record"], /name the folder first/],
    [["record", directory, "--feeds", "binance"], /name what to record/],
    [["journal"], /usage: tickwire journal/],
    [["journal", "verify"], /name the folder/],
    [["journal", "ls", join(folder, "none")], /no such file/],
    [["journal", "ls", folder], /there is no journal in it/],
    [["journal", "ls", directory, "--all"], /takes no --all/],
    [["journal", "export", directory, "--format", "xml"], /--format is jsonl or csv/],
    [["journal", "export", directory, "--from", "yesterday"], /--from is a time such as/],
  ] as [string[], RegExp][]) {
    const wrong = await finished(start(args));
    deepStrictEqual([wrong.code, wrong.stdout], [2, ""], args.join(" "));
    match(wrong.stderr, line);
  }
  rmSync(folder, { recursive: true });
});
