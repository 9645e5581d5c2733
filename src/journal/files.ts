import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { parseName } from "./format.ts";

/** What the journal asks of a file system, so that a test can have one whose disk is full. Errors are Node's own. */
export interface Files {
  makeDirectory(path: string): void;
  list(directory: string): string[];
  /** Opens to read (`r`), to read and write what is there (`r+`), or a new file that must not be there yet (`wx+`). */
  open(path: string, how: "r" | "r+" | "wx+"): number;
  close(file: number): void;
  bytesOf(file: number): number;
  /** Reads into all of `into` as far as the file goes; returns the bytes read. */
  read(file: number, into: Uint8Array, at: number): number;
  /** Writes at `at`; returns the bytes written, which may be fewer than given. */
  write(file: number, bytes: Uint8Array, at: number): number;
  truncate(file: number, bytes: number): void;
  sync(file: number): void;
  /** Makes the names of a directory durable. */
  syncDirectory(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  sizeOf(path: string): number;
}

export const systemFiles: Files = {
  makeDirectory: (path) => mkdirSync(path, { recursive: true }),
  list: (directory) => readdirSync(directory),
  open: (path, how) => openSync(path, how),
  close: (file) => closeSync(file),
  bytesOf: (file) => fstatSync(file).size,
  read: (file, into, at) => {
    let done = 0;
    while (done < into.length) {
      const bytes = readSync(file, into, done, into.length - done, at + done);
      if (bytes === 0) break;
      done += bytes;
    }
    return done;
  },
  write: (file, bytes, at) => writeSync(file, bytes, 0, bytes.length, at),
  truncate: (file, bytes) => ftruncateSync(file, bytes),
  sync: (file) => fsyncSync(file),
  syncDirectory: (path) => {
    const directory = openSync(path, "r");
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  },
  rename: (from, to) => renameSync(from, to),
  remove: (path) => rmSync(path, { force: true }),
  sizeOf: (path) => statSync(path).size,
};

/** Writes all of `bytes` at `at`; throws what the file system throws, the file then holding a part of them. */
export function writeAll(files: Files, file: number, bytes: Uint8Array, at: number): void {
  let done = 0;
  while (done < bytes.length) done += files.write(file, bytes.subarray(done), at + done);
}

/** Bytes that are given up when they cannot be read: what a disk calls a block. */
const BLOCK_BYTES = 4096;

/** Reads like `files.read`, but for blocks that the disk refuses: these read as zeros, and `refused` is called. */
export function readWhatCan(
  files: Files,
  file: number,
  into: Uint8Array,
  at: number,
  refused: (error: Error) => void,
): number {
  try {
    return files.read(file, into, at);
  } catch (error) {
    refused(error as Error);
  }
  for (let from = 0; from < into.length; from += BLOCK_BYTES) {
    const block = into.subarray(from, from + BLOCK_BYTES).fill(0);
    try {
      if (files.read(file, block, at + from) < block.length) break;
    } catch {
      block.fill(0);
    }
  }
  return Math.max(0, Math.min(into.length, files.bytesOf(file) - at));
}

/** One file of a journal. */
export interface JournalFile {
  /** The name before compression: what the file is called in reports. */
  name: string;
  path: string;
  compressed: boolean;
  /** The time in the name, microseconds. */
  opened: number;
}

/** The files of a journal, in the order in which they were opened. */
export function journalFiles(files: Files, directory: string): JournalFile[] {
  const found = new Map<string, JournalFile>();
  for (const file of files.list(directory)) {
    const parsed = parseName(file);
    if (parsed === undefined) continue;
    // Both are there when a compression was cut short before its last step: the original counts.
    if (parsed.compressed && found.has(parsed.name)) continue;
    found.set(parsed.name, { ...parsed, path: join(directory, file) });
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
