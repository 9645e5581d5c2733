import { DIRECTORY_STREAM } from "../market/channel.ts";
import { type Files, type JournalFile, journalFiles, systemFiles } from "./files.ts";
import { Known } from "./known.ts";
import { type JournalFrame, JournalReader } from "./reader.ts";
import { SegmentReader } from "./segment-reader.ts";
import { openSource } from "./source.ts";

/** Where the last so many bytes of a journal begin. */
interface TailStart {
  files: readonly JournalFile[];
  /** The first frame's time; 0 when all of the files is wanted. */
  fromTime: number;
}

/** The end of a journal: what a server that starts again was doing when it ended. */
export class Tail {
  /** The directory as it was at the end of what was read. */
  readonly known = new Known();
  readonly #directory: string;
  readonly #files: Files;
  readonly #bytes: number;

  constructor(directory: string, bytes: number, files: Files = systemFiles) {
    this.#directory = directory;
    this.#bytes = bytes;
    this.#files = files;
  }

  /** Yields the newest frames, of some `bytes` together, over all epochs; directory frames first, and as they came. */
  *frames(): IterableIterator<JournalFrame> {
    const { files, fromTime } = this.#start();
    const reader = new JournalReader(this.#directory, this.#files);
    for (const frame of reader.frames({ files, fromTime, copies: true })) {
      if (frame.stream === DIRECTORY_STREAM) this.known.learn(frame.memory, frame.at, frame.length);
      yield frame;
    }
  }

  #start(): TailStart {
    const all = journalFiles(this.#files, this.#directory);
    let left = this.#bytes;
    for (let index = all.length - 1; index >= 0; index -= 1) {
      const source = openSource(this.#files, all[index] as JournalFile);
      if (source === undefined) continue;
      const segment = new SegmentReader(source);
      const { size } = source;
      const fromTime = size > left ? segment.timeNear(size - left) : 0;
      segment.close();
      if (size > left) return { files: all.slice(index), fromTime };
      left -= size;
    }
    return { files: all, fromTime: 0 };
  }
}
