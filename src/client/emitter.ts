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
 * Handlers by event. One that throws stops neither the others nor the stream. Calling them allocates nothing; adding or
 * removing one makes a new list, so that a handler may do that while it is called.
 */
export class Emitter<Events extends { [Name in keyof Events]: unknown }> {
  readonly #handlers = new Map<keyof Events, readonly Entry[]>();
  readonly #onThrow: OnThrow;

  constructor(onThrow: OnThrow) {
    this.#onThrow = onThrow;
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
    this.#handlers.set(name, [...this.of(name), entry]);
    signal?.addEventListener("abort", off, { once: true });
    return off;
  }

  off<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): void {
    this.#keep(name, (each) => each.handler !== (handler as Handler));
  }

  #keep(name: keyof Events, keeps: (entry: Entry) => boolean): void {
    this.#handlers.set(name, this.of(name).filter(keeps));
  }

  of(name: keyof Events): readonly Entry[] {
    return this.#handlers.get(name) ?? NONE;
  }

  /** True when somebody listens. */
  has(name: keyof Events): boolean {
    return this.of(name).length > 0;
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    const handlers = this.of(name);
    for (let index = 0; index < handlers.length; index += 1) {
      try {
        (handlers[index].call as (event: Events[Name]) => void)(event);
      } catch (error) {
        this.#onThrow(error, String(name));
      }
    }
  }
}
