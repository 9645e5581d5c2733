import type { Clock } from "../std/clock.ts";
import type { Timers } from "../std/timers.ts";
import * as V from "../wire/generated/views.ts";
import { Memory } from "../wire/memory.ts";
import { Emitter, type Handlers, type OnThrow } from "./emitter.ts";
import { type DroppedEvent, EventQueue, type Placed, type QueueLimits } from "./event-queue.ts";
import type { Unavailable } from "./message.ts";
import type { Gap, InstrumentName, Receiver, StreamInfo } from "./receiver.ts";
import type { SubscribeSpec } from "./request.ts";
import type { Attached, Session } from "./session.ts";
import * as E from "./views.ts";

/** What was missed and cannot be had any more. */
export interface GapEvent {
  readonly type: "gap";
  readonly instrument: InstrumentName;
  readonly exchange: string;
  readonly symbol: string;
  readonly channel: string;
  readonly timeframe: string | undefined;
  /** First and last sequence that are missing; undefined where nobody can know. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  /** `window`, `lag`, `epoch`, `restart` or `no_snapshot`: see README.md, "Coming back". */
  readonly reason: string;
}

export function gapEvent({ stream, from, to, reason }: Gap): GapEvent {
  const { instrument, channel, timeframe } = stream;
  const { exchange, symbol } = instrument;
  return { type: "gap", instrument, exchange, symbol, channel, timeframe, from, to, reason };
}

/** What handlers get: views, good in their call only, and gaps. */
export interface SubscriptionEvents {
  trade: E.TradeEvent;
  quote: E.QuoteEvent;
  book: E.BookEvent;
  ticker: E.TickerEvent;
  funding: E.FundingEvent;
  liquidation: E.LiquidationEvent;
  bar: E.BarEvent;
  indicators: E.IndicatorsEvent;
  state: E.StateEvent;
  gap: GapEvent;
}

type View = SubscriptionEvents[Exclude<keyof SubscriptionEvents, "gap">];

/** What an iteration yields: plain objects, told apart by `type`. */
export type PlainEvent = ReturnType<View["toObject"]> | GapEvent | DroppedEvent;

/** What a subscription takes from its client. */
export interface SubscriptionContext {
  clock: Clock;
  timers: Timers;
  onThrow: OnThrow;
  gap(gap: GapEvent): void;
  closed(subscription: Subscription): void;
}

/** A frame that came before the program could add its handlers. */
interface Early {
  memory: Memory;
  info: StreamInfo;
}

/** A kind of event: its view and its handlers, together, so that neither is looked for at each frame. */
interface Kind {
  readonly view: View;
  readonly handlers: Handlers<never>;
}

/** Streams that were asked for together: their handlers, their iterations, what is there of them. */
export class Subscription implements Receiver {
  readonly #context: SubscriptionContext;
  readonly #emitter: Emitter<SubscriptionEvents>;
  /** By payload. */
  readonly #kinds: readonly (Kind | undefined)[];
  readonly #indicators = new E.IndicatorsEvent();
  readonly #queues = new Set<EventQueue<PlainEvent>>();
  readonly #limits: QueueLimits;
  #spec: SubscribeSpec;
  #session: Session | undefined;
  #attached: Attached | undefined;
  #early: (Early | GapEvent)[] | undefined = [];
  #closed = false;

  constructor(context: SubscriptionContext, spec: SubscribeSpec, limits: QueueLimits) {
    this.#context = context;
    this.#emitter = new Emitter(context.onThrow);
    this.#spec = spec;
    this.#limits = limits;
    const kinds: (Kind | undefined)[] = [];
    kinds[V.PAYLOAD_TRADE] = this.#kind(new E.TradeEvent());
    kinds[V.PAYLOAD_BOOK_LEVELS] = this.#kind(new E.BookEvent());
    kinds[V.PAYLOAD_QUOTE] = this.#kind(new E.QuoteEvent());
    kinds[V.PAYLOAD_TICKER] = this.#kind(new E.TickerEvent());
    kinds[V.PAYLOAD_FUNDING] = this.#kind(new E.FundingEvent());
    kinds[V.PAYLOAD_LIQUIDATION] = this.#kind(new E.LiquidationEvent());
    kinds[V.PAYLOAD_BAR] = this.#kind(new E.BarEvent());
    kinds[V.PAYLOAD_INDICATORS] = this.#kind(this.#indicators);
    kinds[V.PAYLOAD_STREAM_STATE] = this.#kind(new E.StateEvent());
    this.#kinds = kinds;
  }

  #kind(view: View): Kind {
    return { view, handlers: this.#emitter.handlers(view.type) };
  }

