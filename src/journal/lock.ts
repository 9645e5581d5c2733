import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOCK_NAME = "journal.lock";
const MAX_ATTEMPTS = 10;

/** Another process, which lives, writes the directory. */
export class JournalLockedError extends Error {
  override readonly name = "JournalLockedError";
  readonly pid: number;

  constructor(directory: string, pid: number) {
    super(`${directory} is being written by process ${pid}`);
    this.pid = pid;
  }
}

/**
 * Holds a directory for one writer, by a file that names the process. It holds among processes of one machine that see
 * each other's numbers: not across machines or containers that share a directory.
 */
export class JournalLock {
  readonly #path: string;
  readonly #text: string;

  /** Throws JournalLockedError while another writer, or another one of this process, has the directory. */
  constructor(directory: string) {
    this.#path = join(directory, LOCK_NAME);
    this.#text = `${process.pid} ${startOf(process.pid)}\n`;
    for (let attempt = 0; !this.#create(); attempt += 1) {
      const held = read(this.#path);
      const [pid, start] = parse(held ?? "");
      // Whoever had it may let go of it meanwhile, but not for ever.
      if (attempt === MAX_ATTEMPTS) throw new JournalLockedError(directory, pid);
      if (held === undefined) continue;
      if (isAlive(pid, start)) throw new JournalLockedError(directory, pid);
      this.#removeStale(held, directory);
    }
  }

  /** Makes the file with all that it says at once, so that nobody ever reads half of it. */
  #create(): boolean {
    const aside = `${this.#path}.${process.pid}`;
    writeFileSync(aside, this.#text);
    try {
      linkSync(aside, this.#path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    } finally {
      rmSync(aside, { force: true });
    }
  }

  /** Takes the file of a dead process away; one that another starter put there meanwhile is put back. */
  #removeStale(held: string, directory: string): void {
    const aside = `${this.#path}.${process.pid}`;
    try {
      renameSync(this.#path, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    const taken = read(aside);
    try {
      if (taken !== held && taken !== undefined) {
        linkSync(aside, this.#path);
        throw new JournalLockedError(directory, parse(taken)[0]);
      }
    } finally {
      rmSync(aside, { force: true });
    }
  }

  release(): void {
    if (read(this.#path) === this.#text) rmSync(this.#path, { force: true });
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function parse(text: string): [pid: number, start: string] {
  const [pid = "", start = ""] = text.trim().split(" ");
  return [Number(pid), start];
}

function isAlive(pid: number, start: string): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A process of another user is one too.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  // The number may have been given to another process since, after a restart of a container nearly always.
  return startOf(pid) === start;
}

/** When a process started, as its system counts, where that can be told (Linux); else "". */
function startOf(pid: number): string {
  const boot = read("/proc/sys/kernel/random/boot_id")?.trim() ?? "";
  const stat = read(`/proc/${pid}/stat`) ?? "";
  // The command, in parentheses, may hold spaces; what follows it does not.
  const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return start === undefined ? "" : `${boot}:${start}`;
}
