import { MAX_INSTRUMENTS, SLOT_BITS, SLOTS_PER_INSTRUMENT } from "../market/channel.ts";

/**
 * Which streams have delivered something since they were asked for: a misspelled or forgotten stream is answered by
 * silence, on a connection that is alive. One bit per (instrument, slot), marked on the hot path.
 */
export class StartedStreams {
  readonly #bits = new Uint8Array(MAX_INSTRUMENTS);

  mark(instrument: number, slot: number): void {
    this.#bits[instrument] = (this.#bits[instrument] as number) | (1 << slot);
  }

  has(stream: number): boolean {
    return ((this.#bits[stream >>> SLOT_BITS] as number) & (1 << (stream & (SLOTS_PER_INSTRUMENT - 1)))) !== 0;
  }

  clear(stream: number): void {
    this.#bits[stream >>> SLOT_BITS] =
      (this.#bits[stream >>> SLOT_BITS] as number) & ~(1 << (stream & (SLOTS_PER_INSTRUMENT - 1)));
  }
}
