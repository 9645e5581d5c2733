/**
 * What goes wrong at a venue or on the way, with the doubles that do it on demand: each fault leads to the state that
 * it should, which is seen by whoever has the book and nothing else, and from there back to a right book.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startBinanceVenue } from "../loadtest/venues/binance.ts";
import { startCoinbaseVenue } from "../loadtest/venues/coinbase.ts";
import type { DoubleOptions, VenueDouble } from "../loadtest/venues/double.ts";
import { type FaultName, type FaultParams, MALFORMED_VARIANTS } from "../loadtest/venues/faults.ts";
import {
  type BarFrame,
  type BookFrame,
  Client,
  type Encoding,
  eventually,
  type Frame,
  HeldBook,
  listed,
  type QuoteFrame,
  type Running,
  type StateFrame,
  startGateway,
  type TradeFrame,
} from "./gateway.ts";

const MIX = { trade: 2, bookTicker: 3, depth: 5 };
const BUSY: DoubleOptions = { symbols: 1, rate: 1000, seed: 11, mix: MIX };

/** A client, and what it knows of the book that it follows. */
class Follower {
  readonly client: Client;
  readonly book = new HeldBook();
  bookState = "";
  /** States of the book and its snapshots, in order: `stale sequence gap`, `snapshot`. */
  trail: string[] = [];
  /** Quotes that were called live while the book was not, and levels that came while it was stale. */
  readonly contradictions: Frame[] = [];

  constructor(client: Client) {
    this.client = client;
    client.onFrame = (frame) => this.#take(frame);
  }

  static async open(running: Running, encoding: Encoding, request: object): Promise<Follower> {
    const follower = new Follower(await Client.open(`${running.url}/stream`, encoding));
    await follower.client.subscribe("all", request);
    return follower;
  }

  #take(frame: Frame): void {
    const isLost = this.bookState === "stale" || this.bookState === "resyncing" || this.bookState === "down";
    if (frame.type === "orderbook") {
      const { update_type } = frame as BookFrame;
      const isEnd = this.book.apply(frame as BookFrame);
      if (update_type === "delta" && isLost) this.contradictions.push(frame);
      if (update_type === "snapshot" && isEnd) this.trail.push("snapshot");
      // A snapshot that was asked for on subscribing comes without a state: the book is live.
      if (this.bookState === "") this.bookState = "live";
    } else if (frame.type === "state" && frame.channel === "orderbook") {
      const { state, reason } = frame as StateFrame;
      this.bookState = state;
      this.trail.push(`${state} ${reason ?? ""}`.trim());
    } else if (frame.type === "quote" && (frame as QuoteFrame).live && isLost) this.contradictions.push(frame);
  }

  /** Forgets the trail so far. */
  mark(): void {
    this.trail = [];
  }

  /** Waits for steps of the trail, in this order, others between them allowed. */
  async passes(...steps: readonly (string | RegExp)[]): Promise<void> {
    const next = () => {
      let at = 0;
      for (const line of this.trail) {
        const step = steps[at];
        if (step !== undefined && (typeof step === "string" ? line === step : step.test(line))) at += 1;
      }
      return at;
    };
    const what = () => `${steps.join(", ")}; what came: ${this.trail.join(", ")}`;
    await this.client.until(() => next() === steps.length, what);
  }
}

/** A gateway on a double, with clients that have the book alone, and one with the quotes besides. */
class Stage {
  readonly venue: VenueDouble;
  readonly running: Running;
  readonly symbol: string;
  readonly #depthPath: string | undefined;
  followers: Record<"whole" | "top" | "both", Follower> = {} as never;

  constructor(venue: VenueDouble, running: Running, symbol: string, depthPath?: string) {
    this.venue = venue;
    this.running = running;
    this.symbol = symbol;
    this.#depthPath = depthPath;
  }

  static async binance(options: DoubleOptions, args: readonly string[] = []): Promise<Stage> {
    const venue = await startBinanceVenue(options);
    const running = await startGateway(["--timeframes=1s", ...args], { binance: venue });
    return new Stage(venue, running, "BTC/USDT", "/api/v3/depth?symbol=BTCUSDT&limit=5000").join();
  }

  static async coinbase(options: DoubleOptions): Promise<Stage> {
    const venue = await startCoinbaseVenue(options);
    const running = await startGateway(["--timeframes=1s"], { coinbase: venue });
    return new Stage(venue, running, "BTC/USD").join();
  }

