/** The protocol of `/stream`, `/raw` and `/ws/{symbol}`, message by message, through real sockets. */
import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./gateway.ts";
import type { Any, Served, ServeOptions } from "./serve.ts";
import { leave, Probe, serve, settled, spot, type Venue } from "./serve.ts";

/** A server with BTC/USDT at both venues, ETH/USDT and a perpetual at test-a. */
async function served(options: ServeOptions = {}): Promise<Served & { a: Venue; b: Venue; btc: number }> {
  const server = await serve(options);
  const [a, b] = server.venues as [Venue, Venue];
  a.list(spot(["BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"]));
  b.list(spot(["BTC/USDT"]));
  a.up();
  b.up();
  return { ...server, a, b, btc: a.ids.get("BTC/USDT") as number };
}

const streamsOf = (ack: Any) => ack.streams as Any[];
const names = (ack: Any) => streamsOf(ack).map(({ channel, symbol, exchange }) => `${exchange} ${symbol} ${channel}`);

test("hello, a heartbeat, then the ack", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  await probe.subscribe(1, { symbols: "btc/usdt", exchanges: "TEST-A", channels: ["trades", "book", "BBO"] });
  const [hello, heartbeat, ack] = probe.log as [Any, Any, Any];
  const { example, position, ...rest } = hello;
  strictEqual(position, 8, "what the venues' names and states took");
  deepStrictEqual(rest, {
    type: "hello",
    version: "1.2.3",
    mode: "simulated",
    epoch: 1e15 + 7,
    window_seconds: 0,
    heartbeat_ms: 30_000,
  });
  strictEqual((await probe.ask({ ...JSON.parse(example as string), id: "example" })).status, "subscribed");
  deepStrictEqual(Object.keys(heartbeat), ["type", "ts_server", "position", "queue_bytes", "lag_ms"]);
  strictEqual(Math.abs((heartbeat.ts_server as number) - Date.now()) < 60_000, true, "milliseconds");
  strictEqual(ack.type, "system");
  deepStrictEqual(ack.received, {
    type: "subscribe",
    id: 1,
    symbols: "btc/usdt",
    exchanges: "TEST-A",
    channels: ["trades", "book", "BBO"],
  });
  deepStrictEqual(streamsOf(ack)[1], {
    stream: server.btc * 32 + 2,
    channel: "orderbook",
    symbol: "BTC/USDT",
    exchange: "test-a",
    depth: 20,
    conflate_ms: 0,
    seq: 1,
    state: "syncing",
    resumable: false,
  });
  deepStrictEqual([ack.unavailable, ack.indicators, ack.stream_count], [[], undefined, undefined]);
  await leave(server, probe);
  await server.stop();
});

test("the defaults, and what a venue does not have", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  const ack = await probe.subscribe(1, { symbols: ["BTC/USDT", "BTCUSDT"] });
  deepStrictEqual(names(ack), [
    "test-a BTC/USDT trades",
    "test-a BTC/USDT orderbook",
    "test-a BTC/USDT ticker",
    "test-b BTC/USDT trades",
    "test-b BTC/USDT orderbook",
    "test-b BTC/USDT ticker",
  ]);
  deepStrictEqual(
    (ack.unavailable as Any[]).map(({ exchange, symbol, channel, code }) => [exchange, symbol, channel, code]),
    [
      ["test-a", "BTC/USDT", "funding", "not_available"],
      ["test-b", "BTC/USDT", "funding", "not_available"],
      ["*", "BTCUSDT", undefined, "unknown_symbol"],
    ],
  );
  match(JSON.stringify(ack.unavailable), /did you mean \\"BTC\/USDT\\"/);
  // One of two exchanges is unknown, one has no such symbol: the rest is served.
  const partly = await probe.subscribe(2, { symbols: ["ETH/USDT"], exchanges: ["test-a", "test-b", "tset-a"] });
  deepStrictEqual(
    (partly.unavailable as Any[])
      .filter(({ channel }) => channel === undefined)
      .map(({ exchange, code }) => [exchange, code]),
    [
      ["tset-a", "unknown_exchange"],
      ["test-b", "unknown_symbol"],
    ],
  );
  await leave(server, probe);
  await server.stop();
});

