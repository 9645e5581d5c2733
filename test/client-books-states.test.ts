/** What a client of books is told: when they are there, when a connection goes and comes, and what another server lacks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Books, type BooksOptions } from "../src/client/books.ts";
import { connect } from "../src/client/index.ts";
import { LagMeter } from "../src/client/lag.ts";
import type { InstrumentName, StreamInfo } from "../src/client/receiver.ts";
import type { Attached } from "../src/client/session.ts";
import type { ClientParts, Tickwire } from "../src/client/tickwire.ts";
import { ManualClock } from "../src/std/clock.ts";
import { FLAG_DERIVED, FLAG_LAST_OF_EVENT, FLAG_SNAPSHOT, writeBookLevels, writeHeader } from "../src/wire/frame.ts";
import { FrameView } from "../src/wire/generated/views.ts";
import { scratchMemory } from "../src/wire/memory.ts";
import { eventually } from "./gateway.ts";
import { serve, spot, type Venue } from "./serve.ts";

/** Books of two instruments, and a session that does what the test says. */
class Stage {
  books!: Books;
  readonly clock = new ManualClock(1e15);
  readonly told: string[] = [];
  readonly attached: Attached;
  readonly streams: StreamInfo[];
  readonly timers: { callback: () => void; delayMs: number }[] = [];
  ends: (() => void)[] = [];
  readonly #memory = scratchMemory(4096);
  readonly #frame = new FrameView();

  constructor() {
    this.streams = ["A/USDT", "B/USDT"].map((symbol, stream): StreamInfo => {
      const instrument: InstrumentName = { exchange: "venue", symbol };
      return { stream, instrument, channel: "orderbook", timeframe: undefined, resumable: true };
    });
    this.attached = { id: 1, streams: this.streams, acked: [], unavailable: [], indicators: [] };
  }

  open(options: Partial<BooksOptions> = {}): Promise<Books> {
    const client = {
      attach: async (_spec: unknown, receiver: Books) => {
        this.books = receiver;
        receiver.on("change", ({ symbol, state, reason }) => this.told.push(`${symbol} ${state} ${reason}`.trim()));
        return { session: { detach: () => {} }, attached: this.attached };
      },
    } as unknown as Tickwire;
    const parts: ClientParts = {
      clock: this.clock,
      timers: {
        setTimeout: (callback, delayMs) => this.timers.push({ callback, delayMs }),
        clearTimeout: (handle) => this.timers.splice((handle as number) - 1, 1),
      },
      lag: new LagMeter(),
      isJournal: false,
      onThrow: (error) => {
        throw error;
      },
      failed: (error) => assert.fail(error),
      gap: () => {},
      get: async () => [],
      onEnd: (end) => {
        this.ends.push(end);
        return () => {
          this.ends = this.ends.filter((each) => each !== end);
        };
      },
    };
    return Books.open(client, { symbols: ["A/USDT", "B/USDT"], ...options }, parts);
  }

