import { setImmediate } from "node:timers/promises";
import { JSONParser, TokenizerError, TokenParserError } from "@streamparser/json";
import { Agent, type Dispatcher, request } from "undici";
import type { Clock } from "../std/clock.ts";
import type { TimerHandle, Timers } from "../std/timers.ts";
import type { FeedCounters } from "./feed.ts";
import type { WeightBudget } from "./weight-budget.ts";

/** Largest answer that is read; Binance's list of instruments has some 15 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 20_000;
/** What a parser of streams takes at once: half a millisecond, or some, until it has been compiled. */
const SLICE_BYTES = 4 * 1024;
/** Requests under way at once; the rest wait in line. */
const MAX_CONCURRENT = 4;
/** Requests in line; more are refused. */
const MAX_WAITING = 20_000;
/** How long a venue that says "too many" without saying how long is left alone. */
const DEFAULT_RETRY_AFTER_MS = 30_000;

export type RestFailure =
  | "network"
  | "timeout"
  | "status"
  | "rate_limited"
  | "too_large"
  | "bad_json"
  | "overloaded"
  | "closed";

export class RestError extends Error {
  override readonly name = "RestError";
  readonly failure: RestFailure;
  /** The HTTP status, 0 when there was none. */
  readonly status: number;

  constructor(failure: RestFailure, message: string, status = 0) {
    super(message);
    this.failure = failure;
    this.status = status;
  }
}

export interface RestOptions {
  baseUrl: string;
  clock: Clock;
  timers: Timers;
  budget: WeightBudget;
  counters: FeedCounters;
}

type BodyReadable = Dispatcher.ResponseData["body"];

interface Waiting {
  weight: number;
  admit(): void;
  refuse(error: RestError): void;
}

/** GET of JSON from one venue, within the venue's limits: requests wait in line for their turn and their weight. */
export class RestClient {
  readonly #options: RestOptions;
  readonly #agent = new Agent({
    connections: MAX_CONCURRENT,
    maxResponseSize: MAX_ANSWER_BYTES,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  });
  #waiting: Waiting[] = [];
  #active = 0;
  #timer: TimerHandle;
  #closed = false;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  /** The parsed answer; rejects with a RestError only. */
  get(path: string, weight = 1): Promise<unknown> {
    return this.#ask(path, weight, async (body) => JSON.parse(await body.text()));
  }

  /**
   * Hands over the parts of a long answer that `paths` name (JSONPath, as the parser of streams takes it), one by one,
   * in turns of the event loop that stay short: read at once, a list of 10,000 instruments blocks it for half a second.
   */
  walk(path: string, weight: number, paths: string[], take: (value: unknown, key: unknown) => void): Promise<void> {
    return this.#ask(path, weight, async (body) => {
      const parser = new JSONParser({ paths, keepStack: false });
      parser.onValue = ({ value, key }) => take(value, key);
      for await (const chunk of body) {
        for (let from = 0; from < chunk.length; from += SLICE_BYTES) {
          parser.write(chunk.subarray(from, from + SLICE_BYTES));
          await setImmediate();
        }
      }
      if (!parser.isEnded) throw new RestError("bad_json", "answer is cut short", 200);
    });
  }

  async #ask<T>(path: string, weight: number, read: (body: BodyReadable) => Promise<T>): Promise<T> {
    await this.#admission(weight);
    this.#options.counters.requests += 1;
    try {
      return await this.#fetch(path, read);
    } catch (error) {
      this.#options.counters.requestFailures += 1;
      throw error instanceof RestError ? error : restErrorOf(error);
    } finally {
      this.#active -= 1;
      this.#pump();
    }
  }

  async #fetch<T>(path: string, read: (body: BodyReadable) => Promise<T>): Promise<T> {
    const url = new URL(this.#options.baseUrl.replace(/\/$/, "") + path);
    const answer = await request(url, {
      dispatcher: this.#agent,
      headers: { accept: "application/json", "user-agent": "tickwire" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.statusCode === 429 || answer.statusCode === 418) {
      await answer.body.dump();
      const pauseMs = retryAfterMs(answer.headers["retry-after"]);
      this.#options.budget.pause(this.#nowMs() + pauseMs);
      throw new RestError("rate_limited", `rate limited for ${pauseMs} ms`, answer.statusCode);
    }
    if (answer.statusCode !== 200) {
      const text = await answer.body.text();
      throw new RestError("status", `status ${answer.statusCode}: ${text.slice(0, 200)}`, answer.statusCode);
    }
    return await read(answer.body);
  }

  #admission(weight: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new RestError("closed", "closed"));
      if (this.#waiting.length >= MAX_WAITING) return reject(new RestError("overloaded", "too many requests in line"));
      this.#waiting.push({ weight, admit: resolve, refuse: reject });
      this.#pump();
    });
  }

  /** Lets requests go in order, while there are places and weight; a timer wakes it when there will be weight. */
  #pump(): void {
    this.#options.timers.clearTimeout(this.#timer);
    while (this.#active < MAX_CONCURRENT) {
      const next = this.#waiting[0];
      if (next === undefined) return;
      const delayMs = this.#options.budget.take(next.weight, this.#nowMs());
      if (delayMs > 0) {
        this.#timer = this.#options.timers.setTimeout(() => this.#pump(), delayMs);
        return;
      }
      this.#waiting.shift();
      this.#active += 1;
      next.admit();
    }
  }

  #nowMs(): number {
    return this.#options.clock.now() / 1000;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#options.timers.clearTimeout(this.#timer);
    for (const waiting of this.#waiting) waiting.refuse(new RestError("closed", "closed"));
    this.#waiting = [];
    await this.#agent.destroy();
  }
}

/** The header in milliseconds: seconds, as both venues send it. */
function retryAfterMs(header: string | string[] | undefined): number {
  const seconds = Number(Array.isArray(header) ? header[0] : header);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : DEFAULT_RETRY_AFTER_MS;
}

function restErrorOf(error: unknown): RestError {
  if (error instanceof SyntaxError || error instanceof TokenizerError || error instanceof TokenParserError) {
    return new RestError("bad_json", "answer is not JSON", 200);
  }
  const { name = "", code = "", message = "" } = error as { name?: string; code?: string; message?: string };
  if (code === "UND_ERR_RES_EXCEEDED_MAX_SIZE") return new RestError("too_large", message);
  if (code === "UND_ERR_DESTROYED" || code === "UND_ERR_CLOSED") return new RestError("closed", message);
  const late = name === "TimeoutError" || code.endsWith("_TIMEOUT");
  return new RestError(late ? "timeout" : "network", message || code);
}
