import type { WebSocket } from "uWebSockets.js";
import { hasTimeframes, instrumentOf, slotIn, timeframeOfSlot } from "../market/channel.ts";
import { CLOSE_POLICY, CLOSE_TOO_LARGE, RequestError } from "../market/errors.ts";
import type { Instrument } from "../market/instrument.ts";
import { TIMEFRAMES } from "../market/timeframe.ts";
import { TokenBucket } from "../std/token-bucket.ts";
import type { MaxLag } from "./catch-up.ts";
import { isReplayable } from "./catch-up.ts";
import type { SocketData } from "./client.ts";
import { Client } from "./client.ts";
import type { Subscription } from "./coverage.ts";
import { describeStream } from "./describe.ts";
import { Fetch } from "./fetch.ts";
import type { Joiner } from "./membership.ts";
import { Membership } from "./membership.ts";
import type { Replay } from "./replay.ts";
import { replayOf } from "./replay.ts";
import type { FetchRequest, Request, RequestId, SubscribeRequest } from "./request.ts";
import { idOf, readRequest } from "./request.ts";
import type { Selection } from "./selection.ts";
import { resolve } from "./selection.ts";
import type { Services } from "./services.ts";

/** Above so many streams the ack gives a count, and each is announced as it is joined. A list stops there too. */
const MAX_STREAMS_IN_ACK = 1000;
/** Wildcards of one connection, one for each channel and exchange: each is compared with every active instrument. */
const MAX_WILDCARDS = 64;
/** A wildcard over more instruments than this is resolved in a turn of its own, whoever asks for it: some 5 ms. */
const MANY_INSTRUMENTS = 1000;
const LONG_REQUEST_COST = 256 * 1024;
/** Requests of one connection that wait for such a turn. */
const MAX_WAITING = 64;
/** Shared, because few connections ever have any. */
const NONE_WAITING: readonly unknown[] = [];
/** Messages in a row that were refused for their rate, in bursts, after which it is no accident. */
const FLOOD_BURSTS = 10;

/** How far behind a slow client may be, microseconds, when it did not say. */
const MAX_LAG: MaxLag = { book: 1e6, rest: 10e6 };
/** Fetches of one connection at once. */
const MAX_FETCHES = 16;
const NO_FETCHES: readonly Fetch[] = [];

/** A request that can be served: nothing has changed yet. */
interface Asked {
  request: Request;
  selection: Selection | undefined;
  replay: Replay | undefined;
}

/** One client of `/stream`: reads its requests, keeps its subscriptions, and answers. */
export class Connection extends Client implements Joiner {
  readonly subscriptions = new Map<RequestId, Subscription>();
  readonly #membership: Membership;
  readonly #bucket: TokenBucket;
  /** The selectors of the URL, as a subscribe request; undefined when there are none. */
  readonly #urlRequest: unknown;
  #maxLag = MAX_LAG;
  /** Ranges that are still to be sent again. */
  #fetches = NO_FETCHES;
  #nextId = 1;
  #refusedInRow = 0;
  /** Requests that take long, and those that came after them, in order. */
  #waiting = NONE_WAITING;
  /** Replays that wait for one from the journal, in order. */
  #deferred = NONE_WAITING;
  /** The second half of a request that takes long: its answer, in a turn of its own. */
  #unanswered: (() => void) | undefined;

  constructor(socket: WebSocket<SocketData>, services: Services, urlRequest: unknown) {
    super(socket, services);
    this.#urlRequest = urlRequest;
    this.#bucket = new TokenBucket(services.limits.controlMessageBurst);
    this.#membership = new Membership(this, services);
  }

