import { describe } from "../indicators/describe.ts";
import type { Indicator } from "../indicators/indicator.ts";
import { parseIndicator } from "../indicators/registry.ts";
import type { FrameView } from "../wire/generated/views.ts";
import {
  PAYLOAD_BAR,
  PAYLOAD_INDICATORS,
  PAYLOAD_STREAM_STATE,
  STATE_NAMES,
  StreamStateView,
} from "../wire/generated/views.ts";
import { type BarHistory, readHistory } from "./bar-history.ts";
import { type BarColumn, BarTable } from "./bar-table.ts";
import { Emitter } from "./emitter.ts";
import { TickwireError } from "./errors.ts";
import { type DroppedEvent, EventQueue, type QueueLimits } from "./event-queue.ts";
import type { Gap, Receiver, StreamInfo } from "./receiver.ts";
import type { Attached, Session } from "./session.ts";
import { type GapEvent, gapEvent } from "./subscription.ts";
import type { ClientParts, Tickwire } from "./tickwire.ts";
import { BarEvent, type BarStateName, IndicatorsEvent, type StreamStateName } from "./views.ts";

/** Bars kept when the program did not say, and the most that a server gives at once. */
const DEFAULT_HISTORY = 300;
const MAX_HISTORY = 1000;

/** An indicator by its name, "hma(20)", or what has one, as `hma(20)` of `tickwire/indicators` does. */
export type IndicatorSpec = string | { readonly name: string };

export interface BarsOptions {
  /** Needed where several venues have the symbol. */
  exchange?: string;
  /** Closed bars that are kept, 1 to 1,000; default 300. */
  history?: number;
  /** By the name under which a row has them. */
  indicators?: Readonly<Record<string, IndicatorSpec>>;
  /** The building bar too; default true. */
  building?: boolean;
}

/** An indicator's values in a row: its lanes by name, and what a chart draws them in. */
export interface IndicatorRow {
  readonly ready: boolean;
  readonly direction?: string;
  readonly color?: string;
  readonly [lane: string]: number | boolean | string | undefined;
}

/**
 * One bar with its indicators. Times are microseconds, `closeTime` exclusive; volumes in base units; NaN is not known.
 * Beside these fields it has the indicators under the program's own names.
 */
export interface BarRow {
  readonly openTime: number;
  readonly closeTime: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
  readonly quoteVolume: number;
  readonly vwap: number;
  readonly buyVolume: number;
  readonly sellVolume: number;
  readonly tradeCount: number;
  readonly state: BarStateName;
  readonly source: "trades" | "venue";
  readonly partial: boolean;
  readonly acrossGap: boolean;
  /** Every indicator has seen enough bars. */
  readonly ready: boolean;
  /** The bar before, without one of its own; undefined before the first. */
  readonly prev: BarRow | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: which indicators there are, and under which names, is the program's choice
  readonly [indicator: string]: any;
}

export interface BarsState {
  readonly live: boolean;
  readonly state: StreamStateName | "disconnected";
  readonly reason: string;
}

export interface BarsEvents {
  /** The building bar changed, or a bar closed. */
  update: BarRow;
  closed: BarRow;
  /** A bar that had closed was amended by a late trade, or replaced by the venue's own; or its indicators were. */
  corrected: BarRow;
  state: BarsState;
  gap: GapEvent;
}

interface Wanted {
  readonly key: string;
  readonly indicator: Indicator;
  readonly lanes: readonly string[];
  /** The server's number for it. */
  id: number;
}

/** The bars of one series, warm from the first moment: its history, then what the server sends. */
export class LiveBars implements Receiver {
  readonly symbol: string;
  readonly timeframe: string;
  readonly exchange: string;
  readonly #emitter: Emitter<BarsEvents>;
  readonly #parts: ClientParts;
  readonly #table: BarTable;
  readonly #wanted: readonly Wanted[];
  readonly #bar = new BarEvent();
  readonly #values = new IndicatorsEvent();
  readonly #state = new StreamStateView();
  /** The building bar, and its indicators' values by `#wanted` and lane, ready last. */
  #building: ReturnType<BarEvent["toObject"]> | undefined;
  #buildingValues: number[][] = [];
  /** Bars that closed and whose indicators have not come yet. */
  readonly #unfinished = new Set<number>();
  #lastClosed = 0;
  readonly #queues = new Set<EventQueue<BarRow>>();
  #told: BarsState = { live: true, state: "live", reason: "" };
  #session: Session | undefined;
  #id = 0;

