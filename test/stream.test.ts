/** Who gets what on `/stream`: bootstrap without a race, wildcards, overlaps, and nothing twice or too much. */
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Channel } from "../src/market/channel.ts";
import { channelOfSlot, instrumentOf, slotIn, streamOf, timeframeOfSlot } from "../src/market/channel.ts";
import type { Instrument } from "../src/market/instrument.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import { Random } from "../src/std/random.ts";
import type { BookFrame, Frame, StreamInfo } from "./gateway.ts";
import { eventually, HeldBook } from "./gateway.ts";
import type { Any, Served } from "./serve.ts";
import { leave, Probe, serve, settled, spot, type Venue } from "./serve.ts";

const ENCODINGS = ["tickwire.v1.json", "tickwire.v1.flatbuffers"];

function top({ engine }: Served, instrument: number, depth: number) {
  const book = engine.books.get(instrument);
  const side = (levels: Float64Array, count: number) =>
    Array.from({ length: count }, (_, index) => [levels[2 * index], levels[2 * index + 1]]);
  const memory = new Float64Array(2 * 1000);
  const bids = side(memory, book?.bids.copyTop(memory, depth) ?? 0);
  const asks = side(memory, book?.asks.copyTop(memory, depth) ?? 0);
  return { bids, asks };
}

test("a book under fire: whoever joins, whenever, has the snapshot and then the very next frame", async () => {
  const seed = 20;
  console.log(`# seed ${seed}`);
  const random = new Random(seed);
  const served = await serve();
  const [a] = served.venues as [Venue, Venue];
  const ids = a.list(spot(3));
  a.up();
  const keeper = await Probe.open(`${served.url}/stream`);
  await keeper.subscribe(1, { symbols: ["A0/USDT", "A1/USDT", "A2/USDT"], channels: ["orderbook", "trades"] });
  await settled(served);
  // Several events a turn, some of them in the very turn in which a subscribe is read.
  const fire = setInterval(() => {
    for (let event = random.integer(1, 6); event > 0; event -= 1) {
      const id = random.pick(ids);
      if (random.chance(0.02)) a.bookSnapshot(id, random.integer(8, 60));
      else a.bookDelta(id, random.chance(0.3) ? 0 : random.next(), random.integer(0, 12));
      if (random.chance(0.5)) a.trade(id);
    }
  }, 1);
  const joined: { probe: Probe; depth: number | "full" }[] = [];
  for (let client = 0; client < 40; client += 1) {
    const depth = random.pick([5, 20, 100, "full"] as const);
    const conflate = depth === "full" ? 0 : random.pick([0, 50]);
    const probe = await Probe.open(`${served.url}/stream`, { protocols: [random.pick(ENCODINGS)] });
    const id = random.pick(ids);
    const symbol = served.engine.catalog.get(id)?.symbol;
    const symbols = random.chance(0.5) ? ["*"] : [symbol];
    probe.send({
      type: "subscribe",
      id: 1,
      symbols,
      channels: ["book", "trades"],
      depth,
      conflate_ms: conflate || undefined,
    } as never);
    joined.push({ probe, depth });
    await sleep(random.integer(0, 5));
  }
  await sleep(200);
  clearInterval(fire);
  await sleep(60);
  await settled(served);
  for (const { probe, depth } of joined) {
    await probe.level();
    if (probe.messages("error").length > 0) {
      strictEqual((probe.messages("error")[0] as Any).code, "bad_request", "trades are not conflated");
      continue;
    }
    checkBooks(served, probe, depth);
  }
  ok(joined.filter(({ probe }) => probe.frames.length > 0).length > 10);
  await leave(served, keeper, ...joined.map(({ probe }) => probe));
  await served.stop();
});