  announce(stream: number, variant: number, subscription: RequestId): void {
    this.json({ type: "stream_added", subscription, stream: this.#describe(stream, variant) });
  }

  /** `isPast`: what this epoch has had comes too, after that of an earlier one. */
  #describe(stream: number, variant: number, isPast = false): object {
    const sequence = isPast && isReplayable(stream, variant) ? 0 : this.#membership.sequenceOf(stream);
    return describeStream(this.services, stream, variant, sequence);
  }

  override get subscriptionCount(): number {
    return this.subscriptions.size;
  }

  override get pending(): boolean {
    return this.urgent || this.#fetches.length + this.#deferred.length > 0 || this.#membership.pending;
  }

  protected override get urgent(): boolean {
    return this.#waiting.length > 0 || this.#unanswered !== undefined;
  }

  protected override piece(): number {
    const answer = this.#unanswered;
    if (answer === undefined && this.#waiting.length === 0) return this.#nextPiece();
    this.#unanswered = undefined;
    if (answer !== undefined) answer();
    else {
      const [first, ...others] = this.#waiting;
      this.#waiting = others.length === 0 ? NONE_WAITING : others;
      this.#answer(first, true);
    }
    return LONG_REQUEST_COST;
  }

  #nextPiece(): number {
    const [fetch, ...others] = this.#fetches;
    if (fetch === undefined) return this.#join();
    const cost = fetch.step();
    if (fetch.done) this.#fetches = others.length === 0 ? NO_FETCHES : others;
    return cost;
  }

  /** Goes on with what is to be joined; then takes the replays that had to wait for others. */
  #join(): number {
    const [value, ...others] = this.#deferred;
    if (value === undefined || this.#membership.pending) return this.#membership.step();
    this.#deferred = others.length === 0 ? NONE_WAITING : others;
    this.#answer(value);
    return LONG_REQUEST_COST;
  }

  protected override fallBehind(): boolean {
    if (this.isBehind) return true;
    this.services.counters.fellBehind += 1;
    this.#membership.fallBehind(this.#maxLag);
    this.services.backlog.add(this);
    return true;
  }

  override get isBehind(): boolean {
    return this.#membership.position !== undefined;
  }

  protected override get position(): number {
    return this.#membership.position ?? super.position;
  }

  protected begin(): void {
    if (this.#urlRequest !== undefined) this.#answer(this.#urlRequest);
  }

  message(bytes: ArrayBuffer, isBinary: boolean): void {
    const { limits, counters } = this.services;
    counters.controlMessages += 1;
    if (bytes.byteLength > limits.messageBytes) {
      this.end(CLOSE_TOO_LARGE, `a message is at most ${limits.messageBytes} bytes`);
      return;
    }
    if (!this.#mayAsk()) return;
    const value = this.#attempt(undefined, () => parse(bytes, isBinary));
    if (value === undefined) return;
    if (!this.urgent && !this.#isLong(value)) this.#answer(value);
    else if (this.#waiting.length >= MAX_WAITING)
      this.error(idOf(value), "rate_limited", "too many requests are waiting");
    else this.#waiting = [...this.#waiting, value];
    this.services.backlog.add(this);
  }

  /** True for a request that has wildcards compared with many instruments. */
  #isLong(value: unknown): boolean {
    if (this.services.coverage.activeCount <= MANY_INSTRUMENTS) return false;
    const { type, symbols } = (value ?? {}) as { type?: unknown; symbols?: unknown };
    if (type === "ping") return false;
    if (symbols === "*" || (Array.isArray(symbols) && symbols.includes("*"))) return true;
    for (const { selection } of this.subscriptions.values()) if (selection.wildcards.length > 0) return true;
    return false;
  }

  /** Takes from the allowance of messages; answers, and in the end closes, when there is none left. */
  #mayAsk(): boolean {
    const { limits, clock } = this.services;
    if (this.#bucket.take(clock.now(), limits.controlMessagesPerSecond, limits.controlMessageBurst)) {
      this.#refusedInRow = 0;
      return true;
    }
    this.#refusedInRow += 1;
    if (this.#refusedInRow > FLOOD_BURSTS * limits.controlMessageBurst) this.end(CLOSE_POLICY, "too many messages");
    else this.error(undefined, "rate_limited", `at most ${limits.controlMessagesPerSecond} messages a second`);
    return false;
  }

  #answer(value: unknown, isLong = false): void {
    const asked = this.#attempt(value, () => this.#read(value));
    if (asked === undefined) return;
    // Nothing below is the client's fault: what throws there leaves the connection in doubt, and closes it.
    const { request, selection, replay } = asked;
    if (replay !== undefined && this.#membership.isReadingJournal) return this.#defer(value);
    if (request.type === "subscribe") this.#subscribe(request, selection as Selection, replay, value, isLong);
    else if (request.type === "unsubscribe") this.#unsubscribe(request.subscription, request.id);
    else if (request.type === "list") this.#list(request.id);
    else if (request.type === "fetch") this.#fetches = [...this.#fetches, new Fetch(this, this.services, request)];
    else this.json({ type: "pong", id: request.id ?? null, ts_server: this.services.time(this.microseconds) });
  }

  /** Keeps a request for when this client is level. */
  #defer(value: unknown): void {
    if (this.#deferred.length < MAX_WAITING) this.#deferred = [...this.#deferred, value];
    else this.error(idOf(value), "rate_limited", "too many requests are waiting");
  }

  /** Does what may fail through the client's fault; answers when it did. Changes nothing. */
  #attempt<T>(message: unknown, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (error instanceof RequestError) this.error(idOf(message), error.code, error.message);
      else {
        this.services.log.error({ err: error }, "a request failed");
        this.error(idOf(message), "internal", "the request could not be served");
      }
      return undefined;
    }
  }

  #read(value: unknown): Asked {
    const request = readRequest(value);
    if (request.type === "subscribe") {
      const selection = this.#select(request);
      const id = request.id ?? this.#freeId();
      const { engine, past } = this.services;
      return { request, selection, replay: replayOf(request, id, engine.frames.log, engine.window, past) };
    }
    if (request.type === "fetch") this.#mayFetch(request);
    if (request.type === "unsubscribe" && !this.subscriptions.has(request.subscription)) {
      throw new RequestError("bad_request", `no subscription ${JSON.stringify(request.subscription)}`);
    }
    return { request, selection: undefined, replay: undefined };
  }

  #mayFetch({ stream }: FetchRequest): void {
    const { frames } = this.services.engine;
    if (this.#fetches.length >= MAX_FETCHES)
      throw new RequestError("rate_limited", `at most ${MAX_FETCHES} fetches at once`);
    if (this.services.catalog.get(instrumentOf(stream)) === undefined || frames.sequence(stream) === 0) {
      throw new RequestError("bad_request", `stream: ${stream} has had no frame in this epoch`);
    }
  }

  /** What a subscribe means, within the limits of a connection; changes nothing yet. */
  #select(request: SubscribeRequest): Selection {
    const { limits, catalog, engine } = this.services;
    const replaced = request.id === undefined ? undefined : this.subscriptions.get(request.id);
    if (replaced === undefined && this.subscriptions.size >= limits.subscriptions) {
      throw new RequestError("too_many_subscriptions", `at most ${limits.subscriptions} subscriptions a connection`);
    }
    let named = 0;
    let wildcards = 0;
    for (const subscription of this.subscriptions.values()) {
      if (subscription === replaced) continue;
      named += subscription.selection.streams.length;
      wildcards += subscription.selection.wildcards.length;
    }
    const selection = resolve(catalog, engine.bars, request, limits.namedStreams - named);
    if (wildcards + selection.wildcards.length > MAX_WILDCARDS) {
      const message = `at most ${MAX_WILDCARDS} wildcards, one for each channel and exchange`;
      throw new RequestError("too_many_subscriptions", message);
    }
    return selection;
  }

