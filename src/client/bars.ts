import type { FrameView } from "../wire/generated/views.ts";
import {
  PAYLOAD_BAR,
  PAYLOAD_INDICATORS,
  PAYLOAD_STREAM_STATE,
  STATE_NAMES,
  StreamStateView,
} from "../wire/generated/views.ts";
import { type BarHistory, readHistory } from "./bar-history.ts";
import { type BarFields, type BarRow, barFields, type RowIndicator, tableFields } from "./bar-rows.ts";
import { BarTable } from "./bar-table.ts";
import { Emitter } from "./emitter.ts";
import { TickwireError } from "./errors.ts";
import { type DroppedEvent, EventQueue, type QueueLimits } from "./event-queue.ts";
import type { Gap, Receiver, StreamInfo } from "./receiver.ts";
import type { Attached, Session } from "./session.ts";
import { type GapEvent, gapEvent } from "./subscription.ts";
import type { ClientParts, Tickwire } from "./tickwire.ts";
import { BarEvent, IndicatorsEvent, type StreamStateName } from "./views.ts";

/** Waits for the first bar, and when the rest of a history that is short is asked for again, milliseconds. */
const WARMING_MS = [100, 200, 400, 800, 1600];
const REFRESH_MS = [2_000, 10_000];
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

interface Wanted extends RowIndicator {
  /** The server's number for it. */
  readonly id: number;
}

/** The bars of one series, warm from the first moment: its history, then what the server sends. */
export class LiveBars implements Receiver {
  readonly symbol: string;
  readonly timeframe: string;
  readonly exchange: string;
  readonly #emitter: Emitter<BarsEvents>;
  readonly #parts: ClientParts;
  readonly #limit: number;
  #table: BarTable;
  #wanted: readonly Wanted[] = [];
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
  #isEnded = false;

  private constructor(parts: ClientParts, symbol: string, timeframe: string, exchange: string, history: number) {
    this.#parts = parts;
    this.symbol = symbol;
    this.timeframe = timeframe;
    this.exchange = exchange;
    this.#limit = history;
    this.#table = new BarTable(history, []);
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
    const { exchange = "", history = DEFAULT_HISTORY, indicators = {}, building = true } = options;
    if (!(Number.isInteger(history) && history >= 1 && history <= MAX_HISTORY))
      throw new TickwireError("bad_option", `history is a whole number from 1 to ${MAX_HISTORY}`);
    // Says which venues there are where several have the symbol, before anything is subscribed.
    await readHistory(parts, { symbol, timeframe, exchange, limit: 1 });
    const bars = new LiveBars(parts, symbol, timeframe, exchange, history);
    const names = Object.values(indicators).map((spec) => (typeof spec === "string" ? spec : spec.name));
    const spec = {
      channels: names.length === 0 ? ["bars"] : ["bars", "indicators"],
      symbols: symbol,
      timeframes: timeframe,
      bars: building ? ("all" as const) : ("closed" as const),
      ...(exchange === "" ? {} : { exchanges: exchange }),
      ...(names.length === 0 ? {} : { indicators: names }),
    };
    const { session, attached } = await client.attach(spec, bars);
    bars.#session = session;
    bars.#learn(attached, Object.keys(indicators));
    await bars.#warm();
    parts.onEnd(() => bars.#end());
    return bars;
  }

  /** Takes the meaning of indicators from the ack, which has them in the order in which they were asked for. */
  #learn({ id, indicators }: Attached, keys: readonly string[]): void {
    this.#id = id;
    this.#wanted = keys.map((key, index) => {
      const meaning = indicators[index];
      if (meaning === undefined) throw new TickwireError("protocol", `the server said nothing of the indicator ${key}`);
      return { key, ...meaning };
    });
    this.#table = new BarTable(this.#limit, this.#wanted);
  }

  /** Fetches the history; what has come meanwhile is newer, and stays. */
  async #load(): Promise<void> {
    const { symbol, timeframe, exchange } = this;
    const history = await readHistory(this.#parts, { symbol, timeframe, exchange, limit: this.#limit });
    this.#merge(history);
  }

  /**
   * Waits for a first bar: a series that nobody had asked for is fetched from its venue by the server just now. What of
   * its history comes later still is asked for again.
   */
  async #warm(): Promise<void> {
    for (const waitMs of WARMING_MS) {
      await this.#load();
      if (this.count > 0) break;
      await new Promise<void>((resolve) => void this.#parts.timers.setTimeout(resolve, waitMs));
    }
    if (this.count === this.#limit) return;
    for (const afterMs of REFRESH_MS) this.#later(afterMs);
  }

  #later(afterMs: number): void {
    const timer = this.#parts.timers.setTimeout(() => {
      if (!this.#isEnded && this.count < this.#limit) this.#refresh();
    }, afterMs);
    this.#parts.onEnd(() => this.#parts.timers.clearTimeout(timer));
  }

  #merge({ bars }: BarHistory): void {
    const table = this.#table;
    for (const { values, indicators } of bars) {
      if (table.rowOf(values.openTime) >= 0 && !this.#unfinished.has(values.openTime)) continue;
      const row = table.put(values);
      if (row < 0) continue;
      for (const [index, { name, lanes }] of this.#wanted.entries()) {
        const given = indicators[name];
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
    return this.#withPrevious(barFields(bar, this.#wanted, this.#buildingValues), this.count - 1);
  }

  #withPrevious(fields: BarFields, previous: number): BarRow {
    return { ...fields, prev: tableFields(this.#table, previous, this.#wanted) };
  }

  /** A closed bar: 0 is the oldest, -1 the newest. */
  at(index: number): BarRow | undefined {
    const row = index < 0 ? this.count + index : index;
    if (row < 0 || row >= this.count) return undefined;
    return this.#withPrevious(tableFields(this.#table, row, this.#wanted), row - 1);
  }

  /** The newest bars, oldest first, the building one the last. */
  last(count: number): BarRow[] {
    const { current } = this;
    const closed = current === undefined ? count : count - 1;
    const rows: BarRow[] = [];
    for (let row = Math.max(0, this.count - closed); row < this.count; row += 1) rows.push(this.at(row) as BarRow);
    return current === undefined ? rows : [...rows, current];
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

  /** The closed bar that opened at a time. */
  #rowAt(openTime: number): BarRow | undefined {
    const row = this.#table.rowOf(openTime);
    return row < 0 ? undefined : this.at(row);
  }

  #closed(openTime: number): void {
    const row = this.#rowAt(openTime);
    if (row === undefined) return;
    this.#emitter.emit("closed", row);
    this.#updated(row);
    for (const queue of this.#queues) queue.push(row, undefined);
  }

  #corrected(openTime: number): void {
    const row = this.#rowAt(openTime);
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
    this.#isEnded = true;
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
