import { TickwireError } from "./errors.ts";
import { openNodeSocket } from "./node-socket.ts";

/** What a connection tells its user. */
export interface SocketEvents {
  open(): void;
  text(text: string): void;
  /** Good in this call only. */
  bytes(bytes: Uint8Array): void;
  /** The last event; `code` 1006 when nothing was said, `reason` the server's words. */
  closed(code: number, reason: string): void;
}

/** One WebSocket, whatever made it. */
export interface Socket {
  send(text: string): void;
  close(): void;
  /** Ends it at once; `closed` follows, or came before. */
  terminate(): void;
}

/** The part of a browser's WebSocket that is used. */
interface PlainSocket {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(text: string): void;
  close(): void;
}

type PlainSocketClass = new (url: string, protocols: readonly string[]) => PlainSocket;

/** True in Node, where the package `ws` hands messages over as bytes without a copy. */
function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return process?.versions?.node !== undefined;
}

/** Begins a connection; what comes of it is told by events. */
export function openSocket(url: URL, protocols: readonly string[], events: SocketEvents): Promise<Socket> | Socket {
  return isNode() ? openNodeSocket(url, protocols, events) : openPlainSocket(url, protocols, events);
}

function openPlainSocket(url: URL, protocols: readonly string[], events: SocketEvents): Socket {
  const { WebSocket } = globalThis as unknown as { WebSocket?: PlainSocketClass };
  if (WebSocket === undefined) throw new TickwireError("not_here", "there is no WebSocket here");
  const socket = new WebSocket(url.href, protocols);
  socket.binaryType = "arraybuffer";
  let isClosed = false;
  const closed = (code: number, reason: string) => {
    if (!isClosed) events.closed(code, reason);
    isClosed = true;
  };
  socket.onopen = () => events.open();
  socket.onmessage = ({ data }) => {
    if (isClosed) return;
    if (typeof data === "string") events.text(data);
    else events.bytes(new Uint8Array(data as ArrayBuffer));
  };
  socket.onclose = ({ code, reason }) => closed(code, reason);
  return {
    send: (text) => socket.send(text),
    close: () => socket.close(),
    // A browser waits for the other side to agree, which a dead one never does.
    terminate: () => {
      socket.close();
      closed(1006, "");
    },
  };
}
