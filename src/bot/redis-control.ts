import { systemTimers, type Timers } from "../std/timers.ts";
import { parseControlMessage } from "./command-contract.ts";
import type { ControlChannel, ControlMessage, ReceiveOptions } from "./control.ts";
import { BotError } from "./errors.ts";
import { PendingRead, pause } from "./pending-read.ts";
import { BlockingConnection, type RedisClient } from "./redis-client.ts";
import { checkId, readEntries, readReadEntries } from "./redis-entries.ts";

export interface RedisControlOptions {
  client: RedisClient;
  /** `keys.commands(botId)`. */
  key: string;
  /** `list`: messages are pushed to its right end, one bot takes each. `stream`: the field `payload`; many may read. */
  kind: "list" | "stream";
  /** Stream: the entry after which to begin; `$`, the default, is what comes from now on. */
  lastId?: string;
  /** How long one read blocks, milliseconds; 1,000. */
  blockMs?: number;
  timers?: Timers;
}

/** Control messages, each a JSON object, from a list or a stream in Redis, read on a connection of its own. */
export class RedisControlChannel implements ControlChannel {
  readonly #client: RedisClient;
  readonly #connection: BlockingConnection;
  readonly #key: string;
  readonly #isList: boolean;
  readonly #blockMs: number;
  readonly #timers: Timers;
  readonly #pending = new PendingRead(() => this.#read());
  #lastId: string;
  #closed = false;

  constructor({ client, key, kind, lastId = "$", blockMs = 1000, timers = systemTimers }: RedisControlOptions) {
    this.#connection = new BlockingConnection(client);
    checkId(lastId);
    if (!(Number.isFinite(blockMs) && blockMs >= 1)) throw new BotError("bad_config", `blockMs: from 1 on`);
    this.#client = client;
    this.#key = key;
    this.#isList = kind === "list";
    this.#lastId = lastId;
    this.#blockMs = blockMs;
    this.#timers = timers;
  }

  /** Settles what `$` is: messages that are sent after it resolves are received. `receive` does it when nobody has. */
  async open(): Promise<void> {
    if (this.#isList || this.#lastId !== "$") return;
    const [last] = readEntries(await this.#client.call("XREVRANGE", this.#key, "+", "-", "COUNT", 1));
    this.#lastId = last?.id ?? "0-0";
  }

  /**
   * With `timeoutMs` 0 it asks the server once without blocking; a read that blocks since an earlier call is then let
   * be, and what it brings is for the next call that waits.
   */
  async receive({ timeoutMs, signal }: ReceiveOptions = {}): Promise<ControlMessage | undefined> {
    if (this.#closed) return undefined;
    const text =
      timeoutMs === 0 && !this.#pending.isUnderWay ? await this.#take() : await this.#wait(timeoutMs, signal);
    return text === undefined ? undefined : parseControlMessage(text);
  }

  async #wait(timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<string | undefined> {
    const over = new AbortController();
    const elapsed = timeoutMs === undefined ? undefined : pause(timeoutMs, over.signal, this.#timers);
    try {
      while (!this.#closed && !signal?.aborted) {
        const read = await this.#pending.take(signal, elapsed);
        if (read === undefined) return undefined;
        if (read.text !== undefined) return read.text;
      }
      return undefined;
    } catch (error) {
      if (this.#closed) return undefined;
      throw error;
    } finally {
      over.abort();
    }
  }

  /** A message that is there. */
  async #take(): Promise<string | undefined> {
    if (this.#isList) return ((await this.#client.call("LPOP", this.#key)) as string | null) ?? undefined;
    await this.open();
    return this.#entry(await this.#client.call("XREAD", "COUNT", 1, "STREAMS", this.#key, this.#lastId));
  }

  async #read(): Promise<{ text: string | undefined }> {
    if (this.#isList) {
      const popped = (await this.#connection.call("BLPOP", this.#key, this.#blockMs / 1000)) as [string, string] | null;
      return { text: popped?.[1] };
    }
    await this.open();
    const from = ["STREAMS", this.#key, this.#lastId] as const;
    return { text: this.#entry(await this.#connection.call("XREAD", "COUNT", 1, "BLOCK", this.#blockMs, ...from)) };
  }

  #entry(reply: unknown): string | undefined {
    const [entry] = readReadEntries(reply);
    if (entry === undefined) return undefined;
    this.#lastId = entry.id;
    return entry.fields.payload ?? JSON.stringify(entry.fields);
  }

  /** Ends its connection; a `receive` that waits resolves to undefined. */
  close(): void {
    this.#closed = true;
    this.#connection.close();
  }
}
