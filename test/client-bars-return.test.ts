/**
 * Bars of a client whose server is driven by hand: what comes by frames and what is fetched meet in every order, and a
 * connection goes to another server. What the rows say in the end is what the server says.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BarRow } from "../src/client/bar-rows.ts";
import { type BarsOptions, LiveBars } from "../src/client/bars.ts";
import { LagMeter } from "../src/client/lag.ts";
import type { AckedStream } from "../src/client/message.ts";
import type { StreamInfo } from "../src/client/receiver.ts";
import type { Attached } from "../src/client/session.ts";
import type { ClientParts, Tickwire } from "../src/client/tickwire.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { SLOT_BARS, SLOT_INDICATORS, streamOf } from "../src/market/channel.ts";
import type { Instrument } from "../src/market/instrument.ts";
import { STATE_DOWN, STATE_LIVE } from "../src/market/sink.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { pageJson } from "../src/server/bar-json.ts";
import { ManualClock } from "../src/std/clock.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import { COINBASE_RULES, EngineBench } from "./gateway.ts";

const SYMBOL = "BTC/USDT";
const MINUTE = 60e6;
const TIMEFRAME = TIMEFRAMES.indexOf("1m");

/** A server: an engine, its REST, and its frames of one series. */
class Server {
  readonly bench: EngineBench;
  readonly instrument: Instrument;
  readonly indicators: IndicatorSet;
  readonly #cursor: LogCursor;
  readonly #frame = new FrameView();
  ids: number[] = [];

  /** `others` are what other clients have asked for before. */
  constructor(others: readonly string[] = []) {
    this.indicators = new IndicatorSet();
    for (const name of others) this.indicators.register(name);
    this.bench = new EngineBench(COINBASE_RULES, { indicators: this.indicators });
    this.#cursor = new LogCursor(this.bench.log);
    this.#cursor.seek(0);
    this.instrument = this.bench.start([SYMBOL]);
  }

  /** Has the series compute what a client asks for, and answers as an ack does. */
  ask(names: readonly string[]): Attached["indicators"] {
    const { bars } = this.bench.engine;
    this.ids = names.map((name) => this.indicators.register(name).id as number);
    bars.useIndicators(this.instrument.id, TIMEFRAME, this.ids);
    return bars.describeIndicators(this.ids) as Attached["indicators"];
  }

  /** One trade, and the minute goes by. */
  minute(price: number): void {
    this.bench.trade(this.instrument, price);
    this.bench.advance(MINUTE);
  }

  /** A trade of a bar that closed, `back` bars ago. */
  late(price: number, back: number): void {
    this.bench.trade(this.instrument, price, { time: this.bench.clock.now() - back * MINUTE });
  }

  rest(limit: number) {
    return pageJson(this.bench.engine.bars.bars.archive.read(this.instrument.id, TIMEFRAME, limit));
  }

