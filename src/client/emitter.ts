/** Takes an exception that left a handler. */
export type OnThrow = (error: unknown, event: string) => void;

type Handler = (...args: never[]) => void;

const NONE: readonly Handler[] = [];

/**
 * Handlers by event. One that throws stops neither the others nor the stream. Calling them allocates nothing; adding or
 * removing one makes a new list, so that a handler may do that while it is called.
 */
export class Emitter<Events extends { [Name in keyof Events]: unknown }> {
  readonly #handlers = new Map<keyof Events, readonly Handler[]>();
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
    this.#handlers.set(name, [...this.of(name), handler as Handler]);
    const off = () => this.off(name, handler);
    signal?.addEventListener("abort", off, { once: true });
    return off;
  }

  once<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): () => void {
    const off = this.on(name, (event) => {
      off();
      handler(event);
    });
    return off;
  }

  off<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): void {
    this.#handlers.set(
      name,
      this.of(name).filter((each) => each !== (handler as Handler)),
    );
  }

  of(name: keyof Events): readonly Handler[] {
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
        (handlers[index] as (event: Events[Name]) => void)(event);
      } catch (error) {
        this.#onThrow(error, String(name));
      }
    }
  }
}
