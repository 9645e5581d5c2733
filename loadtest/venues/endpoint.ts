import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type RawData, type WebSocket, WebSocketServer } from "ws";

/** One client's connection as the double sees it. */
export class Peer {
  readonly topics = new Set<string>();
  /** Binance: `/stream` wraps a payload in its stream's name, `/ws` sends it bare. */
  combined = true;
  microseconds = false;
  /** Payloads of pings not yet answered, and when each was sent. */
  readonly openPings = new Map<string, number>();

  constructor(
    readonly socket: WebSocket,
    readonly line: Duplex,
  ) {}
}

export interface VenueRequest {
  method: string;
  url: URL;
  body: string;
}

export interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

export interface Doorman {
  accepts(url: URL): boolean;
  joined(peer: Peer, url: URL): void;
  /** A JSON message, a ping or a pong: everything that a venue counts as inbound. */
  received(peer: Peer, kind: "message" | "ping" | "pong", text: string): void;
  left(peer: Peer): void;
  answer(request: VenueRequest): Promise<Answer>;
}

export interface EndpointOptions {
  host: string;
  port: number;
  pingIntervalMs: number;
  pongTimeoutMs: number;
}

/** The listening side that both venues share: HTTP and WebSocket on one port, pings, refusal, the list of peers. */
export class Endpoint {
  readonly peers = new Set<Peer>();
  readonly requests: Record<string, number> = {};
  readonly counts = { accepted: 0, refused: 0, controlMessages: 0, pings: 0, pongs: 0, pongTimeouts: 0 };
  refuseUntilMs = 0;
  refuseStatus = 503;
  pingsSilentUntilMs = 0;
  readonly #http: Server;
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false });
  #pinging: NodeJS.Timeout | undefined;

  constructor(
    readonly options: EndpointOptions,
    readonly doorman: Doorman,
  ) {
    this.#http = createServer((request, response) => void this.#respond(request, response));
    // Longer than a client in the same process may be busy: its kept connection must not close under its next request.
    this.#http.keepAliveTimeout = 65_000;
    this.#http.on("upgrade", (request, line, head) => this.#upgrade(request, line, head));
  }

  async listen(): Promise<number> {
    const { host, port, pingIntervalMs } = this.options;
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject);
      this.#http.listen(port, host, resolve);
    });
    this.#pinging = setInterval(() => this.#ping(), pingIntervalMs);
    return (this.#http.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    clearInterval(this.#pinging);
    for (const peer of this.peers) peer.socket.terminate();
    await new Promise<void>((resolve) => {
      this.#http.close(() => resolve());
      this.#http.closeAllConnections();
    });
  }

  #upgrade(request: IncomingMessage, line: Duplex, head: Buffer): void {
    line.on("error", () => line.destroy());
    const url = new URL(request.url ?? "/", "http://venue");
    if (Date.now() < this.refuseUntilMs) {
      this.counts.refused++;
      turnAway(line, this.refuseStatus);
    } else if (!this.doorman.accepts(url)) {
      turnAway(line, 404);
    } else {
      this.#sockets.handleUpgrade(request, line, head, (socket) => this.#welcome(new Peer(socket, line), url));
    }
  }

  #welcome(peer: Peer, url: URL): void {
    this.counts.accepted++;
    this.peers.add(peer);
    peer.socket.on("error", () => peer.socket.terminate());
    peer.socket.on("close", () => {
      this.peers.delete(peer);
      this.doorman.left(peer);
    });
    peer.socket.on("message", (data: RawData) => {
      this.counts.controlMessages++;
      this.doorman.received(peer, "message", data.toString());
    });
    peer.socket.on("ping", () => this.doorman.received(peer, "ping", ""));
    peer.socket.on("pong", (payload: Buffer) => {
      // A pong that answers no ping of ours keeps nobody alive.
      if (peer.openPings.has(payload.toString())) {
        this.counts.pongs++;
        peer.openPings.clear();
      }
      this.doorman.received(peer, "pong", "");
    });
    this.doorman.joined(peer, url);
  }

  #ping(): void {
    const nowMs = Date.now();
    if (nowMs < this.pingsSilentUntilMs) return;
    for (const peer of this.peers) {
      const [oldestMs] = peer.openPings.values();
      if (oldestMs !== undefined && nowMs - oldestMs >= this.options.pongTimeoutMs) {
        this.counts.pongTimeouts++;
        peer.socket.terminate();
        continue;
      }
      peer.openPings.set(String(nowMs), nowMs);
      peer.socket.ping(String(nowMs));
      this.counts.pings++;
    }
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://venue");
    this.requests[url.pathname] = (this.requests[url.pathname] ?? 0) + 1;
    const parts: Buffer[] = [];
    let answer: Answer;
    try {
      for await (const part of request) parts.push(part as Buffer);
      answer = await this.doorman.answer({
        method: request.method ?? "GET",
        url,
        body: Buffer.concat(parts).toString(),
      });
    } catch (error) {
      answer = { status: 500, body: { message: error instanceof Error ? error.message : String(error) } };
    }
    response.writeHead(answer.status, { "content-type": "application/json;charset=UTF-8", ...answer.headers });
    response.end(JSON.stringify(answer.body));
  }
}

function turnAway(line: Duplex, status: number): void {
  if (status === 0) line.destroy();
  else line.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
