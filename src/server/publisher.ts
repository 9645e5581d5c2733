import type { TemplatedApp, WebSocket } from "uWebSockets.js";
import { RING, VARIANTS } from "../engine/derived.ts";
import type { Engine } from "../engine/engine.ts";
import {
  DIRECTORY_STREAM,
  instrumentOf,
  SLOT_BARS,
  SLOTS_PER_INSTRUMENT,
  slotIn,
  streamOf,
} from "../market/channel.ts";
import { assert } from "../std/assert.ts";
import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import { LogCursor } from "../wire/frame-log.ts";
import type { Memory } from "../wire/memory.ts";
import { scratchMemory } from "../wire/memory.ts";

/** The forms in which a frame goes out. */
export const ENCODINGS = ["flatbuffers", "json", "json-us", "analytics"] as const;
export const FLATBUFFERS = 0;
export const JSON_MS = 1;
export const JSON_US = 2;
export const ANALYTICS = 3;

/** The scope of `/raw`: every ring frame. It borrows a slot that no channel has. */
export const RAW_SCOPE = SLOTS_PER_INSTRUMENT - 1;

/** Who is in topics: a socket, and the encoding that it wants. */
export interface Member {
  readonly socket: Pick<WebSocket<unknown>, "subscribe" | "unsubscribe" | "send">;
  readonly encoding: number;
}

/** The text of a frame in one of the encodings but the first; undefined when it has none there. */
export type TextEncoder = (encoding: number, memory: Memory, at: number, stream: number) => string | undefined;

/*
 * Topics. A frame of stream s goes, in each encoding and variant, to the topics of three scopes, all named by a
 * stream's number: s itself, (channel, venue) = the venue's own stream of that slot, (channel) = instrument 0's; ring
 * frames go to RAW_SCOPE too. A connection is in exactly one of them per stream, and counts of who is in each let the
 * empty ones be skipped: publishing to an empty topic costs 78 ns, a count 1.
 */
export class Publisher {
  readonly #app: TemplatedApp;
  readonly #engine: Engine;
  readonly #text: TextEncoder;
  readonly #cursor: LogCursor;
  /** Members by scope, for each encoding and variant; made when first needed. */
  readonly #members: (Uint32Array | undefined)[] = [];
  readonly #topics: Map<number, ArrayBuffer>[] = [];
  /** One frame on its way out, with a view of every length: publishing makes no object. */
  readonly #outgoing = scratchMemory(MAX_FRAME_BYTES);
  readonly #views: (Uint8Array | undefined)[] = [];
  readonly #sendVariant = (memory: Memory, length: number, stream: number, variant: number) =>
    this.#publish(memory, 0, length, stream, variant);
  /** Frames published, by encoding, and their bytes. */
  readonly frames = new Float64Array(ENCODINGS.length);
  readonly bytes = new Float64Array(ENCODINGS.length);

  constructor(app: TemplatedApp, engine: Engine, text: TextEncoder) {
    this.#app = app;
    this.#engine = engine;
    this.#text = text;
    this.#cursor = new LogCursor(engine.frames.log);
  }

  /** Ring frames that were overwritten before they were published; anything but 0 is a defect. */
  get lost(): number {
    return this.#cursor.lost;
  }