  /** The series' frames since the last call. */
  read(take: (frame: FrameView, info: StreamInfo) => void): void {
    while (this.#cursor.next()) {
      const { ring, record } = this.#cursor;
      const at = ring.placeOf(record);
      this.#frame.attach(ring.memory, at + (ring.memory.i32[at >> 2] as number));
      for (const [slot, channel] of [
        [SLOT_BARS, "bars"],
        [SLOT_INDICATORS, "indicators"],
      ] as const) {
        if (this.#frame.stream === streamOf(this.instrument.id, slot + TIMEFRAME)) take(this.#frame, infoOf(channel));
      }
    }
  }

  skip(): void {
    this.read(() => {});
  }
}

function infoOf(channel: string): StreamInfo {
  const instrument = { exchange: "venue", symbol: SYMBOL };
  return { stream: 1, instrument, channel, timeframe: "1m", resumable: true };
}

/** What an ack says of the series. */
function ackedOf(state: string): AckedStream {
  return {
    stream: 1,
    channel: "bars",
    symbol: SYMBOL,
    exchange: "venue",
    timeframe: "1m",
    seq: 0,
    state,
    resumable: true,
  };
}

/** A client of whichever server is there. */
class Client {
  server: Server;
  bars!: LiveBars;
  opening!: Promise<LiveBars>;
  readonly attached: Attached = {
    id: 1,
    streams: [infoOf("bars"), infoOf("indicators")],
    acked: [ackedOf("live")],
    unavailable: [],
    indicators: [],
  };
  /** Answers of REST that are held back until they are let go. */
  readonly held: (() => void)[] = [];
  isHolding = false;
  isFailing = false;
  readonly closed: BarRow[] = [];
  readonly corrected: BarRow[] = [];
  readonly thrown: unknown[] = [];
  readonly timers = new Set<{ callback: () => void; delayMs: number }>();
  readonly ends = new Set<() => void>();
  detached = 0;
  #names: readonly string[] = [];

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(server: Server, options: BarsOptions, isWaiting = false): Promise<Client> {
    const client = new Client(server);
    const session = { detach: () => (client.detached += 1) };
    const tickwire = {
      attach: async ({ indicators = [] }: { indicators?: readonly string[] }) => {
        client.#names = indicators;
        client.attached.indicators = server.ask(indicators);
        return { session, attached: client.attached };
      },
    } as unknown as Tickwire;
    client.opening = LiveBars.open(tickwire, SYMBOL, "1m", options, client.#parts());
    if (isWaiting) return client;
    client.bars = await client.opening;
    client.bars.on("closed", (row) => client.closed.push(row));
    client.bars.on("corrected", (row) => client.corrected.push(row));
    return client;
  }

  #parts(): ClientParts {
    return {
      clock: new ManualClock(1),
      timers: {
        setTimeout: (callback, delayMs) => {
          const timer = { callback, delayMs };
          this.timers.add(timer);
          return timer;
        },
        clearTimeout: (timer) => void this.timers.delete(timer as { callback: () => void; delayMs: number }),
      },
      lag: new LagMeter(),
      isJournal: false,
      onThrow: (error) => assert.fail(String(error)),
      failed: (error) => this.thrown.push(error),
      gap: () => {},
      onEnd: (end) => {
        this.ends.add(end);
        return () => this.ends.delete(end);
      },
      get: async (path) => {
        const limit = Number(new URL(path, "http://localhost").searchParams.get("limit"));
        const answer = JSON.parse(JSON.stringify(this.server.rest(limit))) as unknown;
        if (this.isFailing) throw new Error("no answer");
        if (this.isHolding) await new Promise<void>((resolve) => this.held.push(resolve));
        return answer;
      },
    };
  }

  feed(): void {
    this.server.read((frame, info) => this.bars.frame(frame, info));
  }

  /** Lets go what REST has answered. */
  async letGo(): Promise<void> {
    for (const resolve of this.held.splice(0)) resolve();
    await settled();
  }

