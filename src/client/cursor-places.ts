import { type Cursor, SAVE_MS } from "./cursor.ts";
import type { Placed } from "./event-queue.ts";
import { requestOf, type SubscribeSpec } from "./request.ts";

/** How long is kept where a subscription stood that is not there: not made again after a restart, or closed. */
const KEPT_SAVES = 600_000 / SAVE_MS;
/** So many of those at most, the newest. */
const MAX_KEPT = 256;

/** Where a subscription stood, and what it asked for, by which it is known again. */
export interface Place extends Cursor {
  readonly asked: string;
}

/** A subscription, as far as it matters here. */
export interface Standing {
  readonly spec: SubscribeSpec;
  /** Something that came has not been handed on. */
  readonly isHolding: boolean;
  /** What came and an iteration has not taken. */
  places(): Iterable<Placed>;
}

/** A subscription of this start of the program, or of an earlier one. */
interface Entry {
  asked: string;
  /** Where it stood when that was last known. */
  place: Cursor | undefined;
  standing: Standing | undefined;
  /** Where it stands on its connection. */
  where: (() => Cursor | undefined) | undefined;
  /** Of an earlier start, and not made again: whoever asks for the same goes on from there. */
  isFree: boolean;
  /** Saves that it is still in; Infinity for one that is there. */
  left: number;
}

/**
 * Where each subscription of a program stands, and where those of its earlier starts stood. One that asks for what an
 * earlier one asked for goes on from that one's place, the first from the first. One that asks for something else may have
 * some of the streams of those that were not made again: it goes on from the least of their places, because to have
 * something twice is better than not at all.
 */
export class Places {
  #entries: Entry[];
  /** Epochs that something stood in, in the order in which they came: a number alone does not tell which is older. */
  #epochs: number[];

  constructor(earlier: readonly Place[], epochs: readonly number[] = []) {
    this.#epochs = [...epochs];
    for (const { epoch } of earlier) this.#ageOf(epoch);
    this.#entries = earlier.map(({ asked, ...place }) => ({
      ...entryOf(asked, place),
      isFree: true,
      left: KEPT_SAVES,
    }));
  }

  /**
   * A subscription is asked for: returns where it begins, undefined for now, and takes what became of it: where it stands
   * from then on, or undefined when it was refused.
   */
  claim(standing: Standing): { begins: Cursor | undefined; end(where: Entry["where"]): void } {
    const asked = askedOf(standing.spec);
    const free = this.#entries.filter(({ isFree, place }) => isFree && place !== undefined);
    const same = free.find((each) => each.asked === asked);
    const entry = same ?? entryOf(asked, undefined);
    const begins = same === undefined ? this.#least(free.map(({ place }) => place as Cursor)) : same.place;
    // In the order in which they are asked for, whenever they are answered.
    this.#entries = [...this.#entries.filter((each) => each !== entry), entry];
    entry.isFree = false;
    entry.left = Number.POSITIVE_INFINITY;
    const end = (where: Entry["where"]) => {
      entry.isFree = where === undefined;
      if (where === undefined) entry.left = same === undefined ? 0 : KEPT_SAVES;
      else {
        // One that asked for the same and was closed is this one's past.
        this.#entries = this.#entries.filter((each) => each.asked !== asked || !isClosed(each));
        Object.assign(entry, { standing, where });
      }
    };
    return { begins, end };
  }

  /** A subscription was closed. What an iteration of it has not taken yet still counts. */
  close(standing: Standing): void {
    for (const entry of this.#entries) if (entry.standing === standing) entry.left = KEPT_SAVES;
  }

  /** Where all of them stand. */
  now(): Place[] {
    for (const entry of this.#entries) {
      entry.left -= 1;
      const { standing, where } = entry;
      if (standing === undefined || standing.isHolding) continue;
      entry.asked = askedOf(standing.spec);
      const cursor = where?.();
      if (cursor !== undefined) entry.place = this.#behind(cursor, [...standing.places()]);
    }
    const kept = this.#entries.filter(({ left }) => left > 0 && left < Number.POSITIVE_INFINITY).slice(-MAX_KEPT);
    this.#entries = this.#entries.filter((each) => each.left === Number.POSITIVE_INFINITY || kept.includes(each));
    return this.#entries.flatMap(({ asked, place }) => (place === undefined ? [] : [{ asked, ...place }]));
  }

  /** The epochs of these places, the oldest first. */
  epochsOf(places: readonly Place[]): number[] {
    this.#epochs = this.#epochs.filter((epoch) => places.some((place) => place.epoch === epoch));
    return this.#epochs;
  }

  /** How many epochs came before one, which is noted. */
  #ageOf(epoch: number): number {
    if (!this.#epochs.includes(epoch)) this.#epochs.push(epoch);
    return this.#epochs.indexOf(epoch);
  }

  #oldest(places: readonly { epoch: number }[]): number {
    return places.reduce(
      (least, { epoch }) => (this.#ageOf(epoch) < this.#ageOf(least) ? epoch : least),
      places[0].epoch,
    );
  }

  /** A place behind everything that waits. */
  #behind(cursor: Cursor, waiting: readonly Placed[]): Cursor {
    const epoch = this.#oldest([...waiting, cursor]);
    // Of an epoch that is over nothing is known but what waits: its position alone says what comes after it.
    const isOver = epoch !== cursor.epoch;
    const place = { epoch, position: isOver ? Number.POSITIVE_INFINITY : cursor.position, held: {} as Cursor["held"] };
    if (!isOver) place.held = { ...cursor.held };
    for (const each of waiting) {
      if (each.epoch !== epoch) continue;
      place.position = Math.min(place.position, each.position - 1);
      const last = place.held[each.stream];
      if (last !== undefined) place.held[each.stream] = Math.min(last, each.sequence - 1);
    }
    return place;
  }

  /** The place from which none of these misses anything: of the oldest epoch, the others' come after it. */
  #least(places: readonly Cursor[]): Cursor | undefined {
    if (places.length === 0) return undefined;
    const epoch = this.#oldest(places);
    const oldest = places.filter((each) => each.epoch === epoch);
    const held: Record<string, number> = {};
    for (const [stream, last] of oldest.flatMap((each) => Object.entries(each.held))) {
      held[stream] = Math.min(last, held[stream] ?? last);
    }
    return { epoch, position: Math.min(...oldest.map(({ position }) => position)), held };
  }
}

function isClosed({ standing, left }: Entry): boolean {
  return standing !== undefined && left < Number.POSITIVE_INFINITY;
}

function entryOf(asked: string, place: Cursor | undefined): Entry {
  return { asked, place, standing: undefined, where: undefined, isFree: false, left: Number.POSITIVE_INFINITY };
}

/** What is asked for, however it is written. Where it begins is no part of it: that is other at each start. */
function askedOf(spec: SubscribeSpec): string {
  const { from: _from, strict: _strict, ...rest } = requestOf(spec);
  const lists = Object.entries(rest).map(([name, value]) => [name, ...[value].flat().map(String).sort()]);
  return JSON.stringify(lists.sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)));
}
