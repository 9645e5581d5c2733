/** REST: bars, snapshots, instruments and health, and what browsers are told. */
import { deepStrictEqual, match, strictEqual } from "node:assert";
import { request } from "node:http";
import { test } from "node:test";
import { SLOT_QUOTES, SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import { STATE_DOWN, STATE_QUIET, STATE_STALE } from "../src/market/sink.ts";
import type { Any, Served, ServeOptions } from "./serve.ts";
import { leave, Probe, serve, settled, spot, type Venue } from "./serve.ts";

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  json: Any;
}

interface Ask {
  method?: string;
  headers?: Record<string, string>;
}

function get({ port }: Served, path: string, { method = "GET", headers = {} }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => {
        const text = Buffer.concat(parts).toString();
        const isJson = String(response.headers["content-type"]).startsWith("application/json") && text !== "";
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson ? JSON.parse(text) : undefined,
        });
      });
    });
    asked.on("error", reject).end();
  });
}

async function served(options: ServeOptions = {}): Promise<Served & { a: Venue; b: Venue; btc: number }> {
  const server = await serve(options);
  const [a, b] = server.venues as [Venue, Venue];
  a.list(spot(["BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"]));
  b.list(spot(["BTC/USDT"]));
  a.up();
  b.up();
  return { ...server, a, b, btc: a.ids.get("BTC/USDT") as number };
}

test("/health and /ready", async () => {
  const server = await served({ requiredVenues: ["test-b"] });
  deepStrictEqual((await get(server, "/health")).json, { status: "ok", service: "tickwire" });
  const ready = await get(server, "/ready");
  deepStrictEqual([ready.status, ready.json.status, typeof ready.json.window_seconds], [200, "ready", "number"]);
  const feeds = (await get(server, "/ready?verbose")).json.feeds as Any[];
  deepStrictEqual(
    feeds.map(({ exchange, state, instruments_loaded }) => [exchange, state, instruments_loaded]),
    [
      ["test-a", "live", true],
      ["test-b", "live", true],
    ],
  );
  // The outage of a venue that is not required is not one of the server.
  server.engine.connection(server.a.id, STATE_DOWN, "made for this test");
  strictEqual((await get(server, "/ready")).status, 200);
  server.engine.connection(server.b.id, STATE_DOWN, "made for this test");
  const down = await get(server, "/ready");
  deepStrictEqual([down.status, down.json.status, down.json.missing], [503, "not_ready", ["test-b"]]);
  await server.stop();
});

test("/ready?verbose counts the quiet and the stale streams of each venue, and names the first of them", async () => {
  const server = await served();
  const symbols = Array.from({ length: 30 }, (_, index) => `A${index}/USDT`);
  server.b.list(spot(symbols));
  const silent = async () =>
    ((await get(server, "/ready?verbose")).json.feeds as Any[]).map(({ exchange, quiet, stale }) => ({
      exchange,
      quiet,
      stale,
    }));
  const none = { count: 0, streams: [] };
  deepStrictEqual(await silent(), [
    { exchange: "test-a", quiet: none, stale: none },
    { exchange: "test-b", quiet: none, stale: none },
  ]);
  const { states } = server.engine;
  states.set(streamOf(server.btc, SLOT_TRADES), STATE_QUIET, "silent for 3.0 s");
  states.set(streamOf(server.btc, SLOT_QUOTES), STATE_STALE, "silent for 12.0 s");
  for (const symbol of symbols) {
    states.set(streamOf(server.b.ids.get(symbol) as number, SLOT_TRADES), STATE_QUIET, "silent for 3.0 s");
  }
  deepStrictEqual(await silent(), [
    {
      exchange: "test-a",
      quiet: { count: 1, streams: ["trades BTC/USDT"] },
      stale: { count: 1, streams: ["quotes BTC/USDT"] },
    },
    {
      exchange: "test-b",
      quiet: { count: 30, streams: symbols.slice(0, 20).map((symbol) => `trades ${symbol}`) },
      stale: none,
    },
  ]);
  strictEqual((await get(server, "/ready")).status, 200, "a silent stream is no outage of the server");
  await server.stop();
});