  /** The connection is lost, and there again: at another server, or at the same one with what was missed. */
  async move(server: Server): Promise<void> {
    this.bars.disconnected("cut");
    const isOther = server !== this.server;
    this.server = server;
    this.attached.indicators = server.ask(this.#names);
    if (isOther) server.skip();
    this.bars.connected(isOther);
    this.feed();
    this.bars.level();
    await settled();
  }

  /** The stream says what state it is in. */
  say(state: number, reason: string): void {
    const { frames } = this.server.bench.engine;
    const frame = new FrameView();
    frames.derivedState(streamOf(this.server.instrument.id, SLOT_BARS + TIMEFRAME), state, reason, 0, (memory) => {
      frame.attach(memory, memory.i32[0] as number);
      this.bars.frame(frame, infoOf("bars"));
    });
  }

  gap(): void {
    this.server.skip();
    this.bars.gap({ stream: infoOf("bars"), from: undefined, to: undefined, reason: "window" });
  }

  /** Rows and columns equal what the server's REST says now. */
  assertEqual(keys: Readonly<Record<string, string>>): void {
    const expected = this.server.rest(1000).slice(-this.bars.count);
    assert.ok(expected.length > 0);
    const rows = this.bars.last(1000).filter(({ state }) => state !== "building");
    assert.equal(rows.length, expected.length);
    for (const [index, bar] of expected.entries()) {
      const row = rows[index] as BarRow;
      assert.equal(row.openTime, bar.open_time * 1000);
      for (const field of ["open", "high", "low", "close", "volume"] as const)
        assert.equal(row[field], bar[field], field);
      assert.equal(row.tradeCount, bar.trade_count);
      for (const [key, name] of Object.entries(keys)) {
        const values = (bar.indicators as Record<string, Record<string, number>>)[name] as Record<string, number>;
        for (const [lane, value] of Object.entries(values)) {
          const own = row[key][lane];
          assert.deepEqual(Number.isNaN(own) ? null : own, value, `bar ${index}: ${key}.${lane}`);
        }
      }
    }
    assert.deepEqual(
      [...this.bars.close],
      expected.map(({ close }) => close),
    );
  }
}

/** All promises that are there have gone on. */
async function settled(): Promise<void> {
  for (let round = 0; round < 10; round += 1) await new Promise(setImmediate);
}

function times(rows: readonly { openTime: number }[]): number[] {
  return rows.map(({ openTime }) => openTime);
}

function walk(server: Server, minutes: number, from = 100): void {
  for (let minute = 0; minute < minutes; minute += 1) server.minute(from + ((minute * 7) % 11));
}

test("another server counts indicators in another way: the rows have what was asked for", async () => {
  const first = new Server();
  walk(first, 40);
  const client = await Client.open(first, { indicators: { hull: "hma(5)" } });
  const second = new Server(["hma(9)", "macd(3,5,2)"]);
  walk(second, 30, 200);
  await client.move(second);
  client.assertEqual({ hull: "hma(5)" });
  walk(second, 3, 300);
  client.feed();
  client.assertEqual({ hull: "hma(5)" });
});

test("of another server's bars nothing of the old one's is among", async () => {
  const first = new Server();
  walk(first, 40);
  const client = await Client.open(first, {});
  const second = new Server();
  walk(second, 5, 500);
  await client.move(second);
  assert.equal(client.bars.count, second.rest(1000).length);
  client.assertEqual({});
});

test("a history that cannot be had is asked for again when the next bar closes", async () => {
  const first = new Server();
  walk(first, 20);
  const client = await Client.open(first, { indicators: { hull: "hma(5)" } });
  const second = new Server(["hma(9)"]);
  walk(second, 15, 200);
  client.isFailing = true;
  await client.move(second);
  assert.equal(client.thrown.length, 1);
  client.isFailing = false;
  walk(second, 1, 210);
  client.feed();
  await settled();
  assert.equal(client.bars.count, second.rest(1000).length);
  client.assertEqual({ hull: "hma(5)" });
});

test("an answer of a server that was left is not taken", async () => {
  const first = new Server();
  walk(first, 20);
  const client = await Client.open(first, {});
  const second = new Server();
  const third = new Server();
  walk(second, 12, 300);
  walk(third, 8, 500);
  client.isHolding = true;
  await client.move(second);
  await client.move(third);
  await client.letGo();
  client.assertEqual({});
  assert.equal(client.bars.count, third.rest(1000).length);
});

test("a correction that fell into a gap is in the rows afterwards", async () => {
  const server = new Server();
  walk(server, 10);
  const client = await Client.open(server, { indicators: { hull: "hma(5)" } });
  server.late(180, 3);
  client.gap();
  await settled();
  client.assertEqual({ hull: "hma(5)" });
});

for (const indicators of [{}, { hull: "hma(5)" }] as const) {
  test(`a bar that comes only after later ones is told as a correction: ${Object.keys(indicators)}`, async () => {
    const server = new Server();
    walk(server, 10);
    const client = await Client.open(server, { indicators });
    const before = client.bars.count;
    server.minute(150);
    server.skip();
    server.minute(151);
    client.feed();
    assert.deepEqual([client.closed.length, client.corrected.length, client.bars.count], [1, 0, before + 1]);
    client.gap();
    await settled();
    client.assertEqual(indicators);
    assert.equal(client.closed.length, 1);
    const [late] = times(client.corrected);
    assert.equal(late, (client.closed[0]?.openTime as number) - MINUTE);
  });
}

test("what comes while the history is on its way is newer than the history", async () => {
  const server = new Server();
  walk(server, 10);
  const client = await Client.open(server, { indicators: { hull: "hma(5)" } });
  client.isHolding = true;
  client.gap();
  await settled();
  server.late(190, 3);
  walk(server, 2, 150);
  client.feed();
  await client.letGo();
  client.assertEqual({ hull: "hma(5)" });
});

test("every bar that closes is told once, also those that a gap took", async () => {
  const server = new Server();
  walk(server, 10);
  const client = await Client.open(server, { indicators: { hull: "hma(5)" } });
  const before = client.bars.at(-1)?.openTime as number;
  walk(server, 2);
  client.feed();
  walk(server, 3);
  client.gap();
  await settled();
  walk(server, 2);
  client.feed();
  const expected = server
    .rest(1000)
    .map((bar) => bar.open_time * 1000)
    .filter((time) => time > before);
  assert.equal(expected.length, 7);
  assert.deepEqual(times(client.closed), expected);
  assert.deepEqual(client.corrected, []);
});

test("a bar of which the history knows before its frames come is told once", async () => {
  const server = new Server();
  walk(server, 10);
  const client = await Client.open(server, { indicators: { hull: "hma(5)" } });
  walk(server, 1);
  client.bars.gap({ stream: infoOf("bars"), from: undefined, to: undefined, reason: "lag" });
  await settled();
  client.feed();
  assert.equal(client.closed.length, 1);
  assert.deepEqual(client.corrected, []);
  client.assertEqual({ hull: "hma(5)" });
});

test("two names for one indicator both have its values", async () => {
  const server = new Server();
  walk(server, 20);
  const client = await Client.open(server, { indicators: { a: "hma(5)", b: "hma(5)" } });
  walk(server, 2);
  client.feed();
  client.assertEqual({ a: "hma(5)", b: "hma(5)" });
});

test("a server that was started anew numbers indicators anew: frames by the old numbers are not taken for others", async () => {
  const server = new Server();
  walk(server, 20);
  const client = await Client.open(server, { indicators: { hull: "hma(5)", long: "hma(9)" } });
  client.bars.disconnected("cut");
  walk(server, 3);
  // As of a process in which the two were asked for the other way round; what was missed has the numbers of the old one.
  const [first, second] = client.attached.indicators as [Attached["indicators"][0], Attached["indicators"][0]];
  client.attached.indicators = [
    { ...first, id: second.id },
    { ...second, id: first.id },
  ];
  client.bars.connected(false);
  client.feed();
  client.bars.level();
  await settled();
  client.assertEqual({ hull: "hma(5)", long: "hma(9)" });
  assert.equal(client.closed.length, 3);
});

test("a venue that is down is still down after the connection came back", async () => {
  const server = new Server();
  walk(server, 3);
  const client = await Client.open(server, {});
  const told: string[] = [];
  client.bars.on("state", ({ live, state, reason }) => told.push(`${live} ${state} ${reason}`.trim()));
  client.say(STATE_DOWN, "the venue is gone");
  client.attached.acked = [ackedOf("down")];
  await client.move(server);
  assert.deepEqual(told, ["false down the venue is gone", "false disconnected cut", "false down the venue is gone"]);
  client.bars.disconnected("cut");
  client.say(STATE_LIVE, "");
  assert.equal(client.bars.state.live, false, "not before what was missed has come");
  client.bars.level();
  assert.deepEqual(client.bars.state, { live: true, state: "live", reason: "" });
});

test("another server's bars are as live as its ack says, and one that has no state frame to send is not live", async () => {
  const [first, second, third] = [0, 1, 2].map((): Server => {
    const server = new Server();
    walk(server, 1);
    return server;
  }) as [Server, Server, Server];
  const client = await Client.open(first, {});
  assert.deepEqual(client.bars.state, { live: true, state: "live", reason: "" });
  client.attached.acked = [ackedOf("stale")];
  await client.move(second);
  assert.deepEqual(client.bars.state, { live: false, state: "stale", reason: "" });
  client.attached.acked = [ackedOf("quiet")];
  await client.move(third);
  assert.deepEqual(client.bars.state, { live: true, state: "quiet", reason: "" });
});

test("no more bars are kept than were asked for, the oldest go", async () => {
  const server = new Server();
  walk(server, 12);
  const client = await Client.open(server, { history: 5, indicators: { hull: "hma(2)" } });
  for (let minute = 0; minute < 23; minute += 1) {
    assert.equal(client.bars.count, 5);
    client.assertEqual({ hull: "hma(2)" });
    const [before, newest] = [client.bars.at(-2), client.bars.at(-1)] as [BarRow, BarRow];
    assert.equal(newest.prev.openTime, before.openTime);
    assert.deepEqual(newest.prev.hull, before.hull);
    walk(server, 1, 100 + minute);
    client.feed();
  }
  assert.equal(client.closed.length, 23);
});

test("a late trade amends a row and the indicators after it, and is told as a correction", async () => {
  const server = new Server();
  walk(server, 20);
  const client = await Client.open(server, { indicators: { hull: "hma(5)", cross: "macd" } });
  server.late(150, 4);
  client.feed();
  client.assertEqual({ hull: "hma(5)", cross: "macd(12,26,9)" });
  assert.deepEqual(client.closed, []);
  const amended = client.corrected[0] as BarRow;
  assert.equal(client.bars.at(-4)?.state === "corrected" || amended.state === "corrected", true);
  assert.ok(new Set(times(client.corrected)).size >= 4, "it and the ones after it");
});

test("options that cannot be are refused before anything is asked for", async () => {
  const server = new Server();
  for (const options of [{ history: 0 }, { history: 1001 }, { history: 1.5 }, { indicators: { close: "hma(5)" } }]) {
    await assert.rejects(Client.open(server, options), { name: "TickwireError", code: "bad_option" });
  }
});

test("a venue that was not named is found, and nothing goes on after the end", async () => {
  const server = new Server();
  walk(server, 3);
  const client = await Client.open(server, {});
  assert.equal(client.bars.exchange, "venue");
  const iterator = client.bars.closed();
  await client.bars.stop();
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  assert.deepEqual(await client.bars.closed().next(), { done: true, value: undefined }, "one that comes too late");
  assert.equal(client.detached, 1);
});

test("bars that were stopped leave no timer, nothing for the client's end, and take no answer that comes later", async () => {
  const server = new Server();
  walk(server, 3);
  const client = await Client.open(server, {});
  assert.deepEqual(
    [...client.timers].map(({ delayMs }) => delayMs),
    [2_000, 10_000],
  );
  assert.equal(client.ends.size, 1);
  client.isHolding = true;
  client.gap();
  await settled();
  walk(server, 1);
  await client.bars.stop();
  assert.deepEqual([client.timers.size, client.ends.size], [0, 0]);
  client.isFailing = true;
  await client.letGo();
  assert.deepEqual([client.closed.length, client.thrown.length, client.bars.count], [0, 0, 3]);
});

test("nobody waits for the first bar of a client that was closed", async () => {
  const client = await Client.open(new Server(), {}, true);
  await settled();
  assert.deepEqual(
    [...client.timers].map(({ delayMs }) => delayMs),
    [100],
  );
  for (const end of client.ends) end();
  await assert.rejects(client.opening, { name: "TickwireError", code: "closed" });
  assert.deepEqual([client.timers.size, client.ends.size], [0, 0]);
});
