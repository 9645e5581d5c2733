/** What a stranger can send: each thing is answered with its documented code, and the server goes on serving. */
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Random } from "../src/std/random.ts";
import { eventually } from "./gateway.ts";
import type { Any, Served } from "./serve.ts";
import { leave, Probe, serve, settled, spot, type Venue } from "./serve.ts";

const rejections: unknown[] = [];
const note = (reason: unknown) => rejections.push(reason);
before(() => process.on("unhandledRejection", note));
after(() => {
  process.off("unhandledRejection", note);
  deepStrictEqual(rejections, [], "no rejection is left unhandled");
});

async function market(): Promise<Served & { a: Venue; id: number }> {
  const served = await serve();
  const [a, b] = served.venues as [Venue, Venue];
  const [id] = a.list(spot(["BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"])) as [number];
  b.list(spot(["ETH/USDT"]));
  a.up();
  return { ...served, a, id };
}

const deep = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
const subscribe = (rest: string) => `{"type":"subscribe","id":1,"symbols":["BTC/USDT"]${rest}}`;

/** Control messages that are refused; the connection goes on. */
const REFUSED: readonly [message: string | Buffer, code: string][] = [
  ["", "bad_json"],
  ["hello", "bad_json"],
  ["{", "bad_json"],
  ["\u0000\u0001", "bad_json"],
  ["{'type':'ping'}", "bad_json"],
  ['{"type":"ping"}{"type":"ping"}', "bad_json"],
  [`{"type":"subscribe","symbols":["*"],"depth":NaN}`, "bad_json"],
  [`{"type":"subscribe","symbols":["*"],"depth":Infinity}`, "bad_json"],
  [Buffer.from([0xff, 0xfe, 0x00, 0x80]), "bad_json"],
  [Buffer.from('{"type":"ping"}'), "bad_json"],
  [Buffer.alloc(60_000, 0x5b), "bad_json"],
  ["[".repeat(60_000), "bad_json"],
  ["null", "bad_request"],
  ["42", "bad_request"],
  ['"ping"', "bad_request"],
  ["[]", "bad_request"],
  ['[{"type":"ping"}]', "bad_request"],
  [deep(30_000), "bad_request"],
  ["{}", "unknown_type"],
  ['{"type":null}', "unknown_type"],
  ['{"type":{}}', "unknown_type"],
  [`{"type":${deep(30_000)}}`, "unknown_type"],
  ['{"type":"toString"}', "unknown_type"],
  ['{"type":"__proto__"}', "unknown_type"],
  ['{"type":"constructor"}', "unknown_type"],
  [`{"type":"${"x".repeat(60_000)}"}`, "unknown_type"],
  ['{"type":"SUBSCRIBE","symbols":["*"]}', "unknown_type"],
  ['{"__proto__":{"type":"ping"}}', "unknown_type"],
  ['{"type":"subscribe"}', "bad_request"],
  ['{"type":"subscribe","symbols":null}', "bad_request"],
  ['{"type":"subscribe","symbols":{}}', "bad_request"],
  ['{"type":"subscribe","symbols":[]}', "bad_request"],
  ['{"type":"subscribe","symbols":""}', "bad_request"],
  ['{"type":"subscribe","symbols":[["*"]]}', "bad_request"],
  ['{"type":"subscribe","symbols":[1]}', "bad_request"],
  [`{"type":"subscribe","symbols":["${"B".repeat(65)}"]}`, "bad_request"],
  [`{"type":"subscribe","symbols":[${'"X/Y",'.repeat(5000)}"X/Y"]}`, "bad_request"],
  [`{"type":"subscribe","symbols":[${Array.from({ length: 1000 }, (_, i) => `"X${i}/Y"`)}]}`, "unknown_symbol"],
  ['{"type":"subscribe","symbols":["BTC/USDT\\u0000"]}', "unknown_symbol"],
  ['{"type":"subscribe","symbols":["../../etc/passwd"]}', "unknown_symbol"],
  ['{"type":"subscribe","symbols":["__proto__"]}', "unknown_symbol"],
  ['{"type":"subscribe","symbols":["\\ud800"]}', "unknown_symbol"],
  [subscribe(',"channels":["__proto__"]'), "unknown_channel"],
  [subscribe(',"channels":["constructor"]'), "unknown_channel"],
  [subscribe(',"channels":["state"]'), "unknown_channel"],
  [subscribe(',"channels":[null]'), "bad_request"],
  [subscribe(',"channels":[]'), "bad_request"],
  [subscribe(',"exchanges":["__proto__"]'), "unknown_exchange"],
  [subscribe(',"exchanges":[{}]'), "bad_request"],
  [subscribe(',"timeframes":["1m","1w"],"channels":["bars"]'), "unknown_timeframe"],
  [subscribe(',"timeframes":["toString"]'), "unknown_timeframe"],
  [subscribe(',"market_types":["__proto__"]'), "bad_request"],
  [subscribe(',"depth":0'), "bad_request"],
  [subscribe(',"depth":-5'), "bad_request"],
  [subscribe(',"depth":2.5'), "bad_request"],
  [subscribe(',"depth":1e999'), "bad_request"],
  [subscribe(',"depth":"20"'), "bad_request"],
  [subscribe(',"depth":[20]'), "bad_request"],
  [subscribe(',"conflate_ms":-0.5'), "bad_request"],
  [subscribe(',"conflate_ms":7'), "bad_request"],
  [subscribe(',"conflate_ms":1e308'), "bad_request"],
  [subscribe(',"bars":"open"'), "bad_request"],
  [subscribe(',"channels":["indicators"],"indicators":["macd(99999999999,1,1)"]'), "unknown_indicator"],
  [subscribe(',"channels":["indicators"],"indicators":["hma(-1)"]'), "unknown_indicator"],
  [subscribe(',"channels":["indicators"],"indicators":["constructor()"]'), "unknown_indicator"],
  [subscribe(',"channels":["indicators"],"indicators":["hma(((((((((((((((((((((("]'), "unknown_indicator"],
  [subscribe(',"from":"now-99999999999999999999d"'), "bad_request"],
  [subscribe(`,"from":"${"9".repeat(60)}"`), "bad_request"],
  [subscribe(',"from":1e400'), "bad_request"],
  [subscribe(',"resume":{"epoch":1e400}'), "bad_request"],
  [subscribe(`,"resume":${deep(20_000)}`), "bad_request"],
  [subscribe(',"resume":{"epoch":1,"position":1,"held":{"seven":1}}'), "bad_request"],
  [subscribe(',"resume":{"epoch":1,"position":1,"held":{"7":"x"}}'), "bad_request"],
  [subscribe(',"__proto__":{"depth":5}'), "bad_request"],
  [subscribe(',"constructor":1'), "bad_request"],
  [subscribe(`,"${"k".repeat(50_000)}":1`), "bad_request"],
  [`{"type":"ping","id":${"9".repeat(400)}}`, "bad_request"],
  ['{"type":"ping","id":9007199254740993}', "bad_request"],
  ['{"type":"ping","id":1.5}', "bad_request"],
  ['{"type":"ping","id":""}', "bad_request"],
  ['{"type":"ping","id":{"a":1}}', "bad_request"],
  ['{"type":"ping","id":[]}', "bad_request"],
  [`{"type":"ping","id":"${"i".repeat(65)}"}`, "bad_request"],
  ['{"type":"unsubscribe"}', "bad_request"],
  ['{"type":"unsubscribe","subscription":"nobody"}', "bad_request"],
  ['{"type":"unsubscribe","subscription":{}}', "bad_request"],
  ['{"type":"unsubscribe","subscription":-0}', "bad_request"],
  ['{"type":"list","all":true}', "bad_request"],
  ['{"type":"fetch","stream":-1}', "bad_request"],
  ['{"type":"fetch","stream":4294967295,"from":1,"to":9007199254740991}', "bad_request"],
  ['{"type":"auth","token":"none"}', "not_available"],
];

