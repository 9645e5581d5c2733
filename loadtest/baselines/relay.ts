import { App } from "uWebSockets.js";
import WebSocket from "ws";
import type { Role } from "../child.ts";
import { listen, MOST_QUEUED_BYTES } from "./listening.ts";

export interface RelayOptions {
  /** The source's address. */
  ws: string;
  streams: readonly string[];
  /** Every so many-th message is dropped, to see that a loss is found; 0 drops none. */
  dropEvery: number;
}

const STREAMS_PER_MESSAGE = 100;
const TOPIC = "all";

/** The least that lies between a venue and its clients: each message goes out as it came, to everybody, unparsed. */
export async function beRelay({ ws, streams, dropEvery }: RelayOptions): Promise<Role> {
  const app = App().ws("/*", {
    maxBackpressure: MOST_QUEUED_BYTES,
    idleTimeout: 120,
    open: (socket) => {
      socket.subscribe(TOPIC);
    },
  });
  const info = await listen(app);
  const socket = new WebSocket(ws, { perMessageDeflate: false, skipUTF8Validation: true });
  let messages = 0;
  let answers = 0;
  socket.on("message", (data: Buffer) => {
    // The only messages that are no events are the answers to the subscriptions.
    if (answers * STREAMS_PER_MESSAGE < streams.length) {
      answers += 1;
      return;
    }
    messages += 1;
    if (dropEvery > 0 && messages % dropEvery === 0) return;
    app.publish(TOPIC, data, false);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  for (let from = 0; from < streams.length; from += STREAMS_PER_MESSAGE) {
    const params = streams.slice(from, from + STREAMS_PER_MESSAGE);
    socket.send(JSON.stringify({ method: "SUBSCRIBE", params, id: 1 + from }));
  }
  return { info, calls: { messages: () => messages } };
}
