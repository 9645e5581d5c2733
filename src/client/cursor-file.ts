import { type Place, Places } from "./cursor-places.ts";
import { TickwireError } from "./errors.ts";

/** The file in which a program keeps where its subscriptions stand, so that its own restart is exact. Node only. */
export class CursorFile {
  readonly places: Places;
  readonly #path: string;
  readonly #files: typeof import("node:fs");
  #saved = "";

  private constructor(path: string, files: typeof import("node:fs")) {
    this.#path = path;
    this.#files = files;
    const { places, epochs } = this.#load();
    this.places = new Places(places, epochs);
  }

  /** Opens it; throws a TickwireError where there are no files. */
  static async open(path: string): Promise<CursorFile> {
    let files: typeof import("node:fs");
    try {
      files = await import("node:fs");
    } catch (error) {
      throw new TickwireError("not_here", "a cursor file needs Node", { cause: error });
    }
    return new CursorFile(path, files);
  }

  /** What was saved; none when there is no file, or it cannot be read: then everything begins now. */
  #load(): { places: Place[]; epochs: number[] } {
    try {
      const saved = JSON.parse(this.#files.readFileSync(this.#path, "utf8")) as Record<string, unknown>;
      // Before there were several, the file was one place, of the whole program.
      const places = Array.isArray(saved.places) ? (saved.places as unknown[]) : [{ asked: "", ...saved }];
      const epochs = Array.isArray(saved.epochs) ? saved.epochs.filter(Number.isSafeInteger) : [];
      return { places: places.filter(isPlace), epochs };
    } catch {
      return { places: [], epochs: [] };
    }
  }

  /** Writes where the program stands; a crash leaves the old file or the new one, whole. */
  save(): void {
    const places = this.places.now();
    const text = JSON.stringify({ epochs: this.places.epochsOf(places), places });
    if (text === this.#saved || (places.length === 0 && this.#saved === "")) return;
    const unfinished = `${this.#path}.tmp`;
    this.#files.writeFileSync(unfinished, text);
    this.#files.renameSync(unfinished, this.#path);
    this.#saved = text;
  }
}

function isPlace(value: unknown): value is Place {
  const { asked, epoch, position, held } = (value ?? {}) as Partial<Place>;
  const numbers: unknown[] = [epoch, position, ...Object.values(held ?? { none: undefined })];
  return typeof asked === "string" && numbers.every((each) => Number.isSafeInteger(each));
}
