/** A program that is killed, or ends, and starts again with its cursor file. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect } from "../src/client/index.ts";
import { Random } from "../src/std/random.ts";
import { PROGRAM } from "./cursor-program.ts";
import { eventually } from "./gateway.ts";
import { type Served, serve, spot, type Venue } from "./serve.ts";

const TSX = fileURLToPath(new URL("../node_modules/.bin/tsx", import.meta.url));

class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), "tickwire-cursor-"));
  readonly cursor = join(this.folder, "cursor");
  readonly output = join(this.folder, "output");
  price = 0;
  readonly #served: Served;
  readonly #id: number;

  private constructor(served: Served, id: number) {
    this.#served = served;
    this.#id = id;
    writeFileSync(this.output, "");
  }

  static async open(t: TestContext): Promise<Stage> {
    const served = await serve({ graceMs: 600_000 });
    const [venue] = served.venues as [Venue, Venue];
    const [id] = venue.list(spot(1)) as [number];
    venue.up();
    const keeper = await connect(served.url);
    await keeper.subscribe({ channels: "trades", symbols: "A0/USDT" });
    const stage = new Stage(served, id);
    t.after(async () => {
      await keeper.close();
      await served.stop();
      rmSync(stage.folder, { recursive: true, force: true });
    });
    return stage;
  }

  trade(count: number): void {
    for (let each = 0; each < count; each += 1) {
      this.price += 1;
      this.#served.venues[0]?.trade(this.#id, this.price);
    }
    this.#served.turn.end();
  }

  async start(t: TestContext): Promise<ChildProcess> {
    const child = spawn(TSX, [PROGRAM, this.#served.url, this.cursor, this.output], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    t.after(() => kill(child, "SIGKILL"));
    await once(child.stdout as NodeJS.ReadableStream, "data");
    return child;
  }

  get lines(): string[] {
    return readFileSync(this.output, "utf8").trim().split("\n");
  }
}

/** The program and what started it. */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(pid as number), signal);
  } catch {
    // It has ended.
  }
}

test("killed again and again, it misses nothing; what it gets twice is what came since the last save", async (t) => {
  const seed = 20261128;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const stage = await Stage.open(t);
  for (let start = 0; start < 4; start += 1) {
    const child = await stage.start(t);
    if (start === 0) stage.price = 0;
    stage.trade(20);
    await eventually(() => stage.lines.includes(String(stage.price)), "its trades");
    await eventually(() => existsSync(stage.cursor), "the cursor");
    stage.trade(random.integer(1, 30));
    const exited = once(child, "exit");
    kill(child, "SIGKILL");
    await exited;
    stage.trade(random.integer(1, 30));
  }
  await stage.start(t);
  await eventually(
    () => stage.lines.includes(String(stage.price)),
    () => stage.lines.slice(-3).join(),
  );
  const { lines } = stage;
  assert.deepEqual(
    lines.filter((line) => line.startsWith("gap")),
    [],
  );
  const first = Number(lines[0]);
  const seen = new Set(lines.map(Number));
  for (let price = first; price <= stage.price; price += 1) assert.ok(seen.has(price), `${price} was seen`);
  t.diagnostic(`${stage.price} trades, ${lines.length - seen.size} of them twice`);
});

test("ended as it should be, it gets every trade exactly once", async (t) => {
  const stage = await Stage.open(t);
  for (let start = 0; start < 3; start += 1) {
    const child = await stage.start(t);
    stage.trade(50);
    await eventually(() => stage.lines.includes(String(stage.price)), "its trades");
    const exited = once(child, "exit");
    kill(child, "SIGTERM");
    await exited;
    stage.trade(25);
  }
  await stage.start(t);
  await eventually(() => stage.lines.includes(String(stage.price)), "the rest");
  assert.deepEqual(
    stage.lines.map(Number),
    Array.from({ length: stage.price }, (_, index) => index + 1),
  );
});
