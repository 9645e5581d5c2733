import type { WebSocket } from "uWebSockets.js";
import { DEFAULT_BUILDING_CONFLATE, RING, variantOf } from "../engine/derived.ts";
import type { Engine } from "../engine/engine.ts";
import { BAR_CLOSE, BAR_HIGH, BAR_LOW, BAR_OPEN, BAR_OPEN_TIME, BAR_VOLUME } from "../indicators/bar.ts";
import { instrumentOf, SLOT_BARS, slotIn, streamOf, timeframeOfSlot } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { TIMEFRAMES } from "../market/timeframe.ts";
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

  constructor(socket: WebSocket<SocketData>, services: Services, instrument: Instrument, timeframe: number) {
    super(socket, services);
    this.#instrument = instrument;
    this.#stream = streamOf(instrument.id, SLOT_BARS + timeframe);
  }

  /** Nothing but the messages of the old system: no hello, no heartbeat. */
  override open(): void {
    this.begin();
  }

  protected begin(): void {
    const { engine, demand, publisher, clock } = this.services;
    const socket = this.socket as WebSocket<unknown>;
    demand.add(this.#instrument, "bars");
    engine.bars.want(this.#instrument.id, timeframeOfSlot(slotIn(this.#stream)));
    publisher.level(clock.now());
    engine.derived.open(this.#stream, VARIANT);
    publisher.join(socket, ANALYTICS, RING, this.#stream);
    publisher.join(socket, ANALYTICS, VARIANT, this.#stream);
    this.text(analyticsMessage(engine, this.#instrument, this.#stream, "snapshot", this.services.time(false)));
  }

  override check(): void {
    if (this.queued > this.services.limits.queueBytes) super.check(0);
  }

  message(): void {
    this.error(undefined, "not_available", "/ws/{symbol} takes no messages; subscribe on /stream");
  }

  override close(): void {
    super.close();
    const { engine, demand, publisher } = this.services;
    publisher.forget(ANALYTICS, RING, this.#stream);
    publisher.forget(ANALYTICS, VARIANT, this.#stream);
    engine.derived.close(this.#stream, VARIANT);
    engine.bars.unwant(this.#instrument.id, timeframeOfSlot(slotIn(this.#stream)));
    demand.remove(this.#instrument, "bars");
  }
}

/** The text of a bar frame for `/ws/{symbol}`; undefined for other streams. */
export function analyticsDelta(engine: Engine, stream: number): string | undefined {
  const instrument = engine.catalog.get(instrumentOf(stream));
  if (instrument === undefined || timeframeOfSlot(slotIn(stream)) < 0 || slotIn(stream) >= SLOT_BARS + TIMEFRAMES.length) {
    return undefined;
  }
  return analyticsMessage(engine, instrument, stream, "delta", undefined);
}

/** The building bar where there is one, else the newest closed one, with the values of MACD and HMA. */
function analyticsMessage(
  engine: Engine,
  instrument: Instrument,
  stream: number,
  type: "snapshot" | "delta",
  updatedAt: number | undefined,
): string {
  const { plan, closed, building } = engine.bars.latest(instrument.id, timeframeOfSlot(slotIn(stream)));
  const latest = building ?? closed;
  const values = latest === undefined ? {} : indicatorsJson(plan, latest.row, 0);
  const find = (kind: string) => Object.entries(values).find(([name]) => name.startsWith(kind))?.[1] as Values | undefined;
  const macd = find("macd");
  const hma = find("hma");
  const candle = latest === undefined ? null : candleOf(latest.bar);
  return JSON.stringify({
    type,
    symbol: instrument.symbol,
    ...(updatedAt === undefined ? {} : { updated_at: updatedAt }),
    [type === "snapshot" ? "last_candle" : "candle"]: candle,
    macd:
      macd === undefined ? null : { value: macd.value, signal: macd.signal, hist: macd.histogram, color: macd.color },
    hma: hma === undefined ? null : { value: hma.value, direction: hma.direction === "up" ? "Up" : "Down" },
  });
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