  /** Puts a member into the topics of a stream's variant: the stream's own, or those of a scope that contains it. */
  join({ socket, encoding }: Member, stream: number, variant: number, scope: number): void {
    for (const each of variantsOf(stream, variant)) {
      this.#count(encoding, each, scope, 1);
      socket.subscribe(this.#topic(encoding, each, scope));
    }
  }

  leave({ socket, encoding }: Member, stream: number, variant: number, scope: number): void {
    for (const each of variantsOf(stream, variant)) {
      socket.unsubscribe(this.#topic(encoding, each, scope));
      this.#count(encoding, each, scope, -1);
    }
  }

  /** A closed socket has left all its topics; only the count remains to be corrected. */
  forget({ encoding }: Member, stream: number, variant: number, scope: number): void {
    for (const each of variantsOf(stream, variant)) this.#count(encoding, each, scope, -1);
  }

  /** Memberships in all topics; 0 when nobody is connected. */
  get memberships(): number {
    let sum = 0;
    for (const members of this.#members) for (const count of members ?? []) sum += count;
    return sum;
  }

  #count(encoding: number, variant: number, scope: number, change: number): void {
    const key = encoding * VARIANTS + variant;
    let members = this.#members[key];
    if (members === undefined || scope >= members.length) {
      const larger = new Uint32Array(Math.max(2 * (members?.length ?? 0), scope + 1, 1024));
      if (members !== undefined) larger.set(members);
      members = larger;
      this.#members[key] = members;
    }
    assert(change > 0 || (members[scope] as number) > 0, "only a member leaves");
    members[scope] += change;
    if (members[scope] === 0) this.#topics[key]?.delete(scope);
  }

  #topic(encoding: number, variant: number, scope: number): ArrayBuffer {
    const key = encoding * VARIANTS + variant;
    this.#topics[key] ??= new Map();
    const topics = this.#topics[key] as Map<number, ArrayBuffer>;
    let topic = topics.get(scope);
    if (topic === undefined) {
      topic = Uint32Array.of(key, scope).buffer;
      topics.set(scope, topic);
    }
    return topic;
  }

  /** Publishes what the ring got since the last time, in its order. */
  drain(): void {
    const cursor = this.#cursor;
    while (cursor.next()) {
      const { ring, record } = cursor;
      this.#publish(ring.memory, ring.placeOf(record), ring.lengthOf(record), ring.streamOf(record), RING);
    }
  }

  /** Brings the holders of a depth tier level, so that who joins them now starts where they are. */
  levelTier(stream: number, variant: number): void {
    this.#engine.derived.levelTier(stream, variant, this.#sendVariant);
  }

  /** The end of a turn: ring frames, then the derived frames that are due. */
  endTurn(now: number): void {
    this.drain();
    this.#engine.derived.flush(now, this.#sendVariant);
  }

  #publish(memory: Memory, at: number, length: number, stream: number, variant: number): void {
    const slot = slotIn(stream);
    const venue = this.#engine.catalog.get(instrumentOf(stream))?.venue ?? 0;
    const venueScope = stream === DIRECTORY_STREAM ? RAW_SCOPE : streamOf(venue, slot);
    const allScope = stream === DIRECTORY_STREAM ? RAW_SCOPE : slot;
    for (let encoding = 0; encoding < ENCODINGS.length; encoding += 1) {
      const members = this.#members[encoding * VARIANTS + variant];
      if (members === undefined) continue;
      const own =
        stream !== DIRECTORY_STREAM && stream !== venueScope && stream < members.length && members[stream] !== 0;
      const ofVenue = venueScope !== RAW_SCOPE && venueScope < members.length && members[venueScope] !== 0;
      const ofAll = allScope !== RAW_SCOPE && members[allScope] !== 0;
      const raw = variant === RING && members[RAW_SCOPE] !== 0;
      if (!own && !ofVenue && !ofAll && !raw) continue;
      const message =
        encoding === FLATBUFFERS ? this.#copy(memory, at, length) : this.#text(encoding, memory, at, stream);
      if (message === undefined) continue;
      this.frames[encoding] += 1;
      this.bytes[encoding] += message.length;
      const isBinary = encoding === FLATBUFFERS;
      if (own) this.#app.publish(this.#topic(encoding, variant, stream), message, isBinary);
      if (ofVenue) this.#app.publish(this.#topic(encoding, variant, venueScope), message, isBinary);
      if (ofAll) this.#app.publish(this.#topic(encoding, variant, allScope), message, isBinary);
      if (raw) this.#app.publish(this.#topic(encoding, variant, RAW_SCOPE), message, isBinary);
    }
  }

  /** The frame as bytes that can be handed to the library; good until the next call. Words, so that no NaN is touched. */
  #copy(memory: Memory, at: number, length: number): Uint8Array {
    const from = memory.i32;
    const to = this.#outgoing.i32;
    const first = at >> 2;
    for (let word = 0; word < length >> 2; word += 1) to[word] = from[first + word];
    let view = this.#views[length >> 3];
    if (view === undefined) {
      view = new Uint8Array(this.#outgoing.u8.buffer as ArrayBuffer, 0, length);
      this.#views[length >> 3] = view;
    }
    return view;
  }

  /** One frame for one client, in its encoding; returns its bytes. */
  sendTo({ socket, encoding }: Member, memory: Memory, length: number, stream: number): number {
    const message = encoding === FLATBUFFERS ? this.#copy(memory, 0, length) : this.#text(encoding, memory, 0, stream);
    if (message === undefined) return 0;
    this.frames[encoding] += 1;
    this.bytes[encoding] += message.length;
    socket.send(message, encoding === FLATBUFFERS);
    return message.length;
  }
}

/** The ring's own frames belong to every form of a bar or indicator stream: building bars come beside the closed ones. */
function variantsOf(stream: number, variant: number): readonly number[] {
  return variant !== RING && slotIn(stream) >= SLOT_BARS ? [RING, variant] : [variant];
}
