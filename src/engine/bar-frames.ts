import {
  BAR_ACROSS_GAP,
  BAR_BUILDING,
  BAR_CLOSED,
  BAR_CORRECTED,
  BAR_FLAGS,
  BAR_FROM_VENUE,
  BAR_LAST_TIME,
  BAR_OPEN_TIME,
  BAR_PARTIAL,
  BAR_SIZE,
} from "../indicators/bar.ts";
import type { IndicatorPlan } from "../indicators/plan.ts";
import type { IndicatorSet } from "../indicators/registry.ts";
import { MAX_INDICATOR_ROW } from "../indicators/registry.ts";
import { SLOT_BARS, SLOT_INDICATORS, streamOf } from "../market/channel.ts";
import { TS_EXCHANGE } from "../market/sink.ts";
import * as F from "../wire/frame.ts";
import type { Memory } from "../wire/memory.ts";
import type { BarPage } from "./bar-archive.ts";
import type { BarOutput } from "./bar-output.ts";
import type { BarsOptions } from "./bars.ts";
import { Bars } from "./bars.ts";
import type { DerivedOutput, FrameWriter } from "./frame-writer.ts";

/** Values of BarSource in the schema. */
const FROM_TRADES = 1;
const FROM_VENUE = 2;

/** The newest closed bar and the building one of a series, with their values, as far as there are any. */
export interface LatestBars {
  plan: IndicatorPlan;
  closed: { bar: Float64Array; row: Float64Array } | undefined;
  building: { bar: Float64Array; row: Float64Array } | undefined;
}

/**
 * Puts bars and indicators on the wire: closed and corrected ones as events of the slow ring, building ones as derived
 * frames for whoever watches them. Counts who wants a timeframe that is not always computed.
 */
export class BarFrames implements BarOutput {
  readonly bars: Bars;
  readonly #frames: FrameWriter;
  readonly #indicators: IndicatorSet;
  readonly #bar = new Float64Array(BAR_SIZE);
  readonly #row = new Float64Array(MAX_INDICATOR_ROW);
  readonly #numbers = new Float64Array(TS_EXCHANGE + 1);
  /** Series whose bar closed without all of its trades: the venue's own bar can take its place. */
  readonly #incomplete: { instrument: number; timeframe: number }[] = [];
  /** True while bars are made of what was on the wire already. */
  muted = false;
  /** Who wants a timeframe, by bar stream. */
  readonly #wanted = new Map<number, number>();

  constructor(frames: FrameWriter, indicators: IndicatorSet, options: Omit<BarsOptions, "indicators" | "out">) {
    this.#frames = frames;
    this.#indicators = indicators;
    this.bars = new Bars({ ...options, indicators, out: this });
  }

