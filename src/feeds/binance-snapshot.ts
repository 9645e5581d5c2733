import type { Sink } from "../market/sink.ts";
import { FIRST_SEQUENCE, FLAG_INEXACT, LAST_SEQUENCE, PREVIOUS_SEQUENCE, TS_EXCHANGE } from "../market/sink.ts";
import { DecimalFields, fieldsOf, integerOf } from "./fields.ts";

/** Hands a whole book, as REST answers it, to the sink; false when it is malformed. The answer names no instrument. */
export function deliverSnapshot(sink: Sink, venue: number, instrument: number, answer: unknown): boolean {
  const { numbers, bids, asks } = sink.slot;
  const snapshot = fieldsOf(answer);
  const last = integerOf(snapshot?.lastUpdateId);
  if (snapshot === undefined || Number.isNaN(last)) return false;
  const decimals = new DecimalFields();
  if (!decimals.levels(snapshot.bids, bids) || !decimals.levels(snapshot.asks, asks)) return false;
  numbers[TS_EXCHANGE] = 0;
  numbers[FIRST_SEQUENCE] = 0;
  numbers[LAST_SEQUENCE] = last;
  numbers[PREVIOUS_SEQUENCE] = 0;
  sink.begin(venue);
  sink.bookSnapshot(instrument, decimals.inexact ? FLAG_INEXACT : 0);
  return true;
}
