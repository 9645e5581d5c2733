import { randomInt } from "node:crypto";
import { isMainThread, type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { SystemClock } from "../std/clock.ts";
import { LogView, type SharedLog, TURN_WORD } from "../wire/frame-log.ts";
import { systemFiles } from "./files.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { Keeper, type KeeperLimits } from "./keeper.ts";
import { SharedStatus } from "./status.ts";

/**
 * The module that the writer's thread runs. In the bundle that is the bundle itself: a thread that is started with
 * `JournalWork` as its data becomes the journal's, whatever else the file holds. So the entry must do nothing when it is
 * merely loaded, as src/cli.ts does nothing until `run` is called.
 */
export const WORKER_MODULE = import.meta.url;

/** Says whose thread it is. */
export const WORK_NAME = "tickwire-journal";

/** Longest sleep without a turn of the main thread, milliseconds; what was published must not wait for longer. */
const WAIT_MS = 25;
/** Words of `JournalWork.control`. */
export const STOP_WORD = 0;

export interface JournalWork {
  work: typeof WORK_NAME;
  log: SharedLog;
  status: SharedArrayBuffer;
  control: SharedArrayBuffer;
  options: JournalOptions;
  limits: KeeperLimits;
  directory: Uint8Array[];
  sequences: [stream: number, sequence: number][];
}

/** What the thread says: an error that it met, or that it wants the directory anew, as it lost a part. */
export type WorkerMessage = { error: string } | { wants: "directory" };

function run(work: JournalWork, port: MessagePort): void {
  const view = new LogView(work.log);
  const status = new SharedStatus(work.status);
  const control = new Int32Array(work.control);
  const clock = new SystemClock();
  const say = (message: WorkerMessage) => port.postMessage(message);
  const onError = (error: Error) => say({ error: error.message });
  const journal = new Journal(view, status, work.options, {
    files: systemFiles,
    clock,
    random: () => randomInt(2 ** 32) / 2 ** 32,
    onError,
    onDirectoryLost: () => say({ wants: "directory" }),
  });
  journal.learn(work.directory, work.sequences);
  const keeper = new Keeper(systemFiles, work.options.directory, work.limits, clock, status, onError);
  while (Atomics.load(control, STOP_WORD) === 0) {
    const turn = view.refresh();
    for (let told = receiveMessageOnPort(port); told; told = receiveMessageOnPort(port)) journal.learn(told.message);
    journal.step();
    const isBusy = keeper.step(journal.current);
    Atomics.wait(view.words, TURN_WORD, turn, isBusy ? 0 : WAIT_MS);
  }
  keeper.stop();
  journal.close();
}

const work = workerData as Partial<JournalWork> | null;
// Later, so that all of the bundle has been evaluated.
if (!isMainThread && parentPort && work?.work === WORK_NAME) setImmediate(run, work as JournalWork, parentPort);
