/**
 * What README.md shows of the package, as a user would: packed, installed into an empty project, compiled by TypeScript
 * with both resolutions, run against real servers; the page in a real browser.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { startBinanceVenue } from "../loadtest/venues/binance.ts";
import { startCoinbaseVenue } from "../loadtest/venues/coinbase.ts";
import { NO_CHROMIUM, Page } from "./chromium.ts";
import { eventually, listed, type Running, startGateway } from "./gateway.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const MAX_PACKAGE_BYTES = 2e6;
const MAX_BROWSER_BYTES = 60e3;

/** The code that README shows under a name. */
function example(name: string): string {
  const found = new RegExp(`<!-- example: ${name} -->\\n\`\`\`\\w+\\n([^]*?)\`\`\``).exec(readme)?.[1];
  assert.ok(found !== undefined, `README has the example ${name}`);
  return found;
}

/** What the examples take for granted: the program around them. */
const AROUND: Readonly<Record<string, string>> = {
  tape: "",
  quant: "",
  bot: "",
  signals: "",
  quoter: `
import type { InstrumentName, Unavailable, Side, BookState, Reconnected } from 'tickwire/client'
const say = (...words: unknown[]) => console.log(JSON.stringify(words))
const log = { warn: (u: Unavailable) => say('warn', u.exchange, u.symbol, u.code), info: (r: Reconnected) => say('info', r.url) }
const flow = {
  add: (i: InstrumentName, side: Side, price: number, size: number, time: number) => say('trade', i.exchange, side, price, size, time),
  reset: (i: InstrumentName, reason: string, from?: number, to?: number) => say('reset', i.exchange, reason, from, to),
}
const fair = { set: (i: InstrumentName, live: boolean, bid: number, ask: number, sequence: number) => say('fair', i.exchange, live, bid, ask, sequence) }
const quoter = {
  requote: (i: InstrumentName, bid: number, ask: number, ageMs: number) => say('requote', i.exchange, bid, ask, ageMs),
  pull: (i: InstrumentName, state: BookState) => say('pull', i.exchange, state),
  pullAll: () => say('pullAll'),
}
`,
};
const NAMES = Object.keys(AROUND);

let project = "";
let packed = 0;

/** Packs the package and installs it into an empty project, once for all tests. */
before(async () => {
  project = mkdtempSync(join(tmpdir(), "tickwire-project-"));
  const { stdout } = await run("npm", ["pack", "--json", "--silent", "--pack-destination", project], {
    cwd: root,
    maxBuffer: 2 ** 26,
  });
  const [{ filename, size }] = JSON.parse(stdout.slice(stdout.indexOf("["))) as [{ filename: string; size: number }];
  packed = size;
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
  const flags = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  await run("npm", ["install", `./${filename}`, ...flags], { cwd: project });
  mkdirSync(join(project, "node_modules/@types"), { recursive: true });
  if (!existsSync(join(project, "node_modules/@types/node")))
    symlinkSync(join(root, "node_modules/@types/node"), join(project, "node_modules/@types/node"));
  for (const name of NAMES) writeFileSync(join(project, `${name}.ts`), `${AROUND[name]}${example(name)}`);
});

after(() => rmSync(project, { recursive: true, force: true }));

test("the package is small, and holds nothing but what is used", async () => {
  assert.ok(packed < MAX_PACKAGE_BYTES, `${packed} bytes`);
  const installed = join(project, "node_modules/tickwire");
  assert.ok(!existsSync(join(installed, "test")) && !existsSync(join(installed, "src/main.ts")));
  const { size } = statSync(join(installed, "build/client.browser.js"));
  assert.ok(size < MAX_BROWSER_BYTES, `the browser's client has ${size} bytes`);
});

for (const [module, moduleResolution] of [
  ["NodeNext", "NodeNext"],
  ["ESNext", "Bundler"],
]) {
  test(`every example compiles with TypeScript, ${moduleResolution}`, async () => {
    const config = {
      compilerOptions: {
        strict: true,
        noEmit: true,
        target: "ES2022",
        lib: ["ES2023", "ESNext.Disposable", "DOM"],
        module,
        moduleResolution,
        types: ["node"],
      },
      files: NAMES.map((name) => `${name}.ts`),
    };
    const path = join(project, `tsconfig.${moduleResolution}.json`);
    writeFileSync(path, JSON.stringify(config));
    const said = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", path]).then(
      ({ stdout }) => stdout,
      ({ stdout }: { stdout: string }) => stdout,
    );
    assert.equal(said, "");
  });
}

interface Started {
  said(): string;
  process: ChildProcess;
}