test("/instruments, narrowed by exchange, symbol and activity", async () => {
  const server = await served();
  const list = async (query: string) =>
    ((await get(server, `/instruments${query}`)).json as unknown as Any[]).map(
      ({ exchange, symbol }) => `${exchange} ${symbol}`,
    );
  strictEqual((await list("")).length, 4);
  deepStrictEqual(await list("?exchange=TEST-B"), ["test-b BTC/USDT"]);
  deepStrictEqual(await list("?symbol=btc/usdt"), ["test-a BTC/USDT", "test-b BTC/USDT"]);
  deepStrictEqual(await list("?active=true"), []);
  const probe = await Probe.open(`${server.url}/stream`);
  await probe.subscribe(1, { symbols: "ETH/USDT", channels: "trades" });
  deepStrictEqual(await list("?active=true"), ["test-a ETH/USDT"]);
  strictEqual((await list("?active=false")).length, 3);
  const [perpetual] = (await get(server, "/instruments?symbol=BTC/USDT:USDT")).json as unknown as [Any];
  deepStrictEqual(
    [perpetual.market_type, perpetual.settle, perpetual.expiry, perpetual.contract_size, perpetual.size_unit],
    ["perp", "USDT", null, null, "contracts"],
  );
  deepStrictEqual(perpetual.channels, ["trades", "orderbook", "quotes", "ticker", "funding", "liquidations"]);
  await leave(server, probe);
  await server.stop();
});

test("a list of thousands comes whole", async () => {
  const server = await serve();
  (server.venues[0] as Venue).list(spot(3001));
  const list = (await get(server, "/instruments")).json as unknown as Any[];
  deepStrictEqual([list.length, new Set(list.map(({ id }) => id)).size], [3001, 3001]);
  await server.stop();
});

/** Closed bars of one second at seconds 0, 1, 4 and 9 after a round time, closing at 10, 11, 14 and 19. */
async function withBars() {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: "trades" });
  const start = Math.floor(Date.now() / 10_000) * 10_000 - 60_000;
  // The last row that a venue gives may still be building.
  const rows = [0, 1, 4, 9, 10].flatMap((second) => [
    (start + second * 1000) * 1000,
    10,
    12,
    9,
    10 + second,
    2,
    22,
    1,
    3,
  ]);
  server.engine.history(server.btc, 0, Float64Array.from(rows));
  return { server, probe, start };
}

