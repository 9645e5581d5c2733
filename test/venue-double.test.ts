import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import WebSocket from "ws";
import { type BinanceVenueOptions, startBinanceVenue } from "../loadtest/venues/binance.ts";
import { type CoinbaseVenueOptions, startCoinbaseVenue } from "../loadtest/venues/coinbase.ts";
import type { VenueDouble } from "../loadtest/venues/double.ts";
import { MALFORMED_VARIANTS } from "../loadtest/venues/faults.ts";

const CAPTURES = process.env.TICKWIRE_CAPTURES ?? fileURLToPath(new URL("../../shared/captures", import.meta.url));
const BINANCE_RUN = ["spot-ethusdt-20240808.gz", "spot-ethusdt-20240809.gz"].map(
  (name) => `${CAPTURES}/binance/${name}`,
);
const COINBASE_RUN = [`${CAPTURES}/coinbase/exchange-20210417.gz`];
const skip = existsSync(CAPTURES) ? false : `no captures at ${CAPTURES}`;

const MAX = Number.POSITIVE_INFINITY;
const START_MS = Date.UTC(2025, 0, 2, 3, 4, 5);
const BTC_STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"];

// biome-ignore lint/suspicious/noExplicitAny: what a venue sends is judged by the assertions, not by the compiler
type Json = Record<string, any>;

/** A plain WebSocket client that keeps all it gets. */
class Client {
  readonly texts: string[] = [];
  readonly binaries: Buffer[] = [];
  closed: { code: number } | undefined;
  readonly #waiting = new Set<() => void>();
  private constructor(readonly socket: WebSocket) {
    socket.on("message", (data, binary) => {
      if (binary) this.binaries.push(data as Buffer);
      else this.texts.push(data.toString());
      this.#wake();
    });
    socket.on("close", (code) => {
      this.closed = { code };
      this.#wake();
    });
    socket.on("error", () => {});
  }

  static async open(url: string, options: WebSocket.ClientOptions = {}): Promise<Client> {
    const client = new Client(new WebSocket(url, options));
    await new Promise((resolve, reject) => client.socket.once("open", resolve).once("error", reject));
    return client;
  }

  get messages(): Json[] {
    return this.texts.map((text) => JSON.parse(text) as Json);
  }

  send(value: unknown): void {
    this.socket.send(typeof value === "string" ? value : JSON.stringify(value));
  }

