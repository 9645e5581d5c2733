/**
 * The recorded Binance run through everything that is real: double, feed, engine, ring, server, clients of both
 * encodings. What must come out is calculated here from the capture's own lines.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startBinanceVenue } from "../loadtest/venues/binance.ts";
import { readCapture } from "../loadtest/venues/capture.ts";
import type { VenueDouble } from "../loadtest/venues/double.ts";
import {
  agrees,
  type BarFrame,
  BINANCE_RUN,
  type BookFrame,
  Client,
  eventually,
  type Frame,
  HeldBook,
  type IndicatorFrame,
  listed,
  NO_CAPTURES,
  type QuoteFrame,
  type Running,
  type StateFrame,
  startGateway,
  type Top,
  type TradeFrame,
} from "./gateway.ts";

const SYMBOL = "ETH/USDT";
const COMPARABLE_POINTS = 1056;
const TRADES = 14_515;
const STREAMS_AT_VENUE = ["ethusdt@bookTicker", "ethusdt@depth@100ms", "ethusdt@trade"];
const WIDTHS: Readonly<Record<string, number>> = { "1s": 1e6, "1m": 60e6 };
const ALLOWANCE = 250_000;
const CHANNELS = ["trades", "orderbook", "quotes", "bars", "indicators"];
/** Enough that bars from before the run are still kept at its end. */
const KEPT_BARS = 1500;
/** Frames that the first client holds when the tape is stopped for another one to join. */
const JOIN_AFTER_FRAMES = 20_000;

interface RecordedTrade {
  time: number;
  price: number;
  size: number;
  side: string;
  id: string;
}

interface Recording {
  trades: RecordedTrade[];
  quotes: Map<number, Top>;
  /** Last update of each depth event after the snapshot. */
  depths: number[];
  /** The latest time that the venue's clock can have learned. */
  lastTime: number;
}

function readRecording(): Recording {
  const recording: Recording = { trades: [], quotes: new Map(), depths: [], lastTime: 0 };
  let snapshot = Number.POSITIVE_INFINITY;
  for (const path of BINANCE_RUN) {
    for (const { text } of readCapture(path)) {
      const message = JSON.parse(text.toString());
      const data = message.data ?? message;
      recording.lastTime = Math.max(recording.lastTime, (data.T ?? data.E ?? 0) * 1000);
      if (data.lastUpdateId !== undefined) snapshot = data.lastUpdateId;
      else if (data.e === "depthUpdate") {
        if (data.u > snapshot) recording.depths.push(data.u);
      } else if (data.e === "trade") {
        // m: the buyer is the maker, so the aggressor sold.
        const side = data.m ? "sell" : "buy";
        recording.trades.push({ time: data.T * 1000, price: +data.p, size: +data.q, side, id: String(data.t) });
      } else
        recording.quotes.set(data.u, { bid_price: +data.b, bid_size: +data.B, ask_price: +data.a, ask_size: +data.A });
    }
  }
  return recording;
}

interface PlainBar {
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  quote: number;
  buy: number;
  sell: number;
  count: number;
  first: number;
  last: number;
}

/** Bars by open time, straight from the trades. */
function barsOf(trades: readonly RecordedTrade[], width: number): Map<number, PlainBar> {
  const bars = new Map<number, PlainBar>();
  for (const { time, price, size, side } of trades) {
    const opened = Math.floor(time / width) * width;
    let bar = bars.get(opened);
    if (bar === undefined) {
      bar = {
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 0,
        quote: 0,
        buy: 0,
        sell: 0,
        count: 0,
        first: time,
        last: time,
      };
      bars.set(opened, bar);
    }
    if (time < bar.first) {
      bar.first = time;
      bar.open = price;
    }
    if (time >= bar.last) {
      bar.last = time;
      bar.close = price;
    }
    bar.high = Math.max(bar.high, price);
    bar.low = Math.min(bar.low, price);
    bar.volume += size;
    bar.quote += size * price;
    bar[side as "buy" | "sell"] += size;
    bar.count += 1;
  }
  return bars;
}