/** Every stream of a client is whole from its snapshot, or for trades from its ack, on; and the books are right. */
function checkBooks(served: Served, probe: Probe, depth: number | "full"): void {
  const held = new Map<number, number>();
  const books = new Map<number, HeldBook>();
  for (const info of (probe.messages("system")[0] as unknown as { streams: StreamInfo[] }).streams) {
    held.set(info.stream, info.channel === "trades" ? info.seq : -1);
    if (info.channel === "orderbook") books.set(info.stream, new HeldBook());
  }
  for (const frame of probe.frames) {
    const before = held.get(frame.stream) as number;
    // The state of a stream that is not live comes first too.
    if (frame.type === "state" && frame.from_seq === 0) continue;
    if (before < 0) {
      deepStrictEqual([(frame as BookFrame).update_type, frame.from_seq], ["snapshot", 0], "first the snapshot");
    } else if (frame.flags.includes("derived")) {
      // A tier says nothing of frames that did not change it, so the next one may go further back.
      ok(frame.from_seq <= before + 1 && frame.seq > before, "then what follows");
    } else strictEqual(frame.from_seq, before + 1, "then the very next");
    held.set(frame.stream, frame.seq);
    if (frame.type === "orderbook") books.get(frame.stream)?.apply(frame as BookFrame);
  }
  for (const [stream, sequence] of held) {
    if (slotIn(stream) === 1) strictEqual(sequence, served.engine.frames.sequence(stream));
  }
  for (const [stream, book] of books) {
    const levels = depth === "full" ? 1000 : depth;
    deepStrictEqual(book.top(1000), top(served, instrumentOf(stream), levels), `the book at depth ${depth}`);
  }
}

/** A subscription as the model knows it. */
interface Spec {
  symbols: string[];
  exchanges: string[];
  channels: Channel[];
  timeframes: string[];
  market_types: string[];
  depth: number | "full";
  conflate_ms: number | undefined;
}

const covers = (
  spec: Spec,
  { symbol, exchange, marketType }: Instrument,
  channel: string,
  timeframe: string | undefined,
) =>
  (spec.symbols.includes("*") || spec.symbols.includes(symbol)) &&
  (spec.exchanges.includes("*") || spec.exchanges.includes(exchange)) &&
  spec.channels.includes(channel as Channel) &&
  (timeframe === undefined || spec.timeframes.includes(timeframe)) &&
  (spec.market_types.length === 0 || spec.market_types.includes(marketType));

/** One client and what it must be getting, worked out from its requests and their answers alone. */
class Model {
  readonly probe: Probe;
  readonly specs = new Map<unknown, Spec>();
  readonly known = new Map<number, StreamInfo>();
  readonly #served: Served;
  readonly #asked: (() => void)[] = [];
  readonly #held = new Map<number, number>();
  readonly books = new Map<number, HeldBook>();
  #read = 0;
  announced = 0;

  constructor(served: Served, probe: Probe) {
    this.#served = served;
    this.probe = probe;
  }

