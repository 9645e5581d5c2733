import type { WebSocket } from "uWebSockets.js";
import { RING, VARIANTS } from "../engine/derived.ts";
import { instrumentOf, SLOT_BARS, SLOTS_PER_INSTRUMENT, slotIn, streamOf } from "../market/channel.ts";
import { assert } from "../std/assert.ts";

/*
 * Topics. A frame of stream s goes, in each encoding and variant, to the topics of up to three scopes: that of s, and
 * the wide ones of (channel, venue) and of (channel). A connection is in exactly one of them per stream; counts of who
 * is in each let the empty ones be skipped: publishing to an empty topic costs 78 ns, a count 1. A wide scope holds one
 * part in sixteen of the instruments, so that a connection changes between 10,000 topics and the wide ones in sixteen
 * turns of the event loop, not in one of 50 ms. Scopes are numbers: a stream's own, and for wide ones those below 0.
 */
export const WIDE_PARTS = 16;

/** The scope of `/raw`: every ring frame. It borrows a slot that no channel has. */
export const RAW_SCOPE = SLOTS_PER_INSTRUMENT - 1;

/** The part of the instruments that a stream's instrument is in. */
export function partOf(stream: number): number {
  return instrumentOf(stream) & (WIDE_PARTS - 1);
}

/** The wide scope of a slot at a venue, or at all for venue 0. */
export function wideScope(venue: number, slot: number, part: number): number {
  return -1 - (streamOf(venue, slot) * WIDE_PARTS + part);
}

/** Who is in topics: a socket, and the encoding that it wants. */
export interface Member {
  readonly socket: Pick<WebSocket<unknown>, "subscribe" | "unsubscribe" | "send">;
  readonly encoding: number;
}

/** The topics of one server: who is in them, and their names as the library takes them. */
export class Topics {
  /** Members by stream, and by wide scope, for each encoding and variant; made when first needed. */
  readonly #members: (Uint32Array | undefined)[] = [];
  readonly #wideMembers: (Uint32Array | undefined)[] = [];
  /** Names by scope, of those topics that have members. */
  readonly #names: Map<number, ArrayBuffer>[] = [];

  /** Puts a member into the topics of a stream's variant: the stream's own, or those of a scope that contains it. */
  join({ socket, encoding }: Member, stream: number, variant: number, scope: number): void {
    for (const each of variantsOf(stream, variant)) {
      this.#count(encoding * VARIANTS + each, scope, 1);
      socket.subscribe(this.name(encoding * VARIANTS + each, scope));
    }
  }

  leave({ socket, encoding }: Member, stream: number, variant: number, scope: number): void {
    for (const each of variantsOf(stream, variant)) {
      socket.unsubscribe(this.name(encoding * VARIANTS + each, scope));
      this.#count(encoding * VARIANTS + each, scope, -1);
    }
  }

  /** A closed socket has left all its topics; only the count remains to be corrected. */
  forget({ encoding }: Member, stream: number, variant: number, scope: number): void {
    for (const each of variantsOf(stream, variant)) this.#count(encoding * VARIANTS + each, scope, -1);
  }

  /** Memberships in all topics; 0 when nobody is connected. */
  get memberships(): number {
    let sum = 0;
    for (const members of [...this.#members, ...this.#wideMembers]) for (const count of members ?? []) sum += count;
    return sum;
  }

  #count(key: number, scope: number, change: number): void {
    const all = scope < 0 ? this.#wideMembers : this.#members;
    const index = scope < 0 ? -1 - scope : scope;
    let members = all[key];
    if (members === undefined || index >= members.length) {
      const larger = new Uint32Array(Math.max(2 * (members?.length ?? 0), index + 1, 1024));
      if (members !== undefined) larger.set(members);
      members = larger;
      all[key] = members;
    }
    assert(change > 0 || (members[index] as number) > 0, "only a member leaves");
    members[index] += change;
    if (members[index] === 0) this.#names[key]?.delete(scope);
  }

  /** True when somebody is in a topic. `key` is encoding * VARIANTS + variant. Hot path. */
  has(key: number, scope: number): boolean {
    const members = scope < 0 ? this.#wideMembers[key] : this.#members[key];
    const index = scope < 0 ? -1 - scope : scope;
    return members !== undefined && index < members.length && members[index] !== 0;
  }

  /** True when anybody is in any topic of a key. Never false again once it was true. */
  hasAny(key: number): boolean {
    return this.#members[key] !== undefined || this.#wideMembers[key] !== undefined;
  }

  /** The name of a topic: publishing to bytes costs half of what it costs to a text. */
  name(key: number, scope: number): ArrayBuffer {
    this.#names[key] ??= new Map();
    const names = this.#names[key] as Map<number, ArrayBuffer>;
    let name = names.get(scope);
    if (name === undefined) {
      name = Int32Array.of(key, scope).buffer;
      names.set(scope, name);
    }
    return name;
  }
}

/** The ring's own frames belong to every form of a bar or indicator stream: building bars come beside the closed ones. */
function variantsOf(stream: number, variant: number): readonly number[] {
  return variant !== RING && slotIn(stream) >= SLOT_BARS ? [RING, variant] : [variant];
}
