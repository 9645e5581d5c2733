import type { BarHistory } from "./bar-history.ts";
import type { RowIndicator } from "./bar-rows.ts";
import { BAR_COLUMNS, BarTable, type BarValues } from "./bar-table.ts";
import type { BarEvent, IndicatorsEvent } from "./views.ts";

/** An indicator that a program asked for. */
export interface Wanted extends RowIndicator {
  /** The number that the server has for it now; -1 when it has none. */
  id: number;
}

/** What is told of bars, by when they opened. */
export interface BarNews {
  closed(openTime: number): void;
  corrected(openTime: number): void;
  /** The building bar changed. */
  updated(): void;
}

/** A history that was asked for and has not come yet: what frames brought meanwhile is newer. */
export interface Fetch {
  readonly bars: Set<number>;
  readonly values: Set<number>;
}

/** Brings bars that come as frames and bars that are fetched together: each closes once, and the newer word counts. */
export class BarMerge {
  readonly table: BarTable;
  /** The building bar, and its indicators' values by `wanted` and lane, ready last. */
  building: ReturnType<BarEvent["toObject"]> | undefined;
  buildingValues: number[][] = [];
  readonly #wanted: readonly Wanted[];
  readonly #news: BarNews;
  readonly #fetches = new Set<Fetch>();
  /** Bars that closed and whose indicators have not come yet. */
  readonly #unfinished = new Set<number>();
  /** The newest bar that was told, or was in the history that a program begins with. */
  #toldUntil = 0;
  #isWarm = false;

  constructor(limit: number, wanted: readonly Wanted[], news: BarNews) {
    this.table = new BarTable(limit, wanted);
    this.#wanted = wanted;
    this.#news = news;
  }

  /** What is told from now on is new to the program. */
  warm(): void {
    this.#isWarm = true;
  }

  takeBar(bar: BarEvent): void {
    if (bar.state === "building") this.#build(bar);
    else this.#take(bar);
  }

  #build(bar: BarEvent): void {
    if (bar.openTime <= this.#newest()) return;
    this.building = bar.toObject();
    if (this.#wanted.length === 0) this.#news.updated();
  }

  #newest(): number {
    const { count } = this.table;
    return count === 0 ? 0 : this.table.get("openTime", count - 1);
  }

