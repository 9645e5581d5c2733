/** What an operator sees: counters, latencies, the old broker's JSON, and the arithmetic below them. */
import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { Duration, WINDOW_SECONDS } from "../src/server/duration.ts";
import { Latency } from "../src/server/latency.ts";
import { ManualClock } from "../src/std/clock.ts";
import { Histogram } from "../src/std/histogram.ts";
import { Turn } from "../src/std/turn.ts";
import type { Served, ServeOptions, Venue } from "./serve.ts";
import { leave, Probe, serve, settled, spot } from "./serve.ts";

const drained = (histogram: Histogram): [number, number][] => {
  const buckets: [number, number][] = [];
  histogram.drain((value, count) => buckets.push([value, count]));
  return buckets;
};

test("a histogram knows every value to one part in 32, and counts each once", () => {
  const value = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 2 ** 31 - 1 }));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1 }), (values) => {
      const histogram = new Histogram();
      for (const each of values) histogram.record(each);
      const sorted = [...values].sort((a, b) => a - b);
      const buckets = drained(histogram);
      strictEqual(
        buckets.reduce((sum, [, count]) => sum + count, 0),
        values.length,
      );
      const found = buckets.flatMap(([least, count]) => Array.from({ length: count }, () => least));
      for (const [index, least] of found.entries()) {
        const exact = sorted[index] as number;
        ok(least <= exact && exact - least <= exact / 32, `${exact} is counted at ${least}`);
      }
      deepStrictEqual(drained(histogram), [], "it forgets what it has given");
    }),
    { seed: 7 },
  );
});

test("a histogram keeps what is out of range, at its ends", () => {
  const histogram = new Histogram();
  for (const value of [-1, Number.NaN, Number.NEGATIVE_INFINITY]) histogram.record(value);
  deepStrictEqual(drained(histogram), [[0, 3]]);
  for (const value of [2 ** 31, 1e300, Number.POSITIVE_INFINITY]) histogram.record(value);
  strictEqual(drained(histogram)[0]?.[1], 3);
  histogram.record(12.9);
  deepStrictEqual(drained(histogram), [[12, 1]]);
});

test("a duration counts from the start, and its quantiles are those of the last seconds", () => {
  const duration = new Duration();
  for (let micros = 1; micros <= 1000; micros += 1) duration.record(micros);
  const [p50, p90, p99] = duration.quantiles() as [number, number, number];
  for (const [quantile, exact] of [
    [p50, 500],
    [p90, 900],
    [p99, 990],
  ] as const) {
    ok(Math.abs(quantile - exact) <= 0.05 * exact, `${quantile} is about ${exact}`);
  }
  // Bounds of 10, 25, 50, 100, 250, 500 and 1,000 microseconds.
  for (const [index, exact] of [10, 25, 50, 100, 250, 500, 1000].entries()) {
    ok(Math.abs((duration.counts[index] as number) - exact) <= 0.04 * exact);
  }
  for (let second = 0; second < WINDOW_SECONDS; second += 1) duration.advance();
  deepStrictEqual(duration.quantiles(), [0, 0, 0, 0], "they are no longer in the window");
  strictEqual(duration.windowCount, 0);
  strictEqual(duration.count, 1000);
  ok(Math.abs(duration.sumMicros - 500_500) < 0.04 * 500_500);
});

test("a turn's stages are counted from its first message, and one turn in sixteen is followed to the sockets", async () => {
  const clock = new ManualClock(1e15);
  const turn = new Turn(clock);
  const latency = new Latency(turn, () => clock.now());
  const publisher = { behind: true, endTurn: () => clock.advance(20) };
  turn.onEnd(() => {
    clock.advance(30);
    latency.endTurn(publisher);
  });
  for (let each = 0; each < 16; each += 1) {
    turn.now();
    turn.end();
  }
  clock.advance(7);
  await new Promise(setImmediate);
  for (let each = 0; each < 16; each += 1) {
    turn.now();
    turn.end();
  }
  // The next message comes before the loop has nothing left to do.
  clock.advance(10);
  turn.now();
  clock.advance(500);
  await new Promise(setImmediate);
  // Nothing to publish: nothing is counted.
  publisher.behind = false;
  turn.now();
  turn.end();
  for (const stage of latency.stages) stage.gather();
  const figures = latency.stages.map(({ count, sumMicros }) => [count, sumMicros]);
  // The last turn took 530 and 550, which are counted at 528 and 544.
  deepStrictEqual(figures.slice(0, 2), [
    [33, 32 * 30 + 528],
    [33, 32 * 50 + 544],
  ]);
  deepStrictEqual(figures[2], [2, 57 + 60]);
});

interface Market extends Served {
  a: Venue;
  btc: number;
}

async function market(options: ServeOptions = {}): Promise<Market> {
  const served = await serve(options);
  const [a, b] = served.venues as [Venue, Venue];
  a.list(spot(["BTC/USDT", "ETH/USDT"]));
  b.list(spot(["BTC/USDT"]));
  a.up();
  b.up();
  return { ...served, a, btc: a.ids.get("BTC/USDT") as number };
}

