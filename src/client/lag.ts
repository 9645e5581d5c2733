/** Round trips that the offset of the clocks is estimated from: the shortest of them says most. */
const ROUND_TRIPS = 16;

/** How late things are, milliseconds; NaN while nothing is known. */
export interface Lag {
  /** From the venue's time of the newest event to when the gateway published it; clocks of two parties. */
  readonly venueMs: number;
  /** From when the gateway published the newest frame to when this program got it, by the gateway's clock. */
  readonly gatewayMs: number;
  /** What has to be added to this machine's clock to have the gateway's. */
  readonly offsetMs: number;
  /** The shortest of the last round trips: the offset is right to half of it. */
  readonly roundTripMs: number;
}

/**
 * Estimates the gateway's clock from round trips, as NTP does: of the last ones the shortest, whose middle is taken for
 * the moment at which the gateway answered. Times are microseconds. Fixed memory.
 */
export class LagMeter {
  readonly #trips = new Float64Array(ROUND_TRIPS).fill(Number.NaN);
  readonly #offsets = new Float64Array(ROUND_TRIPS);
  #next = 0;
  /** [venue's time, publish, receive] of the newest frame. */
  readonly #newest = new Float64Array(3).fill(Number.NaN);

  /** Takes an answer: when it was asked for and when it came by the own clock, and the gateway's time in it. */
  answered(askedAt: number, cameAt: number, serverTime: number): void {
    this.#trips[this.#next] = cameAt - askedAt;
    this.#offsets[this.#next] = serverTime - (askedAt + cameAt) / 2;
    this.#next = (this.#next + 1) % ROUND_TRIPS;
  }

  /** The clocks may be those of another gateway now. */
  forget(): void {
    this.#trips.fill(Number.NaN);
    this.#newest.fill(Number.NaN);
  }

  /** Notes a frame: the venue's time (0 for none), when it was published, when it came. */
  note(exchange: number, publish: number, cameAt: number): void {
    this.#newest[0] = exchange === 0 ? Number.NaN : exchange;
    this.#newest[1] = publish;
    this.#newest[2] = cameAt;
  }

  #shortest(): number {
    let shortest = -1;
    for (let trip = 0; trip < ROUND_TRIPS; trip += 1) {
      const micros = this.#trips[trip] as number;
      if (micros >= 0 && (shortest < 0 || micros < (this.#trips[shortest] as number))) shortest = trip;
    }
    return shortest;
  }

  /** Microseconds to be added to the own clock; 0 while nothing is known. */
  get offset(): number {
    const shortest = this.#shortest();
    return shortest < 0 ? 0 : (this.#offsets[shortest] as number);
  }

  get lag(): Lag {
    const shortest = this.#shortest();
    const offset = shortest < 0 ? Number.NaN : (this.#offsets[shortest] as number);
    const [venue, publish, came] = this.#newest as unknown as [number, number, number];
    return {
      venueMs: (publish - venue) / 1000,
      gatewayMs: (came + offset - publish) / 1000,
      offsetMs: offset / 1000,
      roundTripMs: shortest < 0 ? Number.NaN : (this.#trips[shortest] as number) / 1000,
    };
  }
}