  /** `met` is looked at when something comes on this connection: what another one gets must be waited for on that one. */
  async until(met: () => boolean): Promise<void> {
    while (!met()) {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`nothing came for 60 s: ${met}`)), 60_000);
        this.#waiting.add(() => {
          clearTimeout(late);
          resolve();
        });
      });
    }
  }

  async ask(value: unknown): Promise<Json> {
    const before = this.texts.length;
    this.send(value);
    await this.until(() => this.texts.length > before);
    return JSON.parse(this.texts[before]!) as Json;
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

async function get<T = Json>(venue: VenueDouble, path: string): Promise<T> {
  return (await (await fetch(venue.restUrl + path)).json()) as T;
}

async function withBinance(options: BinanceVenueOptions, body: (venue: VenueDouble) => Promise<void>): Promise<void> {
  const venue = await startBinanceVenue({ startMs: START_MS, inboundLimit: false, ...options });
  try {
    await body(venue);
  } finally {
    await venue.close();
  }
}

async function withCoinbase(options: CoinbaseVenueOptions, body: (venue: VenueDouble) => Promise<void>): Promise<void> {
  const venue = await startCoinbaseVenue({ startMs: START_MS, ...options });
  try {
    await body(venue);
  } finally {
    await venue.close();
  }
}

/** Plays a simulated tape of one symbol to the end; `arm` sets faults while it still stands at its beginning. */
async function playFaulty(
  arm: (venue: VenueDouble) => void,
  options: BinanceVenueOptions = {},
): Promise<[Client, Json]> {
  let outcome: [Client, Json] | undefined;
  await withBinance(
    { speed: MAX, hold: true, messages: 200, symbols: 1, bootstrapTimeoutMs: 1, ...options },
    async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/stream?streams=${BTC_STREAMS.join("/")}`);
      arm(venue);
      venue.play();
      await venue.finished;
      await client.until(() => client.texts.length + client.binaries.length === venue.stats.messagesSent);
      outcome = [client, venue.stats as unknown as Json];
    },
  );
  return outcome!;
}

/** The straightforward book: a map a side, absolute sizes, zero deletes. */
class PlainBook {
  readonly sides: Record<string, Map<string, string>> = { b: new Map(), a: new Map() };

  set(side: string, levels: [string, string][]): void {
    for (const [price, size] of levels) {
      if (Number(size) === 0) this.sides[side]!.delete(price);
      else this.sides[side]!.set(price, size);
    }
  }

  top(): string[] {
    let [bid, ask] = [0, Number.POSITIVE_INFINITY].map(String) as [string, string];
    for (const price of this.sides.b!.keys()) if (Number(price) > Number(bid)) bid = price;
    for (const price of this.sides.a!.keys()) if (Number(price) < Number(ask)) ask = price;
    return [bid, this.sides.b!.get(bid)!, ask, this.sides.a!.get(ask)!];
  }
}

function readLines(paths: string[]): string[] {
  return paths.flatMap((path) => gunzipSync(readFileSync(path)).toString().split("\n"));
}

/** Links a snapshot to the depth events received, as the venue's page says; compares it with the quotes of its ids. */
function buildBook(snapshot: Json, depths: Json[], quotes: Json[] = []): { book: PlainBook; compared: number } {
  const book = new PlainBook();
  const wanted = new Map(quotes.map((quote) => [quote.u, quote]));
  book.set("b", snapshot.bids);
  book.set("a", snapshot.asks);
  let last: number = snapshot.lastUpdateId;
  let compared = 0;
  assert.ok(last >= depths[0]!.U - 1, "the snapshot is older than the first buffered event");
  for (const depth of depths.filter(({ u }) => u > last)) {
    assert.ok(last === snapshot.lastUpdateId ? depth.U <= last + 1 : depth.U === last + 1, `gap at ${depth.U}`);
    book.set("b", depth.b);
    book.set("a", depth.a);
    last = depth.u;
    const quote = wanted.get(last);
    if (quote === undefined) continue;
    assert.deepEqual(book.top(), [quote.b, quote.B, quote.a, quote.A]);
    compared++;
  }
  return { book, compared };
}

function ofKind(client: Client, kind: string): Json[] {
  return client.messages.filter(({ stream }) => stream?.includes(`@${kind}`)).map(({ data }) => data);
}

test("the doubles import nothing of the product", () => {
  const folder = new URL("../loadtest/venues/", import.meta.url);
  for (const file of readdirSync(folder)) {
    const imports = [...readFileSync(new URL(file, folder), "utf8").matchAll(/from "([^"]+)"/g)].map(
      ([, from]) => from!,
    );
    for (const from of imports) assert.match(from, /^(node:|ws$|\.\/[a-z-]+\.ts$)/, `${file} imports ${from}`);
  }
});

test("the command line: help, one clear line for a bad flag, the addresses to set", async () => {
  const script = fileURLToPath(new URL("../loadtest/venues/venue.ts", import.meta.url));
  const run = (...flags: string[]) => {
    const child = spawn(process.execPath, ["--import", "tsx", script, ...flags]);
    const outcome = { child, out: "", err: "", code: once(child, "exit").then(([code]) => code as number) };
    child.stdout.on("data", (part) => {
      outcome.out += part;
    });
    child.stderr.on("data", (part) => {
      outcome.err += part;
    });
    return outcome;
  };
  const [help, bad, serving] = [run("--help"), run("binance", "--speed", "fast"), run("coinbase", "--rate", "5")];
  while (!serving.out.endsWith("\n")) await once(serving.child.stdout, "data");
  assert.equal(await help.code, 0);
  assert.match(help.out, /--capture FILE/);
  assert.equal(await bad.code, 2);
  assert.equal(bad.err, "venue: --speed takes a factor above 0 or max, not fast\n");
  assert.match(serving.out, /^coinbase on .* COINBASE_WS_URL=ws:\/\/127\.0\.0\.1:\d+ COINBASE_REST_URL=http:\S+\n$/);
  serving.child.kill("SIGTERM");
  assert.equal(await serving.code, 0);
});

describe("binance protocol", () => {
  test("control messages are acknowledged, malformed ones refused with their id", async () => {
    await withBinance({ hold: true }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws`);
      assert.deepEqual(await client.ask({ method: "SUBSCRIBE", params: BTC_STREAMS, id: 1 }), { result: null, id: 1 });
      const typo = { method: "SUBSCRIBE", params: ["btcusdt@depth@100mss"], id: "x" };
      assert.deepEqual(await client.ask(typo), { result: null, id: "x" });
      assert.deepEqual(await client.ask({ method: "LIST_SUBSCRIPTIONS", id: 3 }), {
        result: [...BTC_STREAMS, "btcusdt@depth@100mss"],
        id: 3,
      });
      await client.ask({ method: "UNSUBSCRIBE", params: ["btcusdt@trade"], id: 4 });
      assert.deepEqual((await client.ask({ method: "LIST_SUBSCRIPTIONS", id: null })).result.length, 3);
      for (const wrong of [
        { method: "SUBSCRIBE", params: "btcusdt@trade", id: 7 },
        { method: "SUBSCRIBE", id: 7 },
        { method: "SUBSCRIBED", params: [], id: 7 },
        { params: ["btcusdt@trade"], id: 7 },
        { method: "SET_PROPERTY", params: [1], id: 7 },
      ]) {
        const refusal = await client.ask(wrong);
        assert.equal(refusal.code, 2);
        assert.equal(refusal.id, 7);
        assert.equal(typeof refusal.msg, "string");
      }
      assert.equal((await client.ask({ method: "SUBSCRIBE", params: ["a@trade"], id: "x".repeat(37) })).code, 2);
      assert.equal((await client.ask("{not json")).code, 3);
      const many = Array.from({ length: 1024 }, (_, i) => `s${i}@trade`);
      assert.equal((await client.ask({ method: "SUBSCRIBE", params: many, id: 8 })).code, 2);
      assert.equal(venue.stats.controlMessages, 13);
    });
  });

  test("streams in the URL get no ack; /ws is bare, /stream is wrapped, SET_PROPERTY toggles", async () => {
    await withBinance({ speed: MAX, hold: true, symbols: 1, messages: 30, mix: { trade: 1 } }, async (venue) => {
      const bare = await Client.open(`${venue.wsUrl}/ws/btcusdt@trade`);
      const wrapped = await Client.open(`${venue.wsUrl}/stream?streams=btcusdt@trade/nosuch@trade`);
      const toggled = await Client.open(`${venue.wsUrl}/ws/btcusdt@trade`);
      assert.equal((await toggled.ask({ method: "SET_PROPERTY", params: ["combined", true], id: 1 })).result, null);
      const micro = await Client.open(`${venue.wsUrl}/ws/btcusdt@trade?timeUnit=MICROSECOND`);
      venue.play();
      await venue.finished;
      for (const client of [bare, wrapped, toggled, micro]) await client.until(() => client.texts.length >= 30);
      assert.equal(wrapped.texts.length, 30);
      assert.deepEqual(toggled.texts.slice(1), wrapped.texts);
      assert.deepEqual(
        wrapped.texts,
        bare.texts.map((text) => `{"stream":"btcusdt@trade","data":${text}}`),
      );
      assert.equal(micro.messages[0]!.E, bare.messages[0]!.E * 1000);
      assert.equal(micro.messages[0]!.T, bare.messages[0]!.T * 1000);
    });
  });

  test("the sixth inbound message of a second cuts the connection", async () => {
    await withBinance({ hold: true, inboundLimit: true }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws`);
      for (let id = 1; id <= 6; id++) client.send({ method: "LIST_SUBSCRIPTIONS", id });
      await client.until(() => client.closed !== undefined);
      assert.equal(client.texts.length, 5);
      assert.equal(client.closed!.code, 1008);
      assert.equal(venue.stats.venue.rateLimitBreaches, 1);
    });
  });

  test("pings are counted when answered, and a client that does not answer is dropped", async () => {
    await withBinance({ hold: true, pingIntervalMs: 10, pongTimeoutMs: 500 }, async (venue) => {
      const mute = await Client.open(`${venue.wsUrl}/ws`, { autoPong: false });
      const alive = await Client.open(`${venue.wsUrl}/ws`);
      await mute.until(() => mute.closed !== undefined);
      assert.equal(alive.closed, undefined);
      assert.equal(venue.stats.pongTimeouts, 1);
      assert.ok(venue.stats.pongs > 0);
    });
  });
});

describe("binance REST", () => {
  test("exchangeInfo lists true assets, traps and invented symbols; errors carry the venue's codes", async () => {
    await withBinance({ hold: true, instruments: 50 }, async (venue) => {
      const all = await get(venue, "/api/v3/exchangeInfo");
      const by = new Map<string, Json>(all.symbols.map((each: Json) => [each.symbol, each]));
      assert.equal(by.get("BTCFDUSD")!.quoteAsset, "FDUSD");
      assert.equal(by.get("ETHBTC")!.baseAsset, "ETH");
      assert.equal(by.get("BCCUSDT")!.status, "BREAK");
      assert.ok([...by.keys()].some((symbol) => /[^\x20-\x7e]/.test(symbol)));
      assert.equal([...by.keys()].filter((symbol) => symbol.startsWith("SIM")).length, 50);
      const filters = by.get("ETHUSDT")!.filters.map(({ filterType }: Json) => filterType);
      assert.deepEqual(filters, ["PRICE_FILTER", "LOT_SIZE", "NOTIONAL"]);
      assert.equal(all.serverTime, START_MS);
      assert.equal((await get(venue, "/api/v3/time")).serverTime, START_MS);
      const two = await get(venue, `/api/v3/exchangeInfo?symbols=${encodeURIComponent('["ETHBTC","BTCUSDT"]')}`);
      assert.deepEqual(
        two.symbols.map(({ symbol }: Json) => symbol),
        ["ETHBTC", "BTCUSDT"],
      );
      const refused = await fetch(`${venue.restUrl}/api/v3/depth?symbol=NOPE`);
      assert.equal(refused.status, 400);
      assert.deepEqual(await refused.json(), { code: -1121, msg: "Invalid symbol." });
      assert.equal((await get(venue, "/api/v3/klines?symbol=BTCUSDT&interval=7m")).code, -1120);
      assert.equal((await get(venue, "/api/v3/depth")).code, -1102);
      const before = Number((await fetch(`${venue.restUrl}/api/v3/ping`)).headers.get("x-mbx-used-weight-1m"));
      const quiet = await fetch(`${venue.restUrl}/api/v3/depth?symbol=BTCTRY&limit=1000`);
      assert.equal(Number(quiet.headers.get("x-mbx-used-weight-1m")), before + 50);
      assert.ok(((await quiet.json()) as Json).asks.length > 0);
    });
  });

  test("bars of all intervals agree with each other, across the edge of the tape too", async () => {
    const shape = { speed: MAX, symbols: 1, messages: 900, rate: 5, mix: { trade: 1 } };
    await withBinance(shape, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws/btcusdt@trade`);
      await venue.finished;
      await client.until(() => client.texts.length === 900);
      const trades = client.messages;
      const bars = (interval: string, rest = "") =>
        get<Json[]>(venue, `/api/v3/klines?symbol=BTCUSDT&interval=${interval}&limit=1000${rest}`);
      const minutes = await bars("1m");
      assert.equal(minutes.at(-1)![4], trades.at(-1)!.p);
      assert.equal(minutes.length, 1000);
      assert.deepEqual(await bars("1m"), minutes, "two calls differ");
      const seconds = await bars("1s");
      for (const [interval, span, parts] of [
        ["1m", 60_000, seconds],
        ["5m", 300_000, minutes],
        ["1h", 3_600_000, minutes],
        ["1d", 86_400_000, await bars("1h")],
        ["1w", 604_800_000, await bars("1d")],
        ["1M", 0, await bars("1d")],
      ] as [string, number, Json[]][]) {
        let compared = 0;
        for (const bar of await bars(interval)) {
          const inside = parts.filter((part) => part[0] >= bar[0] && part[6] <= bar[6]);
          const whole = inside[0]?.[0] === bar[0] && (inside.at(-1)![6] === bar[6] || bar[6] >= parts.at(-1)![0]);
          if (!whole) continue;
          compared++;
          if (span > 0) assert.equal(bar[6], bar[0] + span - 1);
          assert.equal(bar[1], inside[0]![1], `${interval} open`);
          assert.equal(bar[4], inside.at(-1)![4], `${interval} close`);
          assert.equal(Number(bar[2]), Math.max(...inside.map((part) => Number(part[2]))), `${interval} high`);
          assert.equal(Number(bar[3]), Math.min(...inside.map((part) => Number(part[3]))), `${interval} low`);
          assert.equal(
            bar[8],
            inside.reduce((sum, part) => sum + part[8], 0),
          );
        }
        assert.ok(compared >= 3, `${interval}: only ${compared} whole bars`);
      }
      const before = await bars("1s", `&endTime=${START_MS - 1}`);
      assert.equal(before.at(-1)![0], START_MS - 1000);
      assert.notEqual(before.at(-1)![4], before.at(-9)![4]);
      const from = await bars("3m", `&startTime=${START_MS - 3_600_000}&endTime=${START_MS}`);
      assert.equal(from.length, 20);
      assert.ok(from[0]![0] >= START_MS - 3_600_000);
    });
  });
});

