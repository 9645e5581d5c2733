import type { WebSocket } from "uWebSockets.js";
import { RING } from "../engine/derived.ts";
import { hasTimeframes, instrumentOf, SLOT_BARS, slotIn, timeframeOfSlot } from "../market/channel.ts";
import { CLOSE_TOO_LARGE, RequestError } from "../market/errors.ts";
import type { Instrument } from "../market/instrument.ts";
import type { SocketData } from "./client.ts";
import { Client } from "./client.ts";
import type { Subscription, WideTopic } from "./coverage.ts";
import { covers, streamsCovered, variantsOf, wideTopics } from "./coverage.ts";
import { describeStream } from "./describe.ts";
import { JSON_US } from "./publisher.ts";
import type { Request, RequestId, SubscribeRequest } from "./request.ts";
import { idOf, readRequest } from "./request.ts";
import { resolve } from "./selection.ts";
import type { Services } from "./services.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Above so many streams the ack gives a count, and each is announced as it is joined. */
const MAX_STREAMS_IN_ACK = 1000;
/** Streams joined in one turn of the event loop: some 2 ms of work. */
const JOINS_PER_TURN = 250;
/** Bytes in a client's queue above which its bootstrap waits. */
const BOOTSTRAP_LOW_MARK = 1024 * 1024;
/** How long a bootstrap waits for a client's queue, milliseconds, before it looks again. */
const BOOTSTRAP_PAUSE_MS = 10;

/**
 * One client of `/stream`: its subscriptions, and which topics carry them. Each covered stream is joined in the turn
 * in which its snapshot is sent, so that the first live frame is snapshot + 1; once all of a wildcard's streams are
 * joined, one wide topic replaces theirs, so that what comes later is covered too.
 */
export class Connection extends Client {
  readonly #subscriptions = new Map<RequestId, Subscription>();
  /** Streams that the subscriptions cover and their variant. */
  #covered = new Map<number, number>();
  /** Streams that this client gets now, by their own topic or a wide one. */
  readonly #joined = new Map<number, number>();
  #wide: WideTopic[] = [];
  /** Streams to be joined, with the subscription to name in `stream_added`; undefined when the ack named it. */
  readonly #waiting = new Map<number, RequestId | undefined>();
  readonly #bucket: TokenBucket;
  /** The selectors of the URL, as a subscribe request; undefined when there are none. */
  readonly #urlRequest: unknown;
  #nextId = 1;
  #scheduled = false;

  constructor(socket: WebSocket<SocketData>, services: Services, urlRequest: unknown) {
    super(socket, services);
    this.#urlRequest = urlRequest;
    this.#bucket = new TokenBucket(services.limits.controlMessagesPerSecond, services.limits.controlMessageBurst);
  }

  override get subscriptionCount(): number {
    return this.#subscriptions.size;
  }

  protected begin(): void {
    if (this.#urlRequest !== undefined) this.#answer(this.#urlRequest);
  }

  message(bytes: ArrayBuffer, isBinary: boolean): void {
    const { limits, counters, clock } = this.services;
    counters.controlMessages += 1;
    if (bytes.byteLength > limits.messageBytes) {
      this.end(CLOSE_TOO_LARGE, `a message is at most ${limits.messageBytes} bytes`);
      return;
    }
    if (!this.#bucket.take(clock.now())) {
      return this.error(undefined, "rate_limited", `at most ${limits.controlMessagesPerSecond} messages a second`);
    }
    if (isBinary) return this.error(undefined, "bad_json", "control messages are JSON text");
    let value: unknown;
    try {
      value = JSON.parse(utf8.decode(bytes));
    } catch {
      return this.error(undefined, "bad_json", "the message is not JSON in UTF-8");
    }
    this.#answer(value);
  }

  #answer(value: unknown): void {
    try {
      this.#serve(readRequest(value), value);
    } catch (error) {
      if (error instanceof RequestError) return this.error(idOf(value), error.code, error.message);
      this.services.log.error({ err: error }, "a request failed");
      this.error(idOf(value), "internal", "the request could not be served");
    }
  }