  subscribe(id: number, spec: Spec): void {
    const { market_types, conflate_ms, ...rest } = spec;
    const optional = market_types.length > 0 ? { market_types } : {};
    this.probe.send({
      type: "subscribe",
      id,
      ...rest,
      ...optional,
      ...(conflate_ms === undefined ? {} : { conflate_ms }),
    });
    this.#asked.push(() => {
      this.specs.delete(id);
      this.specs.set(id, spec);
    });
  }

  unsubscribe(id: number): void {
    this.probe.send({ type: "unsubscribe", subscription: id });
    this.#asked.push(() => this.specs.delete(id));
  }

  /** The last subscription that names a stream. */
  specOf(stream: number): Spec | undefined {
    const instrument = this.#served.engine.catalog.get(instrumentOf(stream)) as Instrument;
    const slot = slotIn(stream);
    const channel = channelOfSlot(slot) as string;
    const timeframe = TIMEFRAMES[timeframeOfSlot(slot)];
    if (!instrument.active || !instrument.channels.includes(channel as Channel)) return undefined;
    return [...this.specs.values()].findLast((spec) => covers(spec, instrument, channel, timeframe));
  }

  /** Reads what came since the last time, and checks each frame. */
  read(): void {
    for (; this.#read < this.probe.log.length; this.#read += 1) {
      const each = this.probe.log[this.#read] as Any;
      if (each.type === "system" || each.type === "error") this.#answered(each);
      else if (each.type === "stream_added") {
        this.announced += 1;
        this.#learn(each.stream as StreamInfo);
      } else if ("seq" in each) this.#frame(each as unknown as Frame);
    }
  }

  #answered(answer: Any): void {
    const apply = this.#asked.shift() as () => void;
    if (answer.type === "error") return;
    apply();
    for (const stream of this.known.keys()) {
      if (this.specOf(stream) === undefined) {
        this.known.delete(stream);
        this.#held.delete(stream);
        this.books.delete(stream);
      }
    }
    for (const info of (answer.streams ?? []) as StreamInfo[]) this.#learn(info);
  }

  #learn(info: StreamInfo): void {
    if (!this.known.has(info.stream)) this.#held.set(info.stream, info.seq);
    this.known.set(info.stream, info);
  }

  #frame(frame: Frame): void {
    const { stream, from_seq, seq, flags } = frame;
    ok(this.known.has(stream), `${frame.type} of stream ${stream} was announced`);
    ok(this.specOf(stream) !== undefined, `${frame.type} of stream ${stream} is covered`);
    const held = this.#held.get(stream) as number;
    ok(from_seq <= held + 1, `no hole in ${stream}: ${from_seq} after ${held}`);
    ok(flags.includes("derived") || seq === held + 1, `nothing twice in ${stream}: ${seq} after ${held}`);
    this.#held.set(stream, Math.max(seq, held));
    if (frame.type !== "orderbook") return;
    if (!this.books.has(stream)) this.books.set(stream, new HeldBook());
    this.books.get(stream)?.apply(frame as BookFrame);
  }
}

const CHANNELS: Channel[] = ["trades", "orderbook", "quotes", "ticker", "funding", "liquidations", "bars"];

function randomSpec(random: Random, symbols: readonly string[]): Spec {
  const some = <T>(items: readonly T[], chance: number) => items.filter(() => random.chance(chance));
  const depth = random.pick([5, 20, 20, "full"] as const);
  const picked = some(CHANNELS, 0.4);
  const channels = picked.length === 0 ? [random.pick(CHANNELS)] : picked;
  const events = channels.some((channel) => channel === "trades" || channel === "liquidations");
  const named = some(symbols, 0.3);
  return {
    symbols: random.chance(0.5) || named.length === 0 ? ["*"] : named,
    exchanges: random.pick([["*"], ["*"], ["test-a"], ["test-b"], ["test-b", "test-a"]]),
    channels,
    timeframes: random.pick([["1h"], ["1d"], ["1h", "1d"]]),
    market_types: random.pick([[], [], ["spot"], ["perp"]]),
    depth,
    conflate_ms: events || depth === "full" ? undefined : random.pick([undefined, 0, 50]),
  };
}

/** Streams of active instruments, as numbers. */
function* activeStreams({ engine }: Served): IterableIterator<number> {
  for (const { id, active } of engine.catalog.all()) {
    if (active) for (let slot = 1; slot < 30; slot += 1) if (channelOfSlot(slot) !== undefined) yield id * 32 + slot;
  }
}

const FIRED: Partial<Record<string, string>> = {
  trades: "trade",
  orderbook: "orderbook",
  quotes: "quote",
  ticker: "ticker",
  funding: "funding",
  liquidations: "liquidation",
  bars: "bar",
};