/** MACD (12, 26, 9) of closes: averages start at the first close, the signal at 0. */
function macdOf(closes: readonly number[]): { value: number; signal: number }[] {
  let fast = closes[0] as number;
  let slow = fast;
  let signal = 0;
  return closes.map((close) => {
    fast += (2 / 13) * (close - fast);
    slow += (2 / 27) * (close - slow);
    signal += (2 / 10) * (fast - slow - signal);
    return { value: fast - slow, signal };
  });
}

/** The weighted mean of the last `length` values up to `at`, weights 1 to `length`; before the first stands `pad`. */
function weighted(values: readonly number[], at: number, length: number, pad: number): number {
  let sum = 0;
  for (let weight = 1; weight <= length; weight += 1) sum += weight * (values[at - length + weight] ?? pad);
  return sum / ((length * (length + 1)) / 2);
}

/** HMA (20) of closes. */
function hmaOf(closes: readonly number[]): number[] {
  const pad = closes[0] as number;
  const differences = closes.map((_, at) => 2 * weighted(closes, at, 10, pad) - weighted(closes, at, 20, pad));
  return differences.map((_, at) => weighted(differences, at, 4, pad));
}

function near(actual: unknown, expected: number, what: string): void {
  const tolerance = 1e-9 * Math.max(1, Math.abs(expected));
  assert.ok(
    typeof actual === "number" && Math.abs(actual - expected) <= tolerance,
    `${what}: ${actual}, not ${expected}`,
  );
}

const isRing = (frame: Frame) => !frame.flags.includes("derived");

/** Rebuilds a client's book and compares it with the quote of the same update, whichever comes first. */
class BookCheck {
  readonly book = new HeldBook();
  compared = 0;
  readonly wrong: number[] = [];
  readonly #quotes = new Map<number, Top>();
  readonly #tops = new Map<number, Top>();

  take(frame: Frame): void {
    if (frame.type === "quote") {
      const { sequence } = frame as QuoteFrame;
      const top = this.#tops.get(sequence ?? 0);
      this.#quotes.set(sequence ?? 0, frame as QuoteFrame);
      if (top !== undefined) this.#compare(sequence ?? 0, frame as QuoteFrame, top);
    } else if (frame.type === "orderbook" && this.book.apply(frame as BookFrame)) {
      const { sequence, best } = this.book;
      const quote = this.#quotes.get(sequence);
      this.#tops.set(sequence, best);
      if (quote !== undefined) this.#compare(sequence, quote, best);
    }
  }

  #compare(sequence: number, quote: Top, top: Top): void {
    this.compared += 1;
    if (!agrees(quote, top)) this.wrong.push(sequence);
  }
}

