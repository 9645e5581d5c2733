import {
  GAP_CAUSES,
  KIND_DIRECTORY,
  KIND_END,
  KIND_FRAME,
  KIND_GAP,
  KIND_HEADER,
  KIND_SEQUENCES,
  readHeader,
} from "./format.ts";
import { isFrame } from "./frame-check.ts";
import { SCAN_DAMAGE, SCAN_END } from "./scanner.ts";
import type { SegmentReader } from "./segment-reader.ts";
import type { FileReport, JournalReport, ProblemKind } from "./verify.ts";

/** The check of one journal, file after file, oldest first. */
export class Verification {
  readonly report: JournalReport = { files: [], frames: 0, problems: [], gaps: [] };
  #file: FileReport | undefined;
  #before: FileReport | undefined;
  #segment: SegmentReader | undefined;
  /** The epoch, and the last position of it that a frame or a gap told of; -1 when not known. */
  #epoch = -1;
  #position = -1;
  readonly #sequences = new Map<number, number>();
  /** Streams that have had a frame since the last break: a gap, a hole, damage. Only the others may jump. */
  readonly #joined = new Set<number>();
  /** True while there was no break since the epoch began: then no stream may jump. */
  #isWhole = false;

  begin(file: FileReport): void {
    this.#before = this.#file;
    this.#file = file;
    this.report.files.push(file);
  }

  unreadable(): void {
    this.#break();
    this.#problem("unreadable", 0, 0, "cannot be opened");
  }

  read(segment: SegmentReader): void {
    this.#segment = segment;
    const { scanner } = segment;
    for (let kind = scanner.next(); kind !== SCAN_END; kind = scanner.next()) {
      if (this.#file?.end !== "open") this.#here("misplaced", "follows the end");
      switch (kind) {
        case SCAN_DAMAGE:
          this.#break();
          this.#here("damaged", "no whole record");
          break;
        case KIND_HEADER:
          this.#header();
          break;
        case KIND_DIRECTORY:
          if (!this.#isFrame()) this.#here("frame", "a directory record is no frame");
          break;
        case KIND_SEQUENCES:
          this.#readSequences();
          break;
        case KIND_FRAME:
          this.#frame();
          break;
        case KIND_GAP:
          this.#gap();
          break;
        case KIND_END:
          this.#end();
          break;
        default:
          this.#here("misplaced", `kind ${kind} is not known`);
      }
    }
    if (scanner.size === 0) this.#here("damaged", "an empty file");
  }

  #problem(kind: ProblemKind, offset: number, length: number, text: string): void {
    this.report.problems.push({ kind, file: this.#file?.name ?? "", offset, length, text });
  }

  /** Something is wrong where the scanner stands. */
  #here(kind: ProblemKind, text: string): void {
    const { offset = 0, bytes = 0 } = this.#segment?.scanner ?? {};
    this.#problem(kind, offset, bytes, text);
  }

  #number(index: number): number {
    const { scanner } = this.#segment as SegmentReader;
    return scanner.memory.f64[(scanner.at >> 3) + index] as number;
  }

  #isFrame(): boolean {
    const segment = this.#segment as SegmentReader;
    const { memory, at, length } = segment.scanner;
    return isFrame(memory, at, length) && segment.attachFrame();
  }

  #header(): void {
    const { scanner } = this.#segment as SegmentReader;
    const header = readHeader(scanner.memory, scanner.at, scanner.length);
    const file = this.#file as FileReport;
    if (header === undefined) return this.#here("misplaced", "the header is of another version");
    if (scanner.offset !== 0) return this.#here("misplaced", "a header is a file's first record");
    file.epoch = header.epoch;
    if (header.epoch !== this.#epoch) this.#start(header.epoch, header.firstPosition - 1);
    else {
      if (this.#before?.end === "open") this.#here("unended", `${this.#before.name} has no end`);
      if (header.firstPosition <= this.#position) this.#here("misplaced", `position ${header.firstPosition} once more`);
      this.#reach(header.firstPosition, header.firstPosition - 1);
    }
  }

  #start(epoch: number, position: number): void {
    this.#epoch = epoch;
    this.#position = position;
    this.#sequences.clear();
    this.#joined.clear();
    this.#isWhole = position === 0;
  }

  #break(): void {
    this.#joined.clear();
    this.#isWhole = false;
  }

  #isBound(stream: number): boolean {
    return this.#isWhole || this.#joined.has(stream);
  }

  /** The last sequences that the writer knew before the file's first frame. */
  #readSequences(): void {
    const count = (this.#segment as SegmentReader).scanner.length / 8;
    for (let index = 1; index + 1 < count; index += 2) {
      const stream = this.#number(index);
      const sequence = this.#number(index + 1);
      const last = this.#sequences.get(stream) ?? 0;
      if (this.#isBound(stream) && last !== sequence) {
        this.#here("sequence", `stream ${stream}: ${sequence} at the opening, ${last} before it`);
      }
      this.#sequences.set(stream, sequence);
    }
  }

  #frame(): void {
    if (!this.#isFrame()) return this.#here("frame", "a record is no frame");
    const { epoch, position, stream, seq } = (this.#segment as SegmentReader).frame;
    const file = this.#file as FileReport;
    // Where the header is damaged, the first frame says which epoch it is.
    if (epoch !== this.#epoch && file.epoch < 0) this.#start(epoch, position - 1);
    if (epoch !== this.#epoch) return this.#here("misplaced", `a frame of epoch ${epoch}`);
    if (this.#position >= 0 && position <= this.#position) this.#here("misplaced", `position ${position} once more`);
    this.#reach(position, position);
    this.#checkSequence(stream, seq);
    this.report.frames += 1;
    file.frames += 1;
    file.from ||= position;
    file.to = position;
  }

  #checkSequence(stream: number, sequence: number): void {
    const last = this.#sequences.get(stream) ?? 0;
    const isNext = sequence === last + 1 || (!this.#isBound(stream) && sequence > last);
    if (!isNext) this.#here("sequence", `stream ${stream}: ${sequence} after ${last}`);
    this.#sequences.set(stream, sequence);
    this.#joined.add(stream);
  }

  #gap(): void {
    const [from, to] = [this.#number(0), this.#number(1)];
    this.#reach(from, to);
    this.#break();
    const cause = GAP_CAUSES[this.#number(2)] ?? "lapped";
    this.report.gaps.push({ file: this.#file?.name ?? "", epoch: this.#epoch, from, to, cause });
  }

  #end(): void {
    const position = this.#number(0);
    this.#reach(position + 1, position);
    (this.#file as FileReport).end = this.#number(2) === 1 ? "closed" : "continued";
  }

  /** What comes next begins with position `from` and brings us to `to`. */
  #reach(from: number, to: number): void {
    if (this.#position >= 0 && from > this.#position + 1) {
      this.#here("hole", `positions ${this.#position + 1} to ${from - 1} are missing`);
      this.#break();
    }
    this.#position = to;
  }
}