  #take(bar: BarEvent): void {
    const { openTime, state } = bar;
    // Whatever still waits for its indicators will not get them any more.
    for (const waiting of this.#unfinished) if (waiting < openTime && state === "closed") this.#close(waiting);
    if (this.building !== undefined && this.building.openTime <= openTime) this.building = undefined;
    const isLate = this.#isHole(openTime);
    if (this.table.put(bar) < 0) return;
    for (const { bars } of this.#fetches) bars.add(openTime);
    if (this.#unfinished.has(openTime)) return;
    if (openTime > this.#toldUntil) {
      if (this.#wanted.length === 0) this.#close(openTime);
      else this.#unfinished.add(openTime);
    } else if (state === "corrected" || isLate) this.#news.corrected(openTime);
  }

  /** True for a bar that is not there, between others that are. */
  #isHole(openTime: number): boolean {
    const { table } = this;
    return table.count > 0 && openTime > table.get("openTime", 0) && table.rowOf(openTime) < 0;
  }

  takeValues(values: IndicatorsEvent): void {
    const { barTime, state } = values;
    if (state === "building") {
      if (this.building?.openTime !== barTime) return;
      this.buildingValues = this.#wanted.map(({ lanes }) => new Array<number>(lanes.length + 1).fill(Number.NaN));
      this.#each(values, (index, lane, value) => {
        (this.buildingValues[index] as number[])[lane] = value;
      });
      this.#news.updated();
      return;
    }
    const row = this.table.rowOf(barTime);
    if (row < 0) return;
    this.#each(values, (index, lane, value) => this.table.setLane(row, index, lane, value));
    for (const fetch of this.#fetches) fetch.values.add(barTime);
    if (this.#unfinished.has(barTime)) this.#close(barTime);
    else if (state === "corrected") this.#news.corrected(barTime);
  }

  /** Hands on each value that was asked for; `lane` one more than the last is whether it is ready. */
  #each(values: IndicatorsEvent, take: (index: number, lane: number, value: number) => void): void {
    for (let entry = 0; entry < values.count; entry += 1) {
      const id = values.indicatorAt(entry);
      for (const [index, wanted] of this.#wanted.entries()) {
        if (wanted.id !== id) continue;
        take(index, values.laneAt(entry), values.valueAt(entry));
        take(index, wanted.lanes.length, values.readyAt(entry) ? 1 : 0);
      }
    }
  }

  #close(openTime: number): void {
    this.#unfinished.delete(openTime);
    this.#toldUntil = Math.max(this.#toldUntil, openTime);
    if (this.#isWarm) this.#news.closed(openTime);
  }

  /** A history is asked for now. */
  begin(): Fetch {
    const fetch = { bars: new Set<number>(), values: new Set<number>() };
    this.#fetches.add(fetch);
    return fetch;
  }

  /** It does not come. */
  abandon(fetch: Fetch): void {
    this.#fetches.delete(fetch);
  }

  /**
   * It is there; `isWhole` when nothing that it lacks is to be kept, because another server's bars are other bars. Returns
   * how many bars are new, or other than they were.
   */
  end(fetch: Fetch, { bars }: BarHistory, isWhole: boolean): number {
    this.#fetches.delete(fetch);
    const holes = new Set(bars.map(({ values }) => values.openTime).filter((openTime) => this.#isHole(openTime)));
    const corrected: number[] = [];
    let changed = 0;
    for (const { values, indicators } of bars) {
      const { openTime } = values;
      const isKnown = this.table.rowOf(openTime) >= 0 || holes.has(openTime);
      const isOther = !fetch.bars.has(openTime) && this.#put(values);
      const isRecomputed = !fetch.values.has(openTime) && this.#putValues(openTime, indicators);
      if (isOther || isRecomputed) changed += 1;
      if (isKnown && openTime <= this.#toldUntil && (isOther || isRecomputed)) corrected.push(openTime);
    }
    if (isWhole) this.#keepOnly(fetch, bars);
    else if (this.#isWarm) for (const openTime of corrected) this.#news.corrected(openTime);
    for (const { values } of bars) {
      if (this.table.rowOf(values.openTime) < 0) continue;
      if (values.openTime > this.#toldUntil || this.#unfinished.has(values.openTime)) this.#close(values.openTime);
    }
    if (this.building !== undefined && this.building.openTime <= this.#newest()) this.building = undefined;
    return changed;
  }

  #keepOnly({ bars: came }: Fetch, bars: BarHistory["bars"]): void {
    const given = new Set(bars.map(({ values }) => values.openTime));
    this.table.keep((openTime) => given.has(openTime) || came.has(openTime));
    for (const waiting of this.#unfinished) if (this.table.rowOf(waiting) < 0) this.#unfinished.delete(waiting);
  }

  /** Puts a fetched bar; true when it is other than what was there. REST does not say that a bar was amended. */
  #put(values: BarValues): boolean {
    const { table } = this;
    const row = table.rowOf(values.openTime);
    const isSame = row >= 0 && BAR_COLUMNS.every((name) => Object.is(table.get(name, row), values[name]));
    const wasCorrected = row >= 0 && table.flagsOf(row).corrected;
    table.put(wasCorrected || (row >= 0 && !isSame) ? { ...values, state: "corrected" } : values);
    return !isSame;
  }

  #putValues(openTime: number, indicators: BarHistory["bars"][number]["indicators"]): boolean {
    const { table } = this;
    const row = table.rowOf(openTime);
    if (row < 0) return false;
    let isOther = false;
    for (const [index, { name, lanes }] of this.#wanted.entries()) {
      const given = indicators[name];
      const values = [...lanes.map((lane) => Number(given?.[lane] ?? Number.NaN)), given?.ready === true ? 1 : 0];
      for (const [lane, value] of values.entries()) {
        isOther ||= !Object.is(table.lane(index, lane)[row], value);
        table.setLane(row, index, lane, value);
      }
    }
    return isOther;
  }
}