test("market types narrow, by name and by wildcard", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  await probe.subscribe("all", { symbols: ["BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"], channels: "trades" });
  const perpetual = await probe.subscribe(1, { symbols: "*", channels: "trades", market_types: ["perp"] });
  deepStrictEqual(names(perpetual), ["test-a BTC/USDT:USDT trades"]);
  const one = await probe.subscribe(2, {
    symbols: ["BTC/USDT", "BTC/USDT:USDT"],
    market_types: "perp",
    channels: "funding",
  });
  deepStrictEqual(names(one), ["test-a BTC/USDT:USDT funding"]);
  deepStrictEqual(
    (one.unavailable as Any[]).map(({ exchange, code }) => [exchange, code]),
    [
      ["test-a", "not_available"],
      ["test-b", "not_available"],
    ],
  );
  await leave(server, probe);
  await server.stop();
});

/** Requests that are answered with a code; the connection goes on. */
const REFUSED: readonly [request: object, code: string, message: RegExp][] = [
  [{ type: "subscribe" }, "bad_request", /symbols must be given/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], chanels: ["trades"] }, "bad_request", /did you mean "channels"/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], channels: ["trade", "tradez"] }, "unknown_channel", /"trades"/],
  [{ type: "subscribe", symbols: ["NOPE/USDT"] }, "unknown_symbol", /unknown symbol "NOPE\/USDT"/],
  [{ type: "subscribe", symbols: ["ETHUSDT"] }, "unknown_symbol", /did you mean "ETH\/USDT"/],
  [{ type: "subscribe", symbols: ["ETH/USDT"], exchanges: ["test-b"] }, "unknown_symbol", /test-a has/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], exchanges: ["tets-a"] }, "unknown_exchange", /did you mean "test-a"/],
  [{ type: "subscribe", symbols: ["*"], exchanges: ["consolidated"] }, "unknown_exchange", /one of test-a, test-b/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], channels: "bars", timeframes: ["2m"] }, "unknown_timeframe", /1m/],
  [
    { type: "subscribe", symbols: ["BTC/USDT"], channels: "indicators", indicators: ["rsi"] },
    "unknown_indicator",
    /rsi/,
  ],
  [
    { type: "subscribe", symbols: ["*"], channels: "indicators", indicators: ["hma(9)"] },
    "bad_request",
    /named symbols/,
  ],
  [
    { type: "subscribe", symbols: ["BTC/USDT"], channels: "trades", conflate_ms: 100 },
    "bad_request",
    /never conflated/,
  ],
  [{ type: "subscribe", symbols: ["BTC/USDT"], channels: "liquidations", conflate_ms: 50 }, "bad_request", /never/],
  [
    { type: "subscribe", symbols: ["BTC/USDT"], channels: "bars", bars: "closed", conflate_ms: 50 },
    "bad_request",
    /never/,
  ],
  [
    { type: "subscribe", symbols: ["BTC/USDT"], channels: "book", depth: "full", conflate_ms: 50 },
    "bad_request",
    /never/,
  ],
  [{ type: "subscribe", symbols: ["BTC/USDT"], conflate_ms: 70 }, "bad_request", /50, 100, 250, 1000/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], market_types: ["swap"] }, "bad_request", /perp/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], market_types: ["perp"] }, "not_available", /is spot/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], channels: ["funding"] }, "not_available", /has no funding/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], resume: { epoch: 1 } }, "bad_request", /resume.position/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], resume: { epoch: 1, position: -2 } }, "bad_request", /resume.position/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], from: "now-5x" }, "bad_request", /now-250ms/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], from: "2100-01-01" }, "bad_request", /future/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], from: "now-1d", strict: true }, "not_available", /window begins at 2/],
  [{ type: "subscribe", symbols: ["BTC/USDT"], strict: true }, "bad_request", /strict/],
  [
    { type: "subscribe", symbols: ["BTC/USDT"], from: "now-5m", resume: { epoch: 1, position: 2 } },
    "bad_request",
    /one of them/,
  ],
  [{ type: "subscribe", symbols: ["BTC/USDT"], max_lag_ms: 1 }, "bad_request", /max_lag_ms/],
  [{ type: "unsubscribe", subscription: "nobody" }, "bad_request", /no subscription "nobody"/],
  [{ type: "unsubscribe" }, "bad_request", /subscription/],
  [{ type: "fetch", stream: 1, from: 1, to: 2 }, "bad_request", /no frame/],
  [{ type: "fetch", stream: 1, from: 2, to: 1 }, "bad_request", /below from/],
  [{ type: "fetch", stream: 1 }, "bad_request", /from/],
  [{ type: "auth", token: "x" }, "not_available", /auth/],
  [{ type: "subscrib", symbols: ["BTC/USDT"] }, "unknown_type", /did you mean "subscribe"/],
  [{ type: "ping", more: 1 }, "bad_request", /unknown key "more"/],
];

