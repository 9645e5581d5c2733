import type { FrameView } from "../wire/generated/views.ts";
import { PAYLOAD_BAR, PAYLOAD_INDICATORS, PAYLOAD_STREAM_STATE } from "../wire/generated/views.ts";
import { readHistory } from "./bar-history.ts";
import { BarLoader } from "./bar-loader.ts";
import { BarMerge, type BarNews } from "./bar-merge.ts";
import { type BarsOptions, readBarsOptions } from "./bar-options.ts";
import type { BarRow } from "./bar-rows.ts";
import { BarSeries } from "./bar-series.ts";
import { Emitter } from "./emitter.ts";
import { TickwireError } from "./errors.ts";
import { type DroppedEvent, EventQueue, type QueueLimits } from "./event-queue.ts";
import type { Gap, Receiver, StreamInfo } from "./receiver.ts";
import type { Attached, Session } from "./session.ts";
import { type GapEvent, gapEvent } from "./subscription.ts";
import type { ClientParts, Tickwire } from "./tickwire.ts";
import { BarEvent, IndicatorsEvent, StateEvent, type StreamStateName } from "./views.ts";

export type { BarsOptions, IndicatorSpec } from "./bar-options.ts";

export interface BarsState {
  readonly live: boolean;
  readonly state: StreamStateName | "disconnected";
  readonly reason: string;
}

export interface BarsEvents {
  /** The building bar changed, or a bar closed. */
  update: BarRow;
  closed: BarRow;
  /**
   * A bar that had closed was amended by a late trade, or replaced by the venue's own; or its indicators were; or it comes
   * only after later ones have closed.
   */
  corrected: BarRow;
  state: BarsState;
  gap: GapEvent;
  /** Bars were fetched that had been missed; `changed` of them are new, or other than what was there. */
  history: { readonly changed: number };
}

function stateOf(state: StreamStateName, reason = ""): BarsState {
  return { live: state === "live" || state === "quiet", state, reason };
}

const UNKNOWN = stateOf("unknown");

/** The bars of one series, warm from the first moment: its history, then what the server sends. */
export class LiveBars extends BarSeries implements Receiver {
  readonly symbol: string;
  readonly timeframe: string;
  readonly #emitter: Emitter<BarsEvents>;
  readonly #parts: ClientParts;
  readonly #limit: number;
  readonly #hasBuilding: boolean;
  #exchange: string;
  readonly #loader: BarLoader;
  readonly #bar = new BarEvent();
  readonly #values = new IndicatorsEvent();
  readonly #state = new StateEvent();
  readonly #queues = new Set<EventQueue<BarRow>>();
  /** What the stream says of itself; and what the program was told, which may be that the connection is gone. */
  #stream = UNKNOWN;
  #told = UNKNOWN;
  /** The server numbers indicators anew: what comes until it is level may be by the old numbers. */
  #isRenumbered = false;
  #lacksValues = false;
  #session: Session | undefined;
  #attached: Attached | undefined;
  readonly #off: () => void;

