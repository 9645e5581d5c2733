import type { Engine } from "../engine/engine.ts";
import { CHANNELS, SLOT_ORDERBOOK, SLOT_TICKER, SLOT_TRADES, slotOf, streamOf } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";
import { STATES } from "../market/sink.ts";
import type { MetricSet } from "./metric-set.ts";

/**
 * Series of single instruments, only of those symbols that were asked for: ten thousand instruments would be more
 * series than a Prometheus server likes.
 */
export function defineSymbolMetrics(set: MetricSet, engine: Engine, symbols: readonly string[]): void {
  if (symbols.length === 0) return;
  const wanted = () => wantedOf(engine, symbols);
  const labels = ["exchange", "symbol", "channel"];
  set.counter("tickwire_symbol_frames_total", "Ring frames of a stream of --metrics-symbols", labels, (add) => {
    for (const { id, exchange, symbol } of wanted()) {
      for (const channel of CHANNELS.slice(0, SLOT_TICKER)) {
        const sequence = engine.frames.sequence(streamOf(id, slotOf(channel)));
        if (sequence > 0) add(sequence, exchange, symbol, channel);
      }
    }
  });
  set.gauge(
    "tickwire_symbol_state",
    "1 for the state that a stream of --metrics-symbols is in",
    [...labels, "state"],
    (add) => {
      for (const { id, exchange, symbol } of wanted()) {
        for (let slot = SLOT_TRADES; slot <= SLOT_TICKER; slot += 1) {
          const state = engine.states.of(streamOf(id, slot));
          if (state !== 0) add(1, exchange, symbol, CHANNELS[slot - 1] as string, STATES[state] as string);
        }
      }
    },
  );
  set.gauge(
    "tickwire_symbol_book_levels",
    "Levels of a book of --metrics-symbols",
    ["exchange", "symbol", "side"],
    (add) => {
      for (const { id, exchange, symbol } of wanted()) {
        const book = engine.books.get(id);
        if (book === undefined || engine.states.of(streamOf(id, SLOT_ORDERBOOK)) === 0) continue;
        add(book.bids.count, exchange, symbol, "bid");
        add(book.asks.count, exchange, symbol, "ask");
      }
    },
  );
}

function wantedOf(engine: Engine, symbols: readonly string[]): Instrument[] {
  return [...engine.catalog.all()].filter(({ symbol }) => symbol !== "" && symbols.includes(symbol.toUpperCase()));
}
