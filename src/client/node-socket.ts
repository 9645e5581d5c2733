import { TickwireError } from "./errors.ts";
import type { Socket, SocketEvents } from "./socket.ts";

/** Nothing that a server says is longer: a frame has 64 KiB at most, an ack a thousand streams. */
const MAX_MESSAGE_BYTES = 4 * 2 ** 20;
/** So much of an answer that is no WebSocket's is told. */
const MAX_ANSWER_LENGTH = 1000;

/** A WebSocket of the package `ws`, which hands messages over as bytes without a copy. Node only. */
export async function openNodeSocket(url: URL, protocols: readonly string[], events: SocketEvents): Promise<Socket> {
  const { WebSocket } = await loadWs();
  const socket = new WebSocket(url, [...protocols], { perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES });
  let error = "";
  socket.on("open", () => events.open());
  socket.on("message", (data: Uint8Array, isBinary: boolean) => {
    if (isBinary) events.bytes(data);
    else events.text(String(data));
  });
  socket.on("unexpected-response", (_request, response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (part: string) => {
      text = (text + part).slice(0, MAX_ANSWER_LENGTH);
    });
    response.on("end", () => {
      error = `${response.statusCode} ${text}`;
      socket.terminate();
    });
  });
  socket.on("error", (cause: Error) => {
    error ||= cause.message;
  });
  socket.on("close", (code: number, reason: Uint8Array) => events.closed(code, String(reason) || error));
  return {
    send: (text) => socket.send(text),
    close: () => socket.close(),
    terminate: () => socket.terminate(),
  };
}

async function loadWs(): Promise<typeof import("ws")> {
  try {
    return await import("ws");
  } catch (error) {
    throw new TickwireError("not_here", "in Node the client needs the package ws: npm install ws", { cause: error });
  }
}