  private constructor(
    parts: ClientParts,
    symbol: string,
    timeframe: string,
    exchange: string,
    history: number,
    wanted: readonly Wanted[],
  ) {
    this.#parts = parts;
    this.symbol = symbol;
    this.timeframe = timeframe;
    this.exchange = exchange;
    this.#wanted = wanted;
    this.#table = new BarTable(history, wanted);
    this.#emitter = new Emitter(parts.onThrow);
  }

  /** Resolves once the history is there; throws a TickwireError for what the server has not got. */
  static async open(
    client: Tickwire,
    symbol: string,
    timeframe: string,
    options: BarsOptions,
    parts: ClientParts,
  ): Promise<LiveBars> {
    const { exchange, history = DEFAULT_HISTORY, indicators = {}, building = true } = options;
    if (!(Number.isInteger(history) && history >= 1 && history <= MAX_HISTORY))
      throw new TickwireError("bad_option", `history is a whole number from 1 to ${MAX_HISTORY}`);
    const wanted = Object.entries(indicators).map(([key, spec]) => readIndicator(key, spec));
    const names = wanted.map(({ indicator }) => indicator.name);
    // Says which venues there are where several have the symbol, before anything is subscribed.
    const found = await readHistory(parts, { symbol, timeframe, exchange, limit: 1 });
    const bars = new LiveBars(parts, symbol, timeframe, exchange ?? found.exchange, history, wanted);
    const spec = {
      channels: wanted.length === 0 ? ["bars"] : ["bars", "indicators"],
      symbols: symbol,
      timeframes: timeframe,
      bars: building ? ("all" as const) : ("closed" as const),
      ...(bars.exchange === "" ? {} : { exchanges: bars.exchange }),
      ...(wanted.length === 0 ? {} : { indicators: names }),
    };
    const { session, attached } = await client.attach(spec, bars);
    bars.#session = session;
    bars.#learn(attached);
    await bars.#load();
    parts.onEnd(() => bars.#end());
    return bars;
  }

  #learn({ id, indicators }: Attached): void {
    this.#id = id;
    for (const wanted of this.#wanted) {
      wanted.id = indicators.find(({ name }) => name === wanted.indicator.name)?.id ?? -1;
    }
  }

  /** Fetches the history; what has come meanwhile is newer, and stays. */
  async #load(): Promise<void> {
    const { symbol, timeframe, exchange } = this;
    const history = await readHistory(this.#parts, { symbol, timeframe, exchange, limit: this.#table.limit });
    this.#merge(history);
  }

  #merge({ bars }: BarHistory): void {
    const table = this.#table;
    for (const { values, indicators } of bars) {
      if (table.rowOf(values.openTime) >= 0 && !this.#unfinished.has(values.openTime)) continue;
      const row = table.put(values);
      if (row < 0) continue;
      for (const [index, { indicator, lanes }] of this.#wanted.entries()) {
        const given = indicators[indicator.name];
        for (const [lane, name] of lanes.entries())
          table.setLane(row, index, lane, Number(given?.[name] ?? Number.NaN));
        table.setReady(row, index, given?.ready === true);
      }
      this.#unfinished.delete(values.openTime);
      this.#lastClosed = Math.max(this.#lastClosed, values.openTime);
    }
  }

  /** Closed bars. */
  get count(): number {
    return this.#table.count;
  }

  get openTime(): Float64Array {
    return this.#table.column("openTime");
  }

  get closeTime(): Float64Array {
    return this.#table.column("closeTime");
  }

  get open(): Float64Array {
    return this.#table.column("open");
  }

  get high(): Float64Array {
    return this.#table.column("high");
  }

  get low(): Float64Array {
    return this.#table.column("low");
  }

  get close(): Float64Array {
    return this.#table.column("close");
  }

  get volume(): Float64Array {
    return this.#table.column("volume");
  }

  get quoteVolume(): Float64Array {
    return this.#table.column("quoteVolume");
  }

  get vwap(): Float64Array {
    return this.#table.column("vwap");
  }

  get buyVolume(): Float64Array {
    return this.#table.column("buyVolume");
  }

  get sellVolume(): Float64Array {
    return this.#table.column("sellVolume");
  }

  get tradeCount(): Float64Array {
    return this.#table.column("tradeCount");
  }

  /** A lane of an indicator over the closed bars, "macd" and "histogram"; throws a TickwireError when there is none. */
  lane(key: string, lane: string): Float64Array {
    const index = this.#wanted.findIndex((wanted) => wanted.key === key);
    const at = this.#wanted[index]?.lanes.indexOf(lane) ?? -1;
    if (at < 0) throw new TickwireError("bad_option", `there is no lane ${lane} of ${key}`);
    return this.#table.lane(index, at);
  }