/** Runs an example as plain JavaScript; `change` puts in where the servers are. */
async function start(t: TestContext, name: string, change: (code: string) => string): Promise<Started> {
  const source = change(`${AROUND[name]}${example(name)}`);
  // What TypeScript adds goes; `await using` stays for a Node that has it, and becomes what it means for one that has not.
  const { code } = await transform(source, { loader: "ts", format: "esm", target: "node20" });
  const path = join(project, `${name}.mjs`);
  writeFileSync(path, code);
  const env = { ...process.env, TICKWIRE_TOKEN: "desk.1893456000.signature" };
  const child = spawn(process.execPath, [path], { cwd: project, env, stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (data: Buffer) => {
    said += data.toString();
  });
  child.stderr.on("data", (data: Buffer) => {
    said += data.toString();
  });
  return { said: () => said, process: child };
}

async function simulated(t: TestContext, symbol = "BTC/USDT"): Promise<Running> {
  const running = await startGateway(["--feeds=sim-a,sim-b"], {});
  t.after(() => running.stop());
  await listed(running, symbol);
  return running;
}

test("the tape runs", async (t) => {
  const { url } = await simulated(t);
  const { said } = await start(t, "tape", (code) => code.replace("connect()", `connect('${url}')`));
  await eventually(() => /sim-[ab] (buy|sell) [\d.]+ [\d.]+/.test(said()), said);
});

test("the bot runs: paper orders on standard output", async (t) => {
  const { url } = await simulated(t);
  const bot = await start(t, "bot", (code) =>
    // Every bar is a cross, so that nobody has to wait for one.
    code
      .replace("connect()", `connect('${url}')`)
      .replace("before <= 0 && now > 0", "now > 0")
      .replace("before >= 0 && now < 0", "now < 0"),
  );
  await eventually(() => /"side":"(buy|sell)"/.test(bot.said()), bot.said);
  const order = JSON.parse(
    bot
      .said()
      .split("\n")
      .find((line) => line.includes('"side"')) as string,
  ) as { sequence: number };
  assert.equal(order.sequence, 1);
  bot.process.kill("SIGTERM");
  await eventually(() => bot.process.exitCode !== null, bot.said);
});

test("the stream of markets runs on an engine of its own: bars, and orders on standard output", async (t) => {
  const { said, process: child } = await start(t, "signals", (code) => code);
  await eventually(() => /ETH\/USDT 1s [\d.]+ [\d.]+/.test(said()) && /"side":"(buy|sell)"/.test(said()), said);
  child.kill("SIGTERM");
  await eventually(() => child.exitCode !== null || child.signalCode !== null, said);
});

test("the quant's program runs on a live server, and the market maker's on one of two", async (t) => {
  const binance = await startBinanceVenue({ symbols: 2, rate: 400, seed: 3 });
  const coinbase = await startCoinbaseVenue({ symbols: 1, rate: 200, seed: 4 });
  const running = await startGateway([], { binance, coinbase });
  t.after(async () => {
    await running.stop();
    await binance.close();
    await coinbase.close();
  });
  await listed(running, "BTC/USDT");
  await listed(running, "BTC/USD");
  const quant = await start(t, "quant", (code) => code.replace("connect()", `connect('${running.url}')`));
  const quoter = await start(t, "quoter", (code) =>
    code.replace("ws://gw-a:8080", "ws://127.0.0.1:1").replace("ws://gw-b:8080", running.url),
  );
  for (const venue of ["binance", "coinbase"]) {
    for (const word of ["trade", "requote", "fair"]) {
      await eventually(() => quoter.said().includes(`["${word}","${venue}"`), quoter.said);
    }
  }
  assert.match(quoter.said(), /\["warn","\*?\w*","BTC\/USDT?","unknown_symbol"\]|\["warn","coinbase"/);
  assert.doesNotMatch(quoter.said(), /Error/);
  await eventually(() => /macd -?[\d.]+/.test(quant.said()), quant.said);
  assert.match(quant.said(), /openTime/);
  await eventually(() => existsSync(join(project, "mm.cursor")), "the cursor file");
});

test("the page runs in a browser", { skip: NO_CHROMIUM }, async (t) => {
  const { url } = await simulated(t);
  const host = new URL(url).host.replace("127.0.0.1", "localhost");
  const html = example("page").replaceAll("localhost:8080", host);
  assert.ok(html.trim().split("\n").length <= 40, "a page of 40 lines");
  const server = createServer((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end(html);
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const page = await Page.open(`http://localhost:${(server.address() as AddressInfo).port}/chart.html`);
  t.after(() => page.close());
  let title: unknown = "";
  const look = setInterval(() => {
    page.evaluate("document.title").then((value) => {
      title = value;
    });
  }, 100);
  t.after(() => clearInterval(look));
  await eventually(
    () => /^[\d.]+ (up|down)$/.test(String(title)),
    () => `${title} ${page.said.join("\n")}`,
  );
  const drawn = await page
    .evaluate("pen.getImageData(0, 0, canvas.width, canvas.height).data.some((each) => each > 0)")
    .catch(() => undefined);
  assert.notEqual(drawn, false);
  if (process.env.TICKWIRE_PICTURE !== undefined) writeFileSync(process.env.TICKWIRE_PICTURE, await page.picture());
  await page.evaluate("1");
});