  private constructor(
    parts: ClientParts,
    symbol: string,
    timeframe: string,
    exchange: string,
    history: number,
    hasBuilding: boolean,
  ) {
    super();
    this.#hasBuilding = hasBuilding;
    this.#parts = parts;
    this.symbol = symbol;
    this.timeframe = timeframe;
    this.#exchange = exchange;
    this.#limit = history;
    this.merge = new BarMerge(history, [], this.#news);
    this.#emitter = new Emitter(parts.onThrow);
    this.#loader = new BarLoader(
      parts,
      () => this.merge,
      () => readHistory(parts, { symbol, timeframe, exchange: this.#exchange, limit: history }),
      (changed) => this.#emitter.emit("history", { changed }),
    );
    this.#off = parts.onEnd(() => this.#end());
  }

  /** Resolves once the history is there; throws a TickwireError for what the server has not got. */
  static async open(
    client: Tickwire,
    symbol: string,
    timeframe: string,
    options: BarsOptions,
    parts: ClientParts,
  ): Promise<LiveBars> {
    const { exchange, history, building, waitMs, keys, names } = readBarsOptions(options);
    // Says which venues there are where several have the symbol, before anything is subscribed.
    await readHistory(parts, { symbol, timeframe, exchange, limit: 1 });
    const bars = new LiveBars(parts, symbol, timeframe, exchange, history, building);
    const spec = {
      channels: names.length === 0 ? ["bars"] : ["bars", "indicators"],
      symbols: symbol,
      timeframes: timeframe,
      // A series of closed bars alone is sent no state: the building one is asked for too, as seldom as it can be had.
      ...(building ? {} : { conflateMs: 1000 as const }),
      ...(exchange === "" ? {} : { exchanges: exchange }),
      ...(names.length === 0 ? {} : { indicators: names }),
    };
    try {
      const { session, attached } = await client.attach(spec, bars);
      bars.#session = session;
      bars.#attached = attached;
      // A frame that came with the ack is newer than the ack.
      if (bars.#stream === UNKNOWN) bars.#stream = bars.#acked;
      if (bars.#told === UNKNOWN) bars.#told = bars.#stream;
      bars.#learn(attached, keys);
      await bars.#loader.warm(waitMs, history);
    } catch (error) {
      await bars.stop();
      throw error;
    }
    return bars;
  }

  /** Takes the meaning of indicators from the ack, which has them in the order in which they were asked for. */
  #learn({ streams, indicators }: Attached, keys: readonly string[]): void {
    const exchanges = new Set(streams.map(({ instrument }) => instrument.exchange));
    if (exchanges.size > 1)
      throw new TickwireError("bad_request", `several exchanges have ${this.symbol}: ${[...exchanges].join(", ")}`);
    for (const exchange of exchanges) this.#exchange = exchange;
    this.wanted = keys.map((key, index) => {
      const meaning = indicators[index];
      if (meaning === undefined) throw new TickwireError("protocol", `the server said nothing of the indicator ${key}`);
      return { key, ...meaning };
    });
    this.merge = new BarMerge(this.#limit, this.wanted, this.#news);
  }

  /** A server has numbers of its own for indicators; true when they are others than before. */
  #relearn(): boolean {
    let isOther = false;
    for (const wanted of this.wanted) {
      const id = this.#attached?.indicators.find(({ name }) => name === wanted.name)?.id ?? -1;
      isOther ||= id !== wanted.id;
      wanted.id = id;
    }
    return isOther;
  }

  /** The venue; where none was named, the only one that has the symbol. */
  get exchange(): string {
    return this.#exchange;
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
    if (this.#loader.isEnded) queue.end();
    return queue as AsyncIterableIterator<Exclude<BarRow | DroppedEvent, DroppedEvent>>;
  }

  get state(): BarsState {
    return this.#told;
  }

  frame(frame: FrameView, info: StreamInfo): void {
    if (this.#exchange !== "" && info.instrument.exchange !== this.#exchange) return;
    const { payloadType } = frame;
    if (payloadType === PAYLOAD_BAR) {
      const bar = this.#bar.attach(frame, info);
      const isBuilding = bar.state === "building";
      if (this.#hasBuilding || !isBuilding) this.merge.takeBar(bar);
      if (this.#loader.isOwed && !isBuilding) this.#loader.refresh();
    } else if (payloadType === PAYLOAD_INDICATORS) {
      if (!this.#isRenumbered) this.merge.takeValues(this.#values.attach(frame, info));
    } else if (payloadType === PAYLOAD_STREAM_STATE && info.channel === "bars") {
      const { state, reason } = this.#state.attach(frame, info);
      this.#stream = stateOf(state, reason);
      if (this.#told.state !== "disconnected") this.#tell(this.#stream);
    }
  }

  /** The state that the ack says: a stream that does not change says none, and no ack says why. */
  get #acked(): BarsState {
    const state = this.#attached?.acked.find(({ channel }) => channel === "bars")?.state;
    return state === undefined || state === this.#stream.state ? this.#stream : stateOf(state as StreamStateName);
  }

  #tell(state: BarsState): void {
    this.#told = state;
    this.#emitter.emit("state", state);
  }

  get #news(): BarNews {
    return {
      closed: (openTime) => {
        const row = this.rowAt(openTime);
        if (row === undefined) return;
        this.#emitter.emit("closed", row);
        this.#emitter.emit("update", row);
        for (const queue of this.#queues) queue.push(row, undefined);
      },
      corrected: (openTime) => {
        const row = this.rowAt(openTime);
        if (row !== undefined) this.#emitter.emit("corrected", row);
      },
      updated: () => {
        const row = this.current;
        if (row !== undefined) this.#emitter.emit("update", row);
      },
    };
  }

  /** Bars that were missed are fetched: only what the server has not any more is lost. */
  gap(gap: Gap): void {
    const event = gapEvent(gap);
    this.#emitter.emit("gap", event);
    this.#parts.gap(event);
    this.#loader.refresh();
  }

  disconnected(reason: string): void {
    this.merge.building = undefined;
    this.#tell({ live: false, state: "disconnected", reason });
  }

  connected(anew: boolean): void {
    this.#stream = this.#acked;
    const isOther = this.#relearn();
    this.#isRenumbered = isOther && !anew;
    this.#lacksValues = !anew && this.wanted.length > 0;
    if (anew) this.#loader.begin();
  }

  level(): void {
    // A server that was started anew computes what is not usual only from when it was asked to: its first bars lack it.
    if (this.#lacksValues || this.#loader.isOwed) this.#loader.refresh();
    this.#lacksValues = false;
    this.#isRenumbered = false;
    this.#tell(this.#stream);
  }

  #end(): void {
    this.#off();
    this.#loader.end();
    for (const queue of this.#queues) queue.end();
  }

  /** Unsubscribes; iterations end. */
  async stop(): Promise<void> {
    this.#end();
    if (this.#attached !== undefined) this.#session?.detach(this.#attached.id);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