  bar(instrument: number, timeframe: number, bars: Float64Array, at: number, state: number): void {
    if (this.muted) return;
    const stream = streamOf(instrument, SLOT_BARS + timeframe);
    this.#frames.introduce(stream);
    const ring = this.#frames.log.slow;
    const place = ring.claim(F.LARGEST_FIXED_BYTES);
    const length = encodeBar(ring.memory, place, bars, at, timeframe, state);
    putTime(bars, at, this.#numbers);
    this.#frames.commit(ring, place, length, stream, flagsOf(state), this.#numbers);
    const isIncomplete = state === BAR_CLOSED && (bars[at + BAR_FLAGS] & BAR_PARTIAL) !== 0;
    if (isIncomplete) this.#incomplete.push({ instrument, timeframe });
  }

  /** The next series that have had an incomplete bar, at most so many. */
  takeIncomplete(most: number): { instrument: number; timeframe: number }[] {
    return this.#incomplete.splice(0, most);
  }

  indicators(
    instrument: number,
    timeframe: number,
    bars: Float64Array,
    at: number,
    plan: IndicatorPlan,
    row: Float64Array,
    rowAt: number,
    state: number,
  ): void {
    if (this.muted) return;
    const stream = streamOf(instrument, SLOT_INDICATORS + timeframe);
    this.#frames.introduce(stream);
    const ring = this.#frames.log.slow;
    const place = ring.claim(F.indicatorsBytes(plan.entries));
    const length = encodeIndicators(ring.memory, place, bars, at, timeframe, state, plan, row, rowAt);
    putTime(bars, at, this.#numbers);
    this.#frames.commit(ring, place, length, stream, flagsOf(state), this.#numbers);
  }

  /** Somebody wants the bars of a timeframe; those that are always computed need nobody. */
  want(instrument: number, timeframe: number): void {
    const stream = streamOf(instrument, SLOT_BARS + timeframe);
    const count = this.#wanted.get(stream) ?? 0;
    this.#wanted.set(stream, count + 1);
    if (count === 0) this.bars.enable(instrument, timeframe);
  }

  unwant(instrument: number, timeframe: number): void {
    const stream = streamOf(instrument, SLOT_BARS + timeframe);
    const count = this.#wanted.get(stream) ?? 0;
    if (count > 1) this.#wanted.set(stream, count - 1);
    else if (this.#wanted.delete(stream)) this.bars.disable(instrument, timeframe);
  }

  /** The building bar, as a derived frame; nothing when there is none. */
  building(instrument: number, timeframe: number, from: number, out: DerivedOutput): void {
    if (!this.bars.building(instrument, timeframe, this.#bar, 0, this.#row, 0)) return;
    this.#derivedBar(instrument, timeframe, BAR_BUILDING, from, F.FLAG_LAST_OF_EVENT, out);
  }

  /** The indicators as they would be if the building bar closed now. */
  buildingIndicators(instrument: number, timeframe: number, from: number, out: DerivedOutput): void {
    if (!this.bars.building(instrument, timeframe, this.#bar, 0, this.#row, 0)) return;
    this.#derivedIndicators(instrument, timeframe, BAR_BUILDING, from, F.FLAG_LAST_OF_EVENT, out);
  }

  /** What a new subscriber gets: the last closed bar, and the building one where it is wanted. */
  bootstrap(instrument: number, timeframe: number, withBuilding: boolean, out: DerivedOutput): void {
    const flags = F.FLAG_SNAPSHOT | F.FLAG_LAST_OF_EVENT;
    if (this.bars.archive.newest(instrument, timeframe, this.#bar, 0, this.#row, 0)) {
      this.#derivedBar(instrument, timeframe, BAR_CLOSED, 0, flags, out);
    }
    if (withBuilding && this.bars.building(instrument, timeframe, this.#bar, 0, this.#row, 0)) {
      this.#derivedBar(instrument, timeframe, BAR_BUILDING, 0, flags, out);
    }
  }

  bootstrapIndicators(instrument: number, timeframe: number, withBuilding: boolean, out: DerivedOutput): void {
    const flags = F.FLAG_SNAPSHOT | F.FLAG_LAST_OF_EVENT;
    if (this.bars.archive.newest(instrument, timeframe, this.#bar, 0, this.#row, 0)) {
      this.#derivedIndicators(instrument, timeframe, BAR_CLOSED, 0, flags, out);
    }
    if (withBuilding && this.bars.building(instrument, timeframe, this.#bar, 0, this.#row, 0)) {
      this.#derivedIndicators(instrument, timeframe, BAR_BUILDING, 0, flags, out);
    }
  }

  #derivedBar(
    instrument: number,
    timeframe: number,
    state: number,
    from: number,
    flags: number,
    out: DerivedOutput,
  ): void {
    const length = encodeBar(this.#frames.scratch, 0, this.#bar, 0, timeframe, state);
    const stream = streamOf(instrument, SLOT_BARS + timeframe);
    putTime(this.#bar, 0, this.#numbers);
    this.#frames.derived(length, stream, flags, from, this.#numbers[TS_EXCHANGE], out);
  }

  #derivedIndicators(
    instrument: number,
    timeframe: number,
    state: number,
    from: number,
    flags: number,
    out: DerivedOutput,
  ): void {
    const plan = this.bars.archive.plan(instrument, timeframe);
    const { scratch } = this.#frames;
    const length = encodeIndicators(scratch, 0, this.#bar, 0, timeframe, state, plan, this.#row, 0);
    const stream = streamOf(instrument, SLOT_INDICATORS + timeframe);
    putTime(this.#bar, 0, this.#numbers);
    this.#frames.derived(length, stream, flags, from, this.#numbers[TS_EXCHANGE], out);
  }

  /** Copies of the newest closed bar and of the building one. */
  latest(instrument: number, timeframe: number): LatestBars {
    const copy = () => ({ bar: this.#bar.slice(), row: this.#row.slice() });
    return {
      plan: this.bars.archive.plan(instrument, timeframe),
      closed: this.bars.archive.newest(instrument, timeframe, this.#bar, 0, this.#row, 0) ? copy() : undefined,
      building: this.bars.building(instrument, timeframe, this.#bar, 0, this.#row, 0) ? copy() : undefined,
    };
  }

  /** The newest closed bars that opened in [from, to), microseconds, oldest first. */
  read(instrument: number, timeframe: number, limit: number, from: number, to: number): BarPage {
    return this.bars.archive.read(instrument, timeframe, limit, from, to);
  }

  /** The ids of indicators by name, new ones registered; the message of what is wrong with one. */
  resolveIndicators(names: readonly string[] | undefined): { ids: readonly number[] } | { error: string } {
    if (names === undefined) return { ids: this.#indicators.defaults };
    const ids: number[] = [];
    for (const name of names) {
      const { id, error } = this.#indicators.register(name);
      if (id === undefined) return { error };
      ids.push(id);
    }
    return { ids };
  }

  /** Has a series compute more than the default indicators. They stay: their number is limited. */
  useIndicators(instrument: number, timeframe: number, ids: readonly number[]): void {
    for (const id of ids) this.bars.archive.useIndicator(instrument, timeframe, id);
  }

  /** What the numbers in indicator frames mean. */
  describeIndicators(ids: readonly number[]): { id: number; name: string; lanes: readonly string[] }[] {
    return ids.map((id) => {
      const indicator = this.#indicators.get(id);
      return { id, name: indicator?.name ?? "", lanes: indicator?.lanes ?? [] };
    });
  }
}

function encodeBar(
  memory: Memory,
  at: number,
  bars: Float64Array,
  from: number,
  timeframe: number,
  state: number,
): number {
  const flags = bars[from + BAR_FLAGS];
  return F.writeBar(
    memory,
    at,
    bars,
    from,
    timeframe,
    state,
    (flags & BAR_FROM_VENUE) !== 0 ? FROM_VENUE : FROM_TRADES,
    flags & BAR_PARTIAL,
    (flags & BAR_ACROSS_GAP) >> 1,
  );
}

function encodeIndicators(
  memory: Memory,
  at: number,
  bars: Float64Array,
  from: number,
  timeframe: number,
  state: number,
  plan: IndicatorPlan,
  row: Float64Array,
  rowAt: number,
): number {
  F.writeIndicators(memory, at, bars, from + BAR_OPEN_TIME, timeframe, state);
  const { entries, entryIndicator, entryLane, entryValue, entryReady } = plan;
  return F.writeIndicatorValues(memory, at, entries, entryIndicator, entryLane, entryValue, entryReady, row, rowAt);
}

/**
 * Puts the venue's time of a bar into a frame's numbers: that of its last trade; a venue's own bar has none. It is not
 * returned, because a double that is gets boxed where V8 does not inline the call.
 */
function putTime(bars: Float64Array, at: number, numbers: Float64Array): void {
  const time = bars[at + BAR_LAST_TIME];
  numbers[TS_EXCHANGE] = time > 0 && time < Number.POSITIVE_INFINITY ? time : 0;
}

function flagsOf(state: number): number {
  return state === BAR_CORRECTED ? F.FLAG_LAST_OF_EVENT | F.FLAG_CORRECTION : F.FLAG_LAST_OF_EVENT;
}