  /** Called once, when the server has taken the subscription; handlers added in this turn miss nothing. */
  attached(session: Session, attached: Attached): this {
    this.#session = session;
    this.#attached = attached;
    this.#context.timers.setTimeout(() => this.#release(), 0);
    return this;
  }

  /** Its streams, those that appeared later too. */
  get streams(): readonly StreamInfo[] {
    return this.#attached?.streams ?? [];
  }

  /** What of it the server has not got, with a code why. */
  get unavailable(): readonly Unavailable[] {
    return this.#attached?.unavailable ?? [];
  }

  get spec(): SubscribeSpec {
    return this.#spec;
  }

  /** Adds a handler; returns what removes it. A view that it gets is good in the call only. */
  on<Name extends keyof SubscriptionEvents>(
    name: Name,
    handler: (event: SubscriptionEvents[Name]) => void,
    options?: { signal?: AbortSignal },
  ): () => void {
    return this.#emitter.on(name, handler, options);
  }

  once<Name extends keyof SubscriptionEvents>(name: Name, handler: (event: SubscriptionEvents[Name]) => void) {
    return this.#emitter.once(name, handler);
  }

  off<Name extends keyof SubscriptionEvents>(name: Name, handler: (event: SubscriptionEvents[Name]) => void): void {
    this.#emitter.off(name, handler);
  }

  /** Iterates over plain objects from now on; its queue is bounded, and says what it had to drop. */
  [Symbol.asyncIterator](): EventQueue<PlainEvent> {
    const queue: EventQueue<PlainEvent> = new EventQueue(this.#context.clock, this.#limits, () => {
      this.#queues.delete(queue);
    });
    if (this.#closed) queue.end();
    else this.#queues.add(queue);
    return queue;
  }

  /** Hot path. */
  frame(frame: V.FrameView, info: StreamInfo, length: number): void {
    if (this.#early !== undefined) {
      const { u8 } = frame.table.memory;
      this.#early.push({ memory: new Memory(u8.slice(0, (length + 7) & ~7).buffer), info });
      return;
    }
    const kind = this.#kinds[frame.payloadType];
    if (kind === undefined) return;
    const { view, handlers } = kind;
    if (view === this.#indicators) this.#indicators.meanings = this.#attached?.indicators ?? [];
    view.attach(frame, info);
    handlers.call(view as never);
    if (this.#queues.size > 0) this.#queue(view.toObject(), view);
  }

  #queue(event: PlainEvent, place: Placed | undefined): void {
    const at = place && {
      epoch: place.epoch,
      stream: place.stream,
      position: place.position,
      sequence: place.sequence,
    };
    for (const queue of this.#queues) queue.push(event, at);
  }

  gap(gap: Gap): void {
    const event = gapEvent(gap);
    if (this.#early !== undefined) {
      this.#early.push(event);
      return;
    }
    this.#tell(event);
  }

  #tell(event: GapEvent): void {
    this.#emitter.emit("gap", event);
    this.#queue(event, undefined);
    this.#context.gap(event);
  }

  /** Hands on what came with the ack. */
  #release(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    const frame = new V.FrameView();
    for (const each of early) {
      if ("type" in each) this.#tell(each);
      else if (frame.attach(each.memory, each.memory.i32[0] as number)) this.frame(frame, each.info, 0);
    }
  }

  disconnected(): void {}

  connected(): void {}

  level(): void {}

  /** True while something that came has not been handed on. */
  get isHolding(): boolean {
    return this.#early !== undefined && this.#early.length > 0;
  }

  /** Where the events stand that came and that an iteration has not taken yet. */
  *places(): IterableIterator<Placed> {
    for (const queue of this.#queues) yield* queue.places();
  }

  /** Events that iterations had to drop. */
  get dropped(): number {
    let dropped = 0;
    for (const queue of this.#queues) dropped += queue.dropped;
    return dropped;
  }

  /** Asks for something else in its place; streams that stay go on without a hole. */
  async change(change: Partial<SubscribeSpec>): Promise<void> {
    // Its past has been had.
    const { from: _from, strict: _strict, ...kept } = this.#spec;
    const spec = { ...kept, ...change };
    if (this.#session === undefined || this.#attached === undefined) return;
    await this.#session.change(this.#attached.id, spec);
    this.#spec = spec;
  }

  /** Unsubscribes; iterations end. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.end();
    if (this.#attached !== undefined) this.#session?.detach(this.#attached.id);
    this.#context.closed(this);
  }

  /** Nothing more comes. */
  end(): void {
    this.#closed = true;
    for (const queue of this.#queues) queue.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
