/**
 * `npm run loadtest` in small: every scenario runs and loses nothing, what is lost is found, and what is asked for
 * wrongly is refused. Never a word about times.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { nativeMissing } from "../loadtest/receiver-programs.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const bundle = `${root}build/loadtest-${process.pid}.mjs`;

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function run(args: readonly string[], env: Record<string, string> = {}, shell?: string): Promise<Ended> {
  const command = shell === undefined ? process.execPath : "sh";
  const all = shell === undefined ? [bundle, ...args] : ["-c", shell, "sh", process.execPath, bundle, ...args];
  const child = spawn(command, all, { cwd: root, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const ended: Ended = { code: null, stdout: "", stderr: "" };
  child.stdout.on("data", (data: Buffer) => {
    ended.stdout += data.toString();
  });
  child.stderr.on("data", (data: Buffer) => {
    ended.stderr += data.toString();
  });
  return new Promise((resolve) => child.once("close", (code) => resolve({ ...ended, code })));
}

interface Figures {
  figures: Record<string, unknown>;
  losses: string[];
  limit: string;
  loads: { label: string; server: number; receiver: number }[];
}

/** Runs a scenario in small; its figures, once it ended well and lost nothing. */
async function small(scenario: string, args: string, env: Record<string, string> = {}): Promise<Figures> {
  const { code, stdout, stderr } = await run(["--scenario", scenario, "--json", ...args.split(" ")], env);
  strictEqual(code, 0, `${stderr}\n${stdout}`);
  match(stdout, /^losses: none$/m);
  match(stdout, /^limit: \S/m);
  const figures = JSON.parse(stdout.trim().split("\n").at(-1) as string) as Figures;
  deepStrictEqual(figures.losses, []);
  ok(figures.loads.length > 0, "something was measured");
  ok(figures.loads.every(({ server, receiver }) => server >= 0 && receiver >= 0));
  return figures;
}

type Row = Record<string, number>;

/** Frames that the clients of scenario `slow` got, those that gaps named with them, stretch by stretch. */
function sums(figures: Record<string, unknown>): object[] {
  const stretches = figures.stretches as { others: Row; slow?: Row }[];
  const sum = (slow: Row | undefined) => slow && (slow.frames as number) + (slow.gapFrames as number);
  return stretches.map(({ others, slow }) => ({ others: others.frames, slow: sum(slow) }));
}