test(`${REFUSED.length} malformed or hostile control messages`, async () => {
  const served = await market();
  const probe = await Probe.open(`${served.url}/stream`);
  for (const [message, code] of REFUSED) {
    const from = probe.messages("error").length;
    probe.send(message);
    await probe.until(() => probe.messages("error").length > from, String(message).slice(0, 100));
    const error = probe.messages("error").at(-1) as Any;
    strictEqual(error.code, code, `${String(message).slice(0, 100)}: ${JSON.stringify(error).slice(0, 300)}`);
    ok(JSON.stringify(error).length < 2000, "an answer is short, however long the question");
  }
  strictEqual(Object.hasOwn(Object.prototype, "depth"), false);
  await probe.level();
  strictEqual(probe.messages("error").length, REFUSED.length, "one answer each");
  deepStrictEqual((await probe.ask({ type: "list", id: "l" })).subscriptions, []);
  await leave(served, probe);
  await served.stop();
});

test("a message of 10 MB, text that is not UTF-8, a broken frame: the connection ends, and nothing else does", async () => {
  const served = await market();
  const other = await Probe.open(`${served.url}/stream`);
  const fatal: [(probe: Probe) => void, number[]][] = [
    [(probe) => probe.send("x".repeat(65 * 1024)), [1009]],
    // Beyond what the library takes at all it cuts the line.
    [(probe) => probe.send("x".repeat(10 * 1024 * 1024)), [1006]],
    [(probe) => probe.socket.send(Buffer.from([0xc3, 0x28]), { binary: false }), [1006, 1007]],
    [
      (probe) =>
        (probe.socket as unknown as { _socket: { write(b: Buffer): void } })._socket.write(Buffer.alloc(64, 0xff)),
      [1006, 1002],
    ],
  ];
  for (const [act, codes] of fatal) {
    const probe = await Probe.open(`${served.url}/stream`);
    act(probe);
    const { code } = await probe.gone();
    ok(codes.includes(code), `${code}`);
    await other.level();
  }
  await leave(served, other);
  await served.stop();
});

