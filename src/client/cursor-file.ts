import type { Cursor } from "./cursor.ts";
import { TickwireError } from "./errors.ts";

/** The file in which a program keeps where it stands, so that its own restart is exact. Node only. */
export class CursorFile {
  readonly #path: string;
  readonly #files: typeof import("node:fs");
  #saved = "";

  private constructor(path: string, files: typeof import("node:fs")) {
    this.#path = path;
    this.#files = files;
  }

  /** Opens it; throws a TickwireError where there are no files. */
  static async open(path: string): Promise<CursorFile> {
    try {
      return new CursorFile(path, await import("node:fs"));
    } catch (error) {
      throw new TickwireError("not_here", "a cursor file needs Node", { cause: error });
    }
  }

  /** What was saved; undefined when there is none, or it cannot be read: then everything begins now. */
  load(): Cursor | undefined {
    try {
      const { epoch, position, held } = JSON.parse(this.#files.readFileSync(this.#path, "utf8")) as Cursor;
      const isRight = Number.isSafeInteger(epoch) && Number.isSafeInteger(position) && typeof held === "object";
      return isRight ? { epoch, position, held } : undefined;
    } catch {
      return undefined;
    }
  }

  /** Writes where the program stands; a crash leaves the old file or the new one, whole. */
  save(cursor: Cursor): void {
    const text = JSON.stringify(cursor);
    if (text === this.#saved) return;
    const unfinished = `${this.#path}.tmp`;
    this.#files.writeFileSync(unfinished, text);
    this.#files.renameSync(unfinished, this.#path);
    this.#saved = text;
  }
}