/** Fires one event of everything and counts: each client gets each of its streams once, and no other. */
async function fireAndCount(served: Served, models: readonly Model[], size: number): Promise<void> {
  const { engine, venues, turn } = served;
  const venueOf = (id: number) => venues.find((venue) => venue.id === engine.catalog.get(id)?.venue) as Venue;
  const upstream: Partial<Record<string, string>> = { bars: "trades" };
  const open = (stream: number) => {
    const channel = channelOfSlot(slotIn(stream)) as string;
    const venue = venueOf(instrumentOf(stream));
    const from = channel === "quotes" && !venue.rules.ownQuotes ? "orderbook" : (upstream[channel] ?? channel);
    return venue.subscribed.has(`${instrumentOf(stream)} ${from}`);
  };
  // The first event of a stream makes it live, which is a frame too; so the second is counted.
  for (const round of [size, size + 1]) {
    for (const model of models) model.read();
    const from = models.map(({ probe }) => probe.log.length);
    for (const { id, active } of engine.catalog.all()) if (active) venueOf(id).everything(id, round);
    await sleep(130);
    turn.now();
    turn.end();
    for (const [index, model] of models.entries()) {
      await model.probe.level();
      model.read();
      if (round === size) continue;
      const got = new Map<number, number>();
      for (const each of model.probe.log.slice(from[index])) {
        const { type, stream } = each as unknown as Frame;
        if (!("seq" in each) || type !== FIRED[channelOfSlot(slotIn(stream)) ?? ""]) continue;
        got.set(stream, (got.get(stream) ?? 0) + 1);
      }
      for (const stream of activeStreams(served)) {
        const expected =
          model.specOf(stream) !== undefined && open(stream) && channelOfSlot(slotIn(stream)) !== "indicators";
        strictEqual(got.get(stream) ?? 0, expected ? 1 : 0, `client ${index}, stream ${stream}`);
      }
    }
  }
}

/** Compares what each client was told, and its books, with the model. */
async function compare(served: Served, models: readonly Model[]): Promise<void> {
  for (const [index, model] of models.entries()) {
    const expected = [...activeStreams(served)].filter((stream) => model.specOf(stream) !== undefined);
    deepStrictEqual(
      [...model.known.keys()].sort((x, y) => x - y),
      expected,
      `client ${index} knows its streams`,
    );
    for (const stream of expected) {
      if (channelOfSlot(slotIn(stream)) !== "orderbook") continue;
      const { depth } = model.specOf(stream) as Spec;
      strictEqual(model.known.get(stream)?.depth, depth, `client ${index} knows the depth of ${stream}`);
      if (served.engine.books.get(instrumentOf(stream))?.live !== true) continue;
      const held = model.books.get(stream)?.top(1000);
      deepStrictEqual(held, top(served, instrumentOf(stream), depth === "full" ? 1000 : depth), `book ${stream}`);
    }
    const { subscriptions } = (await model.probe.ask({
      type: "list",
      id: `list ${model.probe.log.length}`,
    })) as unknown as {
      subscriptions: { id: unknown; streams: StreamInfo[] }[];
    };
    deepStrictEqual(
      subscriptions.map(({ id }) => id),
      [...model.specs.keys()],
    );
    const listed = new Set(subscriptions.flatMap(({ streams }) => streams.map(({ stream }) => stream)));
    deepStrictEqual(
      [...listed].sort((x, y) => x - y),
      expected,
      "the list names them",
    );
  }
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`random subscriptions: every client gets the streams that it covers, once (seed ${seed})`, async () => {
    const random = new Random(seed);
    const served = await serve();
    const [a, b] = served.venues as [Venue, Venue];
    const symbols = ["A0/USDT", "A1/USDT", "A2/USDT", "A3/USDT:USDT", "A4/USDT:USDT"];
    a.list(spot(symbols));
    b.list(spot(symbols.slice(1, 4)));
    a.up();
    b.up();
    const probes = [0, 1, 0].map((encoding) =>
      Probe.open(`${served.url}/stream`, { protocols: [ENCODINGS[encoding] as string] }),
    );
    const models = (await Promise.all(probes)).map((probe) => new Model(served, probe));
    let size = 1;
    for (let round = 0; round < 6; round += 1) {
      for (let action = 0; action < 12; action += 1) {
        const model = random.pick(models);
        const id = random.integer(1, 4);
        if (random.chance(0.35) && model.specs.has(id)) model.unsubscribe(id);
        else model.subscribe(id, randomSpec(random, symbols));
        for (const venue of served.venues) {
          size += 1;
          for (const instrument of venue.ids.values()) if (random.chance(0.5)) venue.everything(instrument, size);
        }
        // Sometimes the answer is awaited, sometimes requests pile up in one turn.
        if (random.chance(0.5)) await model.probe.level();
        model.read();
      }
      for (const model of models) await model.probe.level();
      await settled(served);
      for (const model of models) await model.probe.level();
      await settled(served);
      await fireAndCount(served, models, size + 10);
      size += 20;
      await compare(served, models);
    }
    ok(
      models.some(({ announced }) => announced > 0),
      "some streams were announced",
    );
    await leave(served, ...models.map(({ probe }) => probe));
    await checkEmpty(served);
    await served.stop();
  });
}