  #subscribe(
    request: SubscribeRequest,
    selection: Selection,
    replay: Replay | undefined,
    received: unknown,
    isLong: boolean,
  ): void {
    const { demand, engine } = this.services;
    const id = request.id ?? this.#freeId();
    if (id === this.#nextId) this.#nextId += 1;
    if (request.maxLagMs !== undefined) this.#maxLag = { book: request.maxLagMs * 1000, rest: request.maxLagMs * 1000 };
    const replaced = this.subscriptions.get(id);
    const subscription: Subscription = { id, request, selection };
    for (const { instrument, channel } of selection.streams) demand.add(instrument, channel);
    if (replaced !== undefined) this.#release(replaced);
    // The last subscription that names a stream wins, so one that comes again goes to the end.
    this.subscriptions.delete(id);
    this.subscriptions.set(id, subscription);
    for (const { channel, instrument, stream } of selection.streams) {
      const timeframe = timeframeOfSlot(slotIn(stream));
      if (channel === "indicators") engine.bars.useIndicators(instrument.id, timeframe, selection.indicators);
    }
    this.#membership.apply(replaced === undefined ? [subscription] : [subscription, replaced]);
    // Nothing can come between the two halves but to a client that has something already.
    if (isLong && this.#membership.isEmpty) this.#unanswered = () => this.#acknowledge(subscription, replay, received);
    else this.#acknowledge(subscription, replay, received);
  }

  /** Says what a subscription covers; what it covers is joined afterwards. */
  #acknowledge(subscription: Subscription, replay: Replay | undefined, received: unknown): void {
    const { coverage, engine, backlog } = this.services;
    const { id, request, selection } = subscription;
    const { count, streams } = this.#membership.list(subscription, MAX_STREAMS_IN_ACK);
    this.json({
      type: "system",
      status: "subscribed",
      id,
      received,
      streams: streams.map((stream) =>
        this.#describe(stream, coverage.variantOf(stream), replay?.earlier !== undefined),
      ),
      ...(count > streams.length ? { stream_count: count } : {}),
      unavailable: selection.unavailable,
      ...(request.channels.includes("indicators")
        ? { indicators: engine.bars.describeIndicators(selection.indicators) }
        : {}),
      ...(request.resume === undefined ? {} : { resume: resumeStatus(replay) }),
    });
    if (replay !== undefined) this.#replay(replay);
    this.#membership.joinEvents(streams);
    backlog.add(this);
  }

  /** Opens the past of a subscription: its streams follow. */
  #replay(replay: Replay): void {
    const { id, epoch, position, truncated, fromTime, isKnown, isByTime, earlier } = replay;
    this.#membership.replay(id, replay);
    if (!isKnown && earlier === undefined) return;
    this.services.counters.replays += 1;
    this.json({
      type: "replay_begin",
      id,
      epoch,
      from_position: position,
      ...(earlier !== undefined && !isByTime
        ? {}
        : { from_time: Math.floor(this.microseconds ? fromTime : fromTime / 1000) }),
      truncated,
    });
  }

  #unsubscribe(subscription: RequestId, id: RequestId | undefined): void {
    const known = this.subscriptions.get(subscription) as Subscription;
    this.subscriptions.delete(subscription);
    this.#release(known);
    this.#membership.apply([known]);
    this.json({ type: "system", status: "unsubscribed", id: id ?? null, subscription });
    this.services.backlog.add(this);
  }

  #list(id: RequestId | undefined): void {
    const { coverage } = this.services;
    let left = MAX_STREAMS_IN_ACK;
    const subscriptions = [...this.subscriptions.values()].map((subscription) => {
      const instruments = coverage.instruments([subscription]);
      coverage.fill([subscription], instruments, 0, instruments.length);
      const { count, streams } = coverage.owned(subscription, instruments, left);
      left -= streams.length;
      const described = streams.map((stream) => {
        const variant = this.#membership.variantOf(stream) ?? coverage.variantOf(stream);
        return this.#describe(stream, variant);
      });
      const request = describeRequest(subscription.request);
      const brief = count > streams.length ? { stream_count: count } : {};
      return { id: subscription.id, request, streams: described, ...brief };
    });
    this.json({ type: "subscriptions", id: id ?? null, subscriptions });
  }

  /** The id of a subscription that was given none; taken once the subscription is there. */
  #freeId(): number {
    while (this.subscriptions.has(this.#nextId)) this.#nextId += 1;
    return this.#nextId;
  }

  #release({ selection }: Subscription): void {
    for (const { instrument, channel } of selection.streams) this.services.demand.remove(instrument, channel);
  }

  /** An instrument became active: the wildcards that cover it get its streams. */
  override activated(instrument: Instrument): void {
    this.#membership.activated(instrument, this.#unanswered !== undefined);
    this.services.backlog.add(this);
  }

  /** The socket is gone: gives back what it held. */
  override close(): void {
    super.close();
    this.#waiting = NONE_WAITING;
    this.#unanswered = undefined;
    this.#fetches = NO_FETCHES;
    this.#deferred = NONE_WAITING;
    this.#membership.close();
    this.services.backlog.add(this);
    for (const subscription of this.subscriptions.values()) this.#release(subscription);
    this.subscriptions.clear();
  }
}

/** What became of a resume: it goes on, across a restart, or nothing is known of where the client stood. */
function resumeStatus(replay: Replay | undefined): string {
  return replay?.isKnown ? "resumed" : replay?.earlier !== undefined ? "restarted" : "unknown_epoch";
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function parse(bytes: ArrayBuffer, isBinary: boolean): unknown {
  if (isBinary) throw new RequestError("bad_json", "control messages are JSON text");
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    throw new RequestError("bad_json", "the message is not JSON in UTF-8");
  }
}

/** The request as it stands after defaults, in the words of the protocol. */
function describeRequest(request: SubscribeRequest): object {
  return {
    channels: request.channels,
    symbols: request.symbols,
    exchanges: request.exchanges,
    ...(request.marketTypes.length > 0 ? { market_types: request.marketTypes } : {}),
    ...(request.channels.some(hasTimeframes) ? { timeframes: request.timeframes.map((each) => TIMEFRAMES[each]) } : {}),
    depth: Number.isFinite(request.depth) ? request.depth : "full",
    ...(request.conflateMs === undefined ? {} : { conflate_ms: request.conflateMs }),
    ...(request.bars === "closed" ? { bars: request.bars } : {}),
  };
}
