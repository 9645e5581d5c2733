/** The bars of the SDK: equal to the server's own, at once, as they close, after a late trade, after a return. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { inspect, isDeepStrictEqual } from "node:util";
import { type BarRow, connect, type LiveBars, type Tickwire, TickwireError } from "../src/client/index.ts";
import { hma, macd } from "../src/indicators/index.ts";
import * as S from "../src/market/sink.ts";
import { Random } from "../src/std/random.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { eventually } from "./gateway.ts";
import { type Served, serve, settled, spot, type Venue } from "./serve.ts";

interface RestBar {
  state: string;
  open_time: number;
  across_gap: boolean;
  open: number;
  close: number;
  volume: number;
  trade_count: number;
  indicators: Record<string, Record<string, number | null>>;
}

class Stage {
  readonly served: Served;
  readonly venue: Venue;
  readonly id: number;
  client!: Tickwire;

  private constructor(served: Served, venue: Venue, id: number) {
    this.served = served;
    this.venue = venue;
    this.id = id;
  }

  static async open(t: TestContext): Promise<Stage> {
    const served = await serve({ graceMs: 600_000 });
    const [venue, other] = served.venues as [Venue, Venue];
    const [id] = venue.list(spot(2)) as [number];
    other.list(spot(1));
    venue.up();
    const stage = new Stage(served, venue, id);
    const keeper = await connect(served.url);
    await keeper.subscribe({ channels: "trades", symbols: "A0/USDT", exchanges: "test-a" });
    stage.client = await connect(served.url);
    t.after(async () => {
      await keeper.close();
      await stage.client.close();
      await served.stop();
    });
    return stage;
  }

  /** A trade at a time of the venue, milliseconds from now. */
  trade(price: number, offsetMs = 0): void {
    const { engine, turn } = this.served;
    engine.begin(this.venue.id);
    const { slot } = engine;
    slot.numbers.fill(0);
    slot.numbers[S.PRICE] = price;
    slot.numbers[S.SIZE] = 0.5;
    slot.numbers[S.TS_EXCHANGE] = turn.now() + offsetMs * 1000;
    slot.tradeIdLength = 0;
    engine.trade(this.id, S.SIDE_BUY, 0);
    turn.end();
  }

  /** Trades for so long that some bars of a second close. */
  async live(ms: number, random: Random): Promise<void> {
    for (let at = 0; at < ms; at += 40) {
      this.trade(random.integer(90, 110));
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  }

  /** The venue loses trades. */
  lose(): void {
    const { engine, turn } = this.served;
    engine.begin(this.venue.id);
    engine.upstreamGap(this.id, 1, 2);
    turn.end();
  }

  async rest(limit: number, building = false): Promise<RestBar[]> {
    const query = `symbol=A0/USDT&exchange=test-a&timeframe=1s&limit=${limit}&building=${building}`;
    return (await (await fetch(`${this.served.http}/bars?${query}`)).json()) as RestBar[];
  }
}

const INDICATORS = { fast: macd(3, 6, 2), hull: "HMA(4)" };

/** Where the client's bars differ from the server's; empty when they are equal. */
function difference(bars: LiveBars, rest: readonly RestBar[]): string {
  const close = (a: unknown, b: unknown) => {
    const [x, y] = [a, b].map((each) => (each === null || each === undefined ? Number.NaN : Number(each))) as [
      number,
      number,
    ];
    return (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) < 1e-9;
  };
  if (bars.count !== rest.length) return `${bars.count} bars, and ${rest.length}`;
  for (const [index, expected] of rest.entries()) {
    const row = bars.at(index) as BarRow;
    if (row.openTime !== expected.open_time * 1000) return `${index}: opened ${row.openTime} and ${expected.open_time}`;
    for (const [is, was] of [
      [row.open, expected.open],
      [row.close, expected.close],
      [row.volume, expected.volume],
      [row.tradeCount, expected.trade_count],
      [bars.close[index], expected.close],
      [row.fast.histogram, expected.indicators["macd(3,6,2)"]?.histogram],
      [row.hull.value, expected.indicators["hma(4)"]?.value],
      [bars.lane("hull", "value")[index], expected.indicators["hma(4)"]?.value],
    ])
      if (!close(is, was)) return `${index} of ${rest.length}: ${is} and ${was}`;
  }
  return "";
}

async function equal(bars: LiveBars, stage: Stage, limit = 300): Promise<void> {
  let found = "not compared";
  for (let attempt = 0; attempt < 100 && found !== ""; attempt += 1) {
    await settled(stage.served);
    found = difference(bars, await stage.rest(limit));
    if (found !== "") await new Promise((resolve) => setTimeout(resolve, 30));
  }
  assert.equal(found, "");
}

