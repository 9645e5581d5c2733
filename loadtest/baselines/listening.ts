import type { TemplatedApp } from "uWebSockets.js";
import { us_socket_local_port } from "uWebSockets.js";

/** Where a server is reached: ws://host:port, without a path. */
export interface ServerInfo {
  url: string;
}

/** Longer queues than any test makes: the library drops nothing. */
export const MOST_QUEUED_BYTES = 256 * 1024 * 1024;

/** Listens on a free port of the loopback. */
export function listen(app: TemplatedApp): Promise<ServerInfo> {
  return new Promise((resolve, reject) => {
    app.listen("127.0.0.1", 0, (token) => {
      if (token === false) reject(new Error("it cannot listen"));
      else resolve({ url: `ws://127.0.0.1:${us_socket_local_port(token)}` });
    });
  });
}

/** What a gateway answers to a subscribe, as far as a client needs it to count: the stream, and where it stands. */
export function acknowledgement(stream: number, sequence: number): string {
  return JSON.stringify({ type: "system", status: "subscribed", id: 1, streams: [{ stream, seq: sequence }] });
}