  /** A whole book of one level a side. */
  snapshot(index: number, bid: number): void {
    const levels = [Float64Array.of(bid, 1), Float64Array.of(bid + 1, 1)] as const;
    writeBookLevels(this.#memory, 0, new Float64Array(32), levels[0], 0, 1, levels[1], 0, 1);
    writeHeader(this.#memory, 0, new Float64Array(7), index, 1, FLAG_DERIVED | FLAG_SNAPSHOT | FLAG_LAST_OF_EVENT);
    this.#frame.attach(this.#memory, this.#memory.i32[0] as number);
    this.books.frame(this.#frame, this.streams[index] as StreamInfo);
  }

  tell(): string[] {
    return this.told.splice(0);
  }
}

async function opened(options: Partial<BooksOptions> = {}): Promise<Stage> {
  const stage = new Stage();
  const books = stage.open(options);
  await new Promise(setImmediate);
  stage.snapshot(0, 99);
  stage.snapshot(1, 49);
  await books;
  assert.deepEqual(stage.ends, [], "nothing is left to be done at the client's end");
  assert.deepEqual(stage.tell(), ["A/USDT live", "B/USDT live"]);
  return stage;
}

test("books are there once each is live, or after a while, and the state says which", async () => {
  const stage = new Stage();
  let isThere = false;
  const opening = stage.open({ waitMs: 1234 }).then(() => {
    isThere = true;
  });
  await new Promise(setImmediate);
  stage.snapshot(0, 99);
  await new Promise(setImmediate);
  assert.equal(isThere, false);
  assert.deepEqual(
    stage.timers.map(({ delayMs }) => delayMs),
    [1234],
  );
  stage.timers[0]?.callback();
  await opening;
  assert.deepEqual(
    stage.books.all.map(({ state, live }) => [state, live]),
    [
      ["live", true],
      ["syncing", false],
    ],
  );
  stage.snapshot(1, 49);
  assert.equal(stage.books.get("venue", "B/USDT")?.bid(), 49);
});

test("nobody waits for books of a client that was closed", async () => {
  const stage = new Stage();
  const opening = stage.open();
  await new Promise(setImmediate);
  for (const end of stage.ends) end();
  await opening;
  assert.deepEqual(stage.timers, []);
});

test("a connection that goes and comes back is told of each book once", async () => {
  const stage = await opened();
  stage.books.disconnected("cut");
  stage.books.connected(false);
  assert.deepEqual(stage.tell(), ["A/USDT disconnected cut", "B/USDT disconnected cut"]);
  stage.books.level();
  assert.deepEqual(stage.tell(), ["A/USDT live", "B/USDT live"]);
});

test("a gap is of one book, until its next snapshot", async () => {
  const stage = await opened();
  stage.books.gap({ stream: stage.streams[0] as StreamInfo, from: 3, to: 7, reason: "lag" });
  assert.deepEqual(stage.tell(), ["A/USDT gap lag"]);
  stage.books.level();
  assert.deepEqual(stage.tell(), []);
  stage.snapshot(0, 98);
  assert.deepEqual(stage.tell(), ["A/USDT live"]);
});

test("another server: what it has not got is said, what it has begins anew", async () => {
  const stage = await opened();
  stage.books.disconnected("cut");
  stage.tell();
  stage.attached.unavailable = [{ exchange: "venue", symbol: "B/USDT", code: "unknown_symbol" }];
  stage.books.connected(true);
  stage.books.level();
  assert.deepEqual(stage.tell(), ["A/USDT syncing another server", "B/USDT unknown unknown_symbol"]);
  assert.deepEqual(stage.books.unavailable, stage.attached.unavailable);
  stage.snapshot(0, 97);
  assert.deepEqual(stage.tell(), ["A/USDT live"]);
  assert.equal(stage.books.get("venue", "A/USDT")?.bid(), 97);
});

test("options that cannot be are refused", async () => {
  for (const options of [{ maxLagMs: -1 }, { maxLagMs: Number.NaN }, { waitMs: -1 }]) {
    await assert.rejects(new Stage().open(options), { name: "TickwireError", code: "bad_option" });
  }
});

test("a venue that sends no book holds nobody up", async (t) => {
  const served = await serve();
  t.after(() => served.stop());
  const [venue, other] = served.venues as [Venue, Venue];
  venue.list(spot(["BTC/USDT"]));
  other.list(spot(["BTC/USDT"]));
  venue.up();
  other.resyncBook = () => {};
  const client = await connect(served.url);
  t.after(() => client.close());
  const books = await client.books({ symbols: "BTC/USDT", waitMs: 50 });
  await eventually(() => books.get("test-a", "BTC/USDT")?.live === true, "the one that is there");
  assert.deepEqual([books.get("test-b", "BTC/USDT")?.state, books.all.length], ["syncing", 2]);
});

test("nothing is live once the client, or a part of it, was closed", async (t) => {
  const served = await serve({ graceMs: 600_000 });
  t.after(() => served.stop());
  const [venue] = served.venues as [Venue, Venue];
  venue.list(spot(2));
  venue.up();
  const client = await connect(served.url);
  const [first, second] = await Promise.all(
    ["A0/USDT", "A1/USDT"].map((symbols) => client.books({ symbols, exchanges: "test-a" })),
  );
  const bars = await client.bars("A0/USDT", "1s", { exchange: "test-a", waitMs: 0 });
  const told: string[] = [];
  first?.on("change", ({ symbol, state, reason }) => told.push(`${symbol} ${state} ${reason}`));
  second?.on("change", ({ symbol, state, reason }) => told.push(`${symbol} ${state} ${reason}`));
  bars.on("state", ({ live, state, reason }) => told.push(`${live} ${state} ${reason}`));
  assert.deepEqual([first?.all[0]?.live, second?.all[0]?.live], [true, true]);
  await first?.close();
  assert.deepEqual(told.splice(0), ["A0/USDT disconnected closed"]);
  assert.equal(second?.all[0]?.live, true);
  await client.close();
  assert.deepEqual(told.sort(), [
    "A1/USDT disconnected the client was closed",
    "false disconnected the client was closed",
  ]);
});
