import type { Engine } from "../../engine/engine.ts";
import type { JournalFigures } from "../../journal/writer.ts";
import { channelOfSlot, SLOT_LIQUIDATIONS, SLOT_TRADES, streamOf } from "../../market/channel.ts";
import { STATE_LIVE, STATE_QUIET, STATE_STALE, STATES } from "../../market/sink.ts";
import type { Handler } from "../http.ts";
import { json } from "../http.ts";
import type { Services } from "../services.ts";

/** Streams of a venue that are named in each state; all are counted. */
const MAX_NAMED_STREAMS = 20;

/** `GET /health`: the process answers. */
export function health(): Handler {
  return () => json({ status: "ok", service: "tickwire" });
}

/**
 * `GET /ready`: serving. A venue's outage does not make it fail, unless the venue was named by `--require`.
 * `?verbose` lists feeds, books, and streams that are quiet or stale.
 */
export function ready(services: Services, required: readonly string[], stopping: () => boolean): Handler {
  return ({ query }) => {
    const { engine, catalog } = services;
    const venues = engine.venues;
    const missing = required.filter(
      (name) => venues.find((venue) => venue.instrument.exchange === name)?.state !== STATE_LIVE,
    );
    const ok = missing.length === 0 && !stopping();
    const window = engine.window.seconds;
    const body: Record<string, unknown> = { status: ok ? "ready" : "not_ready", window_seconds: window };
    if (missing.length > 0) body.missing = missing;
    if (stopping()) body.stopping = true;
    const journal = services.journal();
    if (journal !== undefined) body.journal = describeJournal(journal);
    if (query.has("verbose")) {
      const books = engine.books.counts();
      const silent = silentStreams(engine);
      body.feeds = venues.map(({ instrument, state, reason, clock }) => ({
        exchange: instrument.exchange,
        state: STATES[state],
        reason,
        instruments_loaded: catalog.isLoaded(instrument),
        wild_timestamps: clock.wild,
        books: Object.fromEntries([...(books.get(instrument.id) ?? [])].map(([each, count]) => [STATES[each], count])),
        quiet: silent(instrument.id, STATE_QUIET),
        stale: silent(instrument.id, STATE_STALE),
      }));
    }
    return json(body, ok ? 200 : 503);
  };
}

function describeJournal({ state, written, synced, lag, lost, lastError }: JournalFigures): object {
  return { state, written, synced, lag, lost, ...(lastError === undefined ? {} : { last_error: lastError }) };
}

interface SilentStreams {
  count: number;
  /** The first of them, as `trades BTC/USDT`. */
  streams: string[];
}

/** Gathers the streams that are quiet or stale; the answer tells those of one venue in one state. */
function silentStreams({ catalog, states }: Engine): (venue: number, state: number) => SilentStreams {
  const found = new Map<string, SilentStreams>();
  for (const { id, symbol, venue } of catalog.all()) {
    if (symbol === "") continue;
    for (let slot = SLOT_TRADES; slot <= SLOT_LIQUIDATIONS; slot += 1) {
      const state = states.of(streamOf(id, slot));
      if (state !== STATE_QUIET && state !== STATE_STALE) continue;
      const key = `${venue} ${state}`;
      const these = found.get(key) ?? { count: 0, streams: [] };
      found.set(key, these);
      these.count += 1;
      if (these.streams.length < MAX_NAMED_STREAMS) these.streams.push(`${channelOfSlot(slot)} ${symbol}`);
    }
  }
  return (venue, state) => found.get(`${venue} ${state}`) ?? { count: 0, streams: [] };
}