describe("load test", { concurrency: 3 }, () => {
  before(async () => {
    await build({
      entryPoints: [`${root}loadtest/loadtest.ts`],
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      packages: "external",
      outfile: bundle,
      logLevel: "silent",
    });
  });

  after(() => rmSync(bundle, { force: true }));

  test("wire-to-wire: each client gets each trade, through the gateway and the relay", async () => {
    const { figures } = await small("wire-to-wire", "--clients 3 --rate 1000 --seconds 0.5 --rounds 1");
    deepStrictEqual(
      (figures.rates as Row[]).map(({ server, frames }) => [server, frames]),
      [
        ["gateway", 1500],
        ["bare relay", 1500],
      ],
    );
  });

  test("wire-to-wire: the receiver in Node counts the same", async () => {
    const args = "--clients 2 --rate 1000 --seconds 0.5 --rounds 1";
    const { figures } = await small("wire-to-wire", args, { TICKWIRE_RECEIVER: "node" });
    deepStrictEqual(
      (figures.rates as Row[]).map(({ frames }) => frames),
      [1000, 1000],
    );
  });

  test("fanout: every kind of server delivers all that it published", async () => {
    const { figures } = await small("fanout", "--clients 2 --seconds 0.2 --rounds 1");
    const kinds = figures.fanout as Row[];
    ok(kinds.length >= 3, "the full pipeline and what it is compared with");
    for (const { kind, framesPerSecond } of kinds) ok((framesPerSecond as number) > 0, `${kind} delivers`);
  });

  test("instruments: wildcards get each trade of all", async () => {
    const { figures } = await small("instruments", "--instruments 30 --clients 2 --rate 1000 --seconds 0.5");
    deepStrictEqual(
      (figures.instruments as Row[]).map(({ spread, frames }) => [spread, frames]),
      [
        ["zipf", 1000],
        ["uniform", 1000],
      ],
    );
  });

  test("connections: all stay connected", async () => {
    const { figures } = await small("connections", "--clients 60 --seconds 0.2");
    deepStrictEqual(
      (figures.connections as Row[]).map(({ clients }) => clients),
      [60, 60],
    );
  });

  test("mixed: every group gets frames, and those that can be counted all of them", async () => {
    const { figures } = await small("mixed", "--clients 20 --instruments 3 --rate 500 --seconds 0.5");
    for (const group of figures.groups as Row[]) ok((group.leastFrames as number) > 0, `${group.name} gets frames`);
  });

  test("storm: all come back, and who stayed lost nothing", async () => {
    const { figures } = await small("storm", "--clients 40 --rate 200 --rounds 1 --seconds 0.3");
    const storms = figures.storms as Row[];
    strictEqual(storms.length, 1);
    // Each stayed away for 300 trades at least, and got every one of them by its replay.
    ok((storms[0]?.replayed as number) >= 40 * 300);
  });

  test("storm: the receiver in Node comes back the same", async () => {
    const args = "--clients 10 --rate 500 --rounds 1 --seconds 0.3";
    const { figures } = await small("storm", args, { TICKWIRE_RECEIVER: "node" });
    ok(((figures.storms as Row[])[0]?.replayed as number) >= 10 * 300);
  });

  const missing = nativeMissing();
  test("slow: what the slow ones lack is named by gaps, the others get all", async () => {
    const { figures } = await small("slow", "--clients 4 --rate 20000 --seconds 3 --rounds 1");
    // Node cannot tell the system to hold little: there it may hold all that this short run has.
    if ((await missing) === undefined) ok((figures.gapFrames as number) > 0, "they lagged");
    deepStrictEqual(sums(figures), [
      { others: 240_000, slow: undefined },
      { others: 240_000, slow: 120_000 },
    ]);
  });

  test("slow: the receiver in Node counts the same", async () => {
    const args = "--clients 3 --rate 2000 --seconds 0.5 --rounds 1";
    const { figures } = await small("slow", args, { TICKWIRE_RECEIVER: "node" });
    deepStrictEqual(sums(figures), [
      { others: 3000, slow: undefined },
      { others: 3000, slow: 2000 },
    ]);
  });

  test("soak: window by window", async () => {
    const { figures } = await small("soak", "--clients 3 --instruments 4 --rate 500 --seconds 1");
    deepStrictEqual(
      (figures.windows as Row[]).map(({ frames }) => frames),
      [750, 750],
    );
  });

  test("a loss is found, said, and exits with 3", async () => {
    const args = "--scenario wire-to-wire --clients 2 --rate 2000 --seconds 0.6 --rounds 1 --drop-every 100";
    const { code, stdout, stderr } = await run(args.split(" "));
    strictEqual(code, 3, stderr);
    match(stdout, /^LOSS: bare relay, 2,000\/s: \d+ frames missing in the sequences$/m);
    match(stderr, /^loadtest: lost: bare relay, /m);
    ok(!stdout.includes("LOSS: gateway"), "the gateway lost nothing");
  });

  test("a scenario that cannot run says why and exits with 1", async () => {
    const { code, stderr } = await run(
      ["--scenario", "connections", "--clients", "500"],
      {},
      'ulimit -n 400 && exec "$@"',
    );
    strictEqual(code, 1);
    match(stderr, /^loadtest: 500 clients need 600 open files, and 400 are allowed here \(ulimit -Hn\)\n$/);
  });

  test("what is asked for wrongly is refused in one line, with 2", async () => {
    const wrong: [string, RegExp][] = [
      ["--scenario storn", /unknown scenario "storn": did you mean "storm"\?/],
      ["--scenario nothing-like-it", /unknown scenario "nothing-like-it": one of fanout, /],
      ["--clients 3", /--scenario names one of fanout, /],
      ["--scenario soak --cleints 3", /unknown flag --cleints: did you mean --clients\?/],
      ["--scenario soak --rate fast", /--rate takes a whole number from 1 to 1000000, not "fast"/],
      ["--scenario soak --seconds 0", /--seconds takes a number from 0.2 to 86400, not "0"/],
      ["--scenario fanout --rate 10", /--rate means nothing to fanout; it takes --clients, /],
    ];
    for (const [args, says] of wrong) {
      const { code, stdout, stderr } = await run(args.split(" "));
      strictEqual(code, 2, args);
      strictEqual(stdout, "");
      match(stderr, new RegExp(`^loadtest: ${says.source}.*\n$`), args);
    }
  });

  test("the help names every scenario", async () => {
    const { code, stdout } = await run(["--help"]);
    strictEqual(code, 0);
    for (const name of ["fanout", "wire-to-wire", "instruments", "connections", "mixed", "storm", "slow", "soak"]) {
      match(stdout, new RegExp(`^  ${name} `, "m"));
    }
  });
});