test("errors have their codes, name the request, and close nothing", async () => {
  const server = await served();
  for (const protocol of ["tickwire.v1.json", "tickwire.v1.flatbuffers"]) {
    const probe = await Probe.open(`${server.url}/stream`, { protocols: [protocol] });
    for (const [index, [request, code, message]] of REFUSED.entries()) {
      const answer = await probe.ask({ id: `no ${index}`, ...request });
      deepStrictEqual([answer.type, answer.code], ["error", code], JSON.stringify([request, answer]));
      match(answer.message as string, message);
    }
    deepStrictEqual((await probe.ask({ type: "list", id: "list" })).subscriptions, []);
    strictEqual(server.demand.counts.wanted, 0, "a refused request wants nothing");
    await leave(server, probe);
  }
  await server.stop();
});

test("list, ping, unsubscribe and a subscription that comes again", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  await probe.subscribe("one", { symbols: ["BTC/USDT"], exchanges: ["test-a"], channels: ["trades"] });
  probe.send({ type: "subscribe", symbols: ["ETH/USDT"], channels: "ticker" });
  await probe.until(() => probe.messages("system").length === 2, "the ack");
  const free = probe.messages("system")[1] as Any;
  strictEqual(free.id, 1, "an id is given where there is none");
  await probe.subscribe("one", {
    symbols: ["BTC/USDT"],
    exchanges: ["test-a"],
    channels: ["bars"],
    timeframes: ["m", "5m"],
  });
  const { subscriptions } = (await probe.ask({ type: "list", id: 3 })) as unknown as { subscriptions: Any[] };
  deepStrictEqual(
    subscriptions.map(({ id, streams }) => [
      id,
      (streams as Any[]).map(({ channel, timeframe }) => `${channel} ${timeframe}`),
    ]),
    [
      [1, ["ticker undefined"]],
      ["one", ["bars 1m", "bars 5m"]],
    ],
  );
  deepStrictEqual(subscriptions[1]?.request, {
    channels: ["bars"],
    symbols: ["BTC/USDT"],
    exchanges: ["test-a"],
    timeframes: ["1m", "5m"],
    depth: 20,
  });
  const pong = await probe.ask({ type: "ping", id: 4 });
  deepStrictEqual([pong.type, typeof pong.ts_server], ["pong", "number"]);
  const gone = await probe.ask({ type: "unsubscribe", id: "bye", subscription: "one" });
  deepStrictEqual(gone, { type: "system", status: "unsubscribed", id: "bye", subscription: "one" });
  strictEqual(((await probe.ask({ type: "list", id: 5 })).subscriptions as Any[]).length, 1);
  await leave(server, probe);
  await server.stop();
});