  #serve(request: Request, received: unknown): void {
    switch (request.type) {
      case "subscribe":
        return this.#subscribe(request, received);
      case "unsubscribe":
        return this.#unsubscribe(request.subscription, request.id);
      case "list":
        return this.#list(request.id);
      case "ping":
        return this.json({ type: "pong", id: request.id ?? null, ts_server: this.services.time(this.encoding === JSON_US) });
    }
  }

  #subscribe(request: SubscribeRequest, received: unknown): void {
    const { limits, catalog, engine, publisher, clock } = this.services;
    const id = request.id ?? this.#freeId();
    const replaced = this.#subscriptions.get(id);
    if (replaced === undefined && this.#subscriptions.size >= limits.subscriptions) {
      throw new RequestError("too_many_subscriptions", `at most ${limits.subscriptions} subscriptions a connection`);
    }
    const selection = resolve(catalog, request);
    const named = selection.streams.length + this.#namedStreams() - (replaced?.selection.streams.length ?? 0);
    if (named > limits.namedStreams) {
      throw new RequestError("too_many_subscriptions", `at most ${limits.namedStreams} streams by name; "*" has no limit`);
    }
    const resolved = engine.bars.resolveIndicators(request.indicators);
    if ("error" in resolved) throw new RequestError("unknown_indicator", resolved.error);
    const indicators = resolved.ids;
    const subscription: Subscription = { id, request, selection };
    // The last subscription that names a stream wins, so one that comes again goes to the end.
    for (const { instrument, channel } of selection.streams) this.services.demand.add(instrument, channel);
    if (replaced !== undefined) this.#release(replaced);
    this.#subscriptions.delete(id);
    this.#subscriptions.set(id, subscription);
    for (const { channel, instrument, stream } of selection.streams) {
      if (channel === "indicators") engine.bars.useIndicators(instrument.id, timeframeOfSlot(slotIn(stream)), indicators);
    }
    publisher.level(clock.now());
    const added = this.#recover();
    const brief = added.length > MAX_STREAMS_IN_ACK;
    for (const stream of added) this.#waiting.set(stream, brief ? id : undefined);
    const covered = brief ? [] : this.#streamsOf(subscription).map((stream) => describeStream(this.services, stream, this.#covered.get(stream) ?? RING));
    this.json({
      type: "system",
      status: "subscribed",
      id,
      received,
      streams: covered,
      ...(brief ? { stream_count: added.length } : {}),
      unavailable: selection.unavailable,
      ...(request.channels.includes("indicators") ? { indicators: engine.bars.describeIndicators(indicators) } : {}),
    });
    this.#join();
  }

  #unsubscribe(subscription: RequestId, id: RequestId | undefined): void {
    const { publisher, clock } = this.services;
    const known = this.#subscriptions.get(subscription);
    if (known === undefined) throw new RequestError("bad_request", `no subscription ${JSON.stringify(subscription)}`);
    publisher.level(clock.now());
    this.#subscriptions.delete(subscription);
    this.#release(known);
    for (const stream of this.#recover()) this.#waiting.set(stream, undefined);
    this.json({ type: "system", status: "unsubscribed", id: id ?? null, subscription });
    this.#join();
  }

  #list(id: RequestId | undefined): void {
    const subscriptions = [...this.#subscriptions.values()].map((subscription) => ({
      id: subscription.id,
      request: describeRequest(subscription.request),
      streams: this.#streamsOf(subscription)
        .slice(0, MAX_STREAMS_IN_ACK)
        .map((stream) => describeStream(this.services, stream, this.#covered.get(stream) ?? RING)),
    }));
    this.json({ type: "subscriptions", id: id ?? null, subscriptions });
  }

  /** The streams of one subscription, in order of their numbers. */
  #streamsOf(subscription: Subscription): number[] {
    return [...streamsCovered(this.services.catalog, [subscription]).keys()].sort((a, b) => a - b);
  }

  #namedStreams(): number {
    let count = 0;
    for (const { selection } of this.#subscriptions.values()) count += selection.streams.length;
    return count;
  }

  #freeId(): number {
    while (this.#subscriptions.has(this.#nextId)) this.#nextId += 1;
    return this.#nextId++;
  }

  #release(subscription: Subscription): void {
    for (const { instrument, channel } of subscription.selection.streams) this.services.demand.remove(instrument, channel);
  }

  /** Computes anew what is covered, leaves what no longer is, and returns the streams to be joined. */
  #recover(): number[] {
    const { catalog } = this.services;
    const covered = streamsCovered(catalog, this.#subscriptions.values());
    const wide = wideTopics(catalog, this.#subscriptions.values(), covered);
    for (const topic of this.#wide) {
      if (!wide.some(({ scope, variant }) => scope === topic.scope && variant === topic.variant)) this.#narrow(topic);
    }
    for (const [stream, variant] of this.#joined) {
      if (covered.get(stream) !== variant) this.#leaveStream(stream, variant);
    }
    for (const stream of this.#waiting.keys()) if (!covered.has(stream)) this.#waiting.delete(stream);
    this.#covered = covered;
    return [...covered.keys()].filter((stream) => !this.#joined.has(stream) && !this.#waiting.has(stream)).sort((a, b) => a - b);
  }

  /** Joins what waits, some in each turn of the event loop; wide topics take over when nothing waits any more. */
  #join(): void {
    if (this.closed) return;
    const { publisher, clock } = this.services;
    let joins = 0;
    let leveled = false;
    for (const [stream, subscription] of this.#waiting) {
      if (joins >= JOINS_PER_TURN || this.socket.getBufferedAmount() > BOOTSTRAP_LOW_MARK) break;
      if (!leveled) publisher.level(clock.now());
      leveled = true;
      joins += 1;
      this.#waiting.delete(stream);
      this.#joinStream(stream, this.#covered.get(stream) ?? RING, subscription);
    }
    if (this.#waiting.size === 0) return this.#widen();
    if (this.#scheduled) return;
    this.#scheduled = true;
    const resume = () => {
      this.#scheduled = false;
      this.#join();
    };
    if (joins === 0) setTimeout(resume, BOOTSTRAP_PAUSE_MS);
    else setImmediate(resume);
  }

  #joinStream(stream: number, variant: number, subscription: RequestId | undefined): void {
    const { engine, publisher } = this.services;
    const socket = this.socket as WebSocket<unknown>;
    if (variant !== RING) engine.derived.open(stream, variant);
    if (hasTimeframeSlot(stream)) engine.bars.want(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
    if (!this.#isWide(stream)) {
      for (const each of variantsOf(stream, variant, SLOT_BARS)) publisher.join(socket, this.encoding, each, stream);
    }
    this.#joined.set(stream, variant);
    if (subscription !== undefined) this.#announce(stream, variant, subscription);
    engine.derived.bootstrap(stream, variant, (memory, length) => {
      publisher.sendTo(socket, this.encoding, memory, 0, length, stream);
    });
  }

  #announce(stream: number, variant: number, subscription: RequestId): void {
    this.json({ type: "stream_added", subscription, stream: describeStream(this.services, stream, variant) });
  }

  #leaveStream(stream: number, variant: number): void {
    const { engine, publisher } = this.services;
    if (!this.#isWide(stream)) {
      for (const each of variantsOf(stream, variant, SLOT_BARS)) {
        publisher.leave(this.socket as WebSocket<unknown>, this.encoding, each, stream);
      }
    }
    this.#joined.delete(stream);
    if (variant !== RING) engine.derived.close(stream, variant);
    if (hasTimeframeSlot(stream)) engine.bars.unwant(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
  }

  #isWide(stream: number): boolean {
    return this.#wide.some((topic) => inTopic(topic, stream, this.services.catalog.get(instrumentOf(stream))));
  }

  /** Replaces the topics of single streams by the wide ones that cover them. */
  #widen(): void {
    const { catalog, publisher } = this.services;
    const socket = this.socket as WebSocket<unknown>;
    for (const topic of wideTopics(catalog, this.#subscriptions.values(), this.#covered)) {
      if (this.#wide.some(({ scope }) => scope === topic.scope)) continue;
      for (const [stream, variant] of this.#joined) {
        if (!inTopic(topic, stream, catalog.get(instrumentOf(stream))) || this.#isWide(stream)) continue;
        for (const each of variantsOf(stream, variant, SLOT_BARS)) publisher.leave(socket, this.encoding, each, stream);
      }
      for (const each of variantsOf(topic.slot, topic.variant, SLOT_BARS)) {
        publisher.join(socket, this.encoding, each, topic.scope);
      }
      this.#wide = this.#wide.filter((other) => topic.venue !== 0 || other.slot !== topic.slot || this.#drop(other));
      this.#wide.push(topic);
    }
  }

  /** Leaves a wide topic that another one contains. */
  #drop(topic: WideTopic): boolean {
    for (const each of variantsOf(topic.slot, topic.variant, SLOT_BARS)) {
      this.services.publisher.leave(this.socket as WebSocket<unknown>, this.encoding, each, topic.scope);
    }
    return false;
  }

  /** Takes a wide topic apart into the topics of its streams. */
  #narrow(topic: WideTopic): void {
    const { catalog, publisher } = this.services;
    this.#wide = this.#wide.filter((other) => other !== topic);
    this.#drop(topic);
    for (const [stream, variant] of this.#joined) {
      if (!inTopic(topic, stream, catalog.get(instrumentOf(stream))) || this.#isWide(stream)) continue;
      for (const each of variantsOf(stream, variant, SLOT_BARS)) {
        publisher.join(this.socket as WebSocket<unknown>, this.encoding, each, stream);
      }
    }
  }

  /** An instrument became active: the wildcards that cover it get its streams, announced before their first frame. */
  override activated(instrument: Instrument): void {
    for (const subscription of this.#subscriptions.values()) {
      for (const wildcard of subscription.selection.wildcards) {
        if (!covers(wildcard, instrument)) continue;
        const stream = (instrument.id << 5) | wildcard.slot;
        if (this.#covered.has(stream)) continue;
        this.#covered.set(stream, wildcard.variant);
        if (!this.#isWide(stream)) {
          this.#waiting.set(stream, subscription.id);
          continue;
        }
        const { engine } = this.services;
        if (wildcard.variant !== RING) engine.derived.open(stream, wildcard.variant);
        if (hasTimeframeSlot(stream)) engine.bars.want(instrument.id, timeframeOfSlot(wildcard.slot));
        this.#joined.set(stream, wildcard.variant);
        this.#announce(stream, wildcard.variant, subscription.id);
      }
    }
    if (this.#waiting.size > 0) this.#join();
  }

  /** The socket is gone: gives back what it held. */
  override close(): void {
    super.close();
    const { engine, publisher } = this.services;
    for (const [stream, variant] of this.#joined) {
      if (!this.#isWide(stream)) {
        for (const each of variantsOf(stream, variant, SLOT_BARS)) publisher.forget(this.encoding, each, stream);
      }
      if (variant !== RING) engine.derived.close(stream, variant);
      if (hasTimeframeSlot(stream)) engine.bars.unwant(instrumentOf(stream), timeframeOfSlot(slotIn(stream)));
    }
    for (const topic of this.#wide) {
      for (const each of variantsOf(topic.slot, topic.variant, SLOT_BARS)) publisher.forget(this.encoding, each, topic.scope);
    }
    for (const subscription of this.#subscriptions.values()) this.#release(subscription);
    this.#subscriptions.clear();
    this.#joined.clear();
    this.#waiting.clear();
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function hasTimeframeSlot(stream: number): boolean {
  return slotIn(stream) >= SLOT_BARS;
}

function inTopic(topic: WideTopic, stream: number, instrument: Instrument | undefined): boolean {
  return slotIn(stream) === topic.slot && (topic.venue === 0 || instrument?.venue === topic.venue);
}

/** The request as it stands after defaults, in the words of the protocol. */
function describeRequest(request: SubscribeRequest): object {
  return {
    channels: request.channels,
    symbols: request.symbols,
    exchanges: request.exchanges,
    ...(request.channels.some(hasTimeframes) ? { timeframes: request.timeframes } : {}),
    depth: Number.isFinite(request.depth) ? request.depth : "full",
  };
}
