import type { Worker } from "node:worker_threads";
import type { FrameLog } from "../wire/frame-log.ts";
import { TURN_WORD } from "../wire/frame-log.ts";
import type { Mode } from "./format.ts";
import type { SyncPolicy } from "./journal.ts";
import type { OpenedJournal } from "./open.ts";
import { type JournalState, SharedStatus } from "./status.ts";
import { startThread } from "./thread.ts";
import { type JournalWork, STOP_WORD, WORK_NAME, WORKER_MODULE, type WorkerMessage } from "./worker.ts";

export interface JournalWriterOptions {
  /** What `openJournal` returned; its lock is the writer's from now on. */
  opened: OpenedJournal;
  log: FrameLog;
  mode: Mode;
  /** The server's time now, microseconds: the clock that frames get their ts_publish from. */
  now: number;
  /** Default `interval`. */
  sync?: SyncPolicy;
  /** For `interval`, milliseconds; default 1,000. */
  syncMs?: number;
  /** Bytes of all files, default 20 GB; the oldest go first. */
  maxBytes?: number;
  /** Age of a file, milliseconds; default no limit. */
  maxAgeMs?: number;
  /** Of gzip for closed files, 1 to 6, 0 for none; default 3. */
  compressionLevel?: number;
  /** Tells the directory's frames of all that is known now: at the start, and after a part of it was lost. */
  directory?: (out: (bytes: Uint8Array) => void) => void;
}

/** How the journal is doing. */
export interface JournalFigures {
  state: JournalState;
  /** The last position that survives a crash of the process, and of the machine; the latter 0 when nothing is synced. */
  written: number;
  synced: number;
  /** Frames that are committed and not written yet. */
  lag: number;
  files: number;
  bytes: number;
  /** Frames that the ring overwrote before they were copied, and the gap records that name them. */
  lost: number;
  gaps: number;
  errors: number;
  lastError: string | undefined;
}

/**
 * The journal as the main thread sees it. Another thread follows the ring and writes; this one only tells it, once a
 * turn, how far the ring has come. A disk that is full or slow never holds the server up.
 */
export class JournalWriter {
  readonly #log: FrameLog;
  readonly #opened: OpenedJournal;
  readonly #status = new SharedStatus();
  readonly #control = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #lastError: string | undefined;

  constructor(options: JournalWriterOptions) {
    const { opened, log, directory } = options;
    this.#opened = opened;
    this.#log = log;
    const tell = (): Uint8Array[] => {
      const frames: Uint8Array[] = [];
      directory?.((bytes) => frames.push(bytes.slice()));
      return frames;
    };
    log.publish();
    this.#worker = startThread(WORKER_MODULE, this.#work(options, tell()));
    this.#worker.on("message", (message: WorkerMessage) => {
      if ("error" in message) this.#lastError = message.error;
      else this.#worker.postMessage(tell());
    });
    this.#worker.on("error", (error) => {
      this.#lastError = error.message;
      this.#status.state = "failed";
    });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
  }

  #work(options: JournalWriterOptions, directory: Uint8Array[]): JournalWork {
    const { opened, log, mode, now } = options;
    const goesOn = opened.last?.epoch === log.epoch ? opened.last : undefined;
    return {
      work: WORK_NAME,
      log: log.shared,
      status: this.#status.buffer,
      control: this.#control.buffer as SharedArrayBuffer,
      options: {
        directory: opened.directory,
        mode,
        now,
        afterPosition: goesOn?.position ?? 0,
        openedAfter: opened.opened,
        sync: options.sync ?? "interval",
        syncMs: options.syncMs ?? 1000,
      },
      limits: {
        maxBytes: options.maxBytes ?? 20e9,
        maxAgeMicros: (options.maxAgeMs ?? Number.POSITIVE_INFINITY) * 1000,
        compressionLevel: options.compressionLevel ?? 3,
      },
      directory,
      sequences: [...(goesOn?.sequences ?? [])],
    };
  }

  /** Lets the journal have what was committed; to be called once a turn, at its end. */
  publish(): void {
    this.#log.publish();
  }

  get figures(): JournalFigures {
    const { state, written, synced, files, bytes, lost, gaps, errors } = this.#status;
    const lag = Math.max(0, this.#log.position - written);
    return { state, written, synced, lag, files, bytes, lost, gaps, errors, lastError: this.#lastError };
  }

  /**
   * Writes all that was committed and closes the journal; resolves when the directory is free again. The state is then
   * `closed`, or says why the journal does not count as closed cleanly.
   */
  async close(): Promise<void> {
    this.#log.publish();
    Atomics.store(this.#control, STOP_WORD, 1);
    Atomics.notify(new Int32Array(this.#log.shared.heads), TURN_WORD);
    await this.#exited;
    this.#opened.lock.release();
  }
}