test("what a subscriber of each channel gets first", async () => {
  const server = await served();
  const { a, btc } = server;
  const warm = await Probe.open(`${server.url}/stream`);
  await warm.subscribe(1, { symbols: ["BTC/USDT", "BTC/USDT:USDT"], exchanges: ["test-a"], channels: ["*"] });
  await settled(server);
  const perpetual = a.ids.get("BTC/USDT:USDT") as number;
  for (const id of [btc, perpetual]) a.everything(id, 7);
  const probe = await Probe.open(`${server.url}/stream?time_unit=us`);
  const ack = await probe.subscribe(1, {
    symbols: ["BTC/USDT"],
    exchanges: ["test-a"],
    channels: ["*"],
    depth: "full",
  });
  await settled(server);
  await probe.level();
  const first = probe.frames.map(({ type, seq, from_seq, flags }) => [type, from_seq, seq, flags.includes("snapshot")]);
  const sequence = (channel: string) => streamsOf(ack).find((each) => each.channel === channel)?.seq;
  deepStrictEqual(first, [
    ["orderbook", 0, sequence("orderbook"), true],
    ["quote", 0, sequence("quotes"), true],
    ["ticker", 0, sequence("ticker"), true],
    ["bar", 0, sequence("bars"), true],
    ["indicators", 0, sequence("indicators"), true],
  ]);
  // A stream that is not live says so first.
  const other = await Probe.open(`${server.url}/stream`);
  await other.subscribe(1, { symbols: ["ETH/USDT"], channels: ["trades"] });
  await settled(server);
  await other.level();
  deepStrictEqual(
    other.frames.map(({ type, from_seq }) => [type, from_seq]),
    [["state", 0]],
  );
  const swap = await Probe.open(`${server.url}/stream`);
  const funding = await swap.subscribe(1, {
    symbols: ["BTC/USDT:USDT"],
    channels: ["funding", "liquidations", "bars"],
  });
  deepStrictEqual(names(funding), ["test-a BTC/USDT:USDT funding", "test-a BTC/USDT:USDT liquidations"]);
  strictEqual((funding.unavailable as Any[])[0]?.channel, "bars", "no bars where sizes are contracts");
  await settled(server);
  a.liquidation(perpetual);
  await settled(server);
  await swap.level();
  deepStrictEqual(
    swap.frames.map(({ type }) => type),
    ["funding", "liquidation"],
  );
  await leave(server, warm, probe, other, swap);
  await server.stop();
});

test("both encodings say the same", async () => {
  const server = await served();
  const { a, btc } = server;
  const json = await Probe.open(`${server.url}/stream?time_unit=us`);
  const binary = await Probe.open(`${server.url}/stream?encoding=flatbuffers`);
  const request = { symbols: ["BTC/USDT"], exchanges: ["test-a"], channels: ["trades", "orderbook", "quotes", "bars"] };
  for (const probe of [json, binary]) await probe.subscribe(1, request);
  await settled(server);
  for (let event = 1; event <= 20; event += 1) {
    a.everything(btc, event);
    if (event % 3 === 0) server.turn.end();
  }
  await settled(server);
  await sleep(150);
  await settled(server);
  for (const probe of [json, binary]) await probe.level();
  const pick = (probe: Probe) =>
    probe.frames
      .filter(({ flags }) => !flags.includes("snapshot"))
      .map(({ type, stream, seq, from_seq, ts_exchange, flags }) => {
        return { type, stream, seq, from_seq, ts_exchange, flags };
      });
  ok(pick(json).length > 50, `${pick(json).length} frames`);
  deepStrictEqual(pick(json), pick(binary));
  await leave(server, json, binary);
  await server.stop();
});

