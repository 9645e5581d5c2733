import { randomBytes } from "node:crypto";
import type { FrameKind } from "./tape.ts";

/** Faults in a message on its way out. The double's own book and bars stay right: the venue is well, the wire is not. */
export const MESSAGE_FAULTS = ["gap", "duplicate", "malformed", "wildTimestamp", "reorder", "crossed"] as const;
export const CONNECTION_FAULTS = ["silence", "disconnect", "close", "refuse", "serverShutdown"] as const;
export const SNAPSHOT_FAULTS = ["slowSnapshot", "failSnapshot", "staleSnapshot"] as const;
export const FAULTS = [...MESSAGE_FAULTS, ...CONNECTION_FAULTS, ...SNAPSHOT_FAULTS] as const;
export type FaultName = (typeof FAULTS)[number];
export type MessageFault = (typeof MESSAGE_FAULTS)[number];
export type SnapshotFault = (typeof SNAPSHOT_FAULTS)[number];

export const MALFORMED_VARIANTS = ["truncated", "types", "binary", "empty", "notJson", "array", "missing"] as const;
export type MalformedVariant = (typeof MALFORMED_VARIANTS)[number];

export interface FaultParams {
  /** Which messages a message fault takes: a frame kind, or "all" (default). */
  kind?: FrameKind | "all";
  /** How many messages or requests it takes; default 1. */
  count?: number;
  /** silence, refuse, slowSnapshot: for how long; default 1000. */
  ms?: number;
  /** silence: false stops the venue's pings as well. */
  pings?: boolean;
  /** malformed: one variant, or "all" of them one after the other. */
  variant?: MalformedVariant | "all";
  /** malformed: true sends the broken frame in place of the good one; default: before it. */
  replace?: boolean;
  /** wildTimestamp: 1 or 2100. */
  year?: number;
  /** failSnapshot: 500 (default), 429, 418; refuse: status of the refused handshake, 0 cuts the line. */
  status?: number;
  retryAfterSeconds?: number;
  /** close: code and reason of the close frame. */
  code?: number;
  reason?: string;
}

const KINDS = ["trade", "depth", "bookTicker", "ticker", "snapshot", "lastTrade", "other", "all"];

/** Parameters come over HTTP too: a wrong one is said at once, not when a message meets it. */
export function checkParams({ kind, variant, count, ms }: FaultParams): void {
  const refuse = (name: string, value: unknown, takes: string): never => {
    throw new Error(`${name} takes ${takes}, not ${String(value)}`);
  };
  if (kind !== undefined && !KINDS.includes(kind)) refuse("kind", kind, KINDS.join(", "));
  const variants = [...MALFORMED_VARIANTS, "all"] as const;
  if (variant !== undefined && !variants.includes(variant)) refuse("variant", variant, variants.join(", "));
  for (const [name, value] of Object.entries({ count, ms })) {
    if (value !== undefined && !(Number.isInteger(value) && value > 0)) refuse(name, value, "a whole number above 0");
  }
}

/** A message on its way to the clients, in both forms. */
export interface Message {
  kind: FrameKind;
  topic: string;
  symbol: string;
  text: Buffer;
  data: Buffer;
  binary?: boolean;
}

/** What must be known of a venue's payload to damage it in a believable way. */
export interface Surgery {
  wrap(topic: string, data: string): string;
  /** The payload with every timestamp set to the first day of a year. */
  retime(data: string, year: number): string;
  /** Names of the fields that route a message: kept by `types` and `missing`, so that the damage reaches the parser. */
  routingFields: string[];
  /** The depth payload with one bid more. */
  withBid(data: string, price: string, size: string): string;
  /** The symbol's best ask of the double's own book. */
  bestAsk(symbol: string): string | undefined;
}

interface Armed {
  fault: MessageFault;
  params: FaultParams;
  left: number;
  /** reorder: the message waiting for its successor. */
  kept?: Message;
  /** crossed: the bid to take off again in the symbol's next message, so that a book without resync recovers. */
  healing?: { symbol: string; price: string };
}

export class Faults {
  readonly counts = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<FaultName, number>;
  #armed: Armed[] = [];
  readonly #snapshot = new Map<SnapshotFault, { params: FaultParams; left: number }>();

  constructor(readonly surgery: Surgery) {}

  get armed(): boolean {
    return this.#armed.length > 0;
  }

  arm(fault: MessageFault, params: FaultParams): void {
    this.#armed.push({ fault, params, left: params.count ?? 1 });
  }

  armSnapshot(fault: SnapshotFault, params: FaultParams): void {
    this.#snapshot.set(fault, { params, left: params.count ?? 1 });
  }