  async join(): Promise<this> {
    const { running, symbol } = this;
    await listed(running, symbol);
    const alone = { channels: ["orderbook"], symbols: [symbol] };
    this.followers = {
      whole: await Follower.open(running, "flatbuffers", { ...alone, depth: "full" }),
      top: await Follower.open(running, "json", alone),
      both: await Follower.open(running, "json", {
        ...alone,
        channels: ["quotes", "orderbook", "trades"],
        depth: "full",
      }),
    };
    await this.all((follower) => follower.client.until(() => follower.bookState === "live", "the first book"));
    const { client } = this.followers.both;
    for (const type of ["quote", "trade"]) await client.until(() => client.of(type).length > 1, `the first ${type}s`);
    return this;
  }

  async all(act: (follower: Follower) => Promise<void>): Promise<void> {
    await Promise.all(Object.values(this.followers).map(act));
  }

  mark(): void {
    for (const follower of Object.values(this.followers)) follower.mark();
  }

  /** Sets off a fault and waits until it took effect. */
  async fault(name: FaultName, params?: FaultParams): Promise<void> {
    const { faults } = this.venue.stats;
    const count = faults[name] + (params?.count ?? 1);
    this.mark();
    this.venue.fault(name, params);
    await eventually(() => this.venue.stats.faults[name] >= count, `${name} to take effect`);
  }

  /** With the tape standing still, every client's book must be the double's own, to the last level. */
  async isRight(): Promise<void> {
    this.venue.pause();
    const { sequence, bids, asks } = await this.#ownBook();
    const is = (follower: Follower) => follower.bookState === "live" && JSON.stringify(follower.book.top(100_000));
    const whole = JSON.stringify({ bids, asks });
    const top = JSON.stringify({ bids: bids.slice(0, 20), asks: asks.slice(0, 20) });
    for (const [name, follower] of Object.entries(this.followers)) {
      const expected = name === "top" ? top : whole;
      // A tier may stand still at an earlier update, where nothing of it has changed since.
      const level = () =>
        is(follower) === expected || (name !== "top" && sequence > 0 && follower.book.sequence === sequence);
      await follower.client.until(level, `the book of ${name} to be level`);
      assert.equal(is(follower), expected, name);
      assert.deepEqual(follower.client.holes, []);
      assert.deepEqual(follower.client.duplicates, []);
      assert.deepEqual(follower.contradictions, []);
    }
    this.venue.play();
  }

  async #ownBook(): Promise<{ sequence: number; bids: number[][]; asks: number[][] }> {
    if (this.#depthPath === undefined) return ownBookOf(this.venue, this.symbol.replace("/", "-"));
    const answer = await fetch(this.venue.restUrl + this.#depthPath);
    const { lastUpdateId, bids, asks } = (await answer.json()) as {
      lastUpdateId: number;
      bids: string[][];
      asks: string[][];
    };
    return { sequence: lastUpdateId, bids: numbersOf(bids), asks: numbersOf(asks) };
  }

  async stop(): Promise<void> {
    for (const { client } of Object.values(this.followers)) await client.close();
    await this.running.stop();
    await this.venue.close();
  }
}

function numbersOf(levels: readonly (readonly string[])[]): number[][] {
  return levels.map((level) => level.map(Number));
}

/** Coinbase has no books by REST: a subscription of one's own brings it. */
async function ownBookOf(
  venue: VenueDouble,
  product: string,
): Promise<{ sequence: number; bids: number[][]; asks: number[][] }> {
  const { default: WebSocket } = await import("ws");
  const socket = new WebSocket(venue.wsUrl);
  try {
    return await new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("open", () => {
        socket.send(
          JSON.stringify({ type: "subscribe", channels: [{ name: "level2_batch", product_ids: [product] }] }),
        );
      });
      socket.on("message", (data) => {
        const message = JSON.parse(data.toString());
        if (message.type !== "snapshot") return;
        resolve({ sequence: 0, bids: numbersOf(message.bids), asks: numbersOf(message.asks) });
      });
    });
  } finally {
    socket.close();
  }
}

/** A stage of its own: a book that is lost again within a minute is asked for ever more slowly. */
async function onStage(open: () => Promise<Stage>, act: (stage: Stage) => Promise<void>): Promise<void> {
  const stage = await open();
  try {
    await act(stage);
  } finally {
    await stage.stop();
  }
}