/** Samples of an exposition by name and labels; every line is of the format, and belongs to a family that was announced. */
function samplesOf(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) types.set(type[1] as string, type[2] as string);
    else if (!line.startsWith("# HELP ")) {
      const sample = /^([a-zA-Z_:][\w:]*)(\{(?:[a-z_]+="[^"]*",?)+\})? (-?[\d.e+-]+|[Nn]a[Nn]|\+Inf)$/.exec(line);
      ok(sample !== null, `a sample: ${line}`);
      const [, name, labels = "", value] = sample as unknown as [string, string, string | undefined, string];
      const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
      ok(types.has(family), `${name} was announced`);
      ok(!samples.has(name + labels), `${name}${labels} comes once`);
      samples.set(name + labels, Number(value));
    }
  }
  return samples;
}

async function scrape({ http }: Served): Promise<{ text: string; of: (name: string) => number | undefined }> {
  const response = await fetch(`${http}/metrics`);
  match(String(response.headers.get("content-type")), /^text\/plain/);
  const text = await response.text();
  const samples = samplesOf(text);
  return { text, of: (name) => samples.get(name) };
}

test("metrics: what was sent, to whom, in which form", async () => {
  const served = await market();
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: ["trades", "book"], depth: "full" });
  await probe.ask({ type: "nothing", id: 1 });
  await settled(served);
  const before = await scrape(served);
  for (let each = 1; each <= 70; each += 1) served.a.everything(served.btc, each);
  await settled(served);
  await probe.level();
  const { text, of } = await scrape(served);
  const grew = (name: string) => (of(name) ?? 0) - (before.of(name) ?? 0);
  // The first trade brings the frame of the stream's state along.
  strictEqual(grew('tickwire_frames_sent_total{channel="trades",encoding="json"}'), 71);
  strictEqual(grew('tickwire_frames_sent_total{channel="orderbook",encoding="json"}'), 70);
  strictEqual(grew('tickwire_ticks_total{channel="trades"}'), 71);
  ok(grew('tickwire_bytes_sent_total{channel="trades",encoding="json"}') > 7000);
  doesNotMatch(text, /frames_sent_total\{[^}]*flatbuffers/, "nobody asked for them");
  strictEqual(of("tickwire_publish_lost_total"), 0);
  strictEqual(of("tickwire_connections"), 1);
  strictEqual(of("tickwire_subscriptions"), 1);
  strictEqual(of("tickwire_connections_opened_total"), 1);
  strictEqual(of('tickwire_errors_total{code="unknown_type"}'), 1);
  strictEqual(of('tickwire_clients_dropped_total{reason="slow"}'), 0);
  strictEqual(of('tickwire_feed_state{exchange="test-a",state="live"}'), 1);
  strictEqual(of('tickwire_books{exchange="test-a",state="live"}'), 1);
  strictEqual(of('tickwire_streams{exchange="test-a",channel="trades",state="live"}'), 1);
  ok((of('tickwire_ring_bytes{ring="ticks"}') as number) > 140 * 100);
  ok((of("process_resident_memory_bytes") as number) > 1e6);
  ok((of("nodejs_eventloop_lag_p99_seconds") as number) >= 0);
  strictEqual(of('tickwire_venue_lag_seconds_count{exchange="test-a"}'), 2, "one in 64 of 140");
  await leave(served, probe);
  await served.stop();
});

test("metrics: stages as histograms whose buckets add up", async () => {
  const served = await market();
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: ["trades"] });
  for (let each = 1; each <= 40; each += 1) {
    served.a.everything(served.btc, each);
    await settled(served);
  }
  await new Promise(setImmediate);
  const { text, of } = await scrape(served);
  for (const stage of ["ring", "publish", "socket"]) {
    const family = "tickwire_latency_seconds";
    const buckets = [
      ...text.matchAll(new RegExp(`^${family}_bucket\\{stage="${stage}",le="([^"]+)"\\} (\\d+)$`, "gm")),
    ];
    const counts = buckets.map(([, , count]) => Number(count));
    deepStrictEqual(
      counts,
      [...counts].sort((x, y) => x - y),
      "each holds the ones before",
    );
    strictEqual(buckets.at(-1)?.[1], "+Inf");
    strictEqual(counts.at(-1), of(`${family}_count{stage="${stage}"}`));
    ok((counts.at(-1) as number) >= (stage === "socket" ? 1 : 40));
    ok((of(`tickwire_latency_quantile_seconds{stage="${stage}",quantile="0.99"}`) as number) < 60);
  }
  await leave(served, probe);
  await served.stop();
});

test("metrics: a turn that brought nothing is no latency", async () => {
  const served = await market();
  await settled(served);
  const before = (await scrape(served)).of('tickwire_latency_seconds_count{stage="ring"}');
  for (let each = 0; each < 10; each += 1) await settled(served);
  strictEqual((await scrape(served)).of('tickwire_latency_seconds_count{stage="ring"}'), before);
  await served.stop();
});

