import { DIRECTORY_STREAM } from "../market/channel.ts";
import type { FrameView } from "../wire/generated/views.ts";
import { scratchMemory } from "../wire/memory.ts";
import { GAP_CAUSES, KIND_DIRECTORY, KIND_END, KIND_FRAME, KIND_GAP } from "./format.ts";
import type { Progress } from "./progress.ts";
import type { JournalFrame, ReadOptions } from "./reader.ts";
import { SCAN_DAMAGE, SCAN_END } from "./scanner.ts";
import type { SegmentReader } from "./segment-reader.ts";

/** The reading of one file. */
export class FileRead {
  readonly #name: string;
  readonly #segment: SegmentReader;
  readonly #options: ReadOptions;
  readonly #progress: Progress;

  constructor(name: string, segment: SegmentReader, options: ReadOptions, progress: Progress) {
    this.#name = name;
    this.#segment = segment;
    this.#options = options;
    this.#progress = progress;
  }

  *frames(): IterableIterator<JournalFrame> {
    const { scanner, header } = this.#segment;
    const start = this.#start();
    if (this.#options.copies === true && this.#hasWanted(start)) yield* this.#copies(start);
    scanner.seek(start);
    this.#progress.begin(this.#name, header, start > 0);
    const frame = new StoredFrame();
    for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
      if (kind === SCAN_DAMAGE) this.#damaged();
      else if (kind === KIND_GAP) this.#gap();
      else if (kind === KIND_END) this.#reach(this.#epoch, this.#number(0) + 1, this.#number(0));
      else if (kind === KIND_FRAME && this.#segment.attachFrame()) {
        const { position, epoch, tsPublish } = this.#segment.frame;
        const isRepeated = epoch === this.#progress.epoch && position <= this.#progress.reached;
        this.#reach(epoch, position, position);
        if (position > (this.#options.toPosition ?? position) || tsPublish > (this.#options.toTime ?? tsPublish))
          return;
        if (isRepeated) continue;
        if (this.#isWanted(this.#segment.frame)) yield frame.over(this.#segment, false);
        else if (this.#isDirectory) yield frame.over(this.#segment, true);
      }
    }
  }

  /** Where in the file what is wanted begins; 0 when it is read whole. */
  #start(): number {
    const { fromPosition = 0, fromTime = 0 } = this.#options;
    if (fromPosition === 0 && fromTime === 0) return 0;
    return this.#segment.find((frame) => frame.position < fromPosition || frame.tsPublish < fromTime);
  }

  /** True when a frame behind `start` may be wanted; what the file knows of the directory is needed only then. */
  #hasWanted(start: number): boolean {
    const { scanner } = this.#segment;
    const { fromPosition = 0, fromTime = 0 } = this.#options;
    scanner.seek(start);
    for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
      if (kind !== KIND_FRAME || !this.#segment.attachFrame()) continue;
      const { position, tsPublish } = this.#segment.frame;
      if (position >= fromPosition && tsPublish >= fromTime) return true;
    }
    return false;
  }

  #isWanted(frame: FrameView): boolean {
    const { epoch = frame.epoch, fromPosition = 0, fromTime = 0, streams } = this.#options;
    if (frame.epoch !== epoch || frame.position < fromPosition || frame.tsPublish < fromTime) return false;
    return streams === undefined || streams(frame.stream);
  }

  /** True when the directory is asked for and the scanner stands on a frame of it. */
  get #isDirectory(): boolean {
    return this.#options.copies === true && this.#segment.frame.stream === DIRECTORY_STREAM;
  }

  /** The directory as it was at `end`: that of the file's opening, and what was told of it between the two. */
  *#copies(end: number): IterableIterator<JournalFrame> {
    const { scanner } = this.#segment;
    const frame = new StoredFrame();
    scanner.seek(0);
    for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
      const isCopy = kind === KIND_DIRECTORY;
      if (!isCopy && scanner.offset >= end && kind === KIND_FRAME) break;
      if ((!isCopy && kind !== KIND_FRAME) || !this.#segment.attachFrame()) continue;
      if (isCopy || this.#isDirectory) yield frame.over(this.#segment, true);
    }
  }

  get #epoch(): number {
    return this.#segment.header?.epoch ?? this.#progress.epoch;
  }

  #number(index: number): number {
    const { memory, at } = this.#segment.scanner;
    return memory.f64[(at >> 3) + index] as number;
  }

  #reach(epoch: number, from: number, to: number): void {
    this.#progress.reach(this.#name, this.#segment.scanner.offset, epoch, from, to);
  }

  #gap(): void {
    const [from, to, cause] = [this.#number(0), this.#number(1), this.#number(2)];
    this.#reach(this.#epoch, from, to);
    const { epoch = this.#epoch, fromPosition = from, toPosition = to } = this.#options;
    if (epoch !== this.#epoch || to < fromPosition || from > toPosition) return;
    this.#options.onGap?.({ file: this.#name, epoch, from, to, cause: GAP_CAUSES[cause] ?? "lapped" });
  }

  #damaged(): void {
    const { offset, bytes, size } = this.#segment.scanner;
    const atEnd = offset + bytes >= size;
    this.#progress.damaged({ file: this.#name, offset, length: bytes, from: 1, to: 0, atEnd });
  }
}

const NOTHING = scratchMemory(8);

class StoredFrame implements JournalFrame {
  epoch = 0;
  position = 0;
  sequence = 0;
  stream = 0;
  time = 0;
  memory = NOTHING;
  at = 0;
  length = 0;
  copy = false;

  get bytes(): Uint8Array {
    return this.memory.u8.subarray(this.at, this.at + this.length);
  }

  /** The frame that the segment stands on. */
  over({ scanner, frame }: SegmentReader, copy: boolean): this {
    this.epoch = frame.epoch;
    this.position = frame.position;
    this.sequence = frame.seq;
    this.stream = frame.stream;
    this.time = frame.tsPublish;
    this.memory = scanner.memory;
    this.at = scanner.at;
    this.length = scanner.length;
    this.copy = copy;
    return this;
  }
}
