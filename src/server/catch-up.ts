import { RING } from "../engine/derived.ts";
import {
  SLOT_BARS,
  SLOT_FUNDING,
  SLOT_LIQUIDATIONS,
  SLOT_ORDERBOOK,
  SLOT_STATE,
  SLOT_TRADES,
  slotIn,
} from "../market/channel.ts";
import { LogCursor } from "../wire/frame-log.ts";
import { FrameView } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";
import type { Ring } from "../wire/ring.ts";
import { PIECE_COST } from "./backlog.ts";
import type { Client } from "./client.ts";
import { ConflatedStreams } from "./conflated-streams.ts";
import { isSnapshot } from "./is-snapshot.ts";
import { OlderFrames } from "./older-frames.ts";
import { PastReplay } from "./past-replay.ts";
import type { Replay } from "./replay.ts";
import type { Services } from "./services.ts";

/** Worth of a record that is looked at, beside the bytes that are sent: some 10 ns. */
export const SCAN_COST = 2;

/** Why frames are missing. */
export type GapReason = "lag" | "window" | "epoch" | "restart" | "no_snapshot";

/** What one client may be behind, by the frames' own times, microseconds, before it is brought to the present. */
export interface MaxLag {
  book: number;
  rest: number;
}

/** A stream whose ring frames are read for the client. */
interface Reading {
  /** The last sequence that the client has; UNKNOWN when it did not say. */
  held: number;
  /** Frames up to this position are not for it. */
  after: number;
  /** Nothing between what the client has and the first frame that is read can be missing. */
  whole: boolean;
  /** Deltas of a book are of no use before a snapshot. */
  needsSnapshot: boolean;
}

const UNKNOWN = -1;

/** True for streams whose every ring frame is owed to whoever subscribed to them. */
function isEvent(stream: number): boolean {
  const slot = slotIn(stream);
  return slot === SLOT_TRADES || slot === SLOT_ORDERBOOK || slot === SLOT_LIQUIDATIONS || slot >= SLOT_BARS;
}

/** True for state of which the client says that it has nothing: it needs a snapshot, not what came after a position. */
export function beginsAnew(stream: number, { held }: Replay): boolean {
  return isState(stream) && held.size > 0 && !held.has(stream);
}

/** True for streams whose last frames make up a state. */
function isState(stream: number): boolean {
  const slot = slotIn(stream);
  return slot !== SLOT_TRADES && slot !== SLOT_LIQUIDATIONS && slot < SLOT_BARS;
}

/** True when a stream in this form is made of ring frames, so that what came before can be sent again. */
export function isReplayable(stream: number, variant: number): boolean {
  return variant === RING || slotIn(stream) >= SLOT_BARS;
}

/**
 * Reads the ring for one client that is behind: it came back and resumes, it asked for the past, or it is slow. While it
 * is behind it is in no topic, so all its ring frames come in ring order, and the position of the newest one says all
 * that it has. Streams that are state are conflated to the latest. When it is level with the head, it is put back.
 *
 *        client's position            head
 *   ├───────────┼─ ─ read in pieces ─ ─┤ ← live frames are appended
 *   tail: what is older is gone, and becomes a gap
 */
export class CatchUp {
  /** Everything up to here has been sent. */
  position: number;
  /** True when the cursor stood at the head at the end of the last piece. */
  level = false;
  readonly #client: Client;
  readonly #services: Services;
  readonly #cursor: LogCursor;
  readonly #view = new FrameView();
  readonly #readings = new Map<number, Reading>();
  readonly #conflated: ConflatedStreams;
  readonly #replays: Replay[] = [];
  /** What is older than the ring, from the journal. */
  readonly #past: PastReplay;
  /** What the ring has not any more of this epoch. */
  #older: OlderFrames | undefined;
  /** How far a slow client may be behind; undefined for one that replays. */
  #maxLag: MaxLag | undefined;
  #lost = 0;

  constructor(client: Client, services: Services, maxLag: MaxLag | undefined) {
    const { log } = services.engine.frames;
    this.#client = client;
    this.#services = services;
    this.#maxLag = maxLag;
    this.#cursor = new LogCursor(log);
    this.#conflated = new ConflatedStreams(client, services, (stream) => this.#readings.get(stream)?.held);
    this.#past = new PastReplay(client, services);
    this.position = log.position;
  }