/** The status line of one raw HTTP request; "" when the line was cut. */
function raw({ port }: Served, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let got = "";
    socket.on("data", (part) => {
      got += part.toString("latin1");
      if (got.includes("\r\n")) socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(got.split("\r\n")[0] as string));
    socket.write(text, "latin1");
  });
}

const UPGRADE =
  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/** Requests by method, path and further headers (Host is there unless they have one), and their status. */
const REQUESTS: readonly [request: string, headers: string, status: number][] = [
  ["GET /%", "", 400],
  ["GET /%zz", "", 400],
  ["GET /%E0%A4%A", "", 400],
  ["GET /bars/%", "", 400],
  ["GET /bars/%C0%80", "", 400],
  ["GET /bars/%00", "", 404],
  ["GET /%00", "", 404],
  ["GET /snapshot/..%2f..%2fetc%2fpasswd", "", 404],
  ["GET /../../etc/passwd", "", 404],
  ["GET /%2e%2e/%2e%2e/etc/passwd", "", 404],
  ["GET //", "", 404],
  ["GET /bars//", "", 404],
  ["GET /constructor", "", 404],
  ["GET /__proto__", "", 404],
  ["GET /toString", "", 404],
  ["GET /bars?symbol=%", "", 404],
  ["GET /bars?symbol=BTC/USDT&limit=NaN", "", 400],
  ["GET /bars?symbol=BTC/USDT&limit=-1", "", 400],
  ["GET /bars?symbol=BTC/USDT&from=-1", "", 400],
  ["GET /bars?symbol=BTC/USDT&from=1e400", "", 400],
  ["GET /bars?symbol=BTC/USDT&__proto__=1", "", 400],
  ["GET /bars/BTC/USDT{=1m", "", 404],
  ["GET /bars/BTC/USDT{=}", "", 400],
  [`GET /bars?symbol=${"x".repeat(3000)}`, "", 404],
  ["HEAD /health", "", 200],
  ["HEAD /bars?symbol=BTC/USDT", "", 200],
  ["HEAD /metrics", "", 200],
  ["HEAD /stream", "", 426],
  ["OPTIONS /health", "", 204],
  ["POST /health", "Content-Length: 2\r\n", 405],
  ["PUT /bars", "", 405],
  ["DELETE /stream", "", 405],
  ["PATCH /", "", 405],
  ["GET /health", "Host: evil.example\r\n", 421],
  ["GET /health", "Host: evil.example:8080\r\n", 421],
  ["GET /health", "Host: 127.0.0.1.evil.example\r\n", 421],
  ["GET /health", "Host: localhost@evil.example\r\n", 421],
  ["GET /health", "Host: \r\n", 421],
  ["GET /health", "Host: evil.example\r\nHost: 127.0.0.1\r\n", 421],
  ["GET /health", "Host: localhost:1\r\n", 200],
  ["GET /health", "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n", 403],
  ["GET /health", "Host: 127.0.0.1\r\nOrigin: null\r\n", 403],
  ["GET /health", "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1@evil.example\r\n", 403],
  ["GET /health", "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\nOrigin: http://localhost\r\n", 403],
  ["GET /stream", `Host: evil.example\r\n${UPGRADE}`, 403],
  ["GET /stream", `Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n${UPGRADE}`, 403],
  ["GET /stream", `Host: 127.0.0.1\r\nSec-WebSocket-Protocol: chat, superchat\r\n${UPGRADE}`, 400],
  [
    "GET /stream?encoding=json",
    `Host: 127.0.0.1\r\nSec-WebSocket-Protocol: tickwire.v1.flatbuffers\r\n${UPGRADE}`,
    400,
  ],
  ["GET /stream?encoding=__proto__", `Host: 127.0.0.1\r\n${UPGRADE}`, 400],
  ["GET /stream?toString=1", `Host: 127.0.0.1\r\n${UPGRADE}`, 400],
  ["GET /stream?symbols=%00%ff", `Host: 127.0.0.1\r\n${UPGRADE}`, 101],
  ["GET /ws/%", `Host: 127.0.0.1\r\n${UPGRADE}`, 400],
  ["GET /ws/%2e%2e%2f", `Host: 127.0.0.1\r\n${UPGRADE}`, 404],
  ["GET /nowhere", `Host: 127.0.0.1\r\n${UPGRADE}`, 404],
  ["GET /stream", "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: short\r\n", 426],
  ["POST /stream", `Host: 127.0.0.1\r\n${UPGRADE}`, 405],
];

