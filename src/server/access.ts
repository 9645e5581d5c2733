/** The names under which a machine reaches itself. */
const LOOPBACK_HOSTS = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);

export function isLoopback(host: string): boolean {
  return LOOPBACK_HOSTS.has(host.toLowerCase()) || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/**
 * Decides which browsers may talk to the server. A page of another site can open a WebSocket to localhost and, by
 * pointing its own name at 127.0.0.1, even read answers (DNS rebinding); so both the Origin and the Host are checked.
 * Programs that are no browser send no Origin and name the host as they reach it.
 */
export class Access {
  readonly #origins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #anyHost: boolean;

  /** `origins` are whole origins such as `https://desk.example`; `anyHost` when the server is not on loopback. */
  constructor(origins: readonly string[], anyHost: boolean) {
    this.#origins = new Set(origins.map((origin) => origin.toLowerCase().replace(/\/$/, "")));
    this.#hosts = new Set([...this.#origins].map((origin) => origin.replace(/^[a-z]+:\/\//, "")));
    this.#anyHost = anyHost;
  }

  /** True when a request that names this host is for this server. */
  allowsHost(host: string): boolean {
    if (this.#anyHost) return true;
    const lower = host.toLowerCase();
    return isLoopback(lower.replace(/:\d+$/, "")) || this.#hosts.has(lower);
  }

  /** True when a page of this origin may read answers; an empty origin is no browser. */
  allowsOrigin(origin: string, host: string): boolean {
    if (origin === "") return true;
    const lower = origin.toLowerCase();
    if (this.#origins.has(lower)) return true;
    const named = /^https?:\/\/(.+)$/.exec(lower)?.[1];
    if (named === undefined) return false;
    return isLoopback(named.replace(/:\d+$/, "")) || named === host.toLowerCase();
  }
}
