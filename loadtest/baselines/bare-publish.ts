import type { WebSocket } from "uWebSockets.js";
import { App } from "uWebSockets.js";
import type { Role } from "../child.ts";
import { acknowledgement, listen, MOST_QUEUED_BYTES } from "./listening.ts";
import { EVENTS_PER_TURN, Saturation } from "./saturation.ts";
import { TradeFrame } from "./trade-frame.ts";

const TOPIC = "trades";

/** The library alone: publishes the bytes of trade frames to whoever has sent any message. */
export async function beBarePublish(): Promise<Role> {
  const frame = new TradeFrame();
  const sockets = new Set<WebSocket<unknown>>();
  const app = App().ws("/*", {
    maxBackpressure: MOST_QUEUED_BYTES,
    idleTimeout: 120,
    open: (socket) => {
      sockets.add(socket);
    },
    message: (socket) => {
      socket.send(acknowledgement(frame.stream, frame.sequence));
      socket.subscribe(TOPIC);
    },
    close: (socket) => {
      sockets.delete(socket);
    },
  });
  const info = await listen(app);
  const saturation = new Saturation(
    () => {
      for (let event = 0; event < EVENTS_PER_TURN; event += 1) app.publish(TOPIC, frame.next(), true);
    },
    () => {
      let longest = 0;
      for (const socket of sockets) longest = Math.max(longest, socket.getBufferedAmount());
      return longest;
    },
  );
  return { info, calls: saturation.calls };
}
