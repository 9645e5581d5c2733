/** A frame is at most this long; a larger book spans several. */
export const MAX_FRAME_BYTES = 64 * 1024;

/** Bits of a frame's flags; what they say is in schema/tickwire.fbs. */
export const FLAG_DERIVED = 1;
export const FLAG_SNAPSHOT = 2;
export const FLAG_LAST_OF_EVENT = 4;
export const FLAG_CORRECTION = 8;
export const FLAG_BACKFILLED = 16;
export const FLAG_INEXACT = 32;
