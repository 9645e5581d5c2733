import type { Cursor } from "./cursor.ts";
import type { TickwireError } from "./errors.ts";
import type { AckedStream, Unavailable } from "./message.ts";
import type { Receiver, StreamInfo } from "./receiver.ts";
import { requestOf, type SubscribeSpec } from "./request.ts";

/** A subscription as the server has taken it. */
export interface Attached {
  readonly id: number;
  streams: StreamInfo[];
  /** What the last ack, and the announcements after it, said of them. */
  acked: AckedStream[];
  unavailable: Unavailable[];
  /** What the numbers of indicators mean. */
  indicators: { id: number; name: string; lanes: string[] }[];
}

/** Who waits for an ack, or for the error in its place. */
export interface Settle {
  resolve(attached: Attached): void;
  reject(error: TickwireError): void;
}

/** Of a server's message 64 KiB at most are read, and of `held` so many streams. */
const MAX_HELD = 4096;
const MAX_HELD_BYTES = 48 * 1024;

/** A subscription that is to be in place on every connection, and how far it has got on this one. */
export class Wanted {
  readonly attached: Attached;
  readonly receiver: Receiver;
  spec: SubscribeSpec;
  /** What it was before a change that the server has not taken yet. */
  before: SubscribeSpec | undefined;
  settle: Settle | undefined;
  /** The server has taken it, on this connection. */
  isAcked = false;
  /** A replay of it is still coming. */
  isReplaying = false;
  /** It had its beginning, on whichever connection: it is not to be asked for again. */
  hasBegun = false;
  /** Where it goes on from on the next connection; undefined: it begins. */
  resume: Cursor | undefined;

  constructor(id: number, spec: SubscribeSpec, receiver: Receiver, settle: Settle, resume: Cursor | undefined) {
    this.attached = { id, streams: [], acked: [], unavailable: [], indicators: [] };
    this.spec = spec;
    this.receiver = receiver;
    this.settle = settle;
    this.resume = resume;
  }

  /** Asks for something else. What it had goes on; a past is asked for only by a change that names one. */
  become(spec: SubscribeSpec): void {
    this.before = this.spec;
    this.spec = spec;
    this.hasBegun = spec.from === undefined;
  }

  /** A change was refused. */
  stay(before: SubscribeSpec): void {
    this.settle = undefined;
    this.spec = before;
    this.before = undefined;
    this.hasBegun = true;
  }

  /** The message that asks for it. Its past is asked for once: from then on it goes on from where it was. */
  message(): object {
    const { from, strict, ...rest } = this.spec;
    const { resume } = this;
    const past = resume === undefined && !this.hasBegun ? { from, strict } : {};
    this.isReplaying = resume !== undefined || past.from !== undefined;
    const body = requestOf({ ...rest, ...past } as SubscribeSpec);
    const message = { type: "subscribe", id: this.attached.id, ...body };
    return resume === undefined ? message : { ...message, resume: this.#within(resume) };
  }

  /** Without the sequences where they are too many: then the position alone says what is missed. */
  #within({ epoch, position, held }: Cursor): object {
    const isShort = Object.keys(held).length <= MAX_HELD && JSON.stringify(held).length <= MAX_HELD_BYTES;
    return isShort ? { epoch, position, held } : { epoch, position };
  }
}
