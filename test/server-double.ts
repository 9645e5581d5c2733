/** A server that says what a test tells it to, for what a real one would never say. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import WebSocket, { WebSocketServer } from "ws";

export interface DoubleSocket {
  readonly socket: WebSocket;
  /** What the client offered. */
  readonly protocols: readonly string[];
  /** What it sent, read. */
  readonly requests: { type: string; id?: number; [key: string]: unknown }[];
  say(message: object | string | Uint8Array): void;
}

export interface DoubleOptions {
  mode?: string;
  epoch?: number;
  /** Answers an upgrade with this status instead. */
  status?: () => number | undefined;
  /** Called for each request; what it returns is sent. Without it a ping is answered, nothing else. */
  answer?: (request: { type: string; id?: number; [key: string]: unknown }, connection: DoubleSocket) => void;
  /** Says nothing at all. */
  silent?: boolean;
}

export class ServerDouble {
  readonly url: string;
  readonly connections: DoubleSocket[] = [];
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer, options: DoubleOptions) {
    this.#server = server;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket) => this.#open(socket, options));
  }

  static async start(options: DoubleOptions = {}): Promise<ServerDouble> {
    const server = new WebSocketServer({
      host: "127.0.0.1",
      port: 0,
      handleProtocols: () => "tickwire.v1.flatbuffers",
      verifyClient: (_info, done: (ok: boolean, code?: number, message?: string) => void) => {
        const status = options.status?.();
        if (status === undefined) done(true);
        else done(false, status, "refused by the test");
      },
    });
    await once(server, "listening");
    return new ServerDouble(server, options);
  }

  #open(socket: WebSocket, { mode = "simulated", epoch = 77, answer, silent = false }: DoubleOptions): void {
    const connection: DoubleSocket = {
      socket,
      protocols: [],
      requests: [],
      say: (message) => {
        if (socket.readyState !== WebSocket.OPEN) return;
        if (message instanceof Uint8Array) socket.send(message, { binary: true });
        else socket.send(typeof message === "string" ? message : JSON.stringify(message));
      },
    };
    this.connections.push(connection);
    socket.on("error", () => {});
    if (silent) return;
    connection.say({ type: "hello", version: "0", mode, epoch, position: 0, window_seconds: 1, heartbeat_ms: 1000 });
    socket.on("message", (data: Buffer) => {
      const request = JSON.parse(data.toString()) as DoubleSocket["requests"][0];
      connection.requests.push(request);
      if (answer !== undefined) answer(request, connection);
      else if (request.type === "ping") connection.say({ type: "pong", id: request.id, ts_server: Date.now() * 1000 });
    });
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** An ack of one stream of trades. */
export function ackOf(id: number | undefined, seq = 0, resume?: string): object {
  const stream = { stream: 33, channel: "trades", symbol: "A/B", exchange: "x", seq, state: "live", resumable: true };
  return {
    type: "system",
    status: "subscribed",
    id,
    streams: [stream],
    unavailable: [],
    ...(resume ? { resume } : {}),
  };
}
