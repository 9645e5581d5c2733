import type { OrderIntent } from "./order-contract.ts";

/** How far a bot came: what a publisher saves with the orders of a tick. */
export interface Progress {
  /** Number of the last order; 0 before the first. */
  sequence: number;
  /** Where the last snapshot lies that was worked off; undefined when its source does not tell. */
  position: string | undefined;
}

/**
 * Where orders go. One that has `open` and `commit` is transactional: `publish` only collects, and `commit` brings the
 * orders of a tick out, together with how far the bot came, or none of it; so that a bot that is killed and started
 * again sends each order once.
 */
export interface OrderPublisher {
  /** Brings an order out, or rejects. It may be called again with the same sequence: that is the same order. */
  publish(intent: OrderIntent): Promise<void>;
  /** How far the bot came before; called once, before anything is published. */
  open?(): Promise<Progress>;
  /** Ends a tick. When it rejects the tick stays collected, and `commit` can be called again. */
  commit?(progress: Progress): Promise<void>;
}