test("times are milliseconds, or microseconds when asked for", async () => {
  const server = await served();
  const { a, btc } = server;
  const probes = [await Probe.open(`${server.url}/stream`), await Probe.open(`${server.url}/stream?time_unit=us`)];
  for (const probe of probes) await probe.subscribe(1, { symbols: ["BTC/USDT"], channels: ["trades"] });
  await settled(server);
  a.trade(btc);
  await settled(server);
  const times: number[] = [];
  for (const probe of probes) {
    await probe.level();
    times.push((probe.messages("trade")[0] as unknown as { ts_exchange: number }).ts_exchange);
  }
  strictEqual(times[0], Math.floor((times[1] as number) / 1000));
  await leave(server, ...probes);
  await server.stop();
});

test("selectors in the URL are a subscribe, and wrong ones are refused before the upgrade", async () => {
  const server = await served();
  const probe = await Probe.open(
    `${server.url}/stream?symbols=BTC/USDT,ETH%2FUSDT&exchanges=test-a&channels=book,indicators&depth=5&indicators=macd(5,35,5),vwap`,
  );
  const ack = await probe.answer("url");
  deepStrictEqual(names(ack), [
    "test-a BTC/USDT orderbook",
    "test-a BTC/USDT indicators",
    "test-a ETH/USDT orderbook",
    "test-a ETH/USDT indicators",
  ]);
  strictEqual(streamsOf(ack)[0]?.depth, 5);
  deepStrictEqual(
    (ack.indicators as Any[]).map(({ name }) => name),
    ["macd(5,35,5)", "vwap"],
  );
  const full = await Probe.open(`${server.url}/stream?symbols=BTC/USDT&channels=book&depth=full&conflate_ms=0`);
  strictEqual(streamsOf(await full.answer("url"))[0]?.depth, "full");
  const wrong = await Probe.open(`${server.url}/stream?symbols=BTC/USDT&depth=five`);
  deepStrictEqual([(await wrong.answer("url")).code, wrong.closed], ["bad_request", undefined]);
  for (const [query, refusal] of [
    ["symbol=BTC/USDT", "400 bad_request"],
    ["channels=trades", "400 bad_request"],
    ["symbols=BTC/USDT&depth=5&depth=20", "400 bad_request"],
    ["symbols=BTC/USDT&from=now-5m&from=now-1m", "400 bad_request"],
    ["heartbeat_ms=100", "400 bad_request"],
    ["heartbeat_ms=soon", "400 bad_request"],
    ["encoding=xml", "400 bad_request"],
    ["time_unit=ns", "400 bad_request"],
    ["__proto__=1", "400 bad_request"],
  ]) {
    await rejects(Probe.open(`${server.url}/stream?${query}`), { message: refusal as string }, query as string);
  }
  await leave(server, probe, full, wrong);
  await server.stop();
});

test("subprotocols: the offered and known one, or none; anything else is 400", async () => {
  const server = await served();
  const open = (query: string, ...protocols: string[]) => Probe.open(`${server.url}/stream${query}`, { protocols });
  const chosen: [string, string[], string][] = [
    ["", [], ""],
    ["", ["tickwire.v1.json"], "tickwire.v1.json"],
    ["", ["tickwire.v9.cbor", "tickwire.v1.flatbuffers"], "tickwire.v1.flatbuffers"],
    ["?encoding=flatbuffers", ["tickwire.v1.flatbuffers"], "tickwire.v1.flatbuffers"],
    ["?encoding=json", ["bearer.abc"], ""],
  ];
  for (const [query, protocols, expected] of chosen) {
    // A client that offers a bearer alone is answered with none, which `ws` does not accept.
    if (protocols[0]?.startsWith("bearer") === true) continue;
    const probe = await open(query, ...protocols);
    strictEqual(probe.socket.protocol, expected);
    await leave(server, probe);
  }
  await rejects(open("", "chat"), { message: "400 bad_request" });
  await rejects(open("?encoding=json", "tickwire.v1.flatbuffers"), { message: "400 bad_request" });
  await rejects(open("?encoding=flatbuffers", "tickwire.v1.json"), { message: "400 bad_request" });
  strictEqual(server.server.services.counters.refused.get("bad_request"), 3);
  await server.stop();
});

