import type { FrameView } from "../wire/generated/views.ts";
import { PAYLOAD_BOOK_LEVELS, PAYLOAD_STREAM_STATE } from "../wire/generated/views.ts";
import { Emitter } from "./emitter.ts";
import { TickwireError } from "./errors.ts";
import { LocalBook } from "./local-book.ts";
import type { Unavailable } from "./message.ts";
import type { Gap, InstrumentName, Receiver, StreamInfo } from "./receiver.ts";
import type { Attached, Session } from "./session.ts";
import { type GapEvent, gapEvent } from "./subscription.ts";
import type { ClientParts, Tickwire } from "./tickwire.ts";

export interface BooksOptions {
  symbols: string | readonly string[];
  exchanges?: string | readonly string[];
  /** "full" (default) is the whole book; a number the next tier of 5, 20 or 100 levels that has as many. */
  depth?: number | "full";
  /** A book whose changes take longer from the gateway to here is `lagging`, not live; default: any are taken. */
  maxLagMs?: number;
  /** How long it is waited for books whose venue may be away, milliseconds; default 10,000, of a journal 0. Their state says the rest. */
  waitMs?: number;
}

const WAIT_MS = 10_000;

/** What happens to books. */
export interface BooksEvents {
  /** One event of the venue was applied, or the book's state changed. */
  change: LocalBook;
  gap: GapEvent;
}

/** Local order books of many instruments. */
export class Books implements Receiver {
  readonly #emitter: Emitter<BooksEvents>;
  readonly #books = new Map<InstrumentName, LocalBook>();
  readonly #parts: ClientParts;
  readonly #maxLagMs: number;
  readonly #waiting = new Set<() => void>();
  #session: Session | undefined;
  #attached: Attached | undefined;

  private constructor(parts: ClientParts, maxLagMs: number) {
    this.#parts = parts;
    this.#maxLagMs = maxLagMs;
    this.#emitter = new Emitter(parts.onThrow);
  }

  /** Resolves once every book is live, or is known not to be, or was waited for long enough; throws a TickwireError. */
  static async open(client: Tickwire, options: BooksOptions, parts: ClientParts): Promise<Books> {
    const { symbols, exchanges, depth = "full", maxLagMs = Number.POSITIVE_INFINITY } = options;
    const { waitMs = parts.isJournal ? 0 : WAIT_MS } = options;
    for (const [name, value] of Object.entries({ maxLagMs, waitMs })) {
      if (!(value >= 0)) throw new TickwireError("bad_option", `${name} is a number from 0, not ${String(value)}`);
    }
    const books = new Books(parts, maxLagMs);
    const spec = { channels: "orderbook", symbols, depth, ...(exchanges === undefined ? {} : { exchanges }) };
    const { session, attached } = await client.attach(spec, books);
    books.#session = session;
    books.#attached = attached;
    for (const info of attached.streams) books.#of(info);
    if (waitMs > 0) await books.#settled(waitMs);
    return books;
  }

  #of({ instrument }: StreamInfo): LocalBook {
    let book = this.#books.get(instrument);
    if (book === undefined) {
      const { clock, lag } = this.#parts;
      book = new LocalBook(instrument, this.#maxLagMs, () => clock.now() + lag.offset);
      this.#books.set(instrument, book);
    }
    return book;
  }

  /** Resolves when no book is at its beginning any more, and at the latest after a while. */
  #settled(waitMs: number): Promise<void> {
    const { timers, onEnd } = this.#parts;
    return new Promise((resolve) => {
      const stop = () => {
        this.#waiting.delete(look);
        timers.clearTimeout(timer);
        off();
        resolve();
      };
      const look = () => {
        if (!this.all.some(({ state }) => state === "syncing" || state === "unknown")) stop();
      };
      const timer = waitMs === Number.POSITIVE_INFINITY ? undefined : timers.setTimeout(stop, waitMs);
      this.#waiting.add(look);
      const off = onEnd(stop);
      look();
    });
  }

  get all(): LocalBook[] {
    return [...this.#books.values()];
  }

  /** The book of an instrument, by the names that the client gives; undefined when it was not asked for. */
  get(exchange: string, symbol: string): LocalBook | undefined {
    return this.all.find((book) => book.exchange === exchange && book.symbol === symbol);
  }

  /** What the server that is connected to has not got, with a code why. */
  get unavailable(): readonly Unavailable[] {
    return this.#attached?.unavailable ?? [];
  }

  on<Name extends keyof BooksEvents>(name: Name, handler: (event: BooksEvents[Name]) => void): () => void {
    return this.#emitter.on(name, handler);
  }

  off<Name extends keyof BooksEvents>(name: Name, handler: (event: BooksEvents[Name]) => void): void {
    this.#emitter.off(name, handler);
  }

  /** Hot path. */
  frame(frame: FrameView, info: StreamInfo): void {
    const book = this.#books.get(info.instrument) ?? this.#of(info);
    const { payloadType } = frame;
    const isEvent =
      payloadType === PAYLOAD_BOOK_LEVELS
        ? book.takeLevels(frame)
        : payloadType === PAYLOAD_STREAM_STATE && book.takeState(frame);
    if (isEvent) this.#changed(book);
  }

  #changed(book: LocalBook): void {
    this.#emitter.emit("change", book);
    if (this.#waiting.size > 0) for (const look of this.#waiting) look();
  }

  gap(gap: Gap): void {
    const book = this.#of(gap.stream);
    book.lose("gap", gap.reason);
    this.#changed(book);
    const event = gapEvent(gap);
    this.#emitter.emit("gap", event);
    this.#parts.gap(event);
  }

  disconnected(reason: string): void {
    for (const book of this.all) {
      book.disconnect(reason);
      this.#changed(book);
    }
  }

  connected(anew: boolean): void {
    if (!anew) return;
    for (const book of this.all) {
      const refused = this.unavailable.find((each) => each.exchange === book.exchange && each.symbol === book.symbol);
      if (refused === undefined) book.lose("syncing", "another server");
      else book.lose("unknown", refused.code);
    }
  }

  level(): void {
    for (const book of this.all) {
      const before = book.state;
      book.level();
      if (book.state !== before) this.#changed(book);
    }
  }

  async close(): Promise<void> {
    if (this.#attached !== undefined) this.#session?.detach(this.#attached.id);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