/** When all clients are gone nothing is held, computed or subscribed for them. */
async function checkEmpty(served: Served): Promise<void> {
  const { engine, server, demand, venues } = served;
  strictEqual(server.services.publisher.topics.memberships, 0, "nobody is in a topic");
  strictEqual(engine.derived.streams, 0, "no derived stream is computed");
  strictEqual(demand.counts.wanted, 0, "nothing is wanted");
  await eventually(() => demand.counts.ending === 0, "the grace periods to end");
  for (const venue of venues) deepStrictEqual([...venue.subscribed], [], "nothing is subscribed at the venue");
  for (const { id } of engine.catalog.all()) strictEqual(engine.bars.bars.isActive(id, 10), false, "no bars of a day");
}

test("a stream that nobody feeds any more is level for who joins it in another form", async () => {
  const served = await serve();
  const [a] = served.venues as [Venue, Venue];
  const [id] = a.list(spot(1)) as [number];
  a.up();
  const namer = await Probe.open(`${served.url}/stream`);
  await namer.subscribe(1, { symbols: ["A0/USDT"], channels: ["orderbook"] });
  await settled(served);
  for (const depth of [20, "full"]) {
    const probe = await Probe.open(`${served.url}/stream`);
    await probe.subscribe(1, { symbols: ["*"], channels: ["orderbook"], depth: 5 });
    await settled(served);
    await probe.level();
    const { backlog } = served.server.services;
    // Between the ack of the other form and its join the book changes, and its last feeder goes.
    const add = backlog.add.bind(backlog);
    backlog.add = (task) => {
      backlog.add = add;
      add(task);
      for (const size of [2, 3, 4]) a.bookDelta(id, size);
      served.engine.close(served.engine.catalog.get(id) as Instrument, "orderbook");
    };
    await probe.subscribe(1, { symbols: ["*"], channels: ["orderbook"], depth });
    await settled(served);
    served.engine.open(served.engine.catalog.get(id) as Instrument, "orderbook");
    await settled(served);
    await eventually(() => served.engine.books.get(id)?.live === true, "the book");
    a.bookDelta(id, 9);
    await settled(served);
    await probe.level();
    let held = 0;
    for (const { stream, from_seq, seq } of probe.frames) {
      if (stream !== streamOf(id, 2)) continue;
      ok(from_seq <= held + 1, `no hole at ${depth}: ${from_seq} after ${held}`);
      held = Math.max(held, seq);
    }
    strictEqual(held, served.engine.frames.sequence(streamOf(id, 2)), `level at ${depth}`);
    await leave(served, probe);
  }
  await leave(served, namer);
  await served.stop();
});

test("a wildcard over more than 1,000 instruments is acked in a turn of its own, and misses none that comes meanwhile", async () => {
  const served = await serve();
  const [a] = served.venues as [Venue, Venue];
  const ids = a.list(spot(1300, ["trades"]));
  a.up();
  const names = ids.map((_, index) => `A${index}/USDT`);
  const namer = await Probe.open(`${served.url}/stream`);
  await namer.subscribe(1, { symbols: names.slice(0, 550), channels: ["trades"] });
  await namer.subscribe(2, { symbols: names.slice(550, 1100), channels: ["trades"] });
  for (const id of ids.slice(0, 1100)) a.trade(id);
  await settled(served);
  const probe = await Probe.open(`${served.url}/stream`);
  probe.send({ type: "subscribe", id: "all", symbols: ["*"], channels: ["trades"] });
  probe.send({ type: "ping", id: "after" });
  // Two hundred instruments become active, each in a turn of its own, while that is under way.
  for (let index = 1100; index < 1300; index += 1) {
    namer.send({ type: "subscribe", id: index, symbols: [names[index]], channels: ["trades"] });
    if (index % 20 === 0) await namer.level();
  }
  await namer.level();
  const ack = await probe.answer("all");
  await probe.answer("after");
  await settled(served);
  for (const id of ids) a.trade(id);
  await settled(served);
  await probe.level();
  const kinds = probe.log.filter((each) => each.id === "all" || each.id === "after" || each.type === "stream_added");
  strictEqual(kinds[0], ack, "the ack comes before what it announces");
  const told = probe.messages("stream_added").map(({ stream }) => (stream as { stream: number }).stream);
  strictEqual(told.length, 1300, "each is told once");
  strictEqual(new Set(told).size, 1300);
  for (const id of ids) {
    const stream = streamOf(id, 1);
    const trades = probe.frames.filter((frame) => frame.stream === stream && frame.type === "trade");
    const sequences = trades.map((frame) => frame.seq);
    ok(sequences.length >= 1, `a trade of ${id}`);
    strictEqual(sequences.at(-1), served.engine.frames.sequence(stream), "the last");
    strictEqual(new Set(sequences).size, sequences.length, "none twice");
  }
  await served.stop();
});

