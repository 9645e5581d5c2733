import WebSocket from "ws";

/** Longest message taken from a venue; Coinbase's first book of a busy product has several megabytes. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
/** How long the closing handshake may take before the connection is cut. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface SocketHandlers {
  onOpen(): void;
  /** Hot path. The bytes are the library's own: valid in this call only. */
  onMessage(bytes: Buffer): void;
  onPing(): void;
  /** Called once, also when the connection never opened. */
  onClose(code: number, reason: string): void;
}

/** One WebSocket to a venue, as small as a session needs it, so that a test can put its own in. */
export interface Socket {
  /** All bytes that came in so far, frames of control and halves of messages included: silence is when it stands still. */
  readonly bytesReceived: number;
  send(text: string): void;
  /** Closes politely; `onClose` follows. */
  close(): void;
  /** Cuts the connection; `onClose` follows. */
  terminate(): void;
}

export type SocketFactory = (url: string, handlers: SocketHandlers) => Socket;

/**
 * `ws` hands over the bytes of a text message as they are, so they can be scanned in place (undici's makes strings of
 * them). Deflate is off for latency. UTF-8 is not checked: the scanner compares bytes, and the slow path replaces what
 * is not UTF-8 when it makes a string.
 */
export const openSocket: SocketFactory = (url, handlers) => {
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    closeTimeout: CLOSE_TIMEOUT_MS,
    skipUTF8Validation: true,
  } as WebSocket.ClientOptions);
  let stream: { readonly bytesRead: number } | undefined;
  let failure = "";
  socket.on("upgrade", (response) => {
    stream = response.socket;
  });
  socket.on("open", () => handlers.onOpen());
  socket.on("message", (data) => handlers.onMessage(data as Buffer));
  socket.on("ping", () => handlers.onPing());
  socket.on("error", (error) => {
    failure = error.message;
  });
  socket.on("close", (code, reason) => handlers.onClose(code, failure || reason.toString("utf8")));
  return {
    get bytesReceived() {
      return stream?.bytesRead ?? 0;
    },
    send: (text) => socket.send(text),
    close: () => socket.close(1000),
    terminate: () => socket.terminate(),
  };
};