const binance = () => Stage.binance(BUSY);
const coinbase = () => Stage.coinbase({ symbols: 1, rate: 500, seed: 3, mix: { trade: 1, depth: 4 } });

describe("a book lost at Binance: stale, resyncing, a new snapshot, live, for whoever has it and nothing else", () => {
  const faults: [what: string, reason: string, set: (stage: Stage) => Promise<void>][] = [
    ["a change lost", "sequence gap", (stage) => stage.fault("gap", { kind: "depth" })],
    ["two changes in each other's place", "sequence gap", (stage) => stage.fault("reorder", { kind: "depth" })],
    ["a bid above the ask", "bid above ask", (stage) => stage.fault("crossed")],
    [
      "a change that cannot be read",
      "sequence gap",
      (stage) => stage.fault("malformed", { kind: "depth", variant: "types", replace: true }),
    ],
  ];
  for (const [what, reason, set] of faults) {
    test(what, () =>
      onStage(binance, async (stage) => {
        await stage.isRight();
        await set(stage);
        await stage.all((follower) => follower.passes(`stale ${reason}`, `resyncing ${reason}`, "snapshot", "live"));
        await stage.isRight();
        assert.ok(stage.running.gateway.engine.books.breaches >= 1, "the breach is counted");
        quotesFollowed(stage.followers.both.client.frames);
      }),
    );
  }

  test("a snapshot that fails, and one that is too old, are asked for again", () =>
    onStage(binance, async (stage) => {
      stage.venue.fault("failSnapshot");
      stage.venue.fault("staleSnapshot");
      await stage.fault("gap", { kind: "depth" });
      await stage.all((follower) => follower.passes(/^stale/, /^resyncing/, "snapshot", "live"));
      const { failSnapshot, staleSnapshot } = stage.venue.stats.faults;
      assert.deepEqual([failSnapshot, staleSnapshot], [1, 1]);
      await stage.isRight();
    }));

  test("whoever comes while it is lost is told so first", () =>
    onStage(binance, async (stage) => {
      stage.venue.fault("slowSnapshot", { ms: 300 });
      await stage.fault("gap", { kind: "depth" });
      await stage.followers.whole.passes(/^stale/);
      const late = await Follower.open(stage.running, "json", { channels: ["orderbook"], symbols: [stage.symbol] });
      await late.client.until(() => late.trail.length > 0, "a state");
      assert.match(late.trail[0] as string, /^(stale|resyncing) sequence gap/);
      await late.passes("snapshot", "live");
      assert.deepEqual(late.contradictions, []);
      await late.client.close();
      await stage.isRight();
    }));

  test("with the connection: no loss goes unsaid", () =>
    onStage(binance, async (stage) => {
      const { client } = stage.followers.both;
      const from = client.frames.length;
      await stage.fault("disconnect");
      await stage.all((follower) => follower.passes(/^stale closed by the venue/, /^resyncing/, "snapshot", "live"));
      assert.equal(stage.running.gateway.feeds[0]?.counters.reconnects, 1);
      await stage.isRight();
      quotesFollowed(client.frames);
      for (const channel of ["trades", "quotes"]) {
        const states = () =>
          client.frames
            .slice(from)
            .filter((frame) => frame.type === "state" && frame.channel === channel)
            .map((frame) => (frame as StateFrame).state);
        // A stream lives again with its first event, which may come after the book is right.
        await client.until(() => states().at(-1) === "live", `${channel} to be live`);
        assert.ok(states().includes("down"), `${channel}: ${states().join(", ")}`);
      }
      idsAreWhole(client.frames);
    }));
});

/** Wherever the book went stale, the next frames of the same turn take the quotes with it. */
function quotesFollowed(frames: readonly Frame[]): void {
  const at = frames.findIndex((frame) => frame.channel === "orderbook" && (frame as StateFrame).state === "stale");
  const [book, state, quote] = frames.slice(at, at + 3);
  assert.deepEqual([state?.channel, (state as StateFrame).state], ["quotes", "stale"]);
  assert.deepEqual([quote?.type, (quote as QuoteFrame).live], ["quote", false]);
  assert.equal(new Set([book, state, quote].map((frame) => frame?.ts_publish)).size, 1, "one turn has one time");
}