/** What a client's building bar says, and what the server's does. */
function told(row: BarRow | undefined): unknown[] {
  return [row?.state, row?.openTime, row?.open, row?.close, row?.volume, row?.tradeCount, row?.fast, row?.hull];
}

function shown({ state, open_time, open, close, volume, trade_count, indicators }: RestBar): unknown[] {
  const values = [indicators["macd(3,6,2)"], indicators["hma(4)"]];
  return [state, open_time * 1000, open, close, volume, trade_count, ...values];
}

/* Bars of a second close once a second: the tests have servers of their own, and wait side by side. */
describe("bars", { concurrency: true }, () => {
  test("history, bars as they close, a late trade's correction: equal to the server's with their indicators", async (t) => {
    const stage = await Stage.open(t);
    const random = new Random(20261128);
    await stage.live(2300, random);
    const bars = await stage.client.bars("A0/USDT", "1s", { exchange: "test-a", history: 300, indicators: INDICATORS });
    assert.ok(bars.count > 0, "warm from the first moment");
    await equal(bars, stage);
    const updates: BarRow[] = [];
    const closed: BarRow[] = [];
    const corrected: BarRow[] = [];
    bars.on("update", (row) => updates.push(row));
    bars.on("closed", (row) => closed.push(row));
    bars.on("corrected", (row) => corrected.push(row));
    const iterated = (async () => {
      const rows: BarRow[] = [];
      for await (const row of bars.closed()) {
        rows.push(row);
        if (rows.length === 2) break;
      }
      return rows;
    })();
    await stage.live(2600, random);
    const rows = await iterated;
    await equal(bars, stage);
    assert.deepEqual(
      rows.map(({ openTime }) => openTime),
      closed.slice(0, 2).map(({ openTime }) => openTime),
    );
    assert.equal(rows[1]?.prev.openTime, rows[0]?.openTime);
    assert.equal(rows[1]?.prev.fast.histogram, rows[0]?.fast.histogram);
    assert.ok(updates.some(({ state, fast }) => state === "building" && typeof fast.histogram === "number"));
    assert.equal(new Set(closed.map(({ openTime }) => openTime)).size, closed.length, "each bar closes once");
    const before = corrected.length;
    stage.trade(500, -2500);
    await eventually(() => corrected.length > before, "the correction");
    assert.equal(corrected[before]?.high, 500);
    await equal(bars, stage);
    assert.ok(corrected.length - before >= 1);
    const last = bars.last(3);
    assert.equal(last.length, 3);
    assert.ok(last[2]?.state === "building" || bars.current === undefined);
  });

  test("a history that is shorter keeps the newest, oldest first", async (t) => {
    const stage = await Stage.open(t);
    const random = new Random(7);
    await stage.live(3300, random);
    const bars = await stage.client.bars("A0/USDT", "1s", { exchange: "test-a", history: 2, indicators: INDICATORS });
    await equal(bars, stage, 2);
    await stage.live(2300, random);
    await equal(bars, stage, 2);
    assert.ok((bars.openTime[0] as number) < (bars.openTime[1] as number));
  });

  test("after a return nothing is missing", async (t) => {
    const stage = await Stage.open(t);
    const random = new Random(8);
    await stage.live(1200, random);
    const proxy = await FaultProxy.start({ target: stage.served.port, random });
    t.after(() => proxy.close());
    const client = await connect(`ws://127.0.0.1:${proxy.port}`, { reconnect: { baseMs: 300, maxMs: 600 } });
    t.after(() => client.close());
    const bars = await client.bars("A0/USDT", "1s", { exchange: "test-a", indicators: INDICATORS });
    const states: string[] = [];
    bars.on("state", ({ state, live }) => states.push(`${state} ${live}`));
    proxy.fault("cut", { how: "reset" });
    await stage.live(2500, random);
    await eventually(
      () => states.includes("live true"),
      () => states.join(),
    );
    assert.equal(states[0], "disconnected false");
    await equal(bars, stage);
  });

  test("the building bar and its indicators are those of the server at the same moment", async (t) => {
    const stage = await Stage.open(t);
    const random = new Random(20261129);
    t.diagnostic("seed 20261129");
    await stage.live(1500, random);
    const options = { exchange: "test-a", indicators: INDICATORS };
    const bars = await stage.client.bars("A0/USDT", "1s", options);
    const closedOnly = await stage.client.bars("A0/USDT", "1s", { ...options, building: false });
    const updates: BarRow[] = [];
    closedOnly.on("update", (row) => updates.push(row));
    let compared = 0;
    for (let attempt = 0; attempt < 100 && compared < 10; attempt += 1) {
      stage.trade(random.integer(90, 110));
      await settled(stage.served);
      const expected = (await stage.rest(1, true)).at(-1) as RestBar;
      if (expected.state !== "building") continue;
      const hasClosed = () => (bars.openTime.at(-1) as number) >= expected.open_time * 1000;
      const isEqual = () => isDeepStrictEqual(told(bars.current), shown(expected));
      await eventually(
        () => hasClosed() || isEqual(),
        () => inspect([told(bars.current), shown(expected)], { depth: 4 }),
      );
      if (hasClosed()) continue;
      const { current } = bars;
      assert.equal(current?.prev.openTime, bars.openTime.at(-1));
      assert.deepEqual(bars.last(1), [current]);
      compared += 1;
    }
    assert.equal(compared, 10);
    const before = updates.length;
    await stage.live(1300, random);
    await eventually(() => updates.length > before, "a bar to close");
    assert.equal(closedOnly.current, undefined);
    assert.ok(
      updates.every(({ state }) => state === "closed"),
      "of building bars nothing is told",
    );
  });

  test("a bar over a loss of the venue says so, and the ones after it do not", async (t) => {
    const stage = await Stage.open(t);
    const random = new Random(20261130);
    await stage.live(1200, random);
    const bars = await stage.client.bars("A0/USDT", "1s", { exchange: "test-a", indicators: INDICATORS });
    const rows: BarRow[] = [];
    bars.on("closed", (row) => rows.push(row));
    stage.trade(100);
    stage.lose();
    await stage.live(3300, random);
    await equal(bars, stage);
    const marks = (await stage.rest(300)).map(({ open_time, across_gap }) => [open_time * 1000, across_gap]);
    assert.deepEqual(
      rows.map(({ openTime, acrossGap }) => [openTime, acrossGap]),
      marks.slice(-rows.length),
    );
    assert.ok(rows.some(({ acrossGap }) => acrossGap) && rows.some(({ acrossGap }) => !acrossGap));
  });

  test("bars are as live as the trades that they are made of", async (t) => {
    const stage = await Stage.open(t);
    stage.trade(100);
    const bars = await stage.client.bars("A0/USDT", "1s", { exchange: "test-a" });
    const states: string[] = [];
    bars.on("state", ({ state, live, reason }) => states.push(`${state} ${live} ${reason}`.trim()));
    stage.served.engine.connection(stage.venue.id, S.STATE_DOWN, "gone");
    stage.served.turn.end();
    await eventually(
      () => states.at(-1) === "down false gone",
      () => states.join(),
    );
    stage.venue.up();
    stage.trade(101);
    await eventually(
      () => states.at(-1) === "live true",
      () => states.join(),
    );
  });

  for (const building of [true, false]) {
    test(`bars that are opened while the venue is away are not live, building: ${building}`, async (t) => {
      const stage = await Stage.open(t);
      stage.trade(100);
      stage.served.engine.connection(stage.venue.id, S.STATE_DOWN, "gone");
      stage.served.turn.end();
      const bars = await stage.client.bars("A0/USDT", "1s", { exchange: "test-a", building });
      assert.deepEqual([bars.state.live, bars.state.state], [false, "down"]);
      const states: string[] = [];
      bars.on("state", ({ state, live }) => states.push(`${state} ${live}`));
      stage.venue.up();
      stage.trade(101);
      await eventually(
        () => bars.state.live,
        () => states.join(),
      );
      assert.equal(states.at(-1), "live true");
    });
  }

  test("what cannot be had is a typed error", async (t) => {
    const { client } = await Stage.open(t);
    const coded =
      (code: string, says = /./) =>
      (error: unknown) =>
        error instanceof TickwireError && error.code === code && says.test(error.message);
    await assert.rejects(client.bars("A0/USDT", "1s"), coded("bad_request", /test-a.*test-b|test-b.*test-a/));
    await assert.rejects(client.bars("NO/PE", "1s", { exchange: "test-a" }), coded("unknown_symbol"));
    await assert.rejects(client.bars("A0/USDT", "7m", { exchange: "test-a" }), coded("unknown_timeframe"));
    await assert.rejects(
      client.bars("A0/USDT", "1s", { exchange: "test-a", indicators: { x: "rsi(14)" } }),
      coded("unknown_indicator"),
    );
    await assert.rejects(client.bars("A0/USDT", "1s", { exchange: "test-a", history: 0 }), coded("bad_option"));
    assert.throws(() => hma(0), RangeError);
  });
});
