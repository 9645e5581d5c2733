import { build, type Histogram } from "hdr-histogram-js";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { STATE_LIVE, STATE_SYNCING, STATES } from "../market/sink.ts";
import type { Client } from "./client.ts";
import type { Answer } from "./http.ts";
import { json } from "./http.ts";
import { ENCODINGS } from "./publisher.ts";
import type { Services } from "./services.ts";

/** Over how long `messages_per_second` is a rate. */
const WINDOW_SECONDS = 10;
const LONGEST_TURN_MICROS = 60e6;

/** What the server is told of one feed. */
export interface FeedReport {
  exchange: string;
  counters: Readonly<Record<string, number>>;
}

/**
 * Reads the plain counters that every part keeps, when somebody asks: Prometheus text, and the JSON of the broker that
 * this server replaces. Nothing here is on the hot path; the latency of a turn is recorded once per turn.
 */
export class Metrics {
  readonly #services: Services;
  readonly #clients: () => Iterable<Client>;
  readonly #feeds: () => FeedReport[];
  readonly #registry = new Registry();
  readonly #startedAt: number;
  /** (time, frames sent so far) at each second of the window. */
  readonly #samples: { at: number; frames: number }[] = [];
  /** Microseconds from the first message of a turn to its last frame handed to the sockets. */
  readonly turnMicros: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_TURN_MICROS,
    numberOfSignificantValueDigits: 2,
  });

  constructor(services: Services, clients: () => Iterable<Client>, feeds: () => FeedReport[]) {
    this.#services = services;
    this.#clients = clients;
    this.#feeds = feeds;
    this.#startedAt = services.clock.now();
    collectDefaultMetrics({ register: this.#registry });
    this.#define();
  }

  #counter(
    name: string,
    help: string,
    labels: readonly string[],
    read: (set: (value: number, ...values: string[]) => void) => void,
  ): void {
    new Counter({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect() {
        this.reset();
        read((value, ...values) => this.inc(labelled(labels, values), value));
      },
    });
  }

  #gauge(
    name: string,
    help: string,
    labels: readonly string[],
    read: (set: (value: number, ...values: string[]) => void) => void,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect() {
        this.reset();
        read((value, ...values) => this.set(labelled(labels, values), value));
      },
    });
  }

  #define(): void {
    const { engine, publisher, counters } = this.#services;
    const { books, dedupe, frames, bars, derived } = engine;
    this.#counter(
      "tickwire_frames_sent_total",
      "Frames handed to the sockets' topics or to one client, by encoding",
      ["encoding"],
      (set) => {
        for (const [index, encoding] of ENCODINGS.entries()) set(publisher.frames[index] as number, encoding);
      },
    );
    this.#counter(
      "tickwire_bytes_sent_total",
      "Bytes of those frames, counted once however many clients get them",
      ["encoding"],
      (set) => {
        for (const [index, encoding] of ENCODINGS.entries()) set(publisher.bytes[index] as number, encoding);
      },
    );
    this.#counter("tickwire_ring_frames_total", "Frames committed to the ring", [], (set) => set(frames.log.position));
    this.#counter(
      "tickwire_publish_lost_total",
      "Ring frames overwritten before they were published; must stay 0",
      [],
      (set) => set(publisher.lost),
    );
    this.#counter(
      "tickwire_derived_frames_total",
      "Frames of depth tiers, conflated values and building bars",
      [],
      (set) => set(derived.frames),
    );
    this.#counter("tickwire_trades_duplicate_total", "Trades dropped because they came before", [], (set) =>
      set(dedupe.duplicates),
    );
    this.#counter("tickwire_upstream_gaps_total", "Holes in the venues' trade ids", [], (set) => set(dedupe.holes));
    this.#counter("tickwire_book_breaches_total", "Times a book was found to be wrong", [], (set) =>
      set(books.breaches),
    );
    this.#counter("tickwire_book_requests_total", "Books asked for at the venues", [], (set) =>
      set(books.recovery.requests),
    );
    this.#counter("tickwire_bars_closed_total", "Bars closed", [], (set) => set(bars.bars.closed));
    this.#counter("tickwire_bars_corrected_total", "Bars corrected by late trades", [], (set) =>
      set(bars.bars.corrections.corrected),
    );
    this.#counter("tickwire_trades_too_late_total", "Trades older than the kept history of bars", [], (set) =>
      set(bars.bars.corrections.tooOld),
    );
    this.#counter("tickwire_wild_timestamps_total", "Messages whose time was not believed", ["exchange"], (set) => {
      for (const { instrument, clock } of engine.venues) set(clock.wild, instrument.exchange);
    });
    this.#counter("tickwire_connections_opened_total", "Client connections opened", [], (set) =>
      set(counters.connectionsOpened),
    );
    this.#counter("tickwire_connections_refused_total", "Upgrades refused, by code", ["code"], (set) => {
      for (const [code, count] of counters.refused) set(count, code);
    });
    this.#counter("tickwire_clients_closed_slow_total", "Clients closed with 4008", ["reason"], (set) => {
      set(counters.closedSlow, "queue");
      set(counters.closedForMemory, "memory");
    });
    this.#counter("tickwire_control_messages_total", "Control messages received", [], (set) =>
      set(counters.controlMessages),
    );
    this.#counter("tickwire_errors_total", "Errors answered on sockets, by code", ["code"], (set) => {
      for (const [code, count] of counters.errors) set(count, code);
    });
    this.#counter("tickwire_http_responses_total", "HTTP answers, by status", ["status"], (set) => {
      for (const [status, count] of counters.responses) set(count, String(status));
    });
    this.#counter("tickwire_feed_events_total", "What each feed counts", ["exchange", "event"], (set) => {
      for (const { exchange, counters: counts } of this.#feeds()) {
        for (const [event, count] of Object.entries(counts)) set(count, exchange, event);
      }
    });
    this.#defineGauges();
  }

  #defineGauges(): void {
    const { engine } = this.#services;
    const { frames, books } = engine;
    this.#gauge("tickwire_connections", "Client connections open now", [], (set) => set([...this.#clients()].length));
    this.#gauge("tickwire_subscriptions", "Subscriptions of all clients", [], (set) => set(this.#subscriptions()));
    this.#gauge("tickwire_queue_bytes", "Bytes that wait for clients", [], (set) => set(this.#queued()));
    this.#gauge("tickwire_feed_state", "1 for the state that each feed is in", ["exchange", "state"], (set) => {
      for (const { instrument, state } of engine.venues) set(1, instrument.exchange, STATES[state] as string);
    });
    this.#gauge("tickwire_books", "Books by exchange and state", ["exchange", "state"], (set) => {
      for (const [venue, states] of books.counts()) {
        for (const [state, count] of states)
          set(count, engine.venue(venue)?.instrument.exchange ?? "", STATES[state] as string);
      }
    });
    this.#gauge("tickwire_ring_records", "Frames that the ring holds now", ["ring"], (set) => {
      set(frames.log.ticks.head - frames.log.ticks.tail, "ticks");
      set(frames.log.slow.head - frames.log.slow.tail, "slow");
    });
    this.#gauge("tickwire_window_seconds", "Age of the oldest frame that the tick ring holds", [], (set) =>
      set(frames.windowSeconds),
    );
    this.#gauge(
      "tickwire_turn_microseconds",
      "First message of a turn to its last frame handed over",
      ["quantile"],
      (set) => {
        for (const quantile of ["0.5", "0.9", "0.99", "0.999"]) {
          set(this.turnMicros.getValueAtPercentile(Number(quantile) * 100), quantile);
        }
      },
    );
  }

  /** Notes how long a turn took, microseconds. */
  turnTook(micros: number): void {
    this.turnMicros.recordValue(Math.min(Math.max(micros, 0), LONGEST_TURN_MICROS));
  }

  #subscriptions(): number {
    let count = 0;
    for (const client of this.#clients()) count += client.subscriptionCount;
    return count;
  }

  #queued(): number {
    let bytes = 0;
    for (const client of this.#clients()) bytes += client.queued;
    return bytes;
  }

  /** Notes the frames sent so far, once a second. */
  sample(now: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && now - last.at < 1e6) return;
    this.#samples.push({ at: now, frames: this.#sent() });
    if (this.#samples.length > WINDOW_SECONDS + 1) this.#samples.shift();
  }

  #sent(): number {
    return this.#services.publisher.frames.reduce((sum, frames) => sum + frames, 0);
  }

  async prometheus(): Promise<Answer> {
    return { status: 200, body: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }

  json(): Answer {
    const { engine, clock } = this.#services;
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    const seconds = first === undefined || last === undefined ? 0 : (last.at - first.at) / 1e6;
    const rate = seconds === 0 ? 0 : ((last?.frames ?? 0) - (first?.frames ?? 0)) / seconds;
    const status = (state: number) =>
      state === STATE_LIVE ? "connected" : state === STATE_SYNCING ? "reconnecting" : "disconnected";
    return json({
      active_subscriptions: this.#subscriptions(),
      connections: [...this.#clients()].length,
      messages_per_second: Math.round(rate * 100) / 100,
      window_seconds: WINDOW_SECONDS,
      uptime: Math.floor((clock.now() - this.#startedAt) / 1e6),
      reconnects: this.#feeds().reduce((sum, { counters }) => sum + (counters.reconnects ?? 0), 0),
      exchange_status: Object.fromEntries(
        engine.venues.map(({ instrument, state }) => [instrument.exchange, status(state)]),
      ),
      latency_us: {
        p50: this.turnMicros.getValueAtPercentile(50),
        p90: this.turnMicros.getValueAtPercentile(90),
        p99: this.turnMicros.getValueAtPercentile(99),
        p999: this.turnMicros.getValueAtPercentile(99.9),
        samples: this.turnMicros.totalCount,
      },
    });
  }
}

function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""]));
}