  clear(): void {
    this.#armed = [];
    this.#snapshot.clear();
  }

  /** The parameters of a snapshot fault that takes this request, if one is armed. */
  takeSnapshot(fault: SnapshotFault): FaultParams | undefined {
    const armed = this.#snapshot.get(fault);
    if (armed === undefined) return undefined;
    if (--armed.left <= 0) this.#snapshot.delete(fault);
    this.counts[fault]++;
    return armed.params;
  }

  /** What is sent in place of a message. The fault armed first that wants the message takes it. */
  pass(message: Message): Message[] {
    const armed = this.#armed.find((candidate) => wants(candidate, message));
    if (armed === undefined) return [message];
    const sent = this.#damage(armed, message);
    if (armed.left <= 0 && armed.kept === undefined && armed.healing === undefined) {
      this.#armed = this.#armed.filter((other) => other !== armed);
    }
    return sent;
  }

  #damage(armed: Armed, message: Message): Message[] {
    if (armed.healing !== undefined) {
      const { price } = armed.healing;
      delete armed.healing;
      return [this.#rewritten(message, (data) => this.surgery.withBid(data, price, "0.00000000"))];
    }
    if (armed.kept !== undefined) {
      const first = armed.kept;
      delete armed.kept;
      return [message, first];
    }
    armed.left--;
    if (armed.fault === "crossed") return [this.#crossed(armed, message)];
    this.counts[armed.fault]++;
    switch (armed.fault) {
      case "gap":
        return [];
      case "duplicate":
        return [message, message];
      case "reorder":
        armed.kept = message;
        return [];
      case "wildTimestamp":
        return [this.#rewritten(message, (data) => this.surgery.retime(data, armed.params.year ?? 2100))];
      case "malformed": {
        const { variant = "truncated", replace = false } = armed.params;
        const variants = variant === "all" ? MALFORMED_VARIANTS : [variant];
        const broken = variants.map((each) => this.#broken(message, each));
        return replace ? broken : [...broken, message];
      }
    }
  }

  /** One bid 1 % above the best ask, inside an otherwise true message, so that the chain of ids holds. */
  #crossed(armed: Armed, message: Message): Message {
    const ask = this.surgery.bestAsk(message.symbol);
    if (ask === undefined) {
      armed.left++;
      return message;
    }
    this.counts.crossed++;
    const price = (Number(ask) * 1.01).toFixed(ask.split(".")[1]?.length ?? 0);
    armed.healing = { symbol: message.symbol, price };
    return this.#rewritten(message, (data) => this.surgery.withBid(data, price, "1.00000000"));
  }

  #broken(message: Message, variant: MalformedVariant): Message {
    const same = (bytes: Buffer, binary = false): Message => ({ ...message, text: bytes, data: bytes, binary });
    switch (variant) {
      case "truncated":
        return { ...message, text: half(message.text), data: half(message.data) };
      case "types":
        return this.#rewritten(message, (data) => this.#mistyped(data, swapType));
      case "missing":
        return this.#rewritten(message, (data) => this.#mistyped(data, () => undefined));
      case "binary":
        return same(randomBytes(64), true);
      case "empty":
        return same(Buffer.alloc(0));
      case "notJson":
        return same(Buffer.from("<html><body>502 Bad Gateway</body></html>"));
      case "array":
        return same(Buffer.from("[1,2,3]"));
    }
  }

  #mistyped(data: string, swap: (value: unknown) => unknown): string {
    const fields = Object.entries(JSON.parse(data) as Record<string, unknown>);
    const kept = this.surgery.routingFields;
    return JSON.stringify(Object.fromEntries(fields.map(([k, v]) => [k, kept.includes(k) ? v : swap(v)])));
  }

  #rewritten(message: Message, rewrite: (data: string) => string): Message {
    const data = rewrite(message.data.toString());
    return { ...message, data: Buffer.from(data), text: Buffer.from(this.surgery.wrap(message.topic, data)) };
  }
}

function wants(armed: Armed, message: Message): boolean {
  if (armed.healing !== undefined) return message.kind === "depth" && message.symbol === armed.healing.symbol;
  if (armed.left <= 0 && armed.kept === undefined) return false;
  if (armed.fault === "crossed") return message.kind === "depth";
  const kind = armed.kept?.kind ?? armed.params.kind ?? "all";
  return kind === "all" || kind === message.kind;
}

function half(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length >> 1);
}

function swapType(value: unknown): unknown {
  if (typeof value === "number") return "soon";
  if (typeof value === "string") return { value };
  if (Array.isArray(value)) return 7;
  return null;
}