test(`${REQUESTS.length} malformed or hostile HTTP requests`, async () => {
  const served = await market();
  for (const [request, headers, status] of REQUESTS) {
    const host = headers.startsWith("Host:") ? "" : "Host: 127.0.0.1\r\n";
    const line = await raw(served, `${request} HTTP/1.1\r\n${host}${headers}\r\n`);
    strictEqual(Number(line.split(" ")[1]), status, `${request} ${headers}: ${line}`);
  }
  // What is no HTTP at all may be answered with anything, or cut.
  for (const text of [
    "\r\n\r\n",
    "GET\r\n\r\n",
    `GET /${"x".repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    "\u0016\u0003\u0001\u0002\u0000\u0001",
    `GET / HTTP/1.1\r\n${"A: b\r\n".repeat(5000)}\r\n`,
    "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
  ]) {
    const timeout = new Promise<string>((resolve) => setTimeout(resolve, 200, "still open").unref());
    const line = await Promise.race([raw(served, text), timeout]);
    ok(!line.startsWith("HTTP/1.1 2"), `${text.slice(0, 40)}: ${line}`);
  }
  strictEqual((await raw(served, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")).split(" ")[1], "200");
  await served.stop();
});

const VALID = [
  '{"type":"subscribe","id":1,"channels":["trades","orderbook","ticker"],"symbols":["BTC/USDT"],"depth":5}',
  '{"type":"subscribe","id":2,"channels":["*"],"symbols":["*"],"exchanges":["test-a"],"timeframes":["1m","5m"]}',
  '{"type":"subscribe","id":"three","channels":"bars","symbols":"ETH/USDT","bars":"closed"}',
  '{"type":"subscribe","id":4,"channels":["quotes"],"symbols":["*"],"conflate_ms":50,"market_types":["spot"]}',
  '{"type":"unsubscribe","subscription":1}',
  '{"type":"unsubscribe","id":7,"subscription":2}',
  '{"type":"list","id":3}',
  '{"type":"ping","id":4}',
];
const WORDS = [
  "type",
  "subscribe",
  "symbols",
  "*",
  "channels",
  "trades",
  "id",
  "depth",
  "__proto__",
  "ping",
  "",
  "BTC/USDT",
  "unsubscribe",
  "subscription",
];

function randomValue(random: Random, levels: number): unknown {
  switch (random.integer(0, levels > 0 ? 7 : 5)) {
    case 0:
      return random.pick(WORDS);
    case 1:
      return random.pick([0, -1, 1.5, 2 ** 53, 1e308, random.integer(-100, 100)]);
    case 2:
      return random.pick([true, false, null]);
    case 3:
      return random.pick(["binance", "test-a", "1m", "full", "\u0000", "\ud83d\ude00", "x".repeat(100)]);
    case 6:
      return Array.from({ length: random.integer(0, 4) }, () => randomValue(random, levels - 1));
    case 7:
      return Object.fromEntries(
        Array.from({ length: random.integer(0, 5) }, () => [random.pick(WORDS), randomValue(random, levels - 1)]),
      );
    default:
      return random.pick(WORDS);
  }
}

function mutated(random: Random): string {
  const text = random.pick(VALID);
  const at = random.integer(0, text.length - 1);
  switch (random.integer(0, 4)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + String.fromCharCode(random.integer(1, 126)) + text.slice(at + 1);
    case 2:
      return text.slice(0, at) + text.slice(at + random.integer(1, 8));
    case 3:
      return text.slice(0, at) + random.pick(WORDS) + text.slice(at);
    default:
      return text;
  }
}

/** A frame to throw: random bytes, random JSON, or a valid request with something changed. */
function missile(random: Random): string | Buffer {
  const kind = random.integer(0, 3);
  if (kind === 0) return Buffer.from(Array.from({ length: random.integer(0, 64) }, () => random.integer(0, 255)));
  if (kind === 1) return JSON.stringify(randomValue(random, 4)) ?? "";
  return mutated(random);
}

const THROWN = 100_000;
const THROWERS = 4;
/** Far more than a run of this test needs, and far less than a leak of one object a frame would take. */
const HEAP_GROWTH = 24 * 2 ** 20;
const RESIDENT_GROWTH = 256 * 2 ** 20;

test(`${THROWN} random frames: served as before, and no memory is kept`, async () => {
  const seed = 77;
  console.log(`# seed ${seed}`);
  const random = new Random(seed);
  const served = await market();
  const throwers: Probe[] = [];
  for (let index = 0; index < THROWERS; index += 1) {
    const protocols = [index % 2 === 0 ? "tickwire.v1.json" : "tickwire.v1.flatbuffers"];
    throwers.push(await Probe.open(`${served.url}/stream`, { protocols }));
  }
  const round = async (frames: number) => {
    for (let thrown = 0; thrown < frames; thrown += 500) {
      for (let frame = 0; frame < 500; frame += 1) (throwers[frame % THROWERS] as Probe).send(missile(random));
      served.a.everything(served.id, thrown + 1);
      for (const probe of throwers) {
        await probe.level();
        probe.log.length = 0;
      }
    }
  };
  await round(THROWN / 5);
  const before = memory();
  await round((THROWN * 4) / 5);
  const now = memory();
  const grown = [now.heap - before.heap, now.resident - before.resident] as const;
  console.log(`# grew by ${grown.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(" and ")} MiB: heap, resident`);
  ok(grown[0] < HEAP_GROWTH && grown[1] < RESIDENT_GROWTH, `${grown}`);
  for (const { closed } of throwers) strictEqual(closed, undefined);
  strictEqual(served.server.services.counters.errors.get("internal"), undefined);
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", channels: "trades" });
  await settled(served);
  served.a.trade(served.id);
  await settled(served);
  await probe.level();
  strictEqual(probe.messages("trade").length, 1);
  await leave(served, probe, ...throwers);
  strictEqual(served.server.services.publisher.topics.memberships, 0);
  strictEqual(served.engine.derived.streams, 0);
  strictEqual(served.demand.counts.wanted, 0);
  await eventually(() => served.demand.counts.ending === 0, "the grace periods to end");
  await served.stop();
});

/** What is really held: the collector has been made to run. */
function memory(): { heap: number; resident: number } {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, resident: rss };
}