describe("the recorded Binance run", { skip: NO_CAPTURES }, () => {
  let recording: Recording;
  let venue: VenueDouble;
  let running: Running;
  const clients: Record<"binary" | "json" | "tier" | "late", Client> = {} as never;
  const checks = { binary: new BookCheck(), json: new BookCheck(), late: new BookCheck() };
  /** What the gateway keeps from before the run, and what the venue says at its end. */
  const histories: Record<string, { time: number; close: number }[]> = {};
  const venueBars: Record<string, Map<number, PlainBar>> = {};
  /** Top 20 of the whole book by sequence, and what the holder of depth 20 had after each of its messages. */
  const tops = new Map<number, string>();
  const windows: { seq: number; window: string }[] = [];

  before(async () => {
    recording = readRecording();
    venue = await startBinanceVenue({ captures: BINANCE_RUN, speed: Number.POSITIVE_INFINITY, hold: true });
    running = await startGateway(["--timeframes=1s,1m", `--history-bars=${KEPT_BARS}`], { binance: venue });
    await listed(running, SYMBOL);
    const { url } = running;
    clients.binary = await Client.open(`${url}/stream`, "flatbuffers");
    clients.json = await Client.open(`${url}/stream`, "json");
    clients.tier = await Client.open(`${url}/stream`, "json");
    clients.binary.onFrame = (frame) => {
      checks.binary.take(frame);
      const { book } = checks.binary;
      if (frame.type === "orderbook" && book.seq === frame.seq) tops.set(book.seq, JSON.stringify(book.top(20)));
    };
    clients.json.onFrame = (frame) => checks.json.take(frame);
    const tier = new HeldBook();
    clients.tier.onFrame = (frame) => {
      if (frame.type !== "orderbook") return;
      tier.apply(frame as BookFrame);
      windows.push({ seq: frame.seq, window: JSON.stringify(tier.top(1000)) });
    };
    const request = { channels: CHANNELS, symbols: [SYMBOL], depth: "full", timeframes: ["1s", "1m"] };
    await clients.binary.subscribe("all", request);
    await clients.json.subscribe("all", request);
    await clients.tier.subscribe("top", { channels: ["orderbook"], symbols: [SYMBOL] });
    await eventually(
      () => STREAMS_AT_VENUE.every((stream) => venue.stats.subscriptions.includes(stream)),
      "the venue to be asked for all streams",
    );
    venue.play();
    await clients.binary.until(() => clients.binary.frames.length > JOIN_AFTER_FRAMES, "a part of the run");
    venue.pause();
    clients.late = await Client.open(`${url}/stream`, "flatbuffers");
    clients.late.onFrame = (frame) => checks.late.take(frame);
    clients.late.send({ type: "subscribe", id: "all", ...request });
    venue.play();
    await venue.finished;
    const newest = String(recording.trades.at(-1)?.id);
    const lastDepth = recording.depths.at(-1);
    for (const [name, client] of Object.entries(clients)) {
      if (name === "tier") continue;
      const check = checks[name as keyof typeof checks];
      await client.until(
        () => check.book.sequence === lastDepth && client.of<TradeFrame>("trade").at(-1)?.trade_id === newest,
        `the ${name} client to have it all`,
      );
    }
    await clients.tier.until(() => windows.at(-1)?.seq === checks.binary.book.seq, "the last window");
    const due = [...barsOf(recording.trades, 1e6).keys()].at(-1) as number;
    for (const client of [clients.binary, clients.json]) {
      const closed = () => client.of<BarFrame>("bar").some((bar) => bar.open_time === due && isRing(bar));
      await client.until(closed, "the last 1s bar");
    }
    for (const [timeframe, width] of Object.entries(WIDTHS)) {
      venueBars[timeframe] = await klines(venue, timeframe, recording.lastTime);
      histories[timeframe] = await keptBars(
        running,
        timeframe,
        [...barsOf(recording.trades, width).keys()][0] as number,
      );
    }
  });

  after(async () => {
    for (const client of Object.values(clients)) await client?.close();
    await running?.stop();
    await venue?.close();
  });

  for (const encoding of ["binary", "json"] as const) {
    test(`${encoding}: the book equals the venue's quote at every comparable point`, () => {
      const points = recording.depths.filter((sequence) => recording.quotes.has(sequence));
      assert.equal(points.length, COMPARABLE_POINTS);
      assert.deepEqual(checks[encoding].wrong, []);
      assert.equal(checks[encoding].compared, COMPARABLE_POINTS);
    });

    test(`${encoding}: quotes are the capture's, field by field`, () => {
      const quotes = clients[encoding].of<QuoteFrame>("quote").filter(isRing);
      assert.equal(quotes.length, recording.quotes.size);
      for (const quote of quotes) {
        const recorded = recording.quotes.get(quote.sequence as number);
        assert.ok(recorded !== undefined && agrees(recorded, quote) && quote.live, `update ${quote.sequence}`);
      }
    });

    test(`${encoding}: every trade exactly once, in order, as recorded`, () => {
      const trades = clients[encoding].of<TradeFrame>("trade");
      assert.equal(trades.length, TRADES);
      assert.equal(recording.trades.length, TRADES);
      trades.forEach(({ price, size, side, trade_id, ts_exchange }, index) => {
        assert.deepEqual({ time: ts_exchange, price, size, side, id: trade_id }, recording.trades[index]);
      });
    });

    test(`${encoding}: no hole, nothing twice, no loss`, () => {
      const client = clients[encoding];
      assert.deepEqual(client.holes, []);
      assert.deepEqual(client.duplicates, []);
      for (const channel of ["trades", "orderbook", "quotes"]) {
        const states = client.of<StateFrame>("state").filter((frame) => frame.channel === channel);
        assert.deepEqual([...new Set(states.map(({ state }) => state))], ["syncing", "live"]);
        assert.deepEqual(
          states.filter(({ gap }) => gap !== null),
          [],
        );
      }
      for (const [stream, info] of client.streams) {
        const sequences = client.frames
          .filter((frame) => frame.stream === stream && isRing(frame))
          .map(({ seq }) => seq);
        assert.deepEqual(
          sequences,
          Array.from(sequences, (_, index) => info.seq + 1 + index),
          info.channel,
        );
      }
    });

    for (const [timeframe, width] of Object.entries(WIDTHS)) {
      test(`${encoding}: ${timeframe} bars are those of the trades`, () => {
        const frames = clients[encoding]
          .of<BarFrame>("bar")
          .filter((bar) => bar.timeframe === timeframe && isRing(bar));
        const closed = frames.filter(({ state }) => state === "closed").map(({ open_time }) => open_time);
        assert.deepEqual(
          closed,
          [...new Set(closed)].sort((a, b) => a - b),
          "each closes once, in order",
        );
        const last = new Map(frames.map((bar) => [bar.open_time, bar]));
        const expected = barsOf(recording.trades, width);
        const due = [...expected.keys()].filter((opened) => opened + width + ALLOWANCE <= recording.lastTime);
        assert.ok(due.length > 1 && due.every((opened) => last.has(opened)), "every bar that is due has closed");
        for (const [opened, bar] of last) {
          // A bar that was joined in its middle closes partial, and the venue's own may take its place.
          const isVenues = bar.source === "venue";
          if (isVenues) assert.deepEqual([bar.state, bar.partial], ["corrected", false]);
          const plain = (isVenues ? venueBars[timeframe] : expected)?.get(opened) as PlainBar;
          const { open, high, low, close, trade_count } = bar;
          assert.deepEqual(
            { open, high, low, close, count: trade_count },
            { open: plain.open, high: plain.high, low: plain.low, close: plain.close, count: plain.count },
          );
          near(bar.volume, plain.volume, "volume");
          near(bar.quote_volume, plain.quote, "quote volume");
          near(bar.vwap, plain.quote / plain.volume, "vwap");
          near(bar.buy_volume, plain.buy, "buy volume");
          near(bar.sell_volume, plain.sell, "sell volume");
          assert.equal(bar.close_time, opened + width);
          assert.equal(bar.across_gap, false);
        }
        // The tape begins within the first bar; from the first whole one on, all are.
        const partial = frames.filter(({ state }) => state === "closed").map((bar) => bar.partial);
        assert.equal(partial[0], true);
        assert.equal(partial.at(-1), false);
        assert.equal(partial.lastIndexOf(true), partial.indexOf(false) - 1);
        if (timeframe === "1m") assert.equal(partial.indexOf(false), 1);
        const replaced = frames.filter(({ source }) => source === "venue").length;
        assert.ok(replaced <= partial.indexOf(false), `${replaced} bars of the venue's`);
      });

      test(`${encoding}: ${timeframe} indicators follow from the venue's history and these bars`, () => {
        const history = histories[timeframe] ?? [];
        assert.ok(history.length > 400, `${history.length} bars of history`);
        for (const { time, close } of history) assert.equal(close, venueBars[timeframe]?.get(time)?.close);
        const bars = [...barsOf(recording.trades, width)].sort(([a], [b]) => a - b);
        const closes = [...history.map(({ close }) => close), ...bars.map(([, { close }]) => close)];
        const [macd, hma] = [macdOf(closes), hmaOf(closes)];
        const last = new Map<number, IndicatorFrame>();
        for (const frame of clients[encoding].of<IndicatorFrame>("indicators")) {
          if (frame.timeframe === timeframe && isRing(frame)) last.set(frame.bar_time, frame);
        }
        bars.forEach(([opened, bar], index) => {
          const frame = last.get(opened);
          if (opened + width + ALLOWANCE > recording.lastTime && frame === undefined) return;
          const at = history.length + index;
          const { value, signal } = macd[at] as { value: number; signal: number };
          const before = macd[at - 1] as { value: number; signal: number };
          const shown = frame?.values["macd(12,26,9)"];
          near(shown?.value, value, "macd");
          near(shown?.signal, signal, "signal");
          near(shown?.histogram, value - signal, "histogram");
          near(shown?.change, value - signal - (before.value - before.signal), "change of the histogram");
          assert.equal(shown?.ready, true);
          near(frame?.values["hma(20)"]?.value, hma[at] as number, "hma");
          assert.equal(frame?.values["hma(20)"]?.ready, true);
          assert.ok(typeof frame?.values.vwap?.value === "number" && bar.count > 0, "no vwap");
        });
      });
    }
  }

  test("both encodings of a frame say the same", () => {
    const ring = (client: Client) => client.frames.filter(isRing);
    const [binary, json] = [ring(clients.binary), ring(clients.json)];
    assert.equal(binary.length, json.length);
    binary.forEach((frame, index) => {
      assert.deepEqual(frame, json[index]);
    });
  });

  test("depth 20 holds the top 20 of the whole book after every message", () => {
    assert.ok(windows.length > 100, `${windows.length} messages`);
    const wrong = windows.filter(({ seq, window }) => tops.get(seq) !== window).map(({ seq }) => seq);
    assert.deepEqual(wrong, []);
    assert.deepEqual(clients.tier.holes, []);
    const info = clients.tier.streams.get(clients.tier.stream("orderbook"));
    assert.deepEqual([info?.depth, info?.resumable], [20, false]);
  });

  test("a client that joins in the middle gets one snapshot, then everything once", () => {
    const { late, binary } = clients;
    assert.deepEqual(late.holes, []);
    assert.deepEqual(late.duplicates, []);
    assert.equal(checks.late.book.snapshots, 1);
    assert.deepEqual(checks.late.book.top(10_000), checks.binary.book.top(10_000));
    assert.deepEqual(checks.late.wrong, []);
    const trades = late.of<TradeFrame>("trade");
    assert.ok(trades.length > 1000 && trades.length < TRADES, `${trades.length} trades`);
    assert.deepEqual(trades, binary.of<TradeFrame>("trade").slice(-trades.length));
    const first = late.frames.find((frame) => frame.type === "orderbook" && isRing(frame));
    const snapshot = late.frames.find((frame) => frame.type === "orderbook");
    assert.deepEqual(snapshot?.flags, ["derived", "snapshot", "last_of_event"]);
    assert.equal(first?.seq, (snapshot?.seq ?? 0) + 1, "the first live frame is snapshot + 1");
  });

  test("nothing was lost, refused or repaired on the way", () => {
    const { engine, server, feeds } = running.gateway;
    assert.equal(server.services.publisher.lost, 0);
    assert.deepEqual([engine.books.breaches, engine.books.contradictions], [0, 0]);
    assert.deepEqual([engine.dedupe.holes, engine.dedupe.duplicates, engine.unwanted], [0, 0, 0]);
    const counters = feeds[0]?.counters;
    assert.deepEqual([counters?.parseErrors, counters?.malformed, counters?.reconnects], [0, 0, 0]);
  });
});

