import type { TemplatedApp } from "uWebSockets.js";
import { RING, VARIANTS } from "../engine/derived.ts";
import type { Engine } from "../engine/engine.ts";
import { instrumentOf, SLOTS_PER_INSTRUMENT, slotIn } from "../market/channel.ts";
import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import { LogCursor } from "../wire/frame-log.ts";
import type { Memory } from "../wire/memory.ts";
import { scratchMemory } from "../wire/memory.ts";
import type { Member } from "./topics.ts";
import { partOf, RAW_SCOPE, Topics, wideScope } from "./topics.ts";

/** The forms in which a frame goes out. */
export const ENCODINGS = ["flatbuffers", "json", "json-us", "analytics"] as const;
export const FLATBUFFERS = 0;
export const JSON_MS = 1;
export const JSON_US = 2;
export const ANALYTICS = 3;

/** One frame of the tick ring in so many is shown to whoever measures. */
const SAMPLED_FRAMES = 64;

/** Is shown a ring frame where it lies. */
export type FrameSample = (memory: Memory, at: number, stream: number) => void;

/** The text of a frame in one of the encodings but the first; undefined when it has none there. */
export type TextEncoder = (encoding: number, memory: Memory, at: number, stream: number) => string | undefined;

/** Hands frames to the topics that they belong to, each encoded once for all who are in them. */
export class Publisher {
  readonly #app: TemplatedApp;
  readonly #engine: Engine;
  readonly #text: TextEncoder;
  readonly #sample: FrameSample;
  readonly #cursor: LogCursor;
  readonly topics = new Topics();
  /** One frame on its way out, with a view of every length: publishing makes no object. */
  readonly #outgoing = scratchMemory(MAX_FRAME_BYTES);
  readonly #views: (Uint8Array | undefined)[] = [];
  readonly #sendVariant = (memory: Memory, length: number, stream: number, variant: number) =>
    this.#publish(memory, 0, length, stream, variant);
  /** Frames published, and their bytes, by encoding and slot (encoding * SLOTS_PER_INSTRUMENT + slot). */
  readonly frames = new Float64Array(ENCODINGS.length * SLOTS_PER_INSTRUMENT);
  readonly bytes = new Float64Array(ENCODINGS.length * SLOTS_PER_INSTRUMENT);
  /** Frames that came out of the ring, by slot. */
  readonly ticks = new Float64Array(SLOTS_PER_INSTRUMENT);
  #untilSample = SAMPLED_FRAMES;

  constructor(app: TemplatedApp, engine: Engine, text: TextEncoder, sample: FrameSample) {
    this.#app = app;
    this.#engine = engine;
    this.#text = text;
    this.#sample = sample;
    const { log } = engine.frames;
    this.#cursor = new LogCursor(log);
    // A turn may bring more than a ring holds: a late trade alone brings the indicators of hundreds of bars anew.
    for (const ring of [log.ticks, log.slow]) ring.onRound = () => this.drain();
  }

  /** Ring frames that were overwritten before they were published; anything but 0 is a defect. */
  get lost(): number {
    return this.#cursor.lost;
  }

  /** True when the ring holds frames that are not published yet. */
  get behind(): boolean {
    return this.#cursor.behind;
  }

  /** Publishes what the ring got since the last time, in its order. */
  drain(): void {
    const cursor = this.#cursor;
    const { ticks } = this.#engine.frames.log;
    while (cursor.next()) {
      const { ring, record } = cursor;
      const at = ring.placeOf(record);
      const stream = ring.streamOf(record);
      this.ticks[slotIn(stream)] += 1;
      this.#untilSample -= 1;
      // A bar's time is that of its last trade, and says nothing of how long it was on its way.
      if (this.#untilSample <= 0 && ring === ticks) {
        this.#untilSample = SAMPLED_FRAMES;
        this.#sample(ring.memory, at, stream);
      }
      this.#publish(ring.memory, at, ring.lengthOf(record), stream, RING);
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
    const topics = this.topics;
    const slot = slotIn(stream);
    const part = partOf(stream);
    const venueScope = wideScope(this.#engine.catalog.get(instrumentOf(stream))?.venue ?? 0, slot, part);
    const allScope = wideScope(0, slot, part);
    for (let encoding = 0; encoding < ENCODINGS.length; encoding += 1) {
      const key = encoding * VARIANTS + variant;
      if (!topics.hasAny(key)) continue;
      const own = topics.has(key, stream);
      const ofVenue = venueScope !== allScope && topics.has(key, venueScope);
      const ofAll = topics.has(key, allScope);
      const raw = variant === RING && topics.has(key, RAW_SCOPE);
      if (!own && !ofVenue && !ofAll && !raw) continue;
      const message =
        encoding === FLATBUFFERS ? this.#copy(memory, at, length) : this.#text(encoding, memory, at, stream);
      if (message === undefined) continue;
      const counted = encoding * SLOTS_PER_INSTRUMENT + slot;
      this.frames[counted] += 1;
      this.bytes[counted] += message.length;
      const isBinary = encoding === FLATBUFFERS;
      if (own) this.#app.publish(topics.name(key, stream), message, isBinary);
      if (ofVenue) this.#app.publish(topics.name(key, venueScope), message, isBinary);
      if (ofAll) this.#app.publish(topics.name(key, allScope), message, isBinary);
      if (raw) this.#app.publish(topics.name(key, RAW_SCOPE), message, isBinary);
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
  sendTo({ socket, encoding }: Member, memory: Memory, at: number, length: number, stream: number): number {
    const message =
      encoding === FLATBUFFERS ? this.#copy(memory, at, length) : this.#text(encoding, memory, at, stream);
    if (message === undefined) return 0;
    const counted = encoding * SLOTS_PER_INSTRUMENT + slotIn(stream);
    this.frames[counted] += 1;
    this.bytes[counted] += message.length;
    socket.send(message, encoding === FLATBUFFERS);
    return message.length;
  }
}
