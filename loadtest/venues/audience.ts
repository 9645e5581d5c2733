import type { Endpoint, Peer } from "./endpoint.ts";
import type { Message } from "./faults.ts";

/** At full speed the tape waits above this much unsent per client; a client that lets this much pile up is cut off. */
const CONGESTED_BYTES = 1 << 20;
const SLOW_CLIENT_BYTES = 64 << 20;

/** Who listens to what, and the sending to them. */
export class Audience {
  readonly counts = { messagesSent: 0, bytesSent: 0, slowClients: 0 };
  readonly #listeners = new Map<string, Set<Peer>>();

  constructor(
    readonly endpoint: Endpoint,
    readonly render: (peer: Peer, message: Message) => Buffer,
  ) {}

  get topics(): string[] {
    return [...this.#listeners.keys()];
  }

  get empty(): boolean {
    return this.#listeners.size === 0;
  }

  subscribed(topic: string): boolean {
    return this.#listeners.has(topic);
  }

  join(peer: Peer, topic: string): void {
    peer.topics.add(topic);
    const peers = this.#listeners.get(topic);
    if (peers === undefined) this.#listeners.set(topic, new Set([peer]));
    else peers.add(peer);
  }

  leave(peer: Peer, topic: string): void {
    peer.topics.delete(topic);
    const peers = this.#listeners.get(topic);
    peers?.delete(peer);
    if (peers?.size === 0) this.#listeners.delete(topic);
  }

  publish(message: Message): void {
    for (const peer of this.#listeners.get(message.topic) ?? []) {
      this.send(peer, this.render(peer, message), message.binary ?? false);
      if (peer.socket.bufferedAmount > SLOW_CLIENT_BYTES) {
        this.counts.slowClients++;
        peer.socket.terminate();
      }
    }
  }

  send(peer: Peer, bytes: Buffer, binary = false): void {
    if (peer.socket.readyState !== peer.socket.OPEN) return;
    this.counts.messagesSent++;
    this.counts.bytesSent += bytes.length;
    peer.socket.send(bytes, { binary });
  }

  congested(): boolean {
    return this.#anyBuffered(CONGESTED_BYTES);
  }

  flushed(): boolean {
    return !this.#anyBuffered(0);
  }

  #anyBuffered(bytes: number): boolean {
    for (const peer of this.endpoint.peers) if (peer.socket.bufferedAmount > bytes) return true;
    return false;
  }

  cork(): void {
    for (const peer of this.endpoint.peers) peer.line.cork();
  }

  uncork(): void {
    for (const peer of this.endpoint.peers) peer.line.uncork();
  }
}