  /** The building bar; undefined before its first trade. */
  get current(): BarRow | undefined {
    const bar = this.#building;
    if (bar === undefined) return undefined;
    const indicators = this.#wanted.map((wanted, index) => rowOf(wanted, this.#buildingValues[index] ?? []));
    return this.#assemble(bar, indicators, this.#row(this.count - 1, false));
  }

  /** A closed bar: 0 is the oldest, -1 the newest. */
  at(index: number): BarRow | undefined {
    return this.#row(index < 0 ? this.count + index : index, true);
  }

  /** The newest bars, oldest first, the building one the last. */
  last(count: number): BarRow[] {
    const { current } = this;
    const closed = current === undefined ? count : count - 1;
    const rows: BarRow[] = [];
    for (let row = Math.max(0, this.count - closed); row < this.count; row += 1)
      rows.push(this.#row(row, true) as BarRow);
    return current === undefined ? rows : [...rows, current];
  }

  #row(row: number, withPrevious: boolean): BarRow | undefined {
    const table = this.#table;
    if (row < 0 || row >= table.count) return undefined;
    const { corrected, ...flags } = table.flagsOf(row);
    const of = (column: BarColumn) => table.get(column, row);
    const bar = {
      openTime: of("openTime"),
      closeTime: of("closeTime"),
      open: of("open"),
      high: of("high"),
      low: of("low"),
      close: of("close"),
      volume: of("volume"),
      quoteVolume: of("quoteVolume"),
      vwap: of("vwap"),
      buyVolume: of("buyVolume"),
      sellVolume: of("sellVolume"),
      tradeCount: of("tradeCount"),
      state: corrected ? ("corrected" as const) : ("closed" as const),
      ...flags,
    };
    const indicators = this.#wanted.map((wanted, index) =>
      rowOf(
        wanted,
        Array.from({ length: wanted.lanes.length + 1 }, (_, lane) => table.lane(index, lane)[row] as number),
      ),
    );
    return this.#assemble(bar, indicators, withPrevious ? this.#row(row - 1, false) : undefined);
  }

  #assemble(
    bar: Omit<BarRow, "ready" | "prev">,
    indicators: readonly IndicatorRow[],
    prev: BarRow | undefined,
  ): BarRow {
    const { openTime, closeTime, open, high, low, close, volume, quoteVolume, vwap, buyVolume, sellVolume } = bar;
    const { tradeCount, state, source, partial, acrossGap } = bar;
    const prices = { openTime, closeTime, open, high, low, close };
    const volumes = { volume, quoteVolume, vwap, buyVolume, sellVolume, tradeCount };
    const named = Object.fromEntries(this.#wanted.map(({ key }, index) => [key, indicators[index]]));
    const ready = indicators.every((each) => each.ready);
    return { ...prices, ...volumes, state, source, partial, acrossGap, ready, ...named, prev };
  }

  on<Name extends keyof BarsEvents>(name: Name, handler: (event: BarsEvents[Name]) => void): () => void {
    return this.#emitter.on(name, handler);
  }

  off<Name extends keyof BarsEvents>(name: Name, handler: (event: BarsEvents[Name]) => void): void {
    this.#emitter.off(name, handler);
  }

  /** Iterates over bars as they close, from now on. */
  closed(limits: QueueLimits = {}): AsyncIterableIterator<BarRow> {
    const queue: EventQueue<BarRow> = new EventQueue<BarRow>(this.#parts.clock, { overflow: "error", ...limits }, () =>
      this.#queues.delete(queue),
    );
    this.#queues.add(queue);
    return queue as AsyncIterableIterator<Exclude<BarRow | DroppedEvent, DroppedEvent>>;
  }

  get state(): BarsState {
    return this.#told;
  }

  frame(frame: FrameView, info: StreamInfo): void {
    if (frame.payloadType === PAYLOAD_BAR) this.#takeBar(this.#bar.attach(frame, info));
    else if (frame.payloadType === PAYLOAD_INDICATORS) this.#takeValues(this.#values.attach(frame, info));
    else if (frame.payloadType === PAYLOAD_STREAM_STATE && info.channel === "bars") {
      this.#state.attach(frame.table.memory, frame.payloadAt);
      this.#tell(STATE_NAMES[this.#state.state] as StreamStateName, this.#state.reason);
    }
  }

  #tell(state: BarsState["state"], reason: string): void {
    this.#told = { live: state === "live" || state === "quiet", state, reason };
    this.#emitter.emit("state", this.#told);
  }

  #takeBar(bar: BarEvent): void {
    const { openTime } = bar;
    if (bar.state === "building") {
      if (openTime <= this.#lastClosed) return;
      this.#building = bar.toObject();
      if (this.#wanted.length === 0) this.#updated(this.current);
      return;
    }
    // Whatever still waits for its indicators will not get them any more.
    for (const waiting of this.#unfinished) if (waiting < openTime && bar.state === "closed") this.#finish(waiting);
    const isNew = openTime > this.#lastClosed;
    this.#lastClosed = Math.max(this.#lastClosed, openTime);
    if (this.#building !== undefined && this.#building.openTime <= openTime) this.#building = undefined;
    if (this.#table.put(bar) < 0) return;
    if (!isNew) this.#corrected(openTime);
    else if (this.#wanted.length === 0) this.#closed(openTime);
    else this.#unfinished.add(openTime);
  }

  #takeValues(values: IndicatorsEvent): void {
    const { barTime } = values;
    if (values.state === "building") {
      if (this.#building?.openTime !== barTime) return;
      this.#buildingValues = this.#wanted.map(({ lanes }) => new Array<number>(lanes.length + 1).fill(Number.NaN));
      this.#each(values, (index, lane, value) => {
        (this.#buildingValues[index] as number[])[lane] = value;
      });
      this.#updated(this.current);
      return;
    }
    const row = this.#table.rowOf(barTime);
    if (row < 0) return;
    this.#each(values, (index, lane, value) => this.#table.setLane(row, index, lane, value));
    if (this.#unfinished.has(barTime)) this.#finish(barTime);
    else this.#corrected(barTime);
  }

  /** Hands on each value that was asked for; `lane` one more than the last is whether it is ready. */
  #each(values: IndicatorsEvent, take: (index: number, lane: number, value: number) => void): void {
    for (let entry = 0; entry < values.count; entry += 1) {
      const id = values.indicatorAt(entry);
      const index = this.#wanted.findIndex((wanted) => wanted.id === id);
      if (index < 0) continue;
      take(index, values.laneAt(entry), values.valueAt(entry));
      take(index, (this.#wanted[index] as Wanted).lanes.length, values.readyAt(entry) ? 1 : 0);
    }
  }

  #finish(openTime: number): void {
    this.#unfinished.delete(openTime);
    this.#closed(openTime);
  }

  #closed(openTime: number): void {
    const row = this.#row(this.#table.rowOf(openTime), true);
    if (row === undefined) return;
    this.#emitter.emit("closed", row);
    this.#updated(row);
    for (const queue of this.#queues) queue.push(row, undefined);
  }

  #corrected(openTime: number): void {
    const row = this.#row(this.#table.rowOf(openTime), true);
    if (row !== undefined) this.#emitter.emit("corrected", row);
  }

  #updated(row: BarRow | undefined): void {
    if (row !== undefined) this.#emitter.emit("update", row);
  }

  /** Bars that were missed are fetched: only what the server has not any more is lost. */
  gap(gap: Gap): void {
    const event = gapEvent(gap);
    this.#emitter.emit("gap", event);
    this.#parts.gap(event);
    this.#refresh();
  }

  #refresh(): void {
    this.#load().catch((error: unknown) => this.#parts.onThrow(error, "bars"));
  }

  disconnected(reason: string): void {
    this.#building = undefined;
    this.#tell("disconnected", reason);
  }

  connected(anew: boolean): void {
    if (anew) this.#refresh();
  }

  level(): void {
    this.#tell("live", "");
  }

  #end(): void {
    for (const queue of this.#queues) queue.end();
  }

  /** Unsubscribes; iterations end. */
  async stop(): Promise<void> {
    this.#end();
    this.#session?.detach(this.#id);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function readIndicator(key: string, spec: IndicatorSpec): Wanted {
  const { indicator, error } = parseIndicator(typeof spec === "string" ? spec : spec.name);
  if (indicator === undefined) throw new TickwireError("unknown_indicator", error);
  return { key, indicator, lanes: indicator.lanes, id: -1 };
}

/** An indicator's row: its lanes by name, and how a chart draws it. */
function rowOf({ indicator, lanes }: Wanted, values: readonly number[]): IndicatorRow {
  const row: Record<string, number | boolean | string> = {};
  for (const [lane, name] of lanes.entries()) row[name] = values[lane] ?? Number.NaN;
  return { ...row, ...describe(indicator).style(values.slice(0, lanes.length)), ready: values[lanes.length] === 1 };
}
