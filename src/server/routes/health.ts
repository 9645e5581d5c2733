import { STATE_LIVE, STATES } from "../../market/sink.ts";
import type { Handler } from "../http.ts";
import { json } from "../http.ts";
import type { Services } from "../services.ts";

/** `GET /health`: the process answers. */
export function health(): Handler {
  return () => json({ status: "ok", service: "tickwire" });
}

/**
 * `GET /ready`: serving. A venue's outage does not make it fail, unless the venue was named by `--require`.
 * `?verbose` lists feeds and books.
 */
export function ready(services: Services, required: readonly string[], stopping: () => boolean): Handler {
  return ({ query }) => {
    const { engine, catalog } = services;
    const venues = engine.venues;
    const missing = required.filter(
      (name) => venues.find((venue) => venue.instrument.exchange === name)?.state !== STATE_LIVE,
    );
    const ok = missing.length === 0 && !stopping();
    const window = engine.frames.windowSeconds;
    const body: Record<string, unknown> = { status: ok ? "ready" : "not_ready", window_seconds: window };
    if (missing.length > 0) body.missing = missing;
    if (stopping()) body.stopping = true;
    if (query.has("verbose")) {
      const books = engine.books.counts();
      body.feeds = venues.map(({ instrument, state, reason, clock }) => ({
        exchange: instrument.exchange,
        state: STATES[state],
        reason,
        instruments_loaded: catalog.isLoaded(instrument),
        wild_timestamps: clock.wild,
        books: Object.fromEntries([...(books.get(instrument.id) ?? [])].map(([each, count]) => [STATES[each], count])),
      }));
    }
    return json(body, ok ? 200 : 503);
  };
}
