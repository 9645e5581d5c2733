import { CONFLATE_MS, conflateIndexOf, depthIndexOf, RING, stateSource } from "../engine/derived.ts";
import { TIER_DEPTHS } from "../engine/tier.ts";
import type { Channel } from "../market/channel.ts";
import { channelOfSlot, hasTimeframes, instrumentOf, slotIn, timeframeOfSlot } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { STATES } from "../market/sink.ts";
import { TIMEFRAMES } from "../market/timeframe.ts";
import { isReplayable } from "./catch-up.ts";
import type { Services } from "./services.ts";

/** What an ack says of a stream: its number, what it is, where it stands, and in which form this client gets it. */
export function describeStream(
  services: Pick<Services, "engine" | "catalog">,
  stream: number,
  variant: number,
  sequence = services.engine.frames.sequence(stream),
): object {
  const slot = slotIn(stream);
  const channel = channelOfSlot(slot) as Channel;
  const instrument = services.catalog.get(instrumentOf(stream));
  return {
    stream,
    channel,
    symbol: instrument?.symbol ?? "",
    exchange: instrument?.exchange ?? "",
    ...(hasTimeframes(channel) ? { timeframe: TIMEFRAMES[timeframeOfSlot(slot)] } : {}),
    ...(channel === "orderbook" ? { depth: variant === RING ? "full" : TIER_DEPTHS[depthIndexOf(variant)] } : {}),
    ...(variant === RING ? {} : { conflate_ms: CONFLATE_MS[conflateIndexOf(variant)] }),
    seq: sequence,
    state: STATES[services.engine.states.of(stateSource(stream))],
    resumable: isReplayable(stream, variant),
  };
}

/** An instrument as `/instruments` and the directory's JSON give it. */
export function describeInstrument(instrument: Instrument): object {
  return {
    id: instrument.id,
    symbol: instrument.symbol,
    exchange: instrument.exchange,
    venue_symbol: instrument.venueSymbol,
    market_type: instrument.marketType,
    base: instrument.base,
    quote: instrument.quote,
    settle: textOrNull(instrument.settle),
    expiry: instrument.expiry === 0 ? null : Math.floor(instrument.expiry / 1000),
    contract_size: numberOrNull(instrument.contractSize),
    size_unit: instrument.sizeUnit,
    price_decimals: instrument.priceDecimals,
    size_decimals: instrument.sizeDecimals,
    tick: numberOrNull(instrument.tick),
    lot: numberOrNull(instrument.lot),
    min_size: numberOrNull(instrument.minSize),
    min_notional: numberOrNull(instrument.minNotional),
    status: instrument.status,
    book_depth: instrument.bookDepth,
    channels: instrument.channels,
    active: instrument.active,
  };
}

export function numberOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function textOrNull(value: string): string | null {
  return value === "" ? null : value;
}
