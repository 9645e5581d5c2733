import type { WebSocket } from "uWebSockets.js";
import type { LatestBars } from "../engine/bar-frames.ts";
import { DEFAULT_BUILDING_CONFLATE, variantOf } from "../engine/derived.ts";
import type { Engine } from "../engine/engine.ts";
import { BAR_BUILDING, BAR_CLOSE, BAR_HIGH, BAR_LOW, BAR_OPEN, BAR_OPEN_TIME, BAR_VOLUME } from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import { instrumentOf, SLOT_BARS, slotIn, streamOf, timeframeOfSlot } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { BarView, FrameView, PAYLOAD_BAR } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import { indicatorsJson } from "./bar-json.ts";
import type { SocketData } from "./client.ts";
import { Client } from "./client.ts";
import { numberOrNull } from "./describe.ts";
import { ANALYTICS } from "./publisher.ts";
import type { Services } from "./services.ts";

const VARIANT = variantOf(0, DEFAULT_BUILDING_CONFLATE);

/**
 * One client of `/ws/{symbol}`: the candle of one series with MACD and HMA, first as a snapshot, then as deltas, in
 * the messages of the system that this one replaces. A thin adapter over the bars' own streams.
 */
export class AnalyticsClient extends Client {
  readonly #instrument: Instrument;
  readonly #stream: number;
  #joined = false;

  constructor(socket: WebSocket<SocketData>, services: Services, instrument: Instrument, timeframe: number) {
    super(socket, services, ANALYTICS);
    this.#instrument = instrument;
    this.#stream = streamOf(instrument.id, SLOT_BARS + timeframe);
  }

  /** Nothing but the messages of the old system: no hello, no heartbeat. */
  override open(): void {
    this.begin();
  }

  protected begin(): void {
    const { engine, demand, publisher } = this.services;
    demand.add(this.#instrument, "bars");
    engine.bars.want(this.#instrument.id, timeframeOfSlot(slotIn(this.#stream)));
    engine.derived.open(this.#stream, VARIANT);
    publisher.drain();
    publisher.topics.join(this, this.#stream, VARIANT, this.#stream);
    this.#joined = true;
    const { plan, closed, building } = engine.bars.latest(this.#instrument.id, timeframeOfSlot(slotIn(this.#stream)));
    const { candle, macd, hma } = analysis(building ?? closed, plan);
    const { symbol } = this.#instrument;
    this.json({ type: "snapshot", symbol, updated_at: this.services.time(false), last_candle: candle, macd, hma });
  }

  /** Without heartbeats, which its protocol has not. */
  override check(): number {
    const { queued } = this;
    return queued > this.services.limits.queueBytes ? super.check(0) : queued;
  }

  message(): void {
    this.error(undefined, "not_available", "/ws/{symbol} takes no messages; subscribe on /stream");
  }

  override close(): void {
    super.close();
    if (!this.#joined) return;
    const { engine, demand, publisher } = this.services;
    publisher.topics.forget(this, this.#stream, VARIANT, this.#stream);
    engine.derived.close(this.#stream, VARIANT);
    engine.bars.unwant(this.#instrument.id, timeframeOfSlot(slotIn(this.#stream)));
    demand.remove(this.#instrument, "bars");
  }
}

/** Turns bar frames into the deltas of `/ws/{symbol}`: those of closed and corrected bars have that bar, to the end. */
export class AnalyticsText {
  readonly #engine: Engine;
  readonly #frame = new FrameView();
  readonly #bar = new BarView();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The text of the frame at `at`; undefined for what is no bar. */
  encode(memory: Memory, at: number, stream: number): string | undefined {
    this.#frame.attach(memory, at + memory.i32[at >> 2]);
    if (this.#frame.payloadType !== PAYLOAD_BAR) return undefined;
    this.#bar.attach(memory, this.#frame.payloadAt);
    const { bars, catalog } = this.#engine;
    const id = instrumentOf(stream);
    const timeframe = timeframeOfSlot(slotIn(stream));
    const symbol = catalog.get(id)?.symbol ?? "";
    if (this.#bar.state === BAR_BUILDING) {
      const { plan, building } = bars.latest(id, timeframe);
      return building && JSON.stringify({ type: "delta", symbol, ...analysis(building, plan) });
    }
    const page = bars.read(id, timeframe, 1, this.#bar.openTime, this.#bar.openTime + 1);
    if (page.count === 0) return undefined;
    return JSON.stringify({ type: "delta", symbol, ...analysis({ bar: page.bars, row: page.rows }, page.plan) });
  }
}

/** One bar with its MACD and HMA; all null where there is none. */
function analysis(
  latest: LatestBars["closed"],
  plan: IndicatorPlan,
): { candle: object | null; macd: object | null; hma: object | null } {
  const values = latest === undefined ? {} : indicatorsJson(plan, latest.row, 0);
  const find = (kind: string) =>
    Object.entries(values).find(([name]) => name.startsWith(kind))?.[1] as Values | undefined;
  const macd = find("macd");
  const hma = find("hma");
  return {
    candle: latest === undefined ? null : candleOf(latest.bar),
    macd:
      macd === undefined ? null : { value: macd.value, signal: macd.signal, hist: macd.histogram, color: macd.color },
    hma: hma === undefined ? null : { value: hma.value, direction: hma.direction === "up" ? "Up" : "Down" },
  };
}

type Values = Record<string, number | string | boolean | null>;

function candleOf(bar: Float64Array): object {
  const field = (index: number) => numberOrNull(bar[index] as number);
  return {
    time: Math.floor((bar[BAR_OPEN_TIME] as number) / 1000),
    open: field(BAR_OPEN),
    high: field(BAR_HIGH),
    low: field(BAR_LOW),
    close: field(BAR_CLOSE),
    volume: field(BAR_VOLUME),
  };
}