describe("simulated market", () => {
  test("the same seed gives the same bytes, ids chain, and quotes agree with the rebuilt book", async () => {
    const [first] = await playFaulty(() => {}, { messages: 3000, seed: 7 });
    const [second] = await playFaulty(() => {}, { messages: 3000, seed: 7 });
    const [other] = await playFaulty(() => {}, { messages: 3000, seed: 8 });
    assert.equal(first.texts.length, 3000);
    assert.deepEqual(first.texts, second.texts);
    assert.notDeepEqual(first.texts, other.texts);
    const depths = ofKind(first, "depth");
    for (let i = 1; i < depths.length; i++) assert.equal(depths[i]!.U, depths[i - 1]!.u + 1);
    const trades = ofKind(first, "trade");
    for (let i = 1; i < trades.length; i++) assert.equal(trades[i]!.t, trades[i - 1]!.t + 1);
  });

  test("a snapshot links to the diffs after it, and the book equals each quote with the same id", async () => {
    await withBinance({ speed: MAX, symbols: 1, messages: 5000 }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/stream?streams=${BTC_STREAMS.join("/")}`);
      const snapshot = await get(venue, "/api/v3/depth?symbol=BTCUSDT&limit=5000");
      await venue.finished;
      await client.until(() => client.texts.length === 5000);
      const { compared } = buildBook(snapshot, ofKind(client, "depth"), ofKind(client, "bookTicker"));
      assert.ok(compared > 50, `only ${compared} quotes to compare`);
      assert.equal(venue.stats.venue.bootstrapHolds, 1);
      assert.equal(venue.stats.venue.bootstrapTimeouts, 0);
    });
  });
});

describe("faults", () => {
  test("gap, duplicate and reorder touch only the kind they name", async () => {
    const [clean] = await playFaulty(() => {});
    const trades = ofKind(clean, "trade").map(({ t }) => t);
    const [gap, gapStats] = await playFaulty((venue) => venue.fault("gap", { kind: "trade", count: 3 }));
    assert.deepEqual(
      ofKind(gap, "trade").map(({ t }) => t),
      trades.slice(3),
    );
    assert.equal(ofKind(gap, "depth").length, ofKind(clean, "depth").length);
    assert.equal(gapStats.faults.gap, 3);
    const [twice] = await playFaulty((venue) => venue.fault("duplicate", { kind: "trade", count: 2 }));
    assert.deepEqual(
      ofKind(twice, "trade").map(({ t }) => t),
      [trades[0], trades[0], trades[1], ...trades.slice(1)],
    );
    const [swapped] = await playFaulty((venue) => venue.fault("reorder", { kind: "trade" }));
    assert.deepEqual(
      ofKind(swapped, "trade").map(({ t }) => t),
      [trades[1], trades[0], ...trades.slice(2)],
    );
  });

  test("malformed: each variant is sent before the good message, or in its place", async () => {
    const [clean] = await playFaulty(() => {});
    for (const variant of MALFORMED_VARIANTS) {
      const [client, stats] = await playFaulty((venue) => venue.fault("malformed", { kind: "trade", variant }));
      assert.equal(client.texts.length + client.binaries.length, clean.texts.length + 1, variant);
      assert.equal(stats.faults.malformed, 1);
      if (variant === "binary") assert.equal(client.binaries.length, 1);
      else assert.equal(client.texts.filter((text) => !clean.texts.includes(text)).length, 1, variant);
    }
    const [replaced] = await playFaulty((venue) => {
      venue.fault("malformed", { kind: "trade", variant: "truncated", replace: true });
    });
    assert.equal(replaced.texts.length, clean.texts.length);
  });

  test("wildTimestamp and crossed change one message's content and leave its ids", async () => {
    const [clean] = await playFaulty(() => {});
    for (const year of [1, 2100]) {
      const [wild] = await playFaulty((venue) => venue.fault("wildTimestamp", { kind: "trade", year }));
      const [first, second] = ofKind(wild, "trade");
      assert.equal(new Date(first!.E).getUTCFullYear(), year);
      assert.equal(new Date(first!.T).getUTCFullYear(), year);
      assert.deepEqual(second, ofKind(clean, "trade")[1]);
    }
    const [crossed, stats] = await playFaulty((venue) => venue.fault("crossed"));
    const [first, second] = ofKind(crossed, "depth");
    assert.equal(stats.faults.crossed, 1);
    const [price, size] = first!.b.at(-1);
    assert.ok(Number(size) > 0);
    assert.deepEqual(second!.b.at(-1), [price, "0.00000000"]);
    assert.deepEqual(
      ofKind(crossed, "depth").map(({ U, u }) => [U, u]),
      ofKind(clean, "depth").map(({ U, u }) => [U, u]),
    );
  });

  test("disconnect, close, refuse and serverShutdown", async () => {
    await withBinance({ hold: true }, async (venue) => {
      const cut = await Client.open(`${venue.wsUrl}/ws`);
      venue.fault("disconnect");
      await cut.until(() => cut.closed !== undefined);
      assert.equal(cut.closed!.code, 1006);
      const polite = await Client.open(`${venue.wsUrl}/ws`);
      venue.fault("close", { code: 1001, reason: "going away" });
      await polite.until(() => polite.closed !== undefined);
      assert.equal(polite.closed!.code, 1001);
      venue.fault("refuse", { ms: 60_000 });
      await assert.rejects(Client.open(`${venue.wsUrl}/ws`), /503/);
      assert.equal(venue.stats.connectionsRefused, 1);
      venue.clearFaults();
      const bare = await Client.open(`${venue.wsUrl}/ws`);
      const combined = await Client.open(`${venue.wsUrl}/stream`);
      venue.fault("serverShutdown");
      await bare.until(() => bare.texts.length === 1);
      await combined.until(() => combined.texts.length === 1);
      assert.equal(bare.messages[0]!.e, "serverShutdown");
      assert.equal(combined.messages[0]!.stream, "!serverShutdown");
      assert.equal(combined.messages[0]!.data.E, START_MS);
    });
  });

  test("silence stands still and loses nothing", async () => {
    await withBinance({ speed: MAX, hold: true, symbols: 1, messages: 50, mix: { trade: 1 } }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws/btcusdt@trade`);
      venue.fault("silence", { ms: 60_000 });
      venue.play();
      await client.ask({ method: "LIST_SUBSCRIPTIONS", id: 1 });
      await get(venue, "/api/v3/time");
      assert.equal(venue.stats.position.played, 0);
      venue.clearFaults();
      await venue.finished;
      await client.until(() => client.texts.length === 51);
    });
  });

  test("snapshot faults: failing, slow and older than the first buffered event", async () => {
    await withBinance({ speed: MAX, symbols: 1, messages: 100, mix: { depth: 1 } }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws/btcusdt@depth@100ms`);
      await client.until(() => client.texts.length >= 2);
      const path = "/api/v3/depth?symbol=BTCUSDT&limit=10";
      venue.fault("failSnapshot", { count: 2, status: 429, retryAfterSeconds: 3 });
      for (let i = 0; i < 2; i++) {
        const failed = await fetch(venue.restUrl + path);
        assert.equal(failed.status, 429);
        assert.equal(failed.headers.get("retry-after"), "3");
      }
      venue.fault("staleSnapshot");
      const stale = await get(venue, path);
      assert.ok(stale.lastUpdateId < client.messages[0]!.U - 1);
      assert.equal(client.texts.length, 2, "the tape went on after a snapshot that nobody can link");
      venue.fault("slowSnapshot", { ms: 5 });
      const good = await get(venue, path);
      assert.equal(good.bids.length, 10);
      await venue.finished;
      await client.until(() => client.texts.length === 100);
      buildBook(await get(venue, "/api/v3/depth?symbol=BTCUSDT&limit=5000"), client.messages);
      const { failSnapshot, staleSnapshot, slowSnapshot } = venue.stats.faults;
      assert.deepEqual([failSnapshot, staleSnapshot, slowSnapshot], [2, 1, 1]);
    });
  });

  test("the same over HTTP", async () => {
    await withBinance({ speed: MAX, hold: true, symbols: 1, messages: 50, mix: { trade: 1 } }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws/btcusdt@trade`);
      const post = (path: string, body?: string) =>
        fetch(`${venue.restUrl}/control/${path}`, { method: "POST", ...(body === undefined ? {} : { body }) });
      assert.equal((await post("gap?kind=trade&count=4")).status, 200);
      assert.equal((await post("duplicate", '{"kind":"trade","count":1}')).status, 200);
      assert.equal((await post("earthquake")).status, 400);
      assert.equal((await post("malformed?variant=polite")).status, 400);
      assert.equal((await fetch(`${venue.restUrl}/control/gap`)).status, 405);
      await post("play");
      await venue.finished;
      await client.until(() => client.texts.length === 47);
      const stats = await get(venue, "/control/stats");
      assert.equal(stats.faults.gap, 4);
      assert.equal(stats.position.played, 51);
      assert.deepEqual(stats.subscriptions, ["btcusdt@trade"]);
      assert.equal(stats.requests["/control/gap"], 2);
    });
  });
});