/** The bars that the gateway keeps from before a time. */
async function keptBars(
  running: Running,
  timeframe: string,
  before: number,
): Promise<{ time: number; close: number }[]> {
  const query = `symbol=${SYMBOL}&timeframe=${timeframe}&limit=1000&to=${before / 1000}`;
  const answer = await fetch(`${running.url.replace("ws:", "http:")}/bars?${query}`);
  const bars = (await answer.json()) as { open_time: number; close: number; source: string }[];
  assert.ok(
    bars.every(({ source }) => source === "venue"),
    "all from before the run is the venue's",
  );
  return bars.map(({ open_time, close }) => ({ time: open_time * 1000, close }));
}

/** The venue's own bars up to a time, by open time. */
async function klines(venue: VenueDouble, interval: string, until: number): Promise<Map<number, PlainBar>> {
  const bars = new Map<number, PlainBar>();
  let endTime = Math.floor(until / 1000);
  for (let page = 0; page < 3; page += 1) {
    const query = `symbol=ETHUSDT&interval=${interval}&limit=1000&endTime=${endTime}`;
    const rows = (await (await fetch(`${venue.restUrl}/api/v3/klines?${query}`)).json()) as (number | string)[][];
    for (const row of rows) {
      const [time, open, high, low, close, volume, , quote, count, buy] = row.map(Number) as number[];
      bars.set((time as number) * 1000, {
        open,
        high,
        low,
        close,
        volume,
        quote,
        count,
        buy,
        sell: (volume as number) - (buy as number),
        first: 0,
        last: 0,
      } as PlainBar);
    }
    endTime = Number(rows[0]?.[0]) - 1;
  }
  return bars;
}
