import type { Instrument } from "../market/instrument.ts";
import type { FeedControl, VenueRules } from "../market/sink.ts";
import { STATE_SYNCING } from "../market/sink.ts";
import { VenueClock } from "./venue-clock.ts";

/** What the engine keeps of one venue. */
export class Venue {
  readonly instrument: Instrument;
  readonly rules: VenueRules;
  readonly control: FeedControl;
  readonly clock = new VenueClock();
  /** State of the connection. */
  state = STATE_SYNCING;
  reason = "not connected yet";

  constructor(instrument: Instrument, rules: VenueRules, control: FeedControl) {
    this.instrument = instrument;
    this.rules = rules;
    this.control = control;
  }
}
