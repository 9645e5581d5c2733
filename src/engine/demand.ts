import type { Channel } from "../market/channel.ts";
import { CHANNELS } from "../market/channel.ts";
import type { Instrument } from "../market/instrument.ts";

/** The upstream channels: what is subscribed to at a venue; the rest is made from them. */
export type UpstreamChannel = Exclude<Channel, "bars" | "indicators">;

export interface DemandOptions {
  /** How long a venue subscription outlives the last client that wanted it, milliseconds. */
  graceMs: number;
  /** Starts a timer and returns what cancels it. */
  after(ms: number, action: () => void): () => void;
  open(instrument: Instrument, channel: UpstreamChannel): void;
  close(instrument: Instrument, channel: UpstreamChannel): void;
  /** Whether quotes of this instrument come from its book. */
  quotesFromBook(instrument: Instrument): boolean;
}

/**
 * Counts who wants what, per instrument and channel, so that however many clients ask, one venue subscription exists.
 * It goes away, after a grace period, with the last of them: a client that reconnects finds the stream still warm.
 */
export class Demand {
  readonly #options: DemandOptions;
  /** By instrument * channels + channel. */
  readonly #wanted = new Map<number, number>();
  readonly #ending = new Map<number, () => void>();
  #stopped = false;

  constructor(options: DemandOptions) {
    this.#options = options;
  }

  /** What must be subscribed to at the venue to serve a channel. */
  upstreamOf(instrument: Instrument, channel: Channel): UpstreamChannel {
    if (channel === "bars" || channel === "indicators") return "trades";
    if (channel === "quotes" && this.#options.quotesFromBook(instrument)) return "orderbook";
    return channel;
  }

  add(instrument: Instrument, channel: Channel): void {
    const upstream = this.upstreamOf(instrument, channel);
    const key = keyOf(instrument, upstream);
    const count = this.#wanted.get(key) ?? 0;
    this.#wanted.set(key, count + 1);
    if (count > 0) return;
    const cancel = this.#ending.get(key);
    if (cancel === undefined) return this.#options.open(instrument, upstream);
    cancel();
    this.#ending.delete(key);
  }

  remove(instrument: Instrument, channel: Channel): void {
    const upstream = this.upstreamOf(instrument, channel);
    const key = keyOf(instrument, upstream);
    const count = this.#wanted.get(key) ?? 0;
    if (count > 1) {
      this.#wanted.set(key, count - 1);
      return;
    }
    if (!this.#wanted.delete(key) || this.#stopped) return;
    const cancel = this.#options.after(this.#options.graceMs, () => {
      this.#ending.delete(key);
      this.#options.close(instrument, upstream);
    });
    this.#ending.set(key, cancel);
  }

  /** Ends every grace period without a word to the venue: its connection goes, or is gone. */
  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#ending.values()) cancel();
    this.#ending.clear();
  }

  /** Upstream subscriptions that somebody wants, and those in their grace period. */
  get counts(): { wanted: number; ending: number } {
    return { wanted: this.#wanted.size, ending: this.#ending.size };
  }
}

function keyOf(instrument: Instrument, channel: Channel): number {
  return instrument.id * CHANNELS.length + CHANNELS.indexOf(channel);
}