test("/bars: closed bars with their indicators, oldest first, by number and by time", async () => {
  const { server, probe, start } = await withBars();
  const bars = async (query: string) =>
    (await get(server, `/bars?symbol=BTC/USDT&exchange=test-a&timeframe=1s${query}`)).json as unknown as Any[];
  const [first, ...rest] = (await bars("")) as [Any, ...Any[]];
  deepStrictEqual(
    rest.map(({ open_time }) => ((open_time as number) - start) / 1000),
    [1, 4, 9],
  );
  const { indicators, ...bar } = first;
  deepStrictEqual(bar, {
    open_time: start,
    close_time: start + 1000,
    open: 10,
    high: 12,
    low: 9,
    close: 10,
    volume: 2,
    quote_volume: 22,
    vwap: 11,
    buy_volume: 1,
    sell_volume: 1,
    trade_count: 3,
    state: "closed",
    source: "venue",
    partial: false,
    across_gap: false,
  });
  deepStrictEqual(Object.keys(indicators as object), ["macd(12,26,9)", "hma(20)", "vwap"]);
  const opens = async (query: string) =>
    (await bars(query)).map(({ open_time }) => ((open_time as number) - start) / 1000);
  deepStrictEqual(await opens("&limit=2"), [4, 9]);
  deepStrictEqual(await opens(`&from=${start + 1000}&to=${start + 9000}`), [1, 4]);
  deepStrictEqual(await opens(`&from=${new Date(start + 1000).toISOString()}&to=${(start + 4000) / 1000}`), [1]);
  deepStrictEqual(await opens("&fill=flat"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  deepStrictEqual(await opens("&fill=flat&limit=4"), [6, 7, 8, 9]);
  const flat = (await bars("&fill=flat"))[7] as Any;
  deepStrictEqual([flat.open, flat.close, flat.volume, flat.vwap, flat.source], [14, 14, 0, null, "fill"]);
  const rows = (await bars("&format=ohlcv")) as unknown as number[][];
  deepStrictEqual(rows[0], [start, 10, 12, 9, 10, 2]);
  deepStrictEqual(((await bars("&format=ohlcv&fill=flat&limit=3")) as unknown as number[][])[0], [
    start + 7000,
    14,
    14,
    14,
    14,
    0,
  ]);
  server.a.trade(server.btc, 50);
  deepStrictEqual(
    (await bars("&building=true")).map(({ state }) => state),
    ["closed", "closed", "closed", "closed", "building"],
  );
  strictEqual(((await bars("&building=true&format=ohlcv")) as unknown as number[][])[4]?.[4], 50);
  strictEqual((await bars("&building=false")).length, 4);
  // The same, by path, with the old system's way to name a timeframe.
  const byPath = (await get(server, "/bars/BTC%2FUSDT%7B=1s%7D?exchange=test-a&limit=1")).json as unknown as Any[];
  strictEqual(byPath[0]?.close, 19);
  await leave(server, probe);
  await server.stop();
});

test("a silence of months is not filled beyond the limit", async () => {
  const { server, probe, start } = await withBars();
  const rows = [500_000_000, 400_000_000, 300_000_000, 299_999_000].flatMap((ago) => [
    (start - ago) * 1000,
    1,
    1,
    1,
    1,
    1,
    1,
    1,
    1,
  ]);
  server.engine.history(server.btc, 0, Float64Array.from(rows));
  const filled = (await get(server, "/bars?symbol=BTC/USDT&exchange=test-a&timeframe=1s&fill=flat&limit=1000"))
    .json as unknown as Any[];
  strictEqual(filled.length, 1000);
  filled.forEach(({ open_time }, index) => {
    strictEqual(open_time, start + 9000 - (999 - index) * 1000);
  });
  await leave(server, probe);
  await server.stop();
});

test("/snapshot: the last state of one instrument", async () => {
  const server = await served();
  const probe = await Probe.open(`${server.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: ["*"] });
  await settled(server);
  const before = (await get(server, "/snapshot/BTC/USDT?exchange=test-a")).json;
  deepStrictEqual(
    [before.quote, before.bar],
    [
      { state: "syncing", bid_price: null, bid_size: null, ask_price: null, ask_size: null },
      { closed: null, building: null },
    ],
  );
  server.a.everything(server.btc, 5);
  const { json } = await get(server, "/snapshot?symbol=BTC/USDT&exchange=test-a&timeframe=5m");
  deepStrictEqual(
    [
      json.type,
      json.symbol,
      json.exchange,
      (json.book as Any).state,
      (json.book as Any).bid_levels,
      (json.trades as Any).state,
    ],
    ["snapshot", "BTC/USDT", "test-a", "live", 30, "live"],
  );
  strictEqual(((json.bar as Any).building as Any).close, 100);
  await leave(server, probe);
  await server.stop();
});

const REFUSED: readonly [path: string, status: number, code: string][] = [
  ["/bars", 400, "bad_request"],
  ["/bars?symbol=BTC/USDT", 400, "bad_request"],
  ["/bars?symbol=NOPE", 404, "unknown_symbol"],
  ["/bars?symbol=BTC/USDT:USDT", 404, "not_available"],
  ["/bars?symbol=ETH/USDT&exchange=nowhere", 404, "unknown_exchange"],
  ["/bars?symbol=ETH/USDT&exchange=test-b", 404, "unknown_symbol"],
  ["/bars?symbol=ETH/USDT&timeframe=7m", 400, "unknown_timeframe"],
  ["/bars?symbol=ETH/USDT&limit=0", 400, "bad_request"],
  ["/bars?symbol=ETH/USDT&limit=1e9", 400, "bad_request"],
  ["/bars?symbol=ETH/USDT&from=yesterday", 400, "bad_request"],
  ["/bars?symbol=ETH/USDT&fill=zero", 400, "bad_request"],
  ["/bars?symbol=ETH/USDT&format=csv", 400, "bad_request"],
  ["/bars?symbol=ETH/USDT&building=yes", 400, "bad_request"],
  ["/bars?symbol=ETH/USDT&limits=5", 400, "bad_request"],
  ["/snapshot", 400, "bad_request"],
  ["/snapshot/NOPE", 404, "unknown_symbol"],
  ["/snapshot/ETHUSDT", 404, "unknown_symbol"],
  ["/snapshot?symbol=ETH/USDT&verbose=1", 400, "bad_request"],
  ["/instruments?exchange=nowhere", 404, "unknown_exchange"],
  ["/instruments?active=maybe", 400, "bad_request"],
  ["/instruments?acitve=true", 400, "bad_request"],
  ["/nothing", 404, "not_available"],
  ["/stream", 426, "bad_request"],
  ["/raw", 426, "bad_request"],
  ["/ws/BTC/USDT", 426, "bad_request"],
];

test("what cannot be served is refused with a status and a code", async () => {
  const server = await served();
  for (const [path, status, code] of REFUSED) {
    const answer = await get(server, path);
    deepStrictEqual(
      [answer.status, answer.json.type, answer.json.code],
      [status, "error", code],
      `${path}: ${answer.text}`,
    );
  }
  match((await get(server, "/snapshot/ETHUSDT")).json.message as string, /did you mean "ETH\/USDT"/);
  match((await get(server, "/instruments?acitve=true")).json.message as string, /did you mean "active"/);
  await server.stop();
});

test("HEAD, OPTIONS and CORS: the same origins as for sockets", async () => {
  const server = await served({ origins: ["https://desk.example"] });
  const [head, whole] = [await get(server, "/instruments", { method: "HEAD" }), await get(server, "/instruments")];
  deepStrictEqual(
    [head.status, head.text, head.headers["content-length"]],
    [200, "", String(Buffer.byteLength(whole.text))],
  );
  const origin = "https://desk.example";
  const preflight = await get(server, "/bars", {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "GET", "access-control-request-private-network": "true" },
  });
  strictEqual(preflight.status, 204);
  strictEqual(preflight.headers["access-control-allow-origin"], origin);
  match(String(preflight.headers["access-control-allow-methods"]), /GET/);
  strictEqual(preflight.headers["access-control-allow-private-network"], "true");
  const allowed = await get(server, "/health", { headers: { origin: "http://localhost:5173" } });
  deepStrictEqual([allowed.status, allowed.headers["access-control-allow-origin"]], [200, "http://localhost:5173"]);
  // An error is as readable for a page as an answer.
  const wrong = await get(server, "/bars", { headers: { origin } });
  deepStrictEqual([wrong.status, wrong.headers["access-control-allow-origin"]], [400, origin]);
  for (const [headers, status] of [
    [{ origin: "https://evil.example" }, 403],
    [{ origin: "null" }, 403],
    [{ host: "evil.example" }, 421],
    [{ host: "evil.example", origin: "http://evil.example" }, 421],
  ] as const) {
    const answer = await get(server, "/health", { headers });
    deepStrictEqual([answer.status, answer.json.code], [status, "forbidden"], JSON.stringify(headers));
    strictEqual(answer.headers["access-control-allow-origin"], undefined);
    strictEqual(answer.headers.vary, "origin");
  }
  const post = await get(server, "/health", { method: "POST" });
  deepStrictEqual([post.status, post.headers.allow], [405, "GET, HEAD, OPTIONS"]);
  await server.stop();
});
