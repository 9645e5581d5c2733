import { CONFLATE_MS } from "../engine/derived.ts";
import type { Engine } from "../engine/engine.ts";
import { channelOfSlot, SLOT_LIQUIDATIONS, SLOT_TRADES, streamOf } from "../market/channel.ts";
import { STATE_QUIET, STATE_STALE, STATES } from "../market/sink.ts";
import type { Ring } from "../wire/ring.ts";
import type { MetricSet } from "./metric-set.ts";
import type { FeedReport } from "./metrics.ts";

/** What the venues said and what became of it. */
export function defineDataMetrics(set: MetricSet, engine: Engine, feeds: () => FeedReport[]): void {
  defineFeeds(set, engine, feeds);
  defineStreams(set, engine);
  defineTrades(set, engine);
  defineBooks(set, engine);
  defineRing(set, engine);
}

function defineFeeds(set: MetricSet, engine: Engine, feeds: () => FeedReport[]): void {
  set.gauge("tickwire_feed_state", "1 for the state that each feed is in", ["exchange", "state"], (add) => {
    for (const { instrument, state } of engine.venues) add(1, instrument.exchange, STATES[state] as string);
  });
  set.counter(
    "tickwire_feed_reconnects_total",
    "Lost connections to the venue that were replaced",
    ["exchange"],
    (add) => {
      for (const { exchange, counters } of feeds()) add(counters.reconnects ?? 0, exchange);
    },
  );
  set.counter("tickwire_feed_bytes_total", "Bytes of the venue's messages", ["exchange"], (add) => {
    for (const { exchange, counters } of feeds()) add(counters.bytes ?? 0, exchange);
  });
  set.counter("tickwire_feed_events_total", "Whatever else each feed counts", ["exchange", "event"], (add) => {
    for (const { exchange, counters } of feeds()) {
      for (const [event, count] of Object.entries(counters)) {
        if (event !== "bytes" && event !== "reconnects") add(count, exchange, snakeCase(event));
      }
    }
  });
  set.counter("tickwire_wild_timestamps_total", "Messages whose time was not believed", ["exchange"], (add) => {
    for (const { instrument, clock } of engine.venues) add(clock.wild, instrument.exchange);
  });
  set.counter("tickwire_events_unwanted_total", "Events of channels that nobody has open", [], (add) =>
    add(engine.unwanted),
  );
}

function defineStreams(set: MetricSet, engine: Engine): void {
  const { catalog, freshness, states } = engine;
  set.gauge("tickwire_streams", "Streams by venue, channel and state", ["exchange", "channel", "state"], (add) => {
    const counts = new Map<string, number>();
    for (const { id, exchange, symbol } of catalog.all()) {
      if (symbol === "") continue;
      for (let slot = SLOT_TRADES; slot <= SLOT_LIQUIDATIONS; slot += 1) {
        const state = states.of(streamOf(id, slot));
        if (state === 0) continue;
        const key = `${exchange} ${channelOfSlot(slot)} ${STATES[state]}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    for (const [key, count] of counts) add(count, ...key.split(" "));
  });
  set.counter("tickwire_state_changes_total", "Changes of a stream's state, by the new one", ["state"], (add) => {
    for (const [state, name] of STATES.entries()) if (state > 0) add(states.changes[state] as number, name);
  });
  set.counter(
    "tickwire_silences_total",
    "Times that a stream was silent for far longer than its own cadence, by what it was called",
    ["state"],
    (add) => {
      add(freshness.quiets, STATES[STATE_QUIET]);
      add(freshness.stales, STATES[STATE_STALE]);
    },
  );
  set.gauge("tickwire_watched_streams", "Streams whose cadence is learned already, or still", ["cadence"], (add) => {
    const { watched, learned } = freshness.counts();
    add(learned, "learned");
    add(watched - learned, "learning");
  });
}

function defineTrades(set: MetricSet, engine: Engine): void {
  const { dedupe, bars, derived } = engine;
  set.counter("tickwire_trades_duplicate_total", "Trades dropped because they came before", [], (add) =>
    add(dedupe.duplicates),
  );
  set.counter("tickwire_upstream_gaps_total", "Holes in the venues' trade ids", [], (add) => add(dedupe.holes));
  set.counter("tickwire_bars_closed_total", "Bars closed", [], (add) => add(bars.bars.closed));
  set.counter("tickwire_bars_corrected_total", "Bars corrected by late trades", [], (add) =>
    add(bars.bars.corrections.corrected),
  );
  set.counter("tickwire_trades_late_total", "Trades that came after a bar of theirs had closed", [], (add) =>
    add(bars.bars.late),
  );
  set.counter("tickwire_trades_too_late_total", "Trades older than the kept history of bars", [], (add) =>
    add(bars.bars.corrections.tooOld),
  );
  set.counter("tickwire_derived_frames_total", "Frames of depth tiers, conflated values and building bars", [], (add) =>
    add(derived.frames),
  );
  set.counter(
    "tickwire_conflated_total",
    "Changes that a later frame of the same stream stands for, by the period that was asked for",
    ["conflate_ms"],
    (add) => {
      for (const [period, ms] of CONFLATE_MS.entries()) add(derived.conflated[period] as number, String(ms));
    },
  );
}

function defineBooks(set: MetricSet, engine: Engine): void {
  const { books } = engine;
  set.gauge("tickwire_books", "Books by exchange and state", ["exchange", "state"], (add) => {
    for (const [venue, counts] of books.counts()) {
      const exchange = engine.venue(venue)?.instrument.exchange ?? "";
      for (const [state, count] of counts) add(count, exchange, STATES[state] as string);
    }
  });
  set.counter("tickwire_book_breaches_total", "Times a book was found to be wrong", [], (add) => add(books.breaches));
  set.counter("tickwire_book_resyncs_total", "Books asked for at the venues", [], (add) =>
    add(books.recovery.requests),
  );
}

function defineRing(set: MetricSet, engine: Engine): void {
  const { frames } = engine;
  const rings: [string, Ring][] = [
    ["ticks", frames.log.ticks],
    ["slow", frames.log.slow],
  ];
  set.counter("tickwire_ring_frames_total", "Frames committed to the rings", [], (add) => add(frames.log.position));
  set.gauge("tickwire_ring_records", "Frames that a ring holds now", ["ring"], (add) => {
    for (const [name, ring] of rings) add(ring.head - ring.tail, name);
  });
  set.gauge("tickwire_ring_bytes", "Bytes of the frames that a ring holds now", ["ring"], (add) => {
    for (const [name, ring] of rings) add(ring.used, name);
  });
  set.gauge("tickwire_ring_size_bytes", "Bytes that a ring has room for", ["ring"], (add) => {
    for (const [name, ring] of rings) add(ring.bytes, name);
  });
  set.gauge("tickwire_window_seconds", "Age of the oldest frame that the tick ring holds", [], (add) =>
    add(engine.window.seconds),
  );
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
