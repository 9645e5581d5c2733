/** Takes an exception that left a handler. */
export type OnThrow = (error: unknown, event: string) => void;

type Handler = (...args: never[]) => void;

/** What is called, and the handler that it was added for. */
interface Entry {
  readonly call: Handler;
  readonly handler: Handler;
}

const NONE: readonly Entry[] = [];

/**
 * The handlers of one event. One that throws stops neither the others nor the stream. Calling them allocates nothing;
 * adding or removing one makes a new list, so that a handler may do that while it is called.
 */
export class Handlers<Event> {
  entries: readonly Entry[] = NONE;
  readonly #name: string;
  readonly #onThrow: OnThrow;

  constructor(name: string, onThrow: OnThrow) {
    this.#name = name;
    this.#onThrow = onThrow;
  }

  /** Hot path. */
  call(event: Event): void {
    const { entries } = this;
    for (let index = 0; index < entries.length; index += 1) {
      try {
        (entries[index].call as (event: Event) => void)(event);
      } catch (error) {
        this.#onThrow(error, this.#name);
      }
    }
  }
}

/** Handlers by event. */
export class Emitter<Events extends { [Name in keyof Events]: unknown }> {
  readonly #handlers = new Map<keyof Events, Handlers<never>>();
  readonly #onThrow: OnThrow;

  constructor(onThrow: OnThrow) {
    this.#onThrow = onThrow;
  }

  /** Those of one event, the same object always: who calls them for every frame keeps it, and need not look for it. */
  handlers<Name extends keyof Events>(name: Name): Handlers<Events[Name]> {
    let handlers = this.#handlers.get(name);
    if (handlers === undefined) {
      handlers = new Handlers(String(name), this.#onThrow);
      this.#handlers.set(name, handlers);
    }
    return handlers;
  }

  /** Adds a handler; returns what removes it. A signal removes it as well. */
  on<Name extends keyof Events>(
    name: Name,
    handler: (event: Events[Name]) => void,
    { signal }: { signal?: AbortSignal } = {},
  ): () => void {
    return this.#add(name, handler as Handler, handler as Handler, signal);
  }

  once<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): () => void {
    const call = (event: Events[Name]) => {
      off();
      handler(event);
    };
    const off = this.#add(name, call as Handler, handler as Handler, undefined);
    return off;
  }

  #add(name: keyof Events, call: Handler, handler: Handler, signal: AbortSignal | undefined): () => void {
    const entry = { call, handler };
    const off = () => this.#keep(name, (each) => each !== entry);
    if (signal?.aborted) return off;
    const handlers = this.handlers(name);
    handlers.entries = [...handlers.entries, entry];
    signal?.addEventListener("abort", off, { once: true });
    return off;
  }

  off<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): void {
    this.#keep(name, (each) => each.handler !== (handler as Handler));
  }

  #keep(name: keyof Events, keeps: (entry: Entry) => boolean): void {
    const handlers = this.handlers(name);
    handlers.entries = handlers.entries.filter(keeps);
  }

  of(name: keyof Events): readonly Entry[] {
    return this.handlers(name).entries;
  }

  /** True when somebody listens. */
  has(name: keyof Events): boolean {
    return this.of(name).length > 0;
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    this.handlers(name).call(event);
  }
}