test("heartbeats come at once and then as often as asked, with queue and position", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream?heartbeat_ms=250`);
  await probe.until(() => probe.messages("heartbeat").length >= 3, "three heartbeats");
  const hello = probe.log[0] as Any;
  strictEqual(hello.heartbeat_ms, 250);
  deepStrictEqual((probe.log[1] as Any).type, "heartbeat");
  await leave(server, probe);
  await server.stop();
});

test("origins and hosts", async () => {
  const server = await served({ origins: ["https://desk.example"] });
  const open = (headers: Record<string, string>) => Probe.open(`${server.url}/stream`, { headers });
  for (const origin of ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:9", "https://desk.example"]) {
    await leave(server, await open({ origin }));
  }
  for (const origin of [
    "https://evil.example",
    "null",
    "file://",
    "https://desk.example.evil.com",
    "http://localhost.evil.com",
  ]) {
    await rejects(open({ origin }), { message: "403 forbidden" }, origin);
  }
  for (const host of ["evil.example", "evil.example:80", "127.0.0.1.evil.com", "desk.example.evil.com"]) {
    await rejects(open({ host }), { message: "403 forbidden" }, host);
  }
  await leave(server, await open({ host: "desk.example" }));
  await leave(server, await open({ host: `localhost:${server.port}` }));
  // A page that was served from this very host may talk to it.
  await leave(server, await open({ host: "desk.example", origin: "http://desk.example" }));
  await server.stop();
  const anywhere = await served({ anyHost: true });
  await leave(anywhere, await Probe.open(`${anywhere.url}/stream`, { headers: { host: "gateway.lan:8080" } }));
  await rejects(Probe.open(`${anywhere.url}/stream`, { headers: { origin: "https://evil.example" } }), {
    message: "403 forbidden",
  });
  await anywhere.stop();
});

test("limits: connections, subscriptions, named streams", async () => {
  const limits = { connections: 3, connectionsPerAddress: 2, subscriptions: 3, namedStreams: 8 };
  const server = await served({ limits });
  const probe = await Probe.open(`${server.url}/stream`);
  const other = await Probe.open(`${server.url}/stream`);
  await rejects(Probe.open(`${server.url}/stream`), { message: "429 rate_limited" });
  await leaveOne(server, other);
  const tooMany = async (id: number, request: object) => {
    const { code } = await probe.ask({ type: "subscribe", id, ...request });
    strictEqual(code, "too_many_subscriptions");
  };
  await tooMany(1, { symbols: ["BTC/USDT", "ETH/USDT"], channels: ["trades", "orderbook", "ticker"] });
  await probe.subscribe(1, { symbols: ["BTC/USDT"], channels: ["trades", "orderbook", "ticker"] });
  await tooMany(2, { symbols: ["ETH/USDT"], channels: ["trades", "orderbook", "ticker"] });
  // The same id replaces what it named, so it may have as much again.
  await probe.subscribe(1, { symbols: ["BTC/USDT"], channels: ["trades", "orderbook", "ticker", "quotes"] });
  await probe.subscribe(2, { symbols: ["*"], channels: ["trades"] });
  await probe.subscribe(3, { symbols: ["*"], channels: ["ticker"] });
  await tooMany(4, { symbols: ["*"], channels: ["quotes"] });
  await leave(server, probe);
  await server.stop();
});

async function leaveOne(server: Served, probe: Probe): Promise<void> {
  const { counters } = server.server.services;
  const closed = counters.connectionsClosed;
  probe.socket.terminate();
  await eventually(() => counters.connectionsClosed > closed, "the connection to be closed");
}

test("too many messages: each is refused, and a flood is closed with 1008", async () => {
  const server = await served({ limits: { controlMessagesPerSecond: 0.001, controlMessageBurst: 5 } });
  const probe = await Probe.open(`${server.url}/stream`);
  for (let ping = 0; ping < 5; ping += 1) await probe.ask({ type: "ping", id: ping });
  probe.send({ type: "ping", id: "refused" });
  await probe.until(() => probe.messages("error").length === 1, "the refusal");
  strictEqual((probe.messages("error")[0] as Any).code, "rate_limited");
  strictEqual(probe.closed, undefined);
  for (let ping = 0; ping < 60; ping += 1) probe.send({ type: "ping" });
  strictEqual((await probe.gone()).code, 1008);
  strictEqual(probe.messages("error").length, 50);
  await leave(server);
  await server.stop();
});

test("a message over the limit is closed with 1009", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  probe.send(`{"type":"ping","id":"${"x".repeat(70_000)}"}`);
  strictEqual((await probe.gone()).code, 1009);
  await server.stop();
});

test("an internal failure closes with 1011, and only the connection that it hit", async () => {
  const server = await served();
  const [probe, other] = [await Probe.open(`${server.url}/stream`), await Probe.open(`${server.url}/stream`)];
  await other.subscribe(1, { symbols: ["BTC/USDT"], channels: ["trades"] });
  const { want } = server.engine.bars;
  server.engine.bars.want = () => {
    throw new Error("made for this test");
  };
  probe.send({ type: "subscribe", id: 1, symbols: ["ETH/USDT"], channels: ["bars"] });
  strictEqual((await probe.gone()).code, 1011);
  server.engine.bars.want = want;
  await other.level();
  await leave(server, other);
  strictEqual(server.server.services.publisher.topics.memberships, 0);
  await server.stop();
});

test("a stopping server says so, spreads the return, and closes with 1001", async () => {
  const server = await served();
  const probes = await Promise.all(Array.from({ length: 20 }, () => Probe.open(`${server.url}/stream`)));
  await server.stop();
  const retries: number[] = [];
  for (const probe of probes) {
    strictEqual((await probe.gone()).code, 1001);
    const shutdown = probe.log.at(-1) as Any;
    strictEqual(shutdown.type, "server_shutdown");
    retries.push(shutdown.retry_after_ms as number);
  }
  ok(retries.every((ms) => ms >= 500 && ms <= 5000) && new Set(retries).size > 10, `${retries}`);
  await rejects(Probe.open(`${server.url}/stream`));
});

test("a second server cannot have the port", async () => {
  const server = await served();
  const second = await serve();
  const listening = await second.server.listen("127.0.0.1", server.port);
  ok("error" in listening);
  match(listening.error, new RegExp(`127.0.0.1:${server.port}`));
  await second.stop();
  // The first still has every connection.
  await leave(server, await Probe.open(`${server.url}/stream`));
  await server.stop();
});

test("/raw: the directory, then every ring frame in order, with a snapshot of each book", async () => {
  const server = await served();
  const { a, b, btc } = server;
  const warm = await Probe.open(`${server.url}/stream`);
  await warm.subscribe(1, { symbols: ["BTC/USDT"], channels: ["trades", "orderbook"] });
  await settled(server);
  const probe = await Probe.open(`${server.url}/raw?encoding=flatbuffers`);
  let event = 1;
  const fire = setInterval(() => {
    a.everything(btc, event);
    b.everything(b.ids.get("BTC/USDT") as number, event);
    event += 1;
  }, 1);
  await probe.until(() => probe.log.length > 300, "frames");
  clearInterval(fire);
  await settled(server);
  const known = new Set(probe.frames.filter(({ type }) => type === "payload 11").map(({ position }) => position));
  ok(known.size > 0, "instruments come first");
  const snapshots = probe.frames.filter((frame) => (frame as unknown as Any).update_type === "snapshot");
  strictEqual(snapshots.length, 2);
  const positions = probe.frames.filter(({ flags }) => !flags.includes("derived")).map(({ position }) => position);
  positions.forEach((position, index) => {
    if (index > 0) strictEqual(position, (positions[index - 1] as number) + 1, "every position, once");
  });
  probe.send({ type: "subscribe", symbols: ["*"] });
  await probe.until(() => probe.messages("error").length === 1, "the refusal");
  strictEqual((probe.messages("error")[0] as Any).code, "not_available");
  await leave(server, warm, probe);
  strictEqual(server.server.services.publisher.topics.memberships, 0);
  await server.stop();
});

test("/ws/{symbol}: a snapshot, then deltas, in the words of the old system; a bar's end is never left out", async () => {
  const server = await served();
  const { a, btc } = server;
  const probe = await Probe.open(`${server.url}/ws/BTC%2FUSDT%7B=1s%7D?exchange=test-a`);
  await eventually(() => probe.log.length === 1, "the snapshot");
  const snapshot = probe.log[0] as Any;
  deepStrictEqual(Object.keys(snapshot), ["type", "symbol", "updated_at", "last_candle", "macd", "hma"]);
  deepStrictEqual([snapshot.type, snapshot.symbol, snapshot.last_candle], ["snapshot", "BTC/USDT", null]);
  let price = 100;
  const sent: number[] = [];
  const fire = setInterval(() => {
    price += 1;
    sent.push(price);
    a.trade(btc, price);
  }, 20);
  const candles = () => probe.messages("delta").map(({ candle }) => candle as { time: number; close: number });
  await probe.until(() => new Set(candles().map(({ time }) => time)).size > 3, "three bars");
  clearInterval(fire);
  const delta = probe.messages("delta").at(-1) as unknown as Record<string, Record<string, unknown>>;
  deepStrictEqual(Object.keys(delta), ["type", "symbol", "candle", "macd", "hma"]);
  deepStrictEqual(Object.keys(delta.candle as object), ["time", "open", "high", "low", "close", "volume"]);
  deepStrictEqual(Object.keys(delta.macd as object), ["value", "signal", "hist", "color"]);
  ok(["Up", "Down"].includes(delta.hma?.direction as string));
  const { count, bars } = server.engine.bars.read(btc, 0, 10, 0, Number.POSITIVE_INFINITY);
  for (let index = 0; index < count; index += 1) {
    const [time, close] = [(bars[index * 16] as number) / 1000, bars[index * 16 + 5] as number];
    if (candles().some((candle) => candle.time > time)) {
      ok(
        candles().some((candle) => candle.time === time && candle.close === close),
        `the end of the bar at ${time}`,
      );
    }
  }
  for (const [path, refusal] of [
    ["/ws/BTC%2FUSDT", "400 bad_request"],
    ["/ws/NOPE", "404 unknown_symbol"],
    ["/ws/", "400 bad_request"],
    ["/ws/ETH/USDT?timeframe=2m", "400 unknown_timeframe"],
    ["/ws/ETH/USDT?exchange=nowhere", "404 unknown_exchange"],
    ["/ws/ETH/USDT?encoding=flatbuffers", "400 bad_request"],
    ["/ws/BTC/USDT:USDT", "404 not_available"],
    ["/ws/%E0%A4%A", "400 bad_request"],
  ]) {
    await rejects(Probe.open(`${server.url}${path}`), { message: refusal as string }, path as string);
  }
  await leave(server, probe);
  strictEqual(server.server.services.publisher.topics.memberships, 0);
  strictEqual(server.demand.counts.wanted, 0);
  await server.stop();
});

test("a socket that is cut in the middle of a frame leaves nothing behind", async () => {
  const server = await served();
  const raw = connect(server.port, "127.0.0.1");
  raw.write(
    `GET /stream HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  await eventually(() => server.server.services.counters.connectionsOpened === 1, "the upgrade");
  raw.write(Buffer.from([0x81, 0xfe, 0x10]));
  raw.destroy();
  await leave(server);
  await server.stop();
});