test("a wildcard covers instruments that become active later, announced before their first frame", async () => {
  for (const many of [3, 300]) {
    const served = await serve({ limits: { subscriptions: many } });
    const [a, b] = served.venues as [Venue, Venue];
    const ids = a.list(spot(many));
    a.up();
    b.up();
    const wild = await Promise.all(
      ENCODINGS.map((protocol) => Probe.open(`${served.url}/stream`, { protocols: [protocol] })),
    );
    const filtered = await Probe.open(`${served.url}/stream`);
    for (const probe of wild) {
      const ack = await probe.subscribe("all", { symbols: ["*"], channels: ["trades", "orderbook"], depth: "full" });
      deepStrictEqual([ack.streams, ack.unavailable], [[], []]);
    }
    await filtered.subscribe("none", { symbols: ["*"], exchanges: ["test-b"], channels: ["trades"] });
    strictEqual(served.demand.counts.wanted, 0, "a wildcard raises no demand");
    await settled(served);
    const namer = await Probe.open(`${served.url}/stream`);
    for (const [index, id] of ids.entries()) {
      namer.send({ type: "subscribe", id: index, symbols: [`A${index}/USDT`], channels: ["trades", "orderbook"] });
      if (index % 50 === 0) await settled(served);
      a.everything(id, 1);
    }
    await namer.level();
    await settled(served);
    for (const id of ids) a.everything(id, 2);
    await settled(served);
    for (const probe of wild) {
      await probe.level();
      const model = new Model(served, probe);
      model.subscribe = () => {};
      strictEqual(probe.messages("stream_added").length, 2 * many);
      ok(probe.messages("stream_added").every(({ subscription }) => subscription === "all"));
      const seen = new Set<number>();
      const held = new Map<number, number>();
      for (const each of probe.log) {
        if (each.type === "stream_added") {
          const { stream, seq } = each.stream as StreamInfo;
          seen.add(stream);
          held.set(stream, seq);
        } else if ("seq" in each) {
          const { stream, from_seq, seq } = each as unknown as Frame;
          ok(seen.has(stream), "announced first");
          ok(from_seq === 0 || from_seq === (held.get(stream) as number) + 1, `stream ${stream}: ${from_seq}`);
          held.set(stream, seq);
        }
      }
      for (const [stream, seq] of held) strictEqual(seq, served.engine.frames.sequence(stream));
    }
    await filtered.level();
    strictEqual(filtered.messages("stream_added").length, 0);
    await leave(served, ...wild, filtered, namer);
    await checkEmpty(served);
    await served.stop();
  }
});

