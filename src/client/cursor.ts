/** Where a subscription stands: everything up to it has been handed to its handlers. */
export interface Cursor {
  epoch: number;
  position: number;
  /** The last sequence by stream. */
  held: Record<string, number>;
}

/** How often at most the file is written, milliseconds. */
export const SAVE_MS = 250;
