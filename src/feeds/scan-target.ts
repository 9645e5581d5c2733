import type { Sink, Slot } from "../market/sink.ts";
import { wordAt } from "./scan.ts";

/** The slot that a scan fills, with the trade id's bytes as words too: copying them one by one takes a tenth of a scan. */
export class ScanTarget {
  readonly sink: Sink;
  readonly slot: Slot;
  readonly tradeIdWords: Int32Array;

  constructor(sink: Sink) {
    const { slot } = sink;
    this.sink = sink;
    this.slot = slot;
    this.tradeIdWords = new Int32Array(slot.tradeId.buffer, slot.tradeId.byteOffset, slot.tradeId.length >> 2);
  }
}

/** Hot path. Copies the digits of a trade's id, at most 16; what follows them in the fourth word is overwritten next. */
export function copyTradeId(start: number, end: number, slot: Slot, words: Int32Array): void {
  words[0] = wordAt(start);
  words[1] = wordAt(start + 4);
  words[2] = wordAt(start + 8);
  words[3] = wordAt(start + 12);
  slot.tradeIdLength = end - start;
}