test("more than 1,000 streams: the ack counts, stream_added names each, and all come", async () => {
  const served = await serve();
  const [a] = served.venues as [Venue, Venue];
  const ids = a.list(spot(600));
  a.up();
  const keeper = await Probe.open(`${served.url}/stream`);
  await keeper.subscribe(1, {
    symbols: Array.from({ length: 600 }, (_, index) => `A${index}/USDT`),
    channels: ["trades", "ticker"],
  });
  const probe = await Probe.open(`${served.url}/stream?encoding=flatbuffers`);
  const ack = await probe.subscribe("big", { symbols: "*", channels: ["trades", "ticker"] });
  deepStrictEqual([ack.streams, ack.stream_count], [[], 1200]);
  for (const id of ids) a.everything(id, 1);
  await settled(served);
  await probe.level();
  strictEqual(probe.messages("stream_added").length, 1200);
  const from = probe.log.length;
  for (const id of ids) a.everything(id, 2);
  await settled(served);
  await probe.level();
  strictEqual(probe.log.slice(from).filter((each) => "seq" in each).length, 1200);
  // A list stops at 1,000 streams, and says how many there are.
  const { subscriptions } = (await probe.ask({ type: "list", id: "l" })) as unknown as { subscriptions: Any[] };
  const [listed] = subscriptions as [Any];
  deepStrictEqual([(listed.streams as Any[]).length, listed.stream_count], [1000, 1200]);
  const gone = probe.log.length;
  await probe.ask({ type: "unsubscribe", id: "u", subscription: "big" });
  for (const id of ids) a.everything(id, 3);
  await settled(served);
  await probe.level();
  strictEqual(probe.log.slice(gone).filter((each) => "seq" in each).length, 0, "nothing after the unsubscribe");
  await leave(served, probe, keeper);
  await checkEmpty(served);
  await served.stop();
});

test("a tier's conflation is not broken for others by those who join other streams", async () => {
  const served = await serve();
  const [a] = served.venues as [Venue, Venue];
  const [first] = a.list(spot(2)) as [number, number];
  a.up();
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "A0/USDT", channels: ["book", "ticker"], conflate_ms: 1000 });
  await settled(served);
  const other = await Probe.open(`${served.url}/stream`);
  const started = Date.now();
  for (let round = 0; round < 50; round += 1) {
    a.everything(first, round + 1);
    await other.subscribe(round % 3, { symbols: "A1/USDT", channels: ["book", "ticker", "trades"] });
  }
  await probe.level();
  const periods = Math.floor((Date.now() - started) / 1000) + 2;
  const tickers = probe.messages("ticker").length;
  ok(tickers <= periods, `${tickers} frames in ${periods} periods`);
  await leave(served, probe, other);
  await checkEmpty(served);
  await served.stop();
});

test("demand: one subscription at the venue, however many ask, gone with the last", async () => {
  const served = await serve({ graceMs: 20 });
  const [a] = served.venues as [Venue, Venue];
  const [id] = a.list(spot(1)) as [number];
  a.up();
  const probes = await Promise.all(Array.from({ length: 5 }, () => Probe.open(`${served.url}/stream`)));
  for (const probe of probes) {
    await probe.subscribe(1, { symbols: "A0/USDT", channels: ["trades", "bars", "indicators"] });
    await probe.subscribe(2, { symbols: "A0/USDT", channels: ["trades"] });
  }
  deepStrictEqual(a.calls, [`+${id} trades`]);
  const [first, last] = [probes[0] as Probe, probes[4] as Probe];
  await first.ask({ type: "unsubscribe", id: "u", subscription: 1 });
  await leave(served, ...probes.slice(0, 4));
  deepStrictEqual(a.calls, [`+${id} trades`]);
  await last.ask({ type: "unsubscribe", id: "u", subscription: 1 });
  await last.ask({ type: "unsubscribe", id: "v", subscription: 2 });
  await eventually(() => a.calls.length === 2, "the venue to be left");
  deepStrictEqual(a.calls, [`+${id} trades`, `-${id} trades`]);
  // Within the grace period a return costs the venue nothing.
  await last.subscribe(1, { symbols: "A0/USDT", channels: ["trades"] });
  await last.ask({ type: "unsubscribe", id: "w", subscription: 1 });
  await last.subscribe(1, { symbols: "A0/USDT", channels: ["trades"] });
  deepStrictEqual(a.calls, [`+${id} trades`, `-${id} trades`, `+${id} trades`]);
  await leave(served, last);
  await checkEmpty(served);
  await served.stop();
});