/** Every id of the venue's came, or is in a gap that was told. */
function idsAreWhole(frames: readonly Frame[]): void {
  let last = 0;
  for (const frame of frames) {
    const gap = frame.channel === "trades" && frame.type === "state" ? (frame as StateFrame).gap : null;
    if (gap !== null) {
      assert.equal(gap.from_id, last + 1);
      last = gap.to_id ?? 0;
    } else if (frame.type === "trade") {
      const id = Number((frame as TradeFrame).trade_id);
      if (last > 0) assert.equal(id, last + 1);
      last = id;
    }
  }
}

describe("faults that leave the book alone", () => {
  let stage: Stage;
  before(async () => {
    stage = await binance();
  });
  after(() => stage?.stop());

  test("a trade lost is a gap in the stream of trades, with the ids that are missing", async () => {
    const { client } = stage.followers.both;
    await stage.fault("gap", { kind: "trade" });
    const gap = () => client.of<StateFrame>("state").find((frame) => frame.gap !== null);
    await client.until(() => gap() !== undefined, "the gap");
    const { from_id, to_id } = gap()?.gap ?? {};
    assert.equal(from_id, to_id);
    await stage.isRight();
    idsAreWhole(client.frames);
  });

  test("what comes twice counts once", async () => {
    const { engine } = stage.running.gateway;
    const [ignored, duplicates] = [engine.books.ignored, engine.dedupe.duplicates];
    await stage.fault("duplicate", { kind: "depth", count: 5 });
    await eventually(() => engine.books.ignored === ignored + 5, "five changes to be ignored");
    await stage.fault("duplicate", { kind: "trade", count: 5 });
    await eventually(() => engine.dedupe.duplicates === duplicates + 5, "five trades to be dropped");
    await stage.isRight();
    idsAreWhole(stage.followers.both.client.frames);
    assert.deepEqual(stage.followers.whole.trail, []);
  });

  test("what cannot be read is counted and ignored", async () => {
    const counters = stage.running.gateway.feeds[0]?.counters;
    const refused = () => (counters?.parseErrors ?? 0) + (counters?.malformed ?? 0) + (counters?.ignored ?? 0);
    const count = refused();
    for (const kind of ["depth", "trade", "bookTicker"] as const)
      await stage.fault("malformed", { kind, variant: "all" });
    const broken = 3 * MALFORMED_VARIANTS.length;
    await eventually(
      () => refused() >= count + broken,
      () => `${broken} messages to be counted, not ${refused() - count}`,
    );
    await stage.isRight();
    assert.deepEqual(stage.followers.whole.trail, []);
    assert.equal(counters?.reconnects, 0);
  });
});

describe("silence at Binance", () => {
  let stage: Stage;
  let sweeping: NodeJS.Timeout;
  before(async () => {
    stage = await Stage.binance(BUSY, ["--quiet-ms=300", "--stale-ms=900"]);
    const { engine } = stage.running.gateway;
    // The rhythm is learned in so many looks, which would take seconds at the usual pace.
    sweeping = setInterval(() => engine.sweep(), 10);
  });
  after(async () => {
    clearInterval(sweeping);
    await stage?.stop();
  });

  test("a connection that is up but silent: quiet, stale, resyncing; and right again when the venue speaks", async () => {
    const { client } = stage.followers.whole;
    const from = client.frames.length;
    await client.until(() => client.frames.length > from + 500, "a rhythm to be learned");
    await stage.fault("silence", { ms: 2500 });
    await stage.all((follower) =>
      follower.passes(/^quiet silent for/, /^(stale|resyncing) silent for/, "snapshot", "live"),
    );
    await stage.followers.whole.passes(/^quiet/, /^stale/, /^resyncing/, "snapshot", "live");
    const seen = client.frames.length;
    await client.until(
      () => client.frames.slice(seen).some(({ type }) => type === "orderbook"),
      "the venue to speak again",
    );
    assert.equal(stage.running.gateway.feeds[0]?.counters.reconnects, 0, "the socket was up all the time");
    await stage.isRight();
  });
});