describe("binance captures", { skip }, () => {
  test("the recorded run arrives byte for byte in order, with a snapshot that lets every point be compared", async () => {
    await withBinance({ captures: BINANCE_RUN, speed: MAX }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/stream`);
      const params = ["trade", "bookTicker", "depth@100ms"].map((kind) => `ethusdt@${kind}`);
      assert.deepEqual(await client.ask({ method: "SUBSCRIBE", params, id: 1 }), { result: null, id: 1 });
      const early = await get(venue, "/api/v3/depth?symbol=ETHUSDT&limit=5000");
      const depthsSoFar = () => client.texts.filter((text) => text.includes("@depth")).length;
      await client.until(() => client.texts.length > 30_000);
      const middle = await get(venue, "/api/v3/depth?symbol=ETHUSDT&limit=5000");
      const buffered = depthsSoFar();
      await venue.finished;
      const frames = readLines(BINANCE_RUN)
        .map((line) => line.slice(line.indexOf(" ") + 1))
        .filter((text) => text.startsWith('{"stream"'));
      await client.until(() => client.texts.length === frames.length + 1);
      assert.ok(
        frames.every((text, i) => text === client.texts[i + 1]),
        "a frame differs from the recording",
      );

      const depths = ofKind(client, "depth");
      const { book, compared } = buildBook(early, depths, ofKind(client, "bookTicker"));
      assert.equal(compared, 1056);

      const late = buildBook(middle, depths.slice(Math.max(0, buffered - 500)));
      assert.deepEqual(late.book.top(), book.top());
      const end = await get(venue, "/api/v3/depth?symbol=ETHUSDT&limit=20");
      assert.deepEqual([...end.bids[0], ...end.asks[0]], book.top());
      assert.equal(end.bids.length, 20);
      assert.equal(end.lastUpdateId, depths.at(-1)!.u);
      assert.equal(venue.stats.venue.bootstrapTimeouts, 0);

      const trades = ofKind(client, "trade");
      const [bar] = await get<Json[]>(
        venue,
        `/api/v3/klines?symbol=ETHUSDT&interval=1m&startTime=${1723161600000}&limit=1`,
      );
      const inside = trades.filter(({ T }) => T >= bar[0] && T <= bar[6]);
      assert.equal(bar[8], inside.length);
      assert.deepEqual([bar[1], bar[4]], [inside[0]!.p, inside.at(-1)!.p]);
      const endTime = trades[0]!.T - (trades[0]!.T % 1000) - 1;
      const [before] = await get<Json[]>(venue, `/api/v3/klines?symbol=ETHUSDT&interval=1s&endTime=${endTime}&limit=1`);
      assert.equal(before[4], trades[0]!.p, "the invented history does not end at the first trade's price");
    });
  });

  test("a snapshot asked for before the recorded one waits for it", async () => {
    await withBinance({ captures: BINANCE_RUN.slice(0, 1), hold: true }, async (venue) => {
      await Client.open(`${venue.wsUrl}/ws/ethusdt@depth@100ms`);
      const asked = get(venue, "/api/v3/depth?symbol=ETHUSDT&limit=1000");
      assert.equal((await get(venue, "/api/v3/time")).serverTime, 1723161255308);
      assert.equal(venue.stats.position.played, 0);
      venue.play();
      assert.ok((await asked).lastUpdateId >= 35346513512);
    });
  });

  test("without a snapshot request the tape goes on after a bounded wait", async () => {
    await withBinance({ captures: BINANCE_RUN.slice(0, 1), speed: MAX, bootstrapTimeoutMs: 5 }, async (venue) => {
      const client = await Client.open(`${venue.wsUrl}/ws/ethusdt@depth@100ms`);
      await venue.finished;
      await client.until(() => client.texts.length === 3434);
      assert.equal(venue.stats.venue.bootstrapTimeouts, 1);
    });
  });
});

const SUBSCRIBE = { type: "subscribe", product_ids: ["BTC-USD"], channels: ["matches"] };

describe("coinbase protocol", () => {
  test("subscriptions are answered with the full current set, in either form of channels", async () => {
    await withCoinbase({ hold: true }, async (venue) => {
      const client = await Client.open(venue.wsUrl);
      assert.deepEqual((await client.ask(SUBSCRIBE)).channels, [{ name: "matches", product_ids: ["BTC-USD"] }]);
      const mixed = { type: "subscribe", channels: [{ name: "level2_batch", product_ids: ["ETH-USD", "BTC-USD"] }] };
      assert.deepEqual((await client.ask(mixed)).channels, [
        { name: "matches", product_ids: ["BTC-USD"] },
        { name: "level2_batch", product_ids: ["ETH-USD", "BTC-USD"] },
      ]);
      const less = { type: "unsubscribe", product_ids: ["ETH-USD"], channels: ["level2_batch"] };
      assert.deepEqual((await client.ask(less)).channels[1], { name: "level2_batch", product_ids: ["BTC-USD"] });
      for (const [wrong, reason] of [
        [{ ...SUBSCRIBE, channels: ["level2"] }, /authentication/],
        [{ ...SUBSCRIBE, channels: ["level9"] }, /not a valid channel/],
        [{ ...SUBSCRIBE, product_ids: ["NO-SUCH"] }, /NO-SUCH is not a valid product/],
        [{ ...SUBSCRIBE, channels: [] }, /No channels/],
        [{ ...SUBSCRIBE, type: "hello" }, /Type/],
      ] as [Json, RegExp][]) {
        const refusal = await client.ask(wrong);
        assert.equal(refusal.type, "error");
        assert.equal(typeof refusal.message, "string");
        assert.match(refusal.reason, reason);
      }
      assert.equal((await client.ask("{")).type, "error");
      const keyed = { ...SUBSCRIBE, channels: ["level2"], signature: "s", key: "k", passphrase: "p", timestamp: "1" };
      assert.equal((await client.ask(keyed)).type, "subscriptions");
    });
  });

  test("a client that does not subscribe is cut off", async () => {
    await withCoinbase({ hold: true, subscribeTimeoutMs: 20 }, async (venue) => {
      const client = await Client.open(venue.wsUrl);
      await client.until(() => client.closed !== undefined);
      assert.equal(venue.stats.venue.subscribeTimeouts, 1);
    });
  });

  test("simulated: tickers agree with the rebuilt book, a gap in matches shows in the heartbeat and is in /trades", async () => {
    const shape = { symbols: 1, messages: 600, speed: MAX, hold: true, heartbeatIntervalMs: 5 };
    await withCoinbase(shape, async (venue) => {
      const client = await Client.open(venue.wsUrl);
      await client.ask({ ...SUBSCRIBE, channels: ["level2_batch", "matches", "ticker", "heartbeat"] });
      venue.fault("gap", { kind: "trade", count: 2 });
      venue.fault("wildTimestamp", { kind: "depth", year: 1 });
      venue.play();
      await venue.finished;
      const beats = () => client.messages.filter(({ type }) => type === "heartbeat");
      const [newest] = await get<Json[]>(venue, "/products/BTC-USD/trades?limit=1");
      await client.until(() => beats().at(-1)?.last_trade_id === newest!.trade_id);
      const tickers = client.messages.filter(({ type }) => type === "ticker");
      const matches = client.messages.filter(({ type }) => type === "match");
      assert.equal(matches.length, tickers.length - 2);
      assert.equal(matches[0]!.trade_id, tickers[2]!.trade_id);
      assert.notEqual(matches[0]!.side, tickers[2]!.side);
      assert.equal(beats().at(-1)!.last_trade_id, tickers.at(-1)!.trade_id);
      const path = `/products/BTC-USD/trades?after=${matches[0]!.trade_id}`;
      const missing = await get<Json[]>(venue, path);
      assert.deepEqual(
        missing.map(({ trade_id }) => trade_id),
        [tickers[1]!.trade_id, tickers[0]!.trade_id],
      );
      const updates = client.messages.filter(({ type }) => type === "l2update");
      assert.equal(updates[0]!.time, "0001-01-01T00:00:00.000000Z");
      assert.equal(checkTickers(client.messages), tickers.length);
      assert.throws(() => venue.fault("serverShutdown"), /no serverShutdown/);
    });
  });
});

/** Rebuilds every book and compares each ticker from the product's second on; returns how many agreed. */
function checkTickers(messages: Json[], from = 0): number {
  const books = new Map<string, PlainBook>();
  const seen = new Map<string, number>();
  let agreed = 0;
  for (const message of messages) {
    const product = message.product_id;
    if (message.type === "snapshot") {
      const book = new PlainBook();
      book.set("b", message.bids);
      book.set("a", message.asks);
      books.set(product, book);
    } else if (message.type === "l2update") {
      for (const [side, price, size] of message.changes) {
        books.get(product)!.set(side === "buy" ? "b" : "a", [[price, size]]);
      }
    } else if (message.type === "ticker") {
      const count = seen.get(product) ?? 0;
      seen.set(product, count + 1);
      if (count < from) continue;
      const [bid, , ask] = books.get(product)!.top();
      assert.deepEqual([Number(message.best_bid), Number(message.best_ask)], [Number(bid), Number(ask)]);
      agreed++;
    }
  }
  return agreed;
}

describe("coinbase captures", { skip }, () => {
  const channels = ["level2_batch", "matches", "ticker"];

  test("the recorded run, and a second client that joins in the middle", async () => {
    await withCoinbase({ captures: COINBASE_RUN, hold: true, speed: MAX }, async (venue) => {
      const listed = await get<Json[]>(venue, "/products");
      const products = listed.map(({ id }) => id).filter((id) => COINBASE_PRODUCTS.includes(id));
      assert.equal(products.length, 10);
      assert.equal(listed.find(({ id }) => id === "YFI-BTC")!.quote_increment, "0.00001");
      assert.ok(listed.some(({ status }) => status === "delisted"));
      const first = await Client.open(venue.wsUrl);
      await first.ask({ type: "subscribe", product_ids: products, channels });
      venue.play();
      await first.until(() => first.texts.length > 4000);
      const second = await Client.open(venue.wsUrl);
      second.send({ type: "subscribe", product_ids: products, channels });
      await venue.finished;
      const recorded = readLines(COINBASE_RUN)
        .map((line) => /^[\d.]+: (.*)/.exec(line)?.[1] ?? "")
        .filter((text) => text !== "" && !text.includes('"subscriptions"'));
      await first.until(() => first.texts.length === recorded.length + 1);
      await second.until(() => second.texts.at(-1) === first.texts.at(-1));
      assert.deepEqual(first.texts.slice(1), recorded);
      assert.equal(checkTickers(first.messages, 1), 97);
      assert.ok(checkTickers(second.messages, 1) > 0);
      const types = second.messages.slice(0, 31).map(({ type }) => type);
      assert.equal(types.filter((type) => type === "snapshot").length, 10);
      assert.equal(types.filter((type) => type === "last_match").length, 10);
      assert.equal(types.at(-1), "subscriptions");

      const [product] = first.messages.filter(({ type }) => type === "match").map(({ product_id }) => product_id);
      const played = first.messages
        .filter(({ type, product_id }) => /match$/.test(type) && product_id === product)
        .map(({ trade_id }) => trade_id);
      const path = `/products/${product}/trades`;
      const trades = await get<Json[]>(venue, path);
      assert.deepEqual(trades.map(({ trade_id }) => trade_id).reverse(), played);
      const newer = await get<Json[]>(venue, `${path}?before=${played.at(-2)}&limit=5`);
      assert.deepEqual(
        newer.map(({ trade_id }) => trade_id),
        played.slice(-1),
      );
      const candles = await get<number[][]>(venue, `/products/${product}/candles?granularity=60`);
      assert.ok(candles.length > 1 && candles.length <= 300);
      assert.ok(candles.every((candle, i) => i === 0 || candle[0]! < candles[i - 1]![0]!));
      assert.equal(candles[0]![4], Number(trades[0]!.price));
      const ticker = await get(venue, `/products/${product}/ticker`);
      assert.equal(ticker.trade_id, played.at(-1));
    });
  });
});

const COINBASE_PRODUCTS = "SKL-USD SKL-BTC BAND-GBP NMR-EUR BAND-BTC YFI-BTC DASH-BTC NU-GBP CRV-EUR SKL-GBP".split(
  " ",
);