  /** Takes over a stream that the client has up to its last frame. */
  add(stream: number, variant: number): void {
    const { engine } = this.#services;
    const held = engine.frames.sequence(stream);
    // Who is slow gets the latest of what is state; who replays something else gets every frame.
    const isRead = isReplayable(stream, variant) && (this.#maxLag === undefined || isEvent(stream));
    if (isRead) this.#readings.set(stream, { held, after: this.position, whole: true, needsSnapshot: false });
    if (isRead && variant === RING) return;
    this.#conflated.add(stream, variant, true);
  }

  remove(stream: number): void {
    this.#readings.delete(stream);
    this.#conflated.remove(stream);
    this.#past.remove(stream);
  }

  close(): void {
    this.#past.close();
    this.#older?.close();
  }

  /** The last sequence that the client was sent; undefined for a stream whose past is still to come. */
  heldOf(stream: number): number | undefined {
    const held = this.#readings.get(stream)?.held ?? this.#conflated.sentOf(stream) ?? UNKNOWN;
    return held === UNKNOWN ? undefined : held;
  }

  /** True while the journal is read for streams that were named when that began: no other replay can be added. */
  get isReadingJournal(): boolean {
    return this.#past.pending || this.#older?.reaches(this.position) === false;
  }

  /** Goes back to where a replay begins; its streams follow by `replay`. */
  begin(replay: Replay): void {
    this.#maxLag = undefined;
    this.#replays.push(replay);
    if (!replay.isKnown) this.#past.begin(replay);
    if (!replay.isKnown || replay.position >= this.position) return;
    for (const reading of this.#readings.values()) reading.after = Math.max(reading.after, this.position);
    this.#goBack(replay.position, replay.isByTime ? replay.fromTime : 0);
  }

  #goBack(position: number, fromTime: number): void {
    const { past } = this.#services;
    this.position = position;
    this.#cursor.seek(position);
    this.#older?.close();
    this.#older = past === undefined ? undefined : new OlderFrames(this.#services, fromTime);
    this.level = false;
  }

  /** Reads a stream from a replay's beginning on. */
  replay(stream: number, variant: number, replay: Replay): void {
    if (!replay.isKnown) return this.#past.add(stream, variant, replay.held.get(stream));
    const { ticks, slow } = this.#services.engine.frames.log;
    const { position } = replay;
    this.#readings.set(stream, {
      held: replay.held.get(stream) ?? UNKNOWN,
      after: position,
      // A stream's changes of state are in the slow ring, whatever else it has.
      whole:
        replay.isByTime ||
        this.#services.past !== undefined ||
        (slow.covers(position) && (isSlow(stream) || ticks.covers(position))),
      needsSnapshot: replay.isByTime && slotIn(stream) === SLOT_ORDERBOOK,
    });
    // What is building beside it is conflated, whoever gets it. What state the ack has told may be over by now.
    if (variant !== RING) this.#conflated.add(stream, variant, false);
  }

  /** Sends the next piece; returns its cost. What the ring has must have been published before. */
  read(): number {
    if (this.#past.pending) return this.#readPast();
    if (this.#older?.reaches(this.position) === false) return this.#readOlder(this.#older);
    const cursor = this.#cursor;
    let cost = SCAN_COST;
    if (this.#maxLag !== undefined) this.#leap(this.#maxLag);
    cost += this.#conflated.sendSome(this.position, PIECE_COST);
    this.level = false;
    let looked = false;
    while (cost < PIECE_COST) {
      if (!cursor.next()) {
        this.level = true;
        break;
      }
      if (cursor.lost > this.#lost) this.#lap(cursor.lost);
      const { ring, record } = cursor;
      const stream = ring.streamOf(record);
      looked = true;
      cost += SCAN_COST;
      // Nearly all records are somebody else's: of those no more than the stream is looked at.
      if (!this.#readings.has(stream)) continue;
      const [at, length, sequence] = [ring.placeOf(record), ring.lengthOf(record), ring.sequenceOf(record)];
      cost += this.#take(ring.memory, at, length, stream, sequence, ring.positionOf(record));
    }
    // The ring stands still meanwhile, so the last record is where the cursor left it.
    if (looked) this.position = cursor.ring.positionOf(cursor.record);
    return cost;
  }

  /** Sends what an earlier epoch has for the client, then goes on with this one from its beginning. */
  #readPast(): number {
    this.level = false;
    const cost = this.#past.read();
    if (this.#past.pending) return cost;
    for (const reading of this.#readings.values()) reading.after = Math.max(reading.after, this.position);
    for (const { stream, variant } of this.#past.takeStreams()) {
      this.#readings.set(stream, { held: 0, after: 0, whole: true, needsSnapshot: false });
      if (variant !== RING) this.#conflated.add(stream, variant, false);
    }
    this.#goBack(0, 0);
    return cost;
  }

  /** Sends what the journal has of this epoch and the ring has not any more. */
  #readOlder(older: OlderFrames): number {
    this.level = false;
    const streams = [...this.#readings.keys()];
    const cost = older.read(
      this.position,
      streams,
      (...frame) => this.#take(...frame),
      () => this.#doubt(),
    );
    this.position = Math.max(this.position, older.position);
    if (!older.reaches(this.position)) return cost;
    older.close();
    this.#older = undefined;
    this.#cursor.seek(this.position);
    return cost + 1;
  }

  /** Something was overwritten, or is lost: of who did not say what they hold, nothing is known any more. */
  #doubt(): void {
    for (const reading of this.#readings.values()) reading.whole = reading.held !== UNKNOWN;
  }

  /** The ring has overtaken the client. */
  #lap(lost: number): void {
    this.#lost = lost;
    this.#doubt();
    this.#client.lapped();
  }

  /** Sends a frame if it is for the client; returns its bytes. */
  #take(memory: Memory, at: number, length: number, stream: number, sequence: number, position: number): number {
    this.position = position;
    const reading = this.#readings.get(stream);
    if (reading === undefined || position <= reading.after || sequence <= reading.held) return 0;
    if (reading.needsSnapshot && !isSnapshot(memory, at)) return 0;
    if (this.#isHole(reading, sequence - 1) && !reading.needsSnapshot) {
      // A book's changes are of no use without what they change: the gap reaches up to the snapshot that follows it.
      const isBook = slotIn(stream) === SLOT_ORDERBOOK;
      this.#gap(stream, reading, isBook ? this.#services.engine.frames.sequence(stream) : sequence - 1, "window");
      if (isBook) return this.#snapshot(stream, reading);
    }
    reading.held = sequence;
    reading.whole = true;
    reading.needsSnapshot = false;
    return this.#client.frame(memory, length, stream, at);
  }

  #isHole(reading: Reading, upTo: number): boolean {
    return reading.held === UNKNOWN ? !reading.whole && upTo > 0 : upTo > reading.held;
  }

  #gap(stream: number, reading: Reading, to: number, reason: GapReason): void {
    this.#client.gap(stream, reading.held === UNKNOWN ? null : reading.held + 1, to, reason);
    reading.held = to;
  }

  /** Sends what stands for everything up to the stream's last frame. */
  #snapshot(stream: number, reading: Reading): number {
    const { frames, derived } = this.#services.engine;
    let bytes = 0;
    frames.asOf(this.position, () => {
      derived.bootstrap(stream, RING, (memory, length) => {
        bytes += this.#client.frame(memory, length, stream);
      });
    });
    reading.held = frames.sequence(stream);
    reading.needsSnapshot = false;
    return bytes;
  }

  /** Brings a slow client that is too far behind to the present: its books by a snapshot, all the rest by a gap. */
  #leap(maxLag: MaxLag): void {
    const lag = this.#lag();
    if (lag > maxLag.book) {
      for (const [stream, reading] of this.#readings) {
        if (slotIn(stream) !== SLOT_ORDERBOOK) continue;
        const last = this.#services.engine.frames.sequence(stream);
        if (reading.held === last) continue;
        this.#gap(stream, reading, last, "lag");
        this.#snapshot(stream, reading);
      }
    }
    if (lag <= maxLag.rest) return;
    this.#cursor.toHead();
    this.position = this.#services.engine.frames.log.position;
    this.#closeGaps("lag");
  }

  /** Microseconds between the newest frame and the next one that would be read, by their times. */
  #lag(): number {
    const { ticks } = this.#services.engine.frames.log;
    const next = ticks.after(this.position);
    if (next >= ticks.head) return 0;
    return this.#timeOf(ticks, ticks.head - 1) - this.#timeOf(ticks, next);
  }

  #timeOf(ring: Ring, record: number): number {
    const at = ring.placeOf(record);
    this.#view.attach(ring.memory, at + ring.memory.i32[at >> 2]);
    return this.#view.tsPublish;
  }

  /** Says what is missing of streams that have had frames which are not there any more, and nothing since. */
  #closeGaps(reason: GapReason): void {
    const { frames } = this.#services.engine;
    for (const [stream, reading] of this.#readings) {
      const last = frames.sequence(stream);
      if (reading.needsSnapshot) reading.held = UNKNOWN;
      else if (!this.#isHole(reading, last)) continue;
      if (last === 0) continue;
      this.#gap(stream, reading, last, reading.needsSnapshot ? "no_snapshot" : reason);
      // A gap in state is followed by the state.
      if (isState(stream)) this.#snapshot(stream, reading);
    }
  }

  /** The client is level: sends what is still to be told, and the end of the replays. It is put back in this turn. */
  finish(): void {
    const { log } = this.#services.engine.frames;
    this.position = log.position;
    this.#closeGaps("window");
    this.#conflated.sendAll(this.position);
    for (const replay of this.#replays)
      this.#client.json({ type: "replay_end", id: replay.id, epoch: log.epoch, position: this.position });
  }
}

/** True for streams that have all their frames in the slow ring. */
function isSlow(stream: number): boolean {
  const slot = slotIn(stream);
  return slot >= SLOT_FUNDING || slot === SLOT_STATE;
}