test("metrics: what conflation left out is counted, by its period", async () => {
  const served = await market();
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: ["quotes"], conflate_ms: 1000 });
  served.a.quote(served.btc, 90);
  await settled(served);
  for (let each = 1; each <= 5; each += 1) served.a.quote(served.btc, 90 + each / 10);
  await settled(served);
  const { of } = await scrape(served);
  ok((of('tickwire_conflated_total{conflate_ms="1000"}') as number) >= 4);
  strictEqual(of('tickwire_conflated_total{conflate_ms="50"}'), 0);
  await leave(served, probe);
  await served.stop();
});

test("metrics: streams whose cadence is known, what is silent now, and how often there was silence", async () => {
  const served = await market();
  const { freshness } = served.engine;
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: ["quotes", "trades"] });
  await settled(served);
  const LOOK = 100_000;
  let now = 1e15;
  const look = (times: number) => {
    for (const until = now + times * LOOK; now < until; freshness.sweep(now)) now += LOOK;
  };
  for (let each = 1; each <= 30; each += 1) {
    served.a.quote(served.btc, 90 + each);
    look(1);
  }
  const before = await scrape(served);
  strictEqual(before.of('tickwire_watched_streams{cadence="learned"}'), 1, "the quotes");
  strictEqual(before.of('tickwire_watched_streams{cadence="learning"}'), 1, "the trades");
  strictEqual(before.of('tickwire_silences_total{state="quiet"}'), 0);
  look(40);
  const quiet = await scrape(served);
  strictEqual(quiet.of('tickwire_streams{exchange="test-a",channel="quotes",state="quiet"}'), 1);
  strictEqual(quiet.of('tickwire_silences_total{state="quiet"}'), 1);
  strictEqual(quiet.of('tickwire_silences_total{state="stale"}'), 0);
  look(80);
  const stale = await scrape(served);
  strictEqual(stale.of('tickwire_streams{exchange="test-a",channel="quotes",state="stale"}'), 1);
  strictEqual(stale.of('tickwire_silences_total{state="stale"}'), 1);
  served.a.quote(served.btc, 200);
  const live = await scrape(served);
  strictEqual(live.of('tickwire_streams{exchange="test-a",channel="quotes",state="live"}'), 1);
  strictEqual(live.of('tickwire_silences_total{state="quiet"}'), 1, "what was stays counted");
  await leave(served, probe);
  await served.stop();
});

test("metrics: single instruments only where they were named", async () => {
  const served = await market({ metricsSymbols: ["BTC/USDT"] });
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: ["BTC/USDT", "ETH/USDT"], exchanges: "test-a", channels: ["trades", "book"] });
  await settled(served);
  served.a.everything(served.btc, 1);
  await settled(served);
  const { text, of } = await scrape(served);
  const labels = 'exchange="test-a",symbol="BTC/USDT"';
  const sequence = served.engine.frames.sequence(served.btc * 32 + 1);
  strictEqual(of(`tickwire_symbol_frames_total{${labels},channel="trades"}`), sequence);
  strictEqual(of(`tickwire_symbol_state{${labels},channel="orderbook",state="live"}`), 1);
  strictEqual(of(`tickwire_symbol_book_levels{${labels},side="bid"}`), 30);
  doesNotMatch(text, /ETH\/USDT/);
  await leave(served, probe);
  await served.stop();
});

test("metrics.json: the old broker's contract, with a rate over the window and the stages' quantiles", async () => {
  const served = await market();
  const { metrics } = served.server;
  const probe = await Probe.open(`${served.url}/stream`);
  await probe.subscribe(1, { symbols: "BTC/USDT", exchanges: "test-a", channels: ["trades"] });
  await settled(served);
  const json = async () => (await (await fetch(`${served.http}/metrics.json`)).json()) as Record<string, unknown>;
  // Ahead of the server's own samples, so that only these count.
  const start = 1e16;
  metrics.sample(start);
  for (let each = 1; each <= 50; each += 1) served.a.trade(served.btc);
  await settled(served);
  metrics.sample(start + 5e6);
  for (let second = 6; second <= 25; second += 1) metrics.sample(start + second * 1e6);
  const quiet = await json();
  strictEqual(quiet.messages_per_second, 0, "what was sent is older than the window");
  for (let each = 1; each <= 50; each += 1) served.a.trade(served.btc);
  await settled(served);
  metrics.sample(start + 26e6);
  const busy = await json();
  strictEqual(busy.messages_per_second, 50 / WINDOW_SECONDS);
  deepStrictEqual(Object.keys(busy), [
    "active_subscriptions",
    "connections",
    "messages_per_second",
    "window_seconds",
    "uptime",
    "reconnects",
    "exchange_status",
    "latency_us",
  ]);
  deepStrictEqual(
    [busy.active_subscriptions, busy.connections, busy.exchange_status, busy.window_seconds],
    [1, 1, { "test-a": "connected", "test-b": "connected" }, WINDOW_SECONDS],
  );
  const latency = busy.latency_us as Record<string, Record<string, number>>;
  deepStrictEqual(Object.keys(latency), ["ring", "publish", "socket"]);
  deepStrictEqual(Object.keys(latency.ring as object), ["p50", "p90", "p99", "p999", "samples"]);
  await leave(served, probe);
  await served.stop();
});