describe("faults at Coinbase", () => {
  test("a change that cannot be read is one that no count would miss: the book starts anew", () =>
    onStage(coinbase, async (stage) => {
      await stage.isRight();
      await stage.fault("malformed", { kind: "depth", variant: "types", replace: true });
      const { whole, both } = stage.followers;
      for (const follower of [whole, both]) await follower.passes(/^stale/, /^resyncing/, "snapshot", "live");
      // The holder of a depth is told the latest state of a turn.
      await stage.followers.top.passes(/^(stale|resyncing)/, "snapshot", "live");
      await stage.isRight();
      quotesFollowed(both.client.frames);
    }));

  test("a connection lost: stale, then anew; a match lost is a gap", () =>
    onStage(coinbase, async (stage) => {
      await stage.fault("disconnect");
      await stage.all((follower) => follower.passes(/^stale closed by the venue/, /^resyncing/, "snapshot", "live"));
      await stage.isRight();
      const { client } = stage.followers.both;
      const gaps = () => client.of<StateFrame>("state").filter((frame) => frame.gap !== null).length;
      const before = gaps();
      await stage.fault("gap", { kind: "trade" });
      await client.until(() => gaps() > before, "the gap");
      await stage.isRight();
      idsAreWhole(client.frames);
    }));
});

describe("a timestamp of another age", () => {
  const START_MS = Date.UTC(2025, 0, 2, 3, 4, 0);
  const TAPE: DoubleOptions = {
    symbols: 1,
    rate: 1000,
    seed: 5,
    messages: 12_500,
    startMs: START_MS,
    speed: 10,
    hold: true,
  };
  const WIDTH_MS = 5000;

  /** The bars of a run; `wild` is set off well inside a bar, because the message gets the time at which it came. */
  async function barsOf(venueName: "binance" | "coinbase", wild?: FaultParams): Promise<string[]> {
    const start = venueName === "binance" ? startBinanceVenue : startCoinbaseVenue;
    const venue = await start({ ...TAPE, mix: venueName === "binance" ? MIX : { trade: 1, depth: 1 } });
    const running = await startGateway(["--timeframes=5s"], { [venueName]: venue });
    const symbol = venueName === "binance" ? "BTC/USDT" : "BTC/USD";
    await listed(running, symbol);
    const client = await Client.open(`${running.url}/stream`, "flatbuffers");
    await client.subscribe("all", {
      channels: ["trades", "bars", "orderbook"],
      symbols: [symbol],
      timeframes: ["5s"],
      bars: "closed",
    });
    const wanted = venueName === "binance" ? 2 : 3;
    await eventually(() => venue.stats.subscriptions.length >= wanted, "the venue to be asked");
    venue.play();
    const clock = running.gateway.engine.venues[0]?.clock;
    let doubted = 0;
    if (wild !== undefined) {
      const within = () => (venue.stats.position.timeMs - START_MS) % WIDTH_MS;
      await eventually(() => within() > 1000 && within() < 3500, "the middle of a bar");
      doubted = clock?.wild ?? 0;
      venue.fault("wildTimestamp", wild);
    }
    await venue.finished;
    const closes = [START_MS, START_MS + WIDTH_MS].map((ms) => ms * 1000);
    const last = () => new Map(client.of<BarFrame>("bar").map((bar) => [bar.open_time, bar]));
    await client.until(() => closes.every((opened) => last().has(opened)), "two bars");
    if (wild !== undefined) assert.equal(venue.stats.faults.wildTimestamp, 1);
    if (wild?.year === 2100) assert.equal(clock?.wild, doubted + 1);
    const bars = closes.map((opened) => {
      const { open, high, low, close, volume, quote_volume, buy_volume, trade_count, across_gap } = last().get(
        opened,
      ) as BarFrame;
      return JSON.stringify({
        opened,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        buy_volume,
        trade_count,
        across_gap,
      });
    });
    assert.deepEqual(
      [...last().keys()].sort(),
      [...last().keys()].filter((opened) => opened >= START_MS * 1000).sort(),
    );
    await client.close();
    await running.stop();
    await venue.close();
    return bars;
  }

  test("changes no bar", async () => {
    const [plain, ...binance] = await Promise.all([
      barsOf("binance"),
      barsOf("binance", { kind: "trade", year: 2100 }),
      barsOf("binance", { kind: "trade", year: 1 }),
      barsOf("binance", { kind: "depth", year: 2100 }),
    ]);
    for (const bars of binance) assert.deepEqual(bars, plain);
    const [plainer, ...coinbase] = await Promise.all([
      barsOf("coinbase"),
      barsOf("coinbase", { kind: "trade", year: 2100 }),
      barsOf("coinbase", { kind: "trade", year: 1 }),
      barsOf("coinbase", { kind: "depth", year: 1 }),
    ]);
    for (const bars of coinbase) assert.deepEqual(bars, plainer);
  });
});
