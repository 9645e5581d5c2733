/** How a venue's connection may be used. */
export interface SessionLimits {
  /** Between two control messages, so that the venue's limit is never met. */
  pacingMs: number;
  streamsPerMessage: number;
  streamsPerConnection: number;
  /** A connection that takes longer to open is given up. */
  openTimeoutMs: number;
  /** Nothing at all, not even a ping, for that long: the connection is dead. */
  livenessMs: number;
  /** Nothing ever on a stream for that long after it was asked for: ask again. */
  startTimeoutMs: number;
  /** The venue starts a stream again only after it was ended; false where asking twice does no harm. */
  renewUnstarted: boolean;
  /** Control messages are answered by their id. */
  acknowledged: boolean;
  /** Age at which a connection is replaced; 0 where the venue sets no limit. */
  rotateAfterMs: number;
  /** How long the old connection goes on beside the new one, once all streams were asked for on the new one. */
  overlapMs: number;
}

/** All that differs between venues. A stream is `streamOf(instrument, slot)`. */
export interface SessionProtocol {
  readonly url: string;
  readonly limits: SessionLimits;
  subscribeMessage(streams: readonly number[], id: number): string;
  unsubscribeMessage(streams: readonly number[], id: number): string;
  /** Hot path. Valid in this call only. */
  receive(bytes: Buffer): void;
  hasStarted(stream: number): boolean;
  clearStarted(stream: number): void;
}
