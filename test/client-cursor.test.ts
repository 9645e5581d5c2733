/** A program that is killed, or ends, and starts again with its cursor file. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, type SubscribeSpec, type Tickwire } from "../src/client/index.ts";
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

const ONE: SubscribeSpec = { channels: "trades", symbols: "A0/USDT", exchanges: "test-a" };
const OTHER: SubscribeSpec = { channels: "trades", symbols: "A1/USDT", exchanges: "test-a" };
const BOTH: SubscribeSpec = { channels: "trades", symbols: ["A0/USDT", "A1/USDT"], exchanges: "test-a" };

/** A market of two instruments, each trade at a price of its own, and starts of a program in this process. */
class Market {
  readonly folder = mkdtempSync(join(tmpdir(), "tickwire-cursor-"));
  readonly cursorFile = join(this.folder, "cursor");
  price = 0;
  readonly served: Served;
  readonly #ids: number[];

  private constructor(served: Served, ids: number[]) {
    this.served = served;
    this.#ids = ids;
  }

  static async open(t: TestContext): Promise<Market> {
    const served = await serve({ graceMs: 600_000 });
    const [venue] = served.venues as [Venue, Venue];
    const market = new Market(served, venue.list(spot(2)));
    venue.up();
    const keeper = await connect(served.url);
    await keeper.subscribe(BOTH);
    t.after(async () => {
      await keeper.close();
      await served.stop();
      rmSync(market.folder, { recursive: true, force: true });
    });
    return market;
  }

  /** Trades both by turns: the first odd prices, the second even ones. */
  trade(count: number): void {
    for (let each = 0; each < count; each += 1) {
      this.served.venues[0]?.trade(this.#ids[this.price % 2] as number, this.price + 1);
      this.price += 1;
    }
    this.served.turn.end();
  }

  start(t: TestContext): Promise<Tickwire> {
    return connect(this.served.url, { cursorFile: this.cursorFile }).then((client) => {
      t.after(() => client.close());
      return client;
    });
  }
}

/** Subscribes; the prices that its handler gets. */
async function follow(client: Tickwire, spec: SubscribeSpec): Promise<number[]> {
  const prices: number[] = [];
  const tape = await client.subscribe(spec);
  tape.on("trade", ({ price }) => prices.push(price));
  tape.on("gap", () => prices.push(Number.NaN));
  return prices;
}

function numbers(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

function until(prices: readonly number[], last: number): Promise<void> {
  return eventually(
    () => prices.includes(last),
    () => `${last}: ${prices.join()}`,
  );
}

test("subscriptions that overlap each go on exactly, in another order too", async (t) => {
  const market = await Market.open(t);
  const first = await market.start(t);
  const one = await follow(first, ONE);
  const both = await first.subscribe(BOTH);
  const iterator = both[Symbol.asyncIterator]();
  assert.equal(first.stats.connections, 2);
  market.trade(20);
  await until(one, 19);
  for await (const event of { [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) }) {
    if (event.type === "trade" && event.price === 5) break;
  }
  await first.close();
  market.trade(20);
  const second = await market.start(t);
  const bothAgain = await follow(second, BOTH);
  const oneAgain = await follow(second, ONE);
  market.trade(2);
  await until(bothAgain, 42);
  await until(oneAgain, 41);
  assert.deepEqual(bothAgain, numbers(6, 42, 1), "from what its iteration had not taken");
  assert.deepEqual(oneAgain, numbers(21, 41, 2));
});

test("subscriptions of one connection each go on, also one that is made late or was closed first", async (t) => {
  const market = await Market.open(t);
  const first = await market.start(t);
  const one = await follow(first, ONE);
  const closing = await first.subscribe(OTHER);
  const other: number[] = [];
  closing.on("trade", ({ price }) => other.push(price));
  market.trade(10);
  await until(one, 9);
  await until(other, 10);
  await closing.close();
  await first.close();
  market.trade(10);
  const second = await market.start(t);
  const oneAgain = await follow(second, ONE);
  await until(oneAgain, 19);
  // Longer than a file is written once.
  await new Promise((resolve) => setTimeout(resolve, 600));
  const otherAgain = await follow(second, OTHER);
  market.trade(2);
  await until(otherAgain, 22);
  assert.deepEqual(oneAgain, numbers(11, oneAgain.at(-1) as number, 2));
  assert.deepEqual(otherAgain, numbers(12, 22, 2));
});

test("a subscription that asks for something else than before misses nothing of what it had", async (t) => {
  const market = await Market.open(t);
  const first = await market.start(t);
  const one = await follow(first, ONE);
  market.trade(10);
  await until(one, 9);
  await first.close();
  market.trade(10);
  const second = await market.start(t);
  const both = await follow(second, BOTH);
  market.trade(2);
  await until(both, 22);
  const odd = both.filter((price) => price % 2 === 1);
  assert.deepEqual(odd, numbers(11, 21, 2));
});

test("books begin with a snapshot whatever the file says, and take nothing of it from others", async (t) => {
  const market = await Market.open(t);
  for (let start = 0; start < 2; start += 1) {
    const client = await market.start(t);
    const books = await client.books({ symbols: "A0/USDT", exchanges: "test-a", waitMs: 2_000 });
    assert.equal(books.get("test-a", "A0/USDT")?.live, true);
    const before = market.price;
    const one = await follow(client, ONE);
    if (start === 0) market.trade(10);
    await until(one, start === 0 ? 9 : 19);
    assert.deepEqual(one, numbers(before === 0 ? 1 : 11, market.price - 1, 2));
    await client.close();
    market.trade(10);
  }
});
