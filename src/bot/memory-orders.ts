import { type OrderIntent, orderText } from "./order-contract.ts";
import type { OrderPublisher } from "./orders.ts";

/** Where lines go: a Node stream fits. */
export interface LineOutput {
  write(line: string, done: (error?: Error | null) => void): unknown;
}

export interface StdoutOrderOptions {
  /** The line of an order, without its end; JSON in the names of the wire when not given. */
  format?: (intent: OrderIntent) => string;
  stream?: LineOutput;
}

/** Writes each order as a line to standard output: what a bot would do, without doing it. */
export class StdoutOrderPublisher implements OrderPublisher {
  readonly #format: (intent: OrderIntent) => string;
  readonly #stream: LineOutput;

  constructor({ format = orderText, stream = process.stdout }: StdoutOrderOptions = {}) {
    this.#format = format;
    this.#stream = stream;
  }

  /** Resolves when the line is handed on to the operating system. */
  publish(intent: OrderIntent): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.write(`${this.#format(intent)}\n`, (error) => (error ? reject(error) : resolve()));
    });
  }
}

/** Keeps the orders: for tests. */
export class ListOrderPublisher implements OrderPublisher {
  readonly items: OrderIntent[] = [];

  async publish(intent: OrderIntent): Promise<void> {
    this.items.push(intent);
  }
}
