import { FrameView } from "../wire/generated/views.ts";
import { type FileHeader, KIND_FRAME, KIND_HEADER, readHeader } from "./format.ts";
import { RecordScanner, SCAN_END } from "./scanner.ts";
import type { Source } from "./source.ts";

/** Below this many bytes a place is found by reading on rather than by one more jump. */
const BISECT_BYTES = 256 * 1024;

/** One file of a journal, opened to read. */
export class SegmentReader {
  readonly scanner: RecordScanner;
  /** The frame that the scanner stands on; to be attached by `attachFrame`. */
  readonly frame = new FrameView();
  /** Undefined when it is damaged, or of a version that is not known. */
  readonly header: FileHeader | undefined;
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
    this.scanner = new RecordScanner(source);
    const { scanner } = this;
    const isHeader = scanner.next() === KIND_HEADER && scanner.offset === 0;
    this.header = isHeader ? readHeader(scanner.memory, scanner.at, scanner.length) : undefined;
    scanner.seek(0);
  }

  /** Points `frame` at the frame that the scanner stands on; false when it is none. */
  attachFrame(): boolean {
    const { memory, at } = this.scanner;
    return this.frame.attach(memory, at + memory.i32[at >> 2]);
  }

  /**
   * The place of a record before which every frame is one for which `isBefore` is true, and behind which few are. Frames
   * for which it is true must all come before the others.
   */
  find(isBefore: (frame: FrameView) => boolean): number {
    const { scanner } = this;
    let low = 0;
    let high = scanner.size;
    while (high - low > BISECT_BYTES) {
      const middle = low + (high - low) / 2;
      const found = this.#frameNear(middle, high);
      if (found >= 0 && isBefore(this.frame)) low = found;
      else high = middle;
    }
    return low;
  }

  /** When the first frame at or behind any place was committed, microseconds; 0 when there is none. */
  timeNear(offset: number): number {
    return this.#frameNear(offset, this.scanner.size) < 0 ? 0 : this.frame.tsPublish;
  }

  /** The place of the first frame between two places, at which the scanner then stands; -1 when there is none. */
  #frameNear(from: number, to: number): number {
    const { scanner } = this;
    scanner.seekNear(from);
    for (let kind = scanner.next(); kind !== SCAN_END && scanner.offset < to; kind = scanner.next()) {
      if (kind === KIND_FRAME && this.attachFrame()) return scanner.offset;
    }
    return -1;
  }

  close(): void {
    this.#source.close();
  }
}
